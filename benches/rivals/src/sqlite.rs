//! SQLite: a table without row ids, WAL, `synchronous = FULL`, one writing connection and many that read.
//!
//! A batch is one transaction: one sync of the WAL. The WAL is checkpointed every 64 MiB instead of every 4, because
//! with keys in random order nearly every put costs a page, and a longer WAL meets more of them twice. Readers map the
//! database file instead of copying its pages: every commit empties their page cache. They come from a pool, so
//! that a new thread finds a connection whose statements are prepared. Puts are made in the order of the keys.

use crate::CACHE_BYTES;
use claimstore_bench::Result;
use claimstore_bench::engine::{Engine, Record, in_key_order};
use claimstore_bench::keys::Key;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const SCHEMA: &str = "CREATE TABLE claims (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID";
const GET: &str = "SELECT record FROM claims WHERE key = ?1";
const PUT: &str = "INSERT INTO claims (key, record) VALUES (?1, ?2)
                   ON CONFLICT (key) DO UPDATE SET record = excluded.record";

/// Pages of 4 KiB in the WAL before a commit checkpoints it.
const CHECKPOINT_PAGES: u32 = 16_384;

/// Bytes of the database file that connections map.
const MAP_BYTES: u64 = 64 << 30;

/// A SQLite database.
pub(crate) struct Sqlite {
    path: PathBuf,
    writer: Mutex<Connection>,
    /// Connections that nobody reads from at this moment.
    readers: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Creates the database in `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let path = dir.join("claims.sqlite");
        let writer = Connection::open(&path)?;
        writer.execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
             PRAGMA cache_size = -{};
             PRAGMA mmap_size = {MAP_BYTES};
             {SCHEMA};",
            CACHE_BYTES / 1024
        ))?;
        Ok(Self { path, writer: Mutex::new(writer), readers: Mutex::default() })
    }

    fn reader(&self) -> Result<Connection> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn connect(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.path, flags)?;
        reader.execute_batch(&format!("PRAGMA mmap_size = {MAP_BYTES}"))?;
        Ok(reader)
    }
}

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn get_many(&self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let reader = self.reader()?;
        {
            // A transaction of its own for every statement would take and release the lock as often.
            let transaction = (keys.len() > 1).then(|| reader.unchecked_transaction()).transpose()?;
            let mut get = reader.prepare_cached(GET)?;
            for (place, key) in keys.iter().enumerate() {
                let mut rows = get.query((key.as_bytes(),))?;
                if let Some(row) = rows.next()? {
                    found(place, row.get_ref(0)?.as_blob()?);
                }
            }
            drop(get);
            transaction.map(Transaction::commit).transpose()?;
        }
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(())
    }

    fn write(&self, puts: &[(Key, Record)]) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare_cached(PUT)?;
            for (key, record) in in_key_order(puts) {
                put.execute((key.as_bytes(), record.as_bytes()))?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn rest(&self) -> Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use claimstore_bench::engine::Built;

    #[test]
    fn threads_share_the_fresh_keys() {
        testing::threads_share_the_fresh_keys(|dir| Ok(Some(Built::grouped(Sqlite::create(dir)?))));
    }

    #[test]
    fn records_come_back() {
        testing::records_come_back(Sqlite::create);
    }
}
