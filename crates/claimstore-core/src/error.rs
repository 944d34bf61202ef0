//! The one error type, sorted by what a caller can do next.

use crate::planted;
use std::fmt;

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
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: &'static str,
    pointers: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
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

    /// A refusal of this kind; `message` says why in the caller's terms, without anything of the caller's.
    pub fn new(kind: ErrorKind, message: &'static str) -> Error {
        Error { inner: Box::new(Inner { kind, message, pointers: Vec::new(), source: None }) }
    }

    /// The same with the error behind it, which must not quote a key, a payload or a fingerprint.
    pub fn with_source(
        kind: ErrorKind,
        message: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error { inner: Box::new(Inner { kind, message, pointers: Vec::new(), source: Some(source.into()) }) }
    }

    /// The same with JSON Pointers of the fields that differ.
    #[must_use]
    pub fn differing_at(mut self, pointers: Vec<String>) -> Error {
        self.inner.pointers = pointers;
        self
    }

    /// The same refusal once more, without its source: for another item of a batch.
    #[must_use]
    pub fn again(&self) -> Error {
        let Inner { kind, message, pointers, .. } = &*self.inner;
        Error { inner: Box::new(Inner { kind: *kind, message, pointers: pointers.clone(), source: None }) }
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
        if planted::active(55) && source.kind() == std::io::ErrorKind::QuotaExceeded {
            return Error::with_source(ErrorKind::Io, message, source);
        }
        Error::with_source(kind, message, source)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.inner.kind).field("message", &self.inner.message);
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
        f.write_str(self.inner.message)
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
