//! Output on its way: read from the command, its beginning kept for the record, written to our own standard output or
//! error. Neither end holds up the other for longer than it must: the command waits for a slow reader while it runs,
//! its record does not.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};

use super::machine::Delivery;
use super::outcome::Stream;
use crate::planted;

const READ_BYTES: usize = 16 << 10;
/// So many bytes may wait for our reader before the command has to.
const WAITING_BYTES: usize = 64 << 10;
/// What a pipe takes without blocking once it is writable (POSIX: `PIPE_BUF`).
const PIECE_BYTES: usize = 4_096;
/// How often a pump whose command has ended looks whether it is to stop, in nanoseconds.
const LOOK_NS: i64 = 100_000_000;

/// So often a brief wait looks for room.
const BRIEF_LOOKS: u32 = 5;

/// How long pumps go on that have nothing to record any more.
#[derive(Debug, Default)]
pub(super) struct Patience(AtomicU8);

impl Patience {
    const READING_IS_OVER: u8 = 1;
    const OVER: u8 = 2;

    /// What others still write is not waited for.
    pub(super) fn stop_reading(&self) {
        self.0.fetch_max(Patience::READING_IS_OVER, Ordering::SeqCst);
    }

    /// Nor is a reader.
    pub(super) fn stop(&self) {
        self.0.fetch_max(Patience::OVER, Ordering::SeqCst);
    }

    fn reads(&self) -> bool {
        self.0.load(Ordering::SeqCst) < Patience::READING_IS_OVER
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Patience::OVER
    }
}

/// Writes where others may have made the descriptor non-blocking, and says what became of all bytes.
#[derive(Debug)]
struct Writer<'a> {
    to: BorrowedFd<'a>,
    waiting: VecDeque<u8>,
    ended: Option<io::Result<()>>,
}

impl Writer<'_> {
    fn push(&mut self, bytes: &[u8]) {
        if self.ended.is_none() {
            self.waiting.extend(bytes);
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes a piece, to a descriptor that is ready for it.
    fn write(&mut self) {
        let (waiting, _) = self.waiting.as_slices();
        let piece = waiting.get(..PIECE_BYTES).unwrap_or(waiting);
        match rustix::io::write(self.to, piece) {
            Ok(count) => drop(self.waiting.drain(..count)),
            // Somebody else was quicker to use the room that there was.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::PIPE) => self.end(Ok(())),
            Err(error) => self.end(Err(error.into())),
        }
    }

    /// `Ok`: nobody reads any more.
    fn end(&mut self, how: io::Result<()>) {
        self.ended = Some(how);
        self.waiting = VecDeque::new();
    }

    fn delivery(self) -> (Delivery, Option<io::Error>) {
        match self.ended {
            Some(Err(error)) => (Delivery::Failed, Some(error)),
            Some(Ok(())) => (Delivery::ReaderGone, None),
            None if self.waiting.is_empty() => (Delivery::Whole, None),
            None => (Delivery::Left, None),
        }
    }
}

/// Writes bytes out, for as long as there is patience.
pub(super) fn write_out(
    bytes: &[u8],
    to: BorrowedFd<'_>,
    patience: &Patience,
) -> (Delivery, Option<io::Error>) {
    let mut writer = Writer { to, waiting: bytes.to_vec().into(), ended: None };
    while !writer.is_idle() {
        let is_over = patience.is_over();
        if wait(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], Some(if is_over { 0 } else { LOOK_NS }))
        {
            writer.write();
        } else if is_over {
            break;
        }
    }
    writer.delivery()
}

/// Writes bytes out if there is room for them soon.
pub(super) fn write_briefly(bytes: &[u8], to: BorrowedFd<'_>) {
    let mut writer = Writer { to, waiting: bytes.to_vec().into(), ended: None };
    let mut looks = BRIEF_LOOKS;
    while !writer.is_idle() && looks > 0 {
        if wait(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], Some(LOOK_NS)) {
            writer.write();
        } else {
            looks -= 1;
        }
    }
}

