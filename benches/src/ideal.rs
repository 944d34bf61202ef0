//! The limit of the design: a group-commit journal over an in-memory hash map, and nothing else.
//!
//! No checkpoint, no leases, no expiry, no recovery, no deletion. What claimstore does beyond this
//! shows as the ratio between the two.

use crate::Result;
use crate::device::{Access, AlignedBuf, Preallocated, SECTOR};
use crate::group::GroupCommit;
use crate::in_flight;
use crate::keys::{self, BuildKeyHasher, Key, RESPONSE_LEN};
use crate::stock::Stock;
use crate::subject::Subject;
use std::collections::HashMap;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const SHARDS: u64 = 256;

/// The journal is a ring: nobody reads it, so a lap overwrites the one before.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Length and checksum of a batch.
const HEADER: usize = 16;

/// Batches beyond this go out in pieces. 256 threads with 64 claims each stay below.
const BATCH_BYTES: usize = 1 << 20;

/// The store. Share it by reference.
#[derive(Debug)]
pub struct Ideal {
    shards: Vec<Mutex<Shard>>,
    sequence: AtomicU64,
    commit: GroupCommit<u8>,
    journal: Mutex<Journal>,
}

/// Part of the map, and the responses of its completed keys.
#[derive(Debug, Default)]
struct Shard {
    keys: HashMap<Key, Held, BuildKeyHasher>,
    responses: Vec<[u8; RESPONSE_LEN]>,
}

/// What is known of a key, in eight bytes.
#[derive(Debug, Clone, Copy)]
struct Held(u64);

/// Set in a [`Held`] that is the place of a response instead of a sequence number.
const COMPLETED: u64 = 1 << 63;

impl Ideal {
    /// Creates the journal in `dir` and an empty map.
    pub fn create(dir: &Path) -> Result<Self> {
        let file = Preallocated::create(&dir.join("ideal-journal"), JOURNAL_BYTES, Access::Direct)?;
        Ok(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            sequence: AtomicU64::new(1),
            commit: GroupCommit::default(),
            journal: Mutex::new(Journal { file, buf: AlignedBuf::new(BATCH_BYTES), offset: 0 }),
        })
    }

    /// The sequence number of a fresh key's claim.
    fn insert(&self, key: &Key) -> Option<u64> {
        let mut shard = self.shard(key)?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        match shard.keys.get(key) {
            None => {
                shard.keys.insert(*key, Held(sequence));
                Some(sequence)
            }
            Some(Held(held)) => {
                if held & COMPLETED != 0 {
                    // Whoever asks wants the response, so it is copied out.
                    black_box(shard.responses.get((held & !COMPLETED) as usize).map(|found| found.to_vec()));
                }
                None
            }
        }
    }

    fn finish(&self, key: &Key) -> u64 {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        if let Some(mut shard) = self.shard(key) {
            let place = COMPLETED | shard.responses.len() as u64;
            shard.responses.push(keys::response(key.as_bytes()));
            shard.keys.insert(*key, Held(place));
        }
        sequence
    }

    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard>> {
        self.shards.get((keys::hash(key.as_bytes()) >> 56) as usize).map(lock)
    }

    fn make_durable(&self, records: &[u8]) -> Result<()> {
        self.commit.commit(records, &|records| Ok(lock(&self.journal).append(records)?))
    }
}

impl Subject for Ideal {
    fn name(&self) -> &'static str {
        "ideal"
    }

    fn claim(&self, _worker: usize, keys: &[Key]) -> Result<u64> {
        let mut records = Vec::with_capacity(keys.len() * 48);
        let mut fresh = 0;
        for key in keys {
            if let Some(sequence) = self.insert(key) {
                push_record(&mut records, sequence, key);
                fresh += 1;
            }
        }
        if fresh > 0 {
            self.make_durable(&records)?;
        }
        Ok(fresh)
    }

    fn complete(&self, _worker: usize, keys: &[Key]) -> Result<()> {
        let mut records = Vec::with_capacity(keys.len() * (48 + RESPONSE_LEN));
        for key in keys {
            push_record(&mut records, self.finish(key), key);
            records.extend_from_slice(&keys::response(key.as_bytes()));
        }
        self.make_durable(&records)
    }

    /// The floor of asynchronous claims: what they cost when there is nothing but the map, the journal, and the waking.
    fn measure_in_flight(&self, calls: u64, duration: Duration, stock: &Stock) -> Result<Option<f64>> {
        let committer = Committer::default();
        thread::scope(|scope| {
            let thread = scope.spawn(|| committer.run(&|records| Ok(lock(&self.journal).append(records)?)));
            let call = || IdealClaim { ideal: self, committer: &committer, key: stock.fresh(), batch: 0 };
            let measured = in_flight::measure(calls, duration, call, |_| Ok(()));
            committer.stop(thread.thread());
            let ended = thread.join().map_err(|_| "the committer panicked")?;
            ended.and(measured).map(Some)
        })
    }

    /// In memory only.
    fn load(&self, keys: &mut dyn Iterator<Item = Key>) -> Result<()> {
        keys.for_each(|key| {
            self.finish(&key);
        });
        Ok(())
    }
}

