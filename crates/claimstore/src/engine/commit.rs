//! Group commit: operations queue up while a sync runs, and one caller leads the next batch.
//!
//! *One order* carries it, beside the two rules of the [`baton`](super::baton): a sequence number is given, and
//! the operation's bytes are queued, under the order lock, together with the change of the live table. So the
//! journal holds operations in the order of their numbers, and batches in the order of theirs. The leader holds
//! no lock but the journal's own while it writes and syncs.

use super::baton::Baton;
use super::measures::Measures;
use super::observe;
use super::order::{Pending, Room};
use super::poison::Poison;
use crate::error::{Error, ErrorKind};
use crate::io::File;
use crate::journal::{BatchHead, Writer, framed_bytes};
use crate::options::Durability;
use crate::planted;
use crate::sync::{AtomicBool, AtomicU64, Event, Mutex, MutexGuard, Ordering, yield_now};
use std::task::Waker;

pub(crate) use super::order::{OP_RECORD, OP_SPACE, Order, Waits};

/// How often a leader gives way before it closes its batch: collects nearly everybody who was just woken by the
/// batch before.
const YIELDS: usize = 4;
/// A commit that takes this long is always measured, and so is the one after it.
const SLOW_NS: u64 = 20_000;
/// Of faster commits, one in so many is measured.
const TIMED_ONE_IN: u64 = 8;
/// Buffers of batches that are kept for the next ones.
const SPARE_BUFFERS: usize = 4;

#[derive(Debug)]
pub(crate) struct Commit {
    order: Mutex<Order>,
    journal: Mutex<Writer>,
    /// Who leads, and which batches may be answered.
    baton: Baton,
    /// Whether the last batch had more than one to wake, or left others behind it.
    crowded: AtomicBool,
    /// Whether the last commit that was measured was slow.
    slow: AtomicBool,
    /// Whether the journal has its seal: nothing may follow it. Changes under the journal's lock.
    sealed: AtomicBool,
    /// Batches up to this number are known to be synced. Under `Durability::Sync` those that may be answered.
    synced: AtomicU64,
    /// Batches up to this number have been handed to the file system, wholly or in part.
    written: AtomicU64,
    /// Rung when a batch has nobody who could lead it.
    pub(crate) service: Event,
    pub(crate) service_wanted: AtomicBool,
    /// Journal bytes written since the store was opened.
    pub(crate) written_bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    durability: Durability,
}

/// What the leader asks of the rest of the engine for a batch's header.
pub(crate) struct Stamp {
    pub(crate) mark_ms: u64,
    pub(crate) generation: u64,
}

impl Commit {
    pub(crate) fn new(writer: Writer, life: u64, last_batch: u64, durability: Durability) -> Commit {
        let room = room_of(&writer);
        Commit {
            order: Mutex::new(Order::new(life, last_batch, room)),
            journal: Mutex::new(writer),
            baton: Baton::new(last_batch),
            crowded: AtomicBool::new(false),
            slow: AtomicBool::new(true),
            sealed: AtomicBool::new(false),
            synced: AtomicU64::new(last_batch),
            written: AtomicU64::new(last_batch),
            service: Event::default(),
            service_wanted: AtomicBool::new(false),
            written_bytes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            durability,
        }
    }

