//! The live table: every claim in progress, and every record not yet checkpointed, sharded by key hash.
//!
//! Invariants:
//! - An entry changes only under its shard's lock *and* the order lock of `commit`, except for what lives in
//!   memory alone (lease terms, the marks and the counts of `Entry`).
//! - `Entry::batch` names the journal batch that carries `Entry::record`; no answer rests on the entry
//!   before that batch is committed.
//! - Only a checkpoint removes entries, after their records became visible in a run.

use super::balance::Balance;
use super::dense::{Dense, Hashed};
use super::repeats::ColdRepeats;
use super::spread::number_of;
use crate::codec::Record;
use crate::key_bytes::KeyBytes;
use crate::sync::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::hint::black_box;

pub(crate) use super::entry::{Entry, Marks};
pub(crate) use super::spread::{SHARDS, share_a_shard};

#[cfg(test)]
mod tests;

/// So many shards of a batch are locked together, at most.
const TOGETHER: usize = 8;
#[derive(Debug)]
pub(crate) struct Live {
    shards: Box<[Mutex<Shard>]>,
    bytes: Balance,
    resolved_bytes: Balance,
    in_progress: Balance,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    slots: Dense<Slot>,
    /// Of records that have no entry.
    pub(crate) cold_repeats: ColdRepeats,
}

/// Three cache lines. What a claim's delivery looks for and changes stands in the first; another processor is likely to
/// have written them last.
#[repr(C, align(64))]
struct Slot {
    hash: u64,
    entry: Entry,
    key: KeyBytes,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot { hash: 0, entry: Entry::new(Record::erased(0), 0, 0), key: KeyBytes::default() }
    }
}

impl Hashed for Slot {
    fn hash(&self) -> u64 {
        self.hash
    }
}

const _: () = assert!(size_of::<Slot>() == 192, "a slot fills its three cache lines");

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("key_bytes", &self.key.len())
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn new() -> Live {
        Live {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bytes: Balance::default(),
            resolved_bytes: Balance::default(),
            in_progress: Balance::default(),
        }
    }

    /// Locks the shard of a key, after the order lock where both are needed. A thread that holds a shard never waits for
    /// another shard: `visit_together` only tries them.
    pub(crate) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[number_of(hash)].lock()
    }

    /// The same if nobody has it just now.
    pub(crate) fn try_shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[number_of(hash)].try_lock()
    }

    /// Visits the shards of some keys, by their hashes, several under all their locks: `bring_near` for each of them
    /// first, then `visit`, each with the place of its hash.
    ///
    /// For the sake of the processor. It takes a lock, or gives one back, only when everything before that has come from
    /// memory and gone there; between the locks of a hundred keys it waits a hundred times for one line, under several
    /// at once for many lines at a time. `bring_near` should read what will be needed, and decide nothing by it.
    ///
    /// Nobody waits in a circle, as nobody waits: but for the first of each few, a lock that is not free is not waited
    /// for.
    pub(crate) fn visit_together(
        &self,
        hashes: &[u64],
        bring_near: impl Fn(&Shard, usize) -> u64,
        mut visit: impl FnMut(&mut Shard, usize),
    ) {
        let (mut from, mut locked) = (0, Vec::with_capacity(TOGETHER));
        while let Some((first, rest)) = hashes.get(from..).and_then(<[u64]>::split_first) {
            locked.push(self.shard(*first));
            let shards = rest.iter().filter_map(|hash| self.shards.get(number_of(*hash)));
            locked.extend(shards.take(TOGETHER - 1).map_while(Mutex::try_lock));
            let each = || locked.iter().zip(from..);
            black_box(each().fold(0, |sum, (shard, at)| sum ^ bring_near(shard, at)));
            let next = from + locked.len();
            locked.drain(..).zip(from..).for_each(|(mut shard, at)| visit(&mut shard, at));
            from = next;
        }
    }

    /// All shards, one after the other; each lock is held only while `visit` looks at that shard.
    pub(crate) fn each_shard(&self, mut visit: impl FnMut(&mut Shard)) {
        for shard in &self.shards {
            visit(&mut shard.lock());
        }
    }

    /// The entries of one shard, under its lock.
    pub(crate) fn one_shard(&self, shard: usize, mut visit: impl FnMut(&[u8], &Entry)) {
        if let Some(shard) = self.shards.get(shard) {
            shard.lock().iter().for_each(|(_, key, entry)| visit(key, entry));
        }
    }

    /// A copy of one shard.
    pub(crate) fn entries(&self, shard: usize) -> Vec<(u64, KeyBytes, Entry)> {
        let shard = self.shards.get(shard).map(Mutex::lock);
        let slots = shard.iter().flat_map(|shard| shard.slots.iter());
        slots.map(|slot| (slot.hash, slot.key.clone(), slot.entry.clone())).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.now() as usize
    }

    /// Entries of all shards, counted one after the other.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().slots.len()).sum()
    }

    /// Memory of what a checkpoint would take out.
    pub(crate) fn resolved_bytes(&self) -> usize {
        self.resolved_bytes.now() as usize
    }

    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress.now() as usize
    }

    /// Puts `entry` in the place of what is there, keeping the counts. Answers what was there.
    pub(crate) fn put(&self, shard: &mut Shard, hash: u64, key: &[u8], entry: Entry) -> Option<Entry> {
        self.count(key, &entry, Balance::add);
        if let Some(slot) = shard.slots.find_mut(hash, |slot| *slot.key == *key) {
            let old = std::mem::replace(&mut slot.entry, entry);
            self.count(key, &old, Balance::take_back);
            return Some(old);
        }
        shard.slots.insert(Slot { hash, key: key.into(), entry });
        None
    }

    /// Takes a key out.
    pub(crate) fn remove(&self, shard: &mut Shard, hash: u64, key: &[u8]) -> Option<Entry> {
        let slot = shard.slots.remove(hash, |slot| *slot.key == *key)?;
        self.count(key, &slot.entry, Balance::take_out);
        Some(slot.entry)
    }

    fn count(&self, key: &[u8], entry: &Entry, change: impl Fn(&Balance, u64)) {
        let bytes = entry.bytes(key) as u64;
        change(&self.bytes, bytes);
        if entry.is_in_progress() {
            change(&self.in_progress, 1);
        } else {
            change(&self.resolved_bytes, bytes);
        }
    }
}

