//! The process that a value belongs to.
//!
//! A child of `fork()` has its parent's memory and file descriptors, but none of its other threads. A lock that
//! another thread held at that moment stays held in the child for ever, and writes of the child go to its parent's
//! files. So every call that may block on a lock, or write, compares the process first.

use crate::planted;

/// A process, by its id.
///
/// An id is reused only after its process has ended, so a child never has its parent's. The one exception is process
/// 1 of a new PID namespace that was created by a process 1. Reading the own id is a system call of about 0.1 us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The current process.
    pub(crate) fn current() -> Process {
        Process(std::process::id())
    }

    /// Whether it is the current process.
    pub(crate) fn is_current(self) -> bool {
        if planted::active(50) {
            return true;
        }
        self == Process::current()
    }
}

/// The error message in a child of `fork()`.
pub(crate) const FORKED: &str =
    "the store was opened by another process: a child of fork() cannot use the store of its parent";