    /// Takes the order lock if `bytes` of operations have room in the journal, keeping them in one batch.
    /// `None`: a segment must be prepared, or the queue drained, first.
    pub(crate) fn admit(
        &self,
        bytes: usize,
        reserve: u64,
        largest: u64,
        now_ms: u64,
    ) -> Result<Option<MutexGuard<'_, Order>>, Error> {
        let mut order = self.order.lock();
        if order.next_seq + crate::options::MAX_BATCH_ITEMS as u64 >= order.last_seq_of_life {
            return Err(Error::new(
                ErrorKind::Full,
                "the sequence numbers of this life are used up; reopen the store",
            ));
        }
        if !order.fits(framed_bytes(bytes) as u64, reserve) {
            return Ok(None);
        }
        order.keep_together(bytes, largest, now_ms);
        Ok(Some(order))
    }

    /// The order lock without a claim to journal room: for those who append nothing.
    pub(crate) fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock()
    }

    /// The last batch opened so far, and the last sequence number given.
    pub(crate) fn frontier(&self) -> (u64, u64) {
        let order = self.order.lock();
        (order.next_batch - 1, order.last_seq())
    }

    /// Waits until `batch` is committed, leading commits if nobody else does.
    pub(crate) fn wait(&self, batch: u64, engine: &impl Leads) -> Result<(), Error> {
        while !self.is_committed(batch, engine)? {
            if !self.try_lead(engine) {
                self.baton.sleep(batch, || engine.poison().is_set());
            }
        }
        Ok(())
    }

    /// Whether `batch` may be answered; an error when it never will be.
    ///
    /// The poison is read first: whatever was reached before it was set is then seen to be reached, and nobody hears
    /// "indeterminate" of what is known to be done.
    fn is_committed(&self, batch: u64, engine: &impl Leads) -> Result<bool, Error> {
        let poisoned = engine.poison().check_batch(batch);
        if self.baton.reached() >= batch { Ok(true) } else { poisoned.map(|()| false) }
    }

    /// For futures: `Ok(true)` when committed, else the waker is left with the batch.
    pub(crate) fn poll(&self, batch: u64, waker: &Waker, engine: &impl Leads) -> Result<bool, Error> {
        if self.is_committed(batch, engine)? {
            return Ok(true);
        }
        let left = self.order.lock().wake_with(batch, waker);
        if left {
            return self.poll_queued(batch, engine);
        }
        // The batch is being written: its leader took the wakers with it. Ask to be woken after it.
        engine.park_waker(batch, waker);
        if planted::active(64) {
            return Ok(false);
        }
        // Both are set before the wakers are taken: they are seen here, or the waker there.
        self.is_committed(batch, engine)
    }

    /// The same when the batch has the waker already ([`Waits::Polled`]).
    pub(crate) fn poll_queued(&self, batch: u64, engine: &impl Leads) -> Result<bool, Error> {
        if !self.baton.is_taken() {
            // Whoever leads now looks at the queue when it is done, and finds this batch.
            engine.nudge_service();
        }
        self.is_committed(batch, engine)
    }

    /// Whether `batch` may be answered already.
    pub(crate) fn has_reached(&self, batch: u64) -> bool {
        self.baton.reached() >= batch
    }

    /// Poisons the store although nothing was written: its files are not its own any more.
    pub(crate) fn give_up(&self, engine: &impl Leads, cause: &std::io::Error) -> Error {
        // Under the journal's lock: a leader either is done with its batch, which then counts as written, or finds the
        // poison before it writes.
        let writer = self.journal.lock();
        engine.poison().set(self.written.load(Ordering::Acquire), cause);
        drop(writer);
        self.wake_all(engine);
        observe::poisoned(cause);
        engine.poison().error()
    }

    /// Leads one batch if nobody is leading. False: somebody is.
    ///
    /// Futures are woken when everything else is done: a waker may run code of the caller's that comes back
    /// here, or that closes the store.
    pub(crate) fn try_lead(&self, engine: &impl Leads) -> bool {
        if !self.baton.take() {
            return false;
        }
        let wakers = self.lead(engine);
        self.baton.put_down();
        self.hand_over(engine);
        wakers.into_iter().for_each(Waker::wake);
        if engine.poison().is_set() {
            engine.ring_waiters();
        }
        true
    }

    /// The second rule of the baton: looks at the queue *after* it was put down.
    fn hand_over(&self, engine: &impl Leads) {
        let front = self.order.lock().queue.front().map(|front| (front.number, front.blocking));
        match front {
            None => {}
            Some(_) if planted::active(5) => {}
            Some((number, blocking)) if blocking > 0 => self.baton.nudge(number),
            Some(_) => engine.nudge_service(),
        }
        // A waiter for a batch that is not the front (it rests on an older answer) re-checks on its own.
    }

    /// Commits the front batch; answers the wakers of those who wait for it in futures.
    fn lead(&self, engine: &impl Leads) -> Vec<Waker> {
        if self.crowded.load(Ordering::Relaxed) {
            for _ in 0..YIELDS {
                yield_now();
            }
        }
        let Some(mut batch) = self.order.lock().queue.pop_front() else { return Vec::new() };
        let callers = batch.blocking as usize + batch.wakers.len();
        let number = batch.number;
        let stamp = engine.stamp();
        // Where a commit is a matter of memory, reading the clock twice would be a good part of it.
        let timed = self.slow.load(Ordering::Relaxed) || number % TIMED_ONE_IN == 0;
        let began_ns = timed.then(|| engine.lap_ns());
        let written = self.write(&batch, &stamp, engine);
        match &written {
            // Ordering: durable first (inside `write`), then answerable, then the bells.
            Ok(true) => self.baton.reach(number),
            Ok(false) => {}
            Err(error) => engine.poison().set(number, error),
        }
        let took_ns = began_ns.map(|began_ns| engine.lap_ns().saturating_sub(began_ns));
        let mut wakers = std::mem::take(&mut batch.wakers);
        if engine.poison().is_set() {
            wakers.extend(self.end_all(engine));
        } else {
            self.baton.ring(number);
            wakers.extend(engine.parked_wakers(number));
        }
        // After the bells: nobody waits for what is only told or counted.
        if let Err(error) = &written {
            observe::poisoned(error);
        }
        if let Some(took_ns) = took_ns {
            engine.measures().commit_us.record(took_ns / 1_000);
            self.slow.store(took_ns >= SLOW_NS, Ordering::Relaxed);
        }
        engine.measures().commit_ops.record(u64::from(batch.ops));
        batch.payload.clear();
        let mut order = self.order.lock();
        self.crowded.store(callers > 1 || !order.queue.is_empty(), Ordering::Relaxed);
        if order.spare.len() < SPARE_BUFFERS && batch.payload.capacity() <= 8 << 20 {
            order.spare.push(batch.payload);
        }
        wakers
    }

    /// The store is poisoned or closed: nobody may go on waiting. Wakes the threads, answers the wakers.
    fn end_all(&self, engine: &impl Leads) -> Vec<Waker> {
        self.baton.ring_all();
        let mut order = self.order.lock();
        let mut wakers: Vec<Waker> =
            order.queue.iter_mut().flat_map(|pending| pending.wakers.drain(..)).collect();
        drop(order);
        wakers.extend(engine.parked_wakers(u64::MAX));
        wakers
    }

    /// `Ok(false)`: the store is poisoned, nothing was written.
    ///
    /// Ordering: written, synced, looked whether the files are still where their names are, answerable. Another owner
    /// can come in only after a name of a locked file was taken away. If that was before the look, this batch is not
    /// answered; if it was after, the batch was durable under its name before anybody else could open the store, and is
    /// found there.
    fn write(&self, batch: &Pending, stamp: &Stamp, engine: &impl Leads) -> std::io::Result<bool> {
        let mut writer = self.journal.lock();
        if engine.poison().is_set() {
            return Ok(false);
        }
        let head = BatchHead {
            batch: batch.number,
            durable: self.synced.load(Ordering::Acquire),
            mark_ms: stamp.mark_ms,
            generation: stamp.generation,
            first_seq: batch.first_seq,
            last_seq: batch.last_seq,
            ops: batch.ops,
        };
        self.written.store(batch.number, Ordering::Release);
        let mut result = writer.append(&head, &batch.payload);
        if planted::active(1) {
            // Acknowledged now, synced with the next batch.
            self.synced.store(batch.number, Ordering::Release);
        } else if result.is_ok() && self.durability == Durability::Sync {
            result = writer.sync();
            if planted::active(11) && result.is_err() {
                result = writer.sync();
            }
            result = result.and_then(|()| check_names(&writer, engine));
            if result.is_ok() {
                self.synced.store(batch.number, Ordering::Release);
            }
        } else if result.is_ok() {
            result = check_names(&writer, engine);
        }
        let framed = framed_bytes(batch.payload.len()) as u64;
        self.written_bytes.fetch_add(framed, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        // Still under the journal lock, so that an older reading never overwrites a newer one.
        let mut order = self.order.lock();
        order.room = room_of(&writer);
        order.queued_bytes = order.queued_bytes.saturating_sub(framed);
        drop(order);
        result.map(|()| true)
    }

    /// Makes everything written so far durable; answers the batch it reaches.
    pub(crate) fn sync(&self, engine: &impl Leads) -> Result<u64, Error> {
        engine.poison().check()?;
        let mut writer = self.journal.lock();
        let reached = self.baton.reached();
        if self.synced.load(Ordering::Acquire) >= reached {
            return Ok(reached);
        }
        if let Err(error) = writer.sync().and_then(|()| check_names(&writer, engine)) {
            engine.poison().set(self.written.load(Ordering::Acquire), &error);
            drop(writer);
            self.wake_all(engine);
            observe::poisoned(&error);
            return Err(engine.poison().error());
        }
        self.synced.fetch_max(reached, Ordering::AcqRel);
        Ok(reached)
    }

    /// Whether everything up to `batch` is synced.
    pub(crate) fn is_synced(&self, batch: u64) -> bool {
        self.synced.load(Ordering::Acquire) >= batch
    }

    /// Works on the journal between batches.
    pub(crate) fn with_journal<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        let mut writer = self.journal.lock();
        let answer = work(&mut writer);
        self.order.lock().room = room_of(&writer);
        answer
    }

    /// Wakes everybody to look again: the store is closing, or poisoned.
    pub(crate) fn wake_all(&self, engine: &impl Leads) {
        self.end_all(engine).into_iter().for_each(Waker::wake);
        engine.ring_waiters();
    }

    /// Goes on into the prepared successor although the current segment is not full: for a successor that is
    /// too small for what is to come.
    pub(crate) fn rotate(&self, engine: &impl Leads) -> Result<(), Error> {
        let rotated = self.with_journal(|writer| {
            // A caller who looked for room while the store was closing comes too late.
            let set =
                |error: &std::io::Error| engine.poison().set(self.written.load(Ordering::Acquire), error);
            (!self.sealed.load(Ordering::Relaxed)).then(|| writer.rotate().inspect_err(set))
        });
        let Some(rotated) = rotated else {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        };
        rotated.map_err(|error| {
            self.wake_all(engine);
            observe::poisoned(&error);
            engine.poison().error()
        })
    }

    /// Whether a seal needs a further segment.
    pub(crate) fn is_full(&self) -> bool {
        self.order.lock().room.current == 0
    }

    /// Whether it is time to prepare the successor of the current segment.
    pub(crate) fn wants_segment(&self, segment_bytes: u64) -> bool {
        let room = self.order.lock().room;
        room.next.is_none() && room.current < segment_bytes / 4 * 3
    }

    /// Bytes that wait to be written, and how many batches may be answered without having been synced.
    pub(crate) fn lag(&self) -> (u64, u64) {
        let queued_bytes = self.order.lock().queued_bytes;
        let unsynced = self.baton.reached().saturating_sub(self.synced.load(Ordering::Acquire));
        (queued_bytes, unsynced)
    }

    /// How many batches wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.order.lock().queue.len()
    }

    pub(crate) fn is_queue_empty(&self) -> bool {
        self.order.lock().queue.is_empty()
    }

    /// The header of a seal: the next batch number, no operations.
    pub(crate) fn seal(&self, stamp: &Stamp) -> std::io::Result<u64> {
        let mut order = self.order.lock();
        let batch = order.next_batch;
        order.next_batch += 1;
        let last_seq = order.last_seq();
        drop(order);
        let head = BatchHead {
            batch,
            durable: self.synced.load(Ordering::Acquire),
            mark_ms: stamp.mark_ms,
            generation: stamp.generation,
            first_seq: last_seq,
            last_seq,
            ops: 0,
        };
        let mut writer = self.journal.lock();
        writer.seal(&head)?;
        self.sealed.store(true, Ordering::Relaxed);
        Ok(batch)
    }
}

