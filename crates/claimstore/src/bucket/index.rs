//! The index of a run: which block may hold a key.
//!
//! The separator of a block is the shortest key that is greater than all keys of the block before and not greater
//! than any key of its own block. The prefix that all keys of the run share is cut off. In memory an entry costs 16
//! bytes beside its separator.

use super::section::SectionReader;
use super::{damaged, shared_prefix};
use crate::codec::{Cursor, Malformed};
use crate::error::Error;
use std::io;

/// Bytes of an entry in the stored form, its separator aside.
pub(super) const ENTRY_BYTES: usize = 12;
/// Bytes before the entries: how many there are, and the length of the prefix.
const HEAD_BYTES: usize = 8;

/// Collects the index while a run is written.
#[derive(Default)]
pub(super) struct IndexBuilder {
    lengths: Vec<(u32, u32)>,
    separators: Vec<u8>,
    ends: Vec<u32>,
}

impl IndexBuilder {
    /// Blocks so far.
    pub(super) fn blocks(&self) -> usize {
        self.lengths.len()
    }

    /// Begins a block that starts with `first`, after a block that ended with `last_before`.
    pub(super) fn begin_block(&mut self, last_before: &[u8], first: &[u8]) -> io::Result<()> {
        let length = if self.ends.is_empty() { first.len() } else { shared_prefix(last_before, first) + 1 };
        self.separators.extend_from_slice(first.get(..length).unwrap_or(first));
        self.ends.push(u32::try_from(self.separators.len()).map_err(|_| io::ErrorKind::FileTooLarge)?);
        Ok(())
    }

    /// Ends the block with its length in the file and its checksum.
    pub(super) fn end_block(&mut self, length: u32, crc: u32) {
        self.lengths.push((length, crc));
    }

    /// The stored form. `min` and `max` are the smallest and the largest key of the run.
    pub(super) fn encode(&self, min: &[u8], max: &[u8]) -> Vec<u8> {
        let prefix = shared_prefix(min, max);
        let mut out = Vec::with_capacity(self.lengths.len() * ENTRY_BYTES + self.separators.len());
        out.extend_from_slice(&(self.lengths.len() as u32).to_le_bytes());
        out.extend_from_slice(&(prefix as u32).to_le_bytes());
        let mut start = 0;
        let mut kept = Vec::with_capacity(self.separators.len());
        for ((length, crc), end) in self.lengths.iter().zip(&self.ends) {
            let separator = self.separators.get(start + prefix..*end as usize).unwrap_or_default();
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&crc.to_le_bytes());
            out.extend_from_slice(&(separator.len() as u32).to_le_bytes());
            kept.extend_from_slice(separator);
            start = *end as usize;
        }
        out.extend_from_slice(&kept);
        out
    }
}

/// The place of a block in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) length: usize,
    pub(super) crc: u32,
}

/// The index of an open run.
pub(super) struct Index {
    /// The prefix that all keys of the run share.
    prefix: Box<[u8]>,
    /// Ascending. One more than there are blocks: the last one is the end of the data.
    offsets: Vec<u64>,
    crcs: Vec<u32>,
    /// Ascending; the end of each block's separator in `separators`.
    ends: Vec<u32>,
    separators: Box<[u8]>,
}

