//! Streams of positions. Each stream is one record, whose body says which positions are done.
//!
//! The record is in a reserved namespace, and is a claim in progress as long as the stream exists. Its *progress* is
//! the value: the watermark and the window above it. So the journal, checkpoints, merges, recovery and backups treat
//! it like any claim, fenced by the token of this life's claim.
//!
//! Invariant: a position is reported as done only when an image in which it is done is durable.
//!
//! - `complete` changes the value and queues its image under the stream's lock, then waits for the image's batch.
//!   Images are queued in the order of the changes, and each includes all changes before it. The journal keeps a
//!   prefix. So a crash leaves the value after some change, which is the last acknowledged one or a later one.
//! - An image that is refused before it is queued changes nothing: the value in memory changes only after the
//!   queueing.
//! - A claim that finds its position done waits for the last queued image before it returns (no dirty reads).
//! - A batch that fails poisons the store, so no answer depends on a value that may be lost.
//!
//! Claims of positions are not written to the journal. Only this process grants them, and they end with it: after a
//! crash every position that is not done may be claimed at once. Their tokens are sequence numbers of the store, so
//! they rise across lives like all tokens.

use super::claims::OP_BYTES;
use super::commit::Waits;
use super::positions::Positions;
use super::settle::Held;
use super::{Class, Engine};
use crate::claim::{Claim, ClaimRequest};
use crate::error::{Error, ErrorKind};
use crate::io::Process;
use crate::planted;
use crate::policy::Policy;
use crate::sync::{Arc, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The namespace of streams. It cannot be opened by its name.
pub(crate) const SEQUENCES: &str = "claimstore/sequences";

/// Streams opened in this life.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    streams: Mutex<HashMap<Box<[u8]>, Arc<Stream>>>,
}

/// One stream. Its lock comes before all locks of the engine. Under it an image may be queued, but not waited for.
pub(crate) struct Stream {
    pub(crate) name: Box<[u8]>,
    held: Held,
    state: Mutex<State>,
    process: Process,
}

struct State {
    positions: Positions,
    /// The batch of the last image queued.
    batch: u64,
    holds: BTreeMap<u64, Hold>,
}

/// The holder of a position.
struct Hold {
    token: u64,
    since_ms: u64,
    /// On the boot clock.
    until_boot_ms: u64,
    /// Whether everything below is held too.
    up_to: bool,
}

impl Sequences {
    /// How many positions are held, over all streams.
    pub(crate) fn held(&self) -> usize {
        // One lock at a time: no other lock may be held while a stream's is taken.
        let streams: Vec<Arc<Stream>> = self.streams.lock().values().cloned().collect();
        streams.iter().map(|stream| stream.state.lock().holds.len()).sum()
    }
}

/// The answer to a claim of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PositionAnswer {
    Claimed { token: u64 },
    Duplicate,
    InProgress { retry_after_ms: u64, since_ms: u64 },
}

