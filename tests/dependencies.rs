//! What the library is built from: secrets are wiped, weak options are off, nothing comes twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store, typed};

/// The sets of features that are shipped (c-abi.md).
const BUILDS: [&[&str]; 3] = [
    &["--no-default-features", "--features", "capi,hardened-alloc,bundled-sqlite"],
    &["--no-default-features", "--features", "capi,hardened-alloc"],
    &["--no-default-features", "--features", "uniffi,bundled-sqlite"],
];

/// The packages of a build without those of its tests, with their versions and features. Cargo
/// downloads what no earlier build needed, and nothing if all of them are there.
fn packages(build: &[&str]) -> BTreeMap<String, Vec<(String, Vec<String>)>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"])
        .args(build)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages = BTreeMap::<String, Vec<_>>::new();
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        let (package, features) = line.split_once('|').expect("a package and its features");
        let mut words = package.split(' ');
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        let features = features.split(',').map(str::to_owned).collect();
        let versions = packages.entry(name.to_owned()).or_default();
        let entry = (version.to_owned(), features);
        if !versions.contains(&entry) {
            versions.push(entry);
        }
    }
    packages
}

#[test]
fn every_build_wipes_keys_from_memory() {
    for build in BUILDS {
        let packages = packages(build);
        for name in [
            "curve25519-dalek", // SEC-108: CVE-2024-34063 was a feature that was silently lost
            "x25519-dalek",     // SEC-108
            "ed25519-dalek",    // SEC-108
            "chacha20poly1305",
            "hmac",
            "sha2",
        ] {
            let versions = packages.get(name).unwrap_or_else(|| panic!("{name} is gone"));
            for (version, features) in versions {
                assert!(
                    features.iter().any(|feature| feature == "zeroize"),
                    "{name} {version} is built without zeroize: {features:?}" // SEC-108
                );
            }
        }
    }
}

#[test]
fn what_other_languages_are_given_wipes_all_memory_and_a_rust_program_has_the_choice() {
    for build in BUILDS {
        assert!(packages(build).contains_key("zeroizing-alloc"), "{build:?}"); // SEC-108
    }
    // A program has one allocator, and it is not a library's to say which.
    assert!(!packages(&[]).contains_key("zeroizing-alloc"));
    let makefile = include_str!("../Makefile");
    assert!(makefile.contains("--features $(FEATURES),hardened-alloc "));
}

#[test]
fn the_cryptography_comes_once_and_without_its_weak_options() {
    for build in BUILDS {
        let packages = packages(build);
        for name in [
            "vodozemac",
            "curve25519-dalek",
            "x25519-dalek",
            "ed25519-dalek",
            "aes",
            "sha2",
            "hmac",
            "hkdf",
            "chacha20poly1305",
            "zeroize",
            "subtle",
            "rand",
            "getrandom",
        ] {
            let versions = packages.get(name).unwrap_or_else(|| panic!("{name} is gone"));
            // Macros that run in the compiler may have it with other features.
            let same = versions.iter().all(|(version, _)| *version == versions[0].0);
            assert!(same, "{name} comes more than once: {versions:?}"); // DESIGN, section 7
        }
        let (version, features) = &packages["vodozemac"][0];
        assert_eq!(version, "v0.11.1"); // SEC-111: what was reviewed
        for weak in ["experimental-session-config", "low-level-api", "js"] {
            assert!(!features.iter().any(|feature| feature == weak), "{weak} is on"); // SEC-40
        }
    }
}

/// Fails to compile if a type can be copied: then a secret would be in two places.
macro_rules! assert_not_clone {
    ($($type:ty),* $(,)?) => {$({
        trait AmbiguousIfClone<Marker> {
            fn check() {}
        }
        impl<T: ?Sized> AmbiguousIfClone<()> for T {}
        struct Cloneable;
        impl<T: ?Sized + Clone> AmbiguousIfClone<Cloneable> for T {}
        <$type as AmbiguousIfClone<_>>::check();
    })*};
}

#[test]
fn no_object_that_holds_secrets_can_be_copied() {
    // SEC-108; the handles are shared as `Arc`s.
    assert_not_clone!(Store, Account, OlmChannel, OutboundMegolmSession, InboundMegolmSession);
    assert_not_clone!(
        typed::Store,
        typed::Account,
        typed::OlmChannel,
        typed::OutboundMegolmSession,
        typed::InboundMegolmSession,
        typed::Decrypted,
    );
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            found.push((name, text));
        }
    }
}

#[test]
fn secrets_are_compared_and_decoded_in_constant_time() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30);
    for (name, text) in &found {
        // SEC-109: the AEAD, hmac and vodozemac compare their tags and ratchets with `subtle`; a
        // comparison of ours would need it, too.
        for line in text.lines().filter(|line| line.contains("==") || line.contains("!=")) {
            let words: Vec<&str> =
                line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
            for word in ["mac", "tag", "commitment", "passphrase", "session_key", "pickle_key"] {
                assert!(!words.contains(&word), "{name}: {line}"); // SEC-109
            }
        }
        // SEC-109: only vodozemac, which has base64ct, decodes session keys.
        if name == "room_key.rs" {
            assert!(!text.contains("decode_base64"), "{name}");
        }
    }
    for build in BUILDS {
        assert!(packages(build).contains_key("base64ct")); // SEC-109
    }
}