/// One stream of the command.
pub(super) struct Pump<'a, F> {
    /// Gone when it is at its end.
    from: Option<F>,
    writer: Writer<'a>,
    limit: usize,
    /// What is recorded, until it is given out.
    stream: Option<Stream>,
    /// Bytes that were there when the record was asked for, and belong to it. `None` before.
    owed: Option<u64>,
}

impl<'a, F: Read + AsFd> Pump<'a, F> {
    pub(super) fn new(from: Option<F>, to: BorrowedFd<'a>, limit: usize) -> Pump<'a, F> {
        let writer = Writer { to, waiting: VecDeque::new(), ended: None };
        Pump { from, writer, limit, stream: Some(Stream::default()), owed: None }
    }

    /// Passes everything on. `record` is called once with what is to be recorded, and whether more may come: at the end
    /// of the stream, or when `bell` is hung up.
    pub(super) fn run(
        mut self,
        bell: BorrowedFd<'_>,
        patience: &Patience,
        record: impl Fn(Stream, bool),
    ) -> (Delivery, Option<io::Error>) {
        loop {
            if (self.from.is_none() || self.owed == Some(0))
                && let Some(stream) = self.stream.take()
            {
                record(stream, self.from.is_some());
            }
            let is_recorded = self.stream.is_none();
            if is_recorded && !patience.reads() {
                self.from = None;
            }
            let is_over = is_recorded && patience.is_over();
            if self.from.is_none() && self.writer.is_idle() || !self.turn(bell, is_over) && is_over {
                return self.writer.delivery();
            }
        }
    }

    /// Waits for what can be done, and does it. False: nothing could be.
    fn turn(&mut self, bell: BorrowedFd<'_>, is_over: bool) -> bool {
        let listens = self.stream.is_some() && self.owed.is_none();
        let from = self.from.as_ref().filter(|_| self.owes() || self.writer.waiting.len() < WAITING_BYTES);
        let (reads, writes) = (from.is_some(), !self.writer.is_idle());
        let mut ends = Vec::with_capacity(3);
        ends.extend(listens.then(|| PollFd::from_borrowed_fd(bell, PollFlags::IN)));
        ends.extend(from.map(|from| PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)));
        ends.extend(writes.then(|| PollFd::from_borrowed_fd(self.writer.to, PollFlags::OUT)));
        let timeout_ns = if is_over { Some(0) } else { (!listens).then_some(LOOK_NS) };
        let any = wait(&mut ends, timeout_ns);
        let answers: Vec<bool> = ends.iter().map(|end| !end.revents().is_empty()).collect();
        let mut answers = answers.into_iter();
        let mut is_ready = |asked: bool| asked && answers.next() == Some(true);
        let (is_rung, is_readable, is_writable) = (is_ready(listens), is_ready(reads), is_ready(writes));
        if is_rung {
            let there = self.from.as_ref().map(ioctl_fionread);
            self.owed = Some(there.and_then(Result::ok).unwrap_or(0));
            if planted::active(44) {
                self.owed = Some(0);
            }
        }
        if is_readable {
            self.read();
        }
        if is_writable {
            self.writer.write();
        }
        any
    }

    fn owes(&self) -> bool {
        self.owed.is_some_and(|owed| owed > 0)
    }

    fn read(&mut self) {
        let mut buffer = [0; READ_BYTES];
        match self.from.as_mut().map(|from| from.read(&mut buffer)) {
            Some(Ok(count)) if count > 0 => {
                let bytes = buffer.get(..count).unwrap_or_default();
                if let Some(stream) = &mut self.stream {
                    stream.note(bytes, self.limit);
                }
                self.owed = self.owed.map(|owed| owed.saturating_sub(count as u64));
                self.writer.push(bytes);
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.from = None,
        }
    }
}

fn wait(ends: &mut [PollFd<'_>], timeout_ns: Option<i64>) -> bool {
    let timeout = timeout_ns.map(|tv_nsec| Timespec { tv_sec: 0, tv_nsec });
    // An error counts as ready: the read or write that follows tells it.
    match poll(ends, timeout.as_ref()) {
        Ok(ready) => ready > 0,
        Err(Errno::INTR) => false,
        Err(_) => true,
    }
}
