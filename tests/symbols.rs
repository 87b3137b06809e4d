//! The shared library exports the functions of the header and nothing else.

#![cfg(all(feature = "capi", not(feature = "uniffi"), target_os = "linux"))]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The committed list: together with the header it is the ABI.
const COMMITTED: &str = include_str!("symbols.txt");

fn committed() -> BTreeSet<String> {
    COMMITTED.lines().map(str::to_owned).collect()
}

#[test]
fn the_header_declares_the_committed_symbols() {
    let header = include_str!("../include/matrixe2ee.h");
    let code = header.split_once("#include").expect("the part after the conventions").1;
    let declared: BTreeSet<String> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("matrixe2ee_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(declared, committed());
}

#[test]
fn the_library_exports_the_committed_symbols() {
    let test = std::env::current_exe().expect("the path of this test");
    let library = test.with_file_name("libmatrixe2ee.so");
    assert!(Path::new(&library).exists(), "cargo builds it beside this test");
    let nm = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output();
    let symbols = String::from_utf8(nm.expect("nm, from binutils").stdout).expect("UTF-8");
    let exported: BTreeSet<String> =
        symbols.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect();
    assert_eq!(exported, committed());
}
