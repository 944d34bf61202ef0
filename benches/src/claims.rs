//! claimstore under load, used as any program would use it.

use crate::Result;
use crate::in_flight;
use crate::keys::{self, Key, Keys};
use crate::stock::Stock;
use crate::subject::Subject;
use claimstore::{Claim, ClaimRequest, Lease, Namespace, Options, Policy, Store, TimeOrdered};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the benches' keys are remembered.
pub const TTL: Duration = Duration::from_hours(7 * 24);

/// Items of one call where the number does not matter.
pub const BATCH: usize = 4096;

/// Most claims in progress: sustained loads collect more of them than the default allows.
const MAX_IN_PROGRESS: usize = 10_000_000;

const LIVE_BYTES: usize = 6 << 30;

/// Cached blocks: as much as the rivals get.
const CACHE_BYTES: usize = 1 << 30;

/// Results that a checkpoint waits for: half of what `RocksDB`'s memtables get.
const CHECKPOINT_BYTES: usize = 256 << 20;

/// A checkpoint starts at the latest when two of them are full: as much journal as `RocksDB`'s memtables leave.
const SEGMENT_BYTES: u64 = 256 << 20;

/// How long each key of a load is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// [`TTL`], all alike.
    Same,
    /// A day or a week, and of either the last half, drawn by the key: two classes of buckets, several in each.
    Spread,
}

/// Opens a store that may hold as many claims in progress as a load leaves behind.
pub fn open(dir: &Path, options: Options) -> Result<Store> {
    Ok(options.max_in_progress(MAX_IN_PROGRESS).live_memory_bytes(LIVE_BYTES).open(dir)?)
}

impl Ttl {
    fn of(self, key: &Key) -> Duration {
        if self == Self::Same {
            return TTL;
        }
        let drawn = keys::hash(key.as_bytes());
        let most = if drawn & 1 == 0 { TTL } else { Duration::from_hours(24) };
        most.mul_f64(0.5 + f64::from((drawn >> 32) as u32) / f64::from(u32::MAX) / 2.0)
    }
}

/// A store and the leases that its workers hold.
#[derive(Debug)]
pub struct Claims {
    store: Store,
    namespace: Namespace,
    ttl: Ttl,
    /// Of each worker its own, so that workers do not meet at a lock.
    leases: Vec<Mutex<Leases>>,
}

/// The leases that a worker holds. Millions of them in one list would be copied each time it grows, for longer than any
/// claim takes.
#[derive(Debug, Default)]
struct Leases {
    /// Lists of [`BATCH`].
    full: Vec<Vec<Lease>>,
    /// The newest.
    open: Vec<Lease>,
}

impl Leases {
    /// Adds the lease of a claim that was granted; whether it was.
    fn add(&mut self, claim: Claim) -> bool {
        let Some(lease) = fresh(claim) else { return false };
        if self.open.len() == BATCH {
            self.full.push(std::mem::replace(&mut self.open, Vec::with_capacity(BATCH)));
        }
        self.open.push(lease);
        true
    }

    /// Takes the only lease, if there is one only.
    fn pop_only(&mut self) -> Option<Lease> {
        if self.full.is_empty() && self.open.len() == 1 { self.open.pop() } else { None }
    }
}

impl Claims {
    /// Opens a new store in `dir` for at most `workers` threads: with the memory that the rivals have, and room for
    /// all the claims in progress that a load leaves behind; else with all defaults. `UUIDv7` keys are declared as
    /// what they are.
    pub fn create(dir: &Path, keys: Keys, ttl: Ttl, workers: usize) -> Result<Self> {
        let options = Options::new()
            .page_cache_bytes(CACHE_BYTES)
            .checkpoint_bytes(CHECKPOINT_BYTES)
            .segment_bytes(SEGMENT_BYTES);
        Self::over(open(dir, options)?, keys, ttl, workers)
    }

