//! Numbers about the store: what was counted, how much there is, who is on what.

use super::Engine;
use super::decide::Hold;
use super::live::Entry;
use super::records::Records;
use super::spaces::Space;
use super::time::Moment;
use crate::bucket::BucketId;
use crate::codec::State;
use crate::error::Error;
use crate::sync::{Arc, Ordering};
use crate::view::{Bucket, Census, DuplicateRate, Filter, Outcomes, RecordState, Stats};
use std::collections::{BTreeMap, HashSet};

impl Engine {
    pub(crate) fn stats(&self) -> Stats {
        let set = self.cold.set();
        let (counters, measures) = (&self.counters, &self.measures);
        let spaces = self.spaces.all();
        let outcomes = total(&spaces);
        let (queued_bytes, unsynced_batches) = self.commit.lag();
        let size = |name| self.storage.size(name).unwrap_or(0);
        let sum = |of: fn(&crate::bucket::Run) -> u64| set.runs().iter().map(|run| of(run)).sum();
        Stats {
            claimed: outcomes.claimed,
            taken_over: outcomes.taken_over,
            duplicates: outcomes.duplicates,
            in_progress_answers: outcomes.in_progress,
            mismatches: outcomes.mismatches,
            refused: outcomes.refused,
            completed: outcomes.completed,
            failed: outcomes.failed,
            parked: outcomes.parked,
            released: outcomes.released,
            in_progress: self.live.in_progress() as u64,
            live_bytes: self.live.bytes() as u64,
            checkpointed_rows: sum(|run| run.summary().rows),
            run_bytes: sum(|run| run.summary().bytes),
            runs: set.runs().len() as u64,
            index_bytes: sum(|run| run.memory_bytes() as u64),
            journal_bytes_written: self.commit.written_bytes.load(Ordering::Relaxed),
            commits: self.commit.batches.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            merges: counters.merges.load(Ordering::Relaxed),
            pruned: counters.pruned.load(Ordering::Relaxed),
            upkeep_failures: counters.failures.load(Ordering::Relaxed),
            namespaces: spaces.len() as u64,
            life: self.life,
            replayed_batches: self.opening.replayed,
            opened_clean: self.opening.clean,
            torn_tail_cut: self.opening.tail_cut,
            filters_rebuilt: sum(|run| u64::from(run.filter_was_rebuilt())),
            commit_us: measures.commit_us.quantiles(),
            commit_ops: measures.commit_ops.quantiles(),
            duplicate_age_ms: measures.duplicate_age_ms.quantiles(),
            duplicate_ttl_percent: measures.duplicate_ttl_percent.quantiles(),
            checkpoint_ms: measures.checkpoint_ms.quantiles(),
            checkpointed: measures.checkpointed_rows.load(Ordering::Relaxed),
            merged_rows: measures.merged_rows.load(Ordering::Relaxed),
            pruned_runs: measures.pruned_runs.load(Ordering::Relaxed),
            pruned_bytes: measures.pruned_bytes.load(Ordering::Relaxed),
            queued_bytes,
            unsynced_batches,
            checkpoint_lag_bytes: self.checkpoint_lag_bytes(),
            journal_bytes: self.segments.bytes(),
            journal_limit_bytes: self.limits.journal_bytes,
            catalogue_bytes: size("catalog.redb"),
            tables_bytes: size("tables.redb"),
            disk_free_bytes: self.storage.free_bytes(),
            waiters: self.waiters.count() as u64,
            store_time_ms: self.time.now_ms(),
            clock_offset: self.time.offset_ms(),
        }
    }

    /// Outcomes by the metrics names of policies, sorted; those without one under the empty name.
    pub(crate) fn outcomes(&self) -> Vec<(Box<str>, Outcomes)> {
        let mut by_name: BTreeMap<Box<str>, Outcomes> = BTreeMap::new();
        for space in self.spaces.all() {
            let name = space.policy().counted_as().unwrap_or_default().into();
            let sum = by_name.entry(name).or_default();
            *sum = sum.and(space.counters.read());
        }
        by_name.into_iter().collect()
    }

