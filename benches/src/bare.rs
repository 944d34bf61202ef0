//! The bare loop: one thread overwrites a few bytes of a preallocated file and syncs, and nothing else.
//!
//! No store that acknowledges durable claims one by one can be faster than this on the same device.

use crate::Result;
use crate::device::{Access, AlignedBuf, Preallocated, SECTOR};
use crate::summary::rate;
use crate::time::Stopwatch;
use std::path::Path;
use std::time::Duration;

/// Bytes of one buffered write: about a journal entry.
const ENTRY: usize = 64;

const FILE_BYTES: u64 = 16 << 20;

/// The two ways a lone writer can go: through the page cache or around it.
#[derive(Debug)]
pub struct Bare {
    buffered: Loop,
    direct: Loop,
}

impl Bare {
    /// Creates the two files in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        Ok(Self {
            buffered: Loop::create(&dir.join("bare-buffered"), Access::Buffered, ENTRY)?,
            direct: Loop::create(&dir.join("bare-direct"), Access::Direct, SECTOR)?,
        })
    }

    /// Durable writes a second of the faster way, each way running for half of `duration`.
    pub fn measure(&mut self, duration: Duration) -> Result<f64> {
        let buffered = self.measure_buffered(duration / 2)?;
        Ok(buffered.max(self.measure_direct(duration / 2)?))
    }

    /// Durable writes of 64 bytes a second through the page cache.
    pub fn measure_buffered(&mut self, duration: Duration) -> Result<f64> {
        self.buffered.measure(duration)
    }

    /// Durable writes of 512 bytes a second around the page cache.
    pub fn measure_direct(&mut self, duration: Duration) -> Result<f64> {
        self.direct.measure(duration)
    }
}

#[derive(Debug)]
struct Loop {
    file: Preallocated,
    entry: AlignedBuf,
    offset: u64,
}

impl Loop {
    fn create(path: &Path, access: Access, entry_bytes: usize) -> Result<Self> {
        let file = Preallocated::create(path, FILE_BYTES, access)?;
        Ok(Self { file, entry: AlignedBuf::new(entry_bytes), offset: 0 })
    }

    fn measure(&mut self, duration: Duration) -> Result<f64> {
        let watch = Stopwatch::start();
        let mut writes = 0_u64;
        while watch.elapsed() < duration {
            // Changing bytes: nothing on the way may recognise a write that changes nothing.
            self.entry.as_mut_slice().fill(writes as u8);
            self.file.write_durably(self.entry.as_slice(), self.offset)?;
            self.offset = (self.offset + self.entry.as_slice().len() as u64) % self.file.len();
            writes += 1;
        }
        Ok(rate(writes, watch.elapsed().as_secs_f64()))
    }
}
