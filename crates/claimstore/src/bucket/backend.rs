//! redb on our own files: what stands between redb and [`io::File`](crate::io::File).
//!
//! redb reads nothing that was not verified. Every page has a checksum of ours, and a page whose checksum is wrong is
//! not shown to redb (`paged`). A file is opened *on trial*: redb reads and repairs it, but its writes stay in
//! memory. They are written only when the owner of the file has accepted its contents ([`Db::admit`]); a refused file
//! stays unchanged. Panics of redb on unexpected bytes are caught here and become `Corrupt`.

mod fault;
mod guarded;
mod paged;
mod sealed;
#[cfg(test)]
pub(super) mod testing;

pub(crate) use fault::CommitFailed;
pub(super) use fault::Fault;
pub(super) use guarded::Guarded;
pub(super) use sealed::{Tally, seal, unseal};

use crate::error::{Error, ErrorKind};
use crate::io::{OpenMode, Storage};
use crate::sync::Arc;
use guarded::RedbFile;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::fmt;
use std::io;

/// One open redb file.
pub(super) struct Db {
    /// `None` only while dropping.
    database: Option<Database>,
    file: Arc<Guarded>,
}

impl Db {
    /// Creates the file `name` with a first transaction by `write_first`. It gets its name last, so a file with this
    /// name is always complete.
    pub(super) fn create(
        storage: &Arc<dyn Storage>,
        name: &str,
        cache_bytes: usize,
        write_first: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<Db, Error> {
        let draft = format!("{name}.new");
        match storage.remove(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("a half-made redb file could not be removed", error));
            }
            _ => {}
        }
        let file = storage
            .open(&draft, OpenMode::CreateNew)
            .map_err(|error| Error::io("a redb file could not be created", error))?;
        let file = Guarded::live(file);
        let database = file.call(|| start(&file, cache_bytes))?;
        let db = Db { database: Some(database), file };
        let transaction = db.begin()?;
        db.file.call(|| write_first(&transaction))?;
        db.commit(transaction)?;
        // Order: first the contents are durable, then the name, and only then does this return.
        storage.rename(&draft, name).map_err(|error| Error::io("a redb file could not be named", error))?;
        storage.sync_dir("").map_err(|error| Error::io("the store directory could not be synced", error))?;
        Ok(db)
    }

    /// Opens the file `name` on trial. Where it was not closed, redb walks every page of it.
    ///
    /// After a failed sync the page cache may have bytes that never reached the disk. It is dropped first, so that
    /// only durable bytes are read.
    pub(super) fn open(storage: &Arc<dyn Storage>, name: &str, cache_bytes: usize) -> Result<Db, Error> {
        let file = storage.open(name, OpenMode::Existing).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::with_source(ErrorKind::Corrupt, "a redb file is missing", error)
            }
            _ => Error::io("a redb file could not be opened", error),
        })?;
        let refresh = || {
            file.sync_data()?;
            file.drop_cache()?;
            file.is_empty()
        };
        // redb would take an empty file for a new one.
        if refresh().map_err(|error| Error::io("a redb file could not be read", error))? {
            return Err(Error::corrupt("a redb file is empty").in_file(name, Some(0)));
        }
        let file = Guarded::on_trial(file);
        let database = file.call(|| start(&file, cache_bytes))?;
        Ok(Db { database: Some(database), file })
    }

    /// Ends the trial: writes what redb has written meanwhile, in redb's order, with redb's syncs.
    pub(super) fn admit(&self) -> Result<(), Error> {
        self.file.admit().map_err(|error| Error::io("a redb file could not be repaired", error))
    }

    /// Runs `read` on a snapshot.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        self.file.call(|| read(&self.database()?.begin_read()?))
    }

    /// Starts a write transaction; waits for the one before. Its commit will be durable.
    pub(super) fn begin(&self) -> Result<WriteTransaction, Error> {
        self.file.call(|| {
            let mut transaction = self.database()?.begin_write()?;
            transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
            // Costs two syncs per commit; in return a damaged commit is never taken for a torn one and skipped. Quick
            // repair stays off: it would save the walk over all pages at an open after a crash, but it writes the
            // whole page allocator with every commit (milliseconds for a file of a gigabyte).
            transaction.set_two_phase_commit(true);
            Ok(transaction)
        })
    }

    /// Commits. After an error the file refuses further writes; [`CommitFailed`] says whether the transaction may be
    /// there.
    pub(super) fn commit(&self, transaction: WriteTransaction) -> Result<(), CommitFailed> {
        self.file.commit(transaction)
    }

    /// The guard in which redb must be called outside this struct.
    pub(super) fn file(&self) -> &Arc<Guarded> {
        &self.file
    }

    /// Closes the file so that the next open finds it clean; says whether that worked. No commit depends on it.
    pub(super) fn close(mut self) -> Result<(), Error> {
        self.shut();
        match self.file.trouble() {
            Some(error) => Err(Error::io("a redb file could not be closed", error)),
            None => Ok(()),
        }
    }

    fn database(&self) -> Result<&Database, Fault> {
        self.database.as_ref().ok_or_else(closed)
    }

    fn shut(&mut self) {
        // A file still on trial was refused: nothing of it is written.
        self.file.condemn_if_on_trial();
        let database = self.database.take();
        // A close writes, and so can fail or panic on damage. Nothing durable depends on it.
        drop(self.file.call(|| {
            drop(database);
            Ok(())
        }));
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.shut();
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("file", &self.file).finish_non_exhaustive()
    }
}

fn start(file: &Arc<Guarded>, cache_bytes: usize) -> Result<Database, Fault> {
    Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(RedbFile(file.clone()))?)
}

fn closed() -> Fault {
    Fault::Ours(Error::new(ErrorKind::Closed, "the redb file is closed"))
}
