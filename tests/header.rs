//! The committed header is what the C functions say.

#![cfg(feature = "capi")]

use std::fs;
use std::path::Path;

/// The files in the order in which a reader of the header needs them.
const SOURCES: [&str; 7] = [
    "error_object",
    "free_functions",
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
    String::from_utf8(header).expect("UTF-8")
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
