//! Writing to a descriptor whose reader may be slow, also where somebody made it non-blocking.
//!
//! Whoever shares a pipe or a terminal with us (Node, an ssh client, a shell of some language) can make it non-blocking
//! for all. A write then fails with `WouldBlock` where it would have waited, after a part of the bytes, and the library's
//! `write_all` ends there. Everything that goes to standard output goes through here.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};

use crate::input::wait;

/// What a pipe takes without blocking once it is writable, and takes whole or not at all (POSIX: `PIPE_BUF`).
pub(crate) const PIPE_BYTES: usize = 4_096;

/// A writer that waits as long as it takes. Errors other than having to wait are errors: a descriptor that is not open
/// for writing is one too, which the library's standard output passes over.
#[derive(Debug)]
pub(crate) struct Patient<F> {
    to: F,
}

impl Patient<OwnedFd> {
    /// Standard output, unbuffered.
    pub(crate) fn stdout() -> io::Result<Patient<OwnedFd>> {
        Ok(Patient { to: io::stdout().as_fd().try_clone_to_owned()? })
    }
}

impl<F: AsFd> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match write(&self.to, bytes) {
                Err(Errno::AGAIN) => wait_for_room(&self.to)?,
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until the descriptor takes bytes, or an error of its own, which the next write tells.
fn wait_for_room(to: &impl AsFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(to, PollFlags::OUT)], None) {
        Err(Errno::INTR) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How a write came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// All bytes were taken.
    All,
    /// Nobody wanted to wait any longer.
    GaveUp,
    Failed(io::Error),
}

/// Writes `bytes`, and says how many of them were taken, and why not more.
///
/// Never blocks for long: about twenty times a second while the reader makes no room, and after each signal, `go_on` is
/// asked with the number of bytes taken so far. So signals are heard, whose handlers do not interrupt a blocking write.
pub(crate) fn write_while(to: impl AsFd, bytes: &[u8], mut go_on: impl FnMut(usize) -> bool) -> (usize, End) {
    let mut taken = 0;
    while taken < bytes.len() {
        let rest = bytes.get(taken..).unwrap_or_default();
        match write_some(&to, rest.get(..PIPE_BYTES).unwrap_or(rest)) {
            Ok(0) if !go_on(taken) => return (taken, End::GaveUp),
            Ok(count) => taken += count,
            Err(error) => return (taken, End::Failed(error)),
        }
    }
    (taken, End::All)
}

/// Writes what is taken within a moment; 0 where there was no room.
fn write_some(to: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    if !wait(to.as_fd(), PollFlags::OUT)? {
        return Ok(0);
    }
    match write(to, bytes) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    const MUCH: usize = 1_128_895;

    fn pipe(flags: OFlags) -> (io::PipeReader, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, flags).unwrap();
        (reader, writer)
    }

    #[test]
    fn a_non_blocking_pipe_gets_every_byte() {
        for flags in [OFlags::NONBLOCK, OFlags::empty()] {
            for patient in [true, false] {
                let (mut reader, writer) = pipe(flags);
                let bytes: Vec<u8> = (0..MUCH).map(|number| (number % 251) as u8).collect();
                let sent = bytes.clone();
                let filled = AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let writer = writer;
                        if patient {
                            Patient { to: &writer }.write_all(&sent).unwrap();
                        } else {
                            // Reads only once the writer had to wait.
                            let ended = write_while(&writer, &sent, |taken| {
                                assert!(taken < MUCH);
                                filled.store(true, Ordering::SeqCst);
                                true
                            });
                            assert!(matches!(ended, (MUCH, End::All)));
                        }
                    });
                    while !patient && !filled.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).unwrap();
                    assert!(all == bytes);
                });
            }
        }
    }

    #[test]
    fn whoever_does_not_want_to_wait_is_told_how_many_bytes_were_taken() {
        for flags in [OFlags::NONBLOCK, OFlags::empty()] {
            let (mut reader, writer) = pipe(flags);
            let (taken, end) = write_while(&writer, &vec![7; MUCH], |_| false);
            assert!(matches!(end, End::GaveUp) && taken > 0 && taken < MUCH, "{taken}");
            drop(writer);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), taken);
        }
    }

    #[test]
    fn errors_are_errors() {
        let (reader, writer) = pipe(OFlags::NONBLOCK);
        drop(reader);
        assert_eq!(Patient { to: &writer }.write(b"a").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(matches!(write_while(&writer, b"a", |_| true), (0, End::Failed(_))));
        let read_only = std::fs::File::open("/dev/null").unwrap();
        assert!(Patient { to: &read_only }.write(b"a").is_err());
        assert!(matches!(write_while(&read_only, b"a", |_| true), (0, End::Failed(_))));
    }
}
