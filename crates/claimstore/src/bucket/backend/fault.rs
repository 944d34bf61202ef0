//! What can go wrong with redb, sorted.

use crate::error::{Error, ErrorKind};
use std::io;

/// Why something done with redb failed, before it is known what that means.
#[derive(Debug)]
pub(in crate::bucket) enum Fault {
    Redb(redb::Error),
    Ours(Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::Redb(error.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Ours(error)
    }
}

impl Fault {
    /// Sorts the failure: the operating system's if the file met one, its `trouble`, else the bytes'.
    pub(super) fn into_error(self, trouble: Option<io::Error>) -> Error {
        match (self, trouble) {
            (Fault::Ours(error), _) => error,
            (Fault::Redb(redb::Error::ValueTooLarge(_)), _) => {
                Error::new(ErrorKind::TooLarge, "the row is too large")
            }
            (Fault::Redb(redb::Error::TableAlreadyOpen(..)), _) => {
                Error::new(ErrorKind::Misuse, "the table is open already in this transaction")
            }
            (Fault::Redb(_), Some(trouble)) => Error::io("a redb file could not be read or written", trouble),
            // redb's own words may quote table names, which are the caller's: they stay here.
            (Fault::Redb(_), None) => Error::corrupt("redb does not accept its file"),
        }
    }
}

/// Why a commit gave no `Ok`. The file takes no more writes either way.
#[derive(Debug)]
pub(crate) enum CommitFailed {
    /// The transaction is not there and will not come back.
    Absent(Error),
    /// The transaction is wholly there or wholly absent: reopening tells.
    Unknown(Error),
}

impl From<CommitFailed> for Error {
    fn from(failed: CommitFailed) -> Error {
        match failed {
            CommitFailed::Absent(error) => error,
            CommitFailed::Unknown(error) => {
                Error::with_source(ErrorKind::Indeterminate, "a commit failed half-way", error)
            }
        }
    }
}
