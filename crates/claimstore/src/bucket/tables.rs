//! The callers' own tables, and the claim records that were committed together with them.
//!
//! One redb file beside the catalogue, made at first use, so that `transact` and checkpoints never wait for
//! each other. Every row carries a checksum; the claim rows are also counted and summed up in a row of their
//! own, so that none can be missing. docs/file-format.md has the bytes.

mod format;
mod rows;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use format::check_table_name;
pub(crate) use rows::Rows;
pub(crate) use write::{TablesWrite, UserTable};

use super::backend::{Db, Tally};
use crate::error::{Error, ErrorKind};
use crate::io::Storage;
use crate::sync::{Arc, Mutex, MutexGuard, RwLock};
use format::{
    CLAIMS, PREFIX, get_in_snapshot, open_read, page_of_snapshot, prove, put_tally, split_claim, user_name,
};
use redb::TableHandle;
use std::fmt;
use std::ops::Bound;

pub(crate) const FILE: &str = "tables.redb";
/// How many claim rows one commit removes at most.
const REMOVE_ROWS: usize = 10_000;

/// Is shown an engine key, a sequence and a record.
pub(crate) type VisitClaim<'v> = dyn FnMut(&[u8], u64, &[u8]) -> Result<(), Error> + 'v;

/// The callers' tables. Many readers, one writer at a time.
///
/// After a failed commit the next use, of any kind, reopens the file and so shows what is durable.
pub(crate) struct Tables {
    storage: Arc<dyn Storage>,
    store_id: [u8; 16],
    cache_bytes: usize,
    /// `None`, or a condemned file, until the next use reopens it.
    db: RwLock<Option<Db>>,
    /// Held by the one write transaction.
    turn: Mutex<()>,
    /// Whether the tables were shut. A commit holds the lock while it runs. So `shut` waits for a commit that has
    /// begun, and none begins after it.
    gate: Mutex<bool>,
}

impl Tables {
    /// Whether the file exists.
    pub(crate) fn exists(storage: &Arc<dyn Storage>) -> Result<bool, Error> {
        let names =
            storage.list("").map_err(|error| Error::io("the store directory could not be read", error))?;
        Ok(names.iter().any(|name| name == FILE))
    }

    /// Opens the file and proves every claim row, or makes an empty one, durably.
    pub(crate) fn open_or_create(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        cache_bytes: usize,
    ) -> Result<Tables, Error> {
        let db = if Tables::exists(storage)? {
            // The process that created the file may have crashed before its name was durable.
            storage
                .sync_dir("")
                .map_err(|error| Error::io("the store directory could not be synced", error))?;
            load(storage, store_id, cache_bytes)?
        } else {
            Db::create(storage, FILE, cache_bytes, |transaction| {
                transaction.open_table(CLAIMS)?;
                put_tally(transaction, store_id, Tally::default())
            })?
        };
        let storage = storage.clone();
        Ok(Tables {
            storage,
            store_id,
            cache_bytes,
            db: RwLock::new(Some(db)),
            turn: Mutex::new(()),
            gate: Mutex::new(false),
        })
    }

