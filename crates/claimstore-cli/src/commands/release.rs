//! `claimstore release`: an orphan may be claimed again.

use claimstore_admin::Verb;
use clap::Args;

use crate::codes;
use crate::exit::Exit;
use crate::repair::RepairArgs;

/// Lets orphaned claims go: the keys may be claimed again at once.
///
/// As many more times as the policy allows. First a claim is parked, then let go: a crash in between leaves it parked,
/// for `claimstore requeue`. With several keys the exit code is the largest that one of them alone would have had.
#[derive(Debug, Args)]
#[command(after_long_help = codes::REPAIR.listed())]
pub(crate) struct Release {
    #[command(flatten)]
    repair: RepairArgs,
}

impl Release {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.repair.decide(Verb::Release, b"", false)
    }
}
