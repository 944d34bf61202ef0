//! `claimstore forget`: a key becomes unknown.

use claimstore_admin::Verb;
use clap::Args;

use crate::codes;
use crate::exit::Exit;
use crate::repair::RepairArgs;

/// Makes keys unknown, whatever they are: their work may be done again.
///
/// Nothing is left that could keep --by and --why. With several keys the exit code is the largest that one of them alone
/// would have had.
#[derive(Debug, Args)]
#[command(after_long_help = codes::REPAIR.listed())]
pub(crate) struct Forget {
    #[command(flatten)]
    repair: RepairArgs,

    /// Also keys that somebody is trusted with: what comes of that work is refused, and it may be done twice.
    #[arg(long)]
    force: bool,
}

impl Forget {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.repair.decide(Verb::Forget, b"", self.force)
    }
}
