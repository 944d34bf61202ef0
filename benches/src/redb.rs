//! redb, in one table with its own defaults, also its 1 GiB cache. Puts of a batch are made in the order of the keys.

use crate::Result;
use crate::engine::{Engine, Record, in_key_order};
use crate::keys::Key;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use std::path::Path;

const CLAIMS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("claims");

/// A redb database.
#[derive(Debug)]
pub struct Redb(Database);

impl Redb {
    /// Creates the database in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let database = Database::create(dir.join("claims.redb"))?;
        let transaction = database.begin_write()?;
        transaction.open_table(CLAIMS)?;
        transaction.commit()?;
        Ok(Self(database))
    }
}

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn get_many(&self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(CLAIMS)?;
        for (place, key) in keys.iter().enumerate() {
            if let Some(record) = table.get(key.as_bytes())? {
                found(place, record.value());
            }
        }
        Ok(())
    }

    fn write(&self, puts: &[(Key, Record)]) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(CLAIMS)?;
            for (key, record) in in_key_order(puts) {
                table.insert(key.as_bytes(), record.as_bytes())?;
            }
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Built;
    use crate::keys;
    use crate::subject::Subject;
    use std::thread;

    #[test]
    fn threads_share_the_fresh_keys() {
        let dir = tempfile::tempdir().unwrap();
        let store = Built::grouped(Redb::create(dir.path()).unwrap());
        store.load(&mut (0..50).map(keys::key)).unwrap();
        let fresh: u64 = thread::scope(|scope| {
            let claimer = || (0..100).map(|n| store.claim(0, &[keys::key(n)]).unwrap()).sum::<u64>();
            let claimers: Vec<_> = (0..16).map(|_| scope.spawn(claimer)).collect();
            claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum()
        });
        assert_eq!(fresh, 50);
        let keys: Vec<_> = (90..110).map(keys::key).collect();
        assert_eq!(store.claim(0, &keys).unwrap(), 10);
        store.complete(0, &keys).unwrap();
        assert_eq!(store.claim(0, &keys).unwrap(), 0);
    }
}
