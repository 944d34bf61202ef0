//! `claimstore stuck`: what was begun and does not end.

use std::time::{Duration, SystemTime};

use claimstore::{Filter, Record, RecordState};
use clap::Args;

use super::list::{PageArgs, finish};
use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::{ShowArgs, age};
use crate::{duration, store};

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
        let store = store::open_existing(&self.store)?;
        let states = [RecordState::InProgress, RecordState::Orphaned, RecordState::Retry];
        let filter = states.into_iter().fold(Filter::new(), Filter::state);
        let now = store.store_time();
        let records = self.page.filter(&store, filter).map(|filter| store.scan(filter))?;
        let page = self.page.collect(records, |record| self.is_stuck(record, now))?;
        finish(store, self.show, &page, now)
    }

    fn is_stuck(&self, record: &Record, now: SystemTime) -> bool {
        // A retry that a reviewer let go has no time of its own: it was due from then on.
        let settled = record.settled_at().unwrap_or(SystemTime::UNIX_EPOCH);
        let since = record.retry_at().map_or_else(|| record.claimed_at(), |retry| retry.max(settled));
        now >= since && age(now, since) >= self.older_than
    }
}
