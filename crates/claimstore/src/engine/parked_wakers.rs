//! Wakers of futures whose batch was taken to be written before they could be left with it.

use crate::sync::Mutex;
use std::task::Waker;

/// Wakers, each with the batch that its future waits for.
#[derive(Debug, Default)]
pub(crate) struct ParkedWakers {
    parked: Mutex<Vec<(u64, Waker)>>,
}

impl ParkedWakers {
    /// Keeps a waker for a batch that is being written.
    pub(crate) fn park(&self, batch: u64, waker: &Waker) {
        self.parked.lock().push((batch, waker.clone()));
    }

    /// Takes back the wakers kept for batches up to `batch`.
    pub(crate) fn take(&self, batch: u64) -> Vec<Waker> {
        let mut parked = self.parked.lock();
        if parked.is_empty() {
            return Vec::new();
        }
        let (ready, rest) = std::mem::take(&mut *parked).into_iter().partition(|(of, _)| *of <= batch);
        *parked = rest;
        let ready: Vec<(u64, Waker)> = ready;
        ready.into_iter().map(|(_, waker)| waker).collect()
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.parked.lock().len()
    }
}