/// Whether what was written can be found again: the segment still has a name, and the store its lock.
fn check_names(writer: &Writer, engine: &impl Leads) -> std::io::Result<()> {
    writer.check_name(|name, file| engine.leads_to(name, file))?;
    engine.check_ownership()
}

fn room_of(writer: &Writer) -> Room {
    let room = writer.room();
    Room { current: room.current, next: room.next }
}

/// What group commit needs from the engine around it.
pub(crate) trait Leads {
    fn poison(&self) -> &Poison;
    fn stamp(&self) -> Stamp;
    /// Whether nobody else can have opened the store.
    fn check_ownership(&self) -> std::io::Result<()>;
    /// Whether a name leads to an open file of the store.
    fn leads_to(&self, name: &str, file: &dyn File) -> std::io::Result<bool>;
    fn measures(&self) -> &Measures;
    /// For measuring how long a commit takes.
    fn lap_ns(&self) -> u64;
    /// Wakes the thread that leads for futures.
    fn nudge_service(&self);
    /// Keeps a waker for a batch that is being written.
    fn park_waker(&self, batch: u64, waker: &Waker);
    /// Takes back the wakers kept for batches up to `batch`.
    fn parked_wakers(&self, batch: u64) -> Vec<Waker>;
    /// Wakes those who wait for a key to change hands.
    fn ring_waiters(&self);
}
