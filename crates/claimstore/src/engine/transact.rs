//! Claims that commit together with the caller's own rows, in the second redb file.
//!
//! The key is *reserved* in the live table while the closure runs: in memory only, so a crash before the
//! commit leaves nothing. Before the closure starts, every fact the reservation rests on is durable in the
//! journal. The record is written by the same redb commit as the rows; only then does it enter the live
//! table. A checkpoint copies it into a run and deletes the row afterwards; open reads what is left.

use super::claims::{Prepared, Unclaimed, request_bytes};
use super::commit::{Leads, Waits};
use super::decide::{self, Ending};
use super::held::Held;
use super::judge::Reserved;
use super::spaces::{Keyed, Space};
use super::write::{Standing, Turn, until_current};
use super::{Class, Engine};
use crate::bucket::{CommitFailed, Tables, TablesWrite};
use crate::claim::ClaimRequest;
use crate::codec::{Base, Cursor, Record};
use crate::error::{Error, ErrorKind};
use crate::sync::Arc;

/// A panic unwinds through the claim as it would through a lease.
struct AbandonedByPanic<'a> {
    engine: &'a Engine,
    held: &'a Held,
}

impl Drop for AbandonedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.engine.abandon(self.held);
        }
    }
}

/// Closes the store after a closure that dropped its last handle. Declared first, so that it comes last.
struct OwedClose<'a>(&'a Engine);

impl Drop for OwedClose<'_> {
    fn drop(&mut self) {
        if self.0.is_here() {
            self.0.close_if_owed();
        }
    }
}

/// The outcome of a `transact`.
#[derive(Debug)]
pub(crate) enum Ran {
    /// The closure ran; its rows and its response are durable, together.
    Done(Vec<u8>),
    /// Nothing ran.
    Answered(Unclaimed),
}

/// Takes a reservation back unless it was turned into a record.
struct Reservation<'a> {
    engine: &'a Engine,
    space: &'a Space,
    keyed: &'a Keyed,
    kept: bool,
}

impl Engine {
    pub(crate) fn tables(&self) -> Result<Arc<Tables>, Error> {
        self.check_open()?;
        if let Some(tables) = self.tables.existing() {
            return Ok(tables);
        }
        // The catalogue says that the file must be there before anything in it can be acknowledged: its loss
        // would else pass for a store that never used it.
        let mut home = self.home.lock();
        if let Some(tables) = self.tables.existing() {
            return Ok(tables);
        }
        if let Err(error) = self.all_owned() {
            drop(home);
            return Err(self.commit.give_up(self, &error));
        }
        let tables = Tables::open_or_create(&self.storage, self.store_id, self.limits.cache_bytes / 4)?;
        if !home.state.has_tables {
            self.commit_catalogue(&mut home, |state| state.has_tables = true)?;
        }
        self.tables.install(tables)
    }

