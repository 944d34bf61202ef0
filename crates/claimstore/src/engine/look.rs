//! Reading and the operator's calls: get, scan, stats, verify, forget.

use super::claims::{OP_BYTES, carried};
use super::commit::Waits;
use super::decide::Hold;
use super::live::Entry;
use super::settle::stale;
use super::spaces::{Keyed, Space, is_reserved};
use super::time::Moment;
use super::{Class, Engine, spans};
use crate::bucket::{BucketId, RunCursor, is_newer};
use crate::codec::{self, State};
use crate::error::Error;
use crate::planted;
use crate::sync::{Arc, Ordering};
use crate::view::{Bucket, Census, Filter, Outcomes, Record, RecordState, Report, Stats};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Live shards are listed one at a time.
const SHARDS: usize = super::live::SHARDS;

/// Which version of a key is forgotten; another one is `StaleLease`.
#[derive(Debug, Clone, Copy)]
struct Only {
    seq: u64,
    /// Also if somebody is trusted with it.
    held_too: bool,
}

impl Engine {
    /// The record of a key, durable facts only.
    pub(crate) fn get(&self, space: &Space, key: &[u8]) -> Result<Option<Record>, Error> {
        let (batch, record) = self.begin_get(space, key)?;
        self.wait(batch)?;
        Ok(record)
    }

