//! loom's atomics as the table expects them: made by a `const fn`. loom's own can only be made while a
//! model runs, so each is made when it is first used.

use std::sync::OnceLock;

pub(super) use loom::sync::atomic::Ordering;

macro_rules! atomic {
    ($name:ident, $number:ty) => {
        pub(super) struct $name {
            first: $number,
            atomic: OnceLock<loom::sync::atomic::$name>,
        }

        #[allow(dead_code)] // Each kind has its part of the operations.
        impl $name {
            pub(super) const fn new(first: $number) -> Self {
                Self { first, atomic: OnceLock::new() }
            }

            fn get(&self) -> &loom::sync::atomic::$name {
                self.atomic.get_or_init(|| loom::sync::atomic::$name::new(self.first))
            }

            pub(super) fn load(&self, order: Ordering) -> $number {
                self.get().load(order)
            }

            pub(super) fn store(&self, number: $number, order: Ordering) {
                self.get().store(number, order);
            }

            pub(super) fn compare_exchange_weak(
                &self,
                from: $number,
                to: $number,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$number, $number> {
                self.get().compare_exchange_weak(from, to, success, failure)
            }

            pub(super) fn fetch_sub(&self, number: $number, order: Ordering) -> $number {
                self.get().fetch_sub(number, order)
            }

            pub(super) fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                change: impl FnMut($number) -> Option<$number>,
            ) -> Result<$number, $number> {
                self.get().fetch_update(success, failure, change)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
