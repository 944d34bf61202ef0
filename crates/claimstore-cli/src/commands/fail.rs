//! `claimstore fail`: the work has failed for good.

use std::path::PathBuf;

use claimstore::Review;
use clap::Args;

use crate::exit::Exit;
use crate::repair::{From, RepairArgs, response};

/// Says that the work of a parked or orphaned key has failed for good: from now on claims are duplicates of a failure.
///
/// An orphan is parked first: a crash in between leaves it parked.
///
/// Exit codes: 0 done; 1 no such key or namespace; 4 the key is in another state; 64 usage, or nobody to ask; 65 the
/// store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere, or
/// a holder is still trusted with the key.
#[derive(Debug, Args)]
pub(crate) struct Fail {
    #[command(flatten)]
    repair: RepairArgs,

    /// The response that duplicates are given [default: empty].
    #[arg(long, value_name = "TEXT", conflicts_with = "response_file")]
    response: Option<String>,

    /// A file with that response.
    #[arg(long, value_name = "FILE")]
    response_file: Option<PathBuf>,
}

impl Fail {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let response = response(self.response.as_deref(), self.response_file.as_deref())?;
        self.repair.decide(From::Stuck, &Review::Fail(response), "fail", "failed")
    }
}
