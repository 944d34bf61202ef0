//! Group commit: operations queue up while a sync runs, and one caller leads the next batch.
//!
//! It rests on *one order*, beside the two rules of the [`baton`](super::baton): a sequence number is assigned, the
//! operation's bytes are queued and the live table is changed in one critical section, under the order lock. So the
//! journal has operations in the order of their sequence numbers, and batches in the order of theirs. While it writes
//! and syncs, the leader holds only the journal's lock.

use super::baton::Baton;
use super::measures::Measures;
use super::observe;
use super::order::{Pending, Room};
use super::parked_wakers::ParkedWakers;
use super::poison::Poison;
use crate::error::{Error, ErrorKind};
use crate::io::File;
use crate::journal::{BatchHead, Writer, framed_bytes};
use crate::options::Durability;
use crate::planted;
use crate::sync::{AtomicBool, AtomicU64, Event, Mutex, MutexGuard, Ordering, yield_now};
use std::task::Waker;

pub(crate) use super::order::{OP_RECORD, OP_SPACE, Order, Waits};

/// How often a leader yields before it closes its batch. In that time nearly all threads that the previous commit
/// woke queue their next operation.
const YIELDS: usize = 4;
/// A measured commit that takes this long makes the next one measured too.
const SLOW_NS: u64 = 20_000;
/// While commits are faster than that, one in so many is measured.
const TIMED_ONE_IN: u64 = 8;
/// Buffers of batches that are kept for the next ones.
const SPARE_BUFFERS: usize = 4;

#[derive(Debug)]
pub(crate) struct Commit {
    order: Mutex<Order>,
    journal: Mutex<Writer>,
    /// Whether there is a leader, and which batches are committed.
    baton: Baton,
    pub(crate) parked: ParkedWakers,
    /// Whether the last batch had more than one waiter, or others were queued when it was done. Then the next leader
    /// yields before it closes its batch.
    crowded: AtomicBool,
    /// Whether the last commit that was measured was slow.
    slow: AtomicBool,
    /// Whether the journal has its seal, after which nothing may be written. Changes under the journal's lock.
    sealed: AtomicBool,
    /// Batches up to this number are known to be synced. Under `Durability::Sync` these are the ones that may be
    /// acknowledged.
    synced: AtomicU64,
    /// Batches up to this number were written to the file system, wholly or in part. Read and written under the
    /// journal's lock.
    written: AtomicU64,
    /// Wakes the service thread: only futures wait for the front batch, so no caller would lead it.
    pub(crate) service: Event,
    pub(crate) service_wanted: AtomicBool,
    /// Journal bytes written since the store was opened.
    pub(crate) written_bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    durability: Durability,
}

