//! The caller's own tables: written inside `transact` and `complete_in`, read from the store.

use crate::bucket::{ReadTable, Rows, TablesWrite, UserTable};
use crate::claim::{Holder, Receipt};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::io::{FORKED, Process};
use crate::sync::{Arc, Weak};
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// The outcome of a `transact`.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub enum Transacted {
    /// The closure ran; its rows and its response are durable, together.
    Done(Vec<u8>),
    /// The key had resolved before; nothing ran.
    Duplicate(Receipt),
    /// Another holder is working on the key; nothing ran.
    InProgress(Holder),
}

/// Shows what happened and how long the response is, never the response.
impl fmt::Debug for Transacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transacted::Done(response) => {
                f.debug_struct("Done").field("response_bytes", &response.len()).finish()
            }
            Transacted::Duplicate(receipt) => f.debug_tuple("Duplicate").field(receipt).finish(),
            Transacted::InProgress(holder) => f.debug_tuple("InProgress").field(holder).finish(),
        }
    }
}

/// One commit for a claim, the caller's rows and the response. Nothing of it is there before the closure
/// returned `Ok` and the commit succeeded.
pub struct Transaction<'t> {
    write: &'t TablesWrite<'t>,
    process: Process,
}

impl<'t> Transaction<'t> {
    pub(crate) fn new(write: &'t TablesWrite<'_>) -> Transaction<'t> {
        Transaction { write, process: Process::current() }
    }

    /// The table `name` (at most 255 bytes), made if it is new. Each table can be open once at a time:
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) otherwise.
    pub fn table(&self, name: &str) -> Result<TableMut<'_>, Error> {
        let process = self.process;
        check_process(process)?;
        self.write.table(name).map(|table| TableMut { table, process })
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

/// A table of the caller's inside a [`Transaction`]. Keys up to 64 KiB, values up to 64 MiB.
pub struct TableMut<'t> {
    table: UserTable<'t>,
    process: Process,
}

impl TableMut<'_> {
    /// Inserts a row; returns the value that it replaced.
    pub fn insert(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Option<Vec<u8>>, Error> {
        check_process(self.process)?;
        self.table.insert(key.as_ref(), value.as_ref())
    }

    /// Removes a row; returns its value.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        check_process(self.process)?;
        self.table.remove(key.as_ref())
    }

    /// The value of a row, as this transaction sees it.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        check_process(self.process)?;
        self.table.get(key.as_ref())
    }

    /// The rows of a range of keys, in key order.
    pub fn range<'k>(&self, keys: impl RangeBounds<&'k [u8]>) -> TableRange<'_> {
        let (start, end) = bounds(&keys);
        TableRange { rows: Some(self.table.range(start, end)), process: self.process }
    }
}

impl fmt::Debug for TableMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableMut").finish_non_exhaustive()
    }
}

/// The committed rows of a table of the caller's. Does not keep the store open.
pub struct Table {
    engine: Weak<Engine>,
    name: String,
}

impl Table {
    pub(crate) fn new(engine: &Arc<Engine>, name: &str) -> Table {
        Table { engine: Arc::downgrade(engine), name: name.to_owned() }
    }

    fn read(&self) -> Result<Option<ReadTable>, Error> {
        let closed = || Error::new(ErrorKind::Closed, "the store was closed");
        let engine = self.engine.upgrade().ok_or_else(closed)?;
        engine.check_open()?;
        match engine.tables.existing() {
            Some(tables) => tables.read_table(&self.name),
            None => Ok(None),
        }
    }

    /// The value of a row; `None` also if nothing was written to the table yet.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        match self.read()? {
            Some(table) => table.get(key.as_ref()),
            None => Ok(None),
        }
    }

    /// The rows of a range of keys, in key order. Read in pages of their own (1,000 rows or 1 MiB), so rows
    /// that come or go meanwhile may or may not show, and nothing is held up however long it takes.
    pub fn range<'k>(&self, keys: impl RangeBounds<&'k [u8]>) -> Result<TableRange<'static>, Error> {
        let (start, end) = bounds(&keys);
        let rows = self.read()?.map(|table| table.range(start, end));
        Ok(TableRange { rows, process: Process::current() })
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

/// Rows in key order, read a page at a time. Ends after an error.
#[must_use = "iterators are lazy"]
pub struct TableRange<'t> {
    /// `None` for a table to which nothing was written yet.
    rows: Option<Rows<'t>>,
    process: Process,
}

impl Iterator for TableRange<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        if let Err(error) = check_process(self.process) {
            self.rows = None;
            return Some(Err(error));
        }
        rows.next()
    }
}

impl fmt::Debug for TableRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableRange").finish_non_exhaustive()
    }
}

/// In a child of `fork()` redb's locks may be held by threads that are not there.
fn check_process(process: Process) -> Result<(), Error> {
    if process.is_current() { Ok(()) } else { Err(Error::new(ErrorKind::Misuse, FORKED)) }
}

fn bounds<'k>(keys: &impl RangeBounds<&'k [u8]>) -> (Bound<&'k [u8]>, Bound<&'k [u8]>) {
    (keys.start_bound().cloned(), keys.end_bound().cloned())
}
