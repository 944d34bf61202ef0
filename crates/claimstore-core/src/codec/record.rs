//! A record: what is known about one key after one operation.
//!
//! The same bytes stand wherever a record is kept. Numbers are written as distances from a [`Base`] that
//! their container (a frame, a block) states once, so that a typical completed record costs about 20 bytes
//! beside its key and response.

use super::cursor::{Cursor, Malformed, put_bytes};
use super::extra::{Asked, Extra, Repeats};
use super::numbers::{HAS_EXTRA, HAS_FINGERPRINT, Numbers};
use crate::history::Orphaned;
use crate::tally::Tally;

/// Where a key stands. Expiry is not a state: it is computed from `until_ms` and the time of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Somebody holds the claim.
    InProgress = 1,
    /// Done; `body` is the response.
    Completed = 2,
    /// Failed for good; `body` is the response.
    Failed = 3,
    /// Failed or given back; claimable again from `until_ms` on. `body` is the progress so far.
    Retry = 4,
    /// Held for review. `body` is the progress so far.
    Parked = 5,
    /// The key is unknown again: a tombstone over older versions.
    Erased = 6,
}

impl State {
    #[inline]
    pub(super) fn from_bits(bits: u8) -> Option<State> {
        Some(match bits {
            1 => State::InProgress,
            2 => State::Completed,
            3 => State::Failed,
            4 => State::Retry,
            5 => State::Parked,
            6 => State::Erased,
            _ => return None,
        })
    }

    /// Whether the record ends at `until_ms`: the key has resolved.
    #[inline]
    pub fn expires(self) -> bool {
        matches!(self, State::Completed | State::Failed)
    }
}

/// A payload fingerprint and the scheme that made it. Compared only within one scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// How it was made, as [`Fingerprint::scheme`](claimstore_hash::Fingerprint::scheme) numbers it.
    pub scheme: u8,
    /// The digest, as [`Fingerprint::to_bytes`](claimstore_hash::Fingerprint::to_bytes) gives it.
    pub digest: [u8; 32],
}

impl From<&claimstore_hash::Fingerprint> for Fingerprint {
    #[inline]
    fn from(given: &claimstore_hash::Fingerprint) -> Fingerprint {
        Fingerprint { scheme: given.scheme(), digest: given.to_bytes() }
    }
}

/// One version of one key's record. Everything but the key.
///
/// All times are milliseconds since 1970 in *store time*, which never goes back; all lengths of time are milliseconds. In
/// memory it lies as it is declared: what says which version it is comes first, where a table of records looks at it.
#[derive(Clone, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// The number of the operation that made this version. It rises over the whole store, so the version with the
    /// highest number is the newest.
    pub seq: u64,
    /// The fencing token: the `seq` of the operation that claimed. Never above `seq`.
    pub token: u64,
    /// The ordinal of grants, this one included. The first is 1; 0 of a key that has only marks of calls.
    pub attempt: u32,
    /// Where the key stands.
    pub state: State,
    /// When the claim was made.
    pub claimed_at_ms: u64,
    /// When the operation was that left `InProgress`; 0 while in progress.
    pub settled_at_ms: u64,
    /// Completed, Failed: expiry. Retry: claimable from. InProgress: detached until (0: not detached).
    pub until_ms: u64,
    /// How long the key is to be remembered once it has resolved.
    pub ttl_ms: u64,
    /// How long the holder is trusted; 0 once the key has resolved.
    pub lease_ms: u64,
    /// That of the payload, where the claim brought one.
    pub fingerprint: Option<Box<Fingerprint>>,
    /// Response, progress or nothing, by state.
    pub body: Box<[u8]>,
    /// What most records do not have. `None` rather than an [`Extra`] in which nothing is set.
    pub extra: Option<Box<Extra>>,
}

/// What the distances of a container's records are counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Base {
    /// For [`Record::seq`].
    pub seq: u64,
    /// For [`Record::claimed_at_ms`], in milliseconds of store time.
    pub time_ms: u64,
    /// For [`Record::ttl_ms`], in milliseconds.
    pub ttl_ms: u64,
}

impl Record {
    /// The parts that have a fixed size.
    #[inline]
    pub fn numbers(&self) -> Numbers {
        Numbers {
            seq: self.seq,
            token: self.token,
            attempt: self.attempt,
            state: self.state,
            claimed_at_ms: self.claimed_at_ms,
            settled_at_ms: self.settled_at_ms,
            until_ms: self.until_ms,
            ttl_ms: self.ttl_ms,
            lease_ms: self.lease_ms,
        }
    }

    /// Appends the record's bytes. [`Record::decode`] with the same `base` reads them back.
    pub fn encode(&self, base: &Base, out: &mut Vec<u8>) {
        self.encode_with(&self.body, base, out);
    }

