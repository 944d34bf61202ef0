//! The end of a run file: what the file is and where its sections are.
//!
//! The sections fill the file without gaps: data, index, filter, ranges, footer. So the footer's
//! lengths account for every byte, and none of them can ask for more than the file has.

use super::{BucketId, RunSummary, damaged};
use crate::codec::{Cursor, Malformed, crc32};
use crate::error::{Error, ErrorKind};

/// Bytes of the footer of version 1.
pub(super) const FOOTER_BYTES: usize = 176;
/// No version's footer is longer.
pub(super) const MAX_FOOTER_BYTES: u64 = 4096;
/// Bytes at the very end whose meaning no version changes: footer length, version, checksum, magic.
pub(super) const TAIL_BYTES: usize = 16;
/// `CSRN`.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"CSRN");
pub(super) const VERSION: u32 = 1;

/// A range of bytes in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) crc: u32,
}

/// The contents of the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) store_id: [u8; 16],
    pub(super) number: u64,
    pub(super) bucket: BucketId,
    pub(super) rows: u64,
    pub(super) tombstones: u64,
    pub(super) min_seq: u64,
    pub(super) max_seq: u64,
    /// The hash of the smallest key. If the store hashes this key differently, the filter is useless, and the run is
    /// refused.
    pub(super) first_hash: u64,
    /// Its checksum is that of the index, which holds one for each block.
    pub(super) data_bytes: u64,
    pub(super) index: Section,
    pub(super) filter: Section,
    pub(super) ranges: Section,
}

impl Footer {
    /// The stored form and its checksum.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.number.to_le_bytes());
        self.bucket.encode(&mut out);
        // Six zero bytes align the following fields to a multiple of eight.
        out.extend_from_slice(&[0; 6]);
        let counts =
            [self.rows, self.tombstones, self.min_seq, self.max_seq, self.first_hash, self.data_bytes];
        for value in counts {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for section in [self.index, self.filter, self.ranges] {
            out.extend_from_slice(&section.offset.to_le_bytes());
            out.extend_from_slice(&section.length.to_le_bytes());
            out.extend_from_slice(&section.crc.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(&(FOOTER_BYTES as u32).to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32(&[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        (out, crc)
    }

    /// Reads the footer of the file that the catalogue names in `summary`. `end` is the last [`MAX_FOOTER_BYTES`] of
    /// the file, or all of a shorter one.
    pub(super) fn check(end: &[u8], store_id: &[u8; 16], summary: &RunSummary) -> Result<Footer, Error> {
        let tail = end.last_chunk::<TAIL_BYTES>().ok_or_else(|| Error::corrupt("run length"))?;
        let (length, version, crc, magic) = Footer::parse_tail(tail).map_err(damaged)?;
        let stored = end.len().checked_sub(length as usize).and_then(|start| end.get(start..));
        let stored = stored.ok_or_else(|| Error::corrupt("run footer length"))?;
        let checked = stored.get(..stored.len().saturating_sub(8)).unwrap_or_default();
        if magic != MAGIC || crc != crc32(&[checked]) || crc != summary.digest {
            return Err(Error::corrupt("run digest"));
        }
        // Checked after the checksum: a damaged version number is damage, not a newer version.
        if version > VERSION {
            return Err(Error::new(ErrorKind::TooNew, "a run was written by a newer version"));
        }
        if version != VERSION || stored.len() != FOOTER_BYTES {
            return Err(Error::corrupt("run footer"));
        }
        let footer = Footer::parse(&mut Cursor::new(stored)).map_err(damaged)?;
        if footer.store_id == *store_id && footer.agrees_with(summary) && footer.fills(summary.bytes) {
            Ok(footer)
        } else {
            Err(Error::corrupt("run of another place"))
        }
    }

    fn parse_tail(tail: &[u8; TAIL_BYTES]) -> Result<(u32, u32, u32, u32), Malformed> {
        let (mut cursor, what) = (Cursor::new(tail), "run tail");
        Ok((cursor.u32(what)?, cursor.u32(what)?, cursor.u32(what)?, cursor.u32(what)?))
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Footer, Malformed> {
        let (store_id, number) = (cursor.array("run store id")?, cursor.u64("run number")?);
        let bucket = BucketId::decode(cursor)?;
        cursor.take(6, "run padding")?;
        let mut count = || cursor.u64("run counts");
        let (rows, tombstones, min_seq, max_seq) = (count()?, count()?, count()?, count()?);
        let (first_hash, data_bytes) = (count()?, count()?);
        let mut section = || {
            let section = Section {
                offset: cursor.u64("section offset")?,
                length: cursor.u64("section length")?,
                crc: cursor.u32("section checksum")?,
            };
            cursor.take(4, "section padding")?;
            Ok(section)
        };
        let (index, filter, ranges) = (section()?, section()?, section()?);
        Ok(Footer {
            store_id,
            number,
            bucket,
            rows,
            tombstones,
            min_seq,
            max_seq,
            first_hash,
            data_bytes,
            index,
            filter,
            ranges,
        })
    }

    fn agrees_with(&self, summary: &RunSummary) -> bool {
        self.number == summary.number
            && self.bucket == summary.bucket
            && self.rows == summary.rows
            && self.tombstones == summary.tombstones
            && self.min_seq == summary.min_seq
            && self.max_seq == summary.max_seq
    }

    /// Whether the sections follow each other without gaps up to the end of a file of `file_bytes`, and the
    /// data have room for the rows.
    fn fills(&self, file_bytes: u64) -> bool {
        let mut end = Some(self.data_bytes);
        for section in [self.index, self.filter, self.ranges] {
            end = end.filter(|end| *end == section.offset).and_then(|end| end.checked_add(section.length));
        }
        end.and_then(|end| end.checked_add(FOOTER_BYTES as u64)) == Some(file_bytes)
            && self.rows <= self.data_bytes
    }
}
