//! A write transaction, and the callers' tables inside of it.

use super::format::{
    CLAIMS, MAX_KEY, MAX_VALUE, META, META_KEY, decode_meta, definition, ended, opened, put_tally,
    split_claim, user_name,
};
use super::rows::{Rows, page};
use crate::bucket::backend::{CommitFailed, Fault, Guarded, Tally, seal, unseal};
use crate::error::{Error, ErrorKind};
use crate::io::Process;
use crate::sync::{Arc, Mutex, MutexGuard};
use redb::{ReadableTable, TableHandle, WriteTransaction};
use std::fmt;
use std::ops::Bound;

/// A write transaction. Dropped without a commit, it leaves nothing.
pub(crate) struct TablesWrite<'t> {
    /// `None` only while it ends.
    transaction: Option<WriteTransaction>,
    file: Arc<Guarded>,
    store_id: [u8; 16],
    /// Whether the tables were shut.
    gate: &'t Mutex<bool>,
    process: Process,
    _turn: MutexGuard<'t, ()>,
}

impl<'t> TablesWrite<'t> {
    pub(super) fn new(
        transaction: WriteTransaction,
        file: Arc<Guarded>,
        store_id: [u8; 16],
        gate: &'t Mutex<bool>,
        turn: MutexGuard<'t, ()>,
    ) -> TablesWrite<'t> {
        let process = Process::current();
        TablesWrite { transaction: Some(transaction), file, store_id, gate, process, _turn: turn }
    }

    /// Opens the caller's table `name`, and creates it if it does not exist. Several may be open at a time, each
    /// once.
    pub(crate) fn table(&self, name: &str) -> Result<UserTable<'_>, Error> {
        let name = user_name(name)?;
        let transaction = self.transaction()?;
        let table = self.file.call(|| Ok(transaction.open_table(definition(&name))?))?;
        Ok(UserTable { table: Some(table), name, file: &self.file })
    }

    /// Writes the claim record of a key in the same transaction as the caller's rows; an older one is replaced.
    pub(crate) fn put_claim(&mut self, engine_key: &[u8], seq: u64, record: &[u8]) -> Result<(), Error> {
        let mut row = [&seq.to_le_bytes(), record].concat();
        seal(CLAIMS.name(), engine_key, &mut row);
        self.change_claims(|claims, tally| {
            if let Some(old) = claims.insert(engine_key, row.as_slice())? {
                tally.remove(old.value());
            }
            tally.add(&row);
            Ok(())
        })
    }

    /// Makes everything durable. The error says whether the transaction is absent or its state unknown.
    pub(crate) fn commit(mut self) -> Result<(), CommitFailed> {
        // Held until the commit is over: see `Tables::gate`.
        let shut = self.gate.lock();
        if *shut {
            return Err(CommitFailed::Absent(Error::new(ErrorKind::Closed, "the store was closed")));
        }
        match self.transaction.take() {
            Some(transaction) => self.file.commit(transaction),
            None => Ok(()),
        }
    }

    /// Rolls back; so does dropping it.
    pub(crate) fn abort(self) {
        drop(self);
    }

    /// See [`Tables::remove_claims`](super::Tables::remove_claims); returns whether any row was removed.
    pub(super) fn remove_claims(&mut self, rows: &[(Vec<u8>, u64)]) -> Result<bool, Error> {
        let mut removed = false;
        self.change_claims(|claims, tally| {
            for (key, seq) in rows {
                let Some(old) = claims.get(key.as_slice())?.map(|old| old.value().to_vec()) else { continue };
                let (found, _) = split_claim(unseal(CLAIMS.name(), key, &old)?)?;
                if found <= *seq {
                    claims.remove(key.as_slice())?;
                    tally.remove(&old);
                    removed = true;
                }
            }
            Ok(())
        })?;
        Ok(removed)
    }

    fn change_claims(
        &mut self,
        change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>, &mut Tally) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let transaction = self.transaction()?;
        self.file.call(|| {
            let meta = transaction.open_table(META)?;
            let mut tally = decode_meta(meta.get(META_KEY)?.map(|row| row.value().to_vec()), self.store_id)?;
            drop(meta);
            change(&mut transaction.open_table(CLAIMS)?, &mut tally)?;
            put_tally(transaction, self.store_id, tally)
        })
    }

    fn transaction(&self) -> Result<&WriteTransaction, Error> {
        self.transaction.as_ref().ok_or_else(|| Error::new(ErrorKind::Closed, "the transaction has ended"))
    }
}

impl Drop for TablesWrite<'_> {
    fn drop(&mut self) {
        let transaction = self.transaction.take();
        if !self.process.is_current() {
            // In a child of `fork()`: the file belongs to the parent, and locks inside redb may be held by threads
            // that this process does not have. So leak it.
            std::mem::forget(transaction);
            return;
        }
        // A roll-back happens in memory. If it fails, nothing of the transaction is on the disk; the file is
        // condemned, so that the next use reopens it.
        let rolled_back =
            self.file.call(|| transaction.map_or(Ok(()), |transaction| Ok(transaction.abort()?)));
        if rolled_back.is_err() {
            self.file.condemn();
        }
    }
}

impl fmt::Debug for TablesWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TablesWrite").finish_non_exhaustive()
    }
}

/// One of the callers' tables inside a write transaction.
pub(crate) struct UserTable<'t> {
    /// `None` only while dropping.
    table: Option<redb::Table<'t, &'static [u8], &'static [u8]>>,
    name: String,
    file: &'t Arc<Guarded>,
}

impl UserTable<'_> {
    /// Inserts a row; returns the value that it replaced.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(Error::new(ErrorKind::TooLarge, "the row is too large"));
        }
        let mut row = value.to_vec();
        seal(&self.name, key, &mut row);
        let (name, table) = (&self.name, self.table.as_mut());
        self.file.call(|| {
            let old = table.ok_or_else(ended)?.insert(key, row.as_slice())?;
            opened(name, key, old.as_ref().map(redb::AccessGuard::value))
        })
    }

    /// Removes a row; returns its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let (name, table) = (&self.name, self.table.as_mut());
        self.file.call(|| {
            let old = table.ok_or_else(ended)?.remove(key)?;
            opened(name, key, old.as_ref().map(redb::AccessGuard::value))
        })
    }

    /// The value of a row, this transaction's changes included.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.file.call(|| {
            let found = self.table.as_ref().ok_or_else(ended)?.get(key)?;
            opened(&self.name, key, found.as_ref().map(redb::AccessGuard::value))
        })
    }

    /// The rows between two bounds in key order, this transaction's changes included.
    pub(crate) fn range(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Rows<'_> {
        Rows::new((start, end), |bounds| {
            self.file.call(|| page(self.table.as_ref().ok_or_else(ended)?, &self.name, bounds))
        })
    }
}

impl Drop for UserTable<'_> {
    fn drop(&mut self) {
        let table = self.table.take();
        drop(self.file.call(|| {
            drop(table);
            Ok(())
        }));
    }
}

impl fmt::Debug for UserTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserTable").finish_non_exhaustive()
    }
}
