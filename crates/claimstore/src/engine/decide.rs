//! What a claim is answered, and what a settlement does: pure functions of record, request and time.
//!
//! No I/O, no clock, no lock. The caller applies the effect and sees to it that an answer leaves the store
//! only when the facts it rests on are durable.

use crate::claim::FailureClass;
use crate::codec::{Extra, Fingerprint, Record, State};
use crate::error::ErrorKind;
use crate::history;
use crate::planted;
use crate::policy::{OnOrphan, Policy};
use claimstore_hash::{FieldDigests, Match};

/// What stands behind a record that is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// A holder that is trusted for so much longer.
    Running { remaining_ms: u64 },
    /// A holder whose lease has run out, alive or not.
    Lapsed,
    /// Nobody: an earlier life's claim, or a lease that was dropped.
    Orphaned,
    /// A `transact` or a settlement with business rows is running.
    Reserved,
}

/// The part of a claim that the decision depends on, with the policy's defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) ttl_ms: u64,
    pub(crate) lease_ms: u64,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Digests of the payload's fields, or nothing.
    pub(crate) fields: &'a [u8],
    pub(crate) origin: &'a [u8],
    /// The key's own time, in a namespace of time-ordered keys.
    pub(crate) key_time_ms: Option<u64>,
}

/// The times a decision is made at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Store time: what ttls are judged by.
    pub(crate) store_ms: u64,
    /// The raw wall clock: what keys of the future are judged by.
    pub(crate) wall_ms: u64,
}

/// The answer to a claim, and with it the effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No effect: the record stands and is the answer.
    Duplicate { failure: bool, fingerprint_checked: bool },
    /// No effect: somebody holds the key, or its retry is not due.
    InProgress { retry_after_ms: u64 },
    /// No effect: the claim is refused.
    Refuse(ErrorKind),
    /// The key becomes claimed: attempt so-and-so, the earlier progress kept.
    Claim { attempt: u32 },
    /// The key becomes parked, and the claim is refused as such.
    Park,
    /// The key becomes failed for good, and that is the answer.
    Fail,
    /// The orphan waits for its next attempt from now on, and the answer is how long.
    Delay { after_ms: u64 },
}

/// How long to wait before asking again about a claim that only a resolver can end.
const ASK_RESOLVER_AGAIN_MS: u64 = 1_000;

/// Decides a claim. `record` is the newest version of the key, wherever it was found.
pub(crate) fn decide(
    record: Option<(&Record, Hold)>,
    wanted: &Wanted<'_>,
    policy: &Policy,
    watermark_ms: u64,
    now: Now,
) -> Decision {
    let known = record.filter(|(record, _)| record.state != State::Erased);
    let Some((record, hold)) = known else {
        return decide_unknown(wanted, policy, watermark_ms, now);
    };
    if expired(record, now.store_ms) {
        // Once resolved, a time-ordered key is never claimable again, whether or not it was pruned yet.
        if wanted.key_time_ms.is_some() {
            return Decision::Refuse(ErrorKind::TooOld);
        }
        return decide_unknown(wanted, policy, watermark_ms, now);
    }
    let compared = compare(record.fingerprint.as_deref(), wanted.fingerprint.as_ref());
    if compared == Some(false) {
        return Decision::Refuse(ErrorKind::PayloadMismatch);
    }
    let fingerprint_checked = compared.is_some();
    match record.state {
        State::Completed => Decision::Duplicate { failure: false, fingerprint_checked },
        State::Failed => Decision::Duplicate { failure: true, fingerprint_checked },
        State::Parked => Decision::Refuse(ErrorKind::Parked),
        State::Retry if record.until_ms > now.store_ms => {
            Decision::InProgress { retry_after_ms: record.until_ms - now.store_ms }
        }
        State::Retry => next_attempt(record, policy),
        State::InProgress => decide_in_progress(record, hold, policy),
        State::Erased => decide_unknown(wanted, policy, watermark_ms, now),
    }
}

/// At `until_ms` a record has expired, before it has not.
fn expired(record: &Record, now_ms: u64) -> bool {
    if planted::active(16) && record.state.expires() {
        return record.until_ms <= now_ms + 1;
    }
    record.is_expired(now_ms)
}

fn decide_unknown(wanted: &Wanted<'_>, policy: &Policy, watermark_ms: u64, now: Now) -> Decision {
    if let Some(key_time_ms) = wanted.key_time_ms {
        // Such a key may have been resolved, expired and pruned: it is never claimable again.
        if key_time_ms < watermark_ms.max(now.store_ms.saturating_sub(policy.ttl_ms)) {
            return Decision::Refuse(ErrorKind::TooOld);
        }
        if key_time_ms > now.wall_ms.saturating_add(policy.skew_ms) {
            return Decision::Refuse(ErrorKind::FutureKey);
        }
    }
    Decision::Claim { attempt: 1 }
}

