//! Making keys unknown: whatever they are, or only the version that a listing showed.

use super::claims::{OP_BYTES, carried};
use super::commit::Waits;
use super::live::Entry;
use super::settle::stale;
use super::spaces::{Keyed, Space};
use super::{Class, Engine};
use crate::codec::{self, State};
use crate::error::Error;
use crate::planted;
use crate::view::Record;

/// Which version of a key is forgotten; another one is `StaleLease`.
#[derive(Debug, Clone, Copy)]
struct Only {
    seq: u64,
    /// Also if somebody is trusted with it.
    held_too: bool,
}

impl Engine {
    /// Makes a key unknown, whatever it is. Answers whether it was known.
    pub(crate) fn forget(&self, space: &Space, key: &[u8]) -> Result<bool, Error> {
        let (batch, known) = self.begin_forget(space, key, Waits::Here)?;
        self.wait(batch)?;
        Ok(known)
    }

    /// Queues a `forget`. Answers the batch to wait for, and whether the key was known.
    pub(crate) fn begin_forget(&self, space: &Space, key: &[u8], waits: Waits) -> Result<(u64, bool), Error> {
        self.check_changes()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        self.erase(space, &keyed, waits, None)
    }

    /// Makes a key unknown, if it is as a listing or a look-up showed it, and nobody is trusted with it.
    ///
    /// Fencing: version and holder are compared under the order lock and the shard's lock, under which a claim
    /// is granted, renewed, settled and reviewed. So whoever comes first wins: a claim that was granted after
    /// the listing stands, and so does what another reviewer decided.
    pub(crate) fn forget_unheld(&self, listed: &Record) -> Result<(), Error> {
        self.forget_version(listed, false)
    }

    /// The same of a version that somebody may be trusted with.
    pub(crate) fn forget_shown(&self, listed: &Record) -> Result<(), Error> {
        self.forget_version(listed, true)
    }

    fn forget_version(&self, listed: &Record, held_too: bool) -> Result<(), Error> {
        let held = self.held(listed)?;
        let only = Only { seq: listed.version.seq, held_too };
        let (batch, _) = self.erase(&held.space, &held.keyed, Waits::Here, Some(only))?;
        self.wait(batch)
    }

    fn erase(
        &self,
        space: &Space,
        keyed: &Keyed,
        waits: Waits,
        only: Option<Only>,
    ) -> Result<(u64, bool), Error> {
        loop {
            let generation = self.cold.generation();
            let cold = self
                .cold
                .lookup(&keyed.full, keyed.hash)?
                .filter(|found| found.record.state != State::Erased);
            let mut order = self.admit(OP_BYTES + keyed.full.len(), Class::Settlement)?;
            let mut shard = self.live.shard(keyed.hash);
            let entry = shard.find(keyed.hash, &keyed.full);
            if entry.is_none() && self.cold.generation() != generation && !planted::active(75) {
                continue;
            }
            if entry.is_some_and(|entry| entry.marks.reserved) {
                return Err(Error::new(
                    crate::ErrorKind::Overloaded,
                    "a transact is running on the key; retry",
                ));
            }
            if let Some(only) = only {
                let cold = cold.as_ref().map(|found| &found.record);
                self.check_only(entry, cold, only)?;
            }
            let known = entry.map_or(cold.is_some(), |entry| entry.record.state != State::Erased);
            if !known {
                return Ok((entry.map_or(0, |entry| entry.batch), false));
            }
            let marks = carried(entry, cold.is_some());
            let record = codec::Record::erased(order.take_seq());
            space.counters.settled(State::Erased);
            let batch =
                self.put(&mut order, &mut shard, space, keyed, record, marks, self.time.moment(), waits);
            drop(shard);
            drop(order);
            self.waiters.ring(keyed.hash);
            return Ok((batch, true));
        }
    }

    /// Whether the key is known in this version, and nobody is trusted with it.
    fn check_only(
        &self,
        entry: Option<&Entry>,
        cold: Option<&codec::Record>,
        only: Only,
    ) -> Result<(), Error> {
        if crate::planted::active(56) {
            return Ok(());
        }
        let record = entry.map(|entry| &entry.record).or(cold).ok_or_else(stale)?;
        let is_held = entry.filter(|_| !only.held_too).is_some_and(|entry| {
            let in_progress = entry.record.state == State::InProgress;
            in_progress && entry.orphaned(self.life, self.time.moment()).is_none()
        });
        if record.state == State::Erased || record.seq != only.seq || is_held {
            return Err(stale());
        }
        Ok(())
    }
}
