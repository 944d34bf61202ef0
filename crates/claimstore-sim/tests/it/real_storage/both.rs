//! Two kernels at once: the operating system's, in a directory of its own, and the simulated one. Each call goes to both,
//! and whoever makes it hears the real answer.

use claimstore::io::system::{Kernel, Locking, Opening, Status, System};
use claimstore::io::{DirStorage, OpenMode, Storage};
use claimstore::{Error, Options, Store};
use claimstore_sim::script::Ground;
use claimstore_sim::{SimDisk, SimHandle, SimKernel};
use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Opens stores on both kernels.
#[derive(Debug, Clone)]
pub(super) struct Both {
    dir: PathBuf,
    heard: Arc<Mutex<Heard>>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Heard {
    calls: usize,
    differences: Vec<String>,
}

/// Both kernels, over one simulated disk.
#[derive(Debug, Clone)]
struct Pair {
    both: Both,
    sim: SimKernel,
}

/// A file or directory that is open twice. Outside of the directory only the real one is.
#[derive(Debug)]
pub(super) struct Twice {
    path: PathBuf,
    real: fs::File,
    sim: Option<SimHandle>,
}

impl Both {
    pub(super) fn in_dir(dir: &Path) -> Both {
        Both { dir: dir.to_owned(), heard: Arc::default() }
    }

    pub(super) fn calls(&self) -> usize {
        self.heard.lock().unwrap().calls
    }

    pub(super) fn differences(&self) -> Vec<String> {
        self.heard.lock().unwrap().differences.clone()
    }

    /// Compares what is in the directory with what is on the simulated disk, beneath the storage.
    pub(super) fn compare_contents(&self, disk: &SimDisk) {
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            let mut names = disk.list(&dir).unwrap();
            names.sort();
            assert_eq!(names, sorted_names(&self.dir.join(&dir)), "in {dir:?}");
            for name in names {
                let name = if dir.is_empty() { name } else { [dir.as_str(), "/", &name].concat() };
                match disk.open(&name, OpenMode::Existing) {
                    Err(_) => dirs.push(name),
                    Ok(file) => {
                        let mut bytes = vec![0; file.len().unwrap() as usize];
                        file.read_exact_at(&mut bytes, 0).unwrap();
                        assert!(fs::read(self.dir.join(&name)).unwrap() == bytes, "{name} differs");
                    }
                }
            }
        }
    }

    /// Where a path is on the simulated disk.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.dir).ok().map(|within| Path::new("/").join(within))
    }

    /// Answers what the real kernel said, and notes if the other one said something else.
    fn compare<T: PartialEq + Debug>(
        &self,
        call: &str,
        path: &Path,
        real: io::Result<T>,
        sim: Option<&io::Result<T>>,
    ) -> io::Result<T> {
        let mut heard = self.heard.lock().unwrap();
        heard.calls += 1;
        let same = match (&real, sim) {
            (_, None) => true,
            (Ok(real), Some(Ok(sim))) => real == sim,
            (Err(real), Some(Err(sim))) => real.kind() == sim.kind(),
            _ => false,
        };
        if !same {
            heard.differences.push(format!("{call} {}: {real:?}, simulated: {sim:?}", path.display()));
        }
        real
    }
}

impl Ground for Both {
    fn open(&self, options: Options, disk: &SimDisk) -> Result<Store, Error> {
        let pair = Pair { both: self.clone(), sim: SimKernel::new(disk) };
        options.open_in(DirStorage::on(pair, self.dir.join(disk.dir())))
    }
}

impl Pair {
    fn by_path<T: PartialEq + Debug>(
        &self,
        call: &str,
        path: &Path,
        real: io::Result<T>,
        sim: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let sim = self.both.inside(path).map(|path| sim(&path));
        self.both.compare(call, path, real, sim.as_ref())
    }

    fn by_handle<T: PartialEq + Debug>(
        &self,
        call: &str,
        handle: &Twice,
        real: io::Result<T>,
        sim: impl FnOnce(&SimHandle) -> io::Result<T>,
    ) -> io::Result<T> {
        let sim = handle.sim.as_ref().map(sim);
        self.both.compare(call, &handle.path, real, sim.as_ref())
    }
}

impl System for Pair {
    type Handle = Twice;

