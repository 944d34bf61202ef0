//! `claimstore release`: an orphan may be claimed again.

use claimstore::Review;
use clap::Args;

use crate::exit::Exit;
use crate::repair::{From, RepairArgs};

/// Lets an orphaned claim go: the key may be claimed again at once, for as many attempts as the policy allows.
///
/// First the claim is parked, then let go: a crash in between leaves it parked, for `claimstore requeue`.
///
/// Exit codes: 0 done; 1 no such key or namespace; 4 the key is in another state; 64 usage, or nobody to ask; 65 the
/// store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere, or
/// a holder is still trusted with the key.
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    repair: RepairArgs,
}

impl Release {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.repair.decide(From::Orphaned, &Review::Requeue, "release", "released")
    }
}
