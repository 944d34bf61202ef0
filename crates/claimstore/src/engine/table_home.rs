//! Where the second redb file is kept while the store is open, and which thread writes to it.

use crate::bucket::Tables;
use crate::error::{Error, ErrorKind};
use crate::io::Process;
use crate::sync::{Arc, Mutex, ThreadId, current_thread};

/// The second redb file, opened at its first use.
#[derive(Debug)]
pub(crate) struct TableHome {
    tables: Mutex<State>,
    /// The thread whose closure is running: a second `transact` inside it would wait for itself.
    writer: Mutex<Option<ThreadId>>,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open(Arc<Tables>),
    Closed,
}

/// Frees the writer's place when the closure ends, also by a panic.
pub(super) struct Writing<'a>(&'a TableHome, Process);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.1.is_current() {
            return;
        }
        *self.0.writer.lock() = None;
    }
}

impl TableHome {
    pub(crate) fn new(opened: Option<Tables>) -> TableHome {
        let state = opened.map_or(State::Unopened, |tables| State::Open(Arc::new(tables)));
        TableHome { tables: Mutex::new(state), writer: Mutex::default() }
    }

    /// The tables, if the file exists.
    pub(crate) fn existing(&self) -> Option<Arc<Tables>> {
        match &*self.tables.lock() {
            State::Open(tables) => Some(tables.clone()),
            State::Unopened | State::Closed => None,
        }
    }

    /// Puts the opened file in place, unless the store was closed meanwhile.
    pub(super) fn install(&self, tables: Tables) -> Result<Arc<Tables>, Error> {
        let mut state = self.tables.lock();
        match &*state {
            State::Open(tables) => Ok(tables.clone()),
            State::Closed => Err(Error::new(ErrorKind::Closed, "the store was closed")),
            State::Unopened => {
                let tables = Arc::new(tables);
                *state = State::Open(tables.clone());
                Ok(tables)
            }
        }
    }

    /// Waits until no write transaction runs.
    pub(crate) fn wait_for_writer(&self) {
        if let Some(tables) = self.existing() {
            tables.wait_for_writer();
        }
    }

    /// Gives the file up; see [`Tables::shut`].
    pub(crate) fn close(&self) {
        let before = std::mem::replace(&mut *self.tables.lock(), State::Closed);
        if let State::Open(tables) = before {
            tables.shut();
        }
    }

    /// Whether this thread is inside a closure of `transact` or `complete_in`. What waits for the upkeep lock
    /// must not be called there: whoever holds that lock may be waiting for the closure to end.
    pub(crate) fn is_writing_here(&self) -> bool {
        *self.writer.lock() == Some(current_thread())
    }

    pub(super) fn start_writing(&self) -> Result<(), Error> {
        if self.is_writing_here() {
            return Err(Error::new(ErrorKind::Misuse, "a transact inside a transact would wait for itself"));
        }
        Ok(())
    }

    pub(super) fn writing(&self) -> Writing<'_> {
        *self.writer.lock() = Some(current_thread());
        Writing(self, Process::current())
    }
}
