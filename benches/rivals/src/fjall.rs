//! fjall: one keyspace, atomic batches, `fdatasync`.
//!
//! Each batch is committed with [`PersistMode::SyncData`]: the journal is preallocated, so its length is metadata of
//! no interest, and fjall applies a batch to its memtable only once it is durable. Memtables (64 MiB), worker threads
//! (one a core), bloom filters (10 bits; more on the first level) and compression are the defaults; the block cache
//! has the size of the others'.

use crate::CACHE_BYTES;
use claimstore_bench::Result;
use claimstore_bench::engine::{Engine, Record};
use claimstore_bench::keys::Key;
use claimstore_bench::time::sleep;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};
use std::path::Path;
use std::time::Duration;

/// A fjall database.
pub(crate) struct Fjall {
    database: Database,
    claims: Keyspace,
}

impl Fjall {
    /// Creates the database in `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let database = Database::builder(dir.join("claims")).cache_size(CACHE_BYTES as u64).open()?;
        let claims = database.keyspace("claims", KeyspaceCreateOptions::default)?;
        Ok(Self { database, claims })
    }
}

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn get_many(&self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (place, key) in keys.iter().enumerate() {
            if let Some(record) = self.claims.get(key.as_bytes())? {
                found(place, &record);
            }
        }
        Ok(())
    }

    fn write(&self, puts: &[(Key, Record)]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, record) in puts {
            batch.insert(&self.claims, Slice::new(key.as_bytes()), Slice::new(record.as_bytes()));
        }
        Ok(batch.commit()?)
    }

    fn rest(&self) -> Result<()> {
        self.claims.rotate_memtable_and_wait()?;
        while self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0 {
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use claimstore_bench::engine::Built;

    #[test]
    fn threads_share_the_fresh_keys() {
        testing::threads_share_the_fresh_keys(|dir| Ok(Some(Built::grouped(Fjall::create(dir)?))));
    }

    #[test]
    fn records_come_back() {
        testing::records_come_back(Fjall::create);
    }
}
