//! Reading one key: get; and forget.

use super::claims::{OP_BYTES, carried};
use super::commit::Waits;
use super::decide::Hold;
use super::live::Entry;
use super::settle::stale;
use super::spaces::{Keyed, Space, is_reserved};
use super::{Class, Engine};
use crate::codec::{self, State};
use crate::error::Error;
use crate::planted;
use crate::view::Record;
use std::borrow::Cow;

/// Which version of a key is forgotten; another one is `StaleLease`.
#[derive(Debug, Clone, Copy)]
struct Only {
    seq: u64,
    /// Also if somebody is trusted with it.
    held_too: bool,
}

impl Engine {
    /// The record of a key, durable facts only.
    pub(crate) fn get(&self, space: &Space, key: &[u8]) -> Result<Option<Record>, Error> {
        let (batch, record) = self.begin_get(space, key)?;
        self.wait(batch)?;
        Ok(record)
    }

    /// The record of a key, to be told when the batch is committed.
    pub(crate) fn begin_get(&self, space: &Space, key: &[u8]) -> Result<(u64, Option<Record>), Error> {
        self.check_open()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        loop {
            let generation = self.cold.generation();
            // A placeholder says nothing of the key: what is known of it lies in the runs.
            let live = self.live.shard(keyed.hash).find(keyed.hash, &keyed.full).cloned();
            let reserved_at_most = live.as_ref().is_none_or(|entry| entry.marks.placeholder);
            if let Some(entry) = live.filter(|entry| !entry.marks.placeholder) {
                return Ok((entry.batch, self.show_live(space, &keyed.full, entry)));
            }
            let cold = self.cold.lookup(&keyed.full, keyed.hash)?;
            let shard = self.live.shard(keyed.hash);
            let now = shard.find(keyed.hash, &keyed.full);
            let unchanged = reserved_at_most && now.is_none_or(|entry| entry.marks.placeholder);
            if self.cold.generation() == generation && unchanged {
                let known = cold.map(|found| shard.cold_repeats.known(keyed.hash, Cow::Owned(found.record)));
                drop(shard);
                let show = |known: Cow<'_, codec::Record>| {
                    self.show(space, &keyed.full, known.into_owned(), Hold::Lapsed)
                };
                return Ok((0, known.and_then(show)));
            }
        }
    }

    fn show_live(&self, space: &Space, full_key: &[u8], entry: Entry) -> Option<Record> {
        if entry.marks.placeholder {
            return None;
        }
        let hold = entry.hold(self.life, self.time.now_ms(), self.time.boot_ms());
        self.show(space, full_key, entry.into_known(), hold)
    }

    pub(super) fn show(
        &self,
        space: &Space,
        full_key: &[u8],
        record: codec::Record,
        hold: Hold,
    ) -> Option<Record> {
        if record.is_expired(self.time.now_ms()) || is_reserved(&space.name) {
            return None;
        }
        Record::new(&space.name, full_key, record, hold)
    }

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
