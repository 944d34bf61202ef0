//! A block with a list of its rows beside it: what the cache keeps and look-ups search.
//!
//! In a block a row is found by halving among the whole keys and by walking from there, and each step waits for the
//! memory of the one before it. The list has four bytes of every key, those behind what all of them share, close
//! together: one look over it leads to the row. It is made of a checked block, and is in memory alone. The cache has it
//! made for a block that is asked for again and again: in a cache that is too small most are not.

use super::block::{Block, RowReader};
use super::{damaged, shared_prefix};
use crate::codec::Record;
use crate::error::Error;
use crate::key_bytes::KeyBytes;
use crate::planted;
use std::sync::OnceLock;

/// A checked block, and the list of its rows once it was asked for.
pub(super) struct ListedBlock {
    /// What every key of the block begins with.
    prefix: KeyBytes,
    list: OnceLock<List>,
    block: Block,
}

#[derive(Default)]
struct List {
    /// The head of each row's key. Rising, as rows are in key order.
    heads: Box<[u32]>,
    /// Where each row begins in the block.
    places: Box<[u32]>,
}

impl ListedBlock {
    /// A block with its first and last key.
    pub(super) fn new(block: Block, first: &[u8], last: &[u8]) -> ListedBlock {
        let prefix = first.get(..shared_prefix(first, last)).unwrap_or_default().into();
        ListedBlock { prefix, list: OnceLock::new(), block }
    }

    /// Bytes the block takes in memory, without its list.
    pub(super) fn bytes(&self) -> usize {
        self.block.bytes() + self.prefix.len() + size_of::<ListedBlock>()
    }

    /// Bytes the list takes, or would take.
    pub(super) fn list_bytes(&self) -> usize {
        self.block.rows() as usize * 2 * size_of::<u32>()
    }

    /// Has the list made, if it is not there yet.
    pub(super) fn make_list(&self) {
        // Rows that are damaged have none, and the search itself will say so.
        self.list.get_or_init(|| self.list_rows().unwrap_or_default());
    }

    /// The record of `key`, if the block has one.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Record>, Error> {
        let Some(list) = self.list.get().filter(|list| !list.heads.is_empty()) else {
            return self.block.get(key);
        };
        let Some(rest) = key.strip_prefix(&*self.prefix) else { return Ok(None) };
        let head = head_of(rest);
        if planted::active(33) && head.is_multiple_of(16) {
            return Ok(None);
        }
        // No early end: without one, nothing waits for anything.
        let below = list.heads.iter().filter(|other| **other < head).count();
        match list.heads.get(below..) {
            Some([found, next, ..]) if *found == head && *next == head => self.block.get(key),
            Some([found, ..]) if *found == head => {
                self.get_at(list.places.get(below).copied().unwrap_or_default(), key)
            }
            _ => Ok(None),
        }
    }

    /// The record of `key`, if it is that of the row at a place, the only row with the head of `key`.
    ///
    /// What a row shares with the row before it stands in prefix and head, both of which `key` has: a row that shared
    /// more would have the head of the row before it, and not be the only one. So the rest of the key decides.
    fn get_at(&self, place: u32, key: &[u8]) -> Result<Option<Record>, Error> {
        let row = self.block.row_at(place as usize).map_err(damaged)?;
        if key.len() == row.shared + row.unshared.len() && key.ends_with(row.unshared) {
            return self.block.record(row.record).map(Some);
        }
        Ok(None)
    }

    /// `Corrupt` for rows that are none, or whose heads fall.
    fn list_rows(&self) -> Result<List, Error> {
        let rows = self.block.rows() as usize;
        let (mut heads, mut places) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut reader = RowReader::default();
        loop {
            let at = reader.at();
            if self.block.next_row(&mut reader)?.is_none() {
                return Ok(List { heads: heads.into(), places: places.into() });
            }
            let head = head_of(reader.key().get(self.prefix.len()..).unwrap_or_default());
            if heads.last().is_some_and(|before| *before > head) {
                return Err(Error::corrupt("block order"));
            }
            heads.push(head);
            places.push(u32::try_from(at).map_err(|_| Error::corrupt("block length"))?);
        }
    }
}

