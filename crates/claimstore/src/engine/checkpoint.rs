//! Checkpoints: durable records move from the live table and the journal into sorted runs.
//!
//! Invariant of the catalogue: `checkpoint_seq` = S means that the state after all operations up to S is in the runs
//! (including those of the open bucket) and in `tables.redb`; later operations are in the journal from `journal` on.
//! The order of the steps, in `Engine::move_out`, keeps it true at every point where power may fail:
//!
//! 1. note the journal's current segment, *then* choose S: operations after S are in that segment or later ones;
//! 2. wait until everything up to S is durable, then copy the entries with sequence numbers up to S;
//! 3. write the runs: sync each file, then the directory;
//! 4. wait until everything queued so far is durable. An entry above S was not copied, and it replaced the version at
//!    S, which now is only in the journal before S. So the entry must be durable before that part of the journal
//!    goes;
//! 5. one catalogue commit names the runs, S and the segment;
//! 6. publish the runs, raise the generation, and only then remove the entries from the live table;
//! 7. retire the segments before the noted one.

use super::commit::Leads;
use super::moving::{Going, Groups, NEAR_AT_ONCE, Taken, TakenRow};
use super::time::Mark;
use super::{Class, Engine, observe, spans};
use crate::bucket::{
    BucketId, Catalog, CatalogState, ClockMark, Merger, NamespaceRow, Run, RunSummary, RunWriter, remove_run,
};
use crate::codec::{Record, State};
use crate::error::{Error, ErrorKind};
use crate::journal;
use crate::options::Durability;
use crate::planted;
use crate::sync::{Arc, MutexGuard, Ordering};

/// A new journal's first segment is small, so that it is created quickly; the next ones have full size.
pub(crate) const FIRST_SEGMENT_BYTES: u64 = 4 << 20;
/// A close leaves a segment with more bytes than this for a new one, so that the next open has less to read.
const LONG_SEGMENT_BYTES: u64 = 1 << 20;

/// State that only upkeep changes. Its lock makes checkpoints, merges, prunes and backups mutually exclusive.
#[derive(Debug)]
pub(crate) struct Home {
    /// `None` once the store is closed.
    catalog: Option<Catalog>,
    pub(crate) state: CatalogState,
    next_run: u64,
    /// Rows of `tables.redb` that a run has by now, but that could not be removed yet.
    leftover_rows: Vec<(Vec<u8>, u64)>,
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

impl Engine {
    /// Moves everything durable and resolved into runs.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        let mut home = self.upkeep_lock()?;
        self.checkpoint_in(&mut home)
    }

