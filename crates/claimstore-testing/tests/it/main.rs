//! The disk and the crash points as users of the crate meet them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod asynchronous;
mod disk;
mod handlers;
mod helper;
mod secrecy;
