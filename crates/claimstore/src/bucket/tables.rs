//! The callers' own tables, and the claim records that were committed together with them.
//!
//! One redb file beside the catalogue, made at first use, so that `transact` and checkpoints never wait for
//! each other. Every row carries a checksum; the claim rows are also counted and summed up in a row of their
//! own, so that none can be missing. docs/file-format.md has the bytes.

mod rows;
#[cfg(test)]
mod tests;

pub(crate) use rows::Rows;

use super::backend::{CommitFailed, Db, Fault, Guarded, Tally, seal, unseal};
use crate::codec::{Cursor, Malformed};
use crate::error::{Error, ErrorKind};
use crate::io::{Process, Storage};
use crate::sync::{Arc, Mutex, MutexGuard, RwLock};
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    TableHandle, WriteTransaction,
};
use rows::{Bounds, Page, page};
use std::fmt;
use std::ops::Bound;

const FILE: &str = "tables.redb";
const MAGIC: [u8; 8] = *b"CLMTABLS";
const VERSION: u32 = 1;

type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
const META: Definition<'static> = TableDefinition::new("meta");
const META_KEY: &[u8] = b"state";
const CLAIMS: Definition<'static> = TableDefinition::new("claims");
/// Stands before the callers' table names, so that they never meet ours.
const PREFIX: &str = "user/";

const MAX_NAME: usize = 255;
const MAX_KEY: usize = 64 << 10;
const MAX_VALUE: usize = 64 << 20;

/// How many claim rows one commit removes at most.
const REMOVE_ROWS: usize = 10_000;

/// Is shown an engine key, a sequence and a record.
pub(crate) type VisitClaim<'v> = dyn FnMut(&[u8], u64, &[u8]) -> Result<(), Error> + 'v;

type ReadOnly = ReadOnlyTable<&'static [u8], &'static [u8]>;

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
        let (store_id, gate) = (self.store_id, &self.gate);
        let process = Process::current();
        Ok(TablesWrite { transaction: Some(transaction), file, store_id, gate, process, _turn: turn })
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

/// A write transaction. Dropped without a commit, it leaves nothing.
pub(crate) struct TablesWrite<'t> {
    /// `None` only while it ends.
    transaction: Option<WriteTransaction>,
    file: Arc<Guarded>,
    store_id: [u8; 16],
    gate: &'t Mutex<bool>,
    process: Process,
    _turn: MutexGuard<'t, ()>,
}

impl TablesWrite<'_> {
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

    /// See [`Tables::remove_claims`]; returns whether any row was removed.
    fn remove_claims(&mut self, rows: &[(Vec<u8>, u64)]) -> Result<bool, Error> {
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

fn page_of_snapshot(snapshot: &ReadTransaction, name: &str, bounds: Bounds<'_>) -> Result<Page, Fault> {
    open_read(snapshot, name)?.map_or(Ok(Page::default()), |table| page(&table, name, bounds))
}

fn get_in_snapshot(snapshot: &ReadTransaction, name: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let Some(table) = open_read(snapshot, name)? else { return Ok(None) };
    let found = table.get(key)?;
    opened(name, key, found.as_ref().map(redb::AccessGuard::value))
}

fn open_read(snapshot: &ReadTransaction, name: &str) -> Result<Option<ReadOnly>, Fault> {
    match snapshot.open_table(definition(name)) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn opened(name: &str, key: &[u8], sealed: Option<&[u8]>) -> Result<Option<Vec<u8>>, Fault> {
    Ok(sealed.map(|sealed| unseal(name, key, sealed)).transpose()?.map(<[u8]>::to_vec))
}

fn definition(name: &str) -> Definition<'_> {
    TableDefinition::new(name)
}

/// Whether a caller's table may have this name.
pub(crate) fn check_table_name(name: &str) -> Result<(), Error> {
    user_name(name).map(drop)
}

fn user_name(name: &str) -> Result<String, Error> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::new(ErrorKind::Misuse, "a table name has 1 to 255 bytes"));
    }
    Ok(format!("{PREFIX}{name}"))
}

fn ended() -> Fault {
    Fault::Ours(Error::new(ErrorKind::Closed, "the transaction has ended"))
}

fn load(storage: &Arc<dyn Storage>, store_id: [u8; 16], cache_bytes: usize) -> Result<Db, Error> {
    let db = Db::open(storage, FILE, cache_bytes)?;
    db.read(|snapshot| prove(snapshot, store_id))?;
    Ok(db)
}

/// Checks the file's state and every claim row.
fn prove(snapshot: &ReadTransaction, store_id: [u8; 16]) -> Result<(), Fault> {
    let meta = snapshot.open_table(META)?;
    let proof = decode_meta(meta.get(META_KEY)?.map(|row| row.value().to_vec()), store_id)?;
    if meta.len()? != 1 {
        return Err(Error::corrupt("the tables have more than one state").into());
    }
    let mut found = Tally::default();
    for entry in snapshot.open_table(CLAIMS)?.range::<&[u8]>(..)? {
        let (key, value) = entry?;
        split_claim(unseal(CLAIMS.name(), key.value(), value.value())?)?;
        found.add(value.value());
    }
    if found != proof {
        return Err(Error::corrupt("claim rows are missing").into());
    }
    Ok(())
}

fn put_tally(transaction: &WriteTransaction, store_id: [u8; 16], tally: Tally) -> Result<(), Fault> {
    let mut row = Vec::with_capacity(64);
    row.extend_from_slice(&MAGIC);
    row.extend_from_slice(&VERSION.to_le_bytes());
    row.extend_from_slice(&store_id);
    tally.put(&mut row);
    seal(META.name(), META_KEY, &mut row);
    transaction.open_table(META)?.insert(META_KEY, row.as_slice())?;
    Ok(())
}

fn decode_meta(row: Option<Vec<u8>>, store_id: [u8; 16]) -> Result<Tally, Error> {
    let row = row.ok_or_else(|| Error::corrupt("the tables have no state"))?;
    // Checked before the version is read, and the same in every version: damage is never taken for a newer version.
    let mut cursor = Cursor::new(unseal(META.name(), META_KEY, &row)?);
    if cursor.array("magic").map_err(malformed)? != MAGIC {
        return Err(Error::corrupt("this is not a file of tables"));
    }
    match cursor.u32("version").map_err(malformed)? {
        VERSION => {}
        newer if newer > VERSION => {
            return Err(Error::new(ErrorKind::TooNew, "the tables were written by a newer version"));
        }
        _ => return Err(Error::corrupt("the tables have no such version")),
    }
    if cursor.array("store id").map_err(malformed)? != store_id {
        return Err(Error::corrupt("the tables belong to another store"));
    }
    let tally = Tally::take(&mut cursor).map_err(malformed)?;
    cursor.finish("the end of the state").map_err(malformed)?;
    Ok(tally)
}

fn split_claim(claim: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (seq, record) =
        claim.split_first_chunk().ok_or_else(|| Error::corrupt("a claim row is too short"))?;
    Ok((u64::from_le_bytes(*seq), record))
}

fn malformed(Malformed(what): Malformed) -> Error {
    Error::corrupt(what)
}
