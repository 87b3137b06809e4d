//! Rules about the source itself, for what no call can show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The library's own source, without what is compiled for tests only: names and texts.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    let mut directories = vec![root.join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            if name.contains("/tests") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
                found.insert(name, code.to_owned());
            }
        }
    }
    assert!(found.len() > 40, "the source was not found");
    found
}

/// The files whose code (not its comments) satisfies a condition on one line.
fn files_with(condition: impl Fn(&str) -> bool) -> Vec<String> {
    let holds = |text: &String| {
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).any(&condition)
    };
    sources().into_iter().filter(|(_, text)| holds(text)).map(|(name, _)| name).collect()
}

#[test]
fn sql_is_never_put_together_from_pieces() {
    const WORDS: [&str; 8] =
        ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE ", "DROP ", "PRAGMA ", "ATTACH "];
    for (name, text) in sources() {
        for maker in ["format!(", "concat!(", "push_str(", "write!("] {
            for (at, _) in text.match_indices(maker) {
                let statement = text[at..].split(';').next().unwrap();
                let found = WORDS.iter().find(|word| statement.contains(*word));
                assert_eq!(found, None, "{name}: {statement}"); // SEC-105
            }
        }
    }
    // SEC-105: one file speaks to SQLite, and gives it only texts that stand in the source.
    assert_eq!(files_with(|line| line.contains("rusqlite")), ["src/store/sqlite.rs"]);
    let sqlite = &sources()["src/store/sqlite.rs"];
    // The one name that stands for a text is the parameter of a closure that is given texts.
    let by_name = sqlite.matches("query_row(sql,").count();
    assert_eq!(by_name, sqlite.matches("let number = |sql: &str|").count());
    assert_eq!(sqlite.matches("number(").count(), sqlite.matches("number(\"").count());
    let sqlite = sqlite.replace("query_row(sql,", "query_row(SQL,");
    for call in [".prepare(", ".prepare_cached(", ".execute(", ".execute_batch(", ".query_row("] {
        for (at, _) in sqlite.match_indices(call) {
            let argument = sqlite[at + call.len()..].trim_start();
            let constant = argument.starts_with('"')
                || argument.starts_with("match ") // between texts: see above
                || argument.starts_with(|letter: char| letter.is_ascii_uppercase())
                // A method of a prepared statement takes its bound parameters.
                || argument.starts_with("params![") || argument.starts_with('(')
                || argument.starts_with('[');
            assert!(constant, "{call}{}", &argument[..40.min(argument.len())]); // SEC-105
        }
    }
}

#[test]
fn libolms_formats_are_read_in_one_module() {
    // Ours have methods of the same name: sessions have other names than vodozemac's, and handles and
    // the C ABI never name vodozemac.
    let mut callers = files_with(|line| {
        line.contains("::from_libolm_pickle(") && !line.contains("MegolmSession::")
    });
    let naming = files_with(|line| line.contains("vodozemac::"));
    callers.retain(|name| naming.contains(name));
    callers.extend(files_with(|line| line.contains("LibolmPickleError")));
    callers.dedup();
    assert_eq!(callers, ["src/sessions/libolm_pickles.rs"]); // SEC-111
    // SEC-111: nothing writes them.
    assert!(files_with(|line| line.contains("to_libolm_pickle")).is_empty());
    let other = files_with(|line| line.contains("pk_encryption"));
    assert!(other.iter().all(|name| name.starts_with("src/engine/backup/")), "{other:?}"); // SEC-111
}

#[test]
fn vodozemacs_own_pickle_encryption_protects_nothing_at_rest() {
    // P6: it gives the same ciphertext for the same state. The vault encrypts instead.
    assert!(files_with(|line| line.contains("pickle().encrypt(")).is_empty());
}

#[test]
fn a_build_that_turns_off_macs_and_signatures_does_not_compile_by_accident() {
    let lib = &sources()["src/lib.rs"];
    let guard = r#"#[cfg(all(fuzzing, not(feature = "fuzz-harness")))]"#;
    let after = lib.split(guard).nth(1).expect("the guard is gone");
    assert!(after.trim_start().starts_with("compile_error!")); // P11, SEC-107
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let default = manifest.lines().find(|line| line.starts_with("default = ")).unwrap();
    assert!(!default.contains("fuzz-harness"), "{default}"); // P11, SEC-107
}

#[test]
fn a_plaintext_that_a_handle_keeps_is_wiped_with_it() {
    // SEC-108: the first event may hold a room key.
    let handle = &sources()["src/handles/olm_channel.rs"];
    assert!(handle.contains("first_event: Option<Result<Zeroizing<String>>>"));
}

#[test]
fn numbers_of_others_are_never_added_unchecked() {
    // SEC-103: the lint is on, and switched off only where the comment beside it says why.
    let lib = &sources()["src/lib.rs"];
    assert!(lib.contains("clippy::arithmetic_side_effects"));
    let mut off = files_with(|line| {
        line.contains("allow(") && line.contains("clippy::arithmetic_side_effects")
    });
    off.retain(|name| !name.starts_with("src/capi/"));
    assert!(off.is_empty(), "{off:?}");
}

#[test]
fn unsafe_code_is_where_c_is_and_nowhere_else() {
    // The JSON reader, the parser of all that comes from outside, has none.
    let mut unsafe_code =
        files_with(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
    unsafe_code.retain(|name| !name.starts_with("src/capi/"));
    // The bindings have no C ABI, but are to notice a fork as well: three calls of the system.
    assert_eq!(unsafe_code, ["src/base/fork.rs"]);
    let allowed = files_with(|line| line.contains("allow(unsafe_code)"));
    assert_eq!(allowed, ["src/base/fork.rs", "src/lib.rs"]);
}

#[test]
fn no_authentication_code_is_compared_byte_by_byte() {
    // SEC-109: vodozemac and the AEAD compare theirs in constant time; ours must use `subtle`.
    let compared = files_with(|line| {
        let line = line.to_ascii_lowercase();
        (line.contains(" == ") || line.contains(" != "))
            && ["mac", "hmac", "commitment", "secret"].iter().any(|name| {
                line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .any(|word| word == *name || word.ends_with(&format!("_{name}")))
            })
    });
    assert!(compared.is_empty(), "{compared:?}");
}

#[test]
fn the_vodozemac_that_the_tests_rely_on_is_pinned() {
    // SEC-111
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let pins: Vec<_> = manifest.lines().filter(|line| line.starts_with("vodozemac =")).collect();
    assert!(!pins.is_empty() && pins.iter().all(|line| line.contains("version = \"=")), "{pins:?}");
}

/// What the compiler says of the library under these flags. It finds no dependencies here, so it
/// never gets far; a `compile_error!` comes before that.
fn compiler_says(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(compiler)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata"])
        .args(["--crate-name", "matrixe2ee", "src/lib.rs", "--out-dir"])
        .arg(folder.path())
        .args(flags)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_build_for_fuzzing_is_refused_outside_the_harness() {
    // SEC-107, P11: vodozemac checks neither MACs nor signatures under this flag.
    let refusal = "error: --cfg fuzzing turns off all signature and MAC checks";
    let harness = ["--cfg", "fuzzing", "--cfg", "feature=\"fuzz-harness\""];
    assert!(compiler_says(&["--cfg", "fuzzing"]).contains(refusal));
    assert!(!compiler_says(&harness).contains(refusal));
    assert!(!compiler_says(&[]).contains(refusal));
}
