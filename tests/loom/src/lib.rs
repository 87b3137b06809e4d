//! The table of objects (`src/capi/slots.rs`) in every order that its threads can take, with every
//! value that the memory model lets them see. loom fails at an object that one thread reads while
//! another drops it, or before it was put in.
#![cfg(test)]

/// What the table asks for of the library.
mod base {
    pub(crate) mod environment {
        pub(crate) struct Process;

        impl Process {
            pub(crate) fn here() -> Self {
                Self
            }

            pub(crate) fn number(&self) -> u64 {
                1
            }
        }
    }
}

mod capi {
    mod atomics;
    mod models;
    #[allow(dead_code)] // The library asks how many slots there are.
    #[path = "../../../../src/capi/slots.rs"]
    mod slots;
}
