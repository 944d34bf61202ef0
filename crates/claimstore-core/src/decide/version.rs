//! The next version of a record, by what happens to the key.
//!
//! Each version that ends an attempt counts its end, once: see [`tally`](crate::tally).

use super::{after, first_cause};
use crate::claim::FailureClass;
use crate::codec::{Asked, Extra, Record, State};
use crate::decide::{Ending, Wanted};
use crate::history::{self, Happened, Orphaned};
use crate::planted;
use crate::policy::{OnOrphan, Policy};
use crate::tally::Tally;

/// The record of a granted claim. `earlier` is the newest version of the key, if there is one, and `orphaned` why nobody
/// stands behind it if it is in progress: a later attempt goes on from its progress, and counts its end. Its token is `seq`.
pub fn claimed(
    earlier: Option<&Record>,
    orphaned: Option<Orphaned>,
    attempt: u32,
    wanted: &Wanted<'_>,
    seq: u64,
    now_ms: u64,
) -> Record {
    let marked = earlier.filter(|record| record.state == State::Retry).and_then(calls_of);
    let earlier = earlier.filter(|_| attempt > 1);
    let given = wanted.fingerprint.map(Box::new);
    let kept = earlier.and_then(|record| record.fingerprint.clone());
    let mut extra = earlier.and_then(|record| record.extra.clone());
    // Most claims have none of this, and then nothing is made of it.
    if extra.is_some() || marked.is_some() || !wanted.fields.is_empty() || !wanted.origin.is_empty() {
        let extra = extra.get_or_insert_default();
        if kept.is_none() {
            // Digests of fields belong to the fingerprint beside them.
            extra.fields = wanted.fields.into();
        }
        extra.earlier_progress = None;
        extra.note = Box::default();
        extra.asked = None;
        extra.left = None;
        if let Some(calls) = marked {
            extra.calls = calls;
        }
        if !wanted.origin.is_empty() {
            extra.origin = wanted.origin.into();
        }
    }
    let fingerprint = kept.or(given);
    let record = Record {
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
    };
    match earlier {
        Some(earlier) => record.with_tally(after(earlier, orphaned)),
        None => record,
    }
}

/// What the next version of a record depends on beside the record.
#[derive(Debug, Clone, Copy)]
pub struct ChangeOf<'a> {
    /// Of the namespace.
    pub policy: &'a Policy,
    /// The key's own time, in a namespace of time-ordered keys. With the policy's ttl it bounds the expiry from below.
    pub key_time_ms: Option<u64>,
    /// The number of the version.
    pub seq: u64,
    /// Store time.
    pub now_ms: u64,
}

/// The record after a settlement of `held`, which must be in progress, by whoever holds it: who did the work, or who took the
/// claim over to find out what became of it. The history is not touched: see [`Ending::past`].
pub fn settled(
    held: &Record,
    ending: &Ending<'_>,
    policy: &Policy,
    key_time_ms: Option<u64>,
    seq: u64,
    now_ms: u64,
) -> Record {
    let change = ChangeOf { policy, key_time_ms, seq, now_ms };
    let asked = held.asked().map(|asked| Orphaned::from_code(asked.cause));
    let tally = match (ending, asked) {
        (Ending::Complete(_) | Ending::Fail(FailureClass::Terminal { .. }), _) => held.tally().settled(),
        (Ending::Release, _) => return released(held, seq, now_ms),
        (Ending::Fail(FailureClass::Retry { .. }), None) => held.tally().said_to_have_failed(),
        (Ending::Fail(FailureClass::Retry { .. }), Some(_)) => {
            Tally { in_doubt: true, ..held.tally().said_to_have_failed() }
        }
        (Ending::Fail(FailureClass::Park { .. }), cause) => after(held, cause),
        (Ending::Fail(FailureClass::Unknown { .. }), cause) => {
            after(held, Some(cause.unwrap_or(Orphaned::Unknown)))
        }
        (Ending::Fail(FailureClass::DidNotHappen { .. }), _) => held.tally().did_not_happen(),
    };
    ended(held, asked.unwrap_or(Orphaned::Unknown), ending, tally, &change)
}

/// The record after the end of `orphan`, in progress and held by nobody for this cause, by somebody who asks nobody about it.
pub fn orphan_settled(
    orphan: &Record,
    cause: Orphaned,
    ending: &Ending<'_>,
    change: &ChangeOf<'_>,
) -> Record {
    let tally = match ending {
        Ending::Fail(FailureClass::DidNotHappen { .. }) => orphan.tally().did_not_happen(),
        Ending::Complete(_) | Ending::Fail(FailureClass::Terminal { .. }) => {
            after(orphan, Some(cause)).settled()
        }
        _ => after(orphan, Some(cause)),
    };
    ended(orphan, cause, ending, tally, change)
}

/// The record after `ending`, with this tally.
fn ended(held: &Record, cause: Orphaned, ending: &Ending<'_>, tally: Tally, change: &ChangeOf<'_>) -> Record {
    let ChangeOf { policy, seq, now_ms, .. } = *change;
    let retried = |after_ms: u64| match tally.used_up(held, policy) {
        Some(note) => with_note(held, note, seq, now_ms),
        None => waiting(held, held.attempt, now_ms.saturating_add(after_ms), held.body.clone(), seq, now_ms),
    };
    let backed_off = || retried(policy.orphan_wait_ms(tally.interrupted, held.work_token()));
    let record = match ending {
        Ending::Complete(response) => resolved(held, State::Completed, response, change),
        Ending::Fail(FailureClass::Terminal { response }) => resolved(held, State::Failed, response, change),
        Ending::Fail(FailureClass::Park { note }) => with_note(held, note, seq, now_ms),
        Ending::Fail(FailureClass::Retry { after_ms, .. }) => retried(*after_ms),
        Ending::Fail(FailureClass::DidNotHappen { .. }) => backed_off(),
        Ending::Fail(FailureClass::Unknown { .. }) => match policy.on_orphan {
            OnOrphan::Retry => backed_off(),
            OnOrphan::Park => with_note(held, b"orphaned", seq, now_ms),
            OnOrphan::Fail => {
                return resolved(held, State::Failed, b"", change).with_tally(tally.settled());
            }
            OnOrphan::Resolve => return left_behind(held, cause, seq),
        },
        Ending::Release => return released(held, seq, now_ms),
    };
    record.with_tally(tally)
}

