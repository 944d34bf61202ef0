//! Group commit: many callers, one write and one sync.
//!
//! The reference and the rivals share it, so that they differ in what is written and not in who is woken when.

use crate::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// A leader lets others run this often before it closes its batch: it collects nearly everybody who was woken
/// by the previous commit, and costs a lone caller almost nothing.
const YIELDS: usize = 4;

/// A queue of items whose callers wait until one of them, the leader, has written them for all.
#[derive(Debug)]
pub struct GroupCommit<T> {
    queue: Mutex<Queue<T>>,
    /// Number of the last batch that is durable. Batches count from 1.
    durable: AtomicU64,
    failed: AtomicBool,
}

/// What waits for the next commit.
#[derive(Debug)]
struct Queue<T> {
    batch: u64,
    items: Vec<T>,
    followers: Vec<Thread>,
    has_leader: bool,
}

impl<T> Default for GroupCommit<T> {
    fn default() -> Self {
        let queue = Queue { batch: 1, items: Vec::new(), followers: Vec::new(), has_leader: false };
        Self { queue: Mutex::new(queue), durable: AtomicU64::new(0), failed: AtomicBool::new(false) }
    }
}

impl<T: Copy> GroupCommit<T> {
    /// Returns when the items are durable: written by this caller's `write`, or by that of the batch's leader.
    pub fn commit(&self, items: &[T], write: &dyn Fn(&[T]) -> Result<()>) -> Result<()> {
        let (batch, leads) = self.enqueue(items);
        if leads {
            self.lead(write)?;
        }
        while self.durable.load(Ordering::Acquire) < batch {
            if self.failed.load(Ordering::Acquire) {
                return Err("an earlier commit failed".into());
            }
            if self.take_over(batch) {
                self.lead(write)?;
            } else {
                thread::park();
            }
        }
        Ok(())
    }

    fn enqueue(&self, items: &[T]) -> (u64, bool) {
        let mut queue = lock(&self.queue);
        queue.items.extend_from_slice(items);
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

    fn lead(&self, write: &dyn Fn(&[T]) -> Result<()>) -> Result<()> {
        for _ in 0..YIELDS {
            thread::yield_now();
        }
        let (batch, items, followers) = {
            let mut queue = lock(&self.queue);
            let queue = &mut *queue;
            queue.batch += 1;
            (queue.batch - 1, std::mem::take(&mut queue.items), std::mem::take(&mut queue.followers))
        };
        let outcome = write(&items);
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

/// A panic elsewhere ends the bench anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_written_once() {
        let (group, written) = (GroupCommit::default(), Mutex::new(Vec::new()));
        let write = |items: &[u64]| {
            lock(&written).extend_from_slice(items);
            Ok(())
        };
        thread::scope(|scope| {
            for first in 0..16 {
                let (group, write) = (&group, &write);
                scope.spawn(move || {
                    (0..100).for_each(|n| group.commit(&[first * 100 + n], write).unwrap());
                });
            }
        });
        let mut written = lock(&written).clone();
        written.sort_unstable();
        assert_eq!(written, (0..1600).collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_reaches_those_behind_it() {
        let group = GroupCommit::default();
        assert!(group.commit(&[1], &|_| Err("full".into())).is_err());
        let earlier = group.commit(&[1], &|_| Err("full".into())).unwrap_err();
        assert_eq!(earlier.to_string(), "full");
    }
}
