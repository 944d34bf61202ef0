//! A run as one immutable file; redb keeps only the list of runs.

use crate::Home;
use crate::Key;
use crate::blocks;
use crate::filter::Filter;
use claimstore_bench::Result;
use claimstore_bench::keys::KEY_LEN;
use redb::{Builder, Database, Durability, TableDefinition};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 8192;

/// Bytes of one write call.
const WRITE_BYTES: usize = 1 << 20;

const CATALOGUE: TableDefinition<u32, &[u8]> = TableDefinition::new("runs");

/// Each run in a file, listed in a catalogue.
pub(crate) struct FileHome {
    dir: PathBuf,
    pace: u64,
    catalogue: Database,
    runs: BTreeMap<u32, Run>,
}

struct Run {
    file: File,
    index: Vec<Key>,
    filter: Filter,
}

impl FileHome {
    /// Syncs every `pace` bytes while it writes, if not zero.
    pub(crate) fn create(dir: &Path, pace: u64) -> Result<Self> {
        let runs = dir.join("runs");
        fs::create_dir(&runs)?;
        let catalogue = Builder::new().set_cache_size(8 << 20).create(dir.join("catalogue.redb"))?;
        Ok(Self { dir: runs, pace, catalogue, runs: BTreeMap::new() })
    }

    fn path(&self, run: u32) -> PathBuf {
        self.dir.join(format!("{run:016}.run"))
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(File::open(&self.dir)?.sync_all()?)
    }

    fn commit(&self, change: impl FnOnce(&mut redb::Table<'_, u32, &[u8]>) -> Result<()>) -> Result<()> {
        let mut transaction = self.catalogue.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        change(&mut transaction.open_table(CATALOGUE)?)?;
        Ok(transaction.commit()?)
    }
}

impl Home for FileHome {
    fn load(&mut self, run: u32, keys: &[Key]) -> Result<()> {
        let file = File::options().create_new(true).read(true).write(true).open(self.path(run))?;
        let mut out = Writer { file, buf: Vec::with_capacity(WRITE_BYTES), written: 0, pace: self.pace };
        let mut index = Vec::new();
        blocks::pack(run, keys, BLOCK_BYTES, |block| {
            index.push(*block.first_key);
            out.push(block.bytes)
        })?;
        let filter = Filter::build(keys);
        out.finish(index.as_flattened(), &filter.to_bytes())?;
        // First the file, then its name, then the catalogue: a listed run is whole.
        out.file.sync_data()?;
        self.sync_dir()?;
        self.commit(|catalogue| {
            catalogue.insert(run, [0; 64].as_slice())?;
            Ok(())
        })?;
        self.runs.insert(run, Run { file: out.file, index, filter });
        Ok(())
    }

    fn drop_run(&mut self, run: u32) -> Result<()> {
        // First the catalogue, then the file: a listed run exists. The directory needs no sync, for an open
        // removes files that are not listed.
        self.commit(|catalogue| {
            catalogue.remove(run)?;
            Ok(())
        })?;
        self.runs.remove(&run);
        Ok(fs::remove_file(self.path(run))?)
    }

    fn count_present(&self, run: u32, keys: &[Key]) -> Result<usize> {
        let Some(run) = self.runs.get(&run) else { return Ok(0) };
        let mut block = vec![0; BLOCK_BYTES];
        let mut present = 0;
        for key in keys.iter().filter(|key| run.filter.may_hold(key)) {
            let after = run.index.partition_point(|first| first <= key);
            let Some(place) = after.checked_sub(1) else { continue };
            run.file.read_exact_at(&mut block, (place * BLOCK_BYTES) as u64)?;
            present += usize::from(blocks::holds(&block, key));
        }
        Ok(present)
    }

    fn file_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.dir)? {
            // What the file system gave, in its units of 512 bytes.
            bytes += entry?.metadata()?.blocks() * 512;
        }
        Ok(bytes)
    }
}

struct Writer {
    file: File,
    buf: Vec<u8>,
    written: u64,
    pace: u64,
}

impl Writer {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buf, self.written)?;
        let before = self.written;
        self.written += self.buf.len() as u64;
        self.buf.clear();
        if self.pace > 0 && before / self.pace != self.written / self.pace {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Index and filter under a checksum each, then the footer that finds them.
    fn finish(&mut self, index: &[u8], filter: &[u8]) -> Result<()> {
        let mut footer = Vec::new();
        for part in [index, filter] {
            footer.extend_from_slice(&(part.len() as u64).to_le_bytes());
            footer.extend_from_slice(&crc32fast::hash(part).to_le_bytes());
            self.push(part)?;
        }
        footer.extend_from_slice(&(index.len() as u64 / KEY_LEN as u64).to_le_bytes());
        let checksum = crc32fast::hash(&footer);
        footer.extend_from_slice(&checksum.to_le_bytes());
        self.push(&footer)?;
        self.flush()
    }
}