/// What the engine contributes to a batch's header.
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
            parked: ParkedWakers::default(),
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

    /// Takes the order lock if the journal has room for `bytes` of operations, which then go into one batch, and
    /// for what is `kept` for others.
    /// `None`: first a segment must be prepared, or the queue drained.
    pub(crate) fn admit(
        &self,
        bytes: usize,
        kept: impl Fn() -> u64,
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
        if !order.fits(framed_bytes(bytes) as u64, kept()) {
            return Ok(None);
        }
        order.keep_together(bytes, largest, now_ms);
        Ok(Some(order))
    }

    /// The order lock without a reservation of journal room, for callers that append nothing.
    pub(crate) fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock()
    }

    /// The last batch opened so far, and the last sequence number assigned.
    pub(crate) fn frontier(&self) -> (u64, u64) {
        let order = self.order.lock();
        (order.next_batch - 1, order.last_seq())
    }

    /// Waits until `batch` is committed. Leads commits while there is no other leader.
    pub(crate) fn wait(&self, batch: u64, engine: &impl Leads) -> Result<(), Error> {
        while !self.is_committed(batch, engine)? {
            if !self.try_lead(engine) {
                self.baton.sleep(batch, || engine.poison().is_set());
            }
        }
        Ok(())
    }

    /// The same for an operation that was queued as one to be waited for [elsewhere](Waits::Elsewhere): a batch that is still queued
    /// counts this thread, which may be chosen to lead it.
    pub(crate) fn wait_after_all(&self, batch: u64, engine: &impl Leads) -> Result<(), Error> {
        if !self.is_committed(batch, engine)? {
            self.order.lock().block_on(batch);
        }
        self.wait(batch, engine)
    }

    /// Whether `batch` is committed; an error if it never will be.
    ///
    /// The poison is loaded before `reached`. Setting it releases every earlier `reach`, and this load acquires it.
    /// So a batch that was committed before the store was poisoned is never reported as indeterminate.
    fn is_committed(&self, batch: u64, engine: &impl Leads) -> Result<bool, Error> {
        let poisoned = engine.poison().check_batch(batch);
        if self.baton.reached() >= batch { Ok(true) } else { poisoned.map(|()| false) }
    }

    /// For futures: `Ok(true)` if `batch` is committed; otherwise the waker is stored, and called when it is.
    pub(crate) fn poll(&self, batch: u64, waker: &Waker, engine: &impl Leads) -> Result<bool, Error> {
        if self.is_committed(batch, engine)? {
            return Ok(true);
        }
        let left = self.order.lock().wake_with(batch, waker);
        if left {
            return self.poll_queued(batch, engine);
        }
        // Not in the queue: a leader is writing the batch, or has committed it, and took its wakers. Park this one.
        self.parked.park(batch, waker);
        if planted::active(64) {
            return Ok(false);
        }
        // Second look. A leader raises `reached`, or sets the poison, before it collects the parked wakers. So either
        // this look sees that, or the leader finds our waker.
        self.is_committed(batch, engine)
    }

    /// The same if the batch has the waker already ([`Waits::Polled`]).
    pub(crate) fn poll_queued(&self, batch: u64, engine: &impl Leads) -> Result<bool, Error> {
        if !self.baton.is_taken() {
            // A leader would find this batch when it looks at the queue after `put_down`. There is none.
            engine.nudge_service();
        }
        self.is_committed(batch, engine)
    }

    /// Whether `batch` is committed already.
    pub(crate) fn has_reached(&self, batch: u64) -> bool {
        self.baton.reached() >= batch
    }

    /// Poisons the store although no write failed: its files belong to it no longer.
    pub(crate) fn give_up(&self, engine: &impl Leads, cause: &std::io::Error) -> Error {
        // Under the journal's lock: a leader has either finished writing its batch, which `written` then includes, or
        // it will find the poison before it writes.
        let writer = self.journal.lock();
        engine.poison().set(self.written.load(Ordering::Acquire), cause);
        drop(writer);
        self.wake_all(engine);
        observe::poisoned(cause);
        engine.poison().error()
    }

    /// Leads one batch. `false`: another thread is leading.
    ///
    /// Wakers are called last, with no lock held and the baton put down: a waker may run code of the caller's that
    /// comes back here or closes the store.
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

    /// The second rule of the baton: after it was put down, look at the queue and wake a leader for what is there.
    fn hand_over(&self, engine: &impl Leads) {
        let mut front = self.order.lock().queue.front().map(|front| (front.number, front.blocking));
        if planted::active(5) {
            front = None;
        }
        match front {
            None => {}
            Some((number, blocking)) if blocking > 0 => self.baton.nudge(number),
            Some(_) => engine.nudge_service(),
        }
        // Waiters of later batches need no wake-up here: every batch before theirs gets a leader in this way, and the
        // commit of their own rings its event.
    }

    /// Commits the front batch; returns the wakers of the futures that wait for it.
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
        // If a commit only touches memory, two clock readings would be a large part of its cost.
        let timed = self.slow.load(Ordering::Relaxed) || number % TIMED_ONE_IN == 0;
        let began_ns = timed.then(|| engine.lap_ns());
        let written = self.write(&batch, &stamp, engine);
        match &written {
            // Order: first durable (in `write`), then `reached`, then the wake-ups below. A woken waiter finds
            // `reached` raised. On an error the poison takes the place of `reached`.
            Ok(true) => self.baton.reach(number),
            Ok(false) => {}
            Err(error) => engine.poison().set(number, error),
        }
        let took_ns = began_ns.map(|began_ns| engine.lap_ns().saturating_sub(began_ns));
        let mut wakers = std::mem::take(&mut batch.wakers);
        if engine.poison().is_set() {
            wakers.extend(self.end_all());
        } else {
            self.baton.ring(number);
            wakers.extend(self.parked.take(number));
        }
        // Events and statistics come after the wake-ups, so that they delay no waiter.
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

    /// The store is poisoned or closed, so all waiting ends: wakes the threads, returns the wakers of the futures.
    fn end_all(&self) -> Vec<Waker> {
        self.baton.ring_all();
        let mut order = self.order.lock();
        let mut wakers: Vec<Waker> =
            order.queue.iter_mut().flat_map(|pending| pending.wakers.drain(..)).collect();
        drop(order);
        wakers.extend(self.parked.take(u64::MAX));
        wakers
    }

    /// Writes one batch. `Ok(false)`: the store is poisoned, nothing was written.
    ///
    /// Order: write, sync, check that the names still lead to our files, acknowledge. Another process can open the
    /// store only after the name of a locked file was removed or replaced. If that happened before the check, this
    /// batch is not acknowledged. If it happened after, the batch was durable under its name before the other process
    /// could open the store, which therefore finds it.
    fn write(&self, batch: &Pending, stamp: &Stamp, engine: &impl Leads) -> std::io::Result<bool> {
        let mut writer = self.journal.lock();
        // Under the journal's lock, as in `give_up`: nothing is written once the store is poisoned.
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
            if planted::active(11) {
                result = result.or_else(|_| writer.sync());
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
        // Take the order lock while still holding the journal's: otherwise an older `room` could overwrite a newer
        // one.
        let mut order = self.order.lock();
        order.room = room_of(&writer);
        order.queued_bytes = order.queued_bytes.saturating_sub(framed);
        drop(order);
        result.map(|()| true)
    }

    /// Makes everything written so far durable; returns the last committed batch that this includes.
    pub(crate) fn sync(&self, engine: &impl Leads) -> Result<u64, Error> {
        engine.poison().check()?;
        // Read under the journal's lock: batches up to `reached` were written before, so this sync covers them.
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

    /// Wakes all waiters so that they check again: the store is closing, or poisoned.
    pub(crate) fn wake_all(&self, engine: &impl Leads) {
        self.end_all().into_iter().for_each(Waker::wake);
        engine.ring_waiters();
    }

    /// Continues in the prepared successor although the current segment is not full. Needed when the successor is too
    /// small for what is to be queued, as a larger one can only be prepared after it; and at a close that leaves a
    /// long segment for a short one.
    pub(crate) fn rotate(&self, engine: &impl Leads) -> Result<(), Error> {
        let rotated = self.with_journal(|writer| {
            // After the seal nothing is written: a caller that looked for room during the close is too late.
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

    /// The room in the current segment, if it has no successor.
    pub(crate) fn room_without_successor(&self) -> Option<u64> {
        let room = self.order.lock().room;
        room.next.is_none().then_some(room.current)
    }

    /// Bytes that wait to be written, and how many committed batches are not synced yet.
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
        // The journal's lock comes before the order lock, so release this one first. No batch can be opened in
        // between: the store is closed.
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

/// Whether the next opening will find what was written: the segment still has its name, and the store its lock.
fn check_names(writer: &Writer, engine: &impl Leads) -> std::io::Result<()> {
    writer.check_name(|name, file| engine.leads_to(name, file))?;
    engine.check_ownership()
}

fn room_of(writer: &Writer) -> Room {
    let room = writer.room();
    Room { current: room.current, next: room.next }
}

/// The services that group commit needs from the engine.
pub(crate) trait Leads {
    fn poison(&self) -> &Poison;
    fn stamp(&self) -> Stamp;
    /// Checks that no other process can have opened the store.
    fn check_ownership(&self) -> std::io::Result<()>;
    /// Whether a name still leads to this open file.
    fn leads_to(&self, name: &str, file: &dyn File) -> std::io::Result<bool>;
    fn measures(&self) -> &Measures;
    /// For measuring how long a commit takes.
    fn lap_ns(&self) -> u64;
    /// Wakes the thread that leads for futures.
    fn nudge_service(&self);
    /// Wakes the callers that wait for a holder to finish.
    fn ring_waiters(&self);
}
