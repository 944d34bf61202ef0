//! The `claimstore` command, run as users run it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod bad_input;
mod bytes;
mod copies;
mod crash;
mod endings;
mod exec;
mod exec_ends;
mod exec_signals;
mod exec_storm;
mod foreign;
mod inspect;
mod keys;
mod live;
mod main_job;
mod policy;
mod repair;
mod sandbox;
mod secrecy;
mod shells;
mod stats;
mod tables;
mod terminal;
mod top;
mod transfer;
mod upkeep;
mod usage;
