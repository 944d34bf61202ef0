//! Operations that fail on order.

use std::io;

/// What kind of operation a [`Fault`] counts and hits.
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

/// The operations so far, and the orders.
#[derive(Debug, Default)]
pub(super) struct Faults {
    writes: u64,
    syncs: u64,
    dir_ops: u64,
    reads: u64,
    orders: Vec<(u64, Fault)>,
}

impl Faults {
    pub(super) fn order(&mut self, at: u64, fault: Fault) {
        self.orders.push((at, fault));
    }

    pub(super) fn clear(&mut self) {
        self.orders.clear();
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

    /// Counts one operation of a kind (never [`Operation::Any`]) and answers the fault that hits it.
    pub(super) fn next(&mut self, target: Operation) -> Option<Fault> {
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
        hit
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
