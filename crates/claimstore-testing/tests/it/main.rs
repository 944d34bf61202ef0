//! The disk and the crash points as users of the crate meet them.
#![forbid(unsafe_code)]

mod asynchronous;
mod disk;
mod handlers;
mod helper;
