//! `claimstore forget`: a key becomes unknown.

use clap::Args;

use crate::exit::Exit;
use crate::repair::RepairArgs;

/// Makes a key unknown, whatever it is: its work may be done again. Nothing is left that could keep --by and --why.
///
/// Exit codes: 0 done; 1 no such key or namespace; 4 the key is in another state; 64 usage, or nobody to ask; 65 the
/// store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere, or
/// a holder is still trusted with the key.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    repair: RepairArgs,

    /// Also a key that somebody is trusted with: what comes of that work is refused, and it may be done twice.
    #[arg(long)]
    force: bool,
}

impl Forget {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.repair.forget(self.force)
    }
}