    /// One commit for claim, rows and result.
    pub(crate) fn transact<F>(&self, space: &Space, request: &ClaimRequest, work: F) -> Result<Ran, Error>
    where
        F: FnOnce(&TablesWrite<'_>) -> Result<Vec<u8>, Error>,
    {
        self.check_changes()?;
        self.tables.start_writing()?;
        let _owed = OwedClose(self);
        let tables = self.tables()?;
        let policy = space.policy();
        let prepared = self.prepare(space, &policy, request)?;
        let (batch, reserved) = self.reserve(space, request, &prepared)?;
        let (attempt, earlier, orphaned) = match reserved {
            Reserved::Taken { attempt, earlier, orphaned } => (attempt, earlier, orphaned),
            Reserved::Answered(answer) => {
                self.wait(batch)?;
                Self::count_unclaimed(space, answer.as_ref());
                return answer.map(Ran::Answered);
            }
        };
        let mut reservation = Reservation { engine: self, space, keyed: &prepared.keyed, kept: false };
        self.wait(batch)?;
        let mut write = tables.begin()?;
        let response = {
            let _writing = self.tables.writing();
            work(&write)?
        };
        let (seq, now_ms) = (self.local_seq()?, self.time.now_ms());
        let claimed = decide::claimed(earlier.as_ref(), orphaned, attempt, &prepared.wanted, seq, now_ms);
        let ending = Ending::Complete(&response);
        let record = decide::settled(&claimed, &ending, prepared.policy, prepared.keyed.time_ms, seq, now_ms);
        self.stage(&mut write, &prepared.keyed, &record)?;
        Self::finish_local(&tables, write, &mut reservation, record)?;
        space.counters.granted(1, u64::from(attempt > 1));
        Ok(Ran::Done(response))
    }

    /// Settles a claim together with rows. The claim is reserved meanwhile, so nobody takes it over.
    pub(crate) fn complete_in<F>(&self, held: &Held, work: F) -> Result<Vec<u8>, Error>
    where
        F: FnOnce(&TablesWrite<'_>) -> Result<Vec<u8>, Error>,
    {
        self.check_changes()?;
        self.tables.start_writing()?;
        let _owed = OwedClose(self);
        // Dropped before the store may close: the close must find that it was a panic.
        let _abandoned = AbandonedByPanic { engine: self, held };
        let tables = self.tables()?;
        let Held { space, keyed, .. } = held;
        let (before, batch) = self.reserve_held(held)?;
        let mut reservation = Reservation { engine: self, space, keyed, kept: false };
        self.wait(batch)?;
        let mut write = tables.begin()?;
        let response = {
            let _writing = self.tables.writing();
            work(&write)?
        };
        let (seq, now_ms) = (self.local_seq()?, self.time.now_ms());
        let ending = Ending::Complete(&response);
        let record = decide::settled(&before, &ending, &space.policy(), keyed.time_ms, seq, now_ms);
        self.stage(&mut write, keyed, &record)?;
        Self::finish_local(&tables, write, &mut reservation, record)?;
        Ok(response)
    }

    /// Decides, and reserves the key if it is to be claimed. Answers the batch to wait for.
    fn reserve(
        &self,
        space: &Space,
        request: &ClaimRequest,
        prepared: &Prepared<'_>,
    ) -> Result<(u64, Reserved), Error> {
        let keyed = &prepared.keyed;
        until_current(
            || self.look(keyed),
            |looked| {
                // Parking or failing an orphan appends; a reservation does not.
                let known = self.known_bytes(keyed, looked.found.as_ref());
                let mut order = self.admit(request_bytes(request, known), Class::Claims(1))?;
                let mut turn = Turn { order: &mut order, at: self.time.moment(), waits: Waits::Here };
                let judge = |standing: Standing<'_>| self.judge_reservation(space, prepared, standing);
                match self.write_in_turn(&mut turn, &prepared.change(space), looked.seen(), judge) {
                    Ok(done) => Ok(done.map(|done| {
                        if let (true, Reserved::Answered(answer)) = (done.ended, &done.answer) {
                            space.counters.ended_by_claim(answer.as_ref());
                        }
                        (done.batch, done.answer)
                    })),
                    Err(refused) => Ok(Some((0, Reserved::Answered(Err(refused))))),
                }
            },
        )
    }

    /// A sequence number for a record that goes past the journal.
    fn local_seq(&self) -> Result<u64, Error> {
        self.check_open()?;
        Ok(self.commit.order().take_seq())
    }

    fn stage(&self, write: &mut TablesWrite<'_>, keyed: &Keyed, record: &Record) -> Result<(), Error> {
        if record.body.len() > self.limits.response_bytes {
            return Err(Error::new(ErrorKind::TooLarge, "the response is too large"));
        }
        let mut bytes = Vec::new();
        record.encode(&Base::default(), &mut bytes);
        write.put_claim(&keyed.full, record.seq, &bytes)
    }

    /// Commits, then shows the record.
    fn finish_local(
        tables: &Tables,
        write: TablesWrite<'_>,
        reservation: &mut Reservation<'_>,
        record: Record,
    ) -> Result<(), Error> {
        match write.commit() {
            Ok(()) => {
                // As for a batch: durable, looked whether the files are still the store's, answered.
                if let Err(error) = reservation.engine.check_ownership() {
                    reservation.kept = true;
                    drop(reservation.engine.commit.give_up(reservation.engine, &error));
                    return Err(Error::with_source(
                        ErrorKind::Indeterminate,
                        "a commit failed half-way",
                        error,
                    ));
                }
                reservation.keep(record);
                Ok(())
            }
            Err(CommitFailed::Absent(error)) => Err(error),
            Err(failed @ CommitFailed::Unknown(_)) => {
                // The file is reopened here and asked. If even that fails, the key stays reserved until the
                // store is reopened: an answer now could be wrong either way.
                match tables.claim(&reservation.keyed.full) {
                    Ok(Some((seq, _))) if seq == record.seq => reservation.keep(record),
                    Ok(_) => {}
                    Err(_) => reservation.kept = true,
                }
                Err(failed.into())
            }
        }
    }
}

impl Reservation<'_> {
    /// The record is durable: it takes the place of the reservation.
    fn keep(&mut self, record: Record) {
        self.kept = true;
        let Reservation { engine, space, keyed, .. } = self;
        space.counters.settled(record.state);
        engine.show_durable(space, keyed, record);
        engine.waiters.ring(keyed.hash);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.kept || !self.engine.is_here() {
            return;
        }
        let Reservation { engine, space, keyed, .. } = self;
        engine.unreserve(space, keyed);
        engine.waiters.ring(keyed.hash);
    }
}

/// Reads a claim row of the tables as [`Engine::stage`] wrote it.
pub(crate) fn read_claim_row(bytes: &[u8]) -> Result<Record, Error> {
    let mut cursor = Cursor::new(bytes);
    Record::decode(&mut cursor, &Base::default())
        .and_then(|record| cursor.finish("claim row").map(|()| record))
        .map_err(|_| Error::corrupt("a claim row of the tables cannot be read"))
}
