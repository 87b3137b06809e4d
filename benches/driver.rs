//! Runs the programs in turn and takes medians.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{figure_of, median};
use crate::report::{self, Line};
use crate::rows::{ROWS, Row};
use crate::{bindings, machine, material};

/// The columns of the table. The first word of each is a program, the second its argument.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Memory,
    Disk,
    Vodozemac,
    Libolm,
    SdkMemory,
    SdkDisk,
}

pub const PROGRAMS: [Program; 6] = [
    Program::Memory,
    Program::Disk,
    Program::Vodozemac,
    Program::Libolm,
    Program::SdkMemory,
    Program::SdkDisk,
];

impl Program {
    /// None if it was not built.
    fn command(self) -> Option<Command> {
        let own = std::env::current_exe().unwrap();
        let rivals = std::env::var_os("RIVALS").map(PathBuf::from);
        let rival = |name: &str| Some(rivals?.join(name)).filter(|path| path.exists());
        let (path, argument) = match self {
            Self::Memory => (own, "memory"),
            Self::Disk => (own, "disk"),
            Self::Vodozemac => (own, "vodozemac"),
            Self::Libolm => (rival("libolm")?, "libolm"),
            Self::SdkMemory => (rival("matrix_sdk")?, "memory"),
            Self::SdkDisk => (rival("matrix_sdk")?, "disk"),
        };
        let mut command = Command::new(path);
        command.arg(argument);
        Some(command)
    }

    /// One figure of one row.
    fn measure(self, row: &Row, count: usize, folder: &Path) -> Option<f64> {
        let mut command = self.command()?;
        command.args([row.name, &row.size.to_string(), &count.to_string()]).arg(folder);
        if row.name.ends_with("5_ms") {
            command.env("SYNC_MS", "5");
        }
        figure_of(&mut command)
    }
}

pub struct Settings {
    pub quick: bool,
    pub rounds: usize,
    only: String,
}

impl Settings {
    fn read() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let quick = variable("QUICK").is_some();
        let rounds =
            if quick { 1 } else { variable("ROUNDS").map_or(5, |text| text.parse().unwrap()) };
        Self { quick, rounds, only: variable("ONLY").unwrap_or_default() }
    }

    pub fn wants(&self, name: &str, label: &str) -> bool {
        name.contains(&self.only) || label.contains(&self.only)
    }
}

pub fn run() {
    let settings = Settings::read();
    let Settings { quick, rounds, .. } = settings;
    let rows: Vec<_> = ROWS.iter().filter(|row| settings.wants(row.name, row.label)).collect();

    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let scratch = tempfile::tempdir_in(target).unwrap();
    let folder = scratch.path();
    let most = if quick { 100 } else { 10_000 };
    material::write(folder, most, most, most);
    let disk = machine::disk(folder);

    println!("{}", report::head());
    let lines: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let count = if quick { (row.count / 100).max(20) } else { row.count };
            let line = measure_row(row, count, rounds.min(row.rounds), folder);
            println!("{}", report::line(&line));
            line
        })
        .collect();

    let of_bindings = bindings::run(&settings, folder);

    let machine = report::machine(&disk, &machine::disk(folder));
    println!("\n{machine}");
    if quick || !settings.only.is_empty() {
        println!("Not a full run: docs/benchmarks.md stays as it is.");
    } else {
        report::write(&machine, &lines, &of_bindings);
    }
}

/// All programs in turn, so often.
fn measure_row(row: &'static Row, count: usize, rounds: usize, folder: &Path) -> Line {
    let mut figures: [Vec<f64>; PROGRAMS.len()] = Default::default();
    for _ in 0..rounds {
        for (program, figures) in PROGRAMS.into_iter().zip(&mut figures) {
            figures.extend(program.measure(row, count, folder));
        }
    }
    Line { row, rounds, figures }
}

/// The figure of one program.
pub fn figure(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| median(values.to_vec()))
}

/// The ratio of two, round by round: both then had the same machine.
pub fn ratio(values: &[f64], others: &[f64]) -> Option<f64> {
    let ratios: Vec<_> = values.iter().zip(others).map(|(value, other)| value / other).collect();
    figure(&ratios)
}