impl Index {
    /// Reads the stored form; the blocks must fill the `data_bytes` exactly.
    pub(super) fn read(mut stored: SectionReader<'_>, min: &[u8], data_bytes: u64) -> Result<Index, Error> {
        let mut head = [0; HEAD_BYTES];
        match stored.piece(HEAD_BYTES as u64, HEAD_BYTES)? {
            [] => return Err(Error::corrupt("run index")),
            bytes => head.copy_from_slice(bytes),
        }
        let mut cursor = Cursor::new(&head);
        let blocks = u64::from(cursor.u32("index count").map_err(damaged)?);
        let prefix = cursor.u32("index prefix").map_err(damaged)? as usize;
        let prefix = min.get(..prefix).ok_or(Error::corrupt("index prefix"))?;
        let mut table_bytes = blocks * ENTRY_BYTES as u64;
        // Checked before memory is allocated for that many blocks.
        if table_bytes > stored.left() {
            return Err(Error::corrupt("index count"));
        }
        let mut places = Places::with_capacity(blocks as usize);
        while table_bytes > 0 {
            let piece = stored.piece(table_bytes, ENTRY_BYTES)?;
            table_bytes -= piece.len() as u64;
            places.add(piece).map_err(damaged)?;
        }
        let Places { mut offsets, crcs, ends, offset, end } = places;
        offsets.push(offset);
        let separators = stored.boxed(u64::from(end))?;
        if !stored.finish() {
            return Err(Error::corrupt("run index"));
        }
        if offset != data_bytes {
            return Err(Error::corrupt("index offsets"));
        }
        Ok(Index { prefix: prefix.into(), offsets, crcs, ends, separators })
    }

    /// How many blocks the run has.
    pub(super) fn blocks(&self) -> u32 {
        self.crcs.len() as u32
    }

    /// Bytes the index takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.offsets.len() * 8
            + (self.crcs.len() + self.ends.len()) * 4
            + self.separators.len()
            + self.prefix.len()
    }

    /// The only block that may hold `key`; for a key outside the run, the block nearest to it.
    pub(super) fn block_for(&self, key: &[u8]) -> u32 {
        let Some(rest) = key.strip_prefix(&*self.prefix) else {
            return if *key < *self.prefix { 0 } else { self.blocks().saturating_sub(1) };
        };
        let (mut low, mut high) = (0, self.blocks());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.separator(middle).is_some_and(|separator| separator <= rest) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// The place of a block.
    pub(super) fn place(&self, number: u32) -> Result<BlockPlace, Error> {
        let at = number as usize;
        match (self.offsets.get(at), self.offsets.get(at + 1), self.crcs.get(at)) {
            (Some(&offset), Some(&end), Some(&crc)) => {
                Ok(BlockPlace { number, offset, length: (end - offset) as usize, crc })
            }
            _ => Err(Error::corrupt("index block")),
        }
    }

    /// Whether a block with the keys `first` to `last` fits between the separators around it.
    pub(super) fn covers(&self, number: u32, first: &[u8], last: &[u8]) -> bool {
        let (Some(first), Some(last)) = (first.strip_prefix(&*self.prefix), last.strip_prefix(&*self.prefix))
        else {
            return false;
        };
        let begins = self.separator(number).is_some_and(|separator| separator <= first);
        let ends = number + 1 == self.blocks()
            || self.separator(number + 1).is_some_and(|separator| last < separator);
        begins && first <= last && ends
    }

    fn separator(&self, number: u32) -> Option<&[u8]> {
        let at = number as usize;
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? as usize };
        self.separators.get(start..*self.ends.get(at)? as usize)
    }
}

/// The table as it is read.
struct Places {
    offsets: Vec<u64>,
    crcs: Vec<u32>,
    ends: Vec<u32>,
    /// Where the last block ends in the data, and its separator among the separators.
    offset: u64,
    end: u32,
}

impl Places {
    fn with_capacity(blocks: usize) -> Places {
        Places {
            offsets: Vec::with_capacity(blocks + 1),
            crcs: Vec::with_capacity(blocks),
            ends: Vec::with_capacity(blocks),
            offset: 0,
            end: 0,
        }
    }

    /// Adds whole entries.
    fn add(&mut self, entries: &[u8]) -> Result<(), Malformed> {
        let mut entries = Cursor::new(entries);
        while entries.remaining() > 0 {
            self.offsets.push(self.offset);
            let length = u64::from(entries.u32("index length")?);
            self.offset = self.offset.checked_add(length).ok_or(Malformed("index length"))?;
            self.crcs.push(entries.u32("index checksum")?);
            let length = entries.u32("index separator")?;
            self.end = self.end.checked_add(length).ok_or(Malformed("index separator"))?;
            self.ends.push(self.end);
        }
        Ok(())
    }
}