    /// The same with a body that is kept elsewhere.
    pub fn encode_with(&self, body: &[u8], base: &Base, out: &mut Vec<u8>) {
        let mut has = 0;
        if self.fingerprint.is_some() {
            has |= HAS_FINGERPRINT;
        }
        if self.extra.is_some() {
            has |= HAS_EXTRA;
        }
        self.numbers().encode(has, base, out);
        if self.state == State::Erased {
            return;
        }
        if let Some(fingerprint) = &self.fingerprint {
            out.push(fingerprint.scheme);
            out.extend_from_slice(&fingerprint.digest);
        }
        if let Some(extra) = &self.extra {
            extra.encode(out);
        }
        put_bytes(body, out);
    }

    /// Reads one record from `cursor`, leaving it behind the record.
    pub fn decode(cursor: &mut Cursor<'_>, base: &Base) -> Result<Record, Malformed> {
        let (numbers, has) = Numbers::decode(cursor, base)?;
        if numbers.state == State::Erased {
            return Ok(Record::erased(numbers.seq));
        }
        let fingerprint = if has & HAS_FINGERPRINT == 0 {
            None
        } else {
            let scheme = cursor.u8("fingerprint scheme")?;
            Some(Box::new(Fingerprint { scheme, digest: cursor.array("fingerprint digest")? }))
        };
        let extra = if has & HAS_EXTRA == 0 { None } else { Some(Box::new(Extra::decode(cursor)?)) };
        let body = cursor.bytes("record body")?.into();
        Ok(Record { fingerprint, body, extra, ..Record::of(numbers) })
    }

    /// A record that has nothing but numbers.
    #[inline]
    fn of(numbers: Numbers) -> Record {
        Record {
            seq: numbers.seq,
            token: numbers.token,
            attempt: numbers.attempt,
            state: numbers.state,
            claimed_at_ms: numbers.claimed_at_ms,
            settled_at_ms: numbers.settled_at_ms,
            until_ms: numbers.until_ms,
            ttl_ms: numbers.ttl_ms,
            lease_ms: numbers.lease_ms,
            fingerprint: None,
            body: Box::default(),
            extra: None,
        }
    }

    /// A tombstone: from operation `seq` on, the key is unknown.
    #[inline]
    pub fn erased(seq: u64) -> Record {
        Record::of(Numbers::erased(seq))
    }

    /// A copy of everything but the body.
    #[must_use]
    pub fn without_body(&self) -> Record {
        Record {
            fingerprint: self.fingerprint.clone(),
            extra: self.extra.clone(),
            ..Record::of(self.numbers())
        }
    }

    /// Bytes of everything in the record that varies in length.
    #[inline]
    pub fn loose_bytes(&self) -> usize {
        self.body.len() + self.extra.as_ref().map_or(0, |extra| extra.loose_bytes())
    }

    /// What is known of the last time that somebody was asked about the claim.
    #[inline]
    pub fn asked(&self) -> Option<Asked> {
        self.extra.as_ref().and_then(|extra| extra.asked)
    }

    /// The token of the claim that did the work: not that of who was asked about it.
    #[inline]
    pub fn work_token(&self) -> u64 {
        self.asked().map_or(self.token, |asked| asked.token)
    }

    /// What is counted of the key's attempts.
    #[inline]
    pub fn tally(&self) -> Tally {
        let kept = self.extra.as_ref().and_then(|extra| extra.tally);
        kept.unwrap_or_else(|| Tally::assumed(self.state, self.attempt))
    }

    /// The same record with this tally. Nothing is kept of one that is assumed anyway.
    #[must_use]
    pub fn with_tally(mut self, tally: Tally) -> Record {
        let kept = (tally != Tally::assumed(self.state, self.attempt)).then_some(tally);
        if kept.is_some() || self.extra.is_some() {
            let mut extra = self.extra.take().unwrap_or_default();
            extra.tally = kept;
            self.extra = (*extra != Extra::default()).then_some(extra);
        }
        self
    }

    /// Why nobody holds the claim, where its own bytes say that nobody does.
    #[inline]
    pub fn left(&self) -> Option<Orphaned> {
        self.extra.as_ref().and_then(|extra| extra.left).map(Orphaned::from_code)
    }

    /// Takes the counts out, so that the record is as if nobody had come again.
    pub fn take_repeats(&mut self) -> Repeats {
        let Some(extra) = &mut self.extra else { return Repeats::default() };
        let repeats = std::mem::take(&mut extra.repeats);
        if **extra == Extra::default() {
            self.extra = None;
        }
        repeats
    }

    /// Whether the record has ended at store time `now_ms`: at `until_ms` it has, before it has not.
    #[inline]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.state.expires() && self.until_ms <= now_ms
    }
}

/// Shows shape, never content: bodies and fingerprints are the caller's secrets.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("seq", &self.seq)
            .field("token", &self.token)
            .field("attempt", &self.attempt)
            .field("state", &self.state)
            .field("claimed_at_ms", &self.claimed_at_ms)
            .field("settled_at_ms", &self.settled_at_ms)
            .field("until_ms", &self.until_ms)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprint").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