/// A thread that commits for futures: what queued up while it wrote is the next batch.
#[derive(Debug, Default)]
struct Committer {
    queue: Mutex<Queue>,
    /// Number of the last batch that is durable. Batches count from 1.
    durable: AtomicU64,
    idle: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct Queue {
    taken: u64,
    records: Vec<u8>,
    wakers: Vec<Waker>,
}

impl Committer {
    /// Queues a record; answers its batch.
    fn enqueue(&self, sequence: u64, key: &Key, waker: &Waker) -> u64 {
        let batch = {
            let mut queue = lock(&self.queue);
            push_record(&mut queue.records, sequence, key);
            queue.wakers.push(waker.clone());
            queue.taken + 1
        };
        if self.idle.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        batch
    }

    /// Commits until it is stopped.
    fn run(&self, write: &dyn Fn(&[u8]) -> Result<()>) -> Result<()> {
        let _ = self.thread.set(thread::current());
        loop {
            self.idle.store(true, Ordering::SeqCst);
            if lock(&self.queue).records.is_empty() {
                if self.stopped.load(Ordering::SeqCst) {
                    return Ok(());
                }
                thread::park();
                continue;
            }
            self.idle.store(false, Ordering::SeqCst);
            let (batch, records, wakers) = {
                let mut queue = lock(&self.queue);
                queue.taken += 1;
                (queue.taken, std::mem::take(&mut queue.records), std::mem::take(&mut queue.wakers))
            };
            write(&records)?;
            self.durable.store(batch, Ordering::Release);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn stop(&self, thread: &Thread) {
        self.stopped.store(true, Ordering::SeqCst);
        thread.unpark();
    }
}

/// A claim of a fresh key under way.
struct IdealClaim<'a> {
    ideal: &'a Ideal,
    committer: &'a Committer,
    key: Key,
    /// The batch that carries it; 0 before it was asked for.
    batch: u64,
}

impl Future for IdealClaim<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.batch == 0 {
            let sequence = self.ideal.insert(&self.key).ok_or("a fresh key was not claimed")?;
            self.batch = self.committer.enqueue(sequence, &self.key, context.waker());
        }
        if self.committer.durable.load(Ordering::Acquire) >= self.batch {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
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
    records.extend_from_slice(key.as_bytes());
    records.extend_from_slice(&[0; 16]);
}

/// A panic elsewhere ends the bench anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn threads_share_the_fresh_keys() {
        let dir = tempfile::tempdir().unwrap();
        let ideal = Ideal::create(dir.path()).unwrap();
        ideal.load(&mut (0..100).map(keys::key)).unwrap();
        let fresh: u64 = thread::scope(|scope| {
            let claimer = || (0..200).map(|n| ideal.claim(0, &[keys::key(n)]).unwrap()).sum::<u64>();
            let claimers: Vec<_> = (0..16).map(|_| scope.spawn(claimer)).collect();
            claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum()
        });
        assert_eq!(fresh, 100);
    }
    #[test]
    fn claims_in_flight_are_all_answered() {
        let dir = tempfile::tempdir().unwrap();
        let ideal = Ideal::create(dir.path()).unwrap();
        let stock = Stock::new(Keys::Natural, 0);
        let rate = ideal.measure_in_flight(256, Duration::from_millis(50), &stock).unwrap();
        assert!(rate.is_some_and(|rate| rate > 0.0));
        let held: usize = ideal.shards.iter().map(|shard| lock(shard).keys.len()).sum();
        assert!(held >= 256);
    }
}
