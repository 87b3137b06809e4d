//! The table of the bindings, in Markdown.

use super::{Line, PROGRAMS, Program};
use crate::driver::{figure, ratio};
use crate::report::three_digits;

/// What a binding may add to a call.
const AIM_MICROSECONDS: f64 = 30.0;

impl Line {
    fn of(&self, program: Program) -> &[f64] {
        &self.figures[program as usize]
    }

    fn number(&self, program: Program) -> String {
        figure(self.of(program)).map_or("-".to_owned(), three_digits)
    }

    fn ratio(&self, one: Program, other: Program) -> Option<f64> {
        ratio(self.of(one), self.of(other))
    }

    /// µs of one program above those of C, round by round.
    fn over_c(&self, program: Program) -> Option<f64> {
        let pairs = self.of(program).iter().zip(self.of(Program::C));
        figure(&pairs.map(|(value, c)| value - c).collect::<Vec<_>>())
    }
}

pub fn table(lines: &[Line]) -> String {
    let mut table = "| Operation | vodozemac | C | Python | Python, raw | Kotlin | PyPI vodozemac \
         | C, Python, raw, Kotlin : vodozemac | Python, raw, Kotlin over C, µs | ≤ 30 µs \
         | Python : PyPI | ≤ 1 | rounds |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
        .to_owned();
    for line in lines {
        table.push('\n');
        table.push_str(&row(line));
    }
    table
}

fn row(line: &Line) -> String {
    use Program::{C, Kotlin, PypiVodozemac, Python, PythonRaw, Vodozemac};
    let numbers = PROGRAMS.map(|program| line.number(program)).join(" | ");
    let to_vodozemac = [C, Python, PythonRaw, Kotlin].map(|program| {
        line.ratio(program, Vodozemac).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
    });
    let over_c = [Python, PythonRaw, Kotlin].map(|program| line.over_c(program));
    let to_pypi = line.ratio(Python, PypiVodozemac);
    let (added, calls) = if line.row.one_call {
        let texts = over_c.map(|value| value.map_or("-".to_owned(), |value| format!("{value:.1}")));
        (texts.join(", "), verdict(over_c.into_iter().flatten(), AIM_MICROSECONDS))
    } else {
        ("-".to_owned(), "-".to_owned())
    };
    format!(
        "| {} | {numbers} | {} | {added} | {calls} | {} | {} | {} |",
        line.row.label,
        to_vodozemac.join(", "),
        to_pypi.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        verdict(to_pypi.into_iter(), 1.0),
        line.rounds,
    )
}

/// Whether all of these are within an aim.
fn verdict(values: impl Iterator<Item = f64>, aim: f64) -> String {
    let worst = values.reduce(f64::max);
    worst.map_or("-", |worst| if worst <= aim { "yes" } else { "no" }).to_owned()
}
