//! What a reviewer decides about a key that is held for review.

use crate::history::{MAX_BY_BYTES, MAX_NOTE_BYTES};
use std::fmt;

/// What a reviewer decides about a parked key.
#[derive(Clone, PartialEq, Eq)]
pub enum Review {
    /// It may be claimed again, at once, with as many more failures and losses as the policy allows. The counts go on.
    Requeue,
    /// It is done, with this response.
    Complete(Vec<u8>),
    /// It has failed for good, with this response.
    Fail(Vec<u8>),
    /// It becomes unknown, as by `Store::forget`; nothing is left that could keep a note.
    Forget,
}

impl Review {
    /// The response to be stored; empty where none is.
    pub fn response(&self) -> &[u8] {
        match self {
            Review::Complete(response) | Review::Fail(response) => response,
            Review::Requeue | Review::Forget => &[],
        }
    }
}

/// Shows the decision, never the response.
impl fmt::Debug for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Review::Requeue => "Requeue",
            Review::Complete(_) => "Complete",
            Review::Fail(_) => "Fail",
            Review::Forget => "Forget",
        })
    }
}

/// Who decided, and why: kept in the [history](crate::Record::history) of the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    by: Box<[u8]>,
    why: Box<[u8]>,
}

impl Note {
    /// `by` is a person or program (64 bytes are kept), `why` the reason (256 bytes are kept).
    pub fn new(by: impl AsRef<[u8]>, why: impl AsRef<[u8]>) -> Note {
        let (by, why) = (by.as_ref(), why.as_ref());
        Note {
            by: by.get(..MAX_BY_BYTES).unwrap_or(by).into(),
            why: why.get(..MAX_NOTE_BYTES).unwrap_or(why).into(),
        }
    }

    /// Who.
    pub fn by(&self) -> &[u8] {
        &self.by
    }

    /// Why.
    pub fn why(&self) -> &[u8] {
        &self.why
    }
}

/// Shows sizes, never the text.
impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("why_bytes", &self.why.len()).finish_non_exhaustive()
    }
}
