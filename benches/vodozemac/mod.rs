//! Raw vodozemac on one core: with base64, and with the signatures that every client has to check,
//! but without JSON, without a store, and without a check for replays.

mod keys;
mod memory;
mod olm;
mod rooms;

use crate::measure::Task;

pub fn measure(task: &Task) -> Option<f64> {
    Some(match task.row.as_str() {
        "account" => keys::account(task),
        "one_time_keys" => keys::one_time_keys(task),
        "verify_device" => keys::verify_device(task),
        "outbound_channel" => olm::outbound_channel(task),
        "inbound_channel" => olm::inbound_channel(task),
        "olm_encrypt" => olm::encrypt(task),
        "olm_decrypt" => olm::decrypt(task),
        "ping_pong_encrypt" => olm::ping_pong(task).0,
        "ping_pong_decrypt" => olm::ping_pong(task).1,
        "megolm_encrypt" => rooms::encrypt(task),
        "megolm_decrypt" => rooms::decrypt(task),
        "backlog_in_order" => rooms::backlog(task, "backlog.json", false),
        "backlog_random" => rooms::backlog(task, "backlog.json", true),
        "deep_session" => rooms::backlog(task, "deep.json", true),
        "decrypt_many" => rooms::decrypt_in_batches(task),
        "bare_call" => rooms::session_id(task),
        "import_keys" => rooms::import_keys(task),
        "share_existing" => olm::share_existing(task),
        "share_new" => olm::share_new(task),
        "bytes_olm" => memory::olm_session(task),
        "bytes_megolm" => memory::room_key(task),
        _ => return None,
    })
}
