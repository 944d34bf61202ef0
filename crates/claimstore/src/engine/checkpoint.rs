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

use super::home::{Home, encoded};
use super::moving::{Going, Groups, NEAR_AT_ONCE, Taken, TakenRow};
use super::{Engine, observe, reserve, spans};
use crate::bucket::{BucketId, RunSummary, RunWriter};
use crate::codec::{Record, State};
use crate::error::{Error, ErrorKind};
use crate::journal;
use crate::options::Durability;
use crate::planted;
use crate::sync::Ordering;

impl Engine {
    /// Moves everything durable and resolved into runs.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        let mut home = self.upkeep_lock()?;
        self.checkpoint_in(&mut home)
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
        self.segments.note_checkpoint(before_bytes);
        reserve::restore(&self.storage);
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
        let mut rests_on_durable = true;
        if planted::active(25) {
            rests_on_durable = false;
        }
        if rests_on_durable {
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

    /// Retires the segments before `first`, which the catalogue covers; two are kept for recycling.
    fn retire_segments(&self, first: u64) {
        self.segments.retire_before(first, |number| self.graves.bury_file(&journal::segment_name(number)));
        // Not needed for correctness: replay never begins before the catalogue's segment.
        drop(self.storage.sync_dir(journal::JOURNAL_DIR));
    }
}

fn table_row(row: &TakenRow) -> (Vec<u8>, u64) {
    (row.key.to_vec(), row.record.seq)
}
