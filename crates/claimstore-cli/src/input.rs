//! Standard input that can be asked to stop while nothing arrives.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::descriptors;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;

/// How long a silent input is waited for before the batch in hand is passed on, in nanoseconds.
const PAUSE_NS: i64 = 50_000_000;

/// Reads what is there. `WouldBlock` means: nothing came for a while, or a signal did; look, and come back.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    signals: Signals,
}

impl Input {
    /// The standard input of the process, unbuffered.
    pub(crate) fn standard(signals: Signals) -> io::Result<Input> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Input { file, signals })
    }

    /// A file, or standard input.
    pub(crate) fn open(path: Option<&Path>, signals: Signals) -> anyhow::Result<Input> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            descriptors::check_input()?;
            return Input::standard(signals).context("opening standard input");
        };
        let no_input = |reason: String| Failure::new(Exit::NoInput, format!("{}: {reason}", path.display()));
        let file = File::open(path).map_err(|error| no_input(error.to_string()))?;
        if file.metadata().is_ok_and(|data| data.is_dir()) {
            return Err(no_input("is a directory".into()).into());
        }
        Ok(Input { file, signals })
    }

    /// Whether this is the same regular file: written to while it is read, it would never end.
    pub(crate) fn is_file(&self, other: &File) -> bool {
        match (self.file.metadata(), other.metadata()) {
            (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
            _ => false,
        }
    }

    /// How many bytes a regular file holds; unknown for anything else.
    pub(crate) fn size_bytes(&self) -> Option<u64> {
        self.file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len())
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.signals.caught().is_some() || !wait(self.file.as_fd(), PollFlags::IN)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.file.read(buffer) {
            // Somebody else took it between the two, or made the descriptor non-blocking: both are pauses.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(io::ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

/// Waits a moment until `fd` is ready; false when it is not. An error of the descriptor counts as ready: the read
/// or write that follows tells it.
pub(crate) fn wait(fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<bool> {
    let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE_NS };
    match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&pause)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
