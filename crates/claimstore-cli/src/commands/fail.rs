//! `claimstore fail`: the work has failed for good.

use claimstore_admin::Verb;
use clap::Args;

use crate::codes;
use crate::exit::Exit;
use crate::repair::OutcomeArgs;

/// Says that the work of parked or orphaned keys has failed for good.
///
/// From now on claims are duplicates of a failure. An orphan is parked first: a crash in between leaves it parked. With
/// several keys the exit code is the largest that one of them alone would have had.
#[derive(Debug, Args)]
#[command(after_long_help = codes::REPAIR.listed())]
pub(crate) struct Fail {
    #[command(flatten)]
    outcome: OutcomeArgs,
}

impl Fail {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.outcome.decide(Verb::Fail)
    }
}