    /// The share of duplicates among the latest answers.
    pub(crate) fn duplicate_rate(&self) -> DuplicateRate {
        let total = total(&self.spaces.all());
        self.recent.lock().rate(self.time.boot_ms(), total.answered(), total.duplicates)
    }

    /// Notes the counts for [`duplicate_rate`](Engine::duplicate_rate) when they are due, and tells of failures that the
    /// callers concerned did not come to tell of. The upkeep thread calls it with each look around.
    pub(crate) fn look_at_outcomes(&self) {
        let now_ms = self.time.boot_ms();
        if !self.recent.lock().is_due(now_ms) {
            return;
        }
        let spaces = self.spaces.all();
        let total = total(&spaces);
        self.recent.lock().note(now_ms, total.answered(), total.duplicates);
        spaces.iter().for_each(|space| space.tell_failures());
    }

    /// Time buckets, those that end first in front, those without an end last.
    pub(crate) fn buckets(&self) -> Vec<Bucket> {
        let mut by_end: BTreeMap<u64, Bucket> = BTreeMap::new();
        for run in self.cold.set().runs() {
            let end_ms = run.bucket().end_ms();
            let bucket = by_end.entry(end_ms.unwrap_or(u64::MAX)).or_insert_with(|| Bucket::new(end_ms));
            bucket.runs += 1;
            bucket.rows += run.summary().rows;
            bucket.bytes += run.summary().bytes;
        }
        by_end.into_values().collect()
    }

    /// Counts who is on what: every entry of the live table is looked at, one shard after the other, and every
    /// row of the runs without an end is read.
    pub(crate) fn census(self: &Arc<Self>) -> Result<Census, Error> {
        self.check_open()?;
        let mut keep_names = self.has_held_runs();
        let (mut census, seen) = loop {
            let (census, seen) = self.walk(keep_names);
            // What left the live table for such a run is in one by now, or was met.
            if !self.has_held_runs() {
                return Ok(census);
            }
            if keep_names {
                break (census, seen);
            }
            // The first of them came meanwhile: what was met must be known by name, not to count twice.
            keep_names = true;
        };
        let filter = Filter::new().state(RecordState::Parked).state(RecordState::Retry);
        for record in Records::of_runs(self, filter, seen) {
            match record?.state() {
                RecordState::Parked => census.parked += 1,
                _ => census.retry += 1,
            }
        }
        Ok(census)
    }

    /// Counts the live table. Answers the hashes of what it met, too, if they are to be kept.
    fn walk(&self, keep_names: bool) -> (Census, HashSet<u64>) {
        let (mut census, mut seen) = (Census::default(), HashSet::new());
        let at = self.time.moment();
        self.live.each_shard(|shard| {
            for (hash, _, entry) in shard.iter().filter(|(_, _, entry)| !entry.marks.placeholder) {
                self.count(&mut census, entry, at);
                if keep_names {
                    seen.insert(hash);
                }
            }
        });
        (census, seen)
    }

    /// Whether there are runs of records without an end.
    fn has_held_runs(&self) -> bool {
        self.cold.set().runs().iter().any(|run| run.bucket() == BucketId::Held)
    }

    fn count(&self, census: &mut Census, entry: &Entry, at: Moment) {
        match entry.record.state {
            State::Parked => census.parked += 1,
            State::Retry => census.retry += 1,
            State::InProgress => match entry.hold(self.life, at.store_ms, at.boot_ms) {
                Hold::Orphaned | Hold::Dropped | Hold::Panicked => census.orphaned += 1,
                Hold::Lapsed => census.lapsed(at.boot_ms.saturating_sub(entry.lease_until_ms)),
                Hold::Running { .. } | Hold::Reserved => {
                    census.running(at.store_ms.saturating_sub(entry.record.claimed_at_ms));
                }
            },
            State::Completed | State::Failed | State::Erased => {}
        }
    }
}

/// The outcomes of all namespaces together.
fn total(spaces: &[Arc<Space>]) -> Outcomes {
    spaces.iter().fold(Outcomes::default(), |all, space| all.and(space.counters.read()))
}
