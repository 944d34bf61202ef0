//! Numbers in answers: of records, and of the activity of a store.

use crate::millis::ms;
use crate::wire::state::State;
use claimstore::{Bucket, Census, Outcomes, Quantiles, Stats};
use serde::{Deserialize, Serialize};

/// How many records there are, and how large the store is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "counts of records by state, and members of claimstore::Stats")]
pub struct Numbers {
    pub completed: u64,
    pub failed: u64,
    pub in_progress: u64,
    pub orphaned: u64,
    pub retry: u64,
    pub parked: u64,
    pub namespaces: u64,
    pub runs: u64,
    pub run_bytes: u64,
    pub run_rows: u64,
    pub live_bytes: u64,
    pub index_bytes: u64,
    pub life: u64,
    pub store_time_ms: u64,
    pub clock_offset_ms: i64,
    /// The activity of the store; only if a program has it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

impl Numbers {
    /// How many records are in this state.
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::InProgress => self.in_progress,
            State::Orphaned => self.orphaned,
            State::Completed => self.completed,
            State::Failed => self.failed,
            State::Retry => self.retry,
            State::Parked => self.parked,
        }
    }
}

/// Samples of one measure: their number and distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Quantiles")]
pub struct QuantilesView {
    pub count: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl From<Quantiles> for QuantilesView {
    fn from(of: Quantiles) -> QuantilesView {
        QuantilesView { count: of.count, p50: of.p50, p99: of.p99, max: of.max }
    }
}

/// Outcomes of claims since the store was opened, for one metrics name; empty for policies without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Outcomes")]
pub struct OutcomesView {
    pub policy: String,
    pub claimed: u64,
    pub taken_over: u64,
    pub duplicates: u64,
    pub in_progress: u64,
    pub mismatches: u64,
    pub refused: u64,
    pub completed: u64,
    pub failed: u64,
    pub released: u64,
}

impl OutcomesView {
    pub(crate) fn new(policy: &str, of: &Outcomes) -> OutcomesView {
        OutcomesView {
            policy: policy.to_owned(),
            claimed: of.claimed,
            taken_over: of.taken_over,
            duplicates: of.duplicates,
            in_progress: of.in_progress,
            mismatches: of.mismatches,
            refused: of.refused,
            completed: of.completed,
            failed: of.failed,
            released: of.released,
        }
    }
}

/// The number of claims by state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Census")]
pub struct CensusView {
    pub in_progress: u64,
    pub in_progress_ages: [u64; 6],
    pub oldest_in_progress_ms: u64,
    pub lapsed: u64,
    pub longest_lapsed_ms: u64,
    pub orphaned: u64,
    pub retry: u64,
    pub parked: u64,
}

impl From<Census> for CensusView {
    fn from(of: Census) -> CensusView {
        CensusView {
            in_progress: of.in_progress,
            in_progress_ages: of.in_progress_ages,
            oldest_in_progress_ms: of.oldest_in_progress_ms,
            lapsed: of.lapsed,
            longest_lapsed_ms: of.longest_lapsed_ms,
            orphaned: of.orphaned,
            retry: of.retry,
            parked: of.parked,
        }
    }
}

/// A time bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Bucket")]
pub struct BucketView {
    pub ends_at_ms: Option<u64>,
    pub runs: u64,
    pub rows: u64,
    pub bytes: u64,
}

impl From<Bucket> for BucketView {
    fn from(of: Bucket) -> BucketView {
        BucketView { ends_at_ms: of.ends_at.map(ms), runs: of.runs, rows: of.rows, bytes: of.bytes }
    }
}

/// The activity of a store: counts since it was opened, and present sizes and ages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each member is that of claimstore::Stats, or of its part")]
pub struct Live {
    pub life: u64,
    pub store_time_ms: u64,
    /// By the metrics names of policies.
    pub outcomes: Vec<OutcomesView>,
    pub commits: u64,
    pub commit_us: QuantilesView,
    pub commit_ops: QuantilesView,
    pub duplicate_age_ms: QuantilesView,
    pub duplicate_ttl_percent: QuantilesView,
    /// Whether duplicates come so late that some may come after the ttl.
    pub ttl_is_short: bool,
    pub checkpoint_ms: QuantilesView,
    pub checkpoints: u64,
    pub checkpointed: u64,
    pub merges: u64,
    pub merged_rows: u64,
    pub pruned: u64,
    pub pruned_runs: u64,
    pub pruned_bytes: u64,
    pub upkeep_failures: u64,
    pub census: CensusView,
    pub waiters: u64,
    pub queued_bytes: u64,
    pub unsynced_batches: u64,
    pub journal_bytes_written: u64,
    pub journal_bytes: u64,
    pub journal_limit_bytes: u64,
    pub checkpoint_lag_bytes: u64,
    pub live_bytes: u64,
    pub runs: u64,
    pub run_rows: u64,
    pub run_bytes: u64,
    pub catalogue_bytes: u64,
    pub tables_bytes: u64,
    pub disk_free_bytes: Option<u64>,
    pub buckets: Vec<BucketView>,
}

impl Live {
    /// All outcomes together.
    pub fn total(&self) -> OutcomesView {
        self.outcomes.iter().fold(OutcomesView::default(), |all, of| OutcomesView {
            policy: String::new(),
            claimed: all.claimed + of.claimed,
            taken_over: all.taken_over + of.taken_over,
            duplicates: all.duplicates + of.duplicates,
            in_progress: all.in_progress + of.in_progress,
            mismatches: all.mismatches + of.mismatches,
            refused: all.refused + of.refused,
            completed: all.completed + of.completed,
            failed: all.failed + of.failed,
            released: all.released + of.released,
        })
    }
}

impl From<Stats> for Live {
    fn from(stats: Stats) -> Live {
        Live {
            life: stats.life,
            store_time_ms: stats.store_time_ms,
            commits: stats.commits,
            commit_us: stats.commit_us.into(),
            commit_ops: stats.commit_ops.into(),
            duplicate_age_ms: stats.duplicate_age_ms.into(),
            duplicate_ttl_percent: stats.duplicate_ttl_percent.into(),
            ttl_is_short: stats.ttl_is_short(),
            checkpoint_ms: stats.checkpoint_ms.into(),
            checkpoints: stats.checkpoints,
            checkpointed: stats.checkpointed,
            merges: stats.merges,
            merged_rows: stats.merged_rows,
            pruned: stats.pruned,
            pruned_runs: stats.pruned_runs,
            pruned_bytes: stats.pruned_bytes,
            upkeep_failures: stats.upkeep_failures,
            waiters: stats.waiters,
            queued_bytes: stats.queued_bytes,
            unsynced_batches: stats.unsynced_batches,
            journal_bytes_written: stats.journal_bytes_written,
            journal_bytes: stats.journal_bytes,
            journal_limit_bytes: stats.journal_limit_bytes,
            checkpoint_lag_bytes: stats.checkpoint_lag_bytes,
            live_bytes: stats.live_bytes,
            runs: stats.runs,
            run_rows: stats.checkpointed_rows,
            run_bytes: stats.run_bytes,
            catalogue_bytes: stats.catalogue_bytes,
            tables_bytes: stats.tables_bytes,
            disk_free_bytes: stats.disk_free_bytes,
            ..Live::default()
        }
    }
}
