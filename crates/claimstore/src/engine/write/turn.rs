//! What is to be written, and the locks and circumstances it is written under.

use crate::engine::commit::{Order, Waits};
use crate::engine::spaces::{Keyed, Space};
use crate::engine::time::Moment;

/// Bytes an operation takes beside key, body, origin and digests of fields.
pub(crate) const OP_BYTES: usize = 192;

/// Which key is to be written, and how much room its next version may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) space: &'a Space,
    pub(crate) keyed: &'a Keyed,
    /// Bytes that the version adds.
    pub(crate) added: usize,
    /// How many times over it has the bytes of the version before.
    pub(crate) carries: usize,
}

/// The order lock, held, with the circumstances of what is written under it.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) order: &'a mut Order,
    /// Read after the look-up (hazard 19).
    pub(crate) at: Moment,
    pub(crate) waits: Waits<'a>,
}

impl Change<'_> {
    /// The room that the next version may take; `known` is what it could carry over ([`carried_bytes`](super::carried_bytes)).
    pub(crate) fn bytes(&self, known: usize) -> usize {
        OP_BYTES + self.keyed.full.len() + self.added + self.carries * known
    }
}
