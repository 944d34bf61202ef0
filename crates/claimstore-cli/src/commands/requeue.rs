//! `claimstore requeue`: a parked key may be claimed again.

use claimstore::Review;
use clap::Args;

use crate::exit::Exit;
use crate::repair::{From, RepairArgs};

/// Lets a parked key be claimed again, at once, for as many more attempts as the policy allows. The count goes on.
///
/// Exit codes: 0 done; 1 no such key or namespace; 4 the key is in another state; 64 usage, or nobody to ask; 65 the
/// store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Requeue {
    #[command(flatten)]
    repair: RepairArgs,
}

impl Requeue {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.repair.decide(From::Parked, &Review::Requeue, "requeue", "requeued")
    }
}
