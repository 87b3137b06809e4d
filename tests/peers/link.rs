//! A peer: another program with another library, spoken to through pipes.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Once;

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Vodozemac,
    Libolm,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Vodozemac => "vodozemac",
            Self::Libolm => "libolm",
        }
    }

    /// The interpreter that has this library, as `tests/peers/setup.sh` leaves it.
    fn python(self) -> Option<OsString> {
        let folder = PathBuf::from(env::var_os("MATRIXE2EE_PEERS")?);
        let python = folder.join(format!("{}-python", self.name()));
        python.exists().then(|| python.into_os_string())
    }

    /// Whether this peer can be had. If not, says so where the test harness
    /// does not swallow it, and fails where tests may not be left out.
    pub fn is_there(self) -> bool {
        static TOLD: [Once; 2] = [Once::new(), Once::new()];
        if self.python().is_some() {
            return true;
        }
        let name = self.name();
        let what = format!("no {name} in MATRIXE2EE_PEERS; tests/peers/run.sh sets it up");
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{what}");
        TOLD[self as usize].call_once(|| {
            let line = format!("\nSKIPPED: all tests against {name}: {what}\n");
            std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
        });
        false
    }
}

/// One device in a process of its own. `tests/peers/matrix_device.py` lists
/// what it can be asked.
pub struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub user_id: String,
    pub device_id: String,
    pub identity_key: String,
    pub fingerprint: String,
}

impl Peer {
    pub fn start(program: Program, user_id: &str, device_id: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut child = Command::new(program.python().expect("the peer is there"))
            .arg(folder.join(format!("{}_peer.py", program.name())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut peer = Self {
            child,
            requests,
            answers,
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            identity_key: String::new(),
            fingerprint: String::new(),
        };
        let keys = peer.ask("create", json!({"user_id": user_id, "device_id": device_id}));
        peer.identity_key = keys["curve25519"].as_str().expect("a key").to_owned();
        peer.fingerprint = keys["ed25519"].as_str().expect("a key").to_owned();
        peer
    }

    /// Asks for something that the peer may refuse.
    pub fn try_ask(&mut self, what: &str, arguments: Value) -> Result<Value, String> {
        let mut request = arguments;
        request["do"] = what.into();
        let requests = self.requests.as_mut().expect("the pipe is open until the end");
        writeln!(requests, "{request}").expect("the peer reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        let mut answer: Value = serde_json::from_str(&line).expect("the peer answers in JSON");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Asks for something that the peer must do.
    pub fn ask(&mut self, what: &str, arguments: Value) -> Value {
        self.try_ask(what, arguments).unwrap_or_else(|error| panic!("the peer, {what}: {error}"))
    }

    pub fn device_keys(&mut self) -> Value {
        self.ask("device_keys", json!({}))
    }

    /// One one-time key, as `read_keys_claim_response` gives it.
    pub fn one_time_key(&mut self) -> Value {
        self.ask("one_time_keys", json!({"count": 1}))
    }

    /// What others need to encrypt for this device.
    pub fn address(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "identity_key": self.identity_key,
            "fingerprint": self.fingerprint,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.requests = None; // The end of its input ends the peer.
        let _ = self.child.wait();
    }
}
