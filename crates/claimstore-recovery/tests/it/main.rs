//! The integration tests: one binary, a file for each behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests may panic and start threads"
)]

mod any_backend;
mod common;
mod embedded;
mod policies;
mod reaper;
mod resolvers;
mod review;
mod secrecy;
mod shelf;
mod steps;
#[path = "../../../claimstore-sim/tests/it/watch.rs"]
mod watch;
