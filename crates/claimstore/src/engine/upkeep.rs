//! What runs by itself: segments prepared ahead, checkpoints, merges, prunes; and the thread that leads for
//! futures.
//!
//! Two threads at most. Each slice of upkeep is short, so that nobody who waits for the upkeep lock waits
//! long, and none of them holds a lock that claims need across a write.

use super::checkpoint::{Home, Merging, encoded};
use super::commit::Leads;
use super::tasks::Tasks;
use super::{Class, Engine, observe, spans};
use crate::bucket::{self, Merger, RunSummary, Step};
use crate::codec::Cursor;
use crate::error::{Error, ErrorKind};
use crate::io::OpenMode;
use crate::journal;
use crate::options::Durability;
use crate::planted;
use crate::sync::{
    Arc, AtomicBool, AtomicU64, Event, JoinHandle, Mutex, MutexGuard, Ordering, Tally, current_thread, spawn,
};
use std::collections::{BinaryHeap, VecDeque};
use std::task::Waker;
use std::time::Duration;

/// How often upkeep looks around when nobody asks.
const TICK: Duration = Duration::from_millis(250);
/// Memory of checkpointed records for which a merge may handle one row in a slice: 8,192 rows by default, and
/// fewer in stores that are kept small.
const BYTES_PER_SLICE_ROW: usize = 8_192;
/// Retired segments kept for recycling: writing over written blocks is cheaper than new ones.
const SPARE_SEGMENTS: usize = 2;
/// Space kept back for the catalogue commit of a prune on a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
const RESERVE_FILE: &str = "reserve";

/// State of upkeep that is not under the upkeep lock.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    wanted: AtomicBool,
    bell: Event,
    stop: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Whether the thread that leads commits for futures has been started.
    serving: AtomicBool,
    /// Whether the upkeep thread has been started: at open, or for a task.
    working: AtomicBool,
    pub(crate) tasks: Tasks,
    segments: Mutex<Segments>,
    /// The bytes of all segments in use, to be read without waiting for one being made.
    segment_bytes: Tally,
    timers: Mutex<BinaryHeap<Timer>>,
    /// Journal bytes written when the last checkpoint began.
    checkpointed_at_bytes: AtomicU64,
    /// The journal is at its limit.
    checkpoint_wanted: AtomicBool,
}

/// Which journal segments exist.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// The oldest one that replay may need.
    oldest: u64,
    /// The bytes of that one and of those behind it, the prepared one included: they may differ, as an opening
    /// with other limits goes on in what it finds.
    capacities: VecDeque<u64>,
    /// Numbers of files that may be written over.
    spare: Vec<u64>,
    /// The store is closed: no file is touched any more.
    closed: bool,
}

/// A future that wants to be polled at a time, earliest first.
#[derive(Debug)]
struct Timer {
    due_boot_ms: u64,
    waker: Waker,
}

/// What a prune did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Records that were dropped, tombstones included.
    pub records: u64,
    /// Run files that were dropped.
    pub runs: u64,
    /// Bytes that were given back to the file system.
    pub bytes: u64,
}

impl Pruned {
    /// With one more run.
    fn and(self, run: &RunSummary) -> Pruned {
        Pruned { records: self.records + run.rows, runs: self.runs + 1, bytes: self.bytes + run.bytes }
    }
}

