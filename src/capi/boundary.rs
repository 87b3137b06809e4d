//! The one place where a call from C becomes a call of a handle, and back.
//!
//! Every exported function is one of [`answer`], [`perform`] or [`release`]
//! around one expression.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use zeroize::Zeroize;

use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::strings;
use super::tickets::{self, Ticketed};
use crate::base::traces;
use crate::error::{E2eeError, Result};

/// The longest key or passphrase that is accepted.
const MAX_SECRET_BYTES: usize = 65_536;

/// A result as C receives it through an `out` pointer.
pub(super) trait Answer {
    /// What `out` points to.
    type Raw;
    /// What `out` holds after a failure.
    const EMPTY: Self::Raw;

    /// Hands the result over to the caller.
    fn into_raw(self) -> Result<Self::Raw>;
}

impl Answer for String {
    type Raw = *mut c_char;
    const EMPTY: Self::Raw = ptr::null_mut();

    fn into_raw(self) -> Result<Self::Raw> {
        strings::give(self)
    }
}

impl Answer for Option<String> {
    type Raw = *mut c_char;
    const EMPTY: Self::Raw = ptr::null_mut();

    fn into_raw(self) -> Result<Self::Raw> {
        self.map_or(Ok(Self::EMPTY), strings::give)
    }
}

impl Answer for u32 {
    type Raw = Self;
    const EMPTY: Self = 0;

    fn into_raw(self) -> Result<Self> {
        Ok(self)
    }
}

impl Answer for bool {
    type Raw = Self;
    const EMPTY: Self = false;

    fn into_raw(self) -> Result<Self> {
        Ok(self)
    }
}

impl<T: Ticketed> Answer for Arc<T> {
    type Raw = *mut T::Handle;
    const EMPTY: Self::Raw = ptr::null_mut();

    fn into_raw(self) -> Result<Self::Raw> {
        tickets::issue(self)
    }
}

/// Runs the body of a function that gives a result.
///
/// SAFETY: `out` and `err` must be NULL or point to memory of their type.
pub(super) unsafe fn answer<A: Answer>(
    out: *mut A::Raw,
    err: *mut *mut matrixe2ee_error,
    body: impl FnOnce() -> Result<A>,
) -> matrixe2ee_status {
    let with_out = || {
        if out.is_null() {
            return Err(E2eeError::null_pointer("out is NULL"));
        }
        // SAFETY: not NULL, and the caller promises memory of this type.
        unsafe { out.write(A::EMPTY) };
        let raw = body()?.into_raw()?;
        // SAFETY: as above.
        unsafe { out.write(raw) };
        Ok(())
    };
    // SAFETY: the caller promises the same of `err`.
    unsafe { perform(err, with_out) }
}

/// Runs the body of a function that gives nothing but a status.
///
/// SAFETY: `err` must be NULL or point to memory for a pointer.
pub(super) unsafe fn perform(
    err: *mut *mut matrixe2ee_error,
    body: impl FnOnce() -> Result<()>,
) -> matrixe2ee_status {
    let result = traces::without(|| catch_unwind(AssertUnwindSafe(body))).unwrap_or_else(|panic| {
        // The panic's text may hold data, and its end may panic again.
        std::mem::forget(panic);
        Err(E2eeError::panic("internal error"))
    });
    tickets::drop_deferred();
    let status = result.as_ref().map_or_else(matrixe2ee_status::from, |()| matrixe2ee_status::Ok);
    if !err.is_null() {
        let error = result.err().map_or(ptr::null_mut(), matrixe2ee_error::give);
        // SAFETY: not NULL, and the caller promises memory for a pointer.
        unsafe { err.write(error) };
    }
    status
}

/// Runs the body of a `_free` function, which cannot fail.
pub(super) fn release(body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        std::mem::forget(panic);
    }
}

/// Reads a text argument.
///
/// SAFETY: `value` must be NULL or a NUL-terminated text that lives for `'a`.
pub(super) unsafe fn text<'a>(name: &str, value: *const c_char) -> Result<&'a str> {
    if value.is_null() {
        return Err(E2eeError::null_pointer(format!("{name} is NULL")));
    }
    // SAFETY: not NULL, and the caller promises a NUL-terminated text.
    let text = unsafe { CStr::from_ptr(value) };
    text.to_str().map_err(|_| E2eeError::invalid_utf8(format!("{name} is not UTF-8")))
}

/// Reads a text argument that may be left out with NULL.
///
/// SAFETY: as for [`text`].
pub(super) unsafe fn optional_text(name: &str, value: *const c_char) -> Result<Option<String>> {
    if value.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller promises what `text` asks for.
    unsafe { text(name, value) }.map(|text| Some(text.to_owned()))
}

/// Copies a key or passphrase; whoever receives the copy wipes it.
///
/// SAFETY: `value` must be NULL or point to `length` bytes.
pub(super) unsafe fn secret(name: &str, value: *const u8, length: usize) -> Result<Vec<u8>> {
    if length > MAX_SECRET_BYTES {
        let detail = format!("{name} has {length} bytes, at most {MAX_SECRET_BYTES} are accepted");
        return Err(E2eeError::invalid_length(detail));
    }
    if length == 0 {
        return Ok(Vec::new());
    }
    if value.is_null() {
        return Err(E2eeError::null_pointer(format!("{name} is NULL")));
    }
    // SAFETY: not NULL, and the caller promises `length` bytes, far fewer than isize::MAX.
    Ok(unsafe { std::slice::from_raw_parts(value, length) }.to_vec())
}

/// Copies a passphrase; whoever receives the copy wipes it.
///
/// SAFETY: as for [`secret`].
pub(super) unsafe fn secret_text(name: &str, value: *const u8, length: usize) -> Result<String> {
    // SAFETY: the caller promises what `secret` asks for.
    let bytes = unsafe { secret(name, value, length) }?;
    String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        E2eeError::invalid_utf8(format!("{name} is not UTF-8"))
    })
}

/// Reads a number that may be left out with -1.
pub(super) fn optional_number<N: TryFrom<i64>>(name: &str, value: i64) -> Result<Option<N>> {
    if value == -1 {
        return Ok(None);
    }
    N::try_from(value).map(Some).map_err(|_| E2eeError::invalid_field(name, "is out of range"))
}
