//! The one error type, sorted by what a caller can do next.

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
    /// The key is held for review: its attempts are used up, or somebody parked it.
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
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// For [`ErrorKind::PayloadMismatch`]: JSON Pointers of the fields that differ, where they are known.
    pub fn differing_pointers(&self) -> &[String] {
        &self.inner.pointers
    }

    pub(crate) fn new(kind: ErrorKind, message: &'static str) -> Error {
        Error { inner: Box::new(Inner { kind, message, pointers: Vec::new(), source: None }) }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error { inner: Box::new(Inner { kind, message, pointers: Vec::new(), source: Some(source.into()) }) }
    }

    /// The same, with pointers to what differs.
    pub(crate) fn differing_at(mut self, pointers: Vec<String>) -> Error {
        self.inner.pointers = pointers;
        self
    }

    /// The same refusal once more, for another item of a batch.
    pub(crate) fn again(&self) -> Error {
        let Inner { kind, message, pointers, .. } = &*self.inner;
        Error { inner: Box::new(Inner { kind: *kind, message, pointers: pointers.clone(), source: None }) }
    }

    pub(crate) fn corrupt(message: &'static str) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// An operating-system error on a path where nothing had been changed yet.
    pub(crate) fn io(message: &'static str, source: std::io::Error) -> Error {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull => ErrorKind::Full,
            std::io::ErrorKind::QuotaExceeded if !crate::planted::active(55) => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
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
mod tests {
    use super::{Error, ErrorKind};
    use rustix::io::Errno;
    use std::io;

    /// What the operating system says, and what a caller is told: whether room must be made, or something else.
    #[test]
    fn a_full_disk_and_a_full_quota_are_told_apart_from_everything_else() {
        let check = |errno: i32, name: &str, expected: ErrorKind| {
            let error = Error::io("it failed", io::Error::from_raw_os_error(errno));
            assert_eq!(error.kind(), expected, "{name}");
            let source =
                std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.and_then(io::Error::raw_os_error), Some(errno), "{name}: the cause is kept");
        };
        let full = [(Errno::NOSPC, "ENOSPC"), (Errno::DQUOT, "EDQUOT")];
        let others = [
            (Errno::PERM, "EPERM"),
            (Errno::NOENT, "ENOENT"),
            (Errno::IO, "EIO"),
            (Errno::NXIO, "ENXIO"),
            (Errno::BADF, "EBADF"),
            (Errno::AGAIN, "EAGAIN"),
            (Errno::NOMEM, "ENOMEM"),
            (Errno::ACCESS, "EACCES"),
            (Errno::BUSY, "EBUSY"),
            (Errno::NODEV, "ENODEV"),
            (Errno::NOTDIR, "ENOTDIR"),
            (Errno::ISDIR, "EISDIR"),
            (Errno::INVAL, "EINVAL"),
            (Errno::NFILE, "ENFILE"),
            (Errno::MFILE, "EMFILE"),
            (Errno::FBIG, "EFBIG"),
            (Errno::ROFS, "EROFS"),
            (Errno::LOOP, "ELOOP"),
            (Errno::NAMETOOLONG, "ENAMETOOLONG"),
            (Errno::STALE, "ESTALE"),
            (Errno::NOLCK, "ENOLCK"),
            (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        ];
        full.iter().for_each(|(errno, name)| check(errno.raw_os_error(), name, ErrorKind::Full));
        others.iter().for_each(|(errno, name)| check(errno.raw_os_error(), name, ErrorKind::Io));
    }
}
