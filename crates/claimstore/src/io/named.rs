//! A storage whose errors name their file.
//!
//! It stands between the store and whatever storage it was opened on, so that no error of a read, write or sync comes
//! up without the name of the file, and without the offset where there is one.

use super::storage::{File, LockGuard, OpenMode, Ownership, Storage};
use claimstore_core::error::FileFault;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The name of the directory itself in errors.
const ROOT: &str = ".";

/// A storage over another one, whose errors name their file ([`FileFault`]).
#[derive(Debug)]
pub(crate) struct Named {
    storage: Arc<dyn Storage>,
    /// What comes before the names: empty, or a directory and `/`.
    before: String,
}

impl Named {
    /// The storage of the store. Its files are named from the store's directory on.
    pub(crate) fn own(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        Arc::new(Named { storage, before: String::new() })
    }

    /// The storage of another directory, such as that of a backup. Its files are named with the directory.
    pub(crate) fn other(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        let before = storage.directory().map_or_else(String::new, |dir| format!("{}/", dir.display()));
        Arc::new(Named { storage, before })
    }

    fn full(&self, name: &str) -> String {
        format!("{}{}", self.before, if name.is_empty() { ROOT } else { name })
    }

    fn named<T>(&self, name: &str, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| FileFault::wrap(&self.full(name), None, error))
    }

    fn guarded(&self, name: &str, done: io::Result<LockGuard>) -> io::Result<LockGuard> {
        let lock = self.named(name, done)?;
        Ok(Box::new(NamedLock { lock, name: self.full(name).into() }))
    }
}

impl Storage for Named {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.named(name, self.storage.open(name, mode))?;
        // A draft is renamed while it is open, and has its own name only until then.
        let name = name.strip_suffix(".new").unwrap_or(name);
        Ok(Arc::new(NamedFile { file, name: self.full(name).into() }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.named(dir, self.storage.list(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.named(dir, self.storage.create_dir(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.named(from, self.storage.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.named(name, self.storage.remove(name))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.named(dir, self.storage.sync_dir(dir))
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        self.guarded(name, self.storage.lock(name))
    }

    fn lock_also(&self, name: &str) -> io::Result<LockGuard> {
        self.guarded(name, self.storage.lock_also(name))
    }

    fn lock_shared(&self, name: &str) -> io::Result<Option<LockGuard>> {
        self.named(name, self.storage.lock_shared(name))
    }

    fn owner(&self, name: &str) -> Option<u32> {
        self.storage.owner(name)
    }

    fn is_durable(&self) -> bool {
        self.storage.is_durable()
    }

    fn leads_to(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        self.named(name, self.storage.leads_to(name, file))
    }

    fn directory(&self) -> Option<&Path> {
        self.storage.directory()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.named(name, self.storage.size(name))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.storage.free_bytes()
    }
}

/// A lock whose errors name its file.
#[derive(Debug)]
struct NamedLock {
    lock: LockGuard,
    name: Box<str>,
}

impl Ownership for NamedLock {
    fn check(&self) -> io::Result<()> {
        self.lock.check().map_err(|error| FileFault::wrap(&self.name, None, error))
    }
}

/// A file whose errors name it.
#[derive(Debug)]
struct NamedFile {
    file: Arc<dyn File>,
    name: Box<str>,
}

impl NamedFile {
    fn named<T>(&self, offset: Option<u64>, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| FileFault::wrap(&self.name, offset, error))
    }
}

impl File for NamedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.named(Some(offset), self.file.read_exact_at(buf, offset))
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.named(Some(offset), self.file.write_all_at(data, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.named(None, self.file.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.named(None, self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.named(None, self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.named(None, self.file.allocate(len))
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.named(None, self.file.drop_cache())
    }

    fn id(&self) -> Option<(u64, u64)> {
        self.file.id()
    }

    fn has_name(&self) -> io::Result<bool> {
        self.named(None, self.file.has_name())
    }

    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        self.named(None, self.file.cut_nameless(bytes))
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
}
