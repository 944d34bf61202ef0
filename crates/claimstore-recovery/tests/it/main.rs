//! The integration tests: one binary, a file for each behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests may panic and start threads"
)]

mod common;
mod policies;
mod reaper;
mod resolvers;
mod review;
mod secrecy;
mod steps;
#[path = "../../../claimstore-sim/tests/it/watch.rs"]
mod watch;
