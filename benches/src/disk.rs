//! What the device under a directory has been asked to write.

use crate::Result;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a sector in the kernel's statistics, whatever the device's own.
const SECTOR: u64 = 512;

/// Place of "sectors written" among the fields (`Documentation/block/stat.rst` of the kernel).
const SECTORS_WRITTEN: usize = 6;

/// The statistics of a block device.
#[derive(Debug)]
pub struct Device(PathBuf);

impl Device {
    /// The device that holds `dir`; `None` if it is not a block device, as with file systems in memory.
    pub fn under(dir: &Path) -> Result<Option<Self>> {
        let number = fs::metadata(dir)?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let file = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        Ok(file.exists().then_some(Self(file)))
    }

    /// Bytes written to it by anybody since the machine started.
    pub fn written(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.0)?;
        let field = text.split_whitespace().nth(SECTORS_WRITTEN).ok_or("a device's statistics are short")?;
        Ok(field.parse::<u64>()? * SECTOR)
    }
}
