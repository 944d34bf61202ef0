//! Rows with checksums, and tallies that prove that no row is missing.

use crate::codec::{Cursor, Malformed, crc32};
use crate::error::Error;

/// Appends a checksum to the bytes of a row. It covers the table and the key too, so that a row cannot stand
/// in another's place.
pub(in crate::bucket) fn seal(table: &str, key: &[u8], row: &mut Vec<u8>) {
    let crc = row_crc(table, key, row);
    row.extend_from_slice(&crc.to_le_bytes());
}

/// The counterpart of [`seal`]: the bytes without their checksum, if it fits.
pub(in crate::bucket) fn unseal<'a>(table: &str, key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Error> {
    match sealed.split_last_chunk() {
        Some((row, crc)) if row_crc(table, key, row) == u32::from_le_bytes(*crc) => Ok(row),
        _ => Err(Error::corrupt("a row of a redb file is damaged")),
    }
}

fn row_crc(table: &str, key: &[u8], row: &[u8]) -> u32 {
    let lengths = [(table.len() as u64).to_le_bytes(), (key.len() as u64).to_le_bytes()];
    crc32(&[lengths.as_flattened(), table.as_bytes(), key, row])
}

/// How many sealed rows a table has, and the sum of their checksums. Kept in another table, it proves that no
/// row is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bucket) struct Tally {
    count: u64,
    digest: u64,
}

impl Tally {
    pub(in crate::bucket) fn of<'a>(sealed: impl IntoIterator<Item = &'a Vec<u8>>) -> Tally {
        let mut tally = Tally::default();
        for row in sealed {
            tally.add(row);
        }
        tally
    }

    pub(in crate::bucket) fn add(&mut self, sealed: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.digest = self.digest.wrapping_add(crc_of(sealed));
    }

    pub(in crate::bucket) fn remove(&mut self, sealed: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(crc_of(sealed));
    }

    pub(in crate::bucket) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.digest.to_le_bytes());
    }

    pub(in crate::bucket) fn take(cursor: &mut Cursor<'_>) -> Result<Tally, Malformed> {
        Ok(Tally { count: cursor.u64("row count")?, digest: cursor.u64("row digest")? })
    }
}

fn crc_of(sealed: &[u8]) -> u64 {
    sealed.last_chunk().map_or(0, |crc| u64::from(u32::from_le_bytes(*crc)))
}
