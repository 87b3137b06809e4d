//! How large JSON may be (SEC-100; spec: "Size limits").

use crate::error::{E2eeError, Result};

/// The largest event or to-device content, in bytes.
pub(crate) const EVENT_LIMIT: usize = 65_536;
/// The largest entry for one device in an answer of the server, in bytes.
pub(crate) const DEVICE_LIMIT: usize = 65_536;
/// The largest other JSON argument, in bytes.
pub(crate) const ARGUMENT_LIMIT: usize = 128 << 20;

/// Refuses a plaintext whose ciphertext no server would take and no receiver would read.
///
/// `overhead`: what the message has beside the padded plaintext, such as keys and a signature.
/// `cleartext`: what stands beside the ciphertext and is as long as the plaintext wants it.
pub(crate) fn check_encrypted_size(
    plaintext: usize,
    overhead: usize,
    cleartext: usize,
) -> Result<()> {
    let padded = (plaintext / 16).saturating_add(1).saturating_mul(16);
    let base64 = padded.saturating_add(overhead).div_ceil(3).saturating_mul(4);
    let size = base64.saturating_add(cleartext);
    if size > EVENT_LIMIT {
        return Err(E2eeError::too_large("the encrypted event", size, EVENT_LIMIT));
    }
    Ok(())
}
