//! The choice of the next merge. Pure.

use super::{BucketId, RunSet, RunSummary};
use std::collections::BTreeMap;

/// Runs of one size class that are merged together; also the ratio between size classes. A bucket of n runs'
/// worth of data holds about 3 log4(n) runs, and a row is rewritten about log4(n) times.
const FACTOR: u64 = 4;
/// The most runs that a look-up has to search, as long as buckets have runs to merge.
const MAX_RUNS: usize = 24;
/// Runs below this size are of one class, unless checkpoints are small.
const SMALLEST_CLASS_BYTES: u64 = 64 * 1024;
/// The smallest class is this fraction of `checkpoint_bytes`. With the default of 64 MiB it is
/// [`SMALLEST_CLASS_BYTES`].
const CHECKPOINT_RATIO: u64 = 1_024;

/// A merge worth doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) bucket: BucketId,
    /// The numbers of the runs to merge.
    pub(crate) runs: Vec<u64>,
    /// Whether tombstones may be dropped. Only if every run of the bucket takes part; otherwise an older version in
    /// another run would come back.
    pub(crate) drop_tombstones: bool,
}

/// The most useful merge, if there is one. With `idle` also merges that are not necessary: one run for each sealed
/// bucket. A small `checkpoint_bytes` makes the size classes small too.
pub(crate) fn plan(set: &RunSet, checkpoint_bytes: usize, idle: bool) -> Option<Plan> {
    let smallest = (checkpoint_bytes as u64 / CHECKPOINT_RATIO).clamp(1, SMALLEST_CLASS_BYTES);
    plan_of(set.runs().iter().map(|run| run.summary()), smallest, idle)
}

type Buckets<'a> = BTreeMap<BucketId, Vec<&'a RunSummary>>;

fn plan_of<'a>(runs: impl Iterator<Item = &'a RunSummary>, smallest: u64, idle: bool) -> Option<Plan> {
    let mut buckets = Buckets::new();
    for run in runs {
        buckets.entry(run.bucket).or_default().push(run);
    }
    for runs in buckets.values_mut() {
        runs.sort_by_key(|run| (run.bytes, run.number));
    }
    let tiered = || buckets.values().find_map(|runs| full_class(runs, smallest));
    let emptied = || buckets.values().find_map(|runs| mostly_erased(runs));
    let sealed = || if idle { sealed_bucket(&buckets) } else { None };
    tiered().or_else(|| over_the_cap(&buckets)).or_else(emptied).or_else(sealed)
}

/// The smallest size class that is full, and everything below it.
fn full_class(runs: &[&RunSummary], smallest: u64) -> Option<Plan> {
    let mut start = 0;
    while let Some(first) = runs.get(start) {
        let class = size_class(first.bytes, smallest);
        let end = runs.partition_point(|run| size_class(run.bytes, smallest) <= class);
        if (end - start) as u64 >= FACTOR {
            return merge_smallest(runs, end);
        }
        start = end;
    }
    None
}

/// If there are too many runs in all: the merge with the least bytes per run that it removes.
fn over_the_cap(buckets: &Buckets<'_>) -> Option<Plan> {
    let closed = || buckets.iter().filter(|(bucket, _)| **bucket != BucketId::Open).map(|(_, runs)| runs);
    if closed().map(Vec::len).sum::<usize>() <= MAX_RUNS {
        return None;
    }
    let candidates = closed().flat_map(|runs| {
        let mut bytes = 0;
        runs.iter().enumerate().filter_map(move |(fewer, run)| {
            bytes += run.bytes;
            (fewer > 0).then(|| (bytes / fewer as u64, runs, fewer + 1))
        })
    });
    let (_, runs, count) = candidates.min_by_key(|(cost, _, _)| *cost)?;
    merge_smallest(runs, count)
}

/// Merges a bucket as a whole if at least half of its rows are tombstones.
fn mostly_erased(runs: &[&RunSummary]) -> Option<Plan> {
    let rows = runs.iter().map(|run| run.rows).sum::<u64>();
    let tombstones = runs.iter().map(|run| run.tombstones).sum::<u64>();
    if tombstones > 0 && tombstones * 2 >= rows { merge_smallest(runs, runs.len()) } else { None }
}

