//! [`Striped`]: counters that many threads increment at once, with a copy per group of threads.
//!
//! Counters are the only shared memory that a duplicate writes. With one copy, its cache line would move from
//! processor to processor with every answer (docs/decisions/0067).

use crate::sync::{Ordering, Tally};
use std::cell::Cell;

/// Copies of each counter. More threads than this share copies.
const STRIPES: usize = 8;

/// The width of a copy is a multiple of this many counters, 128 bytes, so that copies are in different cache lines.
const APART: usize = 16;

/// A row of counters. All access is relaxed: no decision and no ordering depends on them.
pub(crate) struct Striped {
    counts: Box<[Tally]>,
    /// Counters from the beginning of one copy to that of the next: `len` and the padding.
    width: usize,
    len: usize,
}

impl Striped {
    /// `len` counters of zero.
    pub(crate) fn new(len: usize) -> Striped {
        let width = len.next_multiple_of(APART);
        Striped { counts: (0..STRIPES * width).map(|_| Tally::new(0)).collect(), width, len }
    }

    /// Adds 1 to the counter at a place; does nothing if there is none.
    pub(crate) fn add(&self, at: usize) {
        if at < self.len
            && let Some(count) = self.counts.get(stripe() * self.width + at)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters, each summed over all copies. No snapshot: other threads go on counting.
    pub(crate) fn sums(&self) -> Vec<u64> {
        let count = |at: usize| self.counts.iter().skip(at).step_by(self.width);
        (0..self.len).map(|at| count(at).map(|count| count.load(Ordering::Relaxed)).sum()).collect()
    }
}

impl std::fmt::Debug for Striped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Striped").field("counts", &self.len).finish_non_exhaustive()
    }
}

/// The copy of this thread, assigned round-robin at its first call.
fn stripe() -> usize {
    static NEXT: Tally = Tally::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let mine = MINE.try_with(|mine| {
        let stripe = mine.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed) as usize % STRIPES);
        mine.set(Some(stripe));
        stripe
    });
    // The thread is ending, and its thread-locals are gone: it counts in a destructor.
    mine.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{STRIPES, Striped};

    #[test]
    fn what_all_threads_count_is_added_up() {
        let counts = Striped::new(17);
        let rounds = if cfg!(miri) { 10 } else { 1_000 };
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..rounds).for_each(|n| counts.add(n % 20)));
            }
        });
        let expected = |at: usize| (0..rounds).filter(|n| n % 20 == at).count() as u64 * 2 * STRIPES as u64;
        assert_eq!(counts.sums(), (0..17).map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn no_copy_shares_a_line_with_the_next() {
        for len in [1, 16, 17, 101] {
            let counts = Striped::new(len);
            assert!(counts.width * size_of::<super::Tally>() >= 128 && counts.width >= len);
            assert_eq!(counts.counts.len(), STRIPES * counts.width);
        }
    }
}
