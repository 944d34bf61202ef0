//! `claimstore stuck`: what was begun and does not end.

use std::time::Duration;

use claimstore_admin::Which;
use clap::Args;

use super::list::{self, PageArgs, millis};
use crate::args::StoreArgs;
use crate::duration;
use crate::exit::Exit;
use crate::show::ShowArgs;

/// Lists keys whose work was begun and does not end: claims in progress or orphaned, and retries that are due and not
/// taken up. Oldest claim first. Keys held for review: `claimstore parked`.
///
/// Exit codes: 0 listed, also when nothing is stuck; 1 no such namespace; 64 usage; 65 the store is damaged; 66 no
/// store; 74 reading failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Stuck {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    show: ShowArgs,

    /// For how long it has been so: since the claim, or since the retry was due.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration::parse)]
    older_than: Duration,
}

impl Stuck {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Stuck { older_than_ms: millis(self.older_than) };
        list::show(&self.store, &self.page.listing(which, self.show), self.show)
    }
}
