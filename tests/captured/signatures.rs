//! The signatures that real clients made.

use std::collections::BTreeMap;

use matrixe2ee::{E2eeError, verify_signed_json};
use serde_json::{Value, json};

use super::*;

/// One signature on one object, and the key that must have made it.
struct Signature {
    on: &'static str,
    by: &'static str,
    object: Value,
    user_id: String,
    key_id: String,
    public_key: String,
}

impl Signature {
    fn check(&self, object: &Value) -> matrixe2ee::Result<()> {
        verify_signed_json(&object.to_string(), &self.user_id, &self.key_id, &self.public_key)
    }

    fn place(&self) -> String {
        format!("the {} by {} {}", self.on, self.user_id, self.key_id)
    }
}

/// The public keys of a `/keys/query` answer by (user ID, key ID).
type Directory = BTreeMap<(String, String), String>;

fn directory(answers: &Value) -> Directory {
    let mut keys = Directory::new();
    let mut learn = |user: &str, object: &Value| {
        for (key_id, key) in members(&object["keys"]) {
            keys.insert((user.to_owned(), key_id.to_owned()), text(key).to_owned());
        }
    };
    for answer in list(answers) {
        let answer = &answer["response"];
        for (user, devices) in members(&answer["device_keys"]) {
            members(devices).for_each(|(_, device)| learn(user, device));
        }
        for kind in ["master_keys", "self_signing_keys", "user_signing_keys"] {
            members(&answer[kind]).for_each(|(user, key)| learn(user, key));
        }
    }
    keys
}

/// Every signature on an object whose signing key is in the directory.
fn signatures_on(
    on: &'static str,
    owner: &str,
    own_key_id: Option<&str>,
    object: &Value,
    keys: &Directory,
) -> Vec<Signature> {
    let mut found = Vec::new();
    for (user_id, signatures) in members(&object["signatures"]) {
        for (key_id, _) in members(signatures) {
            let public_key = keys
                .get(&(user_id.to_owned(), key_id.to_owned()))
                .unwrap_or_else(|| panic!("{key_id} of {user_id} signs and is not known"));
            found.push(Signature {
                on,
                by: match own_key_id {
                    _ if user_id != owner => "another user",
                    Some(own) if own == key_id => "itself",
                    _ => "another key",
                },
                object: object.clone(),
                user_id: user_id.to_owned(),
                key_id: key_id.to_owned(),
                public_key: public_key.clone(),
            });
        }
    }
    found
}

fn signatures_in_keys_query() -> Vec<Signature> {
    let answers = fixture("keys_query");
    let keys = directory(&answers);
    let mut found = Vec::new();
    for answer in list(&answers) {
        let answer = &answer["response"];
        for (user, devices) in members(&answer["device_keys"]) {
            for (device, object) in members(devices) {
                let own = format!("ed25519:{device}");
                found.extend(signatures_on("device", user, Some(&own), object, &keys));
            }
        }
        for (kind, on) in [
            ("master_keys", "master key"),
            ("self_signing_keys", "self-signing key"),
            ("user_signing_keys", "user-signing key"),
        ] {
            for (user, object) in members(&answer[kind]) {
                let own = members(&object["keys"]).next().map(|(key_id, _)| key_id);
                found.extend(signatures_on(on, user, own, object, &keys));
            }
        }
    }
    found
}

fn signatures_in_keys_upload() -> Vec<Signature> {
    let keys = directory(&fixture("keys_query"));
    let mut found = Vec::new();
    for upload in list(&fixture("keys_upload")) {
        let (user, request) = (text(&upload["user"]), &upload["request"]);
        if request["device_keys"].is_object() {
            found.extend(signatures_on("device", user, None, &request["device_keys"], &keys));
        }
        for (_, key) in members(&request["one_time_keys"]) {
            found.extend(signatures_on("one-time key", user, None, key, &keys));
        }
        for (_, key) in members(&request["fallback_keys"]) {
            assert_eq!(key["fallback"], true, "a fallback key says so inside what is signed");
            found.extend(signatures_on("fallback key", user, None, key, &keys));
        }
    }
    found
}

fn signatures_in_keys_claim() -> Vec<Signature> {
    let keys = directory(&fixture("keys_query"));
    let mut found = Vec::new();
    for claim in list(&fixture("keys_claim")) {
        for (user, devices) in members(&claim["response"]["one_time_keys"]) {
            for (_, claimed) in members(devices) {
                for (_, key) in members(claimed) {
                    found.extend(signatures_on("claimed key", user, None, key, &keys));
                }
            }
        }
    }
    found
}

fn count(signatures: &[Signature]) -> BTreeMap<(&'static str, &'static str), usize> {
    let mut counts = BTreeMap::new();
    for signature in signatures {
        *counts.entry((signature.on, signature.by)).or_default() += 1;
    }
    counts
}

fn all_signatures() -> Vec<Signature> {
    let mut all = signatures_in_keys_query();
    all.extend(signatures_in_keys_upload());
    all.extend(signatures_in_keys_claim());
    all
}

fn check_all(signatures: &[Signature]) {
    for signature in signatures {
        // SEC-3, SEC-81, SEC-99: what three other implementations signed.
        signature
            .check(&signature.object)
            .unwrap_or_else(|error| panic!("{}: {}", signature.place(), error.to_json()));
    }
}

