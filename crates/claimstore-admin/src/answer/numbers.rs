//! Numbers of a store: counts of records, and what the store measures itself.

use crate::answer::served::Served;
use crate::wire::{BucketView, Live, Numbers, OutcomesView};
use claimstore::{Filter, RecordState, Store};

/// Counts every record. The store keeps no such counts, because they would slow down every commit.
pub(crate) fn numbers(store: &Store, served: Served) -> Result<Numbers, claimstore::Error> {
    let mut numbers = Numbers::default();
    for record in store.scan(Filter::new()) {
        *match record?.state() {
            RecordState::Completed => &mut numbers.completed,
            RecordState::Failed => &mut numbers.failed,
            RecordState::Orphaned => &mut numbers.orphaned,
            RecordState::Retry => &mut numbers.retry,
            RecordState::Parked => &mut numbers.parked,
            // A state of a later version counts as not ended.
            _ => &mut numbers.in_progress,
        } += 1;
    }
    let stats = store.stats()?;
    let live = if served == Served::Live { Some(live(store)?) } else { None };
    Ok(Numbers {
        namespaces: stats.namespaces,
        runs: stats.runs,
        run_bytes: stats.run_bytes,
        run_rows: stats.checkpointed_rows,
        live_bytes: stats.live_bytes,
        index_bytes: stats.index_bytes,
        life: stats.life,
        store_time_ms: stats.store_time_ms,
        clock_offset_ms: stats.clock_offset,
        live,
        ..numbers
    })
}

/// What the store is doing.
pub(crate) fn live(store: &Store) -> Result<Live, claimstore::Error> {
    let stats = store.stats()?;
    let outcomes = store.outcomes()?;
    let buckets = store.buckets()?.into_iter().map(BucketView::from).collect();
    Ok(Live {
        outcomes: outcomes.iter().map(|(name, of)| OutcomesView::new(name, of)).collect(),
        census: store.census()?.into(),
        buckets,
        ..Live::from(stats)
    })
}
