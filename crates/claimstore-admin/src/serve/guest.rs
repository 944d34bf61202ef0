//! One connection: its partial request, its phase, and its deadline.
//!
//! Nothing here blocks. A slow connection occupies its place until its deadline, and has no other effect: the serving
//! thread goes on with the other connections.

use crate::answer::Export;
use crate::serve::bounds::Bounds;
use crate::serve::peer::Peer;
use crate::wire::Answer;
use rustix::event::PollFlags;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

/// Bytes of one read.
const PIECE_BYTES: usize = 64 << 10;

/// The connection of a guest.
pub(crate) type GuestId = u64;

/// A connection.
pub(crate) struct Guest {
    pub(crate) id: GuestId,
    pub(crate) stream: UnixStream,
    pub(crate) peer: Option<Peer>,
    /// Received bytes of the next request, and of further requests that were sent ahead.
    received: Vec<u8>,
    phase: Phase,
    /// The end of the time for the request, the answer or the silence. For a request it counts from the first byte
    /// and is not extended by later ones, so that a client cannot occupy a place by sending slowly.
    deadline_ms: u64,
    pub(crate) export: Option<Paced>,
}

/// An export, its begin, and the bytes sent since then.
pub(crate) struct Paced {
    pub(crate) export: Export,
    pub(crate) begun_ms: u64,
    pub(crate) bytes: u64,
}

enum Phase {
    /// Waits for the rest of a request.
    Listening,
    /// Waits for a job.
    Waiting,
    /// Waits until the client has read the rest of an answer.
    Answering { line: Vec<u8>, written: usize, is_last: bool },
}

/// The result of serving a connection once.
pub(crate) enum Turn {
    /// Nothing yet.
    Goes,
    /// A whole request.
    Asked(Vec<u8>),
    /// A request that is longer than it may be.
    TooLong,
    /// It is over.
    Gone,
}

impl Guest {
    pub(crate) fn new(
        id: GuestId,
        stream: UnixStream,
        peer: Option<Peer>,
        now_ms: u64,
        bounds: &Bounds,
    ) -> Guest {
        let deadline_ms = now_ms + bounds.idle_ms;
        Guest { id, stream, peer, received: Vec::new(), phase: Phase::Listening, deadline_ms, export: None }
    }

    /// The events to poll its socket for. None while a job runs: a socket that was hung up would wake the thread over
    /// and over.
    pub(crate) fn watches(&self) -> Option<PollFlags> {
        match self.phase {
            Phase::Listening => Some(PollFlags::IN),
            Phase::Answering { .. } => Some(PollFlags::OUT),
            Phase::Waiting => None,
        }
    }

    /// Its deadline. There is none during a job, whose duration depends on the store.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        (!matches!(self.phase, Phase::Waiting)).then_some(self.deadline_ms)
    }

    /// Whether a complete request is buffered already: the socket will not become readable for it again.
    pub(crate) fn has_request(&self) -> bool {
        matches!(self.phase, Phase::Listening) && self.received.contains(&b'\n')
    }

    /// Reads or writes as much as possible without blocking.
    pub(crate) fn go_on(&mut self, now_ms: u64, bounds: &Bounds, most_bytes: usize) -> Turn {
        match self.phase {
            Phase::Waiting => Turn::Goes,
            Phase::Answering { .. } => self.send(now_ms, bounds),
            Phase::Listening => self.hear(now_ms, bounds, most_bytes),
        }
    }

    fn hear(&mut self, now_ms: u64, bounds: &Bounds, most_bytes: usize) -> Turn {
        if let Some(line) = self.take_line() {
            return Turn::Asked(line);
        }
        let mut buffer = vec![0; PIECE_BYTES];
        let count = match (&self.stream).read(&mut buffer) {
            Ok(0) => return Turn::Gone,
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Turn::Goes,
            Err(_) => return Turn::Gone,
        };
        if self.received.is_empty() {
            self.deadline_ms = now_ms + bounds.transfer_ms;
        }
        self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        match self.take_line() {
            Some(line) if line.len() > most_bytes => Turn::TooLong,
            Some(line) => Turn::Asked(line),
            None if self.received.len() >= most_bytes => Turn::TooLong,
            None => Turn::Goes,
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.received.iter().position(|byte| *byte == b'\n')?;
        let rest = self.received.split_off(end + 1);
        Some(std::mem::replace(&mut self.received, rest))
    }

    /// It waits for a job.
    pub(crate) fn wait(&mut self) {
        self.phase = Phase::Waiting;
    }

    /// Begins to send an answer. With `is_last` the connection ends after it.
    pub(crate) fn answer(&mut self, answer: &Answer, is_last: bool, now_ms: u64, bounds: &Bounds) -> Turn {
        let Ok(mut line) = serde_json::to_vec(answer) else { return Turn::Gone };
        line.push(b'\n');
        if let Some(paced) = &mut self.export {
            paced.bytes += line.len() as u64;
        }
        self.phase = Phase::Answering { line, written: 0, is_last };
        self.deadline_ms = now_ms + bounds.transfer_ms;
        self.send(now_ms, bounds)
    }

    fn send(&mut self, now_ms: u64, bounds: &Bounds) -> Turn {
        let Phase::Answering { line, written, is_last } = &mut self.phase else { return Turn::Goes };
        while let Some(rest) = line.get(*written..).filter(|rest| !rest.is_empty()) {
            match (&self.stream).write(rest) {
                Ok(0) => return Turn::Gone,
                Ok(count) => *written += count,
                Err(error) if is_passing(&error) => return Turn::Goes,
                Err(_) => return Turn::Gone,
            }
        }
        if *is_last {
            return Turn::Gone;
        }
        self.phase = Phase::Listening;
        // Bytes that were sent ahead belong to a request that has begun.
        let time_ms = if self.received.is_empty() { bounds.idle_ms } else { bounds.transfer_ms };
        self.deadline_ms = now_ms + time_ms;
        Turn::Goes
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
