//! How much fits on a disk, and what was done to it: for a disk that fills up, and for a process that stops before an
//! operation.

use super::{Disk, Fault, FaultKind, Operation, SECTOR, State};
use std::io;

/// One operation that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traced {
    pub(crate) verb: &'static str,
    /// The file or directory; empty for the root, and for a file without a name.
    pub(crate) name: String,
}

impl Disk {
    /// Begins to take down what is done, reads left out.
    pub(crate) fn begin_trace(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// What was done since then.
    pub(crate) fn end_trace(&self) -> Vec<Traced> {
        self.state().trace.take().unwrap_or_default()
    }

    /// The process dies before the operation with the number `nth` from now (0 is the next), reads not counted: neither
    /// it nor any later one has an effect. Returns the number by which [`has_passed`](Disk::has_passed) knows it.
    pub(crate) fn stop_before(&self, nth: u64) -> u64 {
        let mut state = self.state();
        let at = state.faults.count(Operation::Any).saturating_add(nth);
        // Pages of a sync that was never made stay dirty.
        state.faults.order(at, Fault::sticky(FaultKind::StaysDirty, Operation::Any));
        at
    }

    /// Whether the operation with this number was tried.
    pub(crate) fn has_passed(&self, at: u64) -> bool {
        self.operations(Operation::Any) > at
    }
}

impl State {
    pub(super) fn used_bytes(&self) -> u64 {
        self.machine.used_bytes(|file| self.handles.contains_key(&file))
    }

    pub(super) fn free_bytes(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.used_bytes()))
    }

    /// How many of `len` bytes at `offset` find room: all, or what there is up to the end of a sector.
    pub(super) fn fits(&self, file: u64, offset: u64, len: usize) -> usize {
        let Some(free) = self.free_bytes() else { return len };
        let end = self.len_of(file).saturating_add(free);
        if offset.saturating_add(len as u64) <= end {
            return len;
        }
        let whole_sectors = end - end % SECTOR as u64;
        len.min(whole_sectors.saturating_sub(offset) as usize)
    }

    /// Whether a file can have this length.
    pub(super) fn need_room(&self, file: u64, len: u64) -> io::Result<()> {
        let grows = len.saturating_sub(self.len_of(file));
        match self.free_bytes() {
            Some(free) if grows > free => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn len_of(&self, file: u64) -> u64 {
        self.machine.contents(file).map_or(0, super::Contents::len)
    }
}
