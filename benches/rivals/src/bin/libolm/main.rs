//! libolm, the C library that most clients had before: with the signatures that every client has to
//! check, but without JSON, without a store, and without a check for replays.

mod ffi;
mod keys;
#[allow(dead_code)] // Each program uses its part.
#[path = "../../../../measure.rs"]
mod measure;
mod olm;
mod rooms;
#[allow(dead_code)]
#[path = "../../../../texts.rs"]
mod texts;

fn main() {
    let task = measure::Task::from_arguments(2);
    measure::report(Some(match task.row.as_str() {
        "account" => keys::account(&task),
        "one_time_keys" => keys::one_time_keys(&task),
        "verify_device" => keys::verify_device(&task),
        "outbound_channel" => olm::outbound_channel(&task),
        "inbound_channel" => olm::inbound_channel(&task),
        "olm_encrypt" => olm::encrypt(&task),
        "olm_decrypt" => olm::decrypt(&task),
        "ping_pong_encrypt" => olm::ping_pong(&task).0,
        "ping_pong_decrypt" => olm::ping_pong(&task).1,
        "megolm_encrypt" => rooms::encrypt(&task),
        "megolm_decrypt" => rooms::decrypt(&task),
        "backlog_in_order" => rooms::backlog(&task, "backlog.json", false),
        "backlog_random" => rooms::backlog(&task, "backlog.json", true),
        "deep_session" => rooms::backlog(&task, "deep.json", true),
        "import_keys" => rooms::import_keys(&task),
        "share_existing" => olm::share_existing(&task),
        "share_new" => olm::share_new(&task),
        "bytes_olm" => olm::bytes(&task),
        "bytes_megolm" => rooms::bytes(&task),
        _ => return measure::report(None),
    }));
}
