//! Megolm sessions: sending to a room and receiving from it (M1-M29; D1-D19).

mod inbound;
mod outbound;
mod room_key;

pub use inbound::ArrivingSession;
pub(crate) use inbound::{Arrival, InboundImport};
pub use inbound::{
    Decrypted, InboundMegolmSession, SessionInfo, decrypt_room_events, list_sessions,
};
pub(crate) use outbound::OutboundImport;
pub use outbound::{OutboundMegolmSession, Settings};
