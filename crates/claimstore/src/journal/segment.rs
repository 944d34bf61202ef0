//! Segment files: their names, the header sector, and their preparation.

use super::JOURNAL_DIR;
use super::frame::{SECTOR_BYTES, put};
use crate::codec::{Cursor, Malformed, crc32};
use crate::error::{Error, ErrorKind};
use crate::io::{File, OpenMode, Storage};
use crate::planted;
use crate::sync::Arc;
use std::io;

/// Offset of the first frame.
pub(super) const FIRST_FRAME: usize = SECTOR_BYTES;
/// Room for the header, a frame, and the sectors that a writer reserves.
pub(crate) const MIN_SEGMENT_BYTES: u64 = 8 * SECTOR_BYTES as u64;
/// Bounds the memory of a recovery, which reads whole segments.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 1 << 30;

const MAGIC: [u8; 8] = *b"CSJOURNL";
const VERSION: u32 = 1;
const AT_VERSION: usize = 8;
const AT_CRC: usize = 12;
const AT_STORE_ID: usize = 16;
const AT_NUMBER: usize = 32;
const AT_SALT: usize = 40;
const AT_CAPACITY: usize = 48;
const HEADER_END: usize = 56;

const ZERO_CHUNK: usize = 1 << 20;

/// Where replay begins. Stored in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Its salt.
    pub(crate) salt: u64,
    /// The last batch before its first frame; zero at the beginning of a journal.
    pub(crate) batch: u64,
}

/// A segment file ready for use: its header is durable, and so is its name.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) capacity: usize,
    /// Opened for direct writes.
    pub(super) file: Arc<dyn File>,
}

/// Prepares segment `number`: `bytes` long, with its header written, file and name durable.
///
/// `recycle` names a retired segment with a lower number whose file is reused: its blocks are allocated already. Its
/// old frames are invalid under the new `salt`, which must be fresh and not zero. Without `recycle`, or if that file
/// is gone, a new file is created. An existing file with this `number` is replaced, so neither number may belong to a
/// segment in use. With `zeroed`, the file is filled with zeros, so that no later write has to allocate blocks.
/// Otherwise space is only reserved, which is fast but makes the first writes slower.
///
/// After an error the journal is unchanged; a file that is left over is a spare one.
pub(crate) fn prepare(
    storage: &Arc<dyn Storage>,
    store_id: [u8; 16],
    number: u64,
    bytes: u64,
    salt: u64,
    recycle: Option<u64>,
    zeroed: bool,
) -> io::Result<Prepared> {
    let fits =
        (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&bytes) && bytes.is_multiple_of(SECTOR_BYTES as u64);
    if !fits || salt == 0 || recycle.is_some_and(|old| old >= number) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no segment can be made of this"));
    }
    let name = segment_name(number);
    let file = match take_over(storage, recycle, number)? {
        Some(file) => file,
        None => create(storage, &name)?,
    };
    let header = Header { store_id, number, salt, capacity: bytes };
    let grown = write_segment(&*file, &header, zeroed)?;
    // The file and its name must be durable before a frame names this segment: a named segment that is missing is
    // damage.
    let mut sync_file = true;
    if planted::active(91) {
        sync_file = !grown;
    }
    if sync_file {
        file.sync_data()?;
    }
    let mut sync_name = true;
    if planted::active(13) {
        sync_name = false;
    }
    if sync_name {
        storage.sync_dir(JOURNAL_DIR)?;
    }
    // The zeros need not stay in the page cache.
    file.drop_cache()?;
    drop(file);
    let file = storage.open(&name, OpenMode::Direct)?;
    Ok(Prepared { number, salt, capacity: bytes as usize, file })
}

/// Renames the recycled file. Until the new header is durable the file is no valid segment: its old header has
/// another number than its name.
fn take_over(
    storage: &Arc<dyn Storage>,
    recycle: Option<u64>,
    number: u64,
) -> io::Result<Option<Arc<dyn File>>> {
    let Some(old) = recycle else { return Ok(None) };
    match storage.rename(&segment_name(old), &segment_name(number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        done => done?,
    }
    storage.open(&segment_name(number), OpenMode::Existing).map(Some)
}

/// Creates a new file. A leftover of a failed preparation is removed, not reused: the page cache may have pages of it
/// that never reached the disk.
fn create(storage: &Arc<dyn Storage>, name: &str) -> io::Result<Arc<dyn File>> {
    match storage.open(name, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => storage.remove(name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            storage.create_dir(JOURNAL_DIR)?;
            storage.sync_dir("")?;
        }
        done => return done,
    }
    storage.open(name, OpenMode::CreateNew)
}

/// Returns whether the file got longer.
fn write_segment(file: &dyn File, header: &Header, zeroed: bool) -> io::Result<bool> {
    let had = file.len()?;
    if had > header.capacity {
        file.set_len(header.capacity)?;
    } else {
        file.allocate(header.capacity)?;
    }
    if zeroed {
        write_zeros(file, had, header.capacity)?;
    }
    file.write_all_at(&header.encode(), 0)?;
    Ok(had < header.capacity)
}

fn write_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0u8; ZERO_CHUNK];
    let mut at = from;
    while at < to {
        let len = (to - at).min(ZERO_CHUNK as u64);
        file.write_all_at(zeros.get(..len as usize).unwrap_or_default(), at)?;
        at += len;
        // Sync piece by piece: one sync of the whole file would delay the commits in the current segment.
        if at < to {
            file.sync_data()?;
        }
    }
    Ok(())
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{JOURNAL_DIR}/{number:016}.seg")
}

