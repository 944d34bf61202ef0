//! The live table: every claim in progress, and every record not yet checkpointed, sharded by key hash.
//!
//! Invariants:
//! - `Entry::record` is inserted and replaced only under the shard's lock *and* the order lock of `commit`. State
//!   that exists in memory only (lease terms, marks and counts of `Entry`) needs the shard's lock alone.
//! - `Entry::batch` names the journal batch that carries `Entry::record`. No answer that depends on the entry is
//!   returned before that batch is committed.
//! - A checkpoint removes an entry after its record became visible in a run. Nothing else removes entries, except
//!   that a `transact` which ends without a commit removes its placeholder. Removal needs the shard's lock alone.

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

/// The most shards that a batch locks together.
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
    /// Duplicates counted for records that have no entry.
    pub(crate) cold_repeats: ColdRepeats,
}

/// Three cache lines. All fields that the start of a lease reads and writes are in the first one: another processor
/// probably wrote the slot last, so each further line would be one more cache miss.
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

    /// Locks the shard of a key.
    ///
    /// Lock order: the order lock first, where both are needed. A thread that holds a shard never blocks on another
    /// shard; `visit_together` takes further ones with a try-lock.
    pub(crate) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[number_of(hash)].lock()
    }

    /// The same as a try-lock: `None` if another thread holds the shard.
    pub(crate) fn try_shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[number_of(hash)].try_lock()
    }

    /// Calls `visit` for the shard of each hash, in groups of up to eight locked shards. In a group, `bring_near`
    /// prefetches for every shard before the first `visit`. Both get the index of the hash in `hashes`.
    ///
    /// Performance only. Taking or releasing a lock drains the store buffer, and later loads wait for that, so
    /// locking a shard per key serialises a batch's cache misses. Holding up to eight shard locks while `bring_near`
    /// reads lets the misses overlap. `bring_near` must only read what `visit` will need; nothing may be decided by
    /// its result.
    ///
    /// Cannot deadlock: we block only on the first lock of a group, while we hold no other shard; the rest are
    /// `try_lock`.
    pub(crate) fn visit_together(
        &self,
        hashes: &[u64],
        bring_near: impl Fn(&Shard, usize) -> u64,
        mut visit: impl FnMut(&mut Shard, usize),
    ) {
        let (mut from, mut locked) = (0, Vec::with_capacity(TOGETHER));
        while let Some((first, rest)) = hashes.get(from..).and_then(<[u64]>::split_first) {
            // The only lock we block on. The group ends at the first busy lock, which may be one of our own: two keys
            // of one shard. The next group begins with that key.
            locked.push(self.shard(*first));
            let shards = rest.iter().filter_map(|hash| self.shards.get(number_of(*hash)));
            locked.extend(shards.take(TOGETHER - 1).map_while(Mutex::try_lock));
            // Prefetch. `black_box` keeps the compiler from removing loads whose result is unused.
            let each = || locked.iter().zip(from..);
            black_box(each().fold(0, |sum, (shard, at)| sum ^ bring_near(shard, at)));
            let next = from + locked.len();
            // Each shard is unlocked as soon as it was visited.
            locked.drain(..).zip(from..).for_each(|(mut shard, at)| visit(&mut shard, at));
            from = next;
        }
    }

    /// Visits all shards, one after the other. One lock is held at a time, so this is no snapshot of the table.
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

    /// Entries of all shards, counted one shard at a time: exact only while nothing changes.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().slots.len()).sum()
    }

    /// Bytes of the resolved entries: the memory that a checkpoint would free.
    pub(crate) fn resolved_bytes(&self) -> usize {
        self.resolved_bytes.now() as usize
    }

    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress.now() as usize
    }

    /// Inserts `entry` or replaces the key's present one, and keeps the sums. Returns the replaced entry.
    ///
    /// The caller holds the order lock too, as [`Balance::add`] requires, or is alone, as at open.
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

    /// Removes a key. Needs the shard's lock only.
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

    /// The newest version of a key, including the counts since it was written: that of its entry, or else that of the
    /// runs.
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

    /// For changes of lease terms and marks. A record changes through [`Live::put`], which keeps the sums.
    pub(crate) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        self.slots.find_mut(hash, |slot| *slot.key == *key).map(|slot| &mut slot.entry)
    }

    /// The claim with this token. Tokens are unique, so the key is not compared. `at` is a hint: the
    /// [`newest`](Shard::newest) place when the claim was inserted, where it mostly still is.
    pub(crate) fn find_claim(&mut self, at: usize, hash: u64, token: u64) -> Option<&mut Entry> {
        let is_it = |slot: &Slot| slot.entry.record.token == token;
        let slot = if self.slots.get(at).is_some_and(is_it) {
            self.slots.get_mut(at)
        } else {
            self.slots.find_mut(hash, is_it)
        };
        slot.map(|slot| &mut slot.entry)
    }

    /// Prefetch: reads the cache line with the marks of the claim at a place.
    pub(crate) fn bring_near(&self, at: usize) -> u64 {
        self.slots.get(at).map_or(0, |slot| slot.entry.record.token)
    }

    /// Prefetch: reads all three cache lines of the slot that the next new key will be written to.
    pub(crate) fn bring_blank_near(&self) -> u64 {
        let blank = self.slots.get(self.slots.len());
        blank.map_or(0, |blank| blank.hash ^ blank.entry.record.until_ms ^ blank.key.len() as u64)
    }

    /// Prefetch for a key without an entry: the line where a duplicate would be counted, and the blank slot that a
    /// new claim would be written to.
    pub(crate) fn bring_absent_near(&self, hash: u64) -> u64 {
        self.cold_repeats.bring_near(hash) ^ self.bring_blank_near()
    }

    /// The place of the key that was inserted last, until something is removed.
    pub(crate) fn newest(&self) -> usize {
        self.slots.newest()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8], &Entry)> {
        self.slots.iter().map(|slot| (slot.hash, &*slot.key, &slot.entry))
    }

    /// How many entries the buckets have room for.
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn shrink(&mut self) {
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }
}
