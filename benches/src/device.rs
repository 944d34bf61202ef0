//! A preallocated file that is overwritten and synced, as a journal is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Unit of direct I/O on the devices the benches run on, in bytes.
pub const SECTOR: usize = 512;

/// Alignment in memory that every device accepts, in bytes.
const ALIGNMENT: usize = 4096;

/// How writes reach the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache; any offset and length.
    Buffered,
    /// Around the page cache; offsets and lengths are multiples of [`SECTOR`].
    Direct,
}

/// A file whose blocks exist and hold zeros before the measurement begins, so that a write changes data only.
#[derive(Debug)]
pub struct Preallocated {
    file: File,
    len: u64,
}

impl Preallocated {
    /// Creates the file, fills it with zeros and makes it durable.
    ///
    /// Falls back to buffered access where the file system has no direct one.
    pub fn create(path: &Path, len: u64, access: Access) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..len.div_ceil(1 << 20) {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { len: file.metadata()?.len(), file: open(path, access)? })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Overwrites bytes and waits until the device has them.
    pub fn write_durably(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }
}

fn open(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if access == Access::Direct {
        let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        if let Ok(file) = options.clone().custom_flags(direct).open(path) {
            return Ok(file);
        }
    }
    options.open(path)
}

/// Zeroed memory at an address that direct I/O accepts.
#[derive(Debug)]
pub struct AlignedBuf {
    // Never grown: its address, and with it `start`, stays what it was.
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// A buffer of `len` bytes.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start, len }
    }

    /// The buffer for reading.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// The buffer for writing.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_complete() {
        let mut buf = AlignedBuf::new(3 * SECTOR);
        assert_eq!(buf.as_slice().len(), 3 * SECTOR);
        assert_eq!(buf.as_slice().as_ptr().align_offset(ALIGNMENT), 0);
        buf.as_mut_slice().fill(7);
        assert!(buf.as_slice().iter().all(|byte| *byte == 7));
    }
}