/// The numbers of all segment files, ascending.
pub(super) fn list(storage: &Arc<dyn Storage>) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        storage.list(JOURNAL_DIR)?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let number = digits.parse().ok()?;
    // Only the canonical spelling: `+1` and `1` are not our names.
    (format!("{number:016}") == digits).then_some(number)
}

/// The first sector of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    store_id: [u8; 16],
    number: u64,
    salt: u64,
    capacity: u64,
}

/// Why a header is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadHeader {
    Damaged(&'static str),
    TooNew,
}

impl From<Malformed> for BadHeader {
    fn from(Malformed(what): Malformed) -> BadHeader {
        BadHeader::Damaged(what)
    }
}

impl Header {
    fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        put(&mut sector, 0, &MAGIC);
        put(&mut sector, AT_VERSION, &VERSION.to_le_bytes());
        put(&mut sector, AT_STORE_ID, &self.store_id);
        put(&mut sector, AT_NUMBER, &self.number.to_le_bytes());
        put(&mut sector, AT_SALT, &self.salt.to_le_bytes());
        put(&mut sector, AT_CAPACITY, &self.capacity.to_le_bytes());
        let crc = Header::checksum(&sector);
        put(&mut sector, AT_CRC, &crc.to_le_bytes());
        sector
    }

    /// Covers the whole sector except the checksum itself. The same in every version of the format, so that damage is
    /// never taken for a newer version.
    fn checksum(sector: &[u8; SECTOR_BYTES]) -> u32 {
        let (before, behind) = (sector.get(..AT_CRC), sector.get(AT_STORE_ID..));
        crc32(&[before.unwrap_or_default(), behind.unwrap_or_default()])
    }

    fn decode(sector: &[u8; SECTOR_BYTES]) -> Result<Header, BadHeader> {
        let mut cursor = Cursor::new(sector);
        if cursor.array("segment magic")? != MAGIC {
            return Err(BadHeader::Damaged("segment magic"));
        }
        let version = cursor.u32("segment version")?;
        if cursor.u32("segment checksum")? != Header::checksum(sector) {
            return Err(BadHeader::Damaged("segment checksum"));
        }
        if version != VERSION {
            return Err(if version > VERSION { BadHeader::TooNew } else { BadHeader::Damaged("version") });
        }
        let header = Header {
            store_id: cursor.array("store id")?,
            number: cursor.u64("segment number")?,
            salt: cursor.u64("segment salt")?,
            capacity: cursor.u64("segment capacity")?,
        };
        let rest = cursor.take(SECTOR_BYTES - HEADER_END, "segment header")?;
        let sound = rest.iter().all(|&byte| byte == 0)
            && header.salt != 0
            && header.capacity.is_multiple_of(SECTOR_BYTES as u64)
            && (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&header.capacity);
        if sound { Ok(header) } else { Err(BadHeader::Damaged("segment header")) }
    }
}

/// A segment opened for reading. Its first part is in memory, as far as [`read_to`](Reader::read_to) was called.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) capacity: usize,
    file: Arc<dyn File>,
    bytes: Vec<u8>,
}

impl Reader {
    /// Opens segment `number`, which must exist, belong to this store and have this salt.
    pub(super) fn open(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        number: u64,
        salt: u64,
    ) -> Result<Reader, Error> {
        let reader = Reader::open_any(storage, store_id, number)?;
        if reader.salt != salt {
            return Err(reader.damaged("a journal segment was replaced by another", 0));
        }
        Ok(reader)
    }

    /// The same with any salt.
    pub(super) fn open_any(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        number: u64,
    ) -> Result<Reader, Error> {
        let file = storage.open(&segment_name(number), OpenMode::Existing).map_err(missing_is_damage)?;
        let mut sector = [0; SECTOR_BYTES];
        file.read_exact_at(&mut sector, 0).map_err(missing_is_damage)?;
        let damaged = |what, offset| Error::corrupt(what).in_file(segment_name(number), Some(offset));
        let header = Header::decode(&sector).map_err(|bad| match bad {
            BadHeader::Damaged(what) => damaged(what, 0),
            BadHeader::TooNew => Error::new(ErrorKind::TooNew, "a newer version wrote this journal"),
        })?;
        if header.store_id != store_id || header.number != number {
            return Err(damaged("a journal segment stands in the place of another", 0));
        }
        // Also bounds the allocation: no more than the file has.
        let len = file.len().map_err(missing_is_damage)?;
        if len < header.capacity {
            return Err(damaged("a journal segment was cut short", len));
        }
        let (salt, capacity) = (header.salt, header.capacity as usize);
        Ok(Reader { number, salt, capacity, file, bytes: Vec::new() })
    }