#[test]
fn every_signature_in_the_key_query_answers_verifies() {
    let signatures = signatures_in_keys_query();
    let expected = BTreeMap::from([
        // The 126 that an independent program checked too.
        (("device", "itself"), 71),
        (("device", "another key"), 28),
        (("self-signing key", "another key"), 21),
        (("user-signing key", "another key"), 6),
        // And those on master keys.
        (("master key", "itself"), 21),
        (("master key", "another key"), 21),
        (("master key", "another user"), 4),
    ]);
    assert_eq!(count(&signatures), expected);
    assert_eq!(71 + 28 + 21 + 6, 126);
    check_all(&signatures);
}

#[test]
fn every_signature_in_the_key_uploads_verifies() {
    let signatures = signatures_in_keys_upload();
    let expected = BTreeMap::from([
        (("device", "another key"), 11),
        (("one-time key", "another key"), 561),
        (("fallback key", "another key"), 6),
    ]);
    assert_eq!(count(&signatures), expected);
    check_all(&signatures);
}

#[test]
fn every_signature_on_a_claimed_key_verifies() {
    let signatures = signatures_in_keys_claim();
    assert_eq!(count(&signatures), BTreeMap::from([(("claimed key", "another key"), 21)]));
    check_all(&signatures);
}

/// Replaces one character by another one that is as good as any in base64.
pub(super) fn alter(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'B' { "C" } else { "B" };
    let mut altered = text.to_owned();
    altered.replace_range(at..=at, other);
    altered
}

/// Calls `visit` with the object as it is after one change to each text in
/// turn, and to each name.
fn with_each_text_altered(
    object: &Value,
    at: &mut Vec<String>,
    root: &Value,
    visit: &mut impl FnMut(&[String], Value),
) {
    match object {
        Value::String(old) if !old.is_empty() => {
            let mut altered = root.clone();
            let place = at.iter().try_fold(&mut altered, |value, step| match value {
                Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
                _ => value.get_mut(step),
            });
            *place.expect("the path leads to the text") = alter(old, old.len() - 1).into();
            visit(at, altered);
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push(index.to_string());
                with_each_text_altered(item, at, root, visit);
                at.pop();
            }
        }
        Value::Object(map) => {
            for (name, member) in map {
                if at.is_empty() && matches!(name.as_str(), "signatures" | "unsigned") {
                    continue;
                }
                at.push(name.clone());
                with_each_text_altered(member, at, root, visit);
                at.pop();
            }
        }
        _ => {}
    }
}

#[test]
fn no_signature_verifies_once_a_character_of_the_object_is_altered() {
    let mut refused = 0;
    for signature in all_signatures() {
        with_each_text_altered(
            &signature.object,
            &mut Vec::new(),
            &signature.object,
            &mut |at, altered| {
                // SEC-3, SEC-18, SEC-81.
                match signature.check(&altered) {
                    Err(E2eeError::BadSignature { .. }) => refused += 1,
                    other => panic!("{} with {at:?} altered: {other:?}", signature.place()),
                }
            },
        );
        let mut renamed = signature.object.clone();
        renamed["extra"] = json!(1);
        assert!(
            matches!(error(signature.check(&renamed)), E2eeError::BadSignature { .. }),
            "{} with one more field",
            signature.place()
        );
    }
    // 110 objects of devices have at least six texts each, 600 keys at least one.
    assert!(refused > 1_000, "only {refused} changes were tried");
}

#[test]
fn no_altered_signature_verifies_and_no_signature_by_another_key() {
    let signatures = all_signatures();
    assert_eq!(signatures.len(), 172 + 578 + 21);
    for (number, signature) in signatures.iter().enumerate() {
        let mut altered = signature.object.clone();
        let place = &mut altered["signatures"][&signature.user_id][&signature.key_id];
        let at = number % 80; // The last characters of a signature have spare bits.
        *place = alter(text(place), at).into();
        // SEC-10: the strict check of Ed25519 leaves no byte of a signature free.
        assert!(
            matches!(error(signature.check(&altered)), E2eeError::BadSignature { .. }),
            "{} altered at {at}",
            signature.place()
        );

        let other = signatures
            .iter()
            .find(|other| other.public_key != signature.public_key)
            .expect("there are several keys");
        let result = verify_signed_json(
            &signature.object.to_string(),
            &signature.user_id,
            &signature.key_id,
            &other.public_key,
        );
        assert!(
            matches!(error(result), E2eeError::BadSignature { .. }),
            "{} with another key",
            signature.place()
        );
    }
}

#[test]
fn unsigned_parts_are_outside_of_the_signature() {
    let mut seen = 0;
    for signature in signatures_in_keys_query() {
        if signature.object.get("unsigned").is_some() {
            seen += 1;
        }
        let mut altered = signature.object.clone();
        altered["unsigned"] = json!({"device_display_name": "something else"});
        // SEC-99: `unsigned` at the top, and only there, is left out.
        signature.check(&altered).expect("unsigned is not signed");
        altered["keys"]["unsigned"] = json!({});
        assert!(matches!(error(signature.check(&altered)), E2eeError::BadSignature { .. }));
    }
    assert!(seen > 0, "some answers carry display names");
}