    /// Ends the trial: what redb wrote while it opened the file goes to the disk. A store that is refused before this
    /// stays unchanged.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        self.with(Db::admit)
    }

    /// Starts a write transaction; blocks while another one runs. A second one on the same thread would deadlock.
    pub(crate) fn begin(&self) -> Result<TablesWrite<'_>, Error> {
        self.begin_in(self.turn.lock())
    }

    /// Like [`begin`](Tables::begin), but `None` if another write transaction runs.
    pub(crate) fn try_begin(&self) -> Result<Option<TablesWrite<'_>>, Error> {
        self.turn.try_lock().map(|turn| self.begin_in(turn)).transpose()
    }

    fn begin_in<'t>(&'t self, turn: MutexGuard<'t, ()>) -> Result<TablesWrite<'t>, Error> {
        let (transaction, file) = self.with(|db| {
            db.admit()?;
            Ok((db.begin()?, db.file().clone()))
        })?;
        Ok(TablesWrite::new(transaction, file, self.store_id, &self.gate, turn))
    }

    /// The table `name` for reading; `None` if no committed transaction has opened it.
    pub(crate) fn read_table(self: &Arc<Self>, name: &str) -> Result<Option<ReadTable>, Error> {
        let name = user_name(name)?;
        let there = self.with(|db| db.read(|snapshot| Ok(open_read(snapshot, &name)?.is_some())))?;
        Ok(there.then_some(ReadTable { tables: self.clone(), name }))
    }

    /// Calls `visit` for every claim row: engine key, sequence, record. Read in pages, each a snapshot of its own:
    /// rows that are added or removed meanwhile may be missed.
    pub(crate) fn claims(&self, visit: &mut VisitClaim<'_>) -> Result<(), Error> {
        let name = CLAIMS.name();
        let rows = Rows::new((Bound::Unbounded, Bound::Unbounded), |bounds| {
            self.with(|db| db.read(|snapshot| page_of_snapshot(snapshot, name, bounds)))
        });
        for row in rows {
            let (key, claim) = row?;
            let (seq, record) = split_claim(&claim)?;
            visit(&key, seq, record)?;
        }
        Ok(())
    }

    /// The claim row of one key, as it is durable: sequence and record. This tells the result of an indeterminate
    /// commit.
    pub(crate) fn claim(&self, engine_key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let found =
            self.with(|db| db.read(|snapshot| get_in_snapshot(snapshot, CLAIMS.name(), engine_key)))?;
        let Some(claim) = found else { return Ok(None) };
        let (seq, record) = split_claim(&claim)?;
        Ok(Some((seq, record.to_vec())))
    }

    /// Reads and checks every row of the callers' tables and of our own; returns how many rows the callers have.
    pub(crate) fn verify(&self) -> Result<u64, Error> {
        let names = self.with(|db| {
            db.read(|snapshot| {
                prove(snapshot, self.store_id)?;
                Ok(snapshot.list_tables()?.map(|table| table.name().to_owned()).collect::<Vec<_>>())
            })
        })?;
        let mut rows = 0;
        for name in names.iter().filter(|name| name.starts_with(PREFIX)) {
            let pages = Rows::new((Bound::Unbounded, Bound::Unbounded), |bounds| {
                self.with(|db| db.read(|snapshot| page_of_snapshot(snapshot, name, bounds)))
            });
            for row in pages {
                row?;
                rows += 1;
            }
        }
        Ok(rows)
    }

    /// Removes the given claim rows, each only if its sequence is at most the given one: a newer record of the same
    /// key stays. Durable when it returns `true`. `false`: another write transaction runs. After `false` or an error,
    /// a first part of the rows may be removed already.
    pub(crate) fn remove_claims(&self, rows: &[(Vec<u8>, u64)]) -> Result<bool, Error> {
        for rows in rows.chunks(REMOVE_ROWS) {
            let Some(mut write) = self.try_begin()? else { return Ok(false) };
            if write.remove_claims(rows)? {
                write.commit()?;
            } else {
                write.abort();
            }
        }
        Ok(true)
    }

    /// Waits until no write transaction runs.
    pub(crate) fn wait_for_writer(&self) {
        drop(self.turn.lock());
    }

    /// Prevents further commits and gives the file up. Without a write transaction the file is closed cleanly;
    /// otherwise it is condemned, so that the running transaction cannot change it. Every later call returns
    /// `Closed`.
    ///
    /// Does not wait for the writer: its closure may be the very code that closes the store.
    pub(crate) fn shut(&self) {
        // The gate first: a commit either is over by now, or finds the gate shut.
        *self.gate.lock() = true;
        match self.turn.try_lock() {
            Some(_turn) => {
                if let Some(db) = self.db.write().take() {
                    // No commit depends on a clean close.
                    drop(db.close());
                }
            }
            None => {
                if let Some(db) = self.db.read().as_ref() {
                    db.file().condemn();
                }
            }
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        if *self.gate.lock() { Err(Error::new(ErrorKind::Closed, "the store was closed")) } else { Ok(()) }
    }

    fn with<T>(&self, act: impl FnOnce(&Db) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            self.check_open()?;
            if let Some(db) = self.db.read().as_ref().filter(|db| !db.file().is_condemned()) {
                return act(db);
            }
            self.reopen()?;
        }
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut db = self.db.write();
        // Under the lock of `db`, because `shut` takes it after the gate: nothing is reopened after a shut. Another
        // thread may have reopened the file while we waited.
        let closed = *self.gate.lock();
        if closed || db.as_ref().is_some_and(|db| !db.file().is_condemned()) {
            return Ok(());
        }
        // Drop the old handle first: two handles on one file would overwrite each other's pages.
        *db = None;
        *db = Some(load(&self.storage, self.store_id, self.cache_bytes)?);
        Ok(())
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

/// One of the callers' tables, as last committed.
pub(crate) struct ReadTable {
    tables: Arc<Tables>,
    name: String,
}

impl ReadTable {
    /// The value of a row.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.tables.with(|db| db.read(|snapshot| get_in_snapshot(snapshot, &self.name, key)))
    }

    /// The rows between two bounds in key order. Copied a page at a time, each page from a snapshot of its own: a
    /// commit that happens meanwhile may be visible in later pages only.
    pub(crate) fn range(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Rows<'static> {
        let (tables, name) = (self.tables.clone(), self.name.clone());
        Rows::new((start, end), move |bounds| {
            tables.with(|db| db.read(|snapshot| page_of_snapshot(snapshot, &name, bounds)))
        })
    }
}

impl fmt::Debug for ReadTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTable").finish_non_exhaustive()
    }
}

fn load(storage: &Arc<dyn Storage>, store_id: [u8; 16], cache_bytes: usize) -> Result<Db, Error> {
    let db = Db::open(storage, FILE, cache_bytes)?;
    db.read(|snapshot| prove(snapshot, store_id))?;
    Ok(db)
}
