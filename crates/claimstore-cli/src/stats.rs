//! `claimstore stats`: what a store holds now.

use anyhow::Context as _;
use claimstore::{Filter, RecordState, Store};

use crate::args::Stats;
use crate::exit::Exit;
use crate::{print, store};

pub(crate) fn run(args: &Stats) -> anyhow::Result<Exit> {
    let store = store::open_existing(&args.store)?;
    let rows = rows(&store).context("reading the store")?;
    store.close().context("closing the store")?;
    print::text(&if args.json { json(&rows) } else { table(&rows) })
}

/// One number: its name in JSON, its name for people, its value.
type Row = (&'static str, &'static str, i128);

/// Numbers that hold for the store as it is. Counts since it was opened would be those of this very process.
fn rows(store: &Store) -> Result<Vec<Row>, claimstore::Error> {
    let counts = Counts::of(store)?;
    let stats = store.stats()?;
    Ok(vec![
        ("completed", "events completed", counts.completed.into()),
        ("failed", "events failed for good", counts.failed.into()),
        ("in_progress", "claims in progress", counts.in_progress.into()),
        ("orphaned", "claims in doubt after a crash", counts.orphaned.into()),
        ("retry", "events waiting for a retry", counts.retry.into()),
        ("parked", "events held for review", counts.parked.into()),
        ("namespaces", "namespaces", stats.namespaces.into()),
        ("runs", "runs", stats.runs.into()),
        ("run_bytes", "bytes in runs", stats.run_bytes.into()),
        ("run_rows", "rows in runs", stats.checkpointed_rows.into()),
        ("live_bytes", "memory of results not yet in runs, bytes", stats.live_bytes.into()),
        ("index_bytes", "memory of indexes, bytes", stats.index_bytes.into()),
        ("life", "times opened", stats.life.into()),
        ("store_time_ms", "store time, ms since 1970", stats.store_time_ms.into()),
        ("clock_offset_ms", "wall clock ahead of it, ms", stats.clock_offset.into()),
    ])
}

/// Records by state.
#[derive(Default)]
struct Counts {
    completed: u64,
    failed: u64,
    in_progress: u64,
    orphaned: u64,
    retry: u64,
    parked: u64,
}

impl Counts {
    fn of(store: &Store) -> Result<Counts, claimstore::Error> {
        let mut counts = Counts::default();
        for record in store.scan(Filter::new()) {
            *match record?.state() {
                RecordState::Completed => &mut counts.completed,
                RecordState::Failed => &mut counts.failed,
                RecordState::Orphaned => &mut counts.orphaned,
                RecordState::Retry => &mut counts.retry,
                RecordState::Parked => &mut counts.parked,
                // A state of a later version is one that is not over.
                _ => &mut counts.in_progress,
            } += 1;
        }
        Ok(counts)
    }
}

fn json(rows: &[Row]) -> String {
    let members: Vec<_> = rows.iter().map(|(name, _, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}\n", members.join(","))
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|(_, label, _)| label.len()).max().unwrap_or(0);
    rows.iter()
        .fold(String::new(), |text, (_, label, value)| text + &format!("{label:width$}  {value:>14}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Row; 2] = [("runs", "runs", 3), ("run_bytes", "bytes in runs", 4_096)];

    #[test]
    fn json_is_one_object() {
        assert_eq!(json(&ROWS), "{\"runs\":3,\"run_bytes\":4096}\n");
    }

    #[test]
    fn numbers_of_the_table_stand_under_each_other() {
        assert_eq!(table(&ROWS), "runs                        3\nbytes in runs            4096\n");
    }
}
