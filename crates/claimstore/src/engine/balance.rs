//! [`Balance`]: a sum that is added to under one lock and taken from under others.

use crate::sync::{AtomicU64, Ordering};

/// What came in, and what went out again.
///
/// Whoever adds holds the order lock, so that nobody else adds meanwhile: a plain store will do. An atomic addition
/// would have the processor wait, claim for claim, until the entry it has just written has reached its cache; those are
/// lines of fresh memory, and the wait was an eighth of a claim (docs/decisions/0066). Whoever takes out holds only the
/// lock of what is taken, and pays for the atomic addition.
///
/// Ordering argument of [`now`](Balance::now), which holds no lock: what is taken out was added before, and the taking
/// releases what the reader acquires. So a sum of what came in that is read *after* the sum of what went out has
/// everything in it that went out, and their difference is never below nothing.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    came: AtomicU64,
    went: AtomicU64,
}

impl Balance {
    /// Under the order lock, or where nobody else is about.
    pub(crate) fn add(&self, amount: u64) {
        self.came.store(self.came.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Takes back what was added. Under the order lock too.
    pub(crate) fn take_back(&self, amount: u64) {
        self.came.store(self.came.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
    }

    /// Takes out, under no lock that the sum knows of.
    pub(crate) fn take_out(&self, amount: u64) {
        self.went.fetch_add(amount, Ordering::Release);
    }

    pub(crate) fn now(&self) -> u64 {
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
