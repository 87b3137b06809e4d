//! Two processes and one store. The other process is this test program again,
//! told by an environment variable to run `the_other_process` and what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{KEY, text};
use crate::store::{Batch, Store};

const PATH: &str = "MATRIXE2EE_TEST_STORE";
const REPORT: &str = "other process: ";

#[test]
fn the_other_process() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let opened = Store::open_sqlite(&path, &KEY);
    let report = match &opened {
        Ok(store) => {
            let mut batch = Batch::new();
            batch.put(&store.vault().key("c", &["from the other"]), &1).unwrap();
            store.vault().commit(batch).unwrap();
            "OK"
        }
        Err(error) => error.name(),
    };
    println!("\n{REPORT}{report}");
    std::io::stdout().flush().unwrap();
    if opened.is_ok() {
        // Holds the store until it is killed, or its parent is gone.
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

struct Other {
    child: Child,
    _output: BufReader<ChildStdout>,
    report: String,
}

impl Other {
    fn open(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::other_process::the_other_process", "--nocapture"])
            .env(PATH, text(path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut report = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the other process said nothing");
            if let Some(found) = line.strip_prefix(REPORT) {
                report.push_str(found.trim());
                break;
            }
        }
        Self { child, _output: output, report }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_second_opener_in_another_process_is_refused_until_the_first_is_killed() {
    // SEC-116: the lock dies with its process, and what was committed stays.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let holder = Other::open(&path);
    assert_eq!(holder.report, "OK");
    assert_eq!(Store::open_sqlite(text(&path), &KEY).unwrap_err().name(), "STORE_IN_USE");
    let third = Other::open(&path);
    assert_eq!(third.report, "STORE_IN_USE");
    third.kill();
    holder.kill();
    let store = Store::open_sqlite(text(&path), &KEY).unwrap();
    let key = store.vault().key("c", &["from the other"]);
    assert_eq!(store.vault().read::<u32>(&key).unwrap(), Some(1));
    let refused = Other::open(&path);
    assert_eq!(refused.report, "STORE_IN_USE");
    refused.kill();
    store.shut_down().unwrap();
    let welcome = Other::open(&path);
    assert_eq!(welcome.report, "OK");
    welcome.kill();
}
