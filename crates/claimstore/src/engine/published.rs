//! What was handed to the `metrics` facade so far.

use crate::view::{Outcomes, Stats};
use std::collections::HashMap;

/// The values published so far.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(super) outcomes: HashMap<Box<str>, Outcomes>,
    pub(super) stats: Stats,
    pub(super) histograms: [Vec<u64>; 4],
    pub(super) next_ms: u64,
    pub(super) next_census_ms: u64,
}
