//! The next version of a record, by what happens to the key.

use super::most_attempts;
use crate::claim::FailureClass;
use crate::codec::{Asked, Extra, Record, State};
use crate::decide::Wanted;
use crate::history::{self, ENTRY_BYTES, Happened, Orphaned};
use crate::planted;
use crate::policy::Policy;
use std::fmt;

/// The record of a granted claim. `earlier` is the newest version of the key, if there is one: a later attempt goes on from
/// its progress. Its token is `seq`.
pub fn claimed(earlier: Option<&Record>, attempt: u32, wanted: &Wanted<'_>, seq: u64, now_ms: u64) -> Record {
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
#[derive(Clone, Copy)]
pub enum Ending<'a> {
    /// The work is done, with this response.
    Complete(&'a [u8]),
    /// The work failed.
    Fail(&'a FailureClass),
    /// The claim is given back as if it had not been made.
    Release,
}

impl Ending<'_> {
    /// What the ending is called where nothing of what it says may be told.
    pub fn name(&self) -> &'static str {
        match self {
            Ending::Complete(_) => "complete",
            Ending::Fail(FailureClass::Terminal { .. }) => "fail",
            Ending::Fail(FailureClass::Retry { .. }) => "retry",
            Ending::Fail(FailureClass::Park { .. }) => "park",
            Ending::Release => "release",
        }
    }

    /// An upper bound of the bytes that it adds to the record: a response, or a note and an entry of the history.
    pub fn body_len(&self) -> usize {
        match self {
            Ending::Complete(response) => response.len(),
            Ending::Fail(FailureClass::Terminal { response }) => response.len(),
            Ending::Fail(FailureClass::Park { note }) => ENTRY_BYTES + 2 * note.len(),
            Ending::Fail(FailureClass::Retry { because, .. }) => ENTRY_BYTES + because.len(),
            Ending::Release => 0,
        }
    }

    /// What [`history::remember`] is to keep of it; nothing where the record itself says all.
    pub fn past(&self) -> Option<Happened> {
        match self {
            Ending::Fail(FailureClass::Park { .. }) => Some(Happened::Parked),
            Ending::Fail(FailureClass::Retry { .. }) => Some(Happened::Failed),
            Ending::Fail(FailureClass::Terminal { .. }) | Ending::Complete(_) | Ending::Release => None,
        }
    }

    /// The note of that entry of the history.
    pub fn note(&self) -> &[u8] {
        match self {
            Ending::Fail(FailureClass::Park { note }) => note,
            Ending::Fail(FailureClass::Retry { because, .. }) => because,
            Ending::Fail(FailureClass::Terminal { .. }) | Ending::Complete(_) | Ending::Release => &[],
        }
    }
}

/// The record after a settlement of `held`, which must be in progress. `key_time_ms` and the policy's ttl
/// bound the expiry of time-ordered keys from below. The history is not touched: see [`Ending::past`].
pub fn settled(
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
pub fn delayed(held: &Record, after_ms: u64, seq: u64, now_ms: u64) -> Record {
    waiting(held, held.attempt, now_ms.saturating_add(after_ms), held.body.clone(), seq, now_ms)
}

/// A parked key that may be claimed again at once, for `more` attempts.
pub fn requeued(parked: &Record, more: u32, seq: u64, now_ms: u64) -> Record {
    let mut record = waiting(parked, parked.attempt, 0, parked.body.clone(), seq, now_ms);
    let mut extra = record.extra.take().unwrap_or_default();
    extra.granted = parked.attempt.saturating_add(more);
    extra.note = Box::default();
    record.extra = Some(extra);
    record
}

/// `orphan`, in progress under a token of its own, so that somebody can find out what became of its work. The attempt stands:
/// nobody did any work.
pub fn taken_over(orphan: &Record, cause: Orphaned, seq: u64, now_ms: u64) -> Record {
    let mut record = orphan.clone();
    (record.seq, record.token) = (seq, seq);
    // Whoever takes over is trusted for a lease of his own, not for the time it was detached for.
    record.until_ms = 0;
    if planted::active(73) {
        record.until_ms = orphan.until_ms;
    }
    let before = orphan.asked();
    if before.is_none() {
        history::remember(&mut record, orphan, Happened::Orphaned(cause), now_ms, b"", b"");
    }
    record.extra.get_or_insert_default().asked = Some(Asked {
        token: orphan.work_token(),
        cause: before.map_or(cause.code(), |asked| asked.cause),
        times: before.map_or(0, |asked| asked.times).saturating_add(1),
        at_ms: now_ms,
    });
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
pub fn parked(held: &Record, note: &[u8], seq: u64, now_ms: u64) -> Record {
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

/// Shows what it is called, never what it says.
impl fmt::Debug for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