    /// The record of a key, to be told when the batch is committed.
    pub(crate) fn begin_get(&self, space: &Space, key: &[u8]) -> Result<(u64, Option<Record>), Error> {
        self.check_open()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        loop {
            let generation = self.cold.generation();
            // A placeholder says nothing of the key: what is known of it lies in the runs.
            let live = self.live.shard(keyed.hash).find(keyed.hash, &keyed.full).cloned();
            let reserved_at_most = live.as_ref().is_none_or(|entry| entry.marks.placeholder);
            if let Some(entry) = live.filter(|entry| !entry.marks.placeholder) {
                return Ok((entry.batch, self.show_live(space, &keyed.full, entry)));
            }
            let cold = self.cold.lookup(&keyed.full, keyed.hash)?;
            let shard = self.live.shard(keyed.hash);
            let now = shard.find(keyed.hash, &keyed.full);
            let unchanged = reserved_at_most && now.is_none_or(|entry| entry.marks.placeholder);
            if self.cold.generation() == generation && unchanged {
                let known = cold.map(|found| shard.cold_repeats.known(keyed.hash, Cow::Owned(found.record)));
                drop(shard);
                let show = |known: Cow<'_, codec::Record>| {
                    self.show(space, &keyed.full, known.into_owned(), Hold::Lapsed)
                };
                return Ok((0, known.and_then(show)));
            }
        }
    }

    fn show_live(&self, space: &Space, full_key: &[u8], entry: Entry) -> Option<Record> {
        if entry.marks.placeholder {
            return None;
        }
        let hold = entry.hold(self.life, self.time.now_ms(), self.time.boot_ms());
        self.show(space, full_key, entry.into_known(), hold)
    }

    fn show(&self, space: &Space, full_key: &[u8], record: codec::Record, hold: Hold) -> Option<Record> {
        if record.is_expired(self.time.now_ms()) || is_reserved(&space.name) {
            return None;
        }
        Record::new(&space.name, full_key, record, hold)
    }

    /// Makes a key unknown, whatever it is. Answers whether it was known.
    pub(crate) fn forget(&self, space: &Space, key: &[u8]) -> Result<bool, Error> {
        let (batch, known) = self.begin_forget(space, key, Waits::Here)?;
        self.wait(batch)?;
        Ok(known)
    }

    /// Queues a `forget`. Answers the batch to wait for, and whether the key was known.
    pub(crate) fn begin_forget(&self, space: &Space, key: &[u8], waits: Waits) -> Result<(u64, bool), Error> {
        self.check_changes()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        self.erase(space, &keyed, waits, None)
    }

    /// Makes a key unknown, if it is as a listing or a look-up showed it, and nobody is trusted with it.
    ///
    /// Fencing: version and holder are compared under the order lock and the shard's lock, under which a claim
    /// is granted, renewed, settled and reviewed. So whoever comes first wins: a claim that was granted after
    /// the listing stands, and so does what another reviewer decided.
    pub(crate) fn forget_unheld(&self, listed: &Record) -> Result<(), Error> {
        self.forget_version(listed, false)
    }

    /// The same of a version that somebody may be trusted with.
    pub(crate) fn forget_shown(&self, listed: &Record) -> Result<(), Error> {
        self.forget_version(listed, true)
    }

    fn forget_version(&self, listed: &Record, held_too: bool) -> Result<(), Error> {
        let held = self.held(listed)?;
        let only = Only { seq: listed.version.seq, held_too };
        let (batch, _) = self.erase(&held.space, &held.keyed, Waits::Here, Some(only))?;
        self.wait(batch)
    }

    fn erase(
        &self,
        space: &Space,
        keyed: &Keyed,
        waits: Waits,
        only: Option<Only>,
    ) -> Result<(u64, bool), Error> {
        loop {
            let generation = self.cold.generation();
            let cold = self
                .cold
                .lookup(&keyed.full, keyed.hash)?
                .filter(|found| found.record.state != State::Erased);
            let mut order = self.admit(OP_BYTES + keyed.full.len(), Class::Settlement)?;
            let mut shard = self.live.shard(keyed.hash);
            let entry = shard.find(keyed.hash, &keyed.full);
            if entry.is_none() && self.cold.generation() != generation && !planted::active(75) {
                continue;
            }
            if entry.is_some_and(|entry| entry.marks.reserved) {
                return Err(Error::new(
                    crate::ErrorKind::Overloaded,
                    "a transact is running on the key; retry",
                ));
            }
            if let Some(only) = only {
                let cold = cold.as_ref().map(|found| &found.record);
                self.check_only(entry, cold, only)?;
            }
            let known = entry.map_or(cold.is_some(), |entry| entry.record.state != State::Erased);
            if !known {
                return Ok((entry.map_or(0, |entry| entry.batch), false));
            }
            let marks = carried(entry, cold.is_some());
            let record = codec::Record::erased(order.take_seq());
            space.counters.settled(State::Erased);
            let batch =
                self.put(&mut order, &mut shard, space, keyed, record, marks, self.time.moment(), waits);
            drop(shard);
            drop(order);
            self.waiters.ring(keyed.hash);
            return Ok((batch, true));
        }
    }

    /// Whether the key is known in this version, and nobody is trusted with it.
    fn check_only(
        &self,
        entry: Option<&Entry>,
        cold: Option<&codec::Record>,
        only: Only,
    ) -> Result<(), Error> {
        if crate::planted::active(56) {
            return Ok(());
        }
        let record = entry.map(|entry| &entry.record).or(cold).ok_or_else(stale)?;
        let is_held = entry.filter(|_| !only.held_too).is_some_and(|entry| {
            let in_progress = entry.record.state == State::InProgress;
            in_progress && entry.orphaned(self.life, self.time.moment()).is_none()
        });
        if record.state == State::Erased || record.seq != only.seq || is_held {
            return Err(stale());
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        let set = self.cold.set();
        let (counters, measures) = (&self.counters, &self.measures);
        let spaces = self.spaces.all();
        let outcomes = spaces.iter().fold(Outcomes::default(), |all, space| all.and(space.counters.read()));
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
            let name = space.policy().metrics_name.clone().unwrap_or_default();
            let sum = by_name.entry(name).or_default();
            *sum = sum.and(space.counters.read());
        }
        by_name.into_iter().collect()
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
        let held = Records { next_shard: SHARDS, seen, ..Records::new(self, filter) };
        for record in held {
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
                Hold::Orphaned => census.orphaned += 1,
                Hold::Lapsed => census.lapsed(at.boot_ms.saturating_sub(entry.lease_until_ms)),
                Hold::Running { .. } | Hold::Reserved => {
                    census.running(at.store_ms.saturating_sub(entry.record.claimed_at_ms));
                }
            },
            State::Completed | State::Failed | State::Erased => {}
        }
    }

    /// Reads every byte of every run, and checks the live table's invariants. Holds upkeep up meanwhile.
    pub(crate) fn verify(&self) -> Result<Report, Error> {
        spans::verify().run(|span| {
            let report = self.read_everything()?;
            let Report { runs, rows, table_rows, live } = report;
            let found = [("runs", runs), ("rows", rows), ("table_rows", table_rows), ("live", live)];
            found.into_iter().for_each(|(field, count)| span.count(field, count));
            Ok(report)
        })
    }

    fn read_everything(&self) -> Result<Report, Error> {
        let home = self.home_lock()?;
        home.verify()?;
        let mut report = Report::default();
        if let Some(tables) = self.tables.existing() {
            report.table_rows = tables.verify()?;
        }
        for run in self.cold.set().runs() {
            report.rows += run.verify()?;
            report.runs += 1;
        }
        let (mut broken, mut highest_seq) = (false, 0);
        self.live.each_shard(|shard| {
            for (hash, key, entry) in shard.iter() {
                let record = &entry.record;
                broken |= record.token > record.seq || self.hasher.hash(key) != hash;
                highest_seq = highest_seq.max(record.seq);
                report.live += 1;
            }
        });
        // Read after the walk: claims went on meanwhile.
        let (_, last_seq) = self.commit.frontier();
        broken |= highest_seq > last_seq;
        if broken { Err(Error::corrupt("the live table breaks its invariants")) } else { Ok(report) }
    }
}

