//! Measurements: duration of commits, age of duplicates, upkeep.
//!
//! A sample costs one relaxed addition to a fixed array, striped over threads, and a comparison with the maximum so
//! far. It allocates nothing and takes no lock, and nothing is decided by these values.

use super::striped::Striped;
use crate::sync::{Ordering, Tally};
use crate::view::Quantiles;

/// Buckets between two powers of two: a value read back is at most an eighth too high.
const SUB_BITS: u32 = 3;
const SUBS: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUBS;
/// One bucket for each percent, the last for everything from 100 on.
const PERCENTS: usize = 101;

/// Counts of values in buckets whose width grows with the value.
pub(crate) struct Histogram {
    buckets: Striped,
    max: Tally,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::with(BUCKETS)
    }
}

impl Histogram {
    fn with(buckets: usize) -> Histogram {
        Histogram { buckets: Striped::new(buckets), max: Tally::new(0) }
    }

    pub(crate) fn record(&self, value: u64) {
        self.count(bucket_of(value), value);
    }

    fn count(&self, bucket: usize, value: u64) {
        self.buckets.add(bucket);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        self.read(highest_of)
    }

    fn read(&self, highest_of: impl Fn(usize) -> u64) -> Quantiles {
        let counts = self.counts();
        let count: u64 = counts.iter().sum();
        let max = self.max.load(Ordering::Relaxed);
        let at = |percent: u64| {
            // The smallest value that this share of the samples does not exceed.
            let rank = count.saturating_mul(percent).div_ceil(100).max(1);
            let mut below = 0;
            let bucket = counts.iter().position(|counted| {
                below += counted;
                below >= rank
            });
            bucket.map_or(0, |bucket| highest_of(bucket).min(max))
        };
        Quantiles { count, p50: at(50), p99: at(99), max }
    }

    /// How many samples lie in each bucket.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.buckets.sums()
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.quantiles().fmt(f)
    }
}

/// Counts of whole percents.
#[derive(Debug)]
pub(crate) struct Percents(Histogram);

impl Default for Percents {
    fn default() -> Percents {
        Percents(Histogram::with(PERCENTS))
    }
}

impl Percents {
    pub(crate) fn record(&self, percent: u64) {
        let percent = percent.min(PERCENTS as u64 - 1);
        self.0.count(percent as usize, percent);
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        self.0.read(|bucket| bucket as u64)
    }
}

fn bucket_of(value: u64) -> usize {
    if value < SUBS as u64 {
        return value as usize;
    }
    let power = value.ilog2();
    let sub = (value >> (power - SUB_BITS)) as usize % SUBS;
    (power - SUB_BITS + 1) as usize * SUBS + sub
}

/// The highest value of a bucket.
pub(crate) fn highest_of(bucket: usize) -> u64 {
    if bucket < SUBS {
        return bucket as u64;
    }
    let (shift, sub) = (bucket / SUBS - 1, bucket % SUBS);
    let next = ((SUBS + sub + 1) as u128) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

/// Everything that is measured beside the [counts of outcomes](super::counters::Counters).
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// Microseconds from the close of a batch until its commit: write and sync.
    pub(crate) commit_us: Histogram,
    /// Operations of a batch.
    pub(crate) commit_ops: Histogram,
    /// Milliseconds between a key's resolution and a duplicate of it.
    pub(crate) duplicate_age_ms: Histogram,
    /// The same in percent of the time for which the key is remembered.
    pub(crate) duplicate_ttl_percent: Percents,
    /// Milliseconds a checkpoint took.
    pub(crate) checkpoint_ms: Histogram,
    pub(crate) checkpointed_rows: Tally,
    pub(crate) merged_rows: Tally,
    pub(crate) pruned_runs: Tally,
    pub(crate) pruned_bytes: Tally,
}

impl Measures {
    /// Records a duplicate of a key that was resolved at `settled_ms` and is remembered until `until_ms`.
    pub(crate) fn duplicate(&self, settled_ms: u64, until_ms: u64, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(settled_ms);
        self.duplicate_age_ms.record(age_ms);
        let ttl_ms = until_ms.saturating_sub(settled_ms).max(1);
        self.duplicate_ttl_percent.record(age_ms.saturating_mul(100) / ttl_ms);
    }

    pub(crate) fn pruned(&self, pruned: &super::upkeep::Pruned) {
        self.pruned_runs.fetch_add(pruned.runs, Ordering::Relaxed);
        self.pruned_bytes.fetch_add(pruned.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, Measures, bucket_of, highest_of};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_at_most_an_eighth_below_its_end(value: u64) {
            let bucket = bucket_of(value);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(highest_of(bucket) >= value);
            prop_assert!(highest_of(bucket) - value <= value / 8);
            prop_assert!(bucket == 0 || highest_of(bucket - 1) < value);
        }

        #[test]
        fn quantiles_are_those_of_a_sorted_list_but_for_an_eighth(mut values in prop::collection::vec(0..1_u64 << 40, 1..200)) {
            let histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            let read = histogram.quantiles();
            prop_assert_eq!(read.count, values.len() as u64);
            prop_assert_eq!(read.max, *values.last().unwrap());
            for (percent, found) in [(50, read.p50), (99, read.p99)] {
                let exact = values[(values.len() * percent).div_ceil(100) - 1];
                prop_assert!(found >= exact && found - exact <= exact / 8, "{found} for {exact}");
            }
        }
    }

    #[test]
    fn nothing_measured_is_nothing() {
        assert_eq!(Histogram::default().quantiles(), crate::view::Quantiles::default());
    }

    #[test]
    fn duplicates_are_measured_against_their_ttl() {
        let measures = Measures::default();
        for age in [0, 10, 500, 999] {
            measures.duplicate(5_000, 6_000, 5_000 + age);
        }
        let (age, percent) =
            (measures.duplicate_age_ms.quantiles(), measures.duplicate_ttl_percent.quantiles());
        assert_eq!((age.count, age.max), (4, 999));
        assert_eq!((percent.p50, percent.p99, percent.max), (1, 99, 99));
        // A clock that stands, or a record of no length, is no reason to stop.
        measures.duplicate(5, 5, 4);
        measures.duplicate(0, 1, u64::MAX);
        assert_eq!(measures.duplicate_ttl_percent.quantiles().max, 100);
    }
}
