//! `claimstore orphans`: claims that nobody stands behind.

use claimstore_admin::Which;
use clap::Args;

use super::list::PageArgs;
use crate::codes;
use crate::exit::Exit;

/// Lists claims whose holder is gone, and why.
///
/// A claim of an earlier life of the store (`earlier-life`), one that its program dropped (`abandoned`), and one whose
/// lease is over (`lapsed`). Oldest claim first.
#[derive(Debug, Args)]
#[command(after_long_help = codes::ORPHANS.listed())]
pub(crate) struct Orphans {
    #[command(flatten)]
    page: PageArgs,
}

impl Orphans {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Unheld;
        self.page.show(which)
    }
}
