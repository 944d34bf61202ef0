use super::{Error, ErrorKind, FileFault, http_status};
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

#[test]
fn a_file_and_an_offset_go_from_the_operating_system_up_to_whoever_is_told() {
    let raw = || io::Error::from_raw_os_error(Errno::IO.raw_os_error());
    let fault = FileFault::wrap("journal/1.seg", Some(512), raw());
    assert_eq!(fault.to_string(), format!("journal/1.seg at byte 512: {}", raw()));
    assert_eq!(FileFault::os_error(&fault), raw().raw_os_error());
    // The first name stays, and a copy has all of it.
    let copy = FileFault::copy_of(&FileFault::wrap("other", None, fault));
    let error = Error::with_source(ErrorKind::Indeterminate, "it failed", Error::io("inner", copy));
    for error in [&error, &error.again()] {
        assert_eq!((error.file(), error.offset()), (Some("journal/1.seg"), Some(512)));
        assert_eq!(error.to_string(), "it failed: journal/1.seg at byte 512");
        assert!(std::error::Error::source(error).is_some());
    }
    // Behind it is what the operating system said, not the wrapper.
    let inner = std::error::Error::source(&error).and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
    let cause = std::error::Error::source(inner).and_then(|cause| cause.downcast_ref::<io::Error>());
    assert_eq!(cause.and_then(io::Error::raw_os_error), raw().raw_os_error());
    let copied = FileFault::copy_of(&io::Error::other("a text"));
    assert_eq!((copied.kind(), copied.to_string()), (io::ErrorKind::Other, "a text".to_owned()));
}

#[test]
fn what_is_named_first_stays_and_the_owner_of_a_directory_is_told() {
    let damage = Error::corrupt("it is wrong").in_file("runs/7.run", Some(8)).in_file("runs/8.run", None);
    assert_eq!(damage.to_string(), "it is wrong: runs/7.run at byte 8");
    let open = Error::new(ErrorKind::AlreadyOpen, "open").owned_by("/srv/store", Some(41));
    assert_eq!((open.file(), open.owner_process()), (Some("/srv/store"), Some(41)));
    assert_eq!(open.to_string(), "open: /srv/store by process 41");
    assert_eq!(Error::new(ErrorKind::Closed, "closed").to_string(), "closed");
}