fn decide_in_progress(record: &Record, hold: Hold, policy: &Policy) -> Decision {
    match hold {
        Hold::Running { remaining_ms } => return Decision::InProgress { retry_after_ms: remaining_ms },
        Hold::Reserved => return Decision::InProgress { retry_after_ms: 1 },
        Hold::Lapsed | Hold::Orphaned => {}
    }
    match policy.on_orphan {
        OnOrphan::Retry => match policy.orphan_wait_ms(record.attempt, history::work_token(record)) {
            after_ms if after_ms > 0 && record.attempt < most_attempts(record, policy) => {
                Decision::Delay { after_ms }
            }
            _ => next_attempt(record, policy),
        },
        OnOrphan::Park => Decision::Park,
        OnOrphan::Fail => Decision::Fail,
        OnOrphan::Resolve => Decision::InProgress { retry_after_ms: ASK_RESOLVER_AGAIN_MS },
    }
}

fn next_attempt(record: &Record, policy: &Policy) -> Decision {
    if record.attempt >= most_attempts(record, policy) {
        return Decision::Park;
    }
    Decision::Claim { attempt: record.attempt + 1 }
}

/// Up to which attempt the key may go: what the policy allows, or a reviewer beyond it.
fn most_attempts(record: &Record, policy: &Policy) -> u32 {
    record.extra.as_ref().map_or(0, |extra| extra.granted).max(policy.max_attempts)
}

/// Why a key that a claim parks is parked.
pub(crate) fn parking_note(record: &Record, policy: &Policy) -> &'static [u8] {
    if record.attempt >= most_attempts(record, policy) { b"attempts used up" } else { b"orphaned" }
}

/// Whether two fingerprints are the same; unknown when one is absent or they are of different schemes, keys or
/// rules. Takes the same time wherever they differ.
pub(crate) fn compare(stored: Option<&Fingerprint>, given: Option<&Fingerprint>) -> Option<bool> {
    let public = |one: &Fingerprint| claimstore_hash::Fingerprint::with_scheme(one.scheme, one.digest);
    match public(stored?).compare(&public(given?)) {
        Match::Same => Some(true),
        Match::Different => Some(false),
        Match::Unknown => None,
    }
}

/// Pointers to the fields in which a refused payload differs from the stored one, where both sides have digests of
/// them, made under one key and the same rules.
pub(crate) fn differing_pointers(record: &Record, wanted: &Wanted<'_>) -> Vec<String> {
    let stored = record.extra.as_ref().map_or(&[][..], |extra| &extra.fields);
    match (FieldDigests::from_bytes(stored), FieldDigests::from_bytes(wanted.fields)) {
        (Ok(stored), Ok(given)) => stored.differing(&given).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The record of a granted claim. `earlier` is the record it takes over, if there is one.
pub(crate) fn claimed(
    earlier: Option<&Record>,
    attempt: u32,
    wanted: &Wanted<'_>,
    seq: u64,
    now_ms: u64,
) -> Record {
    let earlier = earlier.filter(|_| attempt > 1);
    let given = wanted.fingerprint.map(Box::new);
    let kept = earlier.and_then(|record| record.fingerprint.clone());
    let mut extra = earlier.and_then(|record| record.extra.clone());
    // Most claims have none of this, and then nothing is made of it.
    if extra.is_some() || !wanted.fields.is_empty() || !wanted.origin.is_empty() {
        let extra = extra.get_or_insert_default();
        if kept.is_none() {
            // Digests of fields belong to the fingerprint beside them.
            extra.fields = wanted.fields.into();
        }
        extra.earlier_progress = None;
        extra.note = Box::default();
        extra.asked = None;
        if !wanted.origin.is_empty() {
            extra.origin = wanted.origin.into();
        }
    }
    let fingerprint = kept.or(given);
    Record {
        seq,
        token: seq,
        attempt,
        state: State::InProgress,
        claimed_at_ms: now_ms,
        settled_at_ms: 0,
        until_ms: 0,
        ttl_ms: wanted.ttl_ms,
        lease_ms: wanted.lease_ms,
        fingerprint,
        body: earlier.map_or_else(Box::default, |record| record.body.clone()),
        extra: extra.and_then(some_extra),
    }
}

/// How an in-progress record ends.
#[derive(Debug)]
pub(crate) enum Ending<'a> {
    Complete(&'a [u8]),
    Fail(&'a FailureClass),
    Release,
}

impl Ending<'_> {
    /// What the ending is called where nothing of what it says may be told.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Ending::Complete(_) => "complete",
            Ending::Fail(FailureClass::Terminal { .. }) => "fail",
            Ending::Fail(FailureClass::Retry { .. }) => "retry",
            Ending::Fail(FailureClass::Park { .. }) => "park",
            Ending::Release => "release",
        }
    }
}

