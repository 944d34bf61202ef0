//! Claims that commit together with the caller's own rows, in the second redb file.
//!
//! The key is *reserved* in the live table while the closure runs: in memory only, so a crash before the
//! commit leaves nothing. Before the closure starts, every fact the reservation rests on is durable in the
//! journal. The record is written by the same redb commit as the rows; only then does it enter the live
//! table. A checkpoint copies it into a run and deletes the row afterwards; open reads what is left.

use super::claims::{Answer, Begun, Prepared, Seen};
use super::commit::{Leads, Waits};
use super::decide::{self, Decision, Ending};
use super::live::{Entry, Marks};
use super::settle::{Held, live_claim};
use super::spaces::{Keyed, Space};
use super::write::carried;
use super::{Class, Engine};
use crate::bucket::{CommitFailed, Tables, TablesWrite};
use crate::claim::{Claim, ClaimRequest};
use crate::codec::{Base, Cursor, Record};
use crate::error::{Error, ErrorKind};
use crate::io::Process;
use crate::planted;
use crate::sync::{Arc, Mutex, ThreadId, current_thread};
use crate::transact::{Transacted, Transaction};
use std::borrow::Cow;

/// The second redb file, opened at its first use.
#[derive(Debug)]
pub(crate) struct TableHome {
    tables: Mutex<State>,
    /// The thread whose closure is running: a second `transact` inside it would wait for itself.
    writer: Mutex<Option<ThreadId>>,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open(Arc<Tables>),
    Closed,
}

/// Frees the writer's place when the closure ends, also by a panic.
struct Writing<'a>(&'a TableHome, Process);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.1.is_current() {
            return;
        }
        *self.0.writer.lock() = None;
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

/// Takes a reservation back unless it was turned into a record.
struct Reservation<'a> {
    engine: &'a Engine,
    space: &'a Space,
    keyed: &'a Keyed,
    kept: bool,
}

impl TableHome {
    pub(crate) fn new(opened: Option<Tables>) -> TableHome {
        let state = opened.map_or(State::Unopened, |tables| State::Open(Arc::new(tables)));
        TableHome { tables: Mutex::new(state), writer: Mutex::default() }
    }

    /// The tables, if the file exists.
    pub(crate) fn existing(&self) -> Option<Arc<Tables>> {
        match &*self.tables.lock() {
            State::Open(tables) => Some(tables.clone()),
            State::Unopened | State::Closed => None,
        }
    }

    /// Puts the opened file in place, unless the store was closed meanwhile.
    fn install(&self, tables: Tables) -> Result<Arc<Tables>, Error> {
        let mut state = self.tables.lock();
        match &*state {
            State::Open(tables) => Ok(tables.clone()),
            State::Closed => Err(Error::new(ErrorKind::Closed, "the store was closed")),
            State::Unopened => {
                let tables = Arc::new(tables);
                *state = State::Open(tables.clone());
                Ok(tables)
            }
        }
    }

    /// Waits for the transaction that is running, if there is one.
    pub(crate) fn wait_for_writer(&self) {
        if let Some(tables) = self.existing() {
            tables.wait_for_writer();
        }
    }

    /// Gives the file up; see [`Tables::shut`].
    pub(crate) fn close(&self) {
        let before = std::mem::replace(&mut *self.tables.lock(), State::Closed);
        if let State::Open(tables) = before {
            tables.shut();
        }
    }

    /// Whether this thread is inside a closure of `transact` or `complete_in`. What waits for the upkeep lock
    /// must not be called there: whoever holds that lock may be waiting for the closure to end.
    pub(crate) fn is_writing_here(&self) -> bool {
        *self.writer.lock() == Some(current_thread())
    }

    fn start_writing(&self) -> Result<(), Error> {
        if self.is_writing_here() {
            return Err(Error::new(ErrorKind::Misuse, "a transact inside a transact would wait for itself"));
        }
        Ok(())
    }

