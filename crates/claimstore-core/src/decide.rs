//! What a claim is answered, and what a settlement does: pure functions of record, request and time.
//!
//! [`decide`] says what a claim is answered and what becomes of the key; [`claimed`], [`parked`], [`settled`] and the others
//! build the version of the record that says so.
//!
//! No I/O, no clock, no lock. The caller applies the effect and sees to it that an answer leaves the store
//! only when the facts it rests on are durable.
//!
//! All times are milliseconds since 1970, all lengths of time are milliseconds. `seq` is the number of the operation: higher
//! than every number that was given out before.

mod ending;
mod version;

pub use ending::Ending;
pub use version::{
    ChangeOf, claimed, delayed, left_behind, orphan_settled, parked, requeued, settled, taken_over,
};

use crate::claim::ClaimRequest;
use crate::codec::{Fingerprint, Record, State};
use crate::error::{Error, ErrorKind};
use crate::history::Orphaned;
use crate::limits::{MAX_LEASE, MAX_ORIGIN_BYTES, MAX_TTL, MIN_TTL};
use crate::planted;
use crate::policy::{OnOrphan, Policy};
use crate::tally::Tally;
use crate::time::millis;
use claimstore_hash::{FieldDigests, Match};
use std::fmt;
use std::time::Duration;

/// What stands behind a record that is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A holder that is trusted for so much longer.
    Running {
        /// What is left of the lease, at least 1 ms.
        remaining_ms: u64,
    },
    /// A holder whose lease has run out, alive or not.
    Lapsed,
    /// Nobody: an earlier life's claim.
    Orphaned,
    /// Nobody: the lease was dropped, by a process that goes on.
    Dropped,
    /// Nobody: a panic dropped the lease.
    Panicked,
    /// The next version of the record is being made elsewhere: by a `transact`, or a settlement with business rows.
    Reserved,
}

impl Hold {
    /// Why nobody stands behind the claim; `None` where somebody does.
    #[inline]
    pub fn orphaned(self) -> Option<Orphaned> {
        match self {
            Hold::Running { .. } | Hold::Reserved => None,
            Hold::Lapsed => Some(Orphaned::Lapsed),
            Hold::Orphaned => Some(Orphaned::EarlierLife),
            Hold::Dropped => Some(Orphaned::Abandoned),
            Hold::Panicked => Some(Orphaned::Panicked),
        }
    }
}

/// The part of a claim that the decision depends on, with the policy's defaults filled in.
#[derive(Clone)]
pub struct Wanted<'a> {
    /// How long the key is to be remembered once it has resolved.
    pub ttl_ms: u64,
    /// How long the holder is to be trusted.
    pub lease_ms: u64,
    /// That of the payload, if the claim brings one.
    pub fingerprint: Option<Fingerprint>,
    /// Digests of the payload's fields, as [`FieldDigests::to_bytes`] writes them; empty where there are none.
    pub fields: &'a [u8],
    /// Where the work comes from; empty where nothing was said.
    pub origin: &'a [u8],
    /// The key's own time by the wall clock, in a namespace of time-ordered keys.
    pub key_time_ms: Option<u64>,
}

impl<'a> Wanted<'a> {
    /// What `request` asks for under `policy`. `key_time_ms` is the key's own time in a namespace of time-ordered keys.
    ///
    /// Errors: [`ErrorKind::Misuse`] for a ttl or lease out of bounds, for a ttl of a time-ordered key below the policy's and
    /// for a fingerprint that is missing where the policy requires one; [`ErrorKind::TooLarge`] for the origin.
    #[inline]
    pub fn of(
        request: &'a ClaimRequest,
        policy: &Policy,
        key_time_ms: Option<u64>,
    ) -> Result<Wanted<'a>, Error> {
        let asked = request.parts();
        let ttl_ms = asked.ttl_ms.unwrap_or(policy.ttl_ms);
        let lease_ms = asked.lease_ms.unwrap_or(policy.lease_ms);
        let misuse = |message| Err(Error::new(ErrorKind::Misuse, message));
        if !(MIN_TTL..=MAX_TTL).contains(&Duration::from_millis(ttl_ms)) {
            return misuse("a ttl must lie between 1 second and 10 years");
        }
        if lease_ms == 0 || lease_ms > millis(MAX_LEASE) {
            return misuse("a lease must lie between 1 ms and 366 days");
        }
        if key_time_ms.is_some() && ttl_ms < policy.ttl_ms {
            return misuse("a ttl below the policy's would let a time-ordered key come back");
        }
        if policy.require_fingerprint && asked.fingerprint.is_none() {
            return misuse("the namespace requires a fingerprint");
        }
        if asked.origin.len() > MAX_ORIGIN_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, "an origin must have at most 4,096 bytes"));
        }
        let fingerprint = asked.fingerprint.map(Fingerprint::from);
        Ok(Wanted { ttl_ms, lease_ms, fingerprint, fields: asked.fields, origin: asked.origin, key_time_ms })
    }
}

/// The times a decision is made at.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Store time, which never goes back: what ttls are judged by.
    pub store_ms: u64,
    /// The raw wall clock: what keys of the future are judged by.
    pub wall_ms: u64,
}

