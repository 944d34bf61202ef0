//! A simulated kernel over the simulated disk: the storage of real machines runs on it as it is.
//!
//! Each system call that changes something is one [`Event`](super::Event) of the disk's log. So the log of the system
//! calls of [`DirStorage`] can be cut off at any point and turned into what a power loss leaves; and each of them can be
//! made to fail.

use super::contents::SECTOR;
use super::{Disk, DiskFile, DiskLock, Place};
use crate::Rng;
use claimstore::io::system::{Locking, Opening, Status, System};
use claimstore::io::{DirStorage, File, Storage};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The kernel of a machine with one disk. Clones are handles of one kernel.
#[derive(Clone)]
pub struct SimKernel {
    disk: Disk,
    temper: Option<Arc<Mutex<Temper>>>,
}

/// A kernel that does what kernels may: it reads and writes less than asked, is interrupted, and lacks calls.
#[derive(Debug)]
struct Temper {
    rng: Rng,
    /// Whether there is `fallocate`.
    allocates: bool,
    /// Whether there is `O_DIRECT`.
    goes_direct: bool,
}

/// An open file or directory of a [`SimKernel`].
pub struct SimHandle {
    kind: Kind,
    lock: Mutex<Option<DiskLock>>,
}

enum Kind {
    File(DiskFile),
    Dir(String),
}

impl SimKernel {
    /// The kernel of a machine with this disk, which does what it is asked.
    pub fn new(disk: &Disk) -> SimKernel {
        SimKernel { disk: disk.root(), temper: None }
    }

    /// One that reads and writes less than it was asked, and lets itself be interrupted, as `seed` will have it.
    pub fn rough(disk: &Disk, seed: u64) -> SimKernel {
        let mut rng = Rng::new(seed);
        let temper = Temper { allocates: rng.chance(1, 2), goes_direct: rng.chance(1, 2), rng };
        SimKernel { temper: Some(Arc::new(Mutex::new(temper))), ..SimKernel::new(disk) }
    }

    /// The storage of real machines on this kernel, in the directory of `disk`.
    pub fn storage(self, disk: &Disk) -> DirStorage<SimKernel> {
        DirStorage::on(self, Path::new("/").join(disk.dir()))
    }

