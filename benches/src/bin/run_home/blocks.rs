//! Sorted records packed into blocks under one checksum each, the same for both homes.

use crate::Key;
use claimstore_bench::keys::{self, KEY_LEN, RESPONSE_LEN};

/// Bytes of a record beside key and response: lengths, sequence, expiry.
const RECORD_OVERHEAD: usize = 22;

const RECORD: usize = RECORD_OVERHEAD + KEY_LEN + RESPONSE_LEN;

/// Run number, block number, count.
const HEADER: usize = 12;

const CHECKSUM: usize = 4;

/// Bytes of news in a run, the measure of write amplification and of file growth.
pub(crate) const fn logical_bytes(rows: u64) -> u64 {
    rows * RECORD as u64
}

/// One block, complete with checksum.
pub(crate) struct Block<'a> {
    pub(crate) first_key: &'a Key,
    pub(crate) bytes: &'a [u8],
}

/// Cuts sorted keys into blocks of at most `block_bytes`, padded to it, and hands each to `sink`.
pub(crate) fn pack<E>(
    run: u32,
    keys: &[Key],
    block_bytes: usize,
    mut sink: impl FnMut(Block<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(block_bytes);
    for (number, chunk) in (0_u32..).zip(keys.chunks((block_bytes - HEADER - CHECKSUM) / RECORD)) {
        bytes.clear();
        bytes.extend_from_slice(&run.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
        for key in chunk {
            push_record(&mut bytes, key);
        }
        bytes.resize(block_bytes - CHECKSUM, 0);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let Some(first_key) = chunk.first() else { continue };
        sink(Block { first_key, bytes: &bytes })?;
    }
    Ok(())
}

fn push_record(bytes: &mut Vec<u8>, key: &Key) {
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&[0x5A; RECORD_OVERHEAD]);
    bytes.extend_from_slice(&keys::response(key));
}

/// Whether a block is whole and holds the key with its response.
pub(crate) fn holds(block: &[u8], key: &Key) -> bool {
    let Some((body, checksum)) = block.split_last_chunk::<CHECKSUM>() else { return false };
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return false;
    }
    let Some((header, records)) = body.split_at_checked(HEADER) else { return false };
    let Some(count) = header.last_chunk::<4>() else { return false };
    let (records, _) = records.as_chunks::<RECORD>();
    let Some(records) = records.get(..u32::from_le_bytes(*count) as usize) else { return false };
    let found = records.binary_search_by(|record| record.first_chunk::<KEY_LEN>().cmp(&Some(key)));
    let record = found.ok().and_then(|place| records.get(place));
    record.is_some_and(|record| record.ends_with(&keys::response(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_keys_are_found_and_damage_is_seen() {
        let mut keys: Vec<Key> = (0..1000).map(keys::natural).collect();
        keys.sort_unstable();
        let mut blocks = Vec::new();
        pack(1, &keys, 8192, |block| {
            blocks.push(block.bytes.to_vec());
            Ok::<(), ()>(())
        })
        .unwrap();
        let mut first = blocks[0].clone();
        assert_eq!((blocks.len(), first.len()), (14, 8192));
        assert!(holds(&first, &keys[5]) && !holds(&first, &keys[500]));
        first[4000] ^= 1;
        assert!(!holds(&first, &keys[5]));
    }
}
