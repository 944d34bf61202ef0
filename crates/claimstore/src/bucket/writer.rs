//! Writing a run file sequentially.

use super::block::{BlockBuilder, BlockName};
use super::filter::Filter;
use super::footer::{FOOTER_BYTES, Footer, Section};
use super::index::IndexBuilder;
use super::summary::Tally;
use super::{BucketId, RUNS_DIR, Row, RunSummary, run_file_name};
use crate::codec::crc32;
use crate::io::{File, OpenMode, Storage};
use crate::sync::Arc;
use std::fmt;
use std::io;

/// The size of one write and one sync. So the sync at the end has little to do, and a large run does not block the
/// disk for the journal.
const PIECE_BYTES: usize = 1024 * 1024;
/// A bound for keys, far above the store's own limit, so that lengths in the file cannot overflow.
const MAX_KEY_BYTES: usize = 64 * 1024;
/// A bound for rows, for the same reason.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// Writes one run. Rows must come in ascending key order; [`RunWriter::finish`] makes the file durable. A writer that
/// is dropped before removes its file.
pub(crate) struct RunWriter {
    store_id: [u8; 16],
    number: u64,
    bucket: BucketId,
    output: Output,
    block: BlockBuilder,
    index: IndexBuilder,
    filter: Option<Filter>,
    tally: Tally,
    first_hash: u64,
}

impl RunWriter {
    /// Creates the file of run `number`. `filter_keys_hint` is the expected number of keys, or an upper bound: too
    /// low a number makes the filter worse, too high a number is corrected at the end.
    pub(crate) fn create(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        number: u64,
        bucket: BucketId,
        filter_keys_hint: usize,
    ) -> io::Result<RunWriter> {
        Ok(RunWriter {
            store_id,
            number,
            bucket,
            output: Output::create(storage, run_file_name(number))?,
            block: BlockBuilder::new(),
            index: IndexBuilder::default(),
            // Look-ups skip the open bucket, so its runs need no filter.
            filter: (bucket != BucketId::Open).then(|| Filter::for_keys(filter_keys_hint as u64)),
            tally: Tally::new(),
            first_hash: 0,
        })
    }

    /// Appends a row; `hash` is the store's hash of `key`.
    ///
    /// `InvalidInput` for a key that is not greater than the one before, a key or record beyond the bounds, and a
    /// record that would not have expired when its bucket is dropped. After any error the writer must be dropped.
    pub(crate) fn push(&mut self, key: &[u8], hash: u64, record: &impl Row) -> io::Result<()> {
        let (numbers, loose_bytes) = (record.numbers(), record.loose_bytes());
        let bounded = key.len() <= MAX_KEY_BYTES && loose_bytes <= MAX_RECORD_BYTES;
        if !bounded || !self.tally.admits(self.bucket, key, &numbers) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.tally.rows == 0 {
            self.first_hash = hash;
        }
        if self.block.is_full_for(key, loose_bytes) {
            self.end_block()?;
        }
        if self.block.is_empty() {
            self.index.begin_block(&self.tally.last_key, key)?;
        }
        self.block.push(&self.tally.last_key, key, record);
        self.tally.add(key, &numbers, record.body_bytes());
        if let Some(filter) = &mut self.filter {
            filter.insert(hash);
        }
        Ok(())
    }

    /// Completes the file and makes it and its name durable. A run without rows is `InvalidInput`.
    pub(crate) fn finish(mut self) -> io::Result<RunSummary> {
        if self.tally.rows == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.end_block()?;
        self.tally.close();
        let footer = self.write_sections()?;
        let (stored, digest) = footer.encode();
        debug_assert_eq!(stored.len(), FOOTER_BYTES, "the footer's length is part of the format");
        self.output.section(&stored)?;
        let bytes = self.output.position();
        self.output.publish()?;
        Ok(RunSummary {
            number: footer.number,
            bucket: footer.bucket,
            rows: footer.rows,
            tombstones: footer.tombstones,
            bytes,
            min_seq: footer.min_seq,
            max_seq: footer.max_seq,
            digest,
        })
    }

    /// Writes the sections between the data and the footer; returns the footer that names them.
    fn write_sections(&mut self) -> io::Result<Footer> {
        let data_bytes = self.output.position();
        let min_key = self.tally.ranges.min_key().unwrap_or_default();
        let index = self.output.section(&self.index.encode(&min_key, &self.tally.last_key))?;
        let filter = self.write_filter()?;
        let mut ranges = Vec::new();
        self.tally.ranges.encode(&mut ranges);
        Ok(Footer {
            store_id: self.store_id,
            number: self.number,
            bucket: self.bucket,
            rows: self.tally.rows,
            tombstones: self.tally.tombstones,
            min_seq: self.tally.min_seq,
            max_seq: self.tally.max_seq,
            first_hash: self.first_hash,
            data_bytes,
            index,
            filter,
            ranges: self.output.section(&ranges)?,
        })
    }

    fn end_block(&mut self) -> io::Result<()> {
        let block = u32::try_from(self.index.blocks()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let name = BlockName { store_id: self.store_id, run: self.number, block };
        let (length, crc) = self.block.finish(&name, &mut self.output.buffer);
        self.index.end_block(length, crc);
        self.output.write_full_pieces()
    }

    fn write_filter(&mut self) -> io::Result<Section> {
        let Some(filter) = &mut self.filter else { return self.output.section(&[]) };
        filter.shrink_to(self.tally.rows);
        let mut section = Section { offset: self.output.position(), length: filter.bytes() as u64, crc: 0 };
        let mut hasher = crc32fast::Hasher::new();
        for line in filter.stored_lines() {
            hasher.update(&line);
            self.output.buffer.extend_from_slice(&line);
            self.output.write_full_pieces()?;
        }
        section.crc = hasher.finalize();
        Ok(section)
    }
}

impl fmt::Debug for RunWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunWriter").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The file, written in pieces. Removes itself when dropped, until it is published.
struct Output {
    storage: Arc<dyn Storage>,
    name: String,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    published: bool,
}

impl Output {
    fn create(storage: &Arc<dyn Storage>, name: String) -> io::Result<Output> {
        let file = storage.open(&name, OpenMode::CreateNew)?;
        let buffer = Vec::with_capacity(PIECE_BYTES);
        Ok(Output { storage: storage.clone(), name, file, buffer, written: 0, published: false })
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn section(&mut self, bytes: &[u8]) -> io::Result<Section> {
        let section = Section { offset: self.position(), length: bytes.len() as u64, crc: crc32(&[bytes]) };
        self.buffer.extend_from_slice(bytes);
        self.write_full_pieces()?;
        Ok(section)
    }

    fn write_full_pieces(&mut self) -> io::Result<()> {
        if self.buffer.len() < PIECE_BYTES { Ok(()) } else { self.write_out() }
    }

    fn write_out(&mut self) -> io::Result<()> {
        for piece in self.buffer.chunks(PIECE_BYTES) {
            self.file.write_all_at(piece, self.written)?;
            self.written += piece.len() as u64;
            // Sync piece by piece: the journal's next sync then waits for one piece at most, not for the whole run.
            if piece.len() == PIECE_BYTES {
                self.file.sync_data()?;
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// First the bytes, then the name: a name that survives a crash belongs to a complete file.
    fn publish(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.file.sync_data()?;
        self.storage.sync_dir(RUNS_DIR)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // If the store's files were moved, this name may belong to another store by now: then leave the file. No
        // catalogue names it, so the next open removes it.
        if !self.published && self.storage.leads_to(&self.name, &*self.file).unwrap_or(false) {
            let _ = self.storage.remove(&self.name);
        }
    }
}
