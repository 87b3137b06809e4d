//! The rows of the table; µs, where the label says nothing else.

pub struct Row {
    /// What the programs call it.
    pub name: &'static str,
    /// What the table calls it.
    pub label: &'static str,
    /// Bytes of a message's body.
    pub size: usize,
    /// How many operations, devices or keys.
    pub count: usize,
    pub aim: Aim,
    /// Rounds at most, for what takes long.
    pub rounds: usize,
}

/// What the library wants to reach. A ratio is to vodozemac in the same run.
#[derive(Clone, Copy)]
pub enum Aim {
    None,
    /// With the store in memory.
    Memory(f64),
    /// The same, where all cores work, divided by their number.
    MemoryCores(f64),
    /// With the store on disk.
    Disk(f64),
    /// No ratio: on disk, at least or at most.
    AtLeast(f64),
    AtMost(f64),
}

const fn row(name: &'static str, label: &'static str, count: usize) -> Row {
    Row { name, label, size: 1024, count, aim: Aim::None, rounds: 99 }
}

impl Row {
    const fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    const fn aim(self, aim: Aim) -> Self {
        Self { aim, ..self }
    }

    const fn rounds(self, rounds: usize) -> Self {
        Self { rounds, ..self }
    }
}

pub const ROWS: &[Row] = &[
    row("account", "account, device keys signed", 150),
    row("one_time_keys", "50 one-time keys, signed", 100),
    row("verify_device", "verify the JSON of a device", 1000),
    row("outbound_channel", "outbound channel and first message of 1 KiB", 200)
        .aim(Aim::Memory(1.1)),
    row("inbound_channel", "inbound channel from a first message of 1 KiB", 100)
        .aim(Aim::Memory(1.1)),
    row("olm_encrypt", "Olm encrypt 1 KiB, one way", 1000),
    row("olm_decrypt", "Olm decrypt 1 KiB, one way", 1000),
    row("ping_pong_encrypt", "Olm encrypt 1 KiB, ping-pong", 500),
    row("ping_pong_decrypt", "Olm decrypt 1 KiB, ping-pong", 500),
    row("megolm_encrypt", "Megolm encrypt 128 B", 1000).size(128),
    row("megolm_decrypt", "Megolm decrypt 128 B", 1000).size(128),
    row("megolm_encrypt", "Megolm encrypt 1 KiB", 1000).aim(Aim::Memory(1.25)),
    row("megolm_decrypt", "Megolm decrypt 1 KiB", 1000).aim(Aim::Memory(1.25)),
    row("megolm_encrypt", "Megolm encrypt 64 KiB", 320).size(47_000),
    row("megolm_decrypt", "Megolm decrypt 64 KiB", 320).size(47_000),
    row("backlog_in_order", "10,000 events of 100 sessions, in order, each", 10_000)
        .aim(Aim::MemoryCores(1.25)),
    row("backlog_random", "10,000 events of 100 sessions, random, each", 10_000)
        .aim(Aim::MemoryCores(1.25)),
    row("deep_session", "10,000 events of one session, random, each", 10_000)
        .aim(Aim::MemoryCores(1.1)),
    row("share_existing", "room key for 1,000 devices, channels exist, each", 1000)
        .aim(Aim::Disk(1.2)),
    row("share_existing", "room key for 10,000 devices, channels exist, each", 10_000)
        .aim(Aim::Disk(1.2))
        .rounds(5),
    row("share_new", "room key for 1,000 devices, new channels, each", 1000).aim(Aim::Disk(1.0)),
    row("share_new", "room key for 10,000 devices, new channels, each", 10_000)
        .aim(Aim::Disk(1.0))
        .rounds(3),
    row("share_whole", "the same until marked as sent, 1,000 devices, channels exist, each", 1000),
    row(
        "share_whole",
        "the same until marked as sent, 10,000 devices, channels exist, each",
        10_000,
    )
    .rounds(3),
    row("import_keys", "import of 10,000 exported room keys, each", 10_000).aim(Aim::Memory(1.5)),
    row("list_page", "a page of 1,000 of 1,000 sessions, each of them", 1000),
    row("list_page", "a page of 1,000 of 100,000 sessions, each of them", 100_000).rounds(1),
    row("durable", "Megolm encryptions of 1 KiB, durable, a second", 3200),
    row("durable_5_ms", "the same where syncing costs 5 ms, a second", 3200)
        .aim(Aim::AtLeast(2000.0))
        .rounds(3),
    row("durable_olm_5_ms", "Olm encryptions where syncing costs 5 ms, a second", 200).rounds(3),
    row("bytes_olm", "bytes of a loaded Olm session", 2000).aim(Aim::Memory(1.2)),
    row("bytes_megolm", "bytes of a loaded inbound Megolm session", 2000).aim(Aim::Memory(1.2)),
    row("peak", "room key for 10,000 devices, whole process, MiB at most", 10_000)
        .aim(Aim::AtMost(120.0))
        .rounds(3),
    opening("open_sessions", "start and first decryption, 1,000 room keys stored, ms", 1000),
    opening("open_sessions", "the same, 100,000 room keys, ms", 100_000),
    opening("open_sessions", "the same, 1,000,000 room keys, ms", 1_000_000),
    opening("open_replays", "the same, 1,000,000 messages received, ms", 1_000_000),
    opening("open_channels", "the same through one of 100,000 channels, ms", 100_000),
    more_memory("more_sessions", "MiB more for that than with 1,000: 100,000 room keys", 100_000),
    more_memory("more_sessions", "the same, 1,000,000 room keys", 1_000_000),
    more_memory("more_replays", "the same, 1,000,000 messages received", 1_000_000),
    more_memory("more_channels", "the same, 100,000 channels", 100_000),
    commit("commit_sessions", "times as long as with 1,000: a room key, 100,000 stored", 100_000),
    commit("commit_sessions", "the same, 1,000,000 stored", 1_000_000),
    commit("commit_replays", "the same, a message, 1,000,000 received", 1_000_000),
    row("listing", "longest encryption while 1,000,000 room keys are listed, ms", 1_000_000)
        .aim(Aim::AtMost(50.0))
        .rounds(3),
];

/// Milliseconds: a store that holds much opens like one that holds little.
const fn opening(name: &'static str, label: &'static str, count: usize) -> Row {
    row(name, label, count).aim(Aim::AtMost(50.0)).rounds(5)
}

/// MiB, between two processes.
const fn more_memory(name: &'static str, label: &'static str, count: usize) -> Row {
    row(name, label, count).aim(Aim::AtMost(20.0)).rounds(3)
}

/// A ratio to a store that holds 1,000.
const fn commit(name: &'static str, label: &'static str, count: usize) -> Row {
    row(name, label, count).aim(Aim::AtMost(1.3)).rounds(3)
}