impl Upkeep {
    /// Asks the upkeep thread to look around now.
    pub(crate) fn ask(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.bell.signal_all();
        }
    }

    /// At open: what was found.
    pub(crate) fn adopt_segments(&self, found: Segments) {
        self.segment_bytes.store(found.capacities.iter().sum(), Ordering::Relaxed);
        *self.segments.lock() = found;
    }

    /// Segments before `first` are no longer needed; those beyond the spares are removed.
    pub(crate) fn retire_before(&self, first: u64, remove: impl Fn(u64) -> std::io::Result<()>) {
        let mut segments = self.segments.lock();
        let retired: Vec<u64> = (segments.oldest..first).collect();
        segments.oldest = segments.oldest.max(first);
        for number in retired {
            segments.capacities.pop_front();
            if segments.spare.len() < SPARE_SEGMENTS {
                segments.spare.push(number);
            } else {
                // A file that stays is outside the chain, and is removed or recycled at the next open.
                drop(remove(number));
            }
        }
        self.segment_bytes.store(segments.capacities.iter().sum(), Ordering::Relaxed);
    }

    /// Wakes `waker` at about `due_boot_ms`.
    pub(crate) fn wake_at(&self, due_boot_ms: u64, waker: &Waker) {
        self.timers.lock().push(Timer { due_boot_ms, waker: waker.clone() });
    }

    /// How many futures want to be polled at a time.
    pub(crate) fn timers(&self) -> usize {
        self.timers.lock().len()
    }

    /// How many retired segments are kept for recycling.
    pub(crate) fn spare_segments(&self) -> usize {
        self.segments.lock().spare.len()
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl Segments {
    /// `capacities` are those of `oldest` and the segments behind it; `spare` are files that may be recycled.
    pub(crate) fn in_use(oldest: u64, capacities: impl Into<VecDeque<u64>>, spare: Vec<u64>) -> Segments {
        Segments { oldest, capacities: capacities.into(), spare, closed: false }
    }

    fn bytes(&self) -> u64 {
        self.capacities.iter().sum()
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.due_boot_ms == other.due_boot_ms
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        other.due_boot_ms.cmp(&self.due_boot_ms)
    }
}

/// Threads.
impl Engine {
    /// Starts the upkeep thread, and under an interval durability the service thread that syncs.
    pub(crate) fn start_threads(self: &Arc<Self>) -> Result<(), Error> {
        let engine = Arc::downgrade(self);
        self.time.on_move(Arc::new(move || {
            if let Some(engine) = engine.upgrade() {
                engine.waiters.ring_all();
                engine.lapses.ring();
                engine.nudge_service();
                engine.upkeep.ask();
            }
        }));
        if matches!(self.durability, Durability::Interval(_)) && !self.read_only {
            self.serve_futures()?;
        }
        if self.background {
            self.serve_tasks()?;
        }
        Ok(())
    }

    /// Makes sure that there is an upkeep thread.
    pub(crate) fn serve_tasks(self: &Arc<Self>) -> Result<(), Error> {
        let engine = self.clone();
        self.start_once(&self.upkeep.working, "claimstore-upkeep", move || engine.run_upkeep())
    }

    /// Makes sure that somebody leads commits for futures.
    pub(crate) fn serve_futures(self: &Arc<Self>) -> Result<(), Error> {
        if self.upkeep.serving.load(Ordering::Acquire) {
            return Ok(());
        }
        let engine = self.clone();
        // The interval runs from here on, however late the thread comes to run.
        let began_ms = self.time.boot_ms();
        self.start_once(&self.upkeep.serving, "claimstore-commit", move || engine.run_service(began_ms))
    }

    fn start_once(
        &self,
        started: &AtomicBool,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        self.check_process()?;
        if started.load(Ordering::Acquire) || started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let thread = spawn(name, body).map_err(|error| {
            // The next caller tries again, rather than wait for a thread that is not there.
            started.store(false, Ordering::Release);
            Error::io("a thread of the store could not start", error)
        })?;
        self.upkeep.threads.lock().push(thread);
        Ok(())
    }

    pub(crate) fn stop_threads(&self) {
        self.upkeep.stop.store(true, Ordering::Release);
        self.upkeep.bell.signal_all();
        self.commit.service.signal_all();
        let threads = std::mem::take(&mut *self.upkeep.threads.lock());
        for thread in threads {
            // A waker may drop the last handle on one of these threads itself.
            if thread.thread().id() != current_thread() {
                drop(thread.join());
            }
        }
        let timers = std::mem::take(&mut *self.upkeep.timers.lock());
        timers.into_iter().for_each(|timer| timer.waker.wake());
    }

    /// Leads commits that nobody waits for on a thread of his own, syncs at intervals, wakes timers.
    fn run_service(&self, began_ms: u64) {
        let mut synced_at_ms = began_ms;
        while !self.upkeep.is_stopping() {
            let woken = || self.commit.service_wanted.load(Ordering::Acquire) || self.upkeep.is_stopping();
            match self.next_wake() {
                Some(limit) => drop(self.commit.service.wait_for(limit, woken)),
                None => self.commit.service.wait_until(woken),
            }
            if !planted::active(78) {
                self.commit.service_wanted.store(false, Ordering::Release);
            }
            // One batch at a time, so that neither a sync nor a timer waits for a queue that never empties.
            if !self.commit.is_queue_empty() && self.commit.try_lead(self) {
                self.nudge_service();
            }
            self.sync_when_due(&mut synced_at_ms);
            self.wake_timers();
        }
    }

    fn sync_when_due(&self, synced_at_ms: &mut u64) {
        let Durability::Interval(every) = self.durability else { return };
        let boot_ms = self.time.boot_ms();
        if boot_ms.saturating_sub(*synced_at_ms) >= every.as_millis() as u64 {
            *synced_at_ms = boot_ms;
            // An error has poisoned the store, and says so to every caller.
            drop(self.commit.sync(self));
        }
    }

    fn next_wake(&self) -> Option<Duration> {
        let interval = if let Durability::Interval(every) = self.durability { Some(every) } else { None };
        let timer = self.upkeep.timers.lock().peek().map(|timer| {
            Duration::from_millis(timer.due_boot_ms.saturating_sub(self.time.boot_ms()).clamp(1, 60_000))
        });
        [interval, timer].into_iter().flatten().min()
    }

    fn wake_timers(&self) {
        let boot_ms = self.time.boot_ms();
        loop {
            let due = {
                let mut timers = self.upkeep.timers.lock();
                if timers.peek().is_none_or(|timer| timer.due_boot_ms > boot_ms) {
                    return;
                }
                timers.pop()
            };
            if let Some(timer) = due {
                timer.waker.wake();
            }
        }
    }

    /// Runs tasks, and upkeep between them unless it was turned off.
    fn run_upkeep(self: &Arc<Self>) {
        // A failure is told once, not with each try.
        let mut told = None;
        while !self.upkeep.is_stopping() {
            #[cfg(feature = "metrics")]
            self.publish_when_due();
            // Before looking: what is asked for from here on is seen by the wait below.
            // A swap: what asked for upkeep before is seen by the reads that follow, or asks again.
            self.upkeep.wanted.swap(false, Ordering::AcqRel);
            let task = self.upkeep.tasks.next();
            let worked = task.is_some();
            if let Some(task) = task {
                task(self);
            }
            let slice = if self.background { self.upkeep() } else { Ok(false) };
            if slice.is_ok() {
                told = None;
            }
            let wanted = || self.upkeep.wanted.load(Ordering::Acquire) || self.upkeep.is_stopping();
            match slice {
                Ok(true) => {}
                Ok(false) if worked => {}
                Ok(false) if self.background => drop(self.upkeep.bell.wait_for(TICK, wanted)),
                Ok(false) => self.upkeep.bell.wait_until(wanted),
                Err(error) => {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    if told != Some(error.kind()) {
                        told = Some(error.kind());
                        observe::upkeep_failed(error.kind());
                    }
                    // Whoever asks for upkeep meanwhile would only be told the same; tasks are not kept waiting.
                    let task = || self.upkeep.tasks.is_waiting() || self.upkeep.is_stopping();
                    self.upkeep.bell.wait_for(TICK, task);
                }
            }
        }
    }
}

/// Slices of work.
impl Engine {
    /// One slice of whatever is due. Answers whether there may be more.
    ///
    /// A part that fails does not keep the others from running: a prune may be what makes room for a segment.
    pub(crate) fn upkeep(&self) -> Result<bool, Error> {
        self.check_process()?;
        self.check_writable()?;
        let journal = self.keep_journal_going();
        let ended = !self.cold.set().ended(self.time.now_ms()).is_empty();
        let prune = if ended { self.prune().map(drop) } else { Ok(()) };
        let merge = self.upkeep_lock().and_then(|mut home| self.merge_slice(&mut home, false));
        let more_to_clear = self.clear_some_graves();
        journal.and(prune)?;
        Ok(merge? || more_to_clear)
    }

    /// A segment and a checkpoint, where they are due: what claims would be refused without.
    fn keep_journal_going(&self) -> Result<(), Error> {
        self.check_open()?;
        let wanted = self.commit.wants_segment(self.limits.segment_bytes);
        let segment = if wanted { self.prepare_segment(Class::Claim).map(drop) } else { Ok(()) };
        let checkpoint = if self.is_checkpoint_due() { self.checkpoint_now() } else { Ok(()) };
        segment.and(checkpoint)
    }

    fn checkpoint_now(&self) -> Result<(), Error> {
        self.checkpoint()?;
        self.upkeep.checkpoint_wanted.store(false, Ordering::Release);
        Ok(())
    }

    /// Everything that had been written to the journal before `written_bytes` is in the runs.
    pub(crate) fn note_checkpoint(&self, written_bytes: u64) {
        self.upkeep.checkpointed_at_bytes.store(written_bytes, Ordering::Relaxed);
    }

    /// Journal bytes written since the last checkpoint began.
    pub(crate) fn checkpoint_lag_bytes(&self) -> u64 {
        self.journal_bytes_written().saturating_sub(self.upkeep.checkpointed_at_bytes.load(Ordering::Relaxed))
    }

    /// Bytes of the segments that an open would have to look at.
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.upkeep.segment_bytes.load(Ordering::Relaxed)
    }

    fn is_checkpoint_due(&self) -> bool {
        let since = self.checkpoint_lag_bytes();
        self.upkeep.checkpoint_wanted.load(Ordering::Acquire)
            || self.live.resolved_bytes() >= self.limits.checkpoint_bytes
            || self.live.bytes() >= self.limits.live_bytes / 2
                && self.live.resolved_bytes() >= self.limits.live_bytes / 8
            || since >= (self.limits.journal_bytes / 4).min(2 * self.limits.segment_bytes)
                && !planted::active(79)
    }

    pub(crate) fn journal_bytes_written(&self) -> u64 {
        self.commit.written_bytes.load(Ordering::Relaxed)
    }

    /// Room for an operation that found none: prepares a segment, lets the queue drain, or leaves a segment
    /// that is too small.
    pub(crate) fn make_room(&self, class: Class) -> Result<(), Error> {
        if self.prepare_segment(class)? {
            return Ok(());
        }
        if self.commit.is_queue_empty() {
            return self.commit.rotate(self);
        }
        let (batch, _) = self.commit.frontier();
        self.wait(batch)
    }

    /// Makes no segment any more: the files may be another opening's from now on. Waits for one being made.
    pub(crate) fn close_segments(&self) {
        self.upkeep.segments.lock().closed = true;
    }

    /// Prepares the journal's next segment. False: it had one already.
    pub(crate) fn prepare_segment(&self, class: Class) -> Result<bool, Error> {
        self.prepare_segment_of(class, self.limits.segment_bytes)
    }

    /// Like [`prepare_segment`](Engine::prepare_segment), with a size of its own.
    pub(crate) fn prepare_segment_of(&self, class: Class, bytes: u64) -> Result<bool, Error> {
        // Before the lock: a file made by its name would be another store's where the directory is.
        self.check_all_owned()?;
        let mut segments = self.upkeep.segments.lock();
        if segments.closed {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        let (has_next, number) = self.commit.with_journal(|writer| (writer.has_next(), writer.next_number()));
        if has_next {
            return Ok(false);
        }
        // The limit is for new work: what was begun may always end.
        if class == Class::Claim && segments.bytes() >= self.limits.journal_bytes {
            self.upkeep.checkpoint_wanted.store(true, Ordering::Release);
            self.upkeep.ask();
            return Err(Error::new(
                ErrorKind::Full,
                "the journal is at its limit; a checkpoint must catch up",
            ));
        }
        let mut salt = [0u8; 8];
        self.entropy.fill(&mut salt).map_err(|error| Error::io("no random bytes", error))?;
        let recycle = segments.spare.pop();
        let prepared = journal::prepare(
            &self.storage,
            self.store_id,
            number,
            bytes,
            u64::from_le_bytes(salt).max(1),
            recycle,
            true,
        );
        let prepared =
            prepared.map_err(|error| Error::io("no further journal segment could be made", error))?;
        segments.capacities.push_back(bytes);
        self.commit.with_journal(|writer| writer.install_next(prepared));
        self.upkeep.segment_bytes.store(segments.capacities.iter().sum(), Ordering::Relaxed);
        Ok(true)
    }

    /// Drops the runs of buckets that have ended.
    ///
    /// Ordering (hazard 19, P12): the watermarks of time-ordered namespaces rise first; the same catalogue
    /// commit that drops the runs makes them durable; then the runs are hidden, the generation rises, and
    /// only then the files go.
    pub(crate) fn prune(&self) -> Result<Pruned, Error> {
        let home = self.upkeep_lock()?;
        let ended = self.cold.set().ended(self.time.now_ms());
        if ended.is_empty() {
            return Ok(Pruned::default());
        }
        spans::prune().run(|span| {
            let pruned = self.drop_runs(home, &ended)?;
            // Without the upkeep lock: only the file system has to do with these files.
            self.clear_graves();
            span.count("runs", pruned.runs);
            span.count("records", pruned.records);
            span.count("bytes", pruned.bytes);
            Ok(pruned)
        })
    }

    /// Ends with lock and set given up, so that nothing here keeps the runs from being given back.
    fn drop_runs(&self, mut home: MutexGuard<'_, Home>, ended: &[u64]) -> Result<Pruned, Error> {
        let set = self.cold.set();
        let runs: Vec<_> = set.runs().iter().filter(|run| ended.contains(&run.number())).cloned().collect();
        for run in &runs {
            self.raise_watermarks(run);
        }
        let rows: Vec<Vec<u8>> = runs.iter().map(|run| encoded(run.summary())).collect();
        self.commit_catalogue(&mut home, |state| state.runs.retain(|row| !rows.contains(row)))?;
        self.replace_runs(&mut home, ended, Vec::new());
        let pruned = runs.iter().fold(Pruned::default(), |pruned, run| pruned.and(run.summary()));
        self.counters.pruned.fetch_add(pruned.records, Ordering::Relaxed);
        self.measures.pruned(&pruned);
        observe::pruned(&pruned);
        Ok(pruned)
    }

    /// What a prune would drop now.
    pub(crate) fn prunable(&self) -> Result<Pruned, Error> {
        self.check_open()?;
        let set = self.cold.set();
        let ended = set.ended(self.time.now_ms());
        let runs = set.runs().iter().filter(|run| ended.contains(&run.number()));
        Ok(runs.fold(Pruned::default(), |pruned, run| pruned.and(run.summary())))
    }

    /// Time-ordered keys up to the newest one that goes may have been resolved: they are too old from now on.
    fn raise_watermarks(&self, run: &bucket::Run) {
        if planted::active(30) {
            return;
        }
        for usage in run.usage() {
            let Some(space) = self.spaces.by_id(usage.namespace) else { continue };
            let newest = run.max_key(usage.namespace);
            let time_ms = newest.and_then(|id| space.policy().time_order()?.parse(id).ok());
            if let Some(id) = time_ms {
                space.raise_watermark(id.time_ms() + 1);
            }
        }
    }

    /// Hides runs and shows others, then removes the hidden files. Their space is given back later, by
    /// [`clear_graves`](Engine::clear_graves).
    fn replace_runs(&self, home: &mut Home, hidden: &[u64], shown: Vec<Arc<bucket::Run>>) {
        if home.merge.as_ref().is_some_and(|merge| merge.inputs.iter().any(|input| hidden.contains(input))) {
            home.merge = None;
        }
        let set = self.cold.set();
        self.cold.publish(set.with(shown, hidden));
        self.refresh_run_usage();
        for run in set.runs().iter().filter(|run| hidden.contains(&run.number())) {
            self.cold.cache.drop_run(run.number());
            self.bury_run(run.clone());
        }
    }

    /// One slice of merging. Answers whether there is more to merge.
    pub(crate) fn merge_slice(&self, home: &mut Home, idle: bool) -> Result<bool, Error> {
        if home.merge.is_none() {
            let set = self.cold.set();
            let Some(plan) = bucket::plan(&set, self.limits.checkpoint_bytes, idle) else { return Ok(false) };
            let inputs = set.runs().iter().filter(|run| plan.runs.contains(&run.number())).cloned().collect();
            let output = home.take_run_number();
            let merger = Merger::start(
                &self.storage,
                self.store_id,
                output,
                &self.hasher,
                inputs,
                plan.drop_tombstones,
            );
            home.merge = Some(Merging { merger, inputs: plan.runs });
        }
        spans::merge().run(|span| {
            span.count("runs", home.merge.as_ref().map_or(0, |merge| merge.inputs.len() as u64));
            let more = self.merge_on(home)?;
            span.flag("done", home.merge.is_none());
            Ok(more)
        })
    }

    /// A slice of the merge that is under way.
    fn merge_on(&self, home: &mut Home) -> Result<bool, Error> {
        let Some(merging) = &mut home.merge else { return Ok(false) };
        let rows = (self.limits.checkpoint_bytes / BYTES_PER_SLICE_ROW).clamp(1, 8_192);
        match merging.merger.step(rows) {
            Ok(Step::More) => Ok(true),
            Ok(Step::Done(summary)) => {
                let mut inputs = std::mem::take(&mut merging.inputs);
                if planted::active(31) {
                    // Takes what was published while the merge ran for something it has read.
                    let runs = self.cold.set();
                    let numbers = runs.runs().iter().map(|run| run.number());
                    let own = summary.as_ref().map_or(u64::MAX, |summary| summary.number);
                    inputs.extend(numbers.filter(|number| *number > own));
                }
                home.merge = None;
                self.finish_merge(home, &inputs, summary)?;
                Ok(true)
            }
            Err(error) => {
                home.merge = None;
                Err(error)
            }
        }
    }

    fn finish_merge(&self, home: &mut Home, inputs: &[u64], output: Option<RunSummary>) -> Result<(), Error> {
        let output: Vec<RunSummary> = output.into_iter().collect();
        let committed = self.open_runs(&output).and_then(|runs| {
            self.commit_catalogue(home, |state| {
                state.runs.retain(|row| run_number(row).is_none_or(|number| !inputs.contains(&number)));
                state.runs.extend(output.iter().map(encoded));
            })?;
            Ok(runs)
        });
        match committed {
            Ok(runs) => {
                self.replace_runs(home, inputs, runs);
                let rows = output.iter().map(|run| run.rows).sum();
                self.counters.merges.fetch_add(1, Ordering::Relaxed);
                self.measures.merged_rows.fetch_add(rows, Ordering::Relaxed);
                observe::merged(inputs.len(), rows);
                Ok(())
            }
            Err(error) => {
                self.discard_unlisted(home, &output);
                Err(error)
            }
        }
    }

    /// Brings every bucket that gets no more records down to one run. Claims go on meanwhile.
    pub(crate) fn compact(&self) -> Result<(), Error> {
        spans::compact().run(|span| {
            let slices = self.merge_all()?;
            span.count("slices", slices);
            Ok(())
        })
    }

    /// Answers in how many slices.
    fn merge_all(&self) -> Result<u64, Error> {
        let mut slices = 0;
        self.checkpoint()?;
        self.prune()?;
        loop {
            // The upkeep lock is given up between slices, so that checkpoints are not kept waiting; and where
            // this is the upkeep thread, nobody else would make them.
            self.keep_journal_going()?;
            if !self.merge_slice(&mut *self.upkeep_lock()?, true)? {
                self.clear_graves();
                return Ok(slices);
            }
            self.clear_some_graves();
            slices += 1;
        }
    }

    /// Gives the reserved space back to the file system. False: there was none.
    pub(crate) fn release_reserve(&self) -> bool {
        self.storage.remove(RESERVE_FILE).is_ok()
    }

    /// Sets space aside again. Best effort: without it a prune on a full disk may have to wait for space.
    pub(crate) fn restore_reserve(&self) {
        // That of an earlier life goes on.
        if self.storage.size(RESERVE_FILE).is_ok_and(|bytes| bytes >= RESERVE_BYTES) {
            return;
        }
        drop(self.storage.remove(RESERVE_FILE));
        let reserved = self.storage.open(RESERVE_FILE, OpenMode::CreateNew).and_then(|file| {
            file.allocate(RESERVE_BYTES)?;
            file.sync_data()
        });
        if reserved.is_err() {
            drop(self.storage.remove(RESERVE_FILE));
        }
    }
}

fn run_number(row: &[u8]) -> Option<u64> {
    RunSummary::decode(&mut Cursor::new(row)).ok().map(|summary| summary.number)
}
