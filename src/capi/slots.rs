//! A table of objects that any thread reads and changes without a lock.
//!
//! There is no lock because of `fork()`: a lock that another thread holds at
//! that moment stays locked in the child for ever. Every step here is one
//! atomic operation, so the child finds a table that it can use at once; at
//! worst a slot that another thread was about to change is never used again.
//!
//! A slot counts the calls that are using its object. Freeing marks the slot;
//! the object is dropped by whoever is last: the freeing call, or the last
//! call still using it.

// No number here comes from outside: each is bounded by CAPACITY, by the number
// of generations, or by a check beside it.
#![allow(clippy::arithmetic_side_effects)]

use std::cell::UnsafeCell;
use std::ops::Deref;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use once_cell::race::OnceBox;

// tests/loom tries the table in every order that threads can take.
#[cfg(loom)]
use super::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::base::environment::Process;

/// The bits of a slot number; chunks of 64, 128, 256… slots give 64 fewer than `1 << 20`.
pub(super) const INDEX_BITS: u32 = 20;
/// The bits of a generation, which counts how often a slot was used again.
pub(super) const GENERATION_BITS: u32 = 24;

const FIRST_CHUNK: u32 = 64;
const CHUNKS: usize = 14;
pub(super) const CAPACITY: u32 = FIRST_CHUNK * ((1 << CHUNKS) - 1);

/// The state of a slot: its generation above, this flag, the number of users below.
const FREED: u64 = 1 << 31;
const USERS: u64 = FREED - 1;

fn generation_of(state: u64) -> u32 {
    (state >> 32) as u32
}

fn state_of(generation: u32) -> u64 {
    u64::from(generation) << 32
}

/// Names one object: the slot, and which of the objects that the slot has held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

struct Slot<T> {
    state: AtomicU64,
    next_free: AtomicU32,
    /// The process that put the object in.
    process: AtomicU64,
    object: UnsafeCell<Option<T>>,
}

// SAFETY: `object` is written only by the one thread that took the slot off the
// free list (before the state shows the object) or that saw the last user leave
// a freed slot; in between it is only shared. The state's Acquire and Release
// operations order these.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

pub(super) struct SlotTable<T> {
    chunks: [OnceBox<Box<[Slot<T>]>>; CHUNKS],
    /// How many slots have ever been used.
    used: AtomicU32,
    /// The head of the list of free slots: a counter above, the slot number + 1 below.
    free: AtomicU64,
    /// Takes the objects that are no longer needed.
    discard: fn(T),
}

