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

/// A Matrix identifier that was checked.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub struct $name(Box<str>);

        /// Without the text: what is printed tells nobody who talks to whom.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl $name {
            /// Reads it; `field` names where it stands, for the error.
            pub fn read(field: &str, text: &str) -> Result<Self> {
                $check(field, text)?;
                Ok(Self(Box::from(text)))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $check(stringify!($name), &text).map_err(serde::de::Error::custom)?;
                Ok(Self(text.into_boxed_str()))
            }
        }

        #[cfg(test)]
        #[allow(clippy::unwrap_used)]
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::read("text", text).unwrap()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }
    };
}

identifier!(
    /// A user ID, such as `@alice:example.org`.
    UserId,
    check_user_id
);
identifier!(
    /// A device ID.
    DeviceId,
    check_device_id
);
identifier!(
    /// A room ID, such as `!room:example.org`.
    RoomId,
    check_room_id
);
identifier!(
    /// An event ID, such as `$event`.
    EventId,
    check_event_id
);
identifier!(
    /// The type of an event.
    EventType,
    check_event_type
);
