//! What a clean close writes of the claims that are in progress: their holders end with it, and that is no death.
//!
//! A claim of this life that nobody can hold any more gets a version which says so and counts it: one loss, or one failure
//! where a panic dropped the lease. It stays in progress, so that the policy's rule for orphans decides what becomes of it.
//! Without that version, after a crash or where the disk has no room, the next opening finds an orphan of an earlier life, and
//! its end counts as a death.
//!
//! Not among them are detached claims, which outlive the process on purpose; orphans of earlier lives, whose end is a
//! death already; claims taken over, whose end has a cause already; and the records of streams.

use super::commit::{Order, Waits};
use super::decide;
use super::live::Entry;
use super::spaces::{Keyed, Space, is_reserved};
use super::write::{Change, LeaseAfter, Seen, Turn, Verdict};
use super::{Class, Engine, SEQ_BITS};
use crate::codec::State;
use crate::error::{Error, ErrorKind};
use crate::history::Orphaned;
use crate::journal::framed_bytes;
use crate::key_bytes::KeyBytes;
use crate::planted;
use crate::sync::{Arc, MutexGuard};

/// Bytes that the version adds: its cause and its tally.
const ADDED: usize = 48;

/// A claim that is to be left behind.
struct Left {
    space: Arc<Space>,
    keyed: Keyed,
    /// The bytes it may carry over.
    known: usize,
}

impl Engine {
    /// Leaves the claims of this life behind. To be called when nothing new is admitted. Where there is no room for it, or no
    /// segment can be made, they count as deaths, and the journal is sealed all the same. What fails in a commit poisons the
    /// store, and is told by the seal.
    pub(super) fn leave_claims(&self) -> Result<(), Error> {
        match self.try_leave_claims() {
            Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::Overloaded | ErrorKind::Io) => {
                Ok(())
            }
            other => other,
        }
    }

    fn try_leave_claims(&self) -> Result<(), Error> {
        if planted::active(86) {
            return Ok(());
        }
        let mut last_batch = 0;
        for shard in 0..super::live::SHARDS {
            let mut keys = Vec::new();
            self.live.one_shard(shard, |key, entry| {
                if self.ends_with_us(entry).is_some() {
                    keys.push((KeyBytes::from(key), super::write::carried_bytes(Some(entry), None)));
                }
            });
            for left in keys.iter().filter_map(|(key, known)| self.left(key, *known)) {
                let batch = self.leave(&left, last_batch)?;
                // A leader that puts the baton down wakes who waits for the first batch of the queue. So no thread may
                // sleep on a later batch while one that it is counted in is still queued.
                if batch > last_batch {
                    self.wait(last_batch)?;
                    last_batch = batch;
                }
            }
        }
        self.wait(last_batch)
    }

    /// Why the claim ends with the process; `None` where it does not.
    fn ends_with_us(&self, entry: &Entry) -> Option<Orphaned> {
        let record = &entry.record;
        let ours = record.state == State::InProgress && record.token >> SEQ_BITS >= self.life;
        if !ours || entry.marks.reserved || record.until_ms != 0 {
            return None;
        }
        if record.asked().is_some() || record.left().is_some() {
            return None;
        }
        Some(if entry.marks.panicked { Orphaned::Panicked } else { Orphaned::Abandoned })
    }

    fn left(&self, key: &KeyBytes, known: usize) -> Option<Left> {
        let (id, _) = key.split_first_chunk::<4>()?;
        let space = self.spaces.by_id(u32::from_be_bytes(*id))?;
        if is_reserved(&space.name) {
            return None;
        }
        let keyed = Keyed { full: key.clone(), hash: self.hasher.hash(key), time_ms: None };
        Some(Left { space, keyed, known })
    }

    /// Writes one of them; returns the batch. `queued`: the batch of the one before.
    fn leave(&self, left: &Left, queued: u64) -> Result<u64, Error> {
        let change = Change { space: &left.space, keyed: &left.keyed, added: ADDED, carries: 1 };
        let mut order = self.admit_last(change.bytes(left.known), queued)?;
        let mut turn = Turn { order: &mut order, at: self.time.moment(), waits: Waits::Here };
        let done = self.write_in_turn(&mut turn, &change, Seen::of_live(), |standing| {
            let Some(cause) = standing.entry.and_then(|entry| self.ends_with_us(entry)) else {
                return Ok(Verdict::stands(()));
            };
            Ok(Verdict::write(LeaseAfter::Ended, move |earlier, seq| {
                let held = earlier.ok_or_else(super::held::stale)?;
                Ok((decide::left_behind(&held, cause, seq), ()))
            }))
        })?;
        Ok(done.map_or(0, |done| done.batch))
    }

    /// As [`admit`](Engine::admit), in a store that is closing.
    fn admit_last(&self, bytes: usize, queued: u64) -> Result<MutexGuard<'_, Order>, Error> {
        loop {
            let (largest, now_ms) = (self.limits.segment_bytes / 2, self.time.now_ms());
            if let Some(order) = self.commit.admit(bytes, || 0, largest, now_ms)? {
                return Ok(order);
            }
            self.wait(queued)?;
            self.make_room(Class::Settlement, framed_bytes(bytes) as u64)?;
        }
    }
}