impl<T: Send + Sync + 'static> SlotTable<T> {
    pub(super) const fn new(discard: fn(T)) -> Self {
        Self {
            chunks: [const { OnceBox::new() }; CHUNKS],
            used: AtomicU32::new(0),
            free: AtomicU64::new(0),
            discard,
        }
    }

    /// Puts an object in; `None` if the table is full.
    pub(super) fn insert(&self, object: T) -> Option<SlotKey> {
        let index = self.take_index()?;
        let slot = self.slot(index)?;
        // SAFETY: this thread alone owns the slot: it came off the free list or
        // is new, and its state still says FREED, so nobody reads the object.
        unsafe { *slot.object.get() = Some(object) };
        slot.process.store(Process::here().number(), Ordering::Relaxed);
        let generation = generation_of(slot.state.load(Ordering::Relaxed));
        slot.state.store(state_of(generation), Ordering::Release);
        Some(SlotKey { index, generation })
    }

    /// Holds an object for the duration of a call; `None` if it was freed or never was.
    pub(super) fn borrow(&self, key: SlotKey) -> Option<Borrowed<'_, T>> {
        let slot = self.slot(key.index)?;
        let mut state = slot.state.load(Ordering::Relaxed);
        loop {
            if state & !USERS != state_of(key.generation) || state & USERS == USERS {
                return None;
            }
            match slot.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        Some(Borrowed { table: self, slot, index: key.index })
    }

    /// Takes an object out, now or when its last user is done. False if it was gone.
    pub(super) fn free(&self, key: SlotKey) -> bool {
        let Some(slot) = self.slot(key.index) else { return false };
        let mut state = slot.state.load(Ordering::Relaxed);
        loop {
            if state & !USERS != state_of(key.generation) {
                return false;
            }
            match slot.state.compare_exchange_weak(
                state,
                state | FREED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & USERS == 0 {
            self.reclaim(slot, key.index);
        }
        true
    }

    /// Empties a freed slot that has no user left and makes it ready for the next object.
    fn reclaim(&self, slot: &Slot<T>, index: u32) {
        if slot.process.load(Ordering::Relaxed) != Process::here().number() {
            // A forked child leaves the parent's object where it is: its locks
            // may be held by threads that do not exist here.
            return;
        }
        // SAFETY: the slot is FREED and without users, which exactly one thread
        // finds out (it changed the state to that); nobody else can reach the object.
        let object = unsafe { (*slot.object.get()).take() };
        let generation = generation_of(slot.state.load(Ordering::Relaxed));
        // A slot that has used up its generations is retired: no old ticket ever fits again.
        if generation + 1 < 1 << GENERATION_BITS {
            slot.state.store(state_of(generation + 1) | FREED, Ordering::Release);
            self.put_index(slot, index);
        }
        if let Some(object) = object {
            (self.discard)(object);
        }
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (chunk, offset) = place(index);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    fn take_index(&self) -> Option<u32> {
        let mut head = self.free.load(Ordering::Acquire);
        while head as u32 != 0 {
            let index = head as u32 - 1;
            let next = self.slot(index)?.next_free.load(Ordering::Relaxed);
            let new_head = (head & !0xffff_ffff).wrapping_add(1 << 32) | u64::from(next);
            match self.free.compare_exchange_weak(
                head,
                new_head,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(index),
                Err(now) => head = now,
            }
        }
        let index = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < CAPACITY).then_some(used + 1)
            })
            .ok()?;
        let (chunk, _) = place(index);
        self.chunks.get(chunk)?.get_or_init(|| Box::new(empty_slots(FIRST_CHUNK << chunk)));
        Some(index)
    }

    fn put_index(&self, slot: &Slot<T>, index: u32) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            slot.next_free.store(head as u32, Ordering::Relaxed);
            let new_head = (head & !0xffff_ffff) | u64::from(index + 1);
            match self.free.compare_exchange_weak(
                head,
                new_head,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// Which chunk a slot is in, and where: chunk 0 holds 64 slots, each further one twice as many.
fn place(index: u32) -> (usize, usize) {
    let chunk = (index / FIRST_CHUNK + 1).ilog2();
    let offset = index - FIRST_CHUNK * ((1 << chunk) - 1);
    (chunk as usize, offset as usize)
}

fn empty_slots<T>(count: u32) -> Box<[Slot<T>]> {
    (0..count)
        .map(|_| Slot {
            state: AtomicU64::new(FREED),
            next_free: AtomicU32::new(0),
            process: AtomicU64::new(0),
            object: UnsafeCell::new(None),
        })
        .collect()
}

/// An object in use by a call; it stays alive until this is dropped.
pub(super) struct Borrowed<'a, T: Send + Sync + 'static> {
    table: &'a SlotTable<T>,
    slot: &'a Slot<T>,
    index: u32,
}

impl<T: Send + Sync> Deref for Borrowed<'_, T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        // SAFETY: the slot counts this user, so its object stays until the drop below.
        unsafe { &*self.slot.object.get() }
    }
}

impl<T: Send + Sync> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        let before = self.slot.state.fetch_sub(1, Ordering::AcqRel);
        if before & FREED != 0 && before & USERS == 1 {
            self.table.reclaim(self.slot, self.index);
        }
    }
}
