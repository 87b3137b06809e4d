//! The table, in Markdown.

use std::path::Path;

use crate::driver::{PROGRAMS, Program, figure, ratio};
use crate::machine;
use crate::rows::{Aim, Row};

pub struct Line {
    pub row: &'static Row,
    pub rounds: usize,
    /// In the order of the programs; empty where a program cannot do this.
    pub figures: [Vec<f64>; PROGRAMS.len()],
}

impl Line {
    fn of(&self, program: Program) -> &[f64] {
        &self.figures[program as usize]
    }
}

pub fn head() -> String {
    "| Operation | ours, memory | ours, SQLite | vodozemac | libolm | SDK, memory | SDK, SQLite \
     | ours : vodozemac | libolm : ours | SDK : ours, memory, SQLite | aim | met | rounds |\n\
     |---|---|---|---|---|---|---|---|---|---|---|---|---|"
        .to_owned()
}

pub fn line(line: &Line) -> String {
    use Program::{Disk, Libolm, Memory, SdkDisk, SdkMemory, Vodozemac};
    let number = |program| figure(line.of(program)).map_or("-".to_owned(), three_digits);
    let ratio = |one, other| {
        ratio(line.of(one), line.of(other)).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
    };
    // What the aim is about, the ratio is about.
    let to_vodozemac = match line.row.aim {
        Aim::Disk(_) => format!("{}, SQLite", ratio(Disk, Vodozemac)),
        _ => ratio(Memory, Vodozemac),
    };
    let to_sdk = match (ratio(SdkMemory, Memory), ratio(SdkDisk, Disk)) {
        (memory, disk) if memory == disk => memory,
        (memory, disk) => format!("{memory}, {disk}"),
    };
    let (aim, met) = verdict(line);
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {to_vodozemac} | {} | {to_sdk} | {aim} | {met} | {} |",
        line.row.label,
        number(Memory),
        number(Disk),
        number(Vodozemac),
        number(Libolm),
        number(SdkMemory),
        number(SdkDisk),
        ratio(Libolm, Memory),
        line.rounds,
    )
}

pub fn three_digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// The aim, and whether it is met.
fn verdict(line: &Line) -> (String, String) {
    let vodozemac = line.of(Program::Vodozemac);
    let ratio_of = |program| ratio(line.of(program), vodozemac);
    let cores = machine::cores() as f64;
    let (value, aim, more_is_better) = match line.row.aim {
        Aim::None => return ("-".to_owned(), "-".to_owned()),
        Aim::Memory(aim) => (ratio_of(Program::Memory), aim, false),
        Aim::MemoryCores(aim) => (ratio_of(Program::Memory), aim / cores, false),
        Aim::Disk(aim) => (ratio_of(Program::Disk), aim, false),
        Aim::AtLeast(aim) => (figure(line.of(Program::Disk)), aim, true),
        Aim::AtMost(aim) => (figure(line.of(Program::Disk)), aim, false),
    };
    let text = match line.row.aim {
        Aim::MemoryCores(aim) => format!("≤ {aim} / cores"),
        Aim::AtLeast(aim) => format!("≥ {aim}"),
        _ => format!("≤ {aim}"),
    };
    let Some(value) = value else { return (text, "-".to_owned()) };
    let times = if more_is_better { aim / value } else { value / aim };
    let met = if times <= 1.0 {
        "yes".to_owned()
    } else {
        format!("no, {:.0} % over", (times - 1.0) * 100.0)
    };
    (text, met)
}

/// What the figures were measured on.
pub fn machine(disk_before: &str, disk_after: &str) -> String {
    format!(
        "Machine: {}. Load at the end: {}. Writing and syncing 4 KiB on the disk of the stores: {disk_before} before the run, {disk_after} after it.",
        machine::describe(),
        machine::load(),
    )
}

/// Where the tables stand in docs/benchmarks.md: after these, before END.
const BEGIN: &str = "<!-- written by make bench -->";
const BEGIN_BINDINGS: &str = "<!-- the bindings, written by make bench -->";
const END: &str = "<!-- end -->";

/// Puts the tables in their places.
pub fn write(machine: &str, lines: &[Line], of_bindings: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let table: Vec<_> = lines.iter().map(line).collect();
    let table = format!("{machine}\n\n{}\n{}", head(), table.join("\n"));
    let page = put(&put(&page, BEGIN, &table), BEGIN_BINDINGS, of_bindings);
    std::fs::write(path, page).unwrap();
}

fn put(page: &str, begin: &str, table: &str) -> String {
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    format!("{before}{begin}\n{table}\n{END}{after}")
}
