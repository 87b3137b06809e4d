//! What the library costs through its C ABI, beside vodozemac, libolm and matrix-sdk-crypto: a table.
//!
//! Without arguments it runs each row in each program in turn, each time as a new process, so that
//! the ratios hold when the machine's speed drifts. ROUNDS= says how often, QUICK=1 tries everything
//! out with little, ONLY= keeps the rows whose names or labels hold that text (ONLY=bindings: the
//! second table, of the bindings), RIVALS= is the folder of the rivals' programs and BINDINGS= that of
//! the other languages'. The tables are printed, and written into docs/benchmarks.md after a full run.

mod bindings;
mod c_abi;
mod driver;
mod machine;
mod material;
mod measure;
mod ours;
mod report;
mod rows;
mod texts;
mod vodozemac;

fn main() {
    // cargo bench passes --bench.
    match std::env::args().nth(1).as_deref() {
        None | Some("--bench") => driver::run(),
        Some(program) => {
            let task = measure::Task::from_arguments(2);
            measure::report(match program {
                "memory" => ours::measure(&task, false),
                "disk" => ours::measure(&task, true),
                "vodozemac" => vodozemac::measure(&task),
                _ => panic!("no such program"),
            });
        }
    }
}