/// The first four bytes as a number that sorts like them; zeros behind a shorter key.
fn head_of(key: &[u8]) -> u32 {
    let mut head = [0; 4];
    match key.first_chunk() {
        Some(first) => head = *first,
        None => head.iter_mut().zip(key).for_each(|(to, from)| *to = *from),
    }
    u32::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::super::block::{Block, BlockBuilder, BlockName};
    use super::super::fixture::completed;
    use super::ListedBlock;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn listed(keys: &BTreeMap<Vec<u8>, u64>) -> ListedBlock {
        let name = BlockName { store_id: [1; 16], run: 1, block: 0 };
        let (mut builder, mut bytes, mut previous) = (BlockBuilder::new(), Vec::new(), Vec::new());
        for (key, seq) in keys {
            builder.push(&previous, key, &completed(*seq, b"r"));
            previous.clone_from(key);
        }
        let (_, crc) = builder.finish(&name, &mut bytes);
        let block = Block::check(bytes, &name, crc).unwrap();
        let (first, last) = block.bounds().unwrap();
        let block = ListedBlock::new(block, &first, &last);
        block.make_list();
        block
    }

    /// Keys of few letters, so that they share much with each other, among them zeros, which a short key's head ends in.
    fn any_keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let letter = prop::sample::select(vec![0u8, 1, b'a', 255]);
        let key = (0..4usize, prop::collection::vec(letter, 0..20));
        prop::collection::vec(key.prop_map(|(same, tail)| [vec![b'k'; 3 * same], tail].concat()), 1..120)
    }

    proptest! {
        #[test]
        fn the_list_finds_what_the_block_has_and_nothing_else(
            keys in any_keys(),
            others in any_keys(),
            prefix in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let whole = |key: &Vec<u8>| [prefix.clone(), key.clone()].concat();
            let rows: BTreeMap<Vec<u8>, u64> = keys.iter().map(whole).zip(1..).collect();
            let block = listed(&rows);
            for key in rows.keys().cloned().chain(others.iter().map(whole)).chain(others.iter().cloned()) {
                let found = block.get(&key).unwrap().map(|record| record.seq);
                prop_assert_eq!(found, rows.get(&key).copied());
                prop_assert_eq!(found, block.block.get(&key).unwrap().map(|record| record.seq));
            }
        }
    }

    /// Rows that share more than prefix and head hold have one head, and are told apart by the whole key.
    #[test]
    fn long_common_beginnings_are_not_taken_for_the_same_key() {
        let keys =
            ["a", "b0123456789-1", "b0123456789-2", "c0123456789-1"].map(|key| key.as_bytes().to_vec());
        let block = listed(&keys.iter().cloned().zip(1..).collect());
        for (key, seq) in keys.iter().zip(1..) {
            assert_eq!(block.get(key).unwrap().map(|record| record.seq), Some(seq));
        }
        for absent in ["", "b", "b0123456789-", "b0123456789-3", "c0123456789-2", "c01234567", "d"] {
            assert!(block.get(absent.as_bytes()).unwrap().is_none(), "{absent}");
        }
    }

    #[test]
    fn its_list_takes_eight_bytes_a_row() {
        let keys = (0..70u64).map(|n| (n.to_be_bytes().to_vec(), n + 1)).collect();
        let block = listed(&keys);
        let list = block.list.get().unwrap();
        assert_eq!(size_of_val(&*list.heads) + size_of_val(&*list.places), 70 * 8);
        assert_eq!(block.list_bytes(), 70 * 8);
    }

    /// The same first bytes, but another length: the head of a short key ends in zeros.
    #[test]
    fn a_key_is_not_taken_for_one_that_goes_on_with_zeros() {
        let keys = [&b"k1"[..], b"k2\0", b"k3\0\0\0\0\0\0\0\0\0"].map(<[u8]>::to_vec);
        let block = listed(&keys.iter().cloned().zip(1..).collect());
        for absent in [&b"k1\0"[..], b"k2", b"k2\0\0", b"k3", b"k3\0\0\0\0\0\0\0\0"] {
            assert!(block.get(absent).unwrap().is_none(), "{absent:?}");
        }
        assert!(keys.iter().all(|key| block.get(key).unwrap().is_some()));
    }
}
