//! [`Balance`]: a sum with additions under one lock and subtractions under others.

use crate::sync::{AtomicU64, Ordering};

/// Two counters: everything that was added, and everything that was removed. The sum is their difference.
///
/// Additions happen under the order lock, so there is one writer at a time, and a plain load and store are enough. An
/// atomic read-modify-write would drain the store buffer. At that moment it holds the stores of the entry that was
/// just written, to lines that are in no cache, and waiting for them took an eighth of a claim (docs/decisions/0066).
/// Removals hold only the lock of the removed item, so several can run at once: they use an atomic addition.
///
/// Memory ordering of [`now`](Balance::now), which takes no lock: every removed amount was added before, and the
/// addition happens before the removal. The removal is a release store, and the reader acquires it. So if `came` is
/// read *after* `went`, it includes everything that `went` includes, and the difference is never negative.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    came: AtomicU64,
    went: AtomicU64,
}

impl Balance {
    /// Adds. The caller holds the order lock, or no other thread exists yet.
    pub(crate) fn add(&self, amount: u64) {
        self.came.store(self.came.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Reverses an addition. Under the order lock, like [`add`](Balance::add).
    pub(crate) fn take_back(&self, amount: u64) {
        self.came.store(self.came.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
    }

    /// Removes. The caller need not hold the order lock.
    pub(crate) fn take_out(&self, amount: u64) {
        self.went.fetch_add(amount, Ordering::Release);
    }

    pub(crate) fn now(&self) -> u64 {
        // This load must come first: see the memory ordering above.
        let went = self.went.load(Ordering::Acquire);
        self.came.load(Ordering::Relaxed).saturating_sub(went)
    }
}

#[cfg(test)]
mod tests {
    use super::Balance;
    use crate::sync::Mutex;

    #[test]
    fn what_came_less_what_went() {
        let balance = Balance::default();
        balance.add(7);
        balance.add(5);
        balance.take_back(2);
        assert_eq!(balance.now(), 10);
        balance.take_out(10);
        assert_eq!(balance.now(), 0);
    }

    #[test]
    fn nothing_is_lost_where_additions_share_a_lock() {
        let (balance, order) = (Balance::default(), Mutex::new(()));
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        {
                            let _held = order.lock();
                            balance.add(3);
                        }
                        balance.take_out(1);
                        {
                            let _held = order.lock();
                            balance.take_back(1);
                        }
                        balance.take_out(1);
                    }
                });
            }
        });
        assert_eq!(balance.now(), 0);
    }
}
