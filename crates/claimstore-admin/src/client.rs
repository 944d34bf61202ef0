//! The asking side.

use crate::socket;
use crate::wire::{Answer, Refusal, Request};
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest answer believed, in bytes: some times what a page holds.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// How long an answer may take: a count of every record of a large store takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to the program that has the store open.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// The program refused.
    Refused(Refusal),
    /// The connection failed, or what came is no answer.
    Lost(io::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Refused(refusal) => refusal.fmt(f),
            AskError::Lost(_) => f.write_str("the program that has the store open gave no answer"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AskError::Refused(_) => None,
            AskError::Lost(error) => Some(error),
        }
    }
}

impl Client {
    /// Connects to whoever serves the store in `dir`.
    ///
    /// # Errors
    ///
    /// `NotFound` or `ConnectionRefused` when nobody does; `PermissionDenied` for somebody else's store.
    pub fn connect(dir: impl AsRef<Path>) -> io::Result<Client> {
        let stream = socket::connect(dir.as_ref())?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer, up to two minutes for each piece of it; for a backup and other upkeep as long as
    /// it takes. A refusal is [`AskError::Refused`], never an [`Answer::Refused`].
    pub fn ask(&mut self, request: &Request) -> Result<Answer, AskError> {
        let line = request.to_line().map_err(|error| AskError::Lost(error.into()))?;
        let patience = (!request.is_upkeep()).then_some(PATIENCE);
        self.stream.get_ref().set_read_timeout(patience).map_err(AskError::Lost)?;
        let sent = self.stream.get_mut().write_all(&line);
        // Who is turned away is told why before the connection ends; the request may have come too late for it.
        if let Err(error) = sent
            && self.stream.fill_buf().map_or(true, <[u8]>::is_empty)
        {
            return Err(AskError::Lost(error));
        }
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MAX_ANSWER_BYTES).read_until(b'\n', &mut line);
        read.map_err(AskError::Lost)?;
        if line.last() != Some(&b'\n') {
            return Err(AskError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Refused(refusal)) => Err(AskError::Refused(refusal)),
            Ok(answer) => Ok(answer),
            // The error of the parser could quote what it read.
            Err(_) => Err(AskError::Lost(io::ErrorKind::InvalidData.into())),
        }
    }
}
