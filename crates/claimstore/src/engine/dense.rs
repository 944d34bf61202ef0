//! A hash table with dense item storage: items are in an array of pieces that do not move when the table grows.
//!
//! An ordinary hash table keeps items in its buckets. When it grows, it moves all items into fresh memory of twice
//! the size. Entries of the live table are three cache lines each, so while a store filled up, growth took most of
//! the time of its claims (docs/decisions/0062). Here the buckets hold [`Places`] only, eight bytes each, and growth
//! moves only those. Storage beyond the last item is initialised with blank items, so that it can be read: a caller
//! that is about to insert prefetches the lines of the next blank before it writes them (docs/decisions/0066).
//!
//! Invariant: the places in use are 0 up to the number of items, each in exactly one bucket, under the hash of its
//! item.

use super::places::Places;

/// Items of a piece. The first piece starts smaller and grows up to this size, as many tables stay small.
const PIECE: usize = 32;

/// An item of the table. Its default is the blank, and must not allocate.
pub(super) trait Hashed: Default {
    fn hash(&self) -> u64;
}

#[derive(Debug)]
pub(super) struct Dense<T> {
    places: Places,
    /// All of full length, except the first one of a small table. Blank from the place `len` on.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Dense<T> {
    fn default() -> Dense<T> {
        Dense { places: Places::default(), pieces: Vec::new() }
    }
}

impl<T: Hashed> Dense<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many items the buckets have room for.
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// The item of this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.get(self.place(hash, is_it)?)
    }

    /// The place of the item inserted last. Valid until something is removed.
    pub(super) fn newest(&self) -> usize {
        self.len().saturating_sub(1)
    }

    /// The item at a place, or the blank.
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    /// The same, mutable.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.get_mut(self.place(hash, is_it)?)
    }

    /// Adds an item. The caller has checked that it is absent.
    pub(super) fn insert(&mut self, item: T) {
        let at = self.len();
        self.places.insert(item.hash(), at);
        if self.get(at).is_none() {
            self.grow(at);
        }
        if let Some(blank) = self.get_mut(at) {
            *blank = item;
        }
    }

    /// Removes an item; the last item moves into its place, so that there are no holes.
    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.place(hash, is_it)?;
        // `len` is the number of places, and so already one less: the place of the last item.
        self.places.remove(hash, at);
        let last_at = self.len();
        let last = self.get_mut(last_at).map(std::mem::take)?;
        // It was the first of its piece, which is all blank now. `at` lies in an earlier piece, or is that place.
        if last_at.is_multiple_of(PIECE) {
            self.pieces.pop();
        }
        if at == last_at {
            return Some(last);
        }
        self.places.moved(last.hash(), last_at, at);
        self.get_mut(at).map(|hole| std::mem::replace(hole, last))
    }

    /// All items, in memory order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten().take(self.len())
    }

    /// Shrinks the buckets to room for `items`, or for the present number if that is larger.
    pub(super) fn shrink_to(&mut self, items: usize) {
        self.places.shrink_to(items);
        self.pieces.shrink_to_fit();
    }

    fn place(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        self.places.find(hash, |at| self.get(at).is_some_and(|item| item.hash() == hash && is_it(item)))
    }

    /// Allocates blanks from the place `at` on, the first place without storage.
    fn grow(&mut self, at: usize) {
        match self.pieces.last_mut() {
            Some(first) if at < PIECE => first.resize_with((2 * at).min(PIECE), T::default),
            last => {
                let blanks = if last.is_some() { PIECE } else { 1 };
                self.pieces.push(std::iter::repeat_with(T::default).take(blanks).collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dense, Hashed};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Item {
        key: u16,
        value: u32,
    }

    impl Hashed for Item {
        /// Many keys of one hash.
        fn hash(&self) -> u64 {
            hash(self.key)
        }
    }

    fn hash(key: u16) -> u64 {
        u64::from(key % 97).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    proptest! {
        #[test]
        fn it_is_a_map(calls in prop::collection::vec((0..400u16, any::<u32>(), 0..8u8), 0..1_500)) {
            let (mut table, mut map) = (Dense::default(), BTreeMap::new());
            for (key, value, call) in calls {
                match call {
                    0..4 => {
                        let old = table.find_mut(hash(key), |item: &Item| item.key == key);
                        prop_assert_eq!(map.insert(key, value), old.as_ref().map(|item| item.value));
                        let item = Item { key, value };
                        if let Some(old) = old { *old = item } else { table.insert(item) }
                    }
                    4..7 => {
                        let removed = table.remove(hash(key), |item| item.key == key);
                        prop_assert_eq!(removed.map(|item| item.value), map.remove(&key));
                    }
                    _ => table.shrink_to(table.len()),
                }
                prop_assert_eq!(table.len(), map.len());
            }
            for key in 0..400 {
                let found = table.find(hash(key), |item| item.key == key).map(|item| item.value);
                prop_assert_eq!(found, map.get(&key).copied());
            }
            let met: BTreeMap<u16, u32> = table.iter().map(|item| (item.key, item.value)).collect();
            prop_assert_eq!(table.iter().count(), map.len());
            prop_assert_eq!(met, map);
        }
    }

    #[test]
    fn items_stay_where_they_are_while_it_grows() {
        let mut table = Dense::default();
        let at = |table: &Dense<Item>, key| {
            std::ptr::from_ref(table.find(hash(key), |item| item.key == key).unwrap()).addr()
        };
        (0..40).for_each(|key| table.insert(Item { key, value: 0 }));
        let before: Vec<usize> = (0..40).map(|key| at(&table, key)).collect();
        (40..5_000).for_each(|key| table.insert(Item { key, value: 0 }));
        let after: Vec<usize> = (0..40).map(|key| at(&table, key)).collect();
        assert_eq!(before, after);
    }

    #[test]
    fn an_empty_table_has_no_pieces() {
        let mut table = Dense::default();
        (0..100).for_each(|key| table.insert(Item { key, value: 0 }));
        for key in 0..100 {
            assert!(table.remove(hash(key), |item| item.key == key).is_some());
        }
        assert_eq!((table.len(), table.pieces.len(), table.iter().count()), (0, 0, 0));
    }
}