    /// Damage of this segment, found at `offset`.
    pub(super) fn damaged(&self, what: &'static str, offset: usize) -> Error {
        Error::corrupt(what).in_file(segment_name(self.number), Some(offset as u64))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the whole segment is in memory.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() >= self.capacity
    }

    /// Reads up to `end`, or to the end of the segment.
    pub(super) fn read_to(&mut self, end: usize) -> Result<(), Error> {
        let (have, end) = (self.bytes.len(), end.min(self.capacity));
        if have < end {
            if have == 0 {
                // Zeroed by the allocator, which costs nothing for fresh pages.
                self.bytes = vec![0; end];
            } else {
                self.bytes.resize(end, 0);
            }
            let fresh = self.bytes.get_mut(have..).unwrap_or_default();
            self.file.read_exact_at(fresh, have as u64).map_err(missing_is_damage)?;
        }
        Ok(())
    }

    /// Writes bytes back as they were read.
    pub(super) fn rewrite(&self, from: usize, to: usize) -> io::Result<()> {
        let bytes = self.bytes.get(from..to).unwrap_or_default();
        if bytes.is_empty() { Ok(()) } else { self.file.write_all_at(bytes, from as u64) }
    }

    /// Overwrites the sector at `offset` with zeros in the file; the copy in memory stays.
    pub(super) fn clear_sector(&self, offset: usize) -> io::Result<()> {
        self.file.write_all_at(&[0; SECTOR_BYTES], offset as u64)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reopens the segment for writing. Frees the memory.
    pub(super) fn into_prepared(self, storage: &Arc<dyn Storage>) -> Result<Prepared, Error> {
        let file = storage.open(&segment_name(self.number), OpenMode::Direct).map_err(missing_is_damage)?;
        Ok(Prepared { number: self.number, salt: self.salt, capacity: self.capacity, file })
    }
}

/// For files that must exist: a missing or short one is damage.
fn missing_is_damage(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Error::with_source(ErrorKind::Corrupt, "a journal segment is missing", error)
        }
        io::ErrorKind::UnexpectedEof => {
            Error::with_source(ErrorKind::Corrupt, "a journal segment was cut short", error)
        }
        _ => Error::io("a journal segment cannot be read", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { store_id: [7; 16], number: 5, salt: 0xfeed, capacity: 1 << 20 };

    #[test]
    fn headers_round_trip_and_no_flipped_byte_passes() {
        let sector = HEADER.encode();
        assert_eq!(Header::decode(&sector), Ok(HEADER));
        for at in 0..SECTOR_BYTES {
            let mut hurt = sector;
            hurt[at] ^= 0x40;
            assert!(matches!(Header::decode(&hurt), Err(BadHeader::Damaged(_))), "byte {at}");
        }
        assert!(Header::decode(&[0; SECTOR_BYTES]).is_err());
    }

    #[test]
    fn headers_that_say_what_cannot_be_are_refused() {
        let bad = [
            Header { salt: 0, ..HEADER },
            Header { capacity: 0, ..HEADER },
            Header { capacity: 4097, ..HEADER },
            Header { capacity: !511, ..HEADER },
        ];
        for header in bad {
            assert_eq!(Header::decode(&header.encode()), Err(BadHeader::Damaged("segment header")));
        }
    }

    /// The table of `docs/file-format.md`.
    #[test]
    fn the_bytes_are_these() {
        let sector = HEADER.encode();
        assert_eq!(&sector[..8], b"CSJOURNL");
        assert_eq!(sector[8..12], [1, 0, 0, 0]);
        assert_eq!(sector[16..32], [7; 16]);
        assert_eq!(sector[32..40], 5u64.to_le_bytes());
        assert_eq!(sector[40..48], 0xfeed_u64.to_le_bytes());
        assert_eq!(sector[48..56], (1u64 << 20).to_le_bytes());
        assert!(sector[56..].iter().all(|&byte| byte == 0));
        assert_eq!(sector[12..16], crc32(&[&sector[..12], &sector[16..]]).to_le_bytes());
    }

    #[test]
    fn only_our_own_spelling_is_a_segment() {
        assert_eq!(number_of("0000000000000012.seg"), Some(12));
        assert_eq!(segment_name(12), "journal/0000000000000012.seg");
        assert_eq!(number_of("18446744073709551615.seg"), Some(u64::MAX));
        for name in
            ["12.seg", "+000000000000012.seg", "0000000000000012", "0000000000000012.seg.tmp", ".seg", ""]
        {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
