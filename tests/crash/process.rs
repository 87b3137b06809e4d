//! The child process as the parent sees it: lines out, lines in, and the kill.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::protocol::OPENING;

/// Names the store to the child; without it, the test binary is the parent.
pub const STORE_VARIABLE: &str = "CRASH_CHILD_STORE";

/// No answer takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts this very test binary again, to run one test, which finds that it is the child.
    pub fn start(test: &str, store: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(STORE_VARIABLE, store)
            .env_remove("RUST_TEST_THREADS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || read_lines(output, |line| sender.send(line).is_ok()));
        Self { child, input, lines }
    }

    pub fn write_line(&mut self, line: &str) -> Result<(), String> {
        self.input
            .as_mut()
            .ok_or("the input is closed")?
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| format!("the child does not read: {error}"))
    }

    /// The next line of the child.
    pub fn read_line(&mut self) -> Result<String, String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(String::from("the child does not answer")),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the child ended by itself: {}", self.child.wait().unwrap()))
            }
        }
    }

    /// Kills the child (SIGKILL) and returns the lines that it had written until then.
    pub fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    /// Waits for a child that was told to end.
    pub fn wait(mut self) -> Result<ExitStatus, String> {
        self.input = None;
        match self.lines.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Disconnected) => Ok(self.child.wait().unwrap()),
            Err(RecvTimeoutError::Timeout) => Err(String::from("the child does not end")),
            Ok(line) => Err(format!("the child wrote after its end: {line}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a failure of the test; otherwise the child is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes on whole lines of the protocol; the test harness writes others in between. A line that
/// the kill cut off counts as not written.
fn read_lines(output: ChildStdout, mut pass_on: impl FnMut(String) -> bool) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|length| length > 0) {
        let whole = line.ends_with('\n');
        let text = line.trim_end();
        if whole && (text == OPENING || text.starts_with('{')) && !pass_on(text.to_owned()) {
            return;
        }
        line.clear();
    }
}
