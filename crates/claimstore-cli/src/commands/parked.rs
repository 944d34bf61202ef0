//! `claimstore parked`: keys held for review.

use claimstore::{Filter, RecordState};
use clap::Args;

use super::list::{PageArgs, finish};
use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::ShowArgs;
use crate::store;

/// Lists keys held for review, oldest claim first. `claimstore explain` tells why one is here.
///
/// Exit codes: 0 listed, also when there are none; 1 no such namespace; 64 usage; 65 the store is damaged; 66 no
/// store; 74 reading failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Parked {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl Parked {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let filter = self.page.filter(&store, Filter::new().state(RecordState::Parked))?;
        let page = self.page.collect(store.scan(filter), |_| true)?;
        let now = store.store_time();
        finish(store, self.show, &page, now)
    }
}
