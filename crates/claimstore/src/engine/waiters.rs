//! Callers that wait for a holder to finish.
//!
//! No wake-up is lost: a waiter registers *before* it asks for the claim, and the bell rings *after* the live table
//! changed. So a change either is before the question, which sees it, or is after the registration, and rings.

use crate::planted;
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Event, Mutex, Ordering};
use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

/// Waiters by key hash. Two keys with the same hash wake each other: a spurious wake-up, which costs one look-up.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    by_hash: Mutex<HashMap<u64, Vec<Arc<Bell>>>>,
    /// How often one of them asked, and went on waiting.
    looks: AtomicU64,
}

/// One waiter's bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    event: Event,
    waker: Mutex<Option<Waker>>,
}

impl Waiters {
    pub(crate) fn register(&self, hash: u64) -> Arc<Bell> {
        let bell = Arc::new(Bell::default());
        // Both steps come before the caller's question. A ring that misses them is of a change that the question
        // sees.
        self.by_hash.lock().entry(hash).or_default().push(bell.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        bell
    }

    pub(crate) fn deregister(&self, hash: u64, bell: &Arc<Bell>) {
        let mut by_hash = self.by_hash.lock();
        if let Some(bells) = by_hash.get_mut(&hash) {
            bells.retain(|other| !Arc::ptr_eq(other, bell));
            let mut is_unused = bells.is_empty();
            if planted::active(77) {
                is_unused = false;
            }
            if is_unused {
                by_hash.remove(&hash);
            }
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Counts a question after which its asker goes on waiting.
    pub(crate) fn looked(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many keys are waited for.
    pub(crate) fn keys(&self) -> usize {
        self.by_hash.lock().len()
    }

    /// Wakes the waiters of a key.
    pub(crate) fn ring(&self, hash: u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bells = self.by_hash.lock().get(&hash).cloned().unwrap_or_default();
        bells.iter().for_each(|bell| bell.ring());
    }

    /// Wakes all waiters: the clock was moved, or the store closes.
    pub(crate) fn ring_all(&self) {
        let bells: Vec<Arc<Bell>> = self.by_hash.lock().values().flatten().cloned().collect();
        bells.iter().for_each(|bell| bell.ring());
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        self.event.signal_all();
        // Called without the lock: a waker may poll, and `poll` takes it.
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Resets the bell. Must come before the question whose answer may make the caller wait.
    pub(crate) fn silence(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Sleeps until rung or about `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration) {
        self.event.wait_for(limit, || self.rung.load(Ordering::SeqCst));
    }

    /// For futures: true if rung, else `waker` will be called.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        // The waker first, then the look: a ring in between finds the waker, an earlier one is seen here.
        *self.waker.lock() = Some(waker.clone());
        self.rung.load(Ordering::SeqCst)
    }
}
