//! Leader election for group commit: which thread commits, how far commits have come, and which waiters are woken.
//!
//! Two rules:
//!
//! 1. *One leader.* Only the thread that holds the baton takes a batch from the queue, writes it and syncs it.
//! 2. *No thread sleeps on a queue that has no leader.* A leader looks at the queue after it put the baton down, and
//!    wakes a waiter if there is a batch. A caller looks at the baton after it queued its operation. Both access the
//!    queue under its lock, so at least one of the two sees what the other did.
//!
//! Memory ordering of an answer: `reached` is raised before the event is signalled and before the baton is put down.
//! So a waiter that is woken sees it raised, and so does the next holder of the baton: it never leads for a batch
//! that is committed already.
//!
//! This is the smallest core of group commit. Loom explores all its interleavings, with the memory orderings as weak
//! as they are written (`explored/baton`).

use crate::sync::{AtomicBool, AtomicU64, Event, Ordering};

/// Events are chosen by batch number, so waiters of neighbouring batches sleep on different ones.
const EVENTS: usize = 4;

#[derive(Debug)]
pub(crate) struct Baton {
    held: AtomicBool,
    /// Batches up to this number are committed: their answers may be returned.
    reached: AtomicU64,
    events: [Event; EVENTS],
}

impl Baton {
    /// A baton without a holder; batches up to `reached` are committed.
    pub(crate) fn new(reached: u64) -> Baton {
        Baton { held: AtomicBool::new(false), reached: AtomicU64::new(reached), events: Default::default() }
    }

    /// Takes the baton if it has no holder. Never blocks.
    pub(crate) fn take(&self) -> bool {
        self.held.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Puts the baton down. By the second rule the caller must look at the queue after this.
    pub(crate) fn put_down(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Whether there is a leader.
    pub(crate) fn is_taken(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// The last committed batch.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Marks batches up to `batch` as committed. Only the holder of the baton calls this, before
    /// [`ring`](Baton::ring).
    pub(crate) fn reach(&self, batch: u64) {
        self.reached.store(batch, Ordering::Release);
    }

    /// Wakes all threads that wait for `batch`.
    pub(crate) fn ring(&self, batch: u64) {
        self.event(batch).signal_all();
    }

    /// Wakes one of the threads that wait for `batch`, so that it takes the baton.
    pub(crate) fn nudge(&self, batch: u64) {
        self.event(batch).signal_one();
    }

    /// Wakes all waiting threads, so that they check again.
    pub(crate) fn ring_all(&self) {
        self.events.iter().for_each(Event::signal_all);
    }

    /// Sleeps until `batch` is committed, the baton is free, or `ended` returns true. Whatever makes `ended` true
    /// must call [`ring_all`](Baton::ring_all) afterwards.
    pub(crate) fn sleep(&self, batch: u64, ended: impl Fn() -> bool) {
        self.event(batch).wait_until(|| self.reached() >= batch || !self.is_taken() || ended());
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
    fn event(&self, batch: u64) -> &Event {
        &self.events[(batch as usize) % EVENTS]
    }
}

/// All interleavings of two or three callers.
///
/// ```text
/// cargo test --manifest-path explored/Cargo.toml -p explored-baton
/// ```
#[cfg(all(test, loom))]
mod explored {
    use super::*;
    use crate::sync::{Arc, Mutex};
    use loom::thread;
    use std::collections::VecDeque;

    /// Group commit with the journal left out: callers queue batches and wait for them.
    struct Small {
        baton: Baton,
        queue: Mutex<Queue>,
        /// Batches in the order of their commit. Only leaders lock it.
        journal: Mutex<Vec<u64>>,
        ended: AtomicBool,
        /// The batch whose sync fails, if one does.
        fails: Option<u64>,
    }

    struct Queue {
        next: u64,
        pending: VecDeque<u64>,
        /// Whether a caller joins a batch that waits already; else it opens one of its own.
        joins: bool,
    }

    impl Small {
        fn new(joins: bool, fails: Option<u64>) -> Arc<Small> {
            Arc::new(Small {
                baton: Baton::new(0),
                queue: Mutex::new(Queue { next: 1, pending: VecDeque::new(), joins }),
                journal: Mutex::new(Vec::new()),
                ended: AtomicBool::new(false),
                fails,
            })
        }

        /// Queues an operation and waits for it, as `Commit::wait` does. Returns its batch, and whether it was
        /// committed.
        fn call(&self) -> (u64, bool) {
            let batch = self.enqueue();
            loop {
                let ended = self.ended.load(Ordering::Acquire);
                if self.baton.reached() >= batch {
                    return (batch, true);
                }
                if ended {
                    return (batch, false);
                }
                if !self.lead() {
                    self.baton.sleep(batch, || self.ended.load(Ordering::Acquire));
                }
            }
        }

        fn enqueue(&self) -> u64 {
            let mut queue = self.queue.lock();
            if queue.joins
                && let Some(open) = queue.pending.back()
            {
                return *open;
            }
            let batch = queue.next;
            queue.next += 1;
            queue.pending.push_back(batch);
            batch
        }

        fn lead(&self) -> bool {
            if !self.baton.take() {
                return false;
            }
            let front = self.queue.lock().pending.pop_front();
            if let Some(batch) = front {
                self.commit(batch);
            }
            self.baton.put_down();
            let front = self.queue.lock().pending.front().copied();
            if let Some(batch) = front {
                self.baton.nudge(batch);
            }
            true
        }

        fn commit(&self, batch: u64) {
            let mut journal = self.journal.try_lock().expect("one leader");
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            if self.fails == Some(batch) {
                self.ended.store(true, Ordering::Release);
                self.baton.ring_all();
                return;
            }
            assert_eq!(journal.last().copied().unwrap_or(0) + 1, batch, "batches commit in their order");
            journal.push(batch);
            self.baton.reach(batch);
            self.baton.ring(batch);
        }
    }

    /// Runs `callers` of one call each under all interleavings with at most `switches` preemptions. A lost wake-up is
    /// a deadlock, which loom reports.
    fn explore(callers: usize, switches: usize, joins: bool, fails: Option<u64>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(switches);
        model.check(move || {
            let small = Small::new(joins, fails);
            let others: Vec<_> = (1..callers)
                .map(|_| {
                    let small = small.clone();
                    thread::spawn(move || small.call())
                })
                .collect();
            let own = small.call();
            let mut told: Vec<(u64, bool)> = others.into_iter().map(|other| other.join().unwrap()).collect();
            told.push(own);
            let journal = small.journal.lock();
            for (batch, came_through) in told {
                assert_eq!(came_through, journal.contains(&batch), "batch {batch} of {:?}", *journal);
                assert!(came_through || fails.is_some());
            }
        });
    }

    #[test]
    fn two_callers_are_both_answered() {
        for joins in [false, true] {
            explore(2, 6, joins, None);
        }
    }

    #[test]
    fn three_callers_are_all_answered() {
        for joins in [false, true] {
            explore(3, 3, joins, None);
        }
    }

    #[test]
    fn a_failed_sync_wakes_everybody() {
        for joins in [false, true] {
            for fails in 1..=2 {
                explore(2, 6, joins, Some(fails));
                explore(3, 2, joins, Some(fails));
            }
        }
    }
}
