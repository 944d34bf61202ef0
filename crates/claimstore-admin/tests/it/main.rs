//! The service, as its clients meet it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

mod bounds;
mod decisions;
mod durable;
mod life;
mod questions;
mod secrecy;
#[path = "../../../claimstore-sim/tests/it/watch.rs"]
mod watch;
