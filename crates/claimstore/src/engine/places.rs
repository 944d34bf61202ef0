//! The index of a [`Dense`](super::dense::Dense) table: from a hash to the place of its item, eight bytes a bucket.
//!
//! Open addressing with linear probing. A look-up, whether it finds the hash or not, mostly touches one cache line.
//! The search for an absent hash ends at the bucket that an insertion fills, so both need the same line. The hash
//! tables of libraries keep control bytes and buckets in separate lines and so need two (docs/decisions/0066).
//!
//! Invariants:
//! - A bucket is empty, or has half of a hash and a place. No bucket is empty between the home bucket of a hash and
//!   the bucket it is in.
//! - At least a third of the buckets is empty, so every probe ends.

/// Upper 32 bits: half of a hash. Lower 32 bits: the place plus one. 0: empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket(u64);

/// Hashes and their places. Several places may have the same hash.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Their number is 0 or a power of two.
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

    /// How many hashes have room.
    pub(super) fn capacity(&self) -> usize {
        self.buckets.len() / 3 * 2
    }

    /// The place with this hash for which `is_it` returns true.
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

    /// Removes a place of this hash.
    pub(super) fn remove(&mut self, hash: u64, place: usize) {
        let Some((mut hole, _)) = self.search(hash, |other| other == place) else { return };
        self.len -= 1;
        // Backward-shift deletion. Go on to the next empty bucket; each bucket whose home is at the hole or before it
        // moves into the hole and leaves a new one. So no probe meets a gap, and there are no tombstones.
        let mut at = hole;
        loop {
            at = self.next(at);
            let bucket = self.bucket(at);
            if bucket.is_empty() {
                break;
            }
            let mask = self.mask();
            // It is at least as far from its home as from the hole. All distances are modulo the number of buckets.
            if at.wrapping_sub(self.best(bucket)) & mask >= at.wrapping_sub(hole) & mask {
                self.set(hole, bucket);
                hole = at;
            }
        }
        self.set(hole, Bucket::default());
    }

    /// Notes that an item has moved from one place to another.
    pub(super) fn moved(&mut self, hash: u64, from: usize, to: usize) {
        if let Some((at, _)) = self.search(hash, |place| place == from) {
            self.set(at, Bucket::new(half_of(hash), to));
        }
    }

    /// Shrinks to room for `len` hashes, or for the present number if that is larger.
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

    /// Rebuilds the table with the fewest buckets that have room for `len` hashes.
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

    /// Puts a bucket into the first empty one from its home on; there is one by the second invariant.
    fn fill(&mut self, bucket: Bucket) {
        let mut at = self.best(bucket);
        while !self.bucket(at).is_empty() {
            at = self.next(at);
        }
        self.set(at, bucket);
    }

    /// The home bucket: where the search for its hash begins.
    fn best(&self, bucket: Bucket) -> usize {
        bucket.half() as usize & self.mask()
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    fn mask(&self) -> usize {
        self.buckets.len().wrapping_sub(1)
    }

    /// Returns the empty bucket if the table has no buckets at all.
    fn bucket(&self, at: usize) -> Bucket {
        self.buckets.get(at).copied().unwrap_or_default()
    }

    fn set(&mut self, at: usize, bucket: Bucket) {
        if let Some(place) = self.buckets.get_mut(at) {
            *place = bucket;
        }
    }
}

/// The lower half of a hash; the shard is chosen by bits of the upper one.
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
                    // Two hashes may have the same half.
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
