//! What only upkeep changes: the catalogue, the numbers of runs, a merge under way. Its lock is the upkeep lock.

use super::time::Mark;
use crate::bucket::{Catalog, CatalogState, ClockMark, Merger, RunSummary};
use crate::error::{Error, ErrorKind};

/// State that only upkeep changes. Its lock makes checkpoints, merges, prunes and backups mutually exclusive.
#[derive(Debug)]
pub(crate) struct Home {
    /// `None` once the store is closed.
    pub(super) catalog: Option<Catalog>,
    pub(crate) state: CatalogState,
    pub(super) next_run: u64,
    /// Rows of `tables.redb` that a run has by now, but that could not be removed yet.
    pub(super) leftover_rows: Vec<(Vec<u8>, u64)>,
    pub(crate) merge: Option<Merging>,
}

/// A merge under way, between two of its slices.
#[derive(Debug)]
pub(crate) struct Merging {
    pub(crate) merger: Merger,
    pub(crate) inputs: Vec<u64>,
}

impl Home {
    pub(crate) fn new(catalog: Catalog, state: CatalogState) -> Home {
        let next_run = state.next_run;
        Home { catalog: Some(catalog), state, next_run, leftover_rows: Vec::new(), merge: None }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.state.generation
    }

    /// Reads the catalogue again.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        self.catalog.as_ref().map_or(Ok(()), Catalog::verify)
    }

    /// Raises the life, durably, before any token of it can be assigned.
    pub(crate) fn begin_life(&mut self, life: u32, mark: ClockMark) -> Result<(), Error> {
        let Some(catalog) = &mut self.catalog else {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        };
        let generation = self.state.generation + 1;
        let next = CatalogState { generation, life, mark, sealed: None, ..self.state.clone() };
        catalog.commit(&next)?;
        self.state = next;
        Ok(())
    }

    /// A number for a new run file. Numbers of failed attempts are not used again in this life.
    pub(crate) fn take_run_number(&mut self) -> u64 {
        let number = self.next_run;
        self.next_run += 1;
        number
    }
}

pub(crate) fn encoded(summary: &RunSummary) -> Vec<u8> {
    let mut out = Vec::new();
    summary.encode(&mut out);
    out
}

pub(crate) fn clock_mark(mark: Mark) -> ClockMark {
    ClockMark { store_ms: mark.store_ms, wall_ms: mark.wall_ms, boot_ms: mark.boot_ms, boot_id: mark.boot_id }
}