impl Engine {
    /// The stream `name`, made if there is none.
    pub(crate) fn stream(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Stream>, Error> {
        self.check_changes()?;
        // Held until the stream is inserted: otherwise two openings would take the record's claim from each other.
        let mut streams = self.sequences.streams.lock();
        if let Some(stream) = streams.get(name) {
            return Ok(stream.clone());
        }
        let longest = Duration::from_secs(366 * 86_400);
        let policy = Policy::new().max_attempts(u32::MAX).lease(longest);
        let space = self.reserved_space(SEQUENCES, policy)?;
        let Claim::Claimed(mut lease) = self.claim(&space, &ClaimRequest::new(name))? else {
            return Err(Error::corrupt("the record of a stream is not one"));
        };
        // The claim lasts as long as the process: dropping the lease must not abandon it.
        lease.disarm();
        let positions = match lease.progress() {
            None => Positions::default(),
            Some(bytes) => {
                Positions::decode(bytes).map_err(|_| Error::corrupt("the record of a stream is damaged"))?
            }
        };
        let state = State { positions, batch: 0, holds: BTreeMap::new() };
        let stream = Arc::new(Stream {
            name: name.into(),
            held: lease.held().clone(),
            state: Mutex::new(state),
            process: Process::current(),
        });
        streams.insert(name.into(), stream.clone());
        Ok(stream)
    }

    /// Claims a position, or everything up to it. Returns the answer, and the batch that must be committed before it.
    pub(crate) fn claim_position(
        &self,
        stream: &Stream,
        position: u64,
        up_to: bool,
        lease_ms: u64,
    ) -> Result<(u64, PositionAnswer), Error> {
        self.check_open()?;
        if position == u64::MAX {
            return Err(Error::new(ErrorKind::Misuse, "a position must be below 2^64 - 1"));
        }
        let boot_ms = self.time.boot_ms();
        let mut state = stream.state.lock();
        if state.positions.is_done(position) {
            let rests_on = if planted::active(71) { 0 } else { state.batch };
            return Ok((rests_on, PositionAnswer::Duplicate));
        }
        if !up_to && !state.positions.reaches(position) {
            return Err(Error::new(ErrorKind::Overloaded, "the position lies beyond the stream's window"));
        }
        if let Some(hold) = state.in_the_way(position, up_to, boot_ms) {
            let retry_after_ms = hold.until_boot_ms - boot_ms;
            return Ok((0, PositionAnswer::InProgress { retry_after_ms, since_ms: hold.since_ms }));
        }
        // A lapsed hold is superseded: its token no longer settles anything.
        state.holds.retain(|held, hold| !conflicts(*held, hold.up_to, position, up_to));
        let token = self.admit(OP_BYTES, Class::Claim)?.take_seq();
        let until_boot_ms = boot_ms.saturating_add(lease_ms);
        state.holds.insert(position, Hold { token, since_ms: self.time.now_ms(), until_boot_ms, up_to });
        Ok((0, PositionAnswer::Claimed { token }))
    }

    /// Marks a held position as done, or everything up to it. Returns the batch to wait for.
    pub(crate) fn complete_position(
        &self,
        stream: &Stream,
        position: u64,
        token: u64,
        waits: Waits,
    ) -> Result<u64, Error> {
        self.check_open()?;
        let mut state = stream.state.lock();
        let up_to = state.hold(position, token)?.up_to;
        let mut positions = state.positions;
        if up_to {
            positions.skip_to(position.saturating_add(1));
        } else {
            positions.complete(position);
        }
        let batch = self.put_positions(stream, &mut state, positions, waits)?;
        state.holds.remove(&position);
        Ok(batch)
    }

    /// Gives a held position back: it may be claimed again at once. A superseded token changes nothing.
    pub(crate) fn release_position(stream: &Stream, position: u64, token: u64) {
        if !stream.process.is_current() {
            return;
        }
        let mut state = stream.state.lock();
        if state.hold(position, token).is_ok() {
            state.holds.remove(&position);
        }
    }

    /// Marks everything below `next` as done. Refused while a position below is held.
    pub(crate) fn skip_positions(&self, stream: &Stream, next: u64, waits: Waits) -> Result<u64, Error> {
        self.check_open()?;
        let boot_ms = self.time.boot_ms();
        let mut state = stream.state.lock();
        let positions = &state.positions;
        if next <= positions.next() {
            return Ok(state.batch);
        }
        if state.in_the_way(next - 1, true, boot_ms).is_some() {
            return Err(Error::new(ErrorKind::Misuse, "a position below is being worked on"));
        }
        let mut positions = *positions;
        positions.skip_to(next);
        let batch = self.put_positions(stream, &mut state, positions, waits)?;
        state.holds.retain(|held, _| *held >= next);
        Ok(batch)
    }

    /// The positions that are durably done.
    pub(crate) fn positions(&self, stream: &Stream) -> Result<Positions, Error> {
        self.check_open()?;
        let (positions, batch) = {
            let state = stream.state.lock();
            (state.positions, state.batch)
        };
        self.wait(batch)?;
        Ok(positions)
    }

    /// Queues the image, then changes the value in memory: a refused image leaves the value unchanged.
    fn put_positions(
        &self,
        stream: &Stream,
        state: &mut MutexGuard<'_, State>,
        positions: Positions,
        waits: Waits,
    ) -> Result<u64, Error> {
        let batch = self.save_progress(&stream.held, &positions.encode(), waits)?;
        state.positions = positions;
        state.batch = batch;
        Ok(batch)
    }
}

impl State {
    /// The hold that this token has on the position.
    fn hold(&self, position: u64, token: u64) -> Result<&Hold, Error> {
        let held = self.holds.get(&position).filter(|hold| hold.token == token);
        held.ok_or_else(|| Error::new(ErrorKind::StaleLease, "the position was claimed again, or skipped"))
    }

    /// A hold that has not lapsed and conflicts with a claim.
    fn in_the_way(&self, position: u64, up_to: bool, boot_ms: u64) -> Option<&Hold> {
        let holds = self.holds.iter();
        let mut running = holds.filter(|(_, hold)| hold.until_boot_ms > boot_ms);
        running.find(|(held, hold)| conflicts(**held, hold.up_to, position, up_to)).map(|(_, hold)| hold)
    }
}

/// Whether two holds, each of one position or of all up to it, have a position in common.
fn conflicts(one: u64, one_up_to: bool, other: u64, other_up_to: bool) -> bool {
    match (one_up_to, other_up_to) {
        (false, false) => one == other,
        (true, false) => other <= one,
        (false, true) => one <= other,
        (true, true) => true,
    }
}

/// Without the name, which is the caller's.
impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
