//! Base64 as Matrix has it: standard alphabet, padding optional, nothing else lenient (SEC-101).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::error::{E2eeError, Result};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(false),
);

/// Decodes base64; `what` names the value in errors.
pub(crate) fn decode_base64(what: &str, text: &str) -> Result<Vec<u8>> {
    ENGINE.decode(text).map_err(|_| E2eeError::invalid_field(what, "is not valid base64"))
}

/// Encodes as unpadded base64.
pub(crate) fn encode_base64(bytes: impl AsRef<[u8]>) -> String {
    ENGINE.encode(bytes)
}
