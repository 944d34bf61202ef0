//! The `claimstore` command, run as users run it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod bytes;
mod crash;
mod endings;
mod keys;
mod main_job;
mod sandbox;
mod stats;
mod usage;
