//! The one error type, sorted by what a caller can do next.

mod place;
mod status;

pub use place::FileFault;
use place::Place;
pub use status::http_status;

use crate::planted;
use std::fmt;
use std::sync::Arc;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key is known with another payload (HTTP 422). The record stands as it was.
    PayloadMismatch,
    /// The time-ordered key is older than the store remembers (HTTP 412). Never claimable again.
    TooOld,
    /// The time-ordered key lies further in the future than the allowed skew.
    FutureKey,
    /// The key is held for review: its failures or losses are used up, or somebody parked it.
    Parked,
    /// The token was superseded, parked or settled. The call changed nothing.
    StaleLease,
    /// The key is empty or breaks the rule of its namespace.
    InvalidKey,
    /// The bytes of a lease token are forged, damaged or of another store. Never a sign that somebody else has the claim:
    /// that is [`StaleLease`](ErrorKind::StaleLease). The call changed nothing.
    InvalidToken,
    /// A key, response, progress or batch is beyond its limit.
    TooLarge,
    /// Too much is in flight; retry later. Nothing happened.
    Overloaded,
    /// The disk or a quota is full. Nothing happened.
    Full,
    /// The write or sync failed half-way: after reopening, the operation is wholly there or wholly absent.
    Indeterminate,
    /// An earlier failure stopped the store. Nothing happened; reopen it.
    Poisoned,
    /// The directory is open elsewhere, in this process or another.
    AlreadyOpen,
    /// The store was closed.
    Closed,
    /// A file does not hold what the store wrote. Nothing was changed.
    Corrupt,
    /// The files were written by a newer version. Nothing was changed.
    TooNew,
    /// The operating system refused a read, an open or a permission.
    Io,
    /// The call makes no sense as made.
    Misuse,
    /// A business error of the caller's own, from inside `transact`.
    Caller,
}

/// Why a call was refused or failed. Its text never contains keys, payloads or fingerprints.
///
/// An error of the operating system, and damage, name the file and where possible the offset
/// ([`file`](Error::file), [`offset`](Error::offset)), also behind [`ErrorKind::Indeterminate`] and
/// [`ErrorKind::Poisoned`]. The text has both.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: &'static str,
    pointers: Vec<String>,
    place: Option<Place>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Wraps a business error, to be returned from inside `transact`; comes out again with
    /// [`ErrorKind::Caller`] and the given error as its source.
    pub fn caller(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::with_source(ErrorKind::Caller, "the caller's own error", error.into())
    }

    /// What can be done about it.
    #[inline]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// For [`ErrorKind::PayloadMismatch`]: JSON Pointers of the fields that differ, where they are known.
    pub fn differing_pointers(&self) -> &[String] {
        &self.inner.pointers
    }

    /// The file that could not be read or written, or that is damaged: its name below the store's directory, such as
    /// `journal/0000000000000001.seg`, or `.` for the directory itself. A file of a backup is named with its directory,
    /// and for [`ErrorKind::AlreadyOpen`] this is the path of the store. `None` if no file is involved, and for a store
    /// in memory that is open already.
    pub fn file(&self) -> Option<&str> {
        self.inner.place.as_ref().map(|place| &*place.file)
    }

    /// Where in the [`file`](Error::file), in bytes from its beginning: of the read or write that failed, or of the
    /// damaged part. `None` if the file as a whole is meant.
    pub fn offset(&self) -> Option<u64> {
        self.inner.place.as_ref().and_then(|place| place.offset)
    }

    /// For [`ErrorKind::AlreadyOpen`]: the process that owned the store when the call was refused. `None` if that is not
    /// known for certain: the owner is in another PID namespace, only its children are left, the store is held by
    /// read-only openings, or the system has no `/proc`.
    pub fn owner_process(&self) -> Option<u32> {
        self.inner.place.as_ref().and_then(|place| place.process)
    }

    /// A refusal of this kind; `message` says why in the caller's terms, without anything of the caller's.
    pub fn new(kind: ErrorKind, message: &'static str) -> Error {
        Error { inner: Box::new(Inner { kind, message, pointers: Vec::new(), place: None, source: None }) }
    }

    /// The same with the error behind it, which must not quote a key, a payload or a fingerprint. If that one names a
    /// file (a [`FileFault`], or another `Error`), this one does too.
    pub fn with_source(
        kind: ErrorKind,
        message: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let (place, source) = place::taken_from(source.into());
        Error {
            inner: Box::new(Inner {
                kind,
                message,
                pointers: Vec::new(),
                place,
                source: Some(source.into()),
            }),
        }
    }

    /// Names the file, and the offset if it is known. What the error names already stays.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>, offset: Option<u64>) -> Error {
        self.inner.place.get_or_insert_with(|| Place { file: file.into(), offset, process: None });
        self
    }

    /// Names the directory of a store that is open already, and the process that owns it if that is known.
    #[must_use]
    pub fn owned_by(mut self, directory: impl Into<String>, process: Option<u32>) -> Error {
        self.inner.place = Some(Place { file: directory.into(), offset: None, process });
        self
    }

    /// The same with JSON Pointers of the fields that differ.
    #[must_use]
    pub fn differing_at(mut self, pointers: Vec<String>) -> Error {
        self.inner.pointers = pointers;
        self
    }

    /// The same refusal once more, with the same source: for another item of a batch.
    #[must_use]
    pub fn again(&self) -> Error {
        let Inner { kind, message, pointers, place, source } = &*self.inner;
        let (pointers, place, source) = (pointers.clone(), place.clone(), source.clone());
        Error { inner: Box::new(Inner { kind: *kind, message, pointers, place, source }) }
    }

    /// [`ErrorKind::Corrupt`]; `message` names the part that was missing or wrong.
    pub fn corrupt(message: &'static str) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// An operating-system error on a path where nothing had been changed yet: [`ErrorKind::Full`] where room is missing,
    /// else [`ErrorKind::Io`].
    pub fn io(message: &'static str, source: std::io::Error) -> Error {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        if planted::active(55) {
            // Only the quota of the file system.
            if source.kind() == std::io::ErrorKind::QuotaExceeded {
                return Error::with_source(ErrorKind::Io, message, source);
            }
        }
        Error::with_source(kind, message, source)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.inner.kind).field("message", &self.inner.message);
        if let Some(place) = &self.inner.place {
            shown.field("place", &format_args!("{place}"));
        }
        match (&self.inner.source, self.inner.kind) {
            // A caller's error may quote its payload; its Debug is the caller's to print.
            (None, _) | (Some(_), ErrorKind::Caller) => {}
            (Some(source), _) => {
                shown.field("source", source);
            }
        }
        shown.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.inner.message)?;
        self.inner.place.as_ref().map_or(Ok(()), |place| write!(f, ": {place}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
