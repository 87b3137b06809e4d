//! The floors of the house (docs: DESIGN, section 1): a room imports only from those above it in
//! this list, so that none is in a circle with another.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rooms from the lowest on, as paths below `src`.
const ROOMS: [&str; 21] = [
    "error",
    "base::fork",
    "base::traces",
    "base::environment",
    "base::parallel",
    "base::json",
    "base::identifiers",
    "base::public_keys",
    "base",
    "store",
    "sessions::device_keys",
    "sessions::room_settings",
    "sessions::libolm_pickles",
    "sessions::account",
    "sessions::known_devices",
    "sessions::olm",
    "sessions::megolm",
    "sessions::imports",
    "sessions",
    "handles",
    "capi",
];

/// The room that a path of modules leads into, and its place in the list.
fn room(path: &str) -> Option<usize> {
    let leads_into = |room: &str| {
        path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    // The longest name is the nearest.
    (0..ROOMS.len()).filter(|at| leads_into(ROOMS[*at])).max_by_key(|at| ROOMS[*at].len())
}

/// The text without comments and without what is compiled for tests only.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn spread(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.trim().to_owned()] };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut from, mut parts) = (0_usize, 0, Vec::new());
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[from..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| spread(&format!("{}{part}", before.trim()))).collect()
}

/// Every path that begins with `crate::`, in `use` lines and elsewhere.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let is_use = code[..at].trim_end().ends_with("use");
        let end = if is_use {
            rest.find(';').unwrap()
        } else {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len())
        };
        found.extend(spread(&rest[..end]));
    }
    found
}

/// The path of modules of every source file, with its imports.
fn sources() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().with_extension("");
            let name = name.to_str().unwrap().replace(['/', '\\'], "::");
            let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
            let is_for_tests = name.split("::").any(|part| part == "tests");
            if name != "lib" && !name.starts_with("bin::") && !is_for_tests {
                found.insert(name, imports(&code(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
    assert!(found.len() > 60, "the source was not found");
    found
}

#[test]
fn every_room_imports_only_from_the_rooms_below_it() {
    let mut wrong = Vec::new();
    for (name, imports) in sources() {
        let own = room(&name).unwrap_or_else(|| panic!("{name} stands in no room of the list"));
        for import in imports {
            // What the crate's root gives to its users are the handles and what they are made of.
            let other = room(&import).unwrap_or_else(|| room("handles").unwrap());
            if other > own {
                wrong.push(format!("{name} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_room_of_the_list_is_missing() {
    let names: Vec<String> = sources().into_keys().collect();
    for (at, own) in ROOMS.iter().enumerate() {
        assert!(names.iter().any(|name| room(name) == Some(at)), "{own} is gone");
    }
}

#[test]
fn imports_are_read_in_all_their_forms() {
    let text = "use crate::a::{b, c::{d, e}};\nlet x = crate::f::g(1);\npub use crate::h;\n";
    assert_eq!(imports(text), ["a::b", "a::c::d", "a::c::e", "f::g", "h"]);
    assert_eq!(imports(&code("// use crate::a;\nuse crate::b; // crate::c")), ["b"]);
}
