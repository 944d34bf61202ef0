//! Which hash lies at which place: eight bytes a bucket, mostly in one cache line whether it is there or not.
//!
//! An open table with linear probing. The search for an absent hash ends at the bucket that its insertion fills, so that
//! the processor fetches one line for both; a found one is followed at once. In the tables of libraries control bytes
//! and buckets are lines of their own (docs/decisions/0066).
//!
//! Invariants:
//! - A bucket is empty, or has half of a hash and a place. Between the bucket that a hash would like best and the one
//!   it is in, no bucket is empty.
//! - At least a third of the buckets is empty.

/// Half of a hash above, the place counted from 1 below. 0: empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket(u64);

/// Hashes and their places. Several places may have one hash.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// None, or a power of two.
    buckets: Box<[Bucket]>,
    len: usize,
}

/// The fewest buckets.
const FEWEST: usize = 8;

impl Bucket {
    fn new(half: u32, place: usize) -> Bucket {
        debug_assert!(place < u32::MAX as usize, "a table has fewer items than the memory of a machine");
        Bucket(u64::from(half) << 32 | (place as u64 + 1))
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn half(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn place(self) -> usize {
        (self.0 as u32 as usize).wrapping_sub(1)
    }
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many hashes there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.buckets.len() / 3 * 2
    }

    /// The place of this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        self.search(hash, is_it).map(|(_, place)| place)
    }

    /// Adds a place.
    pub(super) fn insert(&mut self, hash: u64, place: usize) {
        if self.len >= self.capacity() {
            self.resize(self.len + 1);
        }
        self.fill(Bucket::new(half_of(hash), place));
        self.len += 1;
    }

    /// Takes out a place of this hash.
    pub(super) fn remove(&mut self, hash: u64, place: usize) {
        let Some((mut hole, _)) = self.search(hash, |other| other == place) else { return };
        self.len -= 1;
        // Whoever stands behind the hole and would rather be there, or before it, moves into it.
        let mut at = hole;
        loop {
            at = self.next(at);
            let bucket = self.bucket(at);
            if bucket.is_empty() {
                break;
            }
            let mask = self.mask();
            if at.wrapping_sub(self.best(bucket)) & mask >= at.wrapping_sub(hole) & mask {
                self.set(hole, bucket);
                hole = at;
            }
        }
        self.set(hole, Bucket::default());
    }

    /// What lay at one place lies at another.
    pub(super) fn moved(&mut self, hash: u64, from: usize, to: usize) {
        if let Some((at, _)) = self.search(hash, |place| place == from) {
            self.set(at, Bucket::new(half_of(hash), to));
        }
    }

    /// Gives back the room for all but `len` hashes, or those that are there.
    pub(super) fn shrink_to(&mut self, len: usize) {
        self.resize(len.max(self.len));
    }

    fn search(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
        let half = half_of(hash);
        let mut at = half as usize & self.mask();
        loop {
            let bucket = self.bucket(at);
            if bucket.is_empty() {
                return None;
            }
            if bucket.half() == half && is_it(bucket.place()) {
                return Some((at, bucket.place()));
            }
            at = self.next(at);
        }
    }

    /// Room for `len` hashes, and as few buckets as that takes.
    fn resize(&mut self, len: usize) {
        let mut room = FEWEST;
        while room / 3 * 2 < len {
            room *= 2;
        }
        if len == 0 {
            room = 0;
        }
        if room == self.buckets.len() {
            return;
        }
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::default(); room].into());
        old.into_iter().filter(|bucket| !bucket.is_empty()).for_each(|bucket| self.fill(bucket));
    }

    /// Into the first empty bucket; there is one.
    fn fill(&mut self, bucket: Bucket) {
        let mut at = self.best(bucket);
        while !self.bucket(at).is_empty() {
            at = self.next(at);
        }
        self.set(at, bucket);
    }

    fn best(&self, bucket: Bucket) -> usize {
        bucket.half() as usize & self.mask()
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    fn mask(&self) -> usize {
        self.buckets.len().wrapping_sub(1)
    }

    /// Empty where there are no buckets at all.
    fn bucket(&self, at: usize) -> Bucket {
        self.buckets.get(at).copied().unwrap_or_default()
    }

    fn set(&mut self, at: usize, bucket: Bucket) {
        if let Some(place) = self.buckets.get_mut(at) {
            *place = bucket;
        }
    }
}

/// The lower half: the upper one says which shard.
fn half_of(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::{FEWEST, Places};
    use proptest::prelude::*;

    /// Few of them, so that many share a bucket, and some a whole half.
    fn hash(n: u16) -> u64 {
        [0, 1, 2, 3, u64::from(u32::MAX), 1 << 40, u64::from(n % 23) * 5][usize::from(n % 7)]
    }

    fn of(places: &Places, hash: u64) -> Vec<usize> {
        let mut met = Vec::new();
        assert_eq!(
            places.find(hash, |place| {
                met.push(place);
                false
            }),
            None
        );
        met
    }

    proptest! {
        /// Against a list.
        #[test]
        fn every_place_is_found_by_its_hash(calls in prop::collection::vec((any::<u16>(), 0..9u8), 0..300)) {
            let (mut places, mut list) = (Places::default(), Vec::new());
            for (place, (n, call)) in calls.into_iter().enumerate() {
                match call {
                    0..4 => {
                        places.insert(hash(n), place);
                        list.push((hash(n), place));
                    }
                    4..7 if !list.is_empty() => {
                        let (hash, place) = list.swap_remove(usize::from(n) % list.len());
                        places.remove(hash, place);
                        places.remove(hash, place);
                    }
                    7 if !list.is_empty() => {
                        let at = usize::from(n) % list.len();
                        places.moved(list[at].0, list[at].1, place);
                        list[at].1 = place;
                    }
                    _ => places.shrink_to(0),
                }
                prop_assert_eq!(places.len(), list.len());
                prop_assert!(places.len() <= places.capacity());
                prop_assert!(places.buckets.iter().filter(|bucket| bucket.is_empty()).count() * 3 >= places.buckets.len());
                for n in 0..161 {
                    let mut met = of(&places, hash(n));
                    // The halves of two hashes may be one.
                    let same = |&&(other, _): &&(u64, usize)| other as u32 == hash(n) as u32;
                    let mut expected: Vec<usize> = list.iter().filter(same).map(|(_, place)| *place).collect();
                    met.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(met, expected);
                }
            }
        }
    }

    #[test]
    fn room_comes_and_goes() {
        let mut places = Places::default();
        assert_eq!((places.capacity(), places.find(7, |_| true)), (0, None));
        places.insert(7, 0);
        assert_eq!(places.buckets.len(), FEWEST);
        (1..1_000).for_each(|place| places.insert(place as u64, place));
        let most = places.capacity();
        assert!((1_000..3_000).contains(&most));
        (1..1_000).for_each(|place| places.remove(place as u64, place));
        assert_eq!((places.len(), places.capacity()), (1, most));
        places.shrink_to(20);
        assert!((20..64).contains(&places.capacity()));
        assert_eq!(places.find(7, |_| true), Some(0));
        places.remove(7, 0);
        places.shrink_to(0);
        assert_eq!((places.buckets.len(), places.find(7, |_| true)), (0, None));
    }
}
