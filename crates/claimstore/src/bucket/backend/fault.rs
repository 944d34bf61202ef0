//! What can go wrong with redb, sorted.

use crate::error::{Error, ErrorKind};
use std::io;

/// A failure of redb or of ours, not classified yet.
#[derive(Debug)]
pub(in crate::bucket) enum Fault {
    Redb(redb::Error),
    Ours(Error),
}

/// redb has an error type for each kind of call.
macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Fault {
                Fault::Redb(error.into())
            }
        })*
    };
}

from_redb!(CommitError, DatabaseError, Error, SetDurabilityError, StorageError, TableError, TransactionError);

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Ours(error)
    }
}

impl Fault {
    /// Classifies the failure: an I/O error if the file had one, its `trouble`, otherwise damage, of which it may know
    /// the place.
    pub(super) fn into_error(self, trouble: Option<io::Error>, damage: Option<io::Error>) -> Error {
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
            (Fault::Redb(_), None) => damaged("redb does not accept its file", damage),
        }
    }
}

/// Damage; the error of the page where it was found comes along.
pub(super) fn damaged(what: &'static str, page: Option<io::Error>) -> Error {
    match page {
        Some(page) => Error::with_source(ErrorKind::Corrupt, what, page),
        None => Error::corrupt(what),
    }
}

/// Why a commit did not succeed. In both cases the file refuses further writes.
#[derive(Debug)]
pub(crate) enum CommitFailed {
    /// The transaction is not in the file, for certain.
    Absent(Error),
    /// The transaction is in the file completely or not at all: reopening tells.
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