    fn ask<T>(&self, what: impl FnOnce(&mut Temper) -> T) -> Option<T> {
        let temper = self.temper.as_ref()?;
        Some(what(&mut temper.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// One call in four is interrupted before it did anything.
    fn interrupt(&self) -> io::Result<()> {
        match self.ask(|temper| temper.rng.chance(1, 4)) {
            Some(true) => Err(ErrorKind::Interrupted.into()),
            _ => Ok(()),
        }
    }

    /// How much of `len` bytes at `offset` is read or written: something, up to the end of a sector. The kernel copies by
    /// pages; were it to stop within a sector, one write would tear it, which no disk may do either.
    fn part(&self, len: usize, offset: u64) -> usize {
        let first = (offset as usize).next_multiple_of(SECTOR) - offset as usize;
        let ends = len.saturating_sub(first).div_ceil(SECTOR);
        let part = |temper: &mut Temper| match first + temper.rng.index(ends + 1) * SECTOR {
            part if part > 0 && temper.rng.chance(1, 2) => part.min(len),
            _ => len,
        };
        self.ask(part).unwrap_or(len)
    }
}

/// A path as the disk knows it.
fn name_of(path: &Path) -> io::Result<&str> {
    let name = path.to_str().and_then(|path| path.strip_prefix('/'));
    name.ok_or_else(|| ErrorKind::InvalidInput.into())
}

impl SimHandle {
    fn held(&self) -> MutexGuard<'_, Option<DiskLock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> io::Result<&DiskFile> {
        match &self.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }
}

impl System for SimKernel {
    type Handle = SimHandle;

    fn open(&self, path: &Path, how: Opening) -> io::Result<SimHandle> {
        self.interrupt()?;
        let name = name_of(path)?;
        if how == Opening::Direct && self.ask(|temper| temper.goes_direct) == Some(false) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut state = self.disk.state();
        let kind = if how == Opening::Directory {
            state.need_dir(name)?;
            Kind::Dir(name.to_owned())
        } else {
            let file = match (state.machine.find(name), how) {
                (Some(_), Opening::New) => return Err(ErrorKind::AlreadyExists.into()),
                (Some(file), _) => file,
                (None, Opening::New | Opening::Any) => state.create(name)?,
                (None, _) => return Err(ErrorKind::NotFound.into()),
            };
            Kind::File(self.disk.handle(&mut state, file, how == Opening::Direct))
        };
        Ok(SimHandle { kind, lock: Mutex::new(None) })
    }

    fn read_at(&self, handle: &SimHandle, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.interrupt()?;
        let part = self.part(buf.len(), offset);
        handle.file()?.read_some(buf.get_mut(..part).unwrap_or_default(), offset)
    }

    fn write_at(&self, handle: &SimHandle, data: &[u8], offset: u64) -> io::Result<usize> {
        self.interrupt()?;
        let file = handle.file()?;
        let part = self.part(data.len(), offset);
        file.write_all_at(data.get(..part).unwrap_or_default(), offset).map(|()| part)
    }

    fn sync_data(&self, handle: &SimHandle) -> io::Result<()> {
        match &handle.kind {
            Kind::File(file) => file.sync_data(),
            Kind::Dir(name) => self.disk.sync_dir(name),
        }
    }

    fn sync(&self, handle: &SimHandle) -> io::Result<()> {
        self.sync_data(handle)
    }

    fn status(&self, handle: &SimHandle) -> io::Result<Status> {
        match &handle.kind {
            Kind::File(file) => {
                let len = file.len()?;
                let links = self.disk.state().machine.links(file.file);
                Ok(Status { id: (1, file.file), len, links, is_dir: false })
            }
            Kind::Dir(_) => Ok(Status { id: (0, 0), len: 0, links: 1, is_dir: true }),
        }
    }

    fn status_of(&self, path: &Path) -> io::Result<Status> {
        let name = name_of(path)?;
        let mut state = self.disk.state();
        if let Some(fault) = state.faults.gone() {
            return Err(fault.error());
        }
        state.try_read(Place::Name(name))?;
        if state.machine.has_dir(name) {
            return Ok(Status { id: (0, 0), len: 0, links: 1, is_dir: true });
        }
        let file = state.machine.find(name).ok_or(ErrorKind::NotFound)?;
        let (len, links) = (state.contents(file)?.len(), state.machine.links(file));
        Ok(Status { id: (1, file), len, links, is_dir: false })
    }

    fn set_len(&self, handle: &SimHandle, len: u64) -> io::Result<()> {
        self.interrupt()?;
        handle.file()?.set_len(len)
    }

    fn allocate(&self, handle: &SimHandle, len: u64) -> io::Result<()> {
        self.interrupt()?;
        if self.ask(|temper| temper.allocates) == Some(false) {
            return Err(ErrorKind::Unsupported.into());
        }
        handle.file()?.allocate(len)
    }

    fn dont_need(&self, handle: &SimHandle, offset: u64, len: u64) -> io::Result<()> {
        // Of a part only what is dirty is asked about, and begun to be written: a hint.
        if offset == 0 && len == 0 { handle.file()?.drop_cache() } else { Ok(()) }
    }

    fn lock(&self, handle: &SimHandle, how: Locking) -> io::Result<()> {
        let lock = self.disk.shared.locks.take(handle.file()?.file, how)?;
        *handle.held() = Some(lock);
        Ok(())
    }

    fn unlock(&self, handle: &SimHandle) -> io::Result<()> {
        drop(handle.held().take());
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.state().make_dir(name_of(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Storage::rename(&self.disk, name_of(from)?, name_of(to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Storage::remove(&self.disk, name_of(path)?)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(name_of(dir)?)
    }

    fn free_bytes(&self, _dir: &Path) -> Option<u64> {
        self.disk.free_bytes()
    }
}

impl fmt::Debug for SimKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimKernel").field("rough", &self.temper.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SimHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::File(file) => file.fmt(f),
            Kind::Dir(name) => f.debug_tuple("SimDir").field(name).finish(),
        }
    }
}
