//! What the figures were measured on.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::measure::median;

fn output(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": ")).map_or("unknown", |pair| pair.1);
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let known = ["aes", "sha_ni", "avx2", "avx512ifma"];
    let has = |flag: &&str| flags.split_whitespace().any(|word| word == *flag);
    let flags: Vec<_> = known.into_iter().filter(has).collect();
    format!("{name} ({}, {})", std::env::consts::ARCH, flags.join(", "))
}

pub fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// µs of appending 4 KiB to a file and syncing it: median and the slowest tenth.
fn sync_cost(folder: &Path) -> (f64, f64) {
    let mut file = tempfile::tempfile_in(folder).unwrap();
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[1; 4096]).unwrap();
            file.sync_data().unwrap();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    file.rewind().unwrap();
    times.sort_by(f64::total_cmp);
    (median(times.clone()), times[times.len() * 9 / 10])
}

/// One line about the disk; it changes, so one is made before and one after.
pub fn disk(folder: &Path) -> String {
    let (usual, slow) = sync_cost(folder);
    format!("{usual:.0} µs (a tenth of them over {slow:.0} µs)")
}

/// How busy the machine is with other things.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

pub fn describe() -> String {
    let compiler = output("rustc", &["--version"]);
    let compiler = compiler.split(" (").next().unwrap_or_default();
    let kernel = output("uname", &["-sr"]);
    let date = output("date", &["+%-d %B %Y"]);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let virtual_machine = if info.contains(" hypervisor") { ", virtual" } else { "" };
    let cores = cores();
    format!(
        "{}, {cores} cores{virtual_machine}; {kernel}; {compiler}, release profile; {date}",
        processor()
    )
}
