//! What the fuzz targets share.

pub mod c_abi;
mod edits;
mod people;
mod raw;
mod room;

pub use edits::{Edit, Input, apply};
pub use people::{MEGOLM, ROOM, Stranger, device};
pub use raw::Raw;
pub use room::Room;

use matrixe2ee::{E2eeError, Result};

/// Gives the result back, unless the library hides a panic behind it.
#[track_caller]
pub fn sound<T>(result: Result<T>) -> Result<T> {
    if let Err(E2eeError::Panic { detail }) = &result {
        panic!("PANIC: {detail}");
    }
    result
}

/// The value of a call that nothing can make fail.
#[track_caller]
pub fn ok<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{}", error.to_json()),
    }
}

/// Reads what the library wrote.
#[track_caller]
pub fn parse(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("the library writes JSON")
}
