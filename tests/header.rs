//! The committed header is what the C functions say.

#![cfg(feature = "capi")]

use std::fs;
use std::path::Path;

/// The files in the order in which a reader of the header needs them.
const SOURCES: [&str; 11] = [
    "error_object",
    "free_functions",
    "store_backend",
    "store",
    "account",
    "account_uploads",
    "account_lists",
    "account_imports",
    "olm_channel",
    "outbound_megolm_session",
    "inbound_megolm_session",
];

fn generated_header(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join(format!("src/capi/{source}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().expect("a header").write(&mut header);
    shorter_declarations(&String::from_utf8(header).expect("UTF-8"))
}

/// The functions' arguments below each other, without the word struct: cbindgen
/// indents them as far as the function's name is long.
fn shorter_declarations(header: &str) -> String {
    let (types, functions) = header.split_once("extern \"C\" {\n").expect("the functions");
    let mut shorter = format!("{types}extern \"C\" {{\n");
    for line in functions.split_inclusive('\n') {
        let code = line.replace("struct matrixe2ee_", "matrixe2ee_");
        match code.split_once('(') {
            _ if line.starts_with("//") => shorter.push_str(line),
            Some((start, argument)) if code.ends_with(",\n") => {
                shorter.push_str(&format!("{start}(\n    {argument}"));
            }
            None if code.starts_with(' ') => {
                shorter.push_str(&format!("    {}", code.trim_start()))
            }
            _ => shorter.push_str(&code),
        }
    }
    shorter
}

#[test]
fn the_committed_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = generated_header(root);
    let committed = root.join("include/matrixe2ee.h");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&committed, &header).expect("the header can be written");
    }
    let committed = fs::read_to_string(committed).expect("include/matrixe2ee.h");
    assert!(committed == header, "stale; run: UPDATE=1 cargo test --test header");
}

/// Every function that reads the clock: its object and its name.
const READ_THE_CLOCK: [(&str, &str); 9] = [
    ("account", "keys_upload_request"),
    ("account", "receive_keys_upload_response"),
    ("account", "receive_key_counts"),
    ("olm_channel", "create_from_encrypted_message"),
    ("olm_channel", "decrypt"),
    ("olm_channel", "should_create_new_session"),
    ("outbound_megolm_session", "create"),
    ("outbound_megolm_session", "get_session_key_for_sending"),
    ("outbound_megolm_session", "encrypt"),
];

/// The comment above the first line that holds a text.
fn comment_above(source: &str, declaration: &str) -> String {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains(declaration)).expect(declaration);
    let above = lines[..at].iter().rev().skip_while(|line| line.starts_with("#["));
    let comment: Vec<&str> = above.take_while(|line| line.starts_with("///")).copied().collect();
    comment.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[test]
fn every_function_that_reads_the_clock_says_that_it_may_fail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: String| fs::read_to_string(root.join(path)).expect("a source file");
    let c: String = SOURCES.iter().map(|file| read(format!("src/capi/{file}.rs"))).collect();
    for (object, function) in READ_THE_CLOCK {
        let handle = read(format!("src/handles/{object}.rs"));
        let comment = comment_above(&handle, &format!("pub fn {function}("));
        assert!(comment.contains("CLOCK_FAILED"), "handles: {object}.{function}: {comment}");
        let comment = comment_above(&c, &format!("fn matrixe2ee_{object}_{function}("));
        assert!(comment.contains("CLOCK_FAILED"), "C: {object}.{function}: {comment}");
    }
}

#[test]
fn the_conventions_name_every_error_that_any_function_may_answer() {
    let header = include_str!("../include/matrixe2ee.h");
    let (conventions, _) = header.split_once("#include").expect("the conventions");
    for name in [
        "NULL_POINTER",
        "INVALID_UTF8",
        "INVALID_LENGTH",
        "STALE_HANDLE",
        "WRONG_HANDLE",
        "BUSY",
        "FORKED",
        "PANIC",
        "NOT_FOUND",
        "STORE_CLOSED",
        "STORE_IO",
        "CORRUPT",
        "NEWER_FORMAT",
    ] {
        assert!(conventions.contains(name), "{name}");
    }
}
