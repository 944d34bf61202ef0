//! `claimstore orphans`: claims that nobody stands behind.

use claimstore_admin::Which;
use clap::Args;

use super::list::{self, PageArgs};
use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::ShowArgs;

/// Lists claims that nobody stands behind, and why: of an earlier life of the store, or with a lease that has lapsed.
/// Oldest claim first.
///
/// Exit codes: 0 listed, also when there are none; 1 no such namespace; 64 usage; 65 the store is damaged; 66 no
/// store; 74 reading failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Orphans {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl Orphans {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Unheld;
        list::show(&self.store, &self.page.listing(which, self.show), self.show)
    }
}
