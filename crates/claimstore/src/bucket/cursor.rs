//! Iterating over a run in key order.

use super::Run;
use super::block::{Block, RowReader};
use super::found_at;
use super::index::BlockPlace;
use super::run::READ_BYTES;
use crate::codec::{RawRecord, Record};
use crate::error::Error;
use crate::sync::Arc;
use std::fmt;
use std::ops::Range;

/// Streams the rows of a run: an iterator over keys and records, or step by step without copying keys.
///
/// Bypasses the block cache, so that a long scan does not evict the blocks of look-ups. Ends after an error of
/// [`RunCursor::advance`] or [`RunCursor::step`].
pub(crate) struct RunCursor {
    run: Arc<Run>,
    rows: Rows,
}

impl RunCursor {
    pub(super) fn new(run: Arc<Run>, from: Option<&[u8]>) -> RunCursor {
        let rows = Rows::new(from.map(|from| (run.block_for(from), from)));
        RunCursor { run, rows }
    }

    /// Goes to the next row and returns its record; [`RunCursor::key`] is then its key.
    pub(crate) fn advance(&mut self) -> Result<Option<Record>, Error> {
        self.rows.advance(&self.run)
    }

    /// Goes to the next row without reading its record; `false` after the last one.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        self.rows.step(&self.run)
    }

    /// The key of the row that [`RunCursor::advance`] or [`RunCursor::step`] went to.
    pub(crate) fn key(&self) -> &[u8] {
        self.rows.key()
    }

    /// The record of that row, read as far as a merge needs.
    pub(super) fn raw_record(&self) -> Result<RawRecord<'_>, Error> {
        let record = self.rows.row().and_then(|(block, bytes)| block.raw_record(bytes));
        record.map_err(|error| self.rows.placed(&self.run, error))
    }

    /// Damage of the run, found in the block of the present row.
    pub(super) fn damaged(&self, what: &'static str) -> Error {
        self.rows.placed(&self.run, Error::corrupt(what))
    }
}

impl Iterator for RunCursor {
    type Item = Result<(Box<[u8]>, Record), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = self.advance().transpose()?;
        Some(advanced.map(|record| (self.key().into(), record)))
    }
}

impl fmt::Debug for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCursor").field("run", &self.run).finish_non_exhaustive()
    }
}

/// The position of a walk; the run is passed in.
pub(super) struct Rows {
    ahead: ReadAhead,
    block: Option<Block>,
    /// Offset of `block` in the file.
    block_at: u64,
    reader: RowReader,
    /// The place of the row's record in the block.
    record: Range<usize>,
    /// Rows below this key are skipped; empty once the first row was returned.
    from: Vec<u8>,
    ended: bool,
}

impl Rows {
    /// Starts at a key in the given block, or at the beginning.
    pub(super) fn new(from: Option<(u32, &[u8])>) -> Rows {
        let (block, from) = from.unwrap_or_default();
        Rows {
            ahead: ReadAhead::new(block),
            block: None,
            block_at: 0,
            reader: RowReader::default(),
            record: 0..0,
            from: from.to_vec(),
            ended: false,
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.reader.key()
    }

    pub(super) fn advance(&mut self, run: &Run) -> Result<Option<Record>, Error> {
        if !self.step(run)? {
            return Ok(None);
        }
        let record = self.row().and_then(|(block, bytes)| block.record(bytes));
        let record = record.map_err(|error| self.placed(run, error));
        self.ended = record.is_err();
        record.map(Some)
    }

    fn step(&mut self, run: &Run) -> Result<bool, Error> {
        if self.ended {
            return Ok(false);
        }
        let stepped = self.try_step(run);
        self.ended = !matches!(stepped, Ok(true));
        stepped
    }

    /// Names the file of the run, and the offset of the block that the walk is in.
    fn placed(&self, run: &Run, error: Error) -> Error {
        found_at(&*run.file, self.block_at, error)
    }

    /// The block of the row, and the bytes of its record.
    fn row(&self) -> Result<(&Block, &[u8]), Error> {
        let block = self.block.as_ref().ok_or_else(|| Error::corrupt("run block"))?;
        Ok((block, block.slice(&self.record)?))
    }

    fn try_step(&mut self, run: &Run) -> Result<bool, Error> {
        loop {
            let Some(block) = &self.block else {
                let Some((block, offset)) = self.ahead.next_block(run)? else { return Ok(false) };
                (self.block, self.block_at) = (Some(block), offset);
                self.reader.rewind();
                continue;
            };
            let next = block.next_row(&mut self.reader);
            let Some(record) = next.map_err(|error| found_at(&*run.file, self.block_at, error))? else {
                self.block = None;
                continue;
            };
            if *self.reader.key() >= *self.from {
                self.from.clear();
                // A row ends with its record, and the next row begins there.
                let end = self.reader.at();
                self.record = end - record.len()..end;
                return Ok(true);
            }
        }
    }
}

/// Blocks one after the other, read many at a time.
struct ReadAhead {
    next: u32,
    bytes: Vec<u8>,
    /// Where in the data `bytes` begins.
    offset: u64,
}

impl ReadAhead {
    fn new(next: u32) -> ReadAhead {
        ReadAhead { next, bytes: Vec::new(), offset: 0 }
    }

    /// The next block and its offset.
    fn next_block(&mut self, run: &Run) -> Result<Option<(Block, u64)>, Error> {
        let Some(place) = run.place(self.next) else { return Ok(None) };
        if self.slice(place).is_none() {
            let length = stretch_from(run, place);
            self.bytes = run.read_data(place.offset, length)?;
            self.offset = place.offset;
        }
        let bytes = self.slice(place).ok_or_else(|| Error::corrupt("run block"))?.to_vec();
        self.next += 1;
        run.check_block(place, bytes).map(|block| Some((block, place.offset)))
    }

    fn slice(&self, place: BlockPlace) -> Option<&[u8]> {
        let start = usize::try_from(place.offset.checked_sub(self.offset)?).ok()?;
        self.bytes.get(start..start.checked_add(place.length)?)
    }
}

/// How many bytes to read from `first` on: whole blocks, at least that one.
fn stretch_from(run: &Run, first: BlockPlace) -> usize {
    let mut length = first.length;
    for number in first.number + 1.. {
        match run.place(number) {
            Some(next) if length + next.length <= READ_BYTES => length += next.length,
            _ => break,
        }
    }
    length
}
