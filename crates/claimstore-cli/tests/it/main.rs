//! The `claimstore` command, run as users run it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod bad_input;
mod bytes;
mod command_line;
mod copies;
mod crash;
mod descriptors;
mod endings;
mod exec;
mod exec_ends;
mod exec_signals;
mod exec_storm;
mod feeds;
mod foreign;
mod hostile;
mod inspect;
mod keys;
mod labels;
mod live;
mod live_decisions;
mod main_job;
mod many;
mod policy;
mod read_only;
mod repair;
mod sandbox;
mod secrecy;
mod shells;
mod stats;
mod tables;
mod terminal;
mod top;
mod transfer;
mod transfer_ends;
mod upkeep;
mod usage;
#[path = "../../../claimstore-sim/tests/it/watch.rs"]
mod watch;
