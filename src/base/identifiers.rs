//! Matrix identifiers: length, sigil and characters (SEC-102). They are compared byte by byte.

use crate::error::{E2eeError, Result};

const MAX_BYTES: usize = 255;

/// Checks a user ID: `@name:server`.
pub(crate) fn check_user_id(field: &str, id: &str) -> Result<()> {
    check(field, id)?;
    if !id.starts_with('@') || !id.contains(':') {
        return Err(E2eeError::invalid_field(field, "is not a user ID (@name:server)"));
    }
    Ok(())
}

/// Checks a room ID: `!opaque`, with or without a server name.
pub(crate) fn check_room_id(field: &str, id: &str) -> Result<()> {
    check(field, id)?;
    if !id.starts_with('!') || id.len() < 2 {
        return Err(E2eeError::invalid_field(field, "is not a room ID (!opaque)"));
    }
    Ok(())
}

/// Checks an event ID: `$opaque`.
pub(crate) fn check_event_id(field: &str, id: &str) -> Result<()> {
    check(field, id)?;
    if !id.starts_with('$') || id.len() < 2 {
        return Err(E2eeError::invalid_field(field, "is not an event ID ($opaque)"));
    }
    Ok(())
}

/// Checks a device ID: not empty, otherwise opaque.
pub(crate) fn check_device_id(field: &str, id: &str) -> Result<()> {
    check(field, id)
}

/// Checks an event type: not empty, otherwise opaque.
pub(crate) fn check_event_type(field: &str, event_type: &str) -> Result<()> {
    check(field, event_type)
}

fn check(field: &str, id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(E2eeError::invalid_field(field, "is empty"));
    }
    if id.len() > MAX_BYTES {
        return Err(E2eeError::invalid_field(field, "is longer than 255 bytes"));
    }
    if id.chars().any(char::is_control) {
        return Err(E2eeError::invalid_field(field, "has a control character"));
    }
    Ok(())
}
