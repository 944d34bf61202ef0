//! RocksDB, set up for look-ups of single keys on two cores.
//!
//! Writes go to the WAL and wait for its `fdatasync`; WAL files are used again once their memtable is flushed, so that
//! a sync changes data only. Bloom filters of 10 bits a key, in the memtables as well; an index by hash in each
//! block; filters and indexes live outside the block cache, in memory. Without the external group commit, RocksDB's
//! leader puts its followers' records into the memtable itself: on two cores, waking them to do it costs more than
//! it saves. No compression is compiled in: keys and
//! responses of the benches hardly compress.

use crate::CACHE_BYTES;
use claimstore_bench::Result;
use claimstore_bench::engine::{Engine, Record};
use claimstore_bench::keys::Key;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DEFAULT_COLUMN_FAMILY_NAME, DataBlockIndexType, Options,
    ReadOptions, WaitForCompactOptions, WriteBatch, WriteOptions,
};
use std::path::Path;

/// Bits of the bloom filters for each key.
const BLOOM_BITS: f64 = 10.0;

const MEMTABLE_BYTES: usize = 128 << 20;
const MEMTABLES: i32 = 4;

/// Threads for flushes and compactions: one a core.
const BACKGROUND_THREADS: i32 = 2;

/// A RocksDB database.
pub(crate) struct RocksDb {
    database: DB,
    reads: ReadOptions,
    synced: WriteOptions,
}

/// Who calls [`RocksDb`]'s `write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// One thread at a time.
    One,
    /// Many at once; RocksDB makes groups of them.
    Many,
}

impl RocksDb {
    /// Creates the database in `dir`.
    pub(crate) fn create(dir: &Path, writers: Writers) -> Result<Self> {
        // Opened by name, as only then the family has a handle, which the batched `MultiGet` asks for.
        let options = options(writers);
        let families = [(DEFAULT_COLUMN_FAMILY_NAME, options.clone())];
        let database = DB::open_cf_with_opts(&options, dir.join("claims"), families)?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { database, reads: ReadOptions::default(), synced })
    }
}

fn options(writers: Writers) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.increase_parallelism(BACKGROUND_THREADS);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(MEMTABLES);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.1);
    options.set_recycle_log_file_num(MEMTABLES as usize);
    options.set_allow_concurrent_memtable_write(writers == Writers::One);
    options
}

impl Engine for RocksDb {
    fn name(&self) -> &'static str {
        "rocksdb"
    }

    fn get_many(&self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        if let [key] = keys {
            if let Some(record) = self.database.get_pinned_opt(key, &self.reads)? {
                found(0, &record);
            }
            return Ok(());
        }
        let family = self.database.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).ok_or("no default column family")?;
        let records = self.database.batched_multi_get_cf_opt(family, keys, false, &self.reads);
        for (place, record) in records.into_iter().enumerate() {
            if let Some(record) = record? {
                found(place, &record);
            }
        }
        Ok(())
    }

    fn write(&self, puts: &[(Key, Record)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, record) in puts {
            batch.put(key, record.as_bytes());
        }
        Ok(self.database.write_opt(batch, &self.synced)?)
    }

    fn rest(&self) -> Result<()> {
        let mut options = WaitForCompactOptions::default();
        options.set_flush(true);
        Ok(self.database.wait_for_compact(&options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use claimstore_bench::engine::Built;

    #[test]
    fn threads_share_the_fresh_keys() {
        testing::threads_share_the_fresh_keys(|dir| {
            Ok(Some(Built::own(RocksDb::create(dir, Writers::Many)?)))
        });
    }

    #[test]
    fn threads_share_the_fresh_keys_under_group_commit() {
        testing::threads_share_the_fresh_keys(|dir| {
            Ok(Some(Built::grouped(RocksDb::create(dir, Writers::One)?)))
        });
    }

    #[test]
    fn records_come_back() {
        testing::records_come_back(|dir| RocksDb::create(dir, Writers::One));
    }
}
