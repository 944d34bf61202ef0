//! How work fails, and what is to follow.

#[cfg(doc)]
use super::Receipt;
use crate::history::MAX_NOTE_BYTES;
use crate::time::millis;
use std::time::Duration;

/// How work failed, and what is to follow.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Failure {
    class: FailureClass,
}

/// What a [`Failure`] says, as a backend reads it.
#[derive(Clone, PartialEq, Eq)]
pub enum FailureClass {
    /// The key may be claimed again, as long as there are attempts.
    Retry {
        /// From when on, in milliseconds from the settlement.
        after_ms: u64,
        /// The error, for the history: at most 256 bytes.
        because: Box<[u8]>,
    },
    /// The work may have happened or not. The key goes by the policy's rule for orphans.
    Unknown {
        /// The error, for the history: at most 256 bytes.
        because: Box<[u8]>,
    },
    /// Of a claim that was taken over: its work did not happen.
    DidNotHappen {
        /// How that is known, for the history: at most 256 bytes.
        because: Box<[u8]>,
    },
    /// The key has failed for good.
    Terminal {
        /// What duplicates are given.
        response: Box<[u8]>,
    },
    /// The key is held for review.
    Park {
        /// For the reviewer.
        note: Box<[u8]>,
    },
}

impl Failure {
    /// What it says.
    #[inline]
    pub fn class(&self) -> &FailureClass {
        &self.class
    }

    /// May be tried again at once. One failure; parked instead when the failures are used up.
    pub fn retry() -> Failure {
        Failure { class: FailureClass::Retry { after_ms: 0, because: Box::default() } }
    }

    /// May be tried again after `delay`, of at most 10 years: a longer one is refused as
    /// [`Misuse`](crate::ErrorKind::Misuse), and the lease comes back. One failure; parked instead when the failures are used up.
    pub fn retry_after(delay: Duration) -> Failure {
        Failure { class: FailureClass::Retry { after_ms: millis(delay), because: Box::default() } }
    }

    /// The work may have happened or not: a request was sent, and no answer came. One failure; then the key goes by
    /// [`Policy::on_orphan`](crate::Policy::on_orphan), as if the holder had died. Every later attempt is
    /// [in doubt](crate::Record::in_doubt), until somebody finds out or the key resolves.
    pub fn unknown() -> Failure {
        Failure { class: FailureClass::Unknown { because: Box::default() } }
    }

    /// Of an orphan, or of a claim that was taken over to find out what became of it: its work did not happen, and will not
    /// happen any more. One loss and no failure; nothing is in doubt any more. Claimable again at once the first time, later
    /// after the back-off of the policy; parked instead when the losses are used up.
    ///
    /// Not found on the remote side is not enough while a request may still be under way. For any other lease it is
    /// [`Misuse`](crate::ErrorKind::Misuse).
    pub fn did_not_happen() -> Failure {
        Failure { class: FailureClass::DidNotHappen { because: Box::default() } }
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

    /// What went wrong, for whoever looks at the [history](crate::Record::history) of the key later (the first 256 bytes are
    /// kept). A terminal failure and one that parks say it in their response or note.
    pub fn because(mut self, error: impl AsRef<[u8]>) -> Failure {
        if let FailureClass::Retry { because, .. }
        | FailureClass::Unknown { because }
        | FailureClass::DidNotHappen { because } = &mut self.class
        {
            let error = error.as_ref();
            *because = error.get(..MAX_NOTE_BYTES).unwrap_or(error).into();
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
            FailureClass::Unknown { .. } => "Unknown",
            FailureClass::DidNotHappen { .. } => "DidNotHappen",
            FailureClass::Terminal { .. } => "Terminal",
            FailureClass::Park { .. } => "Park",
        })
    }
}
