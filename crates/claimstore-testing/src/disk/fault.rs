//! Operations that fail on order.

use std::io;

/// A kind of operation: what a fault counts and hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `write_all_at`, `set_len`, `allocate`.
    Writes,
    /// `sync_data`, `sync_dir`.
    Syncs,
    /// Creating, renaming and removing files, creating directories.
    DirOps,
    /// `read_exact_at`, `len`, `list`.
    Reads,
    /// All of them but reads. Once such a fault stays, the length of a file is not told either, as after a shutdown
    /// of XFS.
    Any,
}

impl Operation {
    /// Whether a fault of this target hits an operation of `kind`.
    fn hits(self, kind: Operation) -> bool {
        self == kind || self == Operation::Any && kind != Operation::Reads
    }
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// `EIO`. The operation had no effect; a failed sync follows L4.
    Io,
    /// `ENOSPC`, with the same effects.
    NoSpace,
    /// The first half of a write arrives in the page cache, then `ENOSPC`. As [`FaultKind::Io`] for
    /// everything that is not a write.
    ShortWrite,
    /// `EIO`. The pages of a file whose sync failed are clean, as after [`FaultKind::Io`], and no call drops them from the
    /// page cache: until power is lost, reads show what the disk may not hold.
    CacheStays,
    /// `EIO`. The pages of a file whose sync failed stay dirty, and the next sync writes them.
    StaysDirty,
}

/// An order to fail.
///
/// A failed `sync_data` leaves the file's dirty pages *clean* in the page cache: reads still show them, a
/// later sync answers Ok and writes nothing of them, and the disk holds some of their sectors, which a
/// dropped cache or a power loss brings to light. A failed `sync_dir` leaves directory changes unsynced: a
/// file system that cannot write its own journal stops rather than forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault {
    /// How to fail.
    pub kind: FaultKind,
    /// Whom to hit.
    pub target: Operation,
    /// Whether every later operation of the target fails too.
    pub sticky: bool,
    /// Chooses what reaches the disk of a failed sync.
    pub seed: u64,
}

/// Which operation of a kind fails: see [`Disk::fail`](super::Disk::fail).
///
/// ```
/// use claimstore_testing::{Disk, Operation};
///
/// let disk = Disk::new();
/// disk.fail(Operation::Writes, 2); // the third write from now
/// disk.fail(Operation::Syncs, "journal"); // the next sync of a file below `journal`
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The one with this number, counted from now; 0 is the next.
    Nth(u64),
    /// The next one on this file, on this directory, or on anything below it. Paths are those of the store's
    /// directory, such as `journal` or `catalog.redb`.
    Path(String),
}

impl From<u64> for Which {
    fn from(nth: u64) -> Which {
        Which::Nth(nth)
    }
}

impl From<&str> for Which {
    fn from(path: &str) -> Which {
        Which::Path(path.to_owned())
    }
}

/// An order to fail what happens on a path.
#[derive(Debug)]
struct OnPath {
    path: String,
    fault: Fault,
}

impl OnPath {
    fn hits(&self, operation: Operation, name: &str) -> bool {
        let below = name.strip_prefix(&*self.path);
        let is_there =
            below.is_some_and(|rest| rest.is_empty() || self.path.is_empty() || rest.starts_with('/'));
        is_there && self.fault.target.hits(operation)
    }
}

/// The operations so far, and the orders.
#[derive(Debug, Default)]
pub(super) struct Faults {
    writes: u64,
    syncs: u64,
    dir_ops: u64,
    reads: u64,
    orders: Vec<(u64, Fault)>,
    on_paths: Vec<OnPath>,
}

impl Faults {
    pub(super) fn order(&mut self, at: u64, fault: Fault) {
        self.orders.push((at, fault));
    }

    pub(super) fn order_on(&mut self, path: String, fault: Fault) {
        self.on_paths.push(OnPath { path, fault });
    }

    pub(super) fn clear(&mut self) {
        self.orders.clear();
        self.on_paths.clear();
    }

    /// Whether an order goes by the names of files.
    pub(super) fn ask_for_names(&self) -> bool {
        !self.on_paths.is_empty()
    }

    pub(super) fn count(&self, target: Operation) -> u64 {
        match target {
            Operation::Writes => self.writes,
            Operation::Syncs => self.syncs,
            Operation::DirOps => self.dir_ops,
            Operation::Reads => self.reads,
            Operation::Any => self.writes + self.syncs + self.dir_ops,
        }
    }

    /// The fault of a file system that fails everything from some operation on. Not counted.
    pub(super) fn gone(&self) -> Option<Fault> {
        let so_far = self.count(Operation::Any);
        let gone = self
            .orders
            .iter()
            .find(|(at, fault)| fault.sticky && fault.target == Operation::Any && so_far > *at);
        gone.map(|(_, fault)| *fault)
    }

    /// Counts one operation of a kind (never [`Operation::Any`]) on `name` and returns the fault that hits it.
    pub(super) fn next(&mut self, target: Operation, name: &str) -> Option<Fault> {
        let hit = self.orders.iter().find(|(at, fault)| {
            let number = self.count(fault.target);
            fault.target.hits(target) && (number == *at || fault.sticky && number > *at)
        });
        let hit = hit.map(|(_, fault)| *fault);
        match target {
            Operation::Writes => self.writes += 1,
            Operation::Syncs => self.syncs += 1,
            Operation::Reads => self.reads += 1,
            Operation::DirOps | Operation::Any => self.dir_ops += 1,
        }
        hit.or_else(|| self.next_on_path(target, name))
    }

    fn next_on_path(&mut self, target: Operation, name: &str) -> Option<Fault> {
        let at = self.on_paths.iter().position(|order| order.hits(target, name))?;
        let fault = self.on_paths.get(at)?.fault;
        if !fault.sticky {
            self.on_paths.remove(at);
        }
        Some(fault)
    }
}

impl Fault {
    /// A fault that hits once, with seed 0.
    pub fn once(kind: FaultKind, target: Operation) -> Fault {
        Fault { kind, target, sticky: false, seed: 0 }
    }

    /// A fault that stays, with seed 0.
    pub fn sticky(kind: FaultKind, target: Operation) -> Fault {
        Fault { kind, target, sticky: true, seed: 0 }
    }

    pub(super) fn error(&self) -> io::Error {
        match self.kind {
            FaultKind::Io | FaultKind::CacheStays | FaultKind::StaysDirty => {
                io::Error::other("simulated EIO")
            }
            FaultKind::NoSpace | FaultKind::ShortWrite => io::ErrorKind::StorageFull.into(),
        }
    }
}
