//! What is asked of the upkeep thread: to look around, and calls that take long, on behalf of futures.
//!
//! Every task completes: it runs, or, if the store closes first, it is dropped, and its promise returns `Closed`.

use crate::error::{Error, ErrorKind};
use crate::sync::{AtomicBool, Event, Mutex, Ordering};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Most calls that wait for the upkeep thread.
const MAX_TASKS: usize = 1_024;

/// A call on an engine `E`.
pub(crate) type Task<E> = Box<dyn FnOnce(&E) + Send>;

/// What the upkeep thread is asked for.
#[derive(Debug)]
pub(crate) struct Upkeep<E> {
    wanted: AtomicBool,
    bell: Event,
    pub(crate) tasks: Tasks<E>,
}

impl<E> Default for Upkeep<E> {
    fn default() -> Upkeep<E> {
        Upkeep { wanted: AtomicBool::default(), bell: Event::default(), tasks: Tasks::default() }
    }
}

impl<E> Upkeep<E> {
    /// Asks the upkeep thread to look around now.
    pub(crate) fn ask(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.bell.signal_all();
        }
    }

    /// To be called before looking: what is asked for from here on is seen by the sleep after it.
    pub(crate) fn begin_looking(&self) {
        // A swap: what asked for upkeep before is seen by the reads that follow, or asks again.
        self.wanted.swap(false, Ordering::AcqRel);
    }

    /// Sleeps until upkeep is asked for, or `is_over`, or `at_most` has passed.
    pub(crate) fn sleep(&self, at_most: Option<Duration>, is_over: impl Fn() -> bool) {
        let woken = || self.wanted.load(Ordering::Acquire) || is_over();
        match at_most {
            Some(limit) => drop(self.bell.wait_for(limit, woken)),
            None => self.bell.wait_until(woken),
        }
    }

    /// The same after a failure: whoever asks for upkeep meanwhile would only be told the same; tasks are not
    /// kept waiting.
    pub(crate) fn sleep_over_failure(&self, at_most: Duration, is_over: impl Fn() -> bool) {
        self.bell.wait_for(at_most, || self.tasks.is_waiting() || is_over());
    }

    /// Wakes the thread to see that it is over.
    pub(crate) fn ring(&self) {
        self.bell.signal_all();
    }
}

/// Calls that wait for the upkeep thread.
pub(crate) struct Tasks<E> {
    queue: Mutex<Queue<E>>,
}

struct Queue<E> {
    waiting: VecDeque<Task<E>>,
    ended: bool,
}

impl<E> Default for Tasks<E> {
    fn default() -> Tasks<E> {
        Tasks { queue: Mutex::new(Queue { waiting: VecDeque::new(), ended: false }) }
    }
}

impl<E> Tasks<E> {
    pub(crate) fn push(&self, task: Task<E>) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        if queue.ended {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        if queue.waiting.len() >= MAX_TASKS {
            return Err(Error::new(ErrorKind::Overloaded, "too many calls wait for upkeep; retry"));
        }
        queue.waiting.push_back(task);
        Ok(())
    }

    pub(crate) fn next(&self) -> Option<Task<E>> {
        self.queue.lock().waiting.pop_front()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    fn is_waiting(&self) -> bool {
        !self.queue.lock().waiting.is_empty()
    }

    /// No thread will serve the queue any more.
    pub(crate) fn end(&self) {
        let left = {
            let mut queue = self.queue.lock();
            queue.ended = true;
            std::mem::take(&mut queue.waiting)
        };
        // Dropped after the lock is released: their promises call wakers.
        drop(left);
    }
}

impl<E> fmt::Debug for Tasks<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("waiting", &self.queue.lock().waiting.len()).finish_non_exhaustive()
    }
}
