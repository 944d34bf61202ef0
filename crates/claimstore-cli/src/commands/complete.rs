//! `claimstore complete`: the work is known to be done.

use claimstore::Review;
use clap::Args;

use crate::exit::Exit;
use crate::repair::OutcomeArgs;

/// Says that the work of a parked or orphaned key is done: from now on claims are duplicates.
///
/// An orphan is parked first: a crash in between leaves it parked.
///
/// Exit codes: 0 done; 1 no such key or namespace; 4 the key is in another state; 64 usage, or nobody to ask; 65 the
/// store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere, or
/// a holder is still trusted with the key.
#[derive(Debug, Args)]
pub(crate) struct Complete {
    #[command(flatten)]
    outcome: OutcomeArgs,
}

impl Complete {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.outcome.decide(Review::Complete, "complete", "completed")
    }
}