    fn open(&self, path: &Path, how: Opening) -> io::Result<Twice> {
        let real = Kernel.open(path, how);
        if how == Opening::Direct && real.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidInput)
        {
            // This file system has no such mode.
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut opened = None;
        let told = real.as_ref().map(|_| ()).map_err(|error| error.kind().into());
        self.by_path(&format!("open {how:?}"), path, told, |path| {
            opened = Some(self.sim.open(path, how)?);
            Ok(())
        })?;
        Ok(Twice { path: path.to_owned(), real: real?, sim: opened })
    }

    fn read_at(&self, file: &Twice, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut other = vec![0; buf.len()];
        let real = Kernel.read_at(&file.real, buf, offset);
        let real = self.by_handle("read", file, real, |sim| self.sim.read_at(sim, &mut other, offset))?;
        let differ = file.sim.is_some() && buf.get(..real) != other.get(..real);
        self.by_handle(&format!("bytes of {offset}+{real}"), file, Ok(false), |_| Ok(differ))?;
        Ok(real)
    }

    fn write_at(&self, file: &Twice, data: &[u8], offset: u64) -> io::Result<usize> {
        let real = Kernel.write_at(&file.real, data, offset);
        if real.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidInput) {
            // The device under this file system asks for more alignment.
            return real;
        }
        self.by_handle("write", file, real, |sim| self.sim.write_at(sim, data, offset))
    }

    fn sync_data(&self, file: &Twice) -> io::Result<()> {
        self.by_handle("fdatasync", file, Kernel.sync_data(&file.real), |sim| self.sim.sync_data(sim))
    }

    fn sync(&self, handle: &Twice) -> io::Result<()> {
        self.by_handle("fsync", handle, Kernel.sync(&handle.real), |sim| self.sim.sync(sim))
    }

    fn status(&self, handle: &Twice) -> io::Result<Status> {
        let real = Kernel.status(&handle.real)?;
        let told = Ok(comparable(real));
        self.by_handle("fstat", handle, told, |sim| self.sim.status(sim).map(comparable))?;
        Ok(real)
    }

    fn status_of(&self, path: &Path) -> io::Result<Status> {
        let real = Kernel.status_of(path);
        let told = real.as_ref().map(|real| comparable(*real)).map_err(|error| error.kind().into());
        self.by_path("stat", path, told, |path| self.sim.status_of(path).map(comparable))?;
        real
    }

    fn set_len(&self, file: &Twice, len: u64) -> io::Result<()> {
        self.by_handle("ftruncate", file, Kernel.set_len(&file.real, len), |sim| self.sim.set_len(sim, len))
    }

    fn allocate(&self, file: &Twice, len: u64) -> io::Result<()> {
        let real = Kernel.allocate(&file.real, len);
        if real.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
            return real;
        }
        self.by_handle("fallocate", file, real, |sim| self.sim.allocate(sim, len))
    }

    fn dont_need(&self, file: &Twice, offset: u64, len: u64) -> io::Result<()> {
        let real = Kernel.dont_need(&file.real, offset, len);
        self.by_handle("fadvise", file, real, |sim| self.sim.dont_need(sim, offset, len))
    }

    fn lock(&self, file: &Twice, how: Locking) -> io::Result<()> {
        self.by_handle("flock", file, Kernel.lock(&file.real, how), |sim| self.sim.lock(sim, how))
    }

    fn unlock(&self, file: &Twice) -> io::Result<()> {
        self.by_handle("flock", file, Kernel.unlock(&file.real), |sim| self.sim.unlock(sim))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.by_path("mkdir", path, Kernel.make_dir(path), |path| self.sim.make_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let real = Kernel.rename(from, to);
        let target = self.both.inside(to).unwrap();
        self.by_path("rename", from, real, |from| self.sim.rename(from, &target))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.by_path("unlink", path, Kernel.remove(path), |path| self.sim.remove(path))
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let sorted = |names: io::Result<Vec<String>>| {
            names.map(|mut names| {
                names.sort();
                names
            })
        };
        self.by_path("readdir", dir, sorted(Kernel.names(dir)), |dir| sorted(self.sim.names(dir)))
    }

    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        Kernel.free_bytes(dir)
    }
}

/// What two kernels can agree on: numbers of files, and what directories are counted as, are each one's own.
fn comparable(status: Status) -> Status {
    let (len, links) = if status.is_dir { (0, 0) } else { (status.len, status.links) };
    Status { id: (0, 0), len, links, ..status }
}

fn sorted_names(dir: &Path) -> Vec<String> {
    let mut names = Kernel.names(dir).unwrap();
    names.sort();
    names
}
