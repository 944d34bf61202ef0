//! A data block: some 8 KiB of consecutive rows under one checksum.
//!
//! The header names the run and the block's place in it, so that a block from another place is refused. Keys are
//! prefix-compressed against the key before. Every sixteenth key is stored whole (a restart), and a table at the end
//! has the offsets of the restarts, for a binary search.

use super::{Row, damaged, shared_prefix};
use crate::codec::{Base, Cursor, Malformed, Numbers, RawRecord, Record, crc32, put_varint};
use crate::error::Error;
use std::cmp::Ordering;
use std::ops::Range;

/// Blocks are closed at this size; a larger row gets a block of its own.
pub(super) const TARGET_BYTES: usize = 8 * 1024;
/// Bytes before the first row.
pub(super) const HEADER_BYTES: usize = 56;
/// `CSBK`.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"CSBK");

/// Where the checksummed part begins.
const CHECKED_FROM: usize = 8;
const RESTART_INTERVAL: u32 = 16;
const RESTART_BYTES: usize = 4;
/// Approximate bytes of a row beside key and body. Decides only where a block ends.
const ROW_ALLOWANCE: usize = 32;

/// The identity of a block: stored in the block, or mixed into its checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockName {
    pub(super) store_id: [u8; 16],
    pub(super) run: u64,
    pub(super) block: u32,
}

/// Collects the rows of one block at a time.
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    rows: u32,
    base: Base,
    spread: Spread,
    record: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new() -> BlockBuilder {
        BlockBuilder {
            bytes: vec![0; HEADER_BYTES],
            restarts: Vec::new(),
            rows: 0,
            base: Base::default(),
            spread: Spread::default(),
            record: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether the block should be closed before this row.
    pub(super) fn is_full_for(&self, key: &[u8], loose_bytes: usize) -> bool {
        let row = key.len() + loose_bytes + ROW_ALLOWANCE;
        self.rows > 0 && self.bytes.len() + self.restarts.len() * RESTART_BYTES + row > TARGET_BYTES
    }

    /// Appends a row. `previous` is the key of the row before it; the first row of a block ignores it.
    pub(super) fn push(&mut self, previous: &[u8], key: &[u8], record: &impl Row) {
        let numbers = record.numbers();
        if self.rows == 0 {
            self.base = self.spread.middle(&numbers);
            self.spread = Spread::default();
        }
        let shared = if self.rows.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.bytes.len() as u32);
            0
        } else {
            shared_prefix(previous, key)
        };
        let unshared = key.get(shared..).unwrap_or_default();
        self.record.clear();
        record.encode(&self.base, &mut self.record);
        put_varint(shared as u64, &mut self.bytes);
        put_varint(unshared.len() as u64, &mut self.bytes);
        put_varint(self.record.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(unshared);
        self.bytes.extend_from_slice(&self.record);
        self.rows += 1;
        self.spread.add(&numbers);
    }

    /// Closes the block: appends it to `out` and returns its length and checksum.
    pub(super) fn finish(&mut self, name: &BlockName, out: &mut Vec<u8>) -> (u32, u32) {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&name.run.to_le_bytes());
        header.extend_from_slice(&name.block.to_le_bytes());
        header.extend_from_slice(&((self.bytes.len() - HEADER_BYTES) as u32).to_le_bytes());
        header.extend_from_slice(&self.rows.to_le_bytes());
        header.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        header.extend_from_slice(&self.base.seq.to_le_bytes());
        header.extend_from_slice(&self.base.time_ms.to_le_bytes());
        header.extend_from_slice(&self.base.ttl_ms.to_le_bytes());
        let payload = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        let crc = crc32(&[&name.store_id, &header, payload]);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        let length = self.bytes.len() as u32;
        self.bytes.truncate(HEADER_BYTES);
        self.restarts.clear();
        self.rows = 0;
        (length, crc)
    }
}

/// The range of the numbers of one block's records. The next block stores its numbers as distances from the middle of
/// that range.
///
/// Neighbouring blocks are alike: if keys arrive in order, their numbers are in order too; otherwise every block
/// spans the numbers of the whole run. The middle keeps the distances short in both cases.
#[derive(Default)]
struct Spread {
    seq: Option<(u64, u64)>,
    time_ms: Option<(u64, u64)>,
    /// The candidate of a majority vote, and its lead.
    ttl_ms: (u64, u64),
}

