//! matrix-sdk-crypto's OlmMachine, which does more than the others: it keeps devices, trust and
//! requests too. With its store in memory or in SQLite.

mod devices;
mod keys;
mod machine;
#[allow(dead_code)] // Each program uses its part.
#[path = "../../../../measure.rs"]
mod measure;
mod rooms;
mod share;
#[allow(dead_code)]
#[path = "../../../../texts.rs"]
mod texts;

use machine::Place;

fn main() {
    let disk = std::env::args().nth(1).is_some_and(|place| place == "disk");
    let task = measure::Task::from_arguments(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    measure::report(runtime.block_on(measure(&task, disk)));
}

async fn measure(task: &measure::Task, disk: bool) -> Option<f64> {
    let place = Place::new(disk, &task.folder);
    Some(match task.row.as_str() {
        "account" => keys::account(task, &place).await,
        "one_time_keys" => keys::one_time_keys(task, &place).await,
        "verify_device" => keys::verify_device(task, &place).await,
        "inbound_channel" => keys::inbound_channel(task, &place).await,
        "megolm_encrypt" => rooms::encrypt(task, &place).await,
        "megolm_decrypt" => rooms::decrypt(task, &place).await,
        "backlog_in_order" => rooms::backlog(task, &place, "backlog.json", false).await,
        "backlog_random" => rooms::backlog(task, &place, "backlog.json", true).await,
        "deep_session" => rooms::backlog(task, &place, "deep.json", true).await,
        "import_keys" => rooms::import_keys(task, &place).await,
        "share_existing" => share::existing(task, &place).await,
        "share_new" => share::new(task, &place).await,
        "share_whole" => share::whole(task, &place).await,
        // Where syncing takes 5 ms (SYNC_MS), the file is in main memory: this disk adds nothing.
        "durable" if disk => 1e6 / rooms::encrypt(task, &place).await,
        "durable_5_ms" if disk => {
            1e6 / rooms::encrypt(task, &Place::new(true, &machine::free())).await
        }
        "bytes_megolm" if !disk => rooms::bytes(task, &place).await,
        "peak" if disk => share::peak(task, &place).await,
        _ => return None,
    })
}
