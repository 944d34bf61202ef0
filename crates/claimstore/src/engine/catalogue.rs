//! Catalogue commits, and the lock under which they are made.

use super::Engine;
use super::home::{Home, clock_mark};
use super::reserve;
use crate::bucket::{CatalogState, NamespaceRow};
use crate::error::{Error, ErrorKind};
use crate::sync::{MutexGuard, Ordering};

impl Engine {
    /// The upkeep lock of a store that is still open: it may have been closed while we waited.
    ///
    /// Upkeep creates and removes files by name. So this first checks that the directory still belongs to the store,
    /// and poisons the store if not.
    pub(crate) fn upkeep_lock(&self) -> Result<MutexGuard<'_, Home>, Error> {
        self.check_changes()?;
        let home = self.home_lock()?;
        // Checked after the wait, which may have lasted for a whole backup. `home` is released before the store is
        // poisoned, because that calls wakers.
        if let Err(error) = self.all_owned() {
            drop(home);
            return Err(self.commit.give_up(self, &error));
        }
        Ok(home)
    }

    /// The same for calls that only read.
    pub(crate) fn home_lock(&self) -> Result<MutexGuard<'_, Home>, Error> {
        self.check_open()?;
        if self.tables.is_writing_here() {
            return Err(Error::new(ErrorKind::Misuse, "upkeep inside a transact would wait for itself"));
        }
        let home = self.home.lock();
        self.check_serving()?;
        Ok(home)
    }

    /// One durable catalogue commit. If it fails, the catalogue is reopened and read: if the change is there after
    /// all, the commit counts. If the disk is full, the reserve file is released and the commit repeated.
    pub(crate) fn commit_catalogue(
        &self,
        home: &mut Home,
        change: impl Fn(&mut CatalogState),
    ) -> Result<(), Error> {
        match self.try_commit_catalogue(home, &change) {
            Err(error) if error.kind() == ErrorKind::Full && reserve::release(&self.storage) => {
                let retried = self.try_commit_catalogue(home, &change);
                reserve::restore(&self.storage);
                retried
            }
            other => other,
        }
    }

    fn try_commit_catalogue(&self, home: &mut Home, change: impl Fn(&mut CatalogState)) -> Result<(), Error> {
        // A poisoned store commits nothing (hazard 17): the live table may have facts of a batch that failed. A merge
        // or a prune does not touch the journal, and would not notice without this check.
        self.poison.check()?;
        let namespaces = self.namespace_rows();
        let Some(catalog) = &mut home.catalog else {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        };
        if catalog.is_lost() {
            // The result of an earlier commit is still unknown. If it is there after all, this one replaces it: the
            // state in memory never followed it, and no file of either state was removed.
            catalog.reopen()?;
        }
        let mut next = home.state.clone();
        change(&mut next);
        next.generation = catalog.state().generation + 1;
        next.next_run = home.next_run;
        next.mark = clock_mark(self.time.mark());
        next.namespaces = namespaces;
        if let Err(error) = catalog.commit(&next)
            && catalog.reopen()? != next
        {
            // The change is known to be absent. A full disk is reported as `Full`, so that the reserve can be
            // released.
            let full = is_full(&error);
            return Err(if full {
                Error::with_source(ErrorKind::Full, "the disk is full", error)
            } else {
                error
            });
        }
        home.state = next;
        self.catalogue_generation.store(home.state.generation, Ordering::Release);
        Ok(())
    }

    pub(crate) fn namespace_rows(&self) -> Vec<NamespaceRow> {
        let spaces = self.spaces.all();
        spaces.iter().map(|space| NamespaceRow { id: space.id, bytes: space.row() }).collect()
    }
}

/// Whether a full disk or quota is at the root of an error.
fn is_full(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}
