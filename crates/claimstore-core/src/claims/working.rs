//! [`Working`]: what work in several steps needs of a lease.

#[cfg(doc)]
use super::Lease;
use crate::Error;
use std::fmt;

/// A lease of any kind, as work in several steps needs it: to save how far it has come, and to name its calls.
///
/// The leases of all backends are one type, [`Lease`]. The embedded store has one of its own besides, for what only that
/// store can do.
pub trait Working: fmt::Debug {
    /// Which attempt this is, from 1.
    fn attempt(&self) -> u32;

    /// The fencing token.
    fn token(&self) -> u64;

    /// Whether an earlier attempt may have had an effect that nobody knows of.
    fn in_doubt(&self) -> bool;

    /// What was saved last by this or an earlier attempt.
    fn progress(&self) -> Option<&[u8]>;

    /// A key for one step of the work, the same for every attempt of this key.
    fn child_key(&self, step: &str) -> [u8; 32];

    /// Stores how far the work has come, and blocks this thread until that is durable. After an error,
    /// [`progress`](Working::progress) is what it was.
    fn save_progress(&mut self, progress: Vec<u8>) -> Result<(), Error>;
}
