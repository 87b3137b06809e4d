//! Megolm sessions: sending to a room and receiving from it (M1-M29; D1-D19).

mod inbound;
mod outbound;
mod room_key;

pub(crate) use inbound::Arrival;
pub use inbound::ArrivingSession;
pub use inbound::{
    Decrypted, ExportedSession, InboundMegolmSession, SessionInfo, decrypt_room_events,
    list_sessions,
};
pub use outbound::{
    EncryptedEvent, EventContent, KeysToSend, OutboundMegolmSession, Recipients, SentDevice,
    Settings,
};
