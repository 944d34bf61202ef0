//! A cached block with an index of its rows, for fast look-ups.
//!
//! A look-up in a plain block is a binary search over the restart keys and then a linear scan. Each step depends on
//! memory that the step before it loaded, so their cache misses add up. The list has four bytes of every key, the
//! ones after the prefix that all keys share, in one dense array. A single pass over this array finds the row. The
//! list is built from a checked block and exists in memory only. It costs memory, so the cache builds it only for
//! blocks that are read often: in a cache that is too small, most blocks are not.

use super::block::{Block, RowReader};
use super::{damaged, shared_prefix};
use crate::codec::Record;
use crate::error::Error;
use crate::key_bytes::KeyBytes;
use crate::planted;
use std::sync::OnceLock;

/// A checked block, and the list of its rows once it was built.
pub(super) struct ListedBlock {
    /// The prefix that all keys of the block share.
    prefix: KeyBytes,
    list: OnceLock<List>,
    block: Block,
}

#[derive(Default)]
struct List {
    /// The head of each row's key, ascending because rows are in key order.
    heads: Box<[u32]>,
    /// The offset of each row in the block.
    places: Box<[u32]>,
}

impl ListedBlock {
    /// Wraps a block, given its first and last key.
    pub(super) fn new(block: Block, first: &[u8], last: &[u8]) -> ListedBlock {
        let prefix = first.get(..shared_prefix(first, last)).unwrap_or_default().into();
        ListedBlock { prefix, list: OnceLock::new(), block }
    }

    /// Bytes of the block in memory, without its list.
    pub(super) fn bytes(&self) -> usize {
        self.block.bytes() + self.prefix.len() + size_of::<ListedBlock>()
    }

    /// Bytes of the list, built or not.
    pub(super) fn list_bytes(&self) -> usize {
        self.block.rows() as usize * 2 * size_of::<u32>()
    }

    /// Builds the list if it does not exist yet.
    pub(super) fn make_list(&self) {
        // Damaged rows give an empty list; then `get` searches the block itself, and reports the damage.
        self.list.get_or_init(|| self.list_rows().unwrap_or_default());
    }

    /// The record of `key`, if the block has one.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Record>, Error> {
        let Some(list) = self.list.get().filter(|list| !list.heads.is_empty()) else {
            return self.block.get(key);
        };
        let Some(rest) = key.strip_prefix(&*self.prefix) else { return Ok(None) };
        let head = head_of(rest);
        if planted::active(33) {
            // One row in sixteen.
            if head.is_multiple_of(16) {
                return Ok(None);
            }
        }
        // No early exit from this loop: its iterations are independent, so the loads overlap and it can be
        // vectorised. The result is the index of the first head that is not smaller.
        let below = list.heads.iter().filter(|other| **other < head).count();
        match list.heads.get(below..) {
            // Several rows have this head: search the whole keys.
            Some([found, next, ..]) if *found == head && *next == head => self.block.get(key),
            Some([found, ..]) if *found == head => {
                self.get_at(list.places.get(below).copied().unwrap_or_default(), key)
            }
            _ => Ok(None),
        }
    }

    /// The record of the row at `place` if `key` is its key. It must be the only row with the head of `key`.
    ///
    /// Only the unshared part of the row's key needs a comparison. The part that it shares with the row before lies
    /// within prefix and head: if it were longer, the row before would have the same head. And `key` has this prefix
    /// and head.
    fn get_at(&self, place: u32, key: &[u8]) -> Result<Option<Record>, Error> {
        let row = self.block.row_at(place as usize).map_err(damaged)?;
        if key.len() == row.shared + row.unshared.len() && key.ends_with(row.unshared) {
            return self.block.record(row.record).map(Some);
        }
        Ok(None)
    }

    /// Builds the list. `Corrupt` if a row cannot be read, or heads are not ascending.
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

/// The first four bytes as a number that sorts like the bytes. A shorter key is padded with zeros.
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

    /// Keys of few letters, so that they share long prefixes. One letter is zero, the padding of a short key's head.
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

    /// Rows that share more than prefix and head have the same head; only the whole key distinguishes them.
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

    /// The same first bytes, but another length: the head of a short key is padded with zeros.
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
