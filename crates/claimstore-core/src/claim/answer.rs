//! The plain answers to a claim. The one that holds a lease belongs to each backend.

use crate::codec::Record;
use crate::time::at;
use std::time::{Duration, SystemTime};

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
    /// What `record`, which has resolved, is told as. `failure` and `fingerprint_checked` are those of
    /// [`Decision::Duplicate`](crate::decide::Decision::Duplicate).
    pub fn of(record: &Record, failure: bool, fingerprint_checked: bool) -> Receipt {
        Receipt {
            response: record.body.clone(),
            failure,
            claimed_at_ms: record.claimed_at_ms,
            settled_at_ms: record.settled_at_ms,
            attempts: record.attempt,
            fingerprint_checked,
        }
    }

    /// The same with this response.
    #[must_use]
    pub fn with_response(self, response: Box<[u8]>) -> Receipt {
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
        at(self.claimed_at_ms)
    }

    /// When the key resolved, in store time.
    pub fn settled_at(&self) -> SystemTime {
        at(self.settled_at_ms)
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
    retry_after_ms: u64,
    since_ms: u64,
    attempt: u32,
}

impl Holder {
    /// What stands in the way: for so long at the most, claimed at that store time, as that attempt.
    #[inline]
    pub fn new(retry_after_ms: u64, since_ms: u64, attempt: u32) -> Holder {
        Holder { retry_after_ms, since_ms, attempt }
    }

    /// When to ask again: what is left of the lease, or of the time until a retry is due. At least 1 ms.
    pub fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms.max(1))
    }

    /// When the attempt in the way was claimed, in store time.
    pub fn since(&self) -> SystemTime {
        at(self.since_ms)
    }

    /// Which attempt stands in the way.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}