impl Spread {
    fn add(&mut self, record: &Numbers) {
        widen(&mut self.seq, record.seq);
        if record.claimed_at_ms == 0 {
            return;
        }
        widen(&mut self.time_ms, record.claimed_at_ms);
        self.ttl_ms = match self.ttl_ms {
            (_, 0) => (record.ttl_ms, 1),
            (ttl_ms, lead) if ttl_ms == record.ttl_ms => (ttl_ms, lead + 1),
            (ttl_ms, lead) => (ttl_ms, lead - 1),
        };
    }

    fn middle(&self, first: &Numbers) -> Base {
        let middle =
            |range: Option<(u64, u64)>, first| range.map_or(first, |(low, high)| low + (high - low) / 2);
        Base {
            seq: middle(self.seq, first.seq),
            time_ms: middle(self.time_ms, first.claimed_at_ms),
            ttl_ms: if self.ttl_ms.1 == 0 { first.ttl_ms } else { self.ttl_ms.0 },
        }
    }
}

fn widen(range: &mut Option<(u64, u64)>, value: u64) {
    let (low, high) = range.unwrap_or((value, value));
    *range = Some((low.min(value), high.max(value)));
}

/// A block whose checksum and name were checked.
pub(super) struct Block {
    bytes: Box<[u8]>,
    base: Base,
    rows: u32,
    restarts_at: usize,
}

impl Block {
    /// Checks that `bytes` are the whole block `name`, with the checksum the index holds.
    pub(super) fn check(bytes: Vec<u8>, name: &BlockName, indexed_crc: u32) -> Result<Block, Error> {
        let (base, rows, restarts) = check_header(&bytes, name, indexed_crc).map_err(damaged)?;
        let restarts_at = (restarts as usize)
            .checked_mul(RESTART_BYTES)
            .and_then(|table| bytes.len().checked_sub(table))
            .filter(|at| *at >= HEADER_BYTES && rows > 0 && restarts == rows.div_ceil(RESTART_INTERVAL))
            .ok_or_else(|| Error::corrupt("block restarts"))?;
        Ok(Block { bytes: bytes.into_boxed_slice(), base, rows, restarts_at })
    }

