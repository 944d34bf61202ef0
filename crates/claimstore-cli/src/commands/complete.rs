//! `claimstore complete`: the work is known to be done.

use claimstore_admin::Verb;
use clap::Args;

use crate::codes;
use crate::exit::Exit;
use crate::repair::OutcomeArgs;

/// Says that the work of parked or orphaned keys is done.
///
/// From now on claims are duplicates. An orphan is parked first: a crash in between leaves it parked. With several keys
/// the exit code is the largest that one of them alone would have had.
#[derive(Debug, Args)]
#[command(after_long_help = codes::REPAIR.listed())]
pub(crate) struct Complete {
    #[command(flatten)]
    outcome: OutcomeArgs,
}

impl Complete {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.outcome.decide(Verb::Complete)
    }
}
