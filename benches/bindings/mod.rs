//! What the bindings cost: the same work in Rust, C, Python and Kotlin in turn, over a store in memory.
//! The programs that are not in this one are prepared by benches/bindings/setup.sh.

mod report;

use std::path::Path;
use std::process::Command;

use crate::driver::Settings;
use crate::measure;

/// The columns of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Vodozemac,
    C,
    Python,
    PythonRaw,
    Kotlin,
    PypiVodozemac,
}

pub const PROGRAMS: [Program; 6] = [
    Program::Vodozemac,
    Program::C,
    Program::Python,
    Program::PythonRaw,
    Program::Kotlin,
    Program::PypiVodozemac,
];

impl Program {
    /// The name of the script that starts it, and its argument.
    fn script(self) -> Option<(&'static str, Option<&'static str>)> {
        Some(match self {
            Self::Vodozemac | Self::C => return None,
            Self::Python => ("ours", Some("objects")),
            Self::PythonRaw => ("ours", Some("raw")),
            Self::Kotlin => ("kotlin", None),
            Self::PypiVodozemac => ("pypi_vodozemac", None),
        })
    }

    /// None if it could not be prepared.
    fn command(self) -> Option<Command> {
        let Some((script, argument)) = self.script() else {
            let mut own = Command::new(std::env::current_exe().unwrap());
            own.arg(if self == Self::C { "memory" } else { "vodozemac" });
            return Some(own);
        };
        let path = Path::new(&std::env::var_os("BINDINGS")?).join(script);
        let mut command = Command::new(&path);
        command.args(argument);
        path.exists().then_some(command)
    }
}

pub struct Row {
    pub name: &'static str,
    pub label: &'static str,
    pub count: usize,
    /// Whether each operation is a call of its own, so that what a binding adds to a call shows.
    pub one_call: bool,
}

const ROWS: [Row; 5] = [
    Row { name: "megolm_encrypt", label: "Megolm encrypt 1 KiB", count: 3000, one_call: true },
    Row { name: "megolm_decrypt", label: "Megolm decrypt 1 KiB", count: 3000, one_call: true },
    Row {
        name: "decrypt_many",
        label: "`decrypt_many` of 1,000 events, each",
        count: 10_000,
        one_call: false,
    },
    Row {
        name: "bare_call",
        label: "a call that does next to nothing: `session_id`",
        count: 10_000,
        one_call: true,
    },
    Row {
        name: "bare_text",
        label: "1 KiB of text in and out: `canonical_json`",
        count: 10_000,
        one_call: true,
    },
];

pub struct Line {
    pub row: &'static Row,
    pub rounds: usize,
    pub figures: [Vec<f64>; PROGRAMS.len()],
}

/// Measures all rows that are wanted and prints their table; gives it too.
pub fn run(settings: &Settings, folder: &Path) -> String {
    let all = settings.wants("bindings", "");
    let rows = ROWS.iter().filter(|row| all || settings.wants(row.name, row.label));
    let lines: Vec<_> = rows.map(|row| measure_row(row, settings, folder)).collect();
    let table = if lines.is_empty() { String::new() } else { report::table(&lines) };
    println!("\n{table}");
    table
}

fn measure_row(row: &'static Row, settings: &Settings, folder: &Path) -> Line {
    // The event's index is part of what is measured: the material of a quick run has 100.
    let count = if settings.quick { row.count.min(100) } else { row.count };
    let mut figures: [Vec<f64>; PROGRAMS.len()] = Default::default();
    for _ in 0..settings.rounds {
        for (program, figures) in PROGRAMS.into_iter().zip(&mut figures) {
            if let Some(mut command) = program.command() {
                command.args([row.name, "1024", &count.to_string()]).arg(folder);
                figures.extend(measure::figure_of(&mut command));
            }
        }
    }
    Line { row, rounds: settings.rounds, figures }
}
