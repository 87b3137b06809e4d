//! How time and memory are measured: the same in every program.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What one measurement is about: the arguments of each program.
pub struct Task {
    /// Which row of the table.
    pub row: String,
    /// Bytes of a message's body, where the row has messages.
    pub size: usize,
    /// How many operations, devices or keys.
    pub count: usize,
    /// Where the material is that all programs share, on the disk that is measured.
    pub folder: std::path::PathBuf,
}

impl Task {
    /// The arguments from the given one on: row, size, count, folder.
    pub fn from_arguments(first: usize) -> Self {
        let arguments: Vec<_> = std::env::args().skip(first).collect();
        Self {
            row: arguments[0].clone(),
            size: arguments[1].parse().unwrap(),
            count: arguments[2].parse().unwrap(),
            folder: arguments[3].clone().into(),
        }
    }

    pub fn read(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.folder.join(name)).unwrap()).unwrap()
    }
}

/// Gives the driver its figure; none if the program cannot do this.
pub fn report(value: Option<f64>) {
    println!("{}", serde_json::json!({ "value": value }));
}

/// Many runs of one short operation.
#[derive(Default)]
pub struct Timer(Vec<f64>);

impl Timer {
    pub fn time<R>(&mut self, operation: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = std::hint::black_box(operation());
        self.stop(start);
        result
    }

    /// For operations that a closure cannot hold.
    pub fn stop(&mut self, start: Instant) {
        self.0.push(start.elapsed().as_secs_f64() * 1e6);
    }

    /// µs of one: the median over blocks. Other work on the machine falls out of it; what happens
    /// once in so many operations, as when a block of indices is reserved, does not.
    pub fn of_processor(&self) -> f64 {
        let block = self.0.len().div_ceil(15);
        let blocks =
            self.0.chunks(block).map(|block| block.iter().sum::<f64>() / block.len() as f64);
        median(blocks.collect())
    }

    /// µs of one: the mean, where waiting for a disk belongs to the price.
    pub fn of_disk(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

/// µs for each of so many that are done at once.
pub fn together<R>(count: usize, work: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64() * 1e6 / count as f64, result)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The same shuffling each time, for everybody.
pub fn shuffle<T>(list: &mut [T]) {
    let mut state = 0x9e37_79b9_u64;
    for last in (1..list.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        list.swap(last, (state >> 33) as usize % (last + 1));
    }
}

/// The bytes that glibc's malloc has given out, on all threads.
pub fn heap() -> f64 {
    #[repr(C)]
    struct Info([usize; 10]);
    unsafe extern "C" {
        fn mallinfo2() -> Info;
    }
    // SAFETY: the structure is ten numbers. [4] is in memory maps of their own, [7] in arenas.
    let info = unsafe { mallinfo2() };
    (info.0[4] + info.0[7]) as f64
}

/// The most that this process has had in memory so far, in MiB.
pub fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Has a store prepared, where it is not yet, as for another row: by a process whose memory does not
/// count here.
pub fn prepared_by_another_process(task: &Task, store: &str, row: &str) {
    if !task.folder.join(store).exists() {
        by_another_process(task, row, task.count);
    }
}

/// What a process of its own measures for another row, or for another count.
pub fn by_another_process(task: &Task, row: &str, count: usize) -> Option<f64> {
    let program = std::env::args().nth(1).unwrap();
    let numbers = [task.size.to_string(), count.to_string()];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(program).arg(row).args(numbers).arg(&task.folder);
    figure_of(&mut command)
}

/// What a program measures; none if it cannot do this.
pub fn figure_of(command: &mut Command) -> Option<f64> {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["value"].as_f64()
}

/// A disk where syncing takes at least SYNC_MS milliseconds: SQLite's calls, of every program, end
/// up here and not in the C library.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(file: i32) -> i32 {
    sync(if cfg!(target_arch = "aarch64") { 82 } else { 74 }, file)
}

#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(file: i32) -> i32 {
    sync(if cfg!(target_arch = "aarch64") { 83 } else { 75 }, file)
}

fn sync(call: i64, file: i32) -> i32 {
    unsafe extern "C" {
        fn syscall(number: i64, ...) -> i64;
    }
    let start = Instant::now();
    // SAFETY: the system's own call by its number, with its own argument.
    let result = unsafe { syscall(call, file) };
    let least = std::env::var("SYNC_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(least).saturating_sub(start.elapsed()));
    result as i32
}