    /// How many rows the block has.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// The row that begins at `at`.
    pub(super) fn row_at(&self, at: usize) -> Result<StoredRow<'_>, Malformed> {
        let rest = self.bytes.get(at..self.restarts_at).ok_or(Malformed("block row"))?;
        StoredRow::read(&mut Cursor::new(rest))
    }

    /// Bytes the block takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The first and the last key.
    pub(super) fn bounds(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let mut first = RowReader::default();
        self.next_row(&mut first)?;
        let last_restart = (self.rows - 1) / RESTART_INTERVAL;
        let mut last = RowReader::starting(self.restart(last_restart).map_err(damaged)?);
        for _ in last_restart * RESTART_INTERVAL..self.rows {
            if self.next_row(&mut last)?.is_none() {
                return Err(Error::corrupt("block rows"));
            }
        }
        Ok((first.key, last.key))
    }

    /// The record of `key`, if the block has one.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Record>, Error> {
        match self.find(key).map_err(damaged)? {
            Some(bytes) => self.record(bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes of the block, in a range that a row reader found.
    pub(super) fn slice(&self, at: &Range<usize>) -> Result<&[u8], Error> {
        self.bytes.get(at.clone()).ok_or_else(|| Error::corrupt("block row"))
    }

    /// Moves `reader` to the next row and returns the row's record bytes; `None` after the last one.
    pub(super) fn next_row(&self, reader: &mut RowReader) -> Result<Option<&[u8]>, Error> {
        if reader.at == self.restarts_at {
            return Ok(None);
        }
        let rest = self.bytes.get(reader.at..self.restarts_at).ok_or_else(|| Error::corrupt("block row"))?;
        let mut cursor = Cursor::new(rest);
        let row = StoredRow::read(&mut cursor).map_err(damaged)?;
        if row.shared > reader.key.len() {
            return Err(Error::corrupt("block key"));
        }
        reader.key.truncate(row.shared);
        reader.key.extend_from_slice(row.unshared);
        reader.at = self.restarts_at - cursor.remaining();
        Ok(Some(row.record))
    }

    /// Decodes record bytes as returned by [`Block::next_row`].
    pub(super) fn record(&self, bytes: &[u8]) -> Result<Record, Error> {
        let mut cursor = Cursor::new(bytes);
        let record = Record::decode(&mut cursor, &self.base).map_err(damaged)?;
        cursor.finish("record length").map_err(damaged)?;
        Ok(record)
    }

    /// The same, read as far as a merge needs.
    pub(super) fn raw_record<'a>(&self, bytes: &'a [u8]) -> Result<RawRecord<'a>, Error> {
        RawRecord::read(bytes, &self.base).map_err(damaged)
    }

    /// The record bytes of `key`.
    ///
    /// Scans from the last whole key at or before `key`, without assembling keys. `matched` is the length of the
    /// common prefix of `key` and the row before, which is smaller than `key`. A row that shares more than that with
    /// the row before is smaller too; a row that shares less is greater.
    fn find(&self, key: &[u8]) -> Result<Option<&[u8]>, Malformed> {
        let start = self.restart(self.last_restart_up_to(key)?)?;
        let mut cursor =
            Cursor::new(self.bytes.get(start..self.restarts_at).ok_or(Malformed("block restart"))?);
        let mut matched = 0;
        while cursor.remaining() > 0 {
            let row = StoredRow::read(&mut cursor)?;
            match row.shared.cmp(&matched) {
                // A restart stores its whole key: 0 shared bytes say nothing about the row before.
                _ if row.shared == 0 => matched = 0,
                Ordering::Greater => continue,
                Ordering::Less => return Ok(None),
                Ordering::Equal => {}
            }
            let wanted = key.get(matched..).unwrap_or_default();
            match row.unshared.cmp(wanted) {
                Ordering::Less => matched += shared_prefix(row.unshared, wanted),
                Ordering::Equal => return Ok(Some(row.record)),
                Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The last restart whose key is not above `key`; the first one if there is none.
    fn last_restart_up_to(&self, key: &[u8]) -> Result<u32, Malformed> {
        let (mut low, mut high) = (0, self.rows.div_ceil(RESTART_INTERVAL));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let rest =
                self.bytes.get(self.restart(middle)?..self.restarts_at).ok_or(Malformed("block restart"))?;
            let row = StoredRow::read(&mut Cursor::new(rest))?;
            if row.unshared <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn restart(&self, number: u32) -> Result<usize, Malformed> {
        let at = self.restarts_at + number as usize * RESTART_BYTES;
        let at = self.bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Malformed("block restart"))?;
        Ok(u32::from_le_bytes(*at) as usize)
    }
}

/// A position in a block, and the key of the row before it.
pub(super) struct RowReader {
    at: usize,
    key: Vec<u8>,
}

impl Default for RowReader {
    fn default() -> RowReader {
        RowReader::starting(HEADER_BYTES)
    }
}

impl RowReader {
    fn starting(at: usize) -> RowReader {
        RowReader { at, key: Vec::new() }
    }

    /// The key of the row read last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Where the next row begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes to the first row of another block.
    pub(super) fn rewind(&mut self) {
        self.at = HEADER_BYTES;
    }
}

/// A row as it is stored in the block.
pub(super) struct StoredRow<'a> {
    /// Length of the prefix that the key shares with the key before it.
    pub(super) shared: usize,
    /// The rest of the key.
    pub(super) unshared: &'a [u8],
    pub(super) record: &'a [u8],
}

impl<'a> StoredRow<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<StoredRow<'a>, Malformed> {
        let [shared, unshared, record] = cursor.varints("row lengths")?;
        let length = |value| usize::try_from(value).map_err(|_| Malformed("row lengths"));
        Ok(StoredRow {
            shared: length(shared)?,
            unshared: cursor.take(length(unshared)?, "row key")?,
            record: cursor.take(length(record)?, "row record")?,
        })
    }
}

fn check_header(bytes: &[u8], name: &BlockName, indexed_crc: u32) -> Result<(Base, u32, u32), Malformed> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u32("block magic")? != MAGIC {
        return Err(Malformed("block magic"));
    }
    let crc = cursor.u32("block checksum")?;
    let checked = bytes.get(CHECKED_FROM..).unwrap_or_default();
    if crc != indexed_crc || crc != crc32(&[&name.store_id, checked]) {
        return Err(Malformed("block checksum"));
    }
    if cursor.u64("block run")? != name.run || cursor.u32("block number")? != name.block {
        return Err(Malformed("block of another place"));
    }
    let payload = cursor.u32("block length")? as usize;
    let (rows, restarts) = (cursor.u32("block rows")?, cursor.u32("block restarts")?);
    let base = Base {
        seq: cursor.u64("block base")?,
        time_ms: cursor.u64("block base")?,
        ttl_ms: cursor.u64("block base")?,
    };
    if cursor.remaining() == payload { Ok((base, rows, restarts)) } else { Err(Malformed("block length")) }
}
