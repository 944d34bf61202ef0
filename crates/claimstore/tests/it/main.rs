//! The integration tests: one binary, a file for each behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::let_underscore_future,
    missing_docs,
    reason = "tests may panic, and name futures only for their types"
)]

mod answers;
mod any_input;
mod async_calls;
mod backend;
mod bad_input;
mod batches;
mod common;
mod contract;
mod fingerprints;
mod golden;
mod import;
mod kept;
mod life;
mod lost;
mod measures;
mod namespaces;
mod numbers;
mod opening;
mod orphans;
mod pages;
mod promises;
mod read_only;
mod repeats;
mod rig;
mod secrecy;
mod sequences;
mod transact;
#[cfg(feature = "serde")]
mod typed;
#[path = "../../../claimstore-sim/tests/it/watch.rs"]
mod watch;
