//! Futures that want to be polled at a time, earliest first.

use crate::sync::Mutex;
use std::collections::BinaryHeap;
use std::task::Waker;

/// Wakers and when to call them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    waiting: Mutex<BinaryHeap<Timer>>,
}

#[derive(Debug)]
struct Timer {
    due_boot_ms: u64,
    waker: Waker,
}

impl Timers {
    /// Wakes `waker` at about `due_boot_ms`. The service thread must be told to look at its timers again.
    pub(crate) fn wake_at(&self, due_boot_ms: u64, waker: &Waker) {
        self.waiting.lock().push(Timer { due_boot_ms, waker: waker.clone() });
    }

    /// How many futures wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// When the earliest is due, in boot time.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.waiting.lock().peek().map(|timer| timer.due_boot_ms)
    }

    /// Calls what is due, without the lock: a waker may come back for it.
    pub(crate) fn wake_due(&self, boot_ms: u64) {
        while let Some(timer) = self.take_due(boot_ms) {
            timer.waker.wake();
        }
    }

    fn take_due(&self, boot_ms: u64) -> Option<Timer> {
        let mut waiting = self.waiting.lock();
        if waiting.peek()?.due_boot_ms > boot_ms { None } else { waiting.pop() }
    }

    /// Calls all of them: the store closes.
    pub(crate) fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(|timer| timer.waker.wake());
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.due_boot_ms == other.due_boot_ms
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        other.due_boot_ms.cmp(&self.due_boot_ms)
    }
}
