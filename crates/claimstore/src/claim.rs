//! The question and its answers: [`ClaimRequest`], [`Claim`], [`Receipt`], [`Holder`].

use crate::codec::Record;
use crate::key_bytes::KeyBytes;
use crate::lease::Lease;
use crate::options::millis;
use claimstore_hash::{FieldDigests, Fingerprint};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The answer to "may I do this work?".
#[derive(Debug)]
#[must_use = "an answer that is not looked at is work done twice or never"]
pub enum Claim {
    /// It is yours to do. Settle the lease when it is done.
    Claimed(Lease),
    /// It has been done; here is the result.
    Duplicate(Receipt),
    /// Somebody is on it, or it may not be tried again yet.
    InProgress(Holder),
}

impl Claim {
    /// The lease, if the claim was granted.
    pub fn claimed(self) -> Option<Lease> {
        match self {
            Claim::Claimed(lease) => Some(lease),
            Claim::Duplicate(_) | Claim::InProgress(_) => None,
        }
    }
}

/// The stored result of a key that has resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    response: Box<[u8]>,
    failure: bool,
    claimed_at_ms: u64,
    settled_at_ms: u64,
    attempts: u32,
    fingerprint_checked: bool,
}

impl Receipt {
    pub(crate) fn of(record: &Record, failure: bool, fingerprint_checked: bool) -> Receipt {
        Receipt {
            response: record.body.clone(),
            failure,
            claimed_at_ms: record.claimed_at_ms,
            settled_at_ms: record.settled_at_ms,
            attempts: record.attempt,
            fingerprint_checked,
        }
    }

    /// The same with a response that need not be copied.
    pub(crate) fn with_response(self, response: Box<[u8]>) -> Receipt {
        Receipt { response, ..self }
    }

    /// What `complete` or a terminal `fail` stored.
    pub fn response(&self) -> &[u8] {
        &self.response
    }

    /// Whether the work failed for good, rather than completed.
    pub fn is_failure(&self) -> bool {
        self.failure
    }

    /// When the attempt that resolved the key was claimed, in store time.
    pub fn claimed_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.claimed_at_ms)
    }

    /// When the key resolved, in store time.
    pub fn settled_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.settled_at_ms)
    }

    /// How many attempts it took.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether the fingerprint of this request was compared with the stored one (and was the same). False
    /// when either side has none or they are of different schemes.
    pub fn fingerprint_checked(&self) -> bool {
        self.fingerprint_checked
    }
}

/// Shows sizes and times, never the response.
impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt")
            .field("response_bytes", &self.response.len())
            .field("failure", &self.failure)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// Who stands in the way, and for how long at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub(crate) retry_after_ms: u64,
    pub(crate) since_ms: u64,
    pub(crate) attempt: u32,
}

impl Holder {
    /// When to ask again: what is left of the lease, or of the time until a retry is due. At least 1 ms.
    pub fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms.max(1))
    }

    /// When the attempt in the way was claimed, in store time.
    pub fn since(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.since_ms)
    }

    /// Which attempt stands in the way.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// The long form of a claim. Owns its bytes.
///
/// What is not set comes from the namespace's policy.
#[derive(Clone)]
#[must_use]
pub struct ClaimRequest {
    pub(crate) key: KeyBytes,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) lease_ms: Option<u64>,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// As bytes: what is stored. Empty: none.
    pub(crate) fields: Box<[u8]>,
    pub(crate) origin: Box<[u8]>,
}

impl ClaimRequest {
    /// A claim of `key`: 1 to 1,024 bytes.
    pub fn new(key: impl AsRef<[u8]>) -> ClaimRequest {
        ClaimRequest {
            key: key.as_ref().into(),
            ttl_ms: None,
            lease_ms: None,
            fingerprint: None,
            fields: Box::default(),
            origin: Box::default(),
        }
    }

    /// How long the key is remembered after it resolved: 1 second to 10 years. Default: the policy's.
    pub fn ttl(mut self, ttl: Duration) -> ClaimRequest {
        self.ttl_ms = Some(millis(ttl));
        self
    }

    /// How long the holder is trusted. Default: the policy's.
    pub fn lease(mut self, lease: Duration) -> ClaimRequest {
        self.lease_ms = Some(millis(lease));
        self
    }

    /// A fingerprint of the payload, so that the same key with another payload is noticed.
    pub fn fingerprint(mut self, fingerprint: impl Into<Fingerprint>) -> ClaimRequest {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// Digests of the payload's fields, stored beside the fingerprint (up to 4,096 bytes), so that a
    /// [`PayloadMismatch`](crate::ErrorKind::PayloadMismatch) can say which fields differ:
    /// [`Error::differing_pointers`](crate::Error::differing_pointers). Ignored without a fingerprint.
    pub fn fields(mut self, fields: &FieldDigests) -> ClaimRequest {
        self.fields = fields.to_bytes().into();
        self
    }

    /// Where the work comes from, for whoever looks at an orphan later. At most 4,096 bytes.
    pub fn origin(mut self, origin: impl AsRef<[u8]>) -> ClaimRequest {
        self.origin = origin.as_ref().into();
        self
    }
}

/// Shows shape, never content.
impl std::fmt::Debug for ClaimRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimRequest")
            .field("key_bytes", &self.key.len())
            .field("ttl_ms", &self.ttl_ms)
            .field("lease_ms", &self.lease_ms)
            .field("fingerprint", &self.fingerprint.is_some())
            .finish_non_exhaustive()
    }
}

/// How work failed, and what is to follow.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Failure {
    pub(crate) class: FailureClass,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum FailureClass {
    Retry { after_ms: u64, because: Box<[u8]> },
    Terminal { response: Box<[u8]> },
    Park { note: Box<[u8]> },
}

impl Failure {
    /// May be tried again at once. Parked instead when the attempts are used up.
    pub fn retry() -> Failure {
        Failure { class: FailureClass::Retry { after_ms: 0, because: Box::default() } }
    }

    /// May be tried again after `delay`. Parked instead when the attempts are used up.
    pub fn retry_after(delay: Duration) -> Failure {
        Failure { class: FailureClass::Retry { after_ms: millis(delay), because: Box::default() } }
    }

    /// Failed for good: `response` is stored and given to duplicates, with
    /// [`is_failure`](Receipt::is_failure).
    pub fn terminal(response: impl AsRef<[u8]>) -> Failure {
        Failure { class: FailureClass::Terminal { response: response.as_ref().into() } }
    }

    /// Held for review, with a note for the reviewer (at most 4,096 bytes).
    pub fn park(note: impl AsRef<[u8]>) -> Failure {
        Failure { class: FailureClass::Park { note: note.as_ref().into() } }
    }

    /// What went wrong, for whoever looks at the [history](crate::Record::history) of the key later: of a failure
    /// that is to be retried (the first 256 bytes are kept). Others say it in their response or note.
    pub fn because(mut self, error: impl AsRef<[u8]>) -> Failure {
        if let FailureClass::Retry { because, .. } = &mut self.class {
            let error = error.as_ref();
            *because = error.get(..crate::history::MAX_NOTE_BYTES).unwrap_or(error).into();
        }
        self
    }
}

/// Shows the class, never the response.
impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Failure").field(&self.class).finish()
    }
}

impl std::fmt::Debug for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FailureClass::Retry { .. } => "Retry",
            FailureClass::Terminal { .. } => "Terminal",
            FailureClass::Park { .. } => "Park",
        })
    }
}