    /// Drives a store that is open.
    pub fn over(store: Store, keys: Keys, ttl: Ttl, workers: usize) -> Result<Self> {
        let policy = Policy::new().ttl(TTL);
        let policy = match keys {
            Keys::Natural => policy,
            Keys::UuidV7 { .. } => policy.time_ordered_keys(TimeOrdered::UuidV7),
        };
        let namespace = store.namespace_with("bench", policy)?;
        Ok(Self { store, namespace, ttl, leases: (0..workers).map(|_| Mutex::default()).collect() })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn request(&self, key: &Key) -> ClaimRequest {
        ClaimRequest::new(key).ttl(self.ttl.of(key))
    }

    fn complete_all(&self, leases: Leases) -> Result<()> {
        let mut lists = leases.full.into_iter().chain([leases.open]);
        lists.try_for_each(|list| complete(&self.store, list))
    }

    fn held_by(&self, worker: usize) -> Result<MutexGuard<'_, Leases>> {
        let leases = self.leases.get(worker).ok_or("more workers than the store was made for")?;
        Ok(leases.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subject for Claims {
    fn name(&self) -> &'static str {
        "claimstore"
    }

    fn claim(&self, worker: usize, keys: &[Key]) -> Result<u64> {
        let mut leases = self.held_by(worker)?;
        if let [key] = keys {
            return Ok(u64::from(leases.add(self.namespace.claim(key, self.ttl.of(key))?)));
        }
        let requests: Vec<ClaimRequest> = keys.iter().map(|key| self.request(key)).collect();
        let mut claimed = 0;
        for answer in self.namespace.claim_many(&requests)? {
            claimed += u64::from(leases.add(answer?));
        }
        Ok(claimed)
    }

    fn complete(&self, worker: usize, _keys: &[Key]) -> Result<()> {
        let mut leases = self.held_by(worker)?;
        if let Some(lease) = leases.pop_only() {
            let response = keys::response(lease.key());
            lease.complete(response)?;
            return Ok(());
        }
        self.complete_all(std::mem::take(&mut *leases))
    }

    fn measure_in_flight(&self, calls: u64, duration: Duration, stock: &Stock) -> Result<Option<f64>> {
        let call = || {
            let claim = self.namespace.claim_async(&self.request(&stock.fresh()));
            async { claimed(claim.await?) }
        };
        let after = |leases| {
            complete(&self.store, leases)?;
            self.settle()
        };
        in_flight::measure(calls, duration, call, after).map(Some)
    }

    /// Completes what was claimed and checkpoints it.
    fn settle(&self) -> Result<()> {
        for worker in 0..self.leases.len() {
            let leases = std::mem::take(&mut *self.held_by(worker)?);
            self.complete_all(leases)?;
        }
        Ok(self.store.checkpoint()?)
    }
}

/// Claims and completes the keys of some numbers, in large batches.
pub fn fill(store: &Store, numbers: Range<u64>) -> Result<()> {
    let mut first = numbers.start;
    while first < numbers.end {
        let end = numbers.end.min(first + BATCH as u64);
        complete(store, claim_range(store, first..end)?)?;
        first = end;
    }
    Ok(())
}

/// Claims the keys of some numbers in one call; all must be fresh.
pub fn claim_range(store: &Store, numbers: Range<u64>) -> Result<Vec<Lease>> {
    let answers = store.claim_many(&requests(numbers))?;
    answers.into_iter().map(|answer| claimed(answer?)).collect()
}

/// Completes leases in large batches, each with the response of its key.
pub fn complete(store: &Store, leases: Vec<Lease>) -> Result<()> {
    let mut leases = leases.into_iter().peekable();
    while leases.peek().is_some() {
        let batch: Vec<_> = leases.by_ref().take(BATCH).map(with_response).collect();
        for outcome in store.complete_many(batch)? {
            outcome?;
        }
    }
    Ok(())
}

/// The requests for the keys of some numbers.
pub fn requests(numbers: Range<u64>) -> Vec<ClaimRequest> {
    numbers.map(|number| request(&keys::key(number))).collect()
}

/// The lease of a fresh key.
pub fn claimed(claim: Claim) -> Result<Lease> {
    fresh(claim).ok_or_else(|| "a fresh key was not claimed".into())
}

fn fresh(claim: Claim) -> Option<Lease> {
    match claim {
        Claim::Claimed(lease) => Some(lease),
        Claim::Duplicate(_) | Claim::InProgress(_) => None,
    }
}

fn request(key: &Key) -> ClaimRequest {
    ClaimRequest::new(key).ttl(TTL)
}

fn with_response(lease: Lease) -> (Lease, Vec<u8>) {
    let response = keys::response(lease.key());
    (lease, response.to_vec())
}
