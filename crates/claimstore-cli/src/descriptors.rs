//! What the caller did with the standard descriptors.
//!
//! A closed one cannot be told directly: before `main`, Rust puts `/dev/null`, opened for reading and writing, in its
//! place, so that no file of ours gets its number. `> /dev/null` and `< /dev/null` of a shell open it for one of the
//! two. So `/dev/null` opened for both counts as closed: records would vanish there and be remembered as passed on, and
//! an input would seem to be over before it began.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit::{Exit, Failure};

/// Whether this descriptor was closed when the process began, as far as that can be told.
pub(crate) fn was_closed(descriptor: impl AsFd) -> bool {
    let (Ok(flags), Ok(is), Ok(null)) = (fcntl_getfl(&descriptor), fstat(&descriptor), stat("/dev/null"))
    else {
        return false;
    };
    flags & OFlags::RWMODE == OFlags::RDWR && is.st_rdev == null.st_rdev && is.st_mode == null.st_mode
}

/// Refuses to write records to where nobody is: the caller closed standard output (`>&-`).
pub(crate) fn check_output() -> Result<(), Failure> {
    if !was_closed(io::stdout()) {
        return Ok(());
    }
    let message = "standard output is closed (or /dev/null opened for reading and writing), and records would be lost: \
                   give it a file or a pipe, or say `> /dev/null` to discard them";
    Err(Failure::new(Exit::Usage, message))
}

/// Refuses to take a closed standard input (`<&-`) for an empty one.
pub(crate) fn check_input() -> Result<(), Failure> {
    if !was_closed(io::stdin()) {
        return Ok(());
    }
    let message = "standard input is closed (or /dev/null opened for reading and writing): give it a file or a pipe, or say \
                   `< /dev/null` for an empty input";
    Err(Failure::new(Exit::Usage, message))
}

/// From here on this process may have as many descriptors as it is allowed at the most. What it has started keeps its limit:
/// programs that use `select` rely on it.
pub(crate) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    // An error: it stays as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_the_null_device_opened_for_both_counts_as_closed() {
        let open = |path: &str, read, write| File::options().read(read).write(write).open(path).unwrap();
        assert!(was_closed(open("/dev/null", true, true)));
        assert!(!was_closed(open("/dev/null", true, false)));
        assert!(!was_closed(open("/dev/null", false, true)));
        assert!(!was_closed(open("/dev/zero", true, true)));
        assert!(!was_closed(tempfile::tempfile().unwrap()));
        assert!(!was_closed(io::pipe().unwrap().1));
    }
}
