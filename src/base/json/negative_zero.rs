//! `-0`, which canonical JSON writes `0` (SEC-99), and which serde_json reads as the fraction `-0.0`.

use std::borrow::Cow;

/// The text with ` 0` for each number `-0`: as long as before, so that places in errors stay.
/// Fractions such as `-0.0` stay what they are, and so does what stands in a text.
pub(super) fn without_negative_zero(text: &str) -> Cow<'_, str> {
    if !text.contains("-0") {
        return Cow::Borrowed(text);
    }
    let mut bytes = Cow::Borrowed(text.as_bytes());
    let (mut in_text, mut escaped) = (false, false);
    let mut before = b' ';
    for (place, byte) in text.bytes().enumerate() {
        if in_text {
            in_text = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
        } else if byte == b'"' {
            in_text = true;
        } else if byte == b'-'
            && !in_number(before)
            && is_zero(text.get(place..))
            && let Some(sign) = bytes.to_mut().get_mut(place)
        {
            *sign = b' ';
        }
        before = byte;
    }
    match bytes {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

/// Whether the number that begins here is `-0`.
fn is_zero(rest: Option<&str>) -> bool {
    let after = rest.and_then(|rest| rest.strip_prefix("-0"));
    after.is_some_and(|after| !after.bytes().next().is_some_and(in_number))
}

fn in_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    // SEC-99
    #[test]
    fn only_a_number_that_is_minus_zero_loses_its_sign() {
        for (text, expected) in [
            ("-0", " 0"),
            ("[-0,-0]", "[ 0, 0]"),
            (r#"{"-0":-0,"\"-0":"a\\"}"#, r#"{"-0": 0,"\"-0":"a\\"}"#),
            (r#"["\\",-0]"#, r#"["\\", 0]"#),
        ] {
            assert_eq!(without_negative_zero(text), expected);
        }
        for same in ["-0.0", "-0e1", "-0E1", "-00", "1e-0", "1-0", "--0", "\"-0\"", "-01", "{}"] {
            assert!(matches!(without_negative_zero(same), Cow::Borrowed(text) if text == same));
        }
    }
}