/// A bucket that gets no more records, as it is not the newest of its width.
fn sealed_bucket(buckets: &Buckets<'_>) -> Option<Plan> {
    let mut in_order = buckets.iter().peekable();
    while let Some((bucket, runs)) = in_order.next() {
        let BucketId::Timed { class, .. } = bucket else { continue };
        let newer = in_order
            .peek()
            .is_some_and(|(next, _)| matches!(next, BucketId::Timed { class: c, .. } if c == class));
        if newer && runs.len() > 1 {
            return merge_smallest(runs, runs.len());
        }
    }
    None
}

fn merge_smallest(runs: &[&RunSummary], count: usize) -> Option<Plan> {
    let bucket = runs.first()?.bucket;
    let numbers = runs.iter().take(count).map(|run| run.number).collect();
    Some(Plan { bucket, runs: numbers, drop_tombstones: count == runs.len() })
}

fn size_class(bytes: u64, smallest: u64) -> u32 {
    (bytes / smallest).max(1).ilog(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, TIMED, completed, key};
    use super::{BucketId, FACTOR, MAX_RUNS, Plan, RunSet, RunSummary, SMALLEST_CLASS_BYTES, plan, plan_of};
    use proptest::prelude::*;

    fn run(number: u64, bucket: BucketId, bytes: u64) -> RunSummary {
        RunSummary {
            number,
            bucket,
            rows: bytes / 100,
            tombstones: 0,
            bytes,
            min_seq: 0,
            max_seq: number,
            digest: 0,
        }
    }

    fn timed(index: u64) -> BucketId {
        BucketId::Timed { class: 20, index }
    }

    fn check(runs: &[RunSummary], idle: bool, expected: Option<(BucketId, &[u64], bool)>) {
        let expected = expected.map(|(bucket, runs, drop_tombstones)| Plan {
            bucket,
            runs: runs.to_vec(),
            drop_tombstones,
        });
        assert_eq!(plan_of(runs.iter(), SMALLEST_CLASS_BYTES, idle), expected);
    }

    #[test]
    fn a_full_size_class_is_merged_with_what_is_smaller() {
        let sizes = [100_000, 90_000, 120_000, 100_000_000];
        let mut runs: Vec<_> = (1..).zip(sizes).map(|(n, bytes)| run(n, timed(1), bytes)).collect();
        check(&runs, false, None);
        runs.push(run(5, timed(2), 100_000));
        check(&runs, false, None);
        runs.push(run(6, timed(1), 10));
        check(&runs, false, Some((timed(1), &[6, 2, 1, 3], false)));
        runs.retain(|run| run.number != 4);
        check(&runs, false, Some((timed(1), &[6, 2, 1, 3], true)));
    }

    #[test]
    fn too_many_runs_are_merged_where_it_is_cheapest() {
        let mut runs: Vec<_> = (0..MAX_RUNS as u64).map(|n| run(n, timed(n), 1_000_000)).collect();
        check(&runs, false, None);
        runs.push(run(100, timed(3), 50_000_000));
        runs.push(run(101, timed(4), 500_000));
        check(&runs, false, Some((timed(4), &[101, 4], true)));
    }

    #[test]
    fn what_a_merge_costs_is_shared_by_the_runs_it_takes_away() {
        // One run less for 2.1 MB in bucket 3, two less for 3 MB in bucket 4.
        let mut runs: Vec<_> = (0..MAX_RUNS as u64 - 2).map(|n| run(n, timed(n), 1_000_000)).collect();
        runs.push(run(100, timed(3), 1_100_000));
        runs.extend([101, 102].map(|number| run(number, timed(4), 1_000_000)));
        check(&runs, false, Some((timed(4), &[4, 101, 102], true)));
    }

    #[test]
    fn an_idle_store_merges_sealed_buckets() {
        let runs = [
            run(1, timed(1), 10_000_000),
            run(2, timed(1), 100),
            run(3, timed(2), 100),
            run(4, timed(2), 1_000_000),
        ];
        check(&runs, false, None);
        check(&runs, true, Some((timed(1), &[2, 1], true)));
        // One run is as few as it gets, and the newest bucket is not sealed.
        check(&runs[1..], true, None);
        check(&runs[2..], true, None);
    }

    #[test]
    fn a_bucket_of_tombstones_gives_its_space_back() {
        let mut runs = [run(1, BucketId::Held, 10_000), run(2, BucketId::Held, 10_000_000)];
        runs[0].tombstones = 100;
        check(&runs, false, None);
        runs[1].rows = 101;
        check(&runs, false, None);
        runs[1].rows = 100;
        check(&runs, false, Some((BucketId::Held, &[1, 2], true)));
        // Without tombstones there is nothing to give back, and a merge would be made again and again.
        let mut empty = run(1, BucketId::Held, 10_000);
        empty.rows = 0;
        check(&[empty], false, None);
    }

    /// Runs of these many rows of 10,000 bytes each, in one bucket, numbered from 1.
    fn set(rows: &[u64]) -> RunSet {
        let fixture = Fixture::new();
        let runs = (1..).zip(rows).map(|(number, &rows)| {
            let row = |row: u64| (key(1, &row.to_be_bytes()), completed(number * 1_000 + row, &[7; 10_000]));
            let rows: Vec<_> = (0..rows).map(row).collect();
            fixture.run(number, TIMED, rows.iter().map(|(key, record)| (key, record)))
        });
        RunSet::new(runs.collect())
    }

    fn largest_bytes(set: &RunSet) -> usize {
        set.runs().iter().map(|run| run.summary().bytes).max().unwrap() as usize
    }

    #[test]
    fn the_smallest_size_class_is_a_share_of_a_checkpoint() {
        let set = set(&[1, 1, 1, 8]);
        let merged = Plan { bucket: TIMED, runs: vec![1, 2, 3, 4], drop_tombstones: true };
        // The smallest class goes up to four 1,024ths of a checkpoint.
        let one_class = (largest_bytes(&set) / 4 + 1) * 1_024;
        assert_eq!(plan(&set, one_class, false), Some(merged.clone()));
        assert_eq!(plan(&set, one_class - 1_024, false), None);
        // Where checkpoints are tiny, every factor of four is a class of its own, also that of single bytes.
        assert_eq!(plan(&set, 0, false), None);
    }

    #[test]
    fn the_smallest_size_class_is_bounded_however_large_checkpoints_are() {
        let below = set(&[1, 1, 1, 20]);
        assert!(largest_bytes(&below) < 4 * SMALLEST_CLASS_BYTES as usize);
        let merged = Plan { bucket: TIMED, runs: vec![1, 2, 3, 4], drop_tombstones: true };
        assert_eq!(plan(&below, usize::MAX, false), Some(merged));
        let above = set(&[1, 1, 1, 30]);
        assert!(largest_bytes(&above) >= 4 * SMALLEST_CLASS_BYTES as usize);
        assert_eq!(plan(&above, usize::MAX, false), None);
    }

    proptest! {
        /// Runs of any sizes arrive in a few buckets; merges are made as planned until none is left.
        #[test]
        fn the_number_of_runs_stays_bounded(arrivals in prop::collection::vec((0u64..30, 1u64..5_000_000), 1..300)) {
            let mut runs: Vec<RunSummary> = Vec::new();
            for (number, (index, bytes)) in (0u64..).zip(arrivals) {
                runs.push(run(number * 1_000, timed(index), bytes));
                let mut merges = 0;
                while let Some(plan) = plan_of(runs.iter(), SMALLEST_CLASS_BYTES, false) {
                    let (merged, left): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| plan.runs.contains(&run.number));
                    runs = left;
                    prop_assert!(merged.len() == plan.runs.len() && merged.len() > 1);
                    prop_assert!(merged.iter().all(|run| run.bucket == plan.bucket));
                    let all = runs.iter().all(|run| run.bucket != plan.bucket);
                    prop_assert_eq!(plan.drop_tombstones, all);
                    merges += 1;
                    runs.push(run(number * 1_000 + merges, plan.bucket, merged.iter().map(|run| run.bytes).sum()));
                }
                let buckets: std::collections::BTreeSet<_> = runs.iter().map(|run| run.bucket).collect();
                prop_assert!(runs.len() <= MAX_RUNS.max(buckets.len()));
                for bucket in buckets {
                    prop_assert!(runs.iter().filter(|run| run.bucket == bucket).count() as u64 <= 8 * FACTOR);
                }
            }
        }
    }
}