impl Shard {
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.slots.find(hash, |slot| *slot.key == *key).map(|slot| &slot.entry)
    }

    /// The newest version of a key with what was counted since it was written: that of its entry, or that of the runs.
    pub(crate) fn known<'a>(
        &self,
        hash: u64,
        entry: Option<&'a Entry>,
        cold: Option<&'a Record>,
    ) -> Option<Cow<'a, Record>> {
        match entry {
            Some(entry) => Some(entry.known()),
            None => cold.map(|record| self.cold_repeats.known(hash, Cow::Borrowed(record))),
        }
    }

    /// For changing lease terms and marks; records change through [`Live::put`], which counts.
    pub(crate) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        self.slots.find_mut(hash, |slot| *slot.key == *key).map(|slot| &mut slot.entry)
    }

    /// The claim of a token. No token is given twice, so that the key need not be compared. It mostly still lies where
    /// it lay when it was put there, `at` that [`newest`](Shard::newest) place.
    pub(crate) fn find_claim(&mut self, at: usize, hash: u64, token: u64) -> Option<&mut Entry> {
        let is_it = |slot: &Slot| slot.entry.record.token == token;
        let slot = if self.slots.get(at).is_some_and(is_it) {
            self.slots.get_mut(at)
        } else {
            self.slots.find_mut(hash, is_it)
        };
        slot.map(|slot| &mut slot.entry)
    }

    /// Has the lines brought near that the claim at a place has its marks in.
    pub(crate) fn bring_near(&self, at: usize) -> u64 {
        self.slots.get(at).map_or(0, |slot| slot.entry.record.token)
    }

    /// Has all lines of the slot brought near that the next new key will be put into.
    pub(crate) fn bring_blank_near(&self) -> u64 {
        let blank = self.slots.get(self.slots.len());
        blank.map_or(0, |blank| blank.hash ^ blank.entry.record.until_ms ^ blank.key.len() as u64)
    }

    /// Has brought near what an answer to a key without an entry will need: the place where it is counted as a
    /// duplicate, or the blank that its claim goes to.
    pub(crate) fn bring_absent_near(&self, hash: u64) -> u64 {
        self.cold_repeats.bring_near(hash) ^ self.bring_blank_near()
    }

    /// Where a key that was new to the shard has just been put.
    pub(crate) fn newest(&self) -> usize {
        self.slots.newest()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8], &Entry)> {
        self.slots.iter().map(|slot| (slot.hash, &*slot.key, &slot.entry))
    }

    /// How many entries there is room for.
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn shrink(&mut self) {
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }
}
