//! The keys a store has seen and those it will see.

use crate::keys::{self, Key, Keys};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers a worker takes at a time, so that workers do not meet at the counter.
const STRIDE: u64 = 1024;

/// The keys of one store: those of the numbers below `loaded` were completed before the measurement, and fresh ones
/// follow.
#[derive(Debug)]
pub struct Stock {
    keys: Keys,
    loaded: u64,
    next: AtomicU64,
}

impl Stock {
    /// A stock of which nothing is used.
    pub fn new(keys: Keys, loaded: u64) -> Self {
        Self { keys, loaded, next: AtomicU64::new(loaded) }
    }

    /// The keys to load.
    pub fn loaded(&self) -> impl Iterator<Item = Key> + use<> {
        let keys = self.keys;
        (0..self.loaded).map(move |n| keys.key(n))
    }

    /// A key that no store has seen.
    pub fn fresh(&self) -> Key {
        self.keys.key(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// What one worker takes keys from. Workers with different numbers draw different keys, and none draws again
    /// what it drew before fresh keys were taken.
    pub fn share(&self, worker: u64) -> Share<'_> {
        let drawn = keys::mix(self.next.load(Ordering::Relaxed)) ^ keys::mix(worker);
        Share { stock: self, fresh: 0..0, drawn }
    }
}

/// One worker's view of a [`Stock`].
#[derive(Debug)]
pub struct Share<'a> {
    stock: &'a Stock,
    fresh: Range<u64>,
    drawn: u64,
}

impl Share<'_> {
    /// A key that no store has seen.
    pub fn fresh(&mut self) -> Key {
        let number = self.fresh.next().unwrap_or_else(|| {
            let first = self.stock.next.fetch_add(STRIDE, Ordering::Relaxed);
            self.fresh = first + 1..first + STRIDE;
            first
        });
        self.stock.keys.key(number)
    }

    /// One of the loaded keys, all equally likely.
    pub fn known(&mut self) -> Key {
        let place = u128::from(self.draw()) * u128::from(self.stock.loaded);
        self.stock.keys.key((place >> 64) as u64)
    }

    /// True once in `n` times, at random.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    fn draw(&mut self) -> u64 {
        self.drawn = keys::mix(self.drawn);
        self.drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn shares_never_meet_and_known_keys_are_loaded_ones() {
        let stock = Stock::new(Keys::Natural, 100);
        let loaded: HashSet<Key> = stock.loaded().collect();
        let (mut one, mut other) = (stock.share(1), stock.share(2));
        let fresh: HashSet<Key> = (0..3000).flat_map(|_| [one.fresh(), other.fresh()]).collect();
        assert_eq!((loaded.len(), fresh.len()), (100, 6000));
        assert!(fresh.is_disjoint(&loaded));
        assert!((0..1000).all(|_| loaded.contains(&one.known())));
    }
}
