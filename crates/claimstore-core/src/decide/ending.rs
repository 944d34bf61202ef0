//! [`Ending`]: how a record that is in progress ends.

use crate::claim::FailureClass;
#[cfg(doc)]
use crate::history;
use crate::history::{ENTRY_BYTES, Happened, Orphaned};
use std::fmt;

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
            Ending::Fail(FailureClass::Unknown { .. }) => "unknown",
            Ending::Fail(FailureClass::DidNotHappen { .. }) => "did_not_happen",
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
            Ending::Fail(
                FailureClass::Retry { because, .. }
                | FailureClass::Unknown { because }
                | FailureClass::DidNotHappen { because },
            ) => ENTRY_BYTES + because.len(),
            Ending::Release => 0,
        }
    }

    /// What [`history::remember`] is to keep of it; nothing where the record itself says all.
    pub fn past(&self) -> Option<Happened> {
        match self {
            Ending::Fail(FailureClass::Park { .. }) => Some(Happened::Parked),
            Ending::Fail(FailureClass::Retry { .. } | FailureClass::DidNotHappen { .. }) => {
                Some(Happened::Failed)
            }
            Ending::Fail(FailureClass::Unknown { .. }) => Some(Happened::Orphaned(Orphaned::Unknown)),
            Ending::Fail(FailureClass::Terminal { .. }) | Ending::Complete(_) | Ending::Release => None,
        }
    }

    /// The note of that entry of the history.
    pub fn note(&self) -> &[u8] {
        match self {
            Ending::Fail(FailureClass::Park { note }) => note,
            Ending::Fail(
                FailureClass::Retry { because, .. }
                | FailureClass::Unknown { because }
                | FailureClass::DidNotHappen { because },
            ) => because,
            Ending::Fail(FailureClass::Terminal { .. }) | Ending::Complete(_) | Ending::Release => &[],
        }
    }
}

/// Shows what it is called, never what it says.
impl fmt::Debug for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
