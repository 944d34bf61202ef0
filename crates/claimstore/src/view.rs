//! Looking at a store: [`Record`], [`Filter`], [`Stats`], [`Report`].

use crate::codec::{self, State};
use crate::engine::decide::Hold;
use crate::history::{self, Orphaned, Past};
use claimstore_hash::{FieldDigests, Fingerprint};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordState {
    /// Somebody holds the claim, or may.
    InProgress,
    /// Nobody holds the claim any more: an earlier life's, or a dropped lease.
    Orphaned,
    /// Done.
    Completed,
    /// Failed for good.
    Failed,
    /// Failed or given back; claimable again, now or later.
    Retry,
    /// Held for review.
    Parked,
}

/// What the store knows about one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) namespace: Box<str>,
    pub(crate) key: Box<[u8]>,
    pub(crate) state: RecordState,
    pub(crate) orphaned: Option<Orphaned>,
    pub(crate) version: codec::Record,
}

impl Record {
    pub(crate) fn new(namespace: &str, full_key: &[u8], record: codec::Record, hold: Hold) -> Option<Record> {
        let state = match record.state {
            State::InProgress if hold == Hold::Orphaned => RecordState::Orphaned,
            State::InProgress => RecordState::InProgress,
            State::Completed => RecordState::Completed,
            State::Failed => RecordState::Failed,
            State::Retry => RecordState::Retry,
            State::Parked => RecordState::Parked,
            State::Erased => return None,
        };
        let key = full_key.get(4..)?.into();
        Some(Record { namespace: namespace.into(), key, state, orphaned: None, version: record })
    }

    pub(crate) fn orphan(
        namespace: &str,
        full_key: &[u8],
        record: codec::Record,
        cause: Orphaned,
    ) -> Option<Record> {
        let hold = if cause == Orphaned::Lapsed { Hold::Lapsed } else { Hold::Orphaned };
        // Who was asked about it is behind it no more than the holder before; what counts is the first cause.
        let cause = record.asked().map_or(cause, |asked| Orphaned::from_code(asked.cause));
        let record = Record::new(namespace, full_key, record, hold)?;
        Some(Record { orphaned: Some(cause), ..record })
    }

    /// The namespace; empty for the default one.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key; for time-ordered keys the 16 bytes of the identifier.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Where the key stands.
    pub fn state(&self) -> RecordState {
        self.state
    }

    /// The token of the last claim.
    pub fn token(&self) -> u64 {
        self.version.token
    }

    /// How many claims have counted.
    pub fn attempt(&self) -> u32 {
        self.version.attempt
    }

    /// When the last claim was made, in store time.
    pub fn claimed_at(&self) -> SystemTime {
        at(self.version.claimed_at_ms)
    }

    /// When the last claim ended, in store time; `None` while in progress.
    pub fn settled_at(&self) -> Option<SystemTime> {
        (self.version.state != State::InProgress).then(|| at(self.version.settled_at_ms))
    }

