//! redb with group commit into one table: what a careful team builds without claimstore.
//!
//! A claim is "insert if absent". Callers queue; one of them leads: it opens a write transaction, decides every
//! queued claim in it, commits durably, and wakes the others with their answers. redb keeps its own defaults,
//! also its 1 GiB cache.

use crate::Result;
use crate::drive::Subject;
use crate::keys::{self, Key};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

const CLAIMS: TableDefinition<&[u8; keys::KEY_LEN], &[u8]> = TableDefinition::new("claims");

/// What a record holds besides key and response: sequence, expiry, state.
const IN_PROGRESS: [u8; 22] = [1; 22];

/// As in [`crate::ideal`].
const YIELDS: usize = 4;

/// The store. Share it by reference.
#[derive(Debug)]
pub struct RedbGroup {
    database: Database,
    queue: Mutex<Queue>,
    /// Waiters of even and of odd batches. Batch n + 2 opens only after n is answered, so two suffice.
    answered: [Condvar; 2],
}

#[derive(Debug, Default)]
struct Queue {
    number: usize,
    open: Arc<Batch>,
    keys: Vec<Key>,
    has_leader: bool,
}

/// The answers of one batch: for each key whether it was fresh, or why nobody knows.
#[derive(Debug, Default)]
struct Batch(OnceLock<std::result::Result<Vec<bool>, String>>);

impl RedbGroup {
    /// Creates the database in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let database = Database::create(dir.join("group.redb"))?;
        Ok(Self { database, queue: Mutex::default(), answered: Default::default() })
    }

    /// Enters the keys of the numbers `0..count` as completed, in the order in which they would have come.
    pub fn load(&self, count: u64) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(CLAIMS)?;
            for key in (0..count).map(keys::key) {
                let mut record = [2; IN_PROGRESS.len() + keys::RESPONSE_LEN];
                record.split_at_mut(IN_PROGRESS.len()).1.copy_from_slice(&keys::response(&key));
                table.insert(&key, record.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Number of keys held.
    pub fn len(&self) -> Result<u64> {
        Ok(self.database.begin_read()?.open_table(CLAIMS)?.len()?)
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Claims a run of keys in one commit; the number of them that were fresh.
    pub fn claim_range(&self, first: u64, count: u64) -> Result<u64> {
        let mut queue = lock(&self.queue);
        let (number, batch) = (queue.number, Arc::clone(&queue.open));
        let start = queue.keys.len();
        queue.keys.extend((first..first + count).map(keys::key));
        let end = queue.keys.len();
        loop {
            if let Some(answers) = batch.0.get() {
                let answers = answers.as_ref().map_err(Clone::clone)?;
                let mine = answers.get(start..end).ok_or("a batch has one answer for each key")?;
                return Ok(mine.iter().filter(|fresh| **fresh).count() as u64);
            }
            queue = if queue.has_leader || queue.number != number {
                self.turn(number).wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                queue.has_leader = true;
                drop(queue);
                self.lead()
            };
        }
    }

    fn turn(&self, number: usize) -> &Condvar {
        let [even, odd] = &self.answered;
        if number.is_multiple_of(2) { even } else { odd }
    }

    fn lead(&self) -> MutexGuard<'_, Queue> {
        for _ in 0..YIELDS {
            thread::yield_now();
        }
        let (number, batch, keys) = {
            let mut queue = lock(&self.queue);
            queue.number += 1;
            let keys = std::mem::take(&mut queue.keys);
            (queue.number - 1, std::mem::take(&mut queue.open), keys)
        };
        let answers = self.commit(&keys).map_err(|error| error.to_string());
        let mut queue = lock(&self.queue);
        // Nobody else fills this batch: it has one leader.
        let _ = batch.0.set(answers);
        queue.has_leader = false;
        self.turn(number + 1).notify_one();
        self.turn(number).notify_all();
        queue
    }

    fn commit(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut answers = Vec::with_capacity(keys.len());
        {
            let mut table = transaction.open_table(CLAIMS)?;
            for key in keys {
                let fresh = table.get(key)?.is_none();
                if fresh {
                    table.insert(key, IN_PROGRESS.as_slice())?;
                }
                answers.push(fresh);
            }
        }
        transaction.commit()?;
        Ok(answers)
    }
}

impl Subject for RedbGroup {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn claim(&self, _worker: usize, first: u64, count: u64) -> Result<u64> {
        self.claim_range(first, count)
    }
}

/// A panic elsewhere ends the bench anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_fresh_keys() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbGroup::create(dir.path()).unwrap();
        store.load(50).unwrap();
        let fresh: u64 = thread::scope(|scope| {
            let claimer = || (0..100).map(|n| store.claim_range(n, 1).unwrap()).sum::<u64>();
            let claimers: Vec<_> = (0..16).map(|_| scope.spawn(claimer)).collect();
            claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum()
        });
        assert_eq!((fresh, store.len().unwrap()), (50, 100));
        assert_eq!(store.claim_range(90, 20).unwrap(), 10);
    }
}
