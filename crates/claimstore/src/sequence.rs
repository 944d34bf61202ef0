//! Streams of positions: [`Sequence`], [`PositionClaim`], [`PositionLease`].

use crate::claim::Holder;
use crate::engine::Engine;
use crate::engine::commit::Waits;
use crate::engine::positions::WINDOW;
use crate::engine::sequences::{PositionAnswer, SEQUENCES, Stream};
use crate::error::{Error, ErrorKind};
use crate::options::{MAX_LEASE, millis};
use crate::queued::CommitFuture;
use crate::sync::{Arc, Weak};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The positions of one stream: an offset of a partition, a sequence number of a producer, a place in a log.
///
/// One durable value for the whole stream in the place of a key for each message: the *watermark*, below which
/// everything is done, and which of the next 1,024 positions are done already. It does not expire.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// use claimstore::{PositionClaim, Store};
///
/// let store = Store::in_memory()?;
/// let partition = store.sequence("orders/3")?;
/// for position in [0, 2, 0, 1] {
///     match partition.claim(position)? {
///         PositionClaim::Claimed(lease) => lease.complete()?, // the work comes before this line
///         PositionClaim::Duplicate => assert_eq!(position, 0, "delivered again"),
///         PositionClaim::InProgress(holder) => println!("ask again in {:?}", holder.retry_after()),
///     }
/// }
/// assert_eq!(partition.next()?, 3);
/// # store.close() }
/// ```
///
/// | the position is | [`claim`](Sequence::claim) returns |
/// |---|---|
/// | below the watermark, or done within the window | `Duplicate` |
/// | being worked on, lease running | `InProgress` |
/// | the same, lease lapsed | `Claimed`, with a higher token |
/// | not done, up to 1,023 above the lowest that is not | `Claimed` |
/// | further ahead | error [`ErrorKind::Overloaded`]: retry when the gap is filled, or [`skip_to`](Sequence::skip_to) |
///
/// Positions begin at 0; a stream that begins elsewhere is told by [`skip_to`](Sequence::skip_to). Where positions
/// are not numbered without gaps, as in the log of a database, and are worked on in their order, take
/// [`claim_up_to`](Sequence::claim_up_to).
///
/// # Durability
///
/// A completion is durable before it is acknowledged. A claim of a position is in memory only: it ends with the
/// process, and then every position that is not done may be claimed at once. There are no attempts, no responses and
/// no fingerprints; if you need those, give the message a key.
///
/// Handles of one stream are one. Like a lease, a handle does not keep the store open.
#[derive(Clone)]
pub struct Sequence {
    engine: Weak<Engine>,
    stream: Arc<Stream>,
    lease_ms: u64,
}

/// The answer to a claim of a position.
#[derive(Debug)]
#[must_use = "an answer that is not looked at is work done twice or never"]
pub enum PositionClaim {
    /// It is yours to do. Complete the lease when it is done.
    Claimed(PositionLease),
    /// It has been done.
    Duplicate,
    /// Somebody is on it.
    InProgress(Holder),
}

impl PositionClaim {
    /// The lease, if the claim was granted.
    pub fn claimed(self) -> Option<PositionLease> {
        match self {
            PositionClaim::Claimed(lease) => Some(lease),
            PositionClaim::Duplicate | PositionClaim::InProgress(_) => None,
        }
    }
}

/// A granted position. Dropping it gives the position back: it may be claimed again at once.
#[must_use = "a lease that is dropped at once gives the position back"]
pub struct PositionLease {
    engine: Weak<Engine>,
    stream: Arc<Stream>,
    position: u64,
    token: u64,
    armed: bool,
}

/// A completion that was refused. It changed nothing, unless its kind is [`ErrorKind::Indeterminate`].
///
/// It holds the lease, so that finished work is not taken for abandoned: dropping the error, or turning it into an
/// [`Error`] with `?`, leaves the position to its term.
#[derive(Debug)]
pub struct PositionError {
    error: Error,
    /// Disarmed while it is in here.
    lease: Option<PositionLease>,
}

