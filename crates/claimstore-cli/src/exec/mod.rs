//! `claimstore exec`: a command that runs at most once per key.
//!
//! The directory of the store is open only while the store is touched: to claim, to renew, to record. Between that
//! the claim is detached, and a token carries it across (docs/decisions/0030).

mod args;
mod drive;
mod hold;
mod machine;
#[cfg(test)]
mod model;
mod outcome;
mod program;
mod pump;
mod say;
mod threads;
mod told;

pub(crate) use args::Exec;
pub(crate) use drive::run;
