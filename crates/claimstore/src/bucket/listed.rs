//! A block with a list of its rows beside it: what the cache keeps and look-ups search.
//!
//! In a block a row is found by halving among the whole keys and by walking from there, and each step waits for the
//! memory of the one before it. The list has the first eight bytes of every key behind what all of them share, close
//! together: one look over it leads to the row. It is made from a checked block and kept in memory alone.

use super::block::{Block, RowReader};
use super::{damaged, shared_prefix};
use crate::codec::Record;
use crate::error::Error;
use crate::key_bytes::KeyBytes;

/// Bytes of a key that its head holds.
const HEAD_BYTES: usize = 8;

/// A checked block and the list of its rows.
pub(super) struct ListedBlock {
    /// What every key of the block begins with.
    prefix: KeyBytes,
    /// The head of each row's key. Rising, as rows are in key order.
    heads: Box<[u64]>,
    /// Where each row begins in the block.
    places: Box<[u32]>,
    block: Block,
}

impl ListedBlock {
    /// Lists the rows of a block whose first and last keys are given. `Corrupt` for rows that are none.
    pub(super) fn new(block: Block, first: &[u8], last: &[u8]) -> Result<ListedBlock, Error> {
        let shared = shared_prefix(first, last);
        let rows = block.rows() as usize;
        let (mut heads, mut places) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut reader = RowReader::default();
        loop {
            let at = reader.at();
            if block.next_row(&mut reader)?.is_none() {
                break;
            }
            heads.push(head_of(reader.key().get(shared..).unwrap_or_default()));
            places.push(u32::try_from(at).map_err(|_| Error::corrupt("block length"))?);
        }
        let prefix = first.get(..shared).unwrap_or_default().into();
        Ok(ListedBlock { prefix, heads: heads.into(), places: places.into(), block })
    }

    /// Bytes the block and its list take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.block.bytes() + size_of_val(&*self.heads) + size_of_val(&*self.places) + size_of::<ListedBlock>()
    }

    /// The record of `key`, if the block has one.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Record>, Error> {
        let Some(rest) = key.strip_prefix(&*self.prefix) else { return Ok(None) };
        let head = head_of(rest);
        // No early end: without one, nothing waits for anything.
        let below = self.heads.iter().filter(|other| **other < head).count();
        match self.heads.get(below..) {
            Some([found, next, ..]) if *found == head && *next == head => self.block.get(key),
            Some([found, ..]) if *found == head => self.get_at(below, key),
            _ => Ok(None),
        }
    }

    /// The record of `key`, if it is that of the only row with the head of `key`.
    fn get_at(&self, row: usize, key: &[u8]) -> Result<Option<Record>, Error> {
        let place = self.places.get(row).copied().unwrap_or_default();
        let row = self.block.row_at(place as usize).map_err(damaged)?;
        // What the row shares with the row before it stands in prefix and head, if it is not longer than those.
        if row.shared > self.prefix.len() + HEAD_BYTES {
            return self.block.get(key);
        }
        if key.len() == row.shared + row.unshared.len() && key.ends_with(row.unshared) {
            return self.block.record(row.record).map(Some);
        }
        Ok(None)
    }
}

/// The first eight bytes as a number that sorts like them; zeros behind a shorter key.
fn head_of(key: &[u8]) -> u64 {
    if let Some(head) = key.first_chunk() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; HEAD_BYTES];
    head.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(head)
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
        ListedBlock::new(block, &first, &last).unwrap()
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

    /// A row that shares more with the row before it than prefix and head hold is compared as a whole.
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
    fn its_memory_is_a_tenth_of_the_block_s() {
        let keys = (0..70u64).map(|n| (n.to_be_bytes().to_vec(), n + 1)).collect();
        let block = listed(&keys);
        assert_eq!(block.bytes() - block.block.bytes() - size_of::<ListedBlock>(), 70 * 12);
    }
}