/// The record after a settlement of `held`, which must be in progress. `key_time_ms` and the policy's ttl
/// bound the expiry of time-ordered keys from below.
pub(crate) fn settled(
    held: &Record,
    ending: &Ending<'_>,
    policy: &Policy,
    key_time_ms: Option<u64>,
    seq: u64,
    now_ms: u64,
) -> Record {
    match ending {
        Ending::Complete(response) => {
            resolved(held, State::Completed, response, policy, key_time_ms, seq, now_ms)
        }
        Ending::Fail(FailureClass::Terminal { response }) => {
            resolved(held, State::Failed, response, policy, key_time_ms, seq, now_ms)
        }
        Ending::Fail(FailureClass::Retry { .. }) if held.attempt >= most_attempts(held, policy) => {
            parked(held, b"attempts used up", seq, now_ms)
        }
        Ending::Fail(FailureClass::Retry { after_ms, .. }) => {
            waiting(held, held.attempt, now_ms.saturating_add(*after_ms), held.body.clone(), seq, now_ms)
        }
        Ending::Fail(FailureClass::Park { note }) => parked(held, note, seq, now_ms),
        Ending::Release => released(held, seq, now_ms),
    }
}

/// An orphan that waits for its next attempt.
pub(crate) fn delayed(held: &Record, after_ms: u64, seq: u64, now_ms: u64) -> Record {
    waiting(held, held.attempt, now_ms.saturating_add(after_ms), held.body.clone(), seq, now_ms)
}

/// A parked key that may be claimed again at once, for `more` attempts.
pub(crate) fn requeued(parked: &Record, more: u32, seq: u64, now_ms: u64) -> Record {
    let mut record = waiting(parked, parked.attempt, 0, parked.body.clone(), seq, now_ms);
    let mut extra = record.extra.take().unwrap_or_default();
    extra.granted = parked.attempt.saturating_add(more);
    extra.note = Box::default();
    record.extra = Some(extra);
    record
}

/// The attempt is undone: the key is as it was before it, its earlier attempts and progress restored.
fn released(held: &Record, seq: u64, now_ms: u64) -> Record {
    if held.attempt <= 1 {
        return Record::erased(seq);
    }
    let earlier = held.extra.as_ref().and_then(|extra| extra.earlier_progress.clone());
    let progress = earlier.unwrap_or_else(|| held.body.clone());
    waiting(held, held.attempt - 1, 0, progress, seq, now_ms)
}

fn resolved(
    held: &Record,
    state: State,
    response: &[u8],
    policy: &Policy,
    key_time_ms: Option<u64>,
    seq: u64,
    now_ms: u64,
) -> Record {
    let from_now = now_ms.saturating_add(held.ttl_ms);
    let from_key = key_time_ms.map_or(0, |time| time.saturating_add(policy.ttl_ms));
    let mut record = left(held, state, seq, now_ms);
    record.until_ms = from_now.max(from_key);
    record.lease_ms = 0;
    record.body = response.into();
    record
}

/// Held for review. The body stays: it is the progress a later attempt goes on from.
pub(crate) fn parked(held: &Record, note: &[u8], seq: u64, now_ms: u64) -> Record {
    let mut record = left(held, State::Parked, seq, now_ms);
    let mut extra = record.extra.take().unwrap_or_default();
    extra.note = note.into();
    record.extra = some_extra(extra);
    record
}

fn waiting(held: &Record, attempt: u32, until_ms: u64, progress: Box<[u8]>, seq: u64, now_ms: u64) -> Record {
    let mut record = left(held, State::Retry, seq, now_ms);
    record.attempt = attempt;
    record.until_ms = until_ms;
    record.body = progress;
    record
}

/// `held`, having left the state in progress.
fn left(held: &Record, state: State, seq: u64, now_ms: u64) -> Record {
    let mut record = held.clone();
    record.seq = seq;
    record.state = state;
    record.settled_at_ms = now_ms;
    record.until_ms = 0;
    record.extra = record.extra.and_then(|mut extra| {
        extra.earlier_progress = None;
        extra.asked = None;
        some_extra(extra)
    });
    record
}

fn some_extra(extra: Box<Extra>) -> Option<Box<Extra>> {
    if *extra == Extra::default() { None } else { Some(extra) }
}

#[cfg(test)]
mod tests;
