//! Which process something belongs to.
//!
//! A child of `fork()` has its parent's memory and descriptors and none of its threads. Locks that another thread held
//! at that moment stay held in the child for ever, and what the child writes goes into its parent's files. So whoever
//! may wait for a lock or write compares first.

use crate::planted;

/// A process, by its number.
///
/// Numbers are given again only after their process has ended, so a child never has its parent's, but for the first process of
/// a new name space of processes made by a first process. Reading one's own is
/// a system call of about 0.1 us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The process that runs this.
    pub(crate) fn current() -> Process {
        Process(std::process::id())
    }

    /// Whether it is the process that runs this.
    pub(crate) fn is_current(self) -> bool {
        self == Process::current() || planted::active(50)
    }
}

/// What a child of `fork()` is told.
pub(crate) const FORKED: &str =
    "the store was opened by another process: a child of fork() cannot use the store of its parent";
