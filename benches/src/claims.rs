//! claimstore under load, used as any program would use it.

use crate::Result;
use crate::drive::Subject;
use crate::executor::block_on;
use crate::keys::{self, Key};
use crate::summary::rate;
use crate::time::Stopwatch;
use claimstore::{Claim, ClaimRequest, Lease, Options, Store};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the benches' keys are remembered.
pub const TTL: Duration = Duration::from_hours(7 * 24);

/// Items of one call where the number does not matter.
pub const BATCH: usize = 4096;

/// A burst of calls in flight ends after this many claims; see [`crate::drive`].
const BURST_CLAIMS: u64 = 400_000;

const BURST_TIME: Duration = Duration::from_secs(1);

/// A store and the leases that the current burst has collected.
#[derive(Debug)]
pub struct Claims {
    store: Store,
    /// One list per worker, so that workers do not meet at a lock.
    leases: Vec<Mutex<Vec<Lease>>>,
}

impl Claims {
    /// Opens a new store in `dir` with all defaults, for at most `workers` threads.
    pub fn create(dir: &Path, workers: usize) -> Result<Self> {
        let store = Options::new().open(dir)?;
        Ok(Self { store, leases: (0..workers).map(|_| Mutex::default()).collect() })
    }

    /// Enters the keys of the numbers `0..count` as completed, and moves them to where old records live.
    pub fn load(&self, count: u64) -> Result<()> {
        fill(&self.store, 0..count)?;
        Ok(self.store.checkpoint()?)
    }

    /// Claims a second over `duration` of measured time, with `in_flight` claims in flight on this thread.
    pub fn measure_in_flight(&self, in_flight: u64, duration: Duration, next: &AtomicU64) -> Result<f64> {
        let (mut claims, mut elapsed) = (0, Duration::ZERO);
        while elapsed < duration {
            let limit = BURST_TIME.min(duration.saturating_sub(elapsed));
            let (more, time) = block_on(self.burst_in_flight(in_flight, limit, next))?;
            claims += more;
            elapsed += time;
            self.settle()?;
        }
        Ok(rate(claims, elapsed.as_secs_f64()))
    }

    async fn burst_in_flight(
        &self,
        in_flight: u64,
        duration: Duration,
        next: &AtomicU64,
    ) -> Result<(u64, Duration)> {
        let call = || self.store.claim_async(&request(&keys::key(next.fetch_add(1, Ordering::Relaxed))));
        let watch = Stopwatch::start();
        let mut calls: FuturesUnordered<_> = (0..in_flight).map(|_| call()).collect();
        let (mut leases, mut counted) = (Vec::new(), None);
        while let Some(answer) = calls.next().await {
            leases.push(claimed(answer?)?);
            let time = watch.elapsed();
            if time < duration && (leases.len() as u64) < BURST_CLAIMS {
                calls.push(call());
            } else {
                // What is still in flight is awaited, but neither it nor its time counts.
                counted.get_or_insert((leases.len() as u64, time));
            }
        }
        complete(&self.store, leases)?;
        Ok(counted.unwrap_or_default())
    }

    fn collect(&self, worker: usize) -> Result<MutexGuard<'_, Vec<Lease>>> {
        let leases = self.leases.get(worker).ok_or("more workers than the store was made for")?;
        Ok(leases.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subject for Claims {
    fn name(&self) -> &'static str {
        "claimstore"
    }

    fn claim(&self, worker: usize, first: u64, count: u64) -> Result<u64> {
        let mut leases = self.collect(worker)?;
        let before = leases.len();
        if count == 1 {
            leases.extend(fresh(self.store.claim(keys::key(first), TTL)?));
        } else {
            let requests: Vec<ClaimRequest> = requests(first..first + count);
            for answer in self.store.claim_many(&requests)? {
                leases.extend(fresh(answer?));
            }
        }
        Ok((leases.len() - before) as u64)
    }

    /// Completes what was claimed and checkpoints it, so that every burst begins alike.
    fn settle(&self) -> Result<()> {
        for worker in 0..self.leases.len() {
            let leases = std::mem::take(&mut *self.collect(worker)?);
            complete(&self.store, leases)?;
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
    let response = lease.key().first_chunk().map_or([b'.'; keys::RESPONSE_LEN], keys::response);
    (lease, response.to_vec())
}