    /// The upkeep lock of a store that is still open: it may have been closed while we waited.
    ///
    /// Upkeep creates and removes files by name. So this first checks that the directory still belongs to the store,
    /// and poisons the store if not.
    pub(crate) fn upkeep_lock(&self) -> Result<MutexGuard<'_, Home>, Error> {
        self.check_changes()?;
        let home = self.home_lock()?;
        // Checked after the wait, which may have lasted for a whole backup. `home` is released before the store is
        // poisoned, because that calls wakers.
        if let Err(error) = self.all_owned() {
            drop(home);
            return Err(self.commit.give_up(self, &error));
        }
        Ok(home)
    }

    /// The same for calls that only read.
    pub(crate) fn home_lock(&self) -> Result<MutexGuard<'_, Home>, Error> {
        self.check_open()?;
        if self.tables.is_writing_here() {
            return Err(Error::new(ErrorKind::Misuse, "upkeep inside a transact would wait for itself"));
        }
        let home = self.home.lock();
        self.check_serving()?;
        Ok(home)
    }

    pub(crate) fn checkpoint_in(&self, home: &mut Home) -> Result<(), Error> {
        spans::checkpoint().run(|span| {
            let rows = self.measured_checkpoint(home)?;
            span.count("rows", rows);
            Ok(())
        })
    }

    /// Returns how many rows were copied.
    fn measured_checkpoint(&self, home: &mut Home) -> Result<u64, Error> {
        let (began_ns, before_bytes) = (self.time.lap_ns(), self.journal_bytes_written());
        let rows = self.move_out(home)?;
        self.note_checkpoint(before_bytes);
        if let Some(rows) = rows {
            let took_ms = self.time.lap_ns().saturating_sub(began_ns) / 1_000_000;
            self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
            self.measures.checkpoint_ms.record(took_ms);
            self.measures.checkpointed_rows.fetch_add(rows, Ordering::Relaxed);
            observe::checkpointed(rows, took_ms);
        }
        Ok(rows.unwrap_or(0))
    }

    /// The seven steps of the module's order. Returns how many rows were copied, or `None` if there was nothing to
    /// do.
    fn move_out(&self, home: &mut Home) -> Result<Option<u64>, Error> {
        // Step 1: the segment first, then S, which is `through`. This also waits until S is durable.
        let start = self.commit.with_journal(|writer| writer.current());
        let through = self.durable_frontier()?;
        // Step 2. Wait for a namespace that is being defined: if its definition is at or below S, it is visible once
        // we have had this lock. The catalogue commit must name it, because its operation goes with the segments.
        drop(self.spaces.defining.lock());
        let taken = self.take(through);
        if taken.rows.is_empty() && start.segment == home.state.journal.0 {
            return Ok(None);
        }
        if planted::active(14) {
            self.retire_segments(start.segment);
        }
        // Step 3.
        let groups = self.group(&taken.rows)?;
        let summaries = self.write_runs(home, &taken, &groups)?;
        // Step 4.
        if !planted::active(25) {
            self.durable_frontier()?;
        }
        // Step 5. The runs are opened first, so that one that cannot be opened is never named.
        let published = self.forget_replaced_table_rows(home, &taken.rows).and_then(|()| {
            let runs = self.open_runs(&summaries)?;
            self.commit_catalogue(home, |state| {
                state.checkpoint_seq = state.checkpoint_seq.max(through);
                state.journal = (start.segment, start.salt, start.batch);
                state.runs.extend(summaries.iter().map(encoded));
            })?;
            Ok(runs)
        });
        let runs = match published {
            Ok(runs) => runs,
            Err(error) => {
                self.discard_unlisted(home, &summaries);
                return Err(error);
            }
        };
        if planted::active(21) {
            self.leave_live(&taken.rows);
        }
        // Step 6: the runs are visible before the entries go (hazard 2).
        self.publish_moved(&taken.rows, runs);
        self.leave_live(&taken.rows);
        // Step 7: only now is nothing in these segments needed (hazard 9).
        self.retire_segments(start.segment);
        self.forget_copied_table_rows(home, &taken.rows);
        Ok(Some(taken.rows.len() as u64))
    }

    /// Waits until everything queued so far is durable; returns the last sequence number of it.
    pub(crate) fn durable_frontier(&self) -> Result<u64, Error> {
        let (batch, seq) = self.commit.frontier();
        self.wait(batch)?;
        if self.durability != Durability::Sync && !self.commit.is_synced(batch) {
            self.commit.sync(self)?;
        }
        Ok(seq)
    }

    fn write_runs(&self, home: &mut Home, taken: &Taken, groups: &Groups) -> Result<Vec<RunSummary>, Error> {
        let mut summaries = Vec::new();
        for (bucket, rows) in groups {
            let number = home.take_run_number();
            match self.write_run(number, *bucket, taken, rows) {
                Ok(summary) => summaries.push(summary),
                Err(error) => {
                    self.discard(&summaries);
                    return Err(Error::io("a checkpoint could not write a run", error));
                }
            }
        }
        Ok(summaries)
    }

    fn write_run(
        &self,
        number: u64,
        bucket: BucketId,
        taken: &Taken,
        rows: &[Going],
    ) -> std::io::Result<RunSummary> {
        let mut writer = RunWriter::create(&self.storage, self.store_id, number, bucket, rows.len())?;
        for rows in rows.chunks(NEAR_AT_ONCE) {
            taken.bring_near(rows);
            for going in rows {
                let Some(row) = taken.rows.get(going.at) else { continue };
                if going.tombstone {
                    writer.push(&row.key, row.hash, &Record::erased(row.record.seq))?;
                } else {
                    let whole = taken.row(row).ok_or(std::io::ErrorKind::InvalidInput)?;
                    writer.push(&row.key, row.hash, &whole)?;
                }
            }
        }
        writer.finish()
    }

    pub(crate) fn open_runs(&self, summaries: &[RunSummary]) -> Result<Vec<Arc<Run>>, Error> {
        let open = |summary| Run::open(&self.storage, self.store_id, summary, &self.hasher).map(Arc::new);
        summaries.iter().map(open).collect()
    }

    /// Removes run files that no catalogue names. Best effort: the next open removes what is left.
    fn discard(&self, summaries: &[RunSummary]) {
        for summary in summaries {
            drop(remove_run(&self.storage, summary.number));
        }
    }

    /// Like [`discard`](Engine::discard), but keeps runs that the catalogue names after all, or may name at the next
    /// open.
    pub(crate) fn discard_unlisted(&self, home: &Home, summaries: &[RunSummary]) {
        // The store is closed, and the directory may have another owner; or a failed commit left it unknown which
        // runs the catalogue names. Remove nothing.
        if home.catalog.as_ref().is_none_or(Catalog::is_lost) {
            return;
        }
        let unlisted = summaries.iter().filter(|summary| !home.state.runs.contains(&encoded(summary)));
        self.discard(&unlisted.cloned().collect::<Vec<_>>());
    }

    /// Removes rows of `tables.redb` whose keys were erased since, and rows left over from earlier checkpoints. This
    /// comes *before* the catalogue commit: a tombstone is in no run of its own, so afterwards nothing might hide
    /// these rows.
    fn forget_replaced_table_rows(&self, home: &mut Home, taken: &[TakenRow]) -> Result<(), Error> {
        let erased = || taken.iter().filter(|row| row.record.state == State::Erased);
        let mut rows: Vec<(Vec<u8>, u64)> = erased().filter(|row| row.in_tables).map(table_row).collect();
        if erased().next().is_some() {
            rows.extend(home.leftover_rows.iter().cloned());
        }
        if self.remove_table_rows(&rows)? {
            home.leftover_rows.retain(|row| !rows.contains(row));
            return Ok(());
        }
        Err(Error::new(ErrorKind::Overloaded, "a transact is running; the checkpoint is tried again"))
    }

    /// Removes rows of `tables.redb` that are in a run now. Rows that cannot be removed are remembered for later.
    fn forget_copied_table_rows(&self, home: &mut Home, taken: &[TakenRow]) {
        let mut rows: Vec<(Vec<u8>, u64)> = taken.iter().filter(|row| row.in_tables).map(table_row).collect();
        rows.append(&mut home.leftover_rows);
        if !matches!(self.remove_table_rows(&rows), Ok(true)) {
            home.leftover_rows = rows;
        }
    }

    /// `false`: a `transact` is running. A checkpoint never waits for one.
    fn remove_table_rows(&self, rows: &[(Vec<u8>, u64)]) -> Result<bool, Error> {
        match self.tables.existing() {
            Some(tables) if !rows.is_empty() => tables.remove_claims(rows),
            _ => Ok(true),
        }
    }

    /// One durable catalogue commit. If it fails, the catalogue is reopened and read: if the change is there after
    /// all, the commit counts. If the disk is full, the reserve file is released and the commit repeated.
    pub(crate) fn commit_catalogue(
        &self,
        home: &mut Home,
        change: impl Fn(&mut CatalogState),
    ) -> Result<(), Error> {
        match self.try_commit_catalogue(home, &change) {
            Err(error) if error.kind() == ErrorKind::Full && self.release_reserve() => {
                let retried = self.try_commit_catalogue(home, &change);
                self.restore_reserve();
                retried
            }
            other => other,
        }
    }

    fn try_commit_catalogue(&self, home: &mut Home, change: impl Fn(&mut CatalogState)) -> Result<(), Error> {
        // A poisoned store commits nothing (hazard 17): the live table may have facts of a batch that failed. A merge
        // or a prune does not touch the journal, and would not notice without this check.
        self.poison.check()?;
        let namespaces = self.namespace_rows();
        let Some(catalog) = &mut home.catalog else {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        };
        if catalog.is_lost() {
            // The result of an earlier commit is still unknown. If it is there after all, this one replaces it: the
            // state in memory never followed it, and no file of either state was removed.
            catalog.reopen()?;
        }
        let mut next = home.state.clone();
        change(&mut next);
        next.generation = catalog.state().generation + 1;
        next.next_run = home.next_run;
        next.mark = clock_mark(self.time.mark());
        next.namespaces = namespaces;
        if let Err(error) = catalog.commit(&next)
            && catalog.reopen()? != next
        {
            // The change is known to be absent. A full disk is reported as `Full`, so that the reserve can be
            // released.
            let full = is_full(&error);
            return Err(if full {
                Error::with_source(ErrorKind::Full, "the disk is full", error)
            } else {
                error
            });
        }
        home.state = next;
        self.catalogue_generation.store(home.state.generation, Ordering::Release);
        Ok(())
    }

    pub(crate) fn namespace_rows(&self) -> Vec<NamespaceRow> {
        let spaces = self.spaces.all();
        spaces.iter().map(|space| NamespaceRow { id: space.id, bytes: space.row() }).collect()
    }

    /// Retires the segments before `first`, which the catalogue covers; two are kept for recycling.
    fn retire_segments(&self, first: u64) {
        self.upkeep.retire_before(first, |number| self.bury_file(&journal::segment_name(number)));
        // Not needed for correctness: replay never begins before the catalogue's segment.
        drop(self.storage.sync_dir(journal::JOURNAL_DIR));
    }

    /// Ends the journal of a store that closes: a checkpoint, the seal, and a catalogue commit that notes the seal.
    pub(crate) fn seal(&self) -> Result<(), Error> {
        let mut home = self.home.lock();
        if let Err(error) = self.all_owned() {
            drop(home);
            return Err(self.commit.give_up(self, &error));
        }
        home.merge = None;
        self.leave_long_segment()?;
        // A full disk must not keep the store from closing: the journal still has everything.
        let checkpointed = self.checkpoint_in(&mut home);
        if let Err(error) = &checkpointed
            && error.kind() != ErrorKind::Full
        {
            return checkpointed;
        }
        // The seal comes after all batches; the catalogue names it only once it is durable.
        self.durable_frontier()?;
        if self.commit.is_full() {
            self.prepare_segment(Class::Settlement)?;
        }
        let batch = self
            .commit
            .seal(&self.stamp())
            .map_err(|error| Error::io("the journal could not be sealed", error))?;
        self.commit_catalogue(&mut home, |state| state.sealed = Some(batch))
    }

    /// Continues in a small new segment if the current one is long: the next open reads the last segment up to its
    /// seal.
    fn leave_long_segment(&self) -> Result<(), Error> {
        if self.poison.is_set() || self.commit.with_journal(|writer| writer.used_bytes()) < LONG_SEGMENT_BYTES
        {
            return Ok(());
        }
        let bytes = self.limits.segment_bytes.min(FIRST_SEGMENT_BYTES);
        match self.prepare_segment_of(Class::Settlement, bytes) {
            Ok(_) => self.commit.rotate(self),
            // No space for it: the next open only takes a little longer.
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn close_catalogue(&self) {
        let mut home = self.home.lock();
        home.merge = None;
        if let Some(catalog) = home.catalog.take() {
            // Everything was committed durably; a clean close only saves redb a repair.
            drop(catalog.close());
        }
    }
}

fn table_row(row: &TakenRow) -> (Vec<u8>, u64) {
    (row.key.to_vec(), row.record.seq)
}

/// Whether a full disk or quota is at the root of an error.
fn is_full(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(crate) fn encoded(summary: &RunSummary) -> Vec<u8> {
    let mut out = Vec::new();
    summary.encode(&mut out);
    out
}

pub(crate) fn clock_mark(mark: Mark) -> ClockMark {
    ClockMark { store_ms: mark.store_ms, wall_ms: mark.wall_ms, boot_ms: mark.boot_ms, boot_id: mark.boot_id }
}
