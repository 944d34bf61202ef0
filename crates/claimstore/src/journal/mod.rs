//! The journal: append-only segments of batches, and what is left of them after a crash.
//!
//! A *segment* is a preallocated file: a header sector, then *frames*, each on a fresh sector, each one
//! batch. A segment's random *salt* stands in its header and in every frame, so old bytes of a recycled file
//! never pass for new ones; a frame names the salt of the segment that follows, so the chain is known before
//! it is used. The rules that make replay a prefix of what was written, and containing everything
//! acknowledged, stand where they are kept: writing in [`writer`], judging a tail in [`scan`], mending in
//! [`recover`](mod@recover).

mod frame;
#[cfg(any(fuzzing, test))]
mod fuzzed;
mod recover;
mod scan;
mod segment;
mod writer;

pub(crate) use frame::{BatchHead, Frame, framed_bytes};
#[cfg(fuzzing)]
pub(crate) use fuzzed::scan_any;
pub(crate) use recover::{Recovered, recover};
pub(crate) use segment::{Start, prepare, segment_name};
pub(crate) use writer::Writer;

/// The directory all segments are in.
pub(crate) const JOURNAL_DIR: &str = "journal";

#[cfg(test)]
mod tests;