impl Sequence {
    /// How many positions, from the lowest that is not done, can be done out of order.
    pub const WINDOW: u64 = WINDOW;

    pub(crate) fn new(engine: &Arc<Engine>, stream: Arc<Stream>) -> Sequence {
        Sequence { engine: Arc::downgrade(engine), stream, lease_ms: 60_000 }
    }

    /// How long the holder of a position is trusted, for claims of this handle: 1 ms to 366 days. Default: 60 s.
    pub fn lease(mut self, lease: Duration) -> Result<Sequence, Error> {
        if lease.as_millis() == 0 || lease > MAX_LEASE {
            return Err(Error::new(ErrorKind::Misuse, "a lease must lie between 1 ms and 366 days"));
        }
        self.lease_ms = millis(lease);
        Ok(self)
    }

    /// Claims one position.
    ///
    /// Errors: [`ErrorKind::Overloaded`] beyond the window; [`ErrorKind::Misuse`] for 2^64 - 1.
    pub fn claim(&self, position: u64) -> Result<PositionClaim, Error> {
        self.ask(position, false)
    }

    /// Claims everything up to a position, for streams that are processed in order:
    /// [`complete`](PositionLease::complete) moves the watermark past it, whatever numbers are in between. In
    /// progress while the same or an earlier position, or another range like this, is held.
    pub fn claim_up_to(&self, position: u64) -> Result<PositionClaim, Error> {
        self.ask(position, true)
    }

    fn ask(&self, position: u64, up_to: bool) -> Result<PositionClaim, Error> {
        let engine = upgraded(&self.engine)?;
        let (batch, answer) = engine.claim_position(&self.stream, position, up_to, self.lease_ms)?;
        engine.wait(batch)?;
        Ok(self.told(position, answer))
    }

    fn ask_async(&self, position: u64, up_to: bool) -> CommitFuture<PositionClaim> {
        let engine = upgraded(&self.engine);
        let begun = upgraded(&self.engine).and_then(|engine| {
            let (batch, answer) = engine.claim_position(&self.stream, position, up_to, self.lease_ms)?;
            Ok((batch, self.told(position, answer)))
        });
        CommitFuture::new(engine, begun)
    }

    fn told(&self, position: u64, answer: PositionAnswer) -> PositionClaim {
        match answer {
            PositionAnswer::Duplicate => PositionClaim::Duplicate,
            PositionAnswer::InProgress { retry_after_ms, since_ms } => {
                PositionClaim::InProgress(Holder::new(retry_after_ms, since_ms, 1))
            }
            PositionAnswer::Claimed { token } => PositionClaim::Claimed(PositionLease {
                engine: self.engine.clone(),
                stream: self.stream.clone(),
                position,
                token,
                armed: true,
            }),
        }
    }

    /// Like [`claim`](Sequence::claim), as a future. Dropping it gives a granted position back.
    pub fn claim_async(&self, position: u64) -> CommitFuture<PositionClaim> {
        self.ask_async(position, false)
    }

    /// Like [`claim_up_to`](Sequence::claim_up_to), as a future. Dropping it gives a granted position back.
    pub fn claim_up_to_async(&self, position: u64) -> CommitFuture<PositionClaim> {
        self.ask_async(position, true)
    }

    /// Says that nothing below `next` will be worked on any more: the stream begins there, or the gaps below will
    /// never be filled. Durable when it returns `Ok`. A `next` at or below the watermark changes nothing.
    ///
    /// Errors: [`ErrorKind::Misuse`] while a position below is being worked on.
    pub fn skip_to(&self, next: u64) -> Result<(), Error> {
        let engine = upgraded(&self.engine)?;
        let batch = engine.skip_positions(&self.stream, next, Waits::Here)?;
        engine.wait(batch)
    }

    /// Like [`skip_to`](Sequence::skip_to), as a future. Dropping the future does not stop it.
    pub fn skip_to_async(&self, next: u64) -> CommitFuture<()> {
        let begun = upgraded(&self.engine)
            .and_then(|engine| engine.skip_positions(&self.stream, next, Waits::Elsewhere));
        CommitFuture::new(upgraded(&self.engine), begun.map(|batch| (batch, ())))
    }

