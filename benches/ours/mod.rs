//! The library itself, through its C ABI.

mod accounts;
mod batches;
mod filled;
#[path = "../../tests/common/libolm.rs"]
mod libolm_pickles;
mod memory;
mod olm;
mod place;
mod rooms;
mod share;
mod stores;

use crate::measure::Task;
use filled::Kind::{Channels, Replays, Sessions};
use place::{Place, free};

pub const USER: &std::ffi::CStr = c"@alice:example.org";
pub const DEVICE: &std::ffi::CStr = c"ALICEDEVICE";
pub const MESSAGE: &std::ffi::CStr = c"m.room.message";

/// The figure of one row, in memory or on disk; none where there is no such thing.
pub fn measure(task: &Task, disk: bool) -> Option<f64> {
    // What the library's symbols come from.
    let _ = matrixe2ee::version();
    if let Some(kind) = [Sessions, Replays, Channels].iter().find(|kind| kind.filling() == task.row)
    {
        filled::fill(task, *kind);
        return None;
    }
    let place = Place::new(disk, &task.folder);
    Some(match task.row.as_str() {
        "account" => accounts::account(task, &place),
        "one_time_keys" => accounts::one_time_keys(task, &place),
        "verify_device" if !disk => accounts::verify_device(task),
        "outbound_channel" => olm::outbound_channel(task, &place),
        "inbound_channel" => olm::inbound_channel(task, &place),
        "olm_encrypt" => olm::encrypt(task, &place),
        "olm_decrypt" => olm::decrypt(task, &place),
        "ping_pong_encrypt" => olm::ping_pong(task, &place).0,
        "ping_pong_decrypt" => olm::ping_pong(task, &place).1,
        "megolm_encrypt" => rooms::encrypt(task, &place),
        "megolm_decrypt" => rooms::decrypt(task, &place),
        "backlog_in_order" => batches::backlog(task, &place, false),
        "backlog_random" => batches::backlog(task, &place, true),
        "deep_session" => batches::deep_session(task, &place),
        "decrypt_many" => batches::decrypt_many(task, &place),
        "import_keys" => batches::import_keys(task, &place),
        "list_page" if !disk => rooms::list_page(task, &place),
        "share_existing" => share::existing(task, &place),
        "share_new" => share::new(task, &place),
        "share_whole" => share::whole(task, &place),
        // Where syncing takes 5 ms (SYNC_MS), the file is in main memory: this disk adds nothing.
        "durable" if disk => 1e6 / rooms::encrypt(task, &place),
        "durable_5_ms" if disk => 1e6 / rooms::encrypt(task, &Place::new(true, &free())),
        "durable_olm_5_ms" if disk => 1e6 / olm::encrypt(task, &Place::new(true, &free())),
        "bytes_olm" if !disk => memory::olm_session(task),
        "bytes_megolm" if !disk => memory::room_key(task),
        "peak" if disk => memory::peak(task, &place),
        "open_sessions" if disk => stores::opening(task, Sessions),
        "open_replays" if disk => stores::opening(task, Replays),
        "open_channels" if disk => stores::opening(task, Channels),
        "peak_sessions" if disk => stores::peak(task, Sessions),
        "peak_replays" if disk => stores::peak(task, Replays),
        "peak_channels" if disk => stores::peak(task, Channels),
        "more_sessions" if disk => stores::more_memory(task, "peak_sessions"),
        "more_replays" if disk => stores::more_memory(task, "peak_replays"),
        "more_channels" if disk => stores::more_memory(task, "peak_channels"),
        "commit_sessions" if disk => stores::commit(task, Sessions),
        "commit_replays" if disk => stores::commit(task, Replays),
        "listing" if disk => stores::listing(task),
        "bare_call" => rooms::bare_call(task, &place),
        "bare_text" => rooms::bare_text(task, &place),
        _ => return None,
    })
}