/// The records of a scan, a shard or a stretch of runs at a time.
///
/// First the live table, then the runs as they are after it: a key that moves from the one to the other
/// meanwhile was seen in the first, and is left out of the second.
pub struct Records {
    engine: Arc<Engine>,
    filter: Filter,
    next_shard: usize,
    page: VecDeque<Record>,
    /// Hashes of the keys that the live table had.
    seen: HashSet<u64>,
    runs: Option<Vec<RunHead>>,
    failed: bool,
}

/// A key and a version of its record.
type Row = (Box<[u8]>, codec::Record);

/// A run and the row it stands at.
struct RunHead {
    cursor: RunCursor,
    row: Option<Row>,
}

impl Records {
    pub(crate) fn new(engine: &Arc<Engine>, filter: Filter) -> Records {
        Records {
            engine: engine.clone(),
            filter,
            next_shard: 0,
            page: VecDeque::new(),
            seen: HashSet::new(),
            runs: None,
            failed: false,
        }
    }

    /// Orphans and claims in progress are in the live table, all of them.
    fn only_live(&self) -> bool {
        let states = &self.filter.states;
        let live = |state: &RecordState| matches!(state, RecordState::InProgress | RecordState::Orphaned);
        !states.is_empty() && states.iter().all(live)
    }

    /// Records without an end lie in runs of their own, which also hold the tombstones of those that went on.
    fn only_held(&self) -> bool {
        let states = &self.filter.states;
        let ends = |state: &RecordState| matches!(state, RecordState::Completed | RecordState::Failed);
        !states.is_empty() && !states.iter().any(ends)
    }

    fn turn_page(&mut self) -> Result<bool, Error> {
        self.engine.check_open()?;
        if self.next_shard < SHARDS {
            self.list_shard()?;
            return Ok(true);
        }
        if self.only_live() {
            return Ok(false);
        }
        if self.runs.is_none() {
            self.runs = Some(self.open_runs()?);
        }
        match self.next_cold()? {
            Some((key, record)) => {
                let hash = self.engine.hasher.hash(&key);
                if !self.seen.contains(&hash) {
                    let shard = self.engine.live.shard(hash);
                    let record = shard.cold_repeats.known(hash, Cow::Owned(record)).into_owned();
                    drop(shard);
                    self.list(&key, record, None);
                }
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn list_shard(&mut self) -> Result<(), Error> {
        let entries = self.engine.live.entries(self.next_shard);
        self.next_shard += 1;
        for (hash, key, entry) in entries {
            if entry.marks.placeholder {
                continue;
            }
            self.engine.wait(entry.batch)?;
            self.seen.insert(hash);
            let hold = entry.hold(self.engine.life, self.engine.time.now_ms(), self.engine.time.boot_ms());
            self.list(&key, entry.into_known(), Some(hold));
        }
        Ok(())
    }

    fn list(&mut self, key: &[u8], record: codec::Record, hold: Option<Hold>) {
        let id = key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
        let Some(space) = id.and_then(|id| self.engine.spaces.by_id(id)) else { return };
        let record = self.engine.show(&space, key, record, hold.unwrap_or(Hold::Lapsed));
        self.page.extend(record.filter(|record| self.filter.shows(record)));
    }

    fn open_runs(&self) -> Result<Vec<RunHead>, Error> {
        let set = self.engine.cold.set();
        let only_held = self.only_held();
        let closed = set.runs().iter().filter(|run| match run.bucket() {
            BucketId::Open => false,
            BucketId::Held => true,
            BucketId::Timed { .. } => !only_held,
        });
        let heads = closed.map(|run| {
            let mut cursor = run.iter(None);
            let row = cursor.next().transpose()?;
            Ok(RunHead { cursor, row })
        });
        heads.collect()
    }

    /// The newest version of the smallest key that is left.
    fn next_cold(&mut self) -> Result<Option<Row>, Error> {
        let Some(heads) = &mut self.runs else { return Ok(None) };
        let smallest = heads.iter().filter_map(|head| head.row.as_ref().map(|(key, _)| key)).min().cloned();
        let Some(key) = smallest else { return Ok(None) };
        let mut newest: Option<codec::Record> = None;
        for head in heads.iter_mut() {
            if head.row.as_ref().is_none_or(|(of, _)| *of != key) {
                continue;
            }
            let next = head.cursor.next().transpose()?;
            if let Some((_, record)) = std::mem::replace(&mut head.row, next)
                && newest
                    .as_ref()
                    .is_none_or(|newest| is_newer((record.seq, record.state == State::Erased), newest))
            {
                newest = Some(record);
            }
        }
        Ok(newest.map(|record| (key, record)))
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    /// Ends after an error.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(record) = self.page.pop_front() {
                return Some(Ok(record));
            }
            match self.turn_page() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("filter", &self.filter).finish_non_exhaustive()
    }
}
