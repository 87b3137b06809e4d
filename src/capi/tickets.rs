//! Handles are tickets: pointer-shaped numbers that are never followed.
//!
//! From the top: 16 bits that no address of a program has (bit 63 is set, which
//! on x86-64 means the kernel even when pointers carry tags; so does bit 55 on
//! ARM64), 4 bits for the kind of object, 44 bits for generation and slot. The
//! 44 bits are mixed with a number of this run and this copy of the library, so
//! that a ticket of another copy in the same process does not fit by accident,
//! and multiplied, so that a ticket with one wrong bit names a far-away slot.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the C ABI needs 64-bit pointers; on 32-bit systems use the uniffi bindings");

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use once_cell::race::OnceNonZeroUsize;

use super::account::matrixe2ee_account;
use super::inbound_megolm_session::matrixe2ee_inbound_megolm_session;
use super::olm_channel::matrixe2ee_olm_channel;
use super::outbound_megolm_session::matrixe2ee_outbound_megolm_session;
use super::slots::{Borrowed, CAPACITY, GENERATION_BITS, INDEX_BITS, SlotKey, SlotTable};
use super::store::matrixe2ee_store;
use crate::base::environment::check_not_in_callback;
use crate::error::{E2eeError, Result};
use crate::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store};

const TAG: usize = 0xe2ee;
const TAG_SHIFT: u32 = 48;
const KIND_SHIFT: u32 = INDEX_BITS + GENERATION_BITS;
const KEY_MASK: usize = (1 << KIND_SHIFT) - 1;

/// Any odd number, and the one that undoes multiplying by it, modulo 2^64.
const FACTOR: usize = 0x9e37_79b9_7f4a_7c15;
const INVERSE: usize = {
    // Newton's iteration doubles the number of right bits: 3, 6, 12, 24, 48, 96.
    let mut inverse = FACTOR;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_usize.wrapping_sub(FACTOR.wrapping_mul(inverse)));
        round += 1;
    }
    assert!(FACTOR.wrapping_mul(inverse) == 1);
    inverse
};

static TABLE: SlotTable<Object> = SlotTable::new(discard);

/// A C handle type and the object that its tickets stand for.
pub(super) trait Handle: Sized {
    /// The object behind the handle.
    type Object: 'static;
    /// The name in messages.
    const NAME: &'static str;

    /// The object, if it is of this kind.
    fn get(object: &Object) -> Option<&Arc<Self::Object>>;
}

/// An object that C can hold a ticket to.
pub(super) trait Ticketed: Sized {
    /// The C handle type.
    type Handle;

    /// The object as it lies in the table.
    fn into_object(this: Arc<Self>) -> Object;
}

/// Lists the kinds of objects, each with its C type and its number in the ticket.
macro_rules! handles {
    ($($object:ident as $handle:ident = $number:literal, $name:literal;)*) => {
        /// What a slot of the table holds.
        pub(super) enum Object {
            $($object(Arc<$object>),)*
        }

        impl Object {
            /// The number of the kind in the ticket.
            const fn kind(&self) -> usize {
                match self { $(Self::$object(_) => $number,)* }
            }
        }

        $(impl Handle for $handle {
            type Object = $object;
            const NAME: &'static str = $name;

            fn get(object: &Object) -> Option<&Arc<$object>> {
                match object {
                    Object::$object(object) => Some(object),
                    _ => None,
                }
            }
        }

        impl Ticketed for $object {
            type Handle = $handle;

            fn into_object(this: Arc<Self>) -> Object {
                Object::$object(this)
            }
        })*
    };
}

handles! {
    Store as matrixe2ee_store = 1, "store";
    Account as matrixe2ee_account = 2, "account";
    OlmChannel as matrixe2ee_olm_channel = 3, "channel";
    OutboundMegolmSession as matrixe2ee_outbound_megolm_session = 4, "outbound session";
    InboundMegolmSession as matrixe2ee_inbound_megolm_session = 5, "inbound session";
}

