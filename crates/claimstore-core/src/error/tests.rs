use super::{Error, ErrorKind, http_status};
use rustix::io::Errno;
use std::io;

/// What the operating system says, and what a caller is told: whether room must be made, or something else.
#[test]
fn a_full_disk_and_a_full_quota_are_told_apart_from_everything_else() {
    let check = |errno: i32, name: &str, expected: ErrorKind| {
        let error = Error::io("it failed", io::Error::from_raw_os_error(errno));
        assert_eq!(error.kind(), expected, "{name}");
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
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

/// The whole table. A client goes by these numbers, so none may change.
#[test]
fn every_kind_has_its_http_status() {
    let table: [(u16, &[ErrorKind]); 7] = [
        (400, &[ErrorKind::FutureKey, ErrorKind::InvalidKey, ErrorKind::InvalidToken, ErrorKind::Misuse]),
        (409, &[ErrorKind::Parked, ErrorKind::StaleLease]),
        (412, &[ErrorKind::TooOld]),
        (413, &[ErrorKind::TooLarge]),
        (422, &[ErrorKind::PayloadMismatch]),
        (
            503,
            &[
                ErrorKind::Overloaded,
                ErrorKind::Full,
                ErrorKind::AlreadyOpen,
                ErrorKind::Closed,
                ErrorKind::Poisoned,
            ],
        ),
        (
            500,
            &[
                ErrorKind::Indeterminate,
                ErrorKind::Corrupt,
                ErrorKind::TooNew,
                ErrorKind::Io,
                ErrorKind::Caller,
            ],
        ),
    ];
    for (status, kinds) in table {
        kinds.iter().for_each(|kind| assert_eq!(http_status(*kind), status, "{kind:?}"));
    }
}
