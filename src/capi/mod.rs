//! The C ABI: every function of `include/matrixe2ee.h`, and nothing else is exported.
//!
//! A function here reads its arguments, calls one method of a handle and hands
//! the result over, all inside `boundary`. The doc comments are the text of the
//! header, so they speak to C programmers.
//!
//! This is the only place of the crate with `unsafe`, beside `base/fork.rs`. What
//! the functions rely on is what the header's first part asks of the caller.

// A "# Safety" heading would be copied into the header.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod account;
mod account_imports;
mod account_lists;
mod account_uploads;
mod boundary;
mod error_object;
mod free_functions;
mod inbound_megolm_session;
mod olm_channel;
mod outbound_megolm_session;
mod slots;
mod store;
mod store_backend;
mod strings;
mod tables;
mod tickets;

#[cfg(test)]
mod tests;
