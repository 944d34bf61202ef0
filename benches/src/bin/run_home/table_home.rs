//! A run as one redb table; a row is a block.

use crate::Home;
use crate::Key;
use crate::blocks;
use crate::filter::Filter;
use claimstore_bench::Result;
use claimstore_bench::keys;
use redb::{Builder, Database, Durability, ReadableDatabase, StorageBackend, TableDefinition};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// redb keeps a row that fills its leaf in pages of a power of two: the block leaves it room for page header
/// and key, or every block would take 16 KiB.
const BLOCK_BYTES: usize = 8192 - 64;

const CACHE_BYTES: usize = 64 << 20;

const FILTERS: TableDefinition<(u32, u32), &[u8]> = TableDefinition::new("filters");

type Blocks<'a> = TableDefinition<'a, &'static [u8; keys::KEY_LEN], &'static [u8]>;

/// All runs in one database.
pub(crate) struct TableHome {
    database: Database,
    path: PathBuf,
    filters: BTreeMap<u32, Filter>,
}

impl TableHome {
    /// Syncs every `pace` bytes while it writes, if not zero.
    pub(crate) fn create(dir: &Path, pace: u64) -> Result<Self> {
        let path = dir.join("runs.redb");
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        let backend = Paced { file, pace, written: AtomicU64::new(0) };
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
        Ok(Self { database, path, filters: BTreeMap::new() })
    }

    fn begin(&self) -> Result<redb::WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        Ok(transaction)
    }
}

impl Home for TableHome {
    fn load(&mut self, run: u32, keys: &[Key]) -> Result<()> {
        let filter = Filter::build(keys);
        let transaction = self.begin()?;
        {
            let name = table_name(run);
            let mut table = transaction.open_table(Blocks::new(&name))?;
            blocks::pack(run, keys, BLOCK_BYTES, |block| {
                table.insert(block.first_key, block.bytes).map(|_| ())
            })?;
            let mut filters = transaction.open_table(FILTERS)?;
            for (number, piece) in (0..).zip(filter.to_bytes().chunks(BLOCK_BYTES)) {
                filters.insert((run, number), piece)?;
            }
        }
        transaction.commit()?;
        self.filters.insert(run, filter);
        Ok(())
    }

    fn drop_run(&mut self, run: u32) -> Result<()> {
        let transaction = self.begin()?;
        transaction.delete_table(Blocks::new(&table_name(run)))?;
        transaction.open_table(FILTERS)?.retain_in((run, 0)..=(run, u32::MAX), |_, _| false)?;
        transaction.commit()?;
        self.filters.remove(&run);
        Ok(())
    }

    fn count_present(&self, run: u32, keys: &[Key]) -> Result<usize> {
        let name = table_name(run);
        let Some(filter) = self.filters.get(&run) else { return Ok(0) };
        let mut present = 0;
        // An engine keeps read transactions short, for they pin freed pages.
        for keys in keys.chunks(1000) {
            let table = self.database.begin_read()?.open_table(Blocks::new(&name))?;
            for key in keys.iter().filter(|key| filter.may_hold(key)) {
                let row = table.range::<&[u8; keys::KEY_LEN]>(..=key)?.next_back().transpose()?;
                present += usize::from(row.is_some_and(|(_, block)| blocks::holds(block.value(), key)));
            }
        }
        Ok(present)
    }

    fn file_bytes(&self) -> Result<u64> {
        Ok(self.path.metadata()?.len())
    }
}

fn table_name(run: u32) -> String {
    format!("run-{run:016}")
}

/// redb's file, synced every so often while a long transaction writes it.
#[derive(Debug)]
struct Paced {
    file: File,
    pace: u64,
    written: AtomicU64,
}

impl StorageBackend for Paced {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)?;
        let before = self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        let after = before + data.len() as u64;
        let due = self.pace > 0 && before / self.pace != after / self.pace;
        if due { self.file.sync_data() } else { Ok(()) }
    }
}
