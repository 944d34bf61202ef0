//! Who waits for a key to change hands.
//!
//! A waiter registers *before* it asks for the claim, and the bell rings *after* the live table changed, so
//! a change falls either before the question (and is seen by it) or after the registration (and rings).

use crate::planted;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Event, Mutex, Ordering};
use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

/// Waiters by key hash. Two keys of one hash wake each other, which costs a look and no more.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    by_hash: Mutex<HashMap<u64, Vec<Arc<Bell>>>>,
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
        self.by_hash.lock().entry(hash).or_default().push(bell.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        bell
    }

    pub(crate) fn deregister(&self, hash: u64, bell: &Arc<Bell>) {
        let mut by_hash = self.by_hash.lock();
        if let Some(bells) = by_hash.get_mut(&hash) {
            bells.retain(|other| !Arc::ptr_eq(other, bell));
            if bells.is_empty() && !planted::active(77) {
                by_hash.remove(&hash);
            }
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many keys are waited for.
    pub(crate) fn keys(&self) -> usize {
        self.by_hash.lock().len()
    }

    /// Wakes who waits for the key.
    pub(crate) fn ring(&self, hash: u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bells = self.by_hash.lock().get(&hash).cloned().unwrap_or_default();
        bells.iter().for_each(|bell| bell.ring());
    }

    /// Wakes everybody: the clock was moved, or the store closes.
    pub(crate) fn ring_all(&self) {
        let bells: Vec<Arc<Bell>> = self.by_hash.lock().values().flatten().cloned().collect();
        bells.iter().for_each(|bell| bell.ring());
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        self.event.signal_all();
        // Not under the lock: a waker may poll, which comes back for it.
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// To be called before the question whose answer may make the caller wait.
    pub(crate) fn silence(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Sleeps until rung or about `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration) {
        self.event.wait_for(limit, || self.rung.load(Ordering::SeqCst));
    }

    /// For futures: true if rung, else `waker` will be called.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        *self.waker.lock() = Some(waker.clone());
        self.rung.load(Ordering::SeqCst)
    }
}
