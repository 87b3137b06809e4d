//! The committed header is what the C functions say.

#![cfg(feature = "capi")]

use std::fs;
use std::path::Path;

/// The files in the order in which a reader of the header needs them.
const SOURCES: [&str; 8] = [
    "error_object",
    "free_functions",
    "store_backend",
    "store",
    "account",
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