    fn writing(&self) -> Writing<'_> {
        *self.writer.lock() = Some(current_thread());
        Writing(self, Process::current())
    }
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
    pub(crate) fn transact<F>(
        self: &Arc<Self>,
        space: &Arc<Space>,
        request: &ClaimRequest,
        work: F,
    ) -> Result<Transacted, Error>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error>,
    {
        self.check_changes()?;
        self.tables.start_writing()?;
        let _owed = OwedClose(self);
        let tables = self.tables()?;
        let policy = space.policy();
        let mut prepared = self.prepare(space, &policy, request)?;
        let (attempt, earlier, batch) = loop {
            match self.reserve(space, request, &mut prepared)? {
                Reserved::Taken { attempt, earlier, batch } => break (attempt, earlier, batch),
                Reserved::Answered(begun) => {
                    self.wait(begun.batch)?;
                    match self.deliver(space, &request.key, begun.answer)? {
                        Claim::Duplicate(receipt) => return Ok(Transacted::Duplicate(receipt)),
                        Claim::InProgress(holder) => return Ok(Transacted::InProgress(holder)),
                        // Claimable by the second look's wall clock only: give the claim back, and reserve the key.
                        Claim::Claimed(lease) => lease.release()?,
                    }
                    prepared = self.prepare(space, &policy, request)?;
                }
            }
        };
        let mut reservation = Reservation { engine: self, space, keyed: &prepared.keyed, kept: false };
        self.wait(batch)?;
        let mut write = tables.begin()?;
        let response = {
            let _writing = self.tables.writing();
            work(&Transaction::new(&write))?
        };
        let (seq, now_ms) = (self.local_seq()?, self.time.now_ms());
        let claimed = decide::claimed(earlier.as_ref(), attempt, &prepared.wanted, seq, now_ms);
        let ending = Ending::Complete(&response);
        let record = decide::settled(&claimed, &ending, prepared.policy, prepared.keyed.time_ms, seq, now_ms);
        self.stage(&mut write, &prepared.keyed, &record)?;
        Self::finish_local(&tables, write, &mut reservation, record)?;
        space.counters.granted(1, u64::from(attempt > 1));
        Ok(Transacted::Done(response))
    }

    /// Settles a claim together with rows. The claim is reserved meanwhile, so nobody takes it over.
    pub(crate) fn complete_in<F>(&self, held: &Held, work: F) -> Result<Vec<u8>, Error>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error>,
    {
        self.check_changes()?;
        self.tables.start_writing()?;
        let _owed = OwedClose(self);
        let tables = self.tables()?;
        let Held { space, keyed, token } = held;
        let (before, batch) = {
            let mut shard = self.live.shard(keyed.hash);
            live_claim(shard.find(keyed.hash, &keyed.full), *token)?;
            let Some(entry) = shard.find_mut(keyed.hash, &keyed.full) else {
                return Err(super::settle::stale());
            };
            if entry.marks.reserved {
                return Err(Error::new(ErrorKind::Misuse, "a settlement of this claim is running"));
            }
            entry.marks = entry.marks.reserved();
            (entry.known().into_owned(), entry.batch)
        };
        let mut reservation = Reservation { engine: self, space, keyed, kept: false };
        self.wait(batch)?;
        let mut write = tables.begin()?;
        let response = {
            let _writing = self.tables.writing();
            work(&Transaction::new(&write))?
        };
        let (seq, now_ms) = (self.local_seq()?, self.time.now_ms());
        let ending = Ending::Complete(&response);
        let record = decide::settled(&before, &ending, &space.policy(), keyed.time_ms, seq, now_ms);
        self.stage(&mut write, keyed, &record)?;
        Self::finish_local(&tables, write, &mut reservation, record)?;
        Ok(response)
    }

    /// Decides, and reserves the key if it is to be claimed.
    fn reserve(
        &self,
        space: &Space,
        request: &ClaimRequest,
        prepared: &mut Prepared<'_>,
    ) -> Result<Reserved, Error> {
        let keyed = prepared.keyed.clone();
        let keyed = &keyed;
        loop {
            let generation = self.cold.generation();
            let cold = self.cold.lookup(&keyed.full, keyed.hash)?.map(|found| found.record);
            // Parking or failing an orphan appends; a reservation does not.
            let bytes = super::claims::request_bytes(request, self.known_bytes(keyed, cold.as_ref()));
            let mut order = self.admit(bytes, Class::Claim)?;
            let mut shard = self.live.shard(keyed.hash);
            let entry = shard.find(keyed.hash, &keyed.full);
            if entry.is_none() && self.cold.generation() != generation {
                continue;
            }
            let cold = cold.filter(|_| entry.is_none());
            let at = self.time.moment();
            let Decision::Claim { attempt } = self.decide(space, prepared, entry, cold.as_ref(), at) else {
                let seen = Seen { cold: cold.as_ref(), generation };
                let begun =
                    self.decide_and_apply(&mut order, &mut shard, space, prepared, seen, at, Waits::Here);
                match begun {
                    Some(begun) => {
                        space.counters.claimed([&begun.answer]);
                        return Ok(Reserved::Answered(begun));
                    }
                    None => continue,
                }
            };
            let earlier = shard.known(keyed.hash, entry, cold.as_ref()).map(Cow::into_owned);
            if let Err(error) = self.check_new_claim(space, prepared, earlier.is_none()) {
                return Ok(Reserved::Answered(Begun { batch: 0, answer: Answer::Refused(error) }));
            }
            let batch = if let Some(entry) = shard.find_mut(keyed.hash, &keyed.full) {
                entry.marks = entry.marks.reserved();
                entry.batch
            } else {
                let marks = Marks { placeholder: true, ..carried(None, cold.is_some()).reserved() };
                let entry = Entry { marks, ..Entry::new(Record::erased(0), 0, 0) };
                self.put_entry(&order, &mut shard, space, keyed, entry);
                0
            };
            return Ok(Reserved::Taken { attempt, earlier, batch });
        }
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

enum Reserved {
    Answered(Begun),
    Taken { attempt: u32, earlier: Option<Record>, batch: u64 },
}

impl Reservation<'_> {
    /// The record is durable: it takes the place of the reservation.
    fn keep(&mut self, record: Record) {
        self.kept = true;
        let Reservation { engine, space, keyed, .. } = self;
        space.counters.settled(record.state);
        {
            let order = engine.commit.order();
            let mut shard = engine.live.shard(keyed.hash);
            let marks = Marks { in_tables: true, ..carried(shard.find(keyed.hash, &keyed.full), false) };
            let entry = Entry { marks, ..Entry::new(record, 0, 0) };
            engine.put_entry(&order, &mut shard, space, keyed, entry);
        }
        engine.waiters.ring(keyed.hash);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.kept || !self.engine.is_here() {
            return;
        }
        let Reservation { engine, space, keyed, .. } = self;
        {
            let mut shard = engine.live.shard(keyed.hash);
            let Some(entry) = shard.find_mut(keyed.hash, &keyed.full) else { return };
            entry.marks.reserved = false;
            if entry.marks.placeholder
                && let Some(old) = engine.live.remove(&mut shard, keyed.hash, &keyed.full)
            {
                // What was never claimed takes no part of a quota.
                if !planted::active(70) {
                    space.usage.left(1, (keyed.full.len() + old.record.body.len()) as u64);
                }
            }
        }
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
