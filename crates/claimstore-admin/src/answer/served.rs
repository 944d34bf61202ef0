//! The kind of store that is asked: one opened for the request, or one that a program has open.

/// The kind of store that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A store that was opened for this request: counters since the opening are the request's own, and pages may have
    /// any length.
    Briefly,
    /// A store that a program has open: pages are bounded.
    Live,
}
