//! LMDB, by heed: one database, synced at every commit as by default.
//!
//! Every commit syncs twice, the pages and then the page that makes them valid. Readers keep their slot as long as
//! their thread lives, which is LMDB's fastest way to begin a read transaction. Puts of a batch are made in the order
//! of the keys, so that neighbours find their page at hand.

use claimstore_bench::Result;
use claimstore_bench::engine::{Engine, Record, in_key_order};
use claimstore_bench::keys::Key;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, WithTls};
use std::path::Path;

/// Address space for the file, in bytes: more than any run writes. The file grows only as far as it is used.
const MAP_BYTES: usize = 64 << 30;

/// Threads that may read at the same time.
const READERS: u32 = 1024;

/// An LMDB environment with one database.
pub(crate) struct Lmdb {
    env: Env<WithTls>,
    claims: Database<'static, Bytes, Bytes>,
}

impl Lmdb {
    /// Creates the environment in `dir`, which no other process touches.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_readers(READERS);
        #[expect(unsafe_code, reason = "a memory map is sound only while nobody else changes the file")]
        // SAFETY: the directory was made for this environment a moment ago, belongs to this process alone, and lies
        // on a local disk; LMDB's locks stay on.
        let env = unsafe { options.open(dir)? };
        let claims = env
            .create_databases_and_commit(env.write_txn()?, |opener, transaction| {
                opener.create_database(transaction, None).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .commit()
            .ok_or("the transaction was not committed")?;
        Ok(Self { env, claims })
    }
}

impl Engine for Lmdb {
    fn name(&self) -> &'static str {
        "lmdb"
    }

    fn get_many(&self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for (place, key) in keys.iter().enumerate() {
            if let Some(record) = self.claims.get(&transaction, key.as_bytes())? {
                found(place, record);
            }
        }
        Ok(())
    }

    fn write(&self, puts: &[(Key, Record)]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, record) in in_key_order(puts) {
            self.claims.put(&mut transaction, key.as_bytes(), record.as_bytes())?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use claimstore_bench::engine::Built;

    #[test]
    fn threads_share_the_fresh_keys() {
        testing::threads_share_the_fresh_keys(|dir| Ok(Some(Built::grouped(Lmdb::create(dir)?))));
    }

    #[test]
    fn records_come_back() {
        testing::records_come_back(Lmdb::create);
    }
}