/// The answer to a claim, and with it the effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// No effect: the record stands and is the answer.
    Duplicate {
        /// Whether the key failed for good, rather than completed.
        failure: bool,
        /// Whether both fingerprints were there to be compared, and were the same.
        fingerprint_checked: bool,
    },
    /// No effect: somebody holds the key, or its retry is not due.
    InProgress {
        /// When to ask again, at least 1 ms.
        retry_after_ms: u64,
    },
    /// No effect: the claim is refused.
    Refuse(ErrorKind),
    /// The key becomes [`claimed`], the earlier progress kept.
    Claim {
        /// Which attempt it is: the first is 1.
        attempt: u32,
    },
    /// The key becomes [`parked`], and the claim is refused as such.
    Park,
    /// The key becomes failed for good with an empty response, and that is the answer.
    Fail,
    /// The orphan waits for its next attempt from now on ([`delayed`]), and the answer is how long.
    Delay {
        /// How long, at least 1 ms.
        after_ms: u64,
    },
}

/// How long to wait before asking again about a claim that only a resolver can end.
const ASK_RESOLVER_AGAIN_MS: u64 = 1_000;

/// Decides a claim.
///
/// `record` is the newest version of the key, expired or not, with what stands behind it if it is in progress (of others the
/// hold is not looked at); `None` for a key without one. `watermark_ms` belongs to namespaces of time-ordered keys: keys whose
/// own time lies before it may have been resolved and dropped, and are refused. 0 as long as none was dropped.
#[inline]
pub fn decide(
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
        State::Retry => next_attempt(record, &record.tally(), policy),
        State::InProgress => decide_in_progress(record, hold, policy),
        State::Erased => decide_unknown(wanted, policy, watermark_ms, now),
    }
}

/// At `until_ms` a record has expired, before it has not.
#[inline]
fn expired(record: &Record, now_ms: u64) -> bool {
    let mut now_ms = now_ms;
    if planted::active(16) {
        now_ms = now_ms.saturating_add(1);
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
    let cause = match hold {
        Hold::Running { remaining_ms } => return Decision::InProgress { retry_after_ms: remaining_ms },
        Hold::Reserved => return Decision::InProgress { retry_after_ms: 1 },
        nobody => nobody.orphaned(),
    };
    match policy.on_orphan {
        OnOrphan::Retry => {
            let tally = after(record, cause);
            match policy.orphan_wait_ms(tally.interrupted, record.work_token()) {
                after_ms if after_ms > 0 && tally.used_up(record, policy).is_none() => {
                    Decision::Delay { after_ms }
                }
                _ => next_attempt(record, &tally, policy),
            }
        }
        OnOrphan::Park => Decision::Park,
        OnOrphan::Fail => Decision::Fail,
        OnOrphan::Resolve => Decision::InProgress { retry_after_ms: ASK_RESOLVER_AGAIN_MS },
    }
}

/// The tally once the attempt of `record` has ended: for this cause, if it is in progress and nobody holds it. What counts
/// is the first cause, not what became of who was asked about it.
fn after(record: &Record, cause: Option<Orphaned>) -> Tally {
    match cause.filter(|_| record.state == State::InProgress) {
        Some(cause) => record.tally().ended(first_cause(record, cause)),
        None => record.tally(),
    }
}

/// Why the claim became an orphan at first. `found` is what it looks like now.
pub fn first_cause(record: &Record, found: Orphaned) -> Orphaned {
    let asked = record.asked().map(|asked| Orphaned::from_code(asked.cause));
    asked.or(record.left()).unwrap_or(found)
}

fn next_attempt(record: &Record, tally: &Tally, policy: &Policy) -> Decision {
    if tally.used_up(record, policy).is_some() {
        return Decision::Park;
    }
    Decision::Claim { attempt: record.attempt.saturating_add(1) }
}

/// Whether two fingerprints are the same; unknown when one is absent or they are of different schemes, keys or
/// rules. Takes the same time wherever they differ.
#[inline]
pub fn compare(stored: Option<&Fingerprint>, given: Option<&Fingerprint>) -> Option<bool> {
    let public = |one: &Fingerprint| claimstore_hash::Fingerprint::with_scheme(one.scheme, one.digest);
    match public(stored?).compare(&public(given?)) {
        Match::Same => Some(true),
        Match::Different => Some(false),
        Match::Unknown => None,
    }
}

/// Pointers to the fields in which a refused payload differs from the stored one, where both sides have digests of
/// them, made under one key and the same rules.
pub fn differing_pointers(record: &Record, wanted: &Wanted<'_>) -> Vec<String> {
    let stored = record.extra.as_ref().map_or(&[][..], |extra| &extra.fields);
    match (FieldDigests::from_bytes(stored), FieldDigests::from_bytes(wanted.fields)) {
        (Ok(stored), Ok(given)) => stored.differing(&given).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Shows shape, never content.
impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("ttl_ms", &self.ttl_ms)
            .field("lease_ms", &self.lease_ms)
            .field("fingerprint", &self.fingerprint.is_some())
            .field("key_time_ms", &self.key_time_ms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
