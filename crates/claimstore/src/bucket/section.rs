//! Reads a section of a run file in small pieces, and computes its checksum on the way.
//!
//! A large temporary buffer per section would be freed soon, but allocators keep megabytes of such buffers for later:
//! at ten million keys, more than the indexes themselves.

use super::footer::Section;
use super::{found_at, read_failed};
use crate::error::Error;
use crate::io::File;

/// The longest piece.
const PIECE_BYTES: usize = 64 * 1024;

/// A section that is read sequentially. Its contents may not be trusted until [`finish`] returns true.
///
/// [`finish`]: SectionReader::finish
pub(super) struct SectionReader<'a> {
    file: &'a dyn File,
    /// Names the section where it is damaged.
    what: &'static str,
    /// Of the next byte.
    offset: u64,
    /// Bytes not yet read. The footer's lengths fill the file, so this never asks for more than there is.
    left: u64,
    crc: u32,
    hasher: crc32fast::Hasher,
    buffer: Vec<u8>,
}

impl<'a> SectionReader<'a> {
    pub(super) fn new(file: &'a dyn File, section: &Section, what: &'static str) -> SectionReader<'a> {
        let Section { offset, length, crc } = *section;
        let buffer = vec![0; PIECE_BYTES.min(length as usize)];
        SectionReader { file, what, offset, left: length, crc, hasher: crc32fast::Hasher::new(), buffer }
    }

    /// The next piece, as long as it can be but at most `wanted`, and a whole number of `unit`s. Empty when no
    /// unit is left.
    pub(super) fn piece(&mut self, wanted: u64, unit: usize) -> Result<&[u8], Error> {
        let most = wanted.min(self.left).min(self.buffer.len() as u64) as usize;
        let length = most - most % unit;
        let piece = self.buffer.get_mut(..length).unwrap_or_default();
        self.file.read_exact_at(piece, self.offset).map_err(|source| read_failed(self.what, source))?;
        self.hasher.update(piece);
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(piece)
    }

    /// The next `length` bytes as a box; an error if fewer are left.
    pub(super) fn boxed(&mut self, length: u64) -> Result<Box<[u8]>, Error> {
        if length > self.left {
            return Err(found_at(self.file, self.offset, Error::corrupt(self.what)));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        while (bytes.len() as u64) < length {
            let wanted = length - bytes.len() as u64;
            let piece = self.piece(wanted, 1)?;
            bytes.extend_from_slice(piece);
        }
        Ok(bytes.into())
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Whether the section was read to its end and its checksum is right.
    pub(super) fn finish(self) -> bool {
        self.left == 0 && self.hasher.finalize() == self.crc
    }
}
