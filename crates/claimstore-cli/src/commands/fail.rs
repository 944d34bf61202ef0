//! `claimstore fail`: the work has failed for good.

use claimstore::Review;
use clap::Args;

use crate::exit::Exit;
use crate::repair::OutcomeArgs;

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
    outcome: OutcomeArgs,
}

impl Fail {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.outcome.decide(Review::Fail, "fail", "failed")
    }
}
