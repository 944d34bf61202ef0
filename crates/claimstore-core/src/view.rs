//! What is shown of a key: [`Record`], [`RecordState`]; and which keys a listing shows: [`Filter`].

use crate::codec::{self, Repeats, State};
use crate::decide::{Hold, first_cause};
use crate::history::{self, Orphaned, Past};
use crate::tally::Tally;
use crate::time::at;
use claimstore_hash::{FieldDigests, Fingerprint};
use std::fmt;
use std::time::{Duration, SystemTime};

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
///
/// Two are equal if they show the same version of the key; how often it was [claimed again](Record::replays) is not
/// compared.
#[derive(Clone)]
pub struct Record {
    namespace: Box<str>,
    key: Box<[u8]>,
    state: RecordState,
    orphaned: Option<Orphaned>,
    /// For what cause the attempt will be counted as ended; of a claim that nobody stands behind.
    ends: Option<Orphaned>,
    /// Without the counts.
    version: codec::Record,
    repeats: Repeats,
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        let of = |record: &Record| (record.state, record.orphaned);
        of(self) == of(other)
            && (&self.namespace, &self.key, &self.version) == (&other.namespace, &other.key, &other.version)
    }
}

impl Eq for Record {}

impl Record {
    /// What is shown of `key` in `namespace`, of which `record` is the newest version; nothing of a tombstone.
    pub fn new(namespace: &str, key: &[u8], mut record: codec::Record, hold: Hold) -> Option<Record> {
        let state = match record.state {
            State::InProgress if matches!(hold, Hold::Orphaned | Hold::Dropped | Hold::Panicked) => {
                RecordState::Orphaned
            }
            State::InProgress => RecordState::InProgress,
            State::Completed => RecordState::Completed,
            State::Failed => RecordState::Failed,
            State::Retry => RecordState::Retry,
            State::Parked => RecordState::Parked,
            State::Erased => return None,
        };
        let found = hold.orphaned().filter(|_| record.state == State::InProgress);
        let ends = found.map(|cause| first_cause(&record, cause));
        let repeats = record.take_repeats();
        let (namespace, key) = (namespace.into(), key.into());
        Some(Record { namespace, key, state, orphaned: None, ends, version: record, repeats })
    }

    /// The same of an orphan: a claim in progress that is one for this cause.
    pub fn orphan(namespace: &str, key: &[u8], record: codec::Record, cause: Orphaned) -> Option<Record> {
        let hold = if cause == Orphaned::Lapsed { Hold::Lapsed } else { Hold::Orphaned };
        // Who was asked about it holds it no more than the holder before; what counts is the first cause.
        let cause = first_cause(&record, cause);
        let record = Record::new(namespace, key, record, hold)?;
        Some(Record { orphaned: Some(cause), ends: Some(cause), ..record })
    }

    /// The namespace; empty for the default one.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key; for time-ordered keys the 16 bytes of the identifier.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The version of the key that is shown, without the counts of claims that came again.
    #[inline]
    pub fn version(&self) -> &codec::Record {
        &self.version
    }

    /// Where the key stands.
    pub fn state(&self) -> RecordState {
        self.state
    }

    /// The token of the last claim.
    pub fn token(&self) -> u64 {
        self.version.token
    }

    /// Which grant the last claim was, from 1: one more at every claim that follows another, whatever ended that. Only
    /// `release` takes it back.
    pub fn attempt(&self) -> u32 {
        self.version.attempt
    }

    /// How many attempts failed: what [`Policy::max_attempts`](crate::Policy::max_attempts) bounds.
    pub fn failures(&self) -> u32 {
        self.tally().failures
    }

    /// How many attempts were lost: what [`Policy::max_losses`](crate::Policy::max_losses) bounds.
    pub fn losses(&self) -> u32 {
        self.tally().losses
    }

    /// How many attempts ended without a word of their holder: what
    /// [`Policy::orphan_backoff`](crate::Policy::orphan_backoff) goes by.
    pub fn interrupted(&self) -> u32 {
        self.tally().interrupted
    }