    /// When the key will be forgotten, in store time; `None` while it has not resolved.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.version.state.expires().then(|| at(self.version.until_ms))
    }

    /// When the key may be claimed again, for [`RecordState::Retry`].
    pub fn retry_at(&self) -> Option<SystemTime> {
        (self.version.state == State::Retry).then(|| at(self.version.until_ms))
    }

    /// The stored response, once resolved.
    pub fn response(&self) -> Option<&[u8]> {
        self.version.state.expires().then_some(&*self.version.body)
    }

    /// The progress of unresolved work, if it saved any.
    pub fn progress(&self) -> Option<&[u8]> {
        (!self.version.state.expires() && !self.version.body.is_empty()).then_some(&*self.version.body)
    }

    /// What the claimer said about where the work comes from.
    pub fn origin(&self) -> &[u8] {
        self.version.extra.as_ref().map_or(&[], |extra| &extra.origin)
    }

    /// Why the key is parked.
    pub fn note(&self) -> &[u8] {
        self.version.extra.as_ref().map_or(&[], |extra| &extra.note)
    }

    /// Why nobody stands behind the claim; of records that [`Store::unheld`](crate::Store::unheld) showed.
    pub fn orphaned(&self) -> Option<Orphaned> {
        self.orphaned
    }

    /// The token that whoever worked on the key had: the one to ask the remote side about. It differs from
    /// [`token`](Record::token) once the claim was [taken over](crate::Store::take_over).
    pub fn work_token(&self) -> u64 {
        history::work_token(&self.version)
    }

    /// How often the claim was [taken over](crate::Store::take_over) to find out what became of it, since it
    /// was made.
    pub fn asked(&self) -> u32 {
        self.version.asked().map_or(0, |asked| asked.times)
    }

    /// When it was last taken over, in store time.
    pub fn asked_at(&self) -> Option<SystemTime> {
        self.version.asked().map(|asked| at(asked.at_ms))
    }

    /// Up to which attempt a reviewer let the key go by [`Review::Requeue`](crate::Review::Requeue); 0 if none did.
    pub fn attempts_granted(&self) -> u32 {
        self.version.extra.as_ref().map_or(0, |extra| extra.granted)
    }

    /// How earlier attempts ended and what reviewers decided: the last 16 entries, oldest first.
    pub fn history(&self) -> Vec<Past> {
        self.version.extra.as_ref().map_or_else(Vec::new, |extra| history::read(&extra.history))
    }

    /// How long the key is remembered once it has resolved.
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.version.ttl_ms)
    }

    /// The fingerprint that was stored with the claim.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let stored = self.version.fingerprint.as_ref()?;
        Some(Fingerprint::with_scheme(stored.scheme, stored.digest))
    }

    /// The digests of the payload's fields that were stored beside it; `None` also where this version cannot read
    /// them.
    pub fn fields(&self) -> Option<FieldDigests> {
        let stored = &self.version.extra.as_ref()?.fields;
        if stored.is_empty() { None } else { FieldDigests::from_bytes(stored).ok() }
    }

    /// Whether a fingerprint was stored with the claim.
    pub fn has_fingerprint(&self) -> bool {
        self.version.fingerprint.is_some()
    }
}

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// Shows state and numbers, never key or payload.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("state", &self.state)
            .field("token", &self.version.token)
            .field("attempt", &self.version.attempt)
            .field("key_bytes", &self.key.len())
            .finish_non_exhaustive()
    }
}

/// Which records a scan shows. By default all that are not expired.
#[derive(Clone, Default)]
#[must_use]
pub struct Filter {
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) prefix: Box<[u8]>,
    pub(crate) states: Vec<RecordState>,
}

impl Filter {
    /// Every record of every namespace.
    pub fn new() -> Filter {
        Filter::default()
    }

    /// Only records of the namespace `name`.
    pub fn namespace(mut self, name: &str) -> Filter {
        self.namespace = Some(name.into());
        self
    }

    /// Only keys that begin with `prefix`.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Filter {
        self.prefix = prefix.as_ref().into();
        self
    }

    /// Only records in this state; called again, in any of the given.
    pub fn state(mut self, state: RecordState) -> Filter {
        self.states.push(state);
        self
    }

    pub(crate) fn shows(&self, record: &Record) -> bool {
        self.namespace.as_ref().is_none_or(|name| *name == record.namespace)
            && record.key.starts_with(&self.prefix)
            && (self.states.is_empty() || self.states.contains(&record.state))
    }
}

/// Shows the shape, never the prefix.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("prefix_bytes", &self.prefix.len())
            .field("states", &self.states)
            .finish_non_exhaustive()
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
    /// Claims failed, to be retried or for good, or parked.
    pub failed: u64,
    /// First attempts released, and keys forgotten.
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
    /// Store time in milliseconds since 1970.
    pub store_time_ms: u64,
    /// How far the wall clock stands ahead of store time (negative: behind), in milliseconds.
    pub clock_offset: i64,
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
