//! Whose store is asked.

/// Whose store is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// One opened for this very request: what was counted since is the request's own, and pages may be of any length.
    Briefly,
    /// One that a program works with: pages are bounded.
    Live,
}