    /// The lowest position that is not done; everything below is. Where to go on reading after a restart.
    pub fn next(&self) -> Result<u64, Error> {
        Ok(upgraded(&self.engine)?.positions(&self.stream)?.next())
    }

    /// Positions that are not done though a later one is, lowest first: lost, late, or being worked on.
    pub fn gaps(&self) -> Result<Vec<RangeInclusive<u64>>, Error> {
        Ok(upgraded(&self.engine)?.positions(&self.stream)?.gaps())
    }
}

impl PositionLease {
    /// The position; of [`Sequence::claim_up_to`], the last.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The fencing token: higher than every token given before, by this store, ever.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// A key for one step of the work, the same every time this position is worked on: what to give a downstream
    /// API as its idempotency key.
    pub fn child_key(&self, step: &str) -> [u8; 32] {
        claimstore_hash::child_key(SEQUENCES, &self.child_base(), step)
    }

    /// [`child_key`](PositionLease::child_key) in 64 lower-case hex digits, for an idempotency header.
    pub fn child_key_hex(&self, step: &str) -> String {
        claimstore_hash::child_key_hex(SEQUENCES, &self.child_base(), step)
    }

    /// The position and the stream, as one key.
    fn child_base(&self) -> Vec<u8> {
        [&self.position.to_be_bytes(), &*self.stream.name].concat()
    }

    /// The work is done. When this returns `Ok`, it stays done, whatever crashes.
    ///
    /// A refusal changed nothing and returns the lease, except for [`ErrorKind::StaleLease`] (the lease lapsed and
    /// the position was taken over, or it was skipped) and [`ErrorKind::Indeterminate`].
    pub fn complete(mut self) -> Result<(), PositionError> {
        let completed = upgraded(&self.engine).and_then(|engine| {
            let batch = engine.complete_position(&self.stream, self.position, self.token, Waits::Here)?;
            engine.wait(batch)
        });
        self.armed = false;
        completed.map_err(|error| {
            let worthless = matches!(error.kind(), ErrorKind::StaleLease | ErrorKind::Indeterminate);
            PositionError { error, lease: if worthless { None } else { Some(self) } }
        })
    }
}

/// As a future.
impl PositionLease {
    /// Like [`complete`](PositionLease::complete), as a future. Dropping the future does not stop the completion. A
    /// refusal leaves the position to its term: the lease does not come back.
    pub fn complete_async(mut self) -> CommitFuture<()> {
        self.armed = false;
        let begun = upgraded(&self.engine).and_then(|engine| {
            engine.complete_position(&self.stream, self.position, self.token, Waits::Elsewhere)
        });
        CommitFuture::new(upgraded(&self.engine), begun.map(|batch| (batch, ())))
    }
}

impl Drop for PositionLease {
    fn drop(&mut self) {
        if self.armed {
            Engine::release_position(&self.stream, self.position, self.token);
        }
    }
}

impl PositionError {
    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The error, and the lease where it is still worth something. Dropping *that* lease gives the position back.
    pub fn into_parts(self) -> (Error, Option<PositionLease>) {
        let lease = self.lease.map(|mut lease| {
            lease.armed = true;
            lease
        });
        (self.error, lease)
    }
}

/// Leaves the position to its term.
impl From<PositionError> for Error {
    fn from(refused: PositionError) -> Error {
        refused.error
    }
}

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for PositionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// Shows shape, never the stream's name.
impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence").field("lease_ms", &self.lease_ms).finish_non_exhaustive()
    }
}

impl fmt::Debug for PositionLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PositionLease")
            .field("position", &self.position)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

fn upgraded(engine: &Weak<Engine>) -> Result<Arc<Engine>, Error> {
    engine.upgrade().ok_or_else(|| Error::new(ErrorKind::Closed, "the store was closed"))
}
