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

use super::claims::Answer;
use super::commit::Waits;
use super::held::Held;
use super::positions::Positions;
use super::write::OP_BYTES;
use super::{Class, Engine};
use crate::claim::ClaimRequest;
use crate::error::{Error, ErrorKind};
use crate::io::Process;
use crate::planted;
use crate::policy::Policy;
use crate::sync::{Arc, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use super::spaces::SEQUENCES;
pub(crate) use super::streams::Stream;
use super::streams::{Hold, State, conflicts};

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
        let policy = Policy::new().max_attempts(u32::MAX).max_losses(u32::MAX).lease(longest);
        let space = self.reserved_space(SEQUENCES, policy)?;
        // The claim stays for as long as the process lives: no lease is made of it that could abandon it.
        let Answer::Claimed(granted) = self.claim(&space, &ClaimRequest::new(name))? else {
            return Err(Error::corrupt("the record of a stream is not one"));
        };
        let positions = match &granted.progress {
            None => Positions::default(),
            Some(bytes) => {
                Positions::decode(bytes).map_err(|_| Error::corrupt("the record of a stream is damaged"))?
            }
        };
        let state = State { positions, batch: 0, holds: BTreeMap::new() };
        let stream = Arc::new(Stream {
            name: name.into(),
            held: Held { space, keyed: granted.keyed, token: granted.token },
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
            let mut rests_on = state.batch;
            if planted::active(71) {
                rests_on = 0;
            }
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
        let token = self.admit(OP_BYTES, Class::Claims(1))?.take_seq();
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
