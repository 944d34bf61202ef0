//! Looking at a store: [`Stats`], [`Census`], [`Report`].

use claimstore_core::time::at;
pub(crate) use claimstore_core::view::{Filter, Record, RecordState};
use std::time::{Duration, SystemTime};

/// What became of claims since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// Claims granted.
    pub claimed: u64,
    /// Of those, attempts after the first.
    pub taken_over: u64,
    /// Claims answered `Duplicate`.
    pub duplicates: u64,
    /// Claims answered `InProgress`. A call that waits counts once, by what it was told in the end.
    pub in_progress: u64,
    /// Claims refused as `PayloadMismatch`.
    pub mismatches: u64,
    /// Claims refused otherwise.
    pub refused: u64,
    /// Claims completed.
    pub completed: u64,
    /// Claims that failed, whatever becomes of the key: it may be claimed again, has ended, or is parked. By their holder,
    /// by recovery, by a reviewer, or by a claim that found nobody behind them and may not go on.
    pub failed: u64,
    /// Of those, keys that were parked. Records that are imported as parked do not count.
    pub parked: u64,
    /// Claims released, and keys forgotten.
    pub released: u64,
}

impl Outcomes {
    /// Claims that were answered, whatever the answer.
    pub fn answered(&self) -> u64 {
        self.claimed + self.duplicates + self.in_progress + self.mismatches + self.refused
    }

    pub(crate) fn and(self, more: Outcomes) -> Outcomes {
        Outcomes {
            claimed: self.claimed + more.claimed,
            taken_over: self.taken_over + more.taken_over,
            duplicates: self.duplicates + more.duplicates,
            in_progress: self.in_progress + more.in_progress,
            mismatches: self.mismatches + more.mismatches,
            refused: self.refused + more.refused,
            completed: self.completed + more.completed,
            failed: self.failed + more.failed,
            parked: self.parked + more.parked,
            released: self.released + more.released,
        }
    }
}

/// How many of the latest claims were duplicates: [`Store::duplicate_rate`](crate::Store::duplicate_rate).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DuplicateRate {
    /// The time that the counts are of, which ends now.
    pub over: Duration,
    /// Claims that were answered in it, whatever the answer.
    pub answered: u64,
    /// Of those, claims answered `Duplicate`.
    pub duplicates: u64,
}

impl DuplicateRate {
    /// The share of duplicates, from 0 to 1; 0 where nothing was answered.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub fn share(&self) -> f64 {
        if self.answered == 0 { 0.0 } else { self.duplicates as f64 / self.answered as f64 }
    }
}

/// How samples of one measure lie. Half of them do not exceed `p50`, 99 in 100 do not exceed `p99`: both read
/// from buckets, and so up to an eighth too high. All zero when there were no samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quantiles {
    /// Samples since the store was opened.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// What one sample in a hundred exceeds.
    pub p99: u64,
    /// The highest, exactly.
    pub max: u64,
}

/// Who is on what, as of one walk through the store: [`Store::census`](crate::Store::census).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Claims in progress whose holder is trusted with them.
    pub in_progress: u64,
    /// Of those, how many were claimed at most 1 s, 10 s, 1 min, 10 min, 1 h ago ([`Census::AGES`]), and longer.
    pub in_progress_ages: [u64; 6],
    /// How long ago the oldest of them was claimed, in milliseconds.
    pub oldest_in_progress_ms: u64,
    /// Claims in progress whose lease has lapsed, and that nobody took over.
    pub lapsed: u64,
    /// How long the lease of the first of them has been over, in milliseconds.
    pub longest_lapsed_ms: u64,
    /// Claims of an earlier life, or abandoned by a drop.
    pub orphaned: u64,
    /// Keys that may be claimed again, now or later.
    pub retry: u64,
    /// Keys held for review.
    pub parked: u64,
}

impl Census {
    /// The ages that divide [`in_progress_ages`](Census::in_progress_ages).
    pub const AGES: [Duration; 5] = [
        Duration::from_secs(1),
        Duration::from_secs(10),
        Duration::from_secs(60),
        Duration::from_secs(600),
        Duration::from_secs(3_600),
    ];

    pub(crate) fn running(&mut self, age_ms: u64) {
        self.in_progress += 1;
        self.oldest_in_progress_ms = self.oldest_in_progress_ms.max(age_ms);
        let step = Census::AGES.iter().position(|age| u128::from(age_ms) <= age.as_millis());
        if let Some(counted) = self.in_progress_ages.get_mut(step.unwrap_or(Census::AGES.len())) {
            *counted += 1;
        }
    }

    pub(crate) fn lapsed(&mut self, since_ms: u64) {
        self.lapsed += 1;
        self.longest_lapsed_ms = self.longest_lapsed_ms.max(since_ms);
    }
}

/// A time bucket: records that are forgotten at about the same time, and dropped together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// From when it can be dropped, in store time; `None` for records without an end.
    pub ends_at: Option<SystemTime>,
    /// Runs in it.
    pub runs: u64,
    /// Rows in them: records, tombstones, and older versions that await a merge.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Bucket {
    pub(crate) fn new(end_ms: Option<u64>) -> Bucket {
        Bucket { ends_at: end_ms.map(at), runs: 0, rows: 0, bytes: 0 }
    }
}

