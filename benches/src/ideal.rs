//! The limit of the design: a group-commit journal over an in-memory hash map, and nothing else.
//!
//! No checkpoint, no leases, no expiry, no recovery, one fixed size of key. What claimstore does beyond this
//! shows as the ratio between the two.

use crate::Result;
use crate::device::{Access, AlignedBuf, Preallocated, SECTOR};
use crate::drive::Subject;
use crate::keys::{self, BuildKeyHasher, Key};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

const SHARDS: u64 = 256;

/// The journal is a ring: nobody reads it, so a lap overwrites the one before.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Length and checksum of a batch.
const HEADER: usize = 16;

/// Batches beyond this go out in pieces. 256 threads with 64 claims each stay below.
const BATCH_BYTES: usize = 1 << 20;

/// A leader lets others run this often before it closes its batch: it collects nearly everybody who was woken
/// by the previous commit, and costs a lone caller almost nothing.
const YIELDS: usize = 4;

/// The store. Share it by reference.
#[derive(Debug)]
pub struct Ideal {
    shards: Vec<Mutex<Shard>>,
    sequence: AtomicU64,
    queue: Mutex<Queue>,
    journal: Mutex<Journal>,
    /// Number of the last batch the device has. Batches count from 1.
    durable: AtomicU64,
    failed: AtomicBool,
}

type Shard = HashMap<Key, u64, BuildKeyHasher>;

/// What waits for the next commit.
#[derive(Debug)]
struct Queue {
    batch: u64,
    records: Vec<u8>,
    followers: Vec<Thread>,
    has_leader: bool,
}

impl Ideal {
    /// Creates the journal in `dir` and an empty map.
    pub fn create(dir: &Path) -> Result<Self> {
        let file = Preallocated::create(&dir.join("ideal-journal"), JOURNAL_BYTES, Access::Direct)?;
        Ok(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            sequence: AtomicU64::new(1),
            queue: Mutex::new(Queue {
                batch: 1,
                records: Vec::new(),
                followers: Vec::new(),
                has_leader: false,
            }),
            journal: Mutex::new(Journal { file, buf: AlignedBuf::new(BATCH_BYTES), offset: 0 }),
            durable: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// Enters the keys of the numbers `0..count`, in memory only.
    pub fn load(&self, count: u64) {
        (0..count).map(keys::key).for_each(|key| {
            self.insert(key);
        });
    }

    /// Claims a run of keys in one commit; the number of them that were fresh.
    pub fn claim_range(&self, first: u64, count: u64) -> io::Result<u64> {
        let mut records = Vec::with_capacity(usize::try_from(count).unwrap_or(0) * 48);
        let mut fresh = 0;
        for key in (first..first + count).map(keys::key) {
            if let Some(sequence) = self.insert(key) {
                push_record(&mut records, sequence, &key);
                fresh += 1;
            }
        }
        if fresh > 0 {
            self.commit(&records)?;
        }
        Ok(fresh)
    }

    fn insert(&self, key: Key) -> Option<u64> {
        let shard = self.shards.get((keys::hash(&key) >> 56) as usize)?;
        let mut shard = lock(shard);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        match shard.entry(key) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(slot) => Some(*slot.insert(sequence)),
        }
    }

    /// Returns when the records are on the device: as the leader of a batch or as a follower.
    fn commit(&self, records: &[u8]) -> io::Result<()> {
        let (batch, leads) = self.enqueue(records);
        if leads {
            self.lead()?;
        }
        while self.durable.load(Ordering::Acquire) < batch {
            if self.failed.load(Ordering::Acquire) {
                return Err(io::Error::other("an earlier commit failed"));
            }
            if self.take_over(batch) {
                self.lead()?;
            } else {
                thread::park();
            }
        }
        Ok(())
    }

    fn enqueue(&self, records: &[u8]) -> (u64, bool) {
        let mut queue = lock(&self.queue);
        queue.records.extend_from_slice(records);
        let leads = !std::mem::replace(&mut queue.has_leader, true);
        if !leads {
            queue.followers.push(thread::current());
        }
        (queue.batch, leads)
    }

    /// A follower whose batch has no leader yet becomes it.
    fn take_over(&self, batch: u64) -> bool {
        let mut queue = lock(&self.queue);
        queue.batch == batch && !std::mem::replace(&mut queue.has_leader, true)
    }

    fn lead(&self) -> io::Result<()> {
        for _ in 0..YIELDS {
            thread::yield_now();
        }
        let mut journal = lock(&self.journal);
        let (batch, records, followers) = {
            let mut queue = lock(&self.queue);
            let queue = &mut *queue;
            queue.batch += 1;
            (queue.batch - 1, std::mem::take(&mut queue.records), std::mem::take(&mut queue.followers))
        };
        let outcome = journal.append(&records);
        drop(journal);
        match outcome {
            Ok(()) => self.durable.store(batch, Ordering::Release),
            Err(_) => self.failed.store(true, Ordering::Release),
        }
        // The next leader first: its commit runs while the followers of this one are being woken.
        let next = {
            let mut queue = lock(&self.queue);
            queue.has_leader = false;
            queue.followers.first().cloned()
        };
        next.iter().chain(&followers).for_each(Thread::unpark);
        outcome
    }
}

impl Subject for Ideal {
    fn name(&self) -> &'static str {
        "ideal"
    }

    fn claim(&self, _worker: usize, first: u64, count: u64) -> Result<u64> {
        Ok(self.claim_range(first, count)?)
    }
}

#[derive(Debug)]
struct Journal {
    file: Preallocated,
    buf: AlignedBuf,
    offset: u64,
}

impl Journal {
    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        for piece in records.chunks(BATCH_BYTES - HEADER) {
            let len = (HEADER + piece.len()).next_multiple_of(SECTOR);
            if self.offset + len as u64 > self.file.len() {
                self.offset = 0;
            }
            let frame = self.buf.as_mut_slice().get_mut(..len).unwrap_or_default();
            fill_frame(frame, piece);
            self.file.write_durably(frame, self.offset)?;
            self.offset += len as u64;
        }
        Ok(())
    }
}

fn fill_frame(frame: &mut [u8], records: &[u8]) {
    let (header, body) = frame.split_at_mut(HEADER);
    let (body, padding) = body.split_at_mut(records.len());
    body.copy_from_slice(records);
    padding.fill(0);
    let (len, checksum) = header.split_at_mut(8);
    len.copy_from_slice(&(records.len() as u64).to_le_bytes());
    checksum.copy_from_slice(&u64::from(crc32fast::hash(records)).to_le_bytes());
}

/// Sequence, key, and the sixteen bytes that stand for expiry, lease and tags.
fn push_record(records: &mut Vec<u8>, sequence: u64, key: &Key) {
    records.extend_from_slice(&sequence.to_le_bytes());
    records.extend_from_slice(key);
    records.extend_from_slice(&[0; 16]);
}

/// A panic elsewhere ends the bench anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_fresh_keys() {
        let dir = tempfile::tempdir().unwrap();
        let ideal = Ideal::create(dir.path()).unwrap();
        ideal.load(100);
        let fresh: u64 = thread::scope(|scope| {
            let claimer = || (0..200).map(|n| ideal.claim_range(n, 1).unwrap()).sum::<u64>();
            let claimers: Vec<_> = (0..16).map(|_| scope.spawn(claimer)).collect();
            claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum()
        });
        assert_eq!(fresh, 100);
    }
}
