//! The public objects: JSON text in, JSON text out.
//!
//! Each method reads its JSON, calls the typed core once and writes JSON; no protocol is decided
//! here. All objects may be used from any thread, also at once.

mod account;
mod batch;
#[cfg(feature = "uniffi")]
mod broken_store_rules;
#[cfg(feature = "uniffi")]
mod confirm_callback;
mod free_functions;
mod inbound_megolm_session;
mod olm_channel;
mod outbound_megolm_session;
mod store;

pub use account::Account;
#[cfg(feature = "uniffi")]
pub use broken_store_rules::{StoreOpener, broken_store_rules};
pub use free_functions::{
    canonical_json, keys_claim_request, read_keys_claim_response, verify_signed_json, version,
};
pub use inbound_megolm_session::InboundMegolmSession;
pub use olm_channel::OlmChannel;
pub use outbound_megolm_session::OutboundMegolmSession;
pub use store::Store;