/// Numbers about a store. Counts of outcomes are since it was opened; sizes are of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Claims granted.
    pub claimed: u64,
    /// Of those, attempts after the first.
    pub taken_over: u64,
    /// Claims answered `Duplicate`.
    pub duplicates: u64,
    /// Claims answered `InProgress`.
    pub in_progress_answers: u64,
    /// Claims refused as `PayloadMismatch`.
    pub mismatches: u64,
    /// Claims refused otherwise.
    pub refused: u64,
    /// Claims completed.
    pub completed: u64,
    /// Claims that failed, whatever becomes of the key: it may be claimed again, has ended, or is parked. By their holder,
    /// by recovery, by a reviewer, or by a claim that found nobody behind them and may not go on.
    pub failed: u64,
    /// Of those, keys that were parked. Records that are imported as parked do not count.
    pub parked: u64,
    /// Claims released, and keys forgotten.
    pub released: u64,
    /// Claims in progress now.
    pub in_progress: u64,
    /// Memory of claims in progress and of results not yet checkpointed, in bytes.
    pub live_bytes: u64,
    /// Rows in checkpointed runs: records, tombstones, and older versions that await a merge.
    pub checkpointed_rows: u64,
    /// Bytes of checkpointed runs.
    pub run_bytes: u64,
    /// Number of runs.
    pub runs: u64,
    /// Memory of filters and indexes of runs, in bytes.
    pub index_bytes: u64,
    /// Journal bytes written since the store was opened.
    pub journal_bytes_written: u64,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Checkpoints since the store was opened.
    pub checkpoints: u64,
    /// Merges since the store was opened.
    pub merges: u64,
    /// Rows pruned since the store was opened.
    pub pruned: u64,
    /// Upkeep that failed and will be tried again.
    pub upkeep_failures: u64,
    /// Namespaces, the default one included.
    pub namespaces: u64,
    /// How often the store has been opened.
    pub life: u64,
    /// Journal batches read back when the store was opened.
    pub replayed_batches: u64,
    /// Whether it had been closed cleanly before.
    pub opened_clean: bool,
    /// Whether a torn tail was cut off the journal: what was being written when the power failed.
    pub torn_tail_cut: bool,
    /// Filters that were found damaged when runs were opened, and built again from the rows.
    pub filters_rebuilt: u64,
    /// From when a batch was closed until it could be answered, write and sync, in microseconds. Of commits
    /// under 20 us, which no disk is behind, one in eight is measured.
    pub commit_us: Quantiles,
    /// Operations of a batch.
    pub commit_ops: Quantiles,
    /// How long after its key resolved a duplicate arrived, in milliseconds.
    pub duplicate_age_ms: Quantiles,
    /// The same in percent of the time for which the key is remembered; 100 is the edge, behind which a
    /// duplicate is no longer known as one.
    pub duplicate_ttl_percent: Quantiles,
    /// How long a checkpoint took, in milliseconds.
    pub checkpoint_ms: Quantiles,
    /// Rows that checkpoints took out of the journal since the store was opened.
    pub checkpointed: u64,
    /// Rows that merges wrote since the store was opened.
    pub merged_rows: u64,
    /// Run files pruned since the store was opened.
    pub pruned_runs: u64,
    /// Bytes pruned since the store was opened.
    pub pruned_bytes: u64,
    /// Bytes that wait to be written to the journal.
    pub queued_bytes: u64,
    /// Batches answered and not synced yet; 0 under [`Durability::Sync`](crate::Durability::Sync).
    pub unsynced_batches: u64,
    /// Journal bytes written since the last checkpoint began.
    pub checkpoint_lag_bytes: u64,
    /// Bytes of the journal segments in use: what an open after a crash may have to look at.
    pub journal_bytes: u64,
    /// At how many bytes of journal new claims are refused until a checkpoint catches up.
    pub journal_limit_bytes: u64,
    /// Bytes of the catalogue's file.
    pub catalogue_bytes: u64,
    /// Bytes of the file of the callers' tables; 0 if there is none.
    pub tables_bytes: u64,
    /// Bytes that the file system would still take; `None` where that cannot be known.
    pub disk_free_bytes: Option<u64>,
    /// Calls that wait for a key to change hands.
    pub waiters: u64,
    /// Store time in milliseconds since 1970.
    pub store_time_ms: u64,
    /// How far the wall clock stands ahead of store time (negative: behind), in milliseconds.
    pub clock_offset: i64,
}

impl Stats {
    /// Whether duplicates come so late that some may come too late: of at least 20, one in a hundred arrived in
    /// the last quarter of the time for which its key was remembered. A longer ttl is called for.
    pub fn ttl_is_short(&self) -> bool {
        self.duplicate_ttl_percent.count >= 20 && self.duplicate_ttl_percent.p99 >= 75
    }
}

/// What [`Store::verify`](crate::Store::verify) looked at. It answers `Corrupt` at the first damage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Runs read to the last byte.
    pub runs: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows of the callers' tables.
    pub table_rows: u64,
    /// Entries of the live table whose invariants hold.
    pub live: u64,
}
