//! Tables of functions that C gives to the library, which grow from version to version.
//!
//! A table begins with its size, as the program's compiler saw it. New functions come at the end and
//! are optional, so that a program of any version works with a library of any other: what the
//! program's table does not have is NULL, and what this library does not know is not called.

use std::mem::MaybeUninit;
use std::ptr;

use crate::error::{E2eeError, Result};

/// More than any table will ever have: a size beyond it was never set.
const LARGEST: usize = 4096;

/// A table that begins with its size, a `size_t`.
///
/// SAFETY: all-zero bytes must be a value of the type, with no function in it.
pub(super) unsafe trait Table: Copy {
    /// The size that it had in the first version of the ABI; it never changes.
    const FIRST_SIZE: usize;
}

/// Copies a table of any version.
///
/// SAFETY: `table` must be NULL or point to at least the size that it states.
pub(super) unsafe fn table<T: Table>(name: &str, table: *const T) -> Result<T> {
    if table.is_null() {
        return Err(E2eeError::null_pointer(format!("{name} is NULL")));
    }
    // SAFETY: not NULL, and the caller promises that the size comes first.
    let struct_size = unsafe { table.cast::<usize>().read_unaligned() };
    let problem = if struct_size < T::FIRST_SIZE {
        "is too small"
    } else if struct_size > LARGEST {
        "is too large"
    } else if !struct_size.is_multiple_of(align_of::<T>()) {
        "ends inside of a member"
    } else {
        let mut copy = MaybeUninit::<T>::zeroed();
        let known = struct_size.min(size_of::<T>());
        // SAFETY: the table states that it is at least this large, the copy is; they are apart.
        unsafe { ptr::copy_nonoverlapping(table.cast::<u8>(), copy.as_mut_ptr().cast(), known) };
        // SAFETY: C's members up to `known`, which ends between two of them; zeroes after it.
        return Ok(unsafe { copy.assume_init() });
    };
    Err(E2eeError::invalid_length(format!("the struct_size of {name} {problem}: {struct_size}")))
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use std::ffi::c_void;

    use super::*;

    type Function = unsafe extern "C" fn(*mut c_void) -> i64;

    /// A table as it was first, as this library knows it, and as a later one may.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Grown<const MORE: usize> {
        struct_size: usize,
        userdata: *mut c_void,
        first: Option<Function>,
        more: [Option<Function>; MORE],
    }

    const FIRST_SIZE: usize = 3 * size_of::<usize>();

    // SAFETY: NULL is a pointer, and no function.
    unsafe impl<const MORE: usize> Table for Grown<MORE> {
        const FIRST_SIZE: usize = FIRST_SIZE;
    }

    unsafe extern "C" fn function(_: *mut c_void) -> i64 {
        7
    }

    /// What a library that knows two more functions reads of a program's table.
    fn read<const MORE: usize>(struct_size: usize) -> Result<Grown<2>> {
        let first = Some(function as Function);
        let theirs = Grown::<MORE> {
            struct_size,
            userdata: ptr::dangling_mut(),
            first,
            more: [first; MORE],
        };
        // On the heap and no larger than it is, so that sanitizers see what is read beyond it.
        let theirs = Box::new(theirs);
        // SAFETY: at least as large as the tests say, where that is looked at.
        unsafe { table("table", (&raw const *theirs).cast()) }
    }

    #[test]
    fn a_table_of_any_version_is_taken_and_what_it_lacks_is_null() {
        let sizes = [FIRST_SIZE, FIRST_SIZE + 8, FIRST_SIZE + 16, FIRST_SIZE + 40];
        let tables =
            [read::<0>(sizes[0]), read::<1>(sizes[1]), read::<2>(sizes[2]), read::<5>(sizes[3])];
        for (at, table) in tables.into_iter().enumerate() {
            let table = table.expect("a table of this version");
            assert_eq!(table.struct_size, sizes[at]);
            assert_eq!(table.userdata, ptr::dangling_mut());
            assert!(table.first.is_some());
            let more = table.more.map(|function| function.is_some());
            assert_eq!(more, [at >= 1, at >= 2], "{} bytes", sizes[at]);
        }
        // What stands behind the size is not looked at, even if it is there.
        assert!(read::<2>(FIRST_SIZE).expect("the first version").more[0].is_none());
    }

    #[test]
    fn a_size_that_no_version_has_is_refused() {
        for size in [0, 8, FIRST_SIZE - 1, FIRST_SIZE + 1, FIRST_SIZE + 12, LARGEST + 8, usize::MAX]
        {
            let error = read::<2>(size).err().expect("a refusal");
            assert_eq!(error.name(), "INVALID_LENGTH", "{size}");
        }
    }
}