    /// Whether an earlier attempt may have had an effect that nobody knows of: it died, lapsed, was dropped or panicked, or its
    /// holder said so, and nobody has found out since. An orphan's own end is not counted before somebody ends it:
    /// [`tally_once_ended`](Record::tally_once_ended) tells what holds then.
    pub fn in_doubt(&self) -> bool {
        self.tally().in_doubt
    }

    /// All three numbers, and the doubt.
    #[inline]
    pub fn tally(&self) -> Tally {
        self.version.tally()
    }

    /// The same once the end of the present attempt is counted: what the next claim goes by. `None` where somebody holds the
    /// claim, and where it has ended.
    #[inline]
    pub fn tally_once_ended(&self) -> Option<Tally> {
        self.ends.map(|cause| self.tally().ended(cause))
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

    /// Until when a claim that was detached (`Lease::detach`) is trusted, in store time; `None` for others, and once
    /// it is settled. After it the claim is an orphan, unless its holder settles it all the same.
    pub fn detached_until(&self) -> Option<SystemTime> {
        (self.version.state == State::InProgress && self.version.until_ms != 0)
            .then(|| at(self.version.until_ms))
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

    /// Why nobody stands behind the claim; of records that a listing of orphans (`Store::unheld`) showed.
    pub fn orphaned(&self) -> Option<Orphaned> {
        self.orphaned
    }

    /// The token that whoever worked on the key had: the one to ask the remote side about. It differs from
    /// [`token`](Record::token) once the claim was taken over (`Store::take_over`).
    pub fn work_token(&self) -> u64 {
        self.version.work_token()
    }

    /// How often the claim was taken over (`Store::take_over`) to find out what became of it, since it
    /// was made.
    pub fn asked(&self) -> u32 {
        self.version.asked().map_or(0, |asked| asked.times)
    }

    /// When it was last taken over, in store time.
    pub fn asked_at(&self) -> Option<SystemTime> {
        self.version.asked().map(|asked| at(asked.at_ms))
    }

    /// Up to how many failures a reviewer let the key go by [`Review::Requeue`](crate::Review::Requeue); 0 where that is not
    /// beyond the policy's bound.
    pub fn attempts_granted(&self) -> u32 {
        self.version.extra.as_ref().map_or(0, |extra| extra.granted)
    }

    /// The same of losses.
    pub fn losses_granted(&self) -> u32 {
        self.version.extra.as_ref().map_or(0, |extra| extra.granted_losses)
    }

    /// How earlier attempts ended and what reviewers decided: the last 16 entries, oldest first.
    pub fn history(&self) -> Vec<Past> {
        self.version.extra.as_ref().map_or_else(Vec::new, |extra| history::read(&extra.history))
    }

    /// How many claims were answered `Claim::Duplicate` from the record, at most `u32::MAX`.
    ///
    /// Such answers are counted in memory, and saved with the next version of the record or the checkpoint that takes
    /// it out of the journal, as every close does; a crash loses what is not saved. Of records that are checkpointed
    /// already, at most 65,536 are counted, those with a place in a table of fixed size, until the store is closed. A key that is claimed anew, after
    /// it was forgotten or released, begins at 0.
    pub fn replays(&self) -> u32 {
        self.repeats.replays
    }

    /// How many claims were refused as [`PayloadMismatch`](crate::ErrorKind::PayloadMismatch), counted like
    /// [`replays`](Record::replays).
    pub fn mismatches(&self) -> u32 {
        self.repeats.mismatches
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

/// Shows state and numbers, never key or payload.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("state", &self.state)
            .field("token", &self.version.token)
            .field("attempt", &self.version.attempt)
            .field("failures", &self.failures())
            .field("losses", &self.losses())
            .field("key_bytes", &self.key.len())
            .finish_non_exhaustive()
    }
}

/// Which records a scan shows. By default all that are not expired.
#[derive(Clone, Default)]
#[must_use]
pub struct Filter {
    namespace: Option<Box<str>>,
    prefix: Box<[u8]>,
    states: Vec<RecordState>,
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

    /// The states to be shown; empty: all.
    #[inline]
    pub fn states(&self) -> &[RecordState] {
        &self.states
    }

    /// Whether a listing by this filter shows `record`, which is not expired.
    pub fn shows(&self, record: &Record) -> bool {
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
