//! `claimstore requeue`: a parked key may be claimed again.

use claimstore_admin::Verb;
use clap::Args;

use crate::codes;
use crate::exit::Exit;
use crate::repair::RepairArgs;

/// Lets parked keys be claimed again, at once.
///
/// As many more times as the policy allows; the count goes on. With several keys the exit code is the largest that one
/// of them alone would have had.
#[derive(Debug, Args)]
#[command(after_long_help = codes::REPAIR.listed())]
pub(crate) struct Requeue {
    #[command(flatten)]
    repair: RepairArgs,
}

impl Requeue {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.repair.decide(Verb::Requeue, b"", false)
    }
}