/// Puts an object into the table and makes the ticket for it.
pub(super) fn issue<T: Ticketed>(object: Arc<T>) -> Result<*mut T::Handle> {
    let object = T::into_object(object);
    let kind = object.kind();
    let key = TABLE.insert(object).ok_or_else(|| E2eeError::TooLarge {
        detail: String::from("too many handles are open"),
        limit: u64::from(CAPACITY),
    })?;
    Ok(ptr::without_provenance_mut(encode(kind, key)))
}

/// The object behind a ticket, held for the duration of a call.
pub(super) fn borrow<H: Handle>(ticket: *const H) -> Result<Held<H>> {
    if ticket.is_null() {
        return Err(E2eeError::null_pointer(format!("the {} handle is NULL", H::NAME)));
    }
    let stale = || E2eeError::stale_handle(format!("the {} handle is not open", H::NAME));
    let (kind, key) = decode(ticket.addr()).ok_or_else(stale)?;
    let borrowed = TABLE.borrow(key).ok_or_else(stale)?;
    match &*borrowed {
        Some(object) if object.kind() == kind => match H::get(object) {
            Some(object) => Ok(Held { object: ptr::from_ref(object), _borrowed: borrowed }),
            None => Err(E2eeError::wrong_handle(format!("this is not a {} handle", H::NAME))),
        },
        _ => Err(stale()),
    }
}

/// Gives a ticket back. NULL, stale tickets and those of another kind are ignored.
pub(super) fn free<H: Handle>(ticket: *const H) {
    let right_kind = borrow(ticket).is_ok();
    if right_kind && let Some((_, key)) = decode(ticket.addr()) {
        TABLE.free(key);
    }
    drop_deferred();
}

fn encode(kind: usize, key: SlotKey) -> usize {
    let bits = (key.generation as usize) << INDEX_BITS | key.index as usize;
    let mixed = (bits ^ mixer()).wrapping_mul(FACTOR) & KEY_MASK;
    TAG << TAG_SHIFT | kind << KIND_SHIFT | mixed
}

fn decode(ticket: usize) -> Option<(usize, SlotKey)> {
    if ticket >> TAG_SHIFT != TAG {
        return None;
    }
    let bits = ticket.wrapping_mul(INVERSE) & KEY_MASK ^ mixer();
    let index = bits as u32 & ((1 << INDEX_BITS) - 1);
    let generation = (bits >> INDEX_BITS) as u32;
    Some(((ticket >> KIND_SHIFT) & 0xf, SlotKey { index, generation }))
}

/// The number of this run that is mixed into every ticket.
fn mixer() -> usize {
    static MIXER: OnceNonZeroUsize = OnceNonZeroUsize::new();
    MIXER
        .get_or_init(|| {
            let random = RandomState::new().hash_one("tickets") as usize & KEY_MASK;
            NonZeroUsize::new(random).unwrap_or(NonZeroUsize::MIN)
        })
        .get()
}

/// An object in use by a call.
pub(super) struct Held<H: Handle> {
    object: *const Arc<H::Object>,
    _borrowed: Borrowed<'static, Object>,
}

impl<H: Handle> Deref for Held<H> {
    type Target = H::Object;

    fn deref(&self) -> &H::Object {
        // SAFETY: it points into the slot that `_borrowed` keeps from changing.
        unsafe { &*self.object }
    }
}

thread_local! {
    /// Objects freed inside a callback, kept until the call around it is done.
    static DEFERRED: RefCell<Vec<Object>> = const { RefCell::new(Vec::new()) };
}

/// Takes an object whose last ticket is gone.
///
/// Inside a callback it only keeps it: the object's end may need a lock that
/// the call around the callback holds.
fn discard(object: Object) {
    if check_not_in_callback().is_ok() {
        drop_quietly(object);
    } else {
        let _gone = DEFERRED.try_with(|objects| objects.borrow_mut().push(object));
    }
}

/// Ends what was freed inside callbacks, unless we are still inside one.
pub(super) fn drop_deferred() {
    if check_not_in_callback().is_err() {
        return;
    }
    while let Ok(Some(object)) = DEFERRED.try_with(|objects| objects.borrow_mut().pop()) {
        drop_quietly(object);
    }
}

/// Drops an object; a panic in its end must not reach C.
fn drop_quietly(object: Object) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(object))) {
        std::mem::forget(panic);
    }
}