/// The record of a claim in progress that nobody holds any more, for this cause, although it is not resolved: its end is
/// counted in this version.
pub fn left_behind(held: &Record, cause: Orphaned, seq: u64) -> Record {
    let cause = first_cause(held, cause);
    let tally = Tally { counted: true, ..held.tally().ended(cause) };
    let mut record = held.clone();
    record.seq = seq;
    // Whoever it was detached for has let go of it.
    record.until_ms = 0;
    record.extra.get_or_insert_default().left = Some(cause.code());
    record.with_tally(tally)
}

/// An orphan that waits for its next attempt; `orphaned` is why it is one.
pub fn delayed(held: &Record, orphaned: Option<Orphaned>, after_ms: u64, seq: u64, now_ms: u64) -> Record {
    let until_ms = now_ms.saturating_add(after_ms);
    let record = waiting(held, held.attempt, until_ms, held.body.clone(), seq, now_ms);
    record.with_tally(after(held, orphaned))
}

/// A key that a claim parks: no further attempt is allowed, or the policy has orphans parked. `orphaned` is why nobody stands
/// behind it, if it is in progress. The body stays: it is the progress a later attempt goes on from.
pub fn parked(held: &Record, orphaned: Option<Orphaned>, policy: &Policy, seq: u64, now_ms: u64) -> Record {
    let tally = after(held, orphaned);
    let note = tally.used_up(held, policy).unwrap_or(b"orphaned");
    with_note(held, note, seq, now_ms).with_tally(tally)
}

/// A parked key that may be claimed again at once, with as many more failures and losses as the policy allows.
pub fn requeued(parked: &Record, policy: &Policy, seq: u64, now_ms: u64) -> Record {
    let tally = parked.tally();
    let mut record = waiting(parked, parked.attempt, 0, parked.body.clone(), seq, now_ms);
    let mut extra = record.extra.take().unwrap_or_default();
    extra.granted = granted(tally.failures, policy.max_attempts);
    extra.granted_losses = granted(tally.losses, policy.max_losses);
    extra.note = Box::default();
    record.extra = some_extra(extra);
    record.with_tally(tally)
}

/// Up to where a count may go for as many more as the policy allows; 0 where that is the policy's own bound.
fn granted(count: u32, allowed: u32) -> u32 {
    if count == 0 { 0 } else { count.saturating_add(allowed) }
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
    let cause = first_cause(orphan, cause);
    if before.is_none() {
        history::remember(&mut record, orphan, Happened::Orphaned(cause), now_ms, b"", b"");
    }
    let extra = record.extra.get_or_insert_default();
    extra.left = None;
    extra.asked = Some(Asked {
        token: orphan.work_token(),
        cause: cause.code(),
        times: before.map_or(0, |asked| asked.times).saturating_add(1),
        at_ms: now_ms,
    });
    record
}

/// The attempt is undone: the key is as it was before it, its earlier attempts and progress restored. What was counted when
/// it was granted stays.
fn released(held: &Record, seq: u64, now_ms: u64) -> Record {
    let calls = calls_of(held);
    if held.attempt <= 1 && calls.is_none() {
        return Record::erased(seq);
    }
    let earlier = held.extra.as_ref().and_then(|extra| extra.earlier_progress.clone());
    let progress = earlier.unwrap_or_else(|| held.body.clone());
    let record = waiting(held, held.attempt.saturating_sub(1), 0, progress, seq, now_ms);
    record.with_tally(held.tally())
}

fn resolved(held: &Record, state: State, response: &[u8], change: &ChangeOf<'_>) -> Record {
    let ChangeOf { policy, key_time_ms, seq, now_ms } = *change;
    let from_now = now_ms.saturating_add(held.ttl_ms);
    let from_key = key_time_ms.map_or(0, |time| time.saturating_add(policy.ttl_ms));
    let mut record = left(held, state, seq, now_ms);
    record.until_ms = from_now.max(from_key);
    record.lease_ms = 0;
    record.body = response.into();
    record.extra = record.extra.and_then(|mut extra| {
        extra.calls = Box::default();
        some_extra(extra)
    });
    record
}

/// Held for review, with a note for the reviewer.
fn with_note(held: &Record, note: &[u8], seq: u64, now_ms: u64) -> Record {
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

/// `held`, having left the state in progress. The tally is for the caller to set.
fn left(held: &Record, state: State, seq: u64, now_ms: u64) -> Record {
    let mut record = held.clone();
    record.seq = seq;
    record.state = state;
    record.settled_at_ms = now_ms;
    record.until_ms = 0;
    record.extra = record.extra.and_then(|mut extra| {
        extra.earlier_progress = None;
        extra.asked = None;
        extra.left = None;
        some_extra(extra)
    });
    record
}

/// The marks of calls that go out; `None` where there are none.
fn calls_of(record: &Record) -> Option<Box<[u8]>> {
    record.extra.as_ref().map(|extra| &extra.calls).filter(|calls| !calls.is_empty()).cloned()
}

fn some_extra(extra: Box<Extra>) -> Option<Box<Extra>> {
    if *extra == Extra::default() { None } else { Some(extra) }
}
