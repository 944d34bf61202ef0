//! A disk in memory that fills up, fails and loses power on demand.
//!
//! A [`Disk`] is a [`Storage`] whose every change is an [`Event`] in one log over all files and
//! directories. [`Disk::crash_at`] builds the disk a machine might find after losing power right behind
//! any of them; the result is a `Disk` again, so that recovery can be crashed too. Building an image
//! copies pointers, not bytes.
//!
//! Durability follows the contract of [`Storage`], read as narrowly as it allows: bytes and lengths are
//! durable after `sync_data` of their file, names after `sync_dir` of their directory, nothing else is.
//! Writes that bypass the page cache count as unsynced like all others.

mod contents;
mod crash;
mod event;
mod fault;
mod kernel;
mod machine;
mod orders;
mod room;

pub use crash::{Level, Variant};
pub use event::Event;
pub use fault::{Fault, FaultKind, Operation};
pub use kernel::{SimHandle, SimKernel};

use claimstore::io::system::Locking;
use claimstore::io::{File, LockGuard, OpenMode, Ownership, Storage};
use contents::{Contents, FILE_LIMIT, SECTOR};
use fault::Faults;
pub use fault::Which;
use machine::Machine;
pub(crate) use room::Traced;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A disk in memory, for tests. Clones are handles of one disk.
///
/// A store is opened on it by [`Options::open_on`](claimstore::Options::open_on). What it can do to a store:
///
/// | | |
/// |---|---|
/// | [`fill_up`](Disk::fill_up), [`free_up`](Disk::free_up) | only so many bytes still fit |
/// | [`fail`](Disk::fail), [`fail_for_good`](Disk::fail_for_good), [`clear_faults`](Disk::clear_faults) | an operation fails, by its number or by its file |
/// | [`crash`](Disk::crash) | the process dies; what it wrote is in the page cache |
/// | [`lose_power`](Disk::lose_power) | the machine stops; writes that were not synced are torn, dropped or overtaken by later ones |
/// | [`damage`](Disk::damage) | bytes of a file change |
///
/// Bytes and lengths are durable after a sync of their file, names after a sync of their directory, and nothing else is.
///
/// ```
/// use claimstore::{Claim, ErrorKind, Options};
/// use claimstore_testing::{Disk, Operation, small_options};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), claimstore::Error> {
/// const DAY: Duration = Duration::from_secs(86_400);
/// let disk = Disk::new();
/// let store = small_options().open_on(disk.storage())?;
/// store.claim("order-1", DAY)?.claimed().unwrap().complete("posted")?;
///
/// // The next sync fails: nobody knows what is on the disk, and the store says so.
/// disk.fail(Operation::Syncs, 0);
/// assert_eq!(store.claim("order-2", DAY).unwrap_err().kind(), ErrorKind::Indeterminate);
/// assert_eq!(store.claim("order-3", DAY).unwrap_err().kind(), ErrorKind::Poisoned);
///
/// // Power is lost. What was acknowledged is there.
/// let disk = disk.lose_power(7);
/// let store = small_options().open_on(disk.storage())?;
/// assert!(matches!(store.claim("order-1", DAY)?, Claim::Duplicate(_)));
/// # Ok(()) }
/// ```
///
/// Everything behind [`events`](Disk::events) is for tests that look back: each change is an [`Event`] in one log, and
/// [`crash_at`](Disk::crash_at) gives the disk as a crash behind any of them may leave it.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
    /// The directory that names of this handle are in; empty for the root of the disk.
    dir: Arc<str>,
}

struct Shared {
    state: Mutex<State>,
    /// Not part of the machine: an image never starts locked.
    locks: Arc<Locks>,
    /// How many operations may overtake a slow sync.
    overtaking: AtomicU64,
}

struct State {
    machine: Machine,
    log: Option<Log>,
    faults: Faults,
    lying: bool,
    /// Files may have so many bytes together.
    limit: Option<u64>,
    /// The operations since a trace was begun, but for reads.
    trace: Option<Vec<Traced>>,
    /// An operation was counted.
    happened: Arc<Condvar>,
    /// How many slow syncs are still to come before a fault, and which.
    at_slow_sync: Option<(u64, Fault)>,
    handles: BTreeMap<u64, usize>,
}

/// Which file or directory an operation is about.
#[derive(Debug, Clone, Copy)]
enum Place<'n> {
    Name(&'n str),
    File(u64),
}

/// Everything that happened, and the machine as it stood before every [`Log::STRIDE`]th event.
struct Log {
    events: Vec<Event>,
    milestones: Vec<Machine>,
}

impl Disk {
    /// An empty disk that records its events.
    pub fn new() -> Disk {
        Disk::over(Machine::default(), false, "".into())
    }

    /// An empty disk whose syncs answer Ok and do nothing: the control that shows whether a harness can
    /// see loss at all (L6).
    pub fn lying() -> Disk {
        Disk::over(Machine::default(), true, "".into())
    }

    /// A handle of the same disk whose names are in the directory `dir`, which need not be there yet.
    #[must_use]
    pub fn within(&self, dir: &str) -> Disk {
        Disk { shared: self.shared.clone(), dir: self.whole(dir).into() }
    }

    /// A handle of the same disk whose names are in its root.
    #[must_use]
    pub fn root(&self) -> Disk {
        Disk { shared: self.shared.clone(), dir: "".into() }
    }

    /// The directory that names of this handle are in; empty for the root of the disk.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    /// The number of events so far; 0 for a disk that does not record.
    pub fn events(&self) -> usize {
        self.state().log.as_ref().map_or(0, |log| log.events.len())
    }

    /// The events so far, to be shown beside a failure.
    pub fn log(&self) -> Vec<Event> {
        self.state().log.as_ref().map_or_else(Vec::new, |log| log.events.clone())
    }

    /// Stops recording, for long tests that do not look back. [`power_loss`](Disk::power_loss) goes on
    /// working; [`crash_at`](Disk::crash_at) only knows the present.
    pub fn stop_recording(&self) {
        self.state().log = None;
    }

    /// The disk as a machine might find it after a crash right behind the first `events` events. More than
    /// there are mean all. Nobody holds the lock of the new disk, nothing on it is told to fail, and its
    /// log starts anew.
    #[must_use]
    pub fn crash_at(&self, events: usize, variant: Variant) -> Disk {
        let state = self.state();
        let (lying, limit) = (state.lying, state.limit);
        let Some(log) = &state.log else {
            return self.after(state.machine.crash(variant), lying, limit);
        };
        let (mut machine, since) = log.milestone_before(events, &state.machine);
        drop(state);
        for event in &since {
            machine.apply(event);
        }
        self.after(machine.crash(variant), lying, limit)
    }

    /// The disk as a machine might find it after a crash now. This one goes on, other than with
    /// [`crash`](Disk::crash) and [`lose_power`](Disk::lose_power).
    #[must_use]
    pub fn power_loss(&self, variant: Variant) -> Disk {
        let state = self.state();
        self.after(state.machine.crash(variant), state.lying, state.limit)
    }

    /// Nothing reaches the disk any more: its machine is dead, and what still holds handles only comes to its end.
    pub fn unplug(&self) {
        self.state().unplug();
    }

    /// Changes the bytes of a file behind everybody's back, in the cache and on the device (L5). A name that
    /// is not there changes nothing.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        state.machine.damage(&self.whole(name), change);
    }

    /// 64 bits over all names and bytes that programs can read, to tell images apart.
    pub fn digest(&self) -> u64 {
        self.state().machine.digest()
    }

    /// The number of changes that are not durable yet.
    pub fn unsynced(&self) -> usize {
        self.state().machine.unsynced()
    }

    /// Makes the operation with the number `at` (from 0, since this disk exists) among those of the
    /// fault's target fail.
    pub fn fail_at(&self, at: u64, fault: Fault) {
        self.state().faults.order(at, fault);
    }

    /// Takes back all orders to fail.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Lets up to `operations` others overtake one sync in eight. On a device a sync takes its time, now and
    /// then far longer than those around it; what happens meanwhile is where the races are.
    pub fn slow_syncs(&self, operations: u64) {
        self.shared.overtaking.store(operations, Ordering::Relaxed);
    }

    /// From the slow sync with the number `nth` (from 0) on, `fault` hits: right after others have overtaken it.
    pub fn fail_at_slow_sync(&self, nth: u64, fault: Fault) {
        self.state().at_slow_sync = Some((nth, fault));
    }

    /// How many operations of a kind were tried so far: the bound for a loop that fails each of them.
    pub fn operations(&self, target: Operation) -> u64 {
        self.state().faults.count(target)
    }

    fn after(&self, machine: Machine, lying: bool, limit: Option<u64>) -> Disk {
        let after = Disk::over(machine, lying, self.dir.clone());
        after.state().limit = limit;
        after
    }

    fn over(machine: Machine, lying: bool, dir: Arc<str>) -> Disk {
        let log = Log { events: Vec::new(), milestones: vec![machine.clone()] };
        let state = State {
            machine,
            log: Some(log),
            faults: Faults::default(),
            lying,
            limit: None,
            trace: None,
            happened: Arc::default(),
            at_slow_sync: None,
            handles: BTreeMap::new(),
        };
        let shared =
            Shared { state: Mutex::new(state), locks: Arc::default(), overtaking: AtomicU64::new(0) };
        Disk { shared: Arc::new(shared), dir }
    }

    /// A name as the disk knows it.
    fn whole(&self, name: &str) -> String {
        match (&*self.dir, name) {
            ("", name) => name.to_owned(),
            (dir, "") => dir.to_owned(),
            (dir, name) => [dir, "/", name].concat(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn handle(&self, state: &mut State, file: u64, direct: bool) -> DiskFile {
        *state.handles.entry(file).or_default() += 1;
        DiskFile { shared: self.shared.clone(), file, direct }
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("events", &self.events()).finish_non_exhaustive()
    }
}

impl Storage for Disk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let name = &self.whole(name);
        let mut state = self.state();
        let file = match (state.machine.find(name), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, OpenMode::CreateNew) => state.create(name)?,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(self.handle(&mut state, file, mode == OpenMode::Direct)))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = &self.whole(dir);
        let mut state = self.state();
        state.need_dir(dir)?;
        state.try_read(Place::Name(dir))?;
        Ok(state.machine.list(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        match self.state().make_dir(&self.whole(dir)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.whole(from), self.whole(to));
        let mut state = self.state();
        state.machine.find(&from).ok_or(io::ErrorKind::NotFound)?;
        state.need_dir(event::parent(&to))?;
        state.try_once(Operation::DirOps, "rename", Place::Name(&from))?;
        state.record(Event::Rename { from, to });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = self.whole(name);
        let mut state = self.state();
        state.machine.find(&name).ok_or(io::ErrorKind::NotFound)?;
        state.try_once(Operation::DirOps, "remove", Place::Name(&name))?;
        state.record(Event::Remove { name });
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.shared.give_way();
        let dir = self.whole(dir);
        let mut state = self.state();
        state.need_dir(&dir)?;
        state.try_once(Operation::Syncs, "sync", Place::Name(&dir))?;
        if !state.lying {
            state.record(Event::SyncDir { dir });
        }
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let name = &self.whole(name);
        let mut state = self.state();
        let file = match state.machine.find(name) {
            Some(file) => file,
            None => state.create(name)?,
        };
        Ok(Box::new(self.shared.locks.take(file, Locking::Exclusive)?))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.state().free_bytes()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a sync: waits for others, if this is a slow one and as long as they do anything.
    fn give_way(&self) {
        /// Nobody is expected any more when nothing happened for so long.
        const PATIENCE: Duration = Duration::from_micros(500);
        let mut state = self.state();
        let (first, overtaking) =
            (state.faults.count(Operation::Any), self.overtaking.load(Ordering::Relaxed));
        if overtaking == 0 || !crate::rng::mix(first).is_multiple_of(8) {
            return;
        }
        let happened = state.happened.clone();
        while state.faults.count(Operation::Any) - first < overtaking {
            let waited = happened.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() {
                break;
            }
        }
        state.slow_sync_is_over();
    }
}

impl State {
    fn record(&mut self, event: Event) {
        self.machine.apply(&event);
        match &mut self.log {
            Some(log) => log.push(event, &self.machine),
            // Without a log nobody can look back at files that are gone.
            None if matches!(event, Event::SyncDir { .. }) => {
                self.machine.forget_unreachable(|file| self.handles.contains_key(&file));
            }
            None => {}
        }
    }

    fn create(&mut self, name: &str) -> io::Result<u64> {
        self.need_dir(event::parent(name))?;
        self.try_once(Operation::DirOps, "create", Place::Name(name))?;
        self.record(Event::Create { name: name.to_owned() });
        self.machine.find(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make_dir(&mut self, dir: &str) -> io::Result<()> {
        if self.machine.has_dir(dir) || self.machine.find(dir).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.need_dir(event::parent(dir))?;
        self.try_once(Operation::DirOps, "create", Place::Name(dir))?;
        self.record(Event::CreateDir { dir: dir.to_owned() });
        Ok(())
    }

    fn need_dir(&self, dir: &str) -> io::Result<()> {
        if self.machine.has_dir(dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Counts an operation, for those who wait for others' too.
    fn next(&mut self, target: Operation, verb: &'static str, place: Place<'_>) -> Option<Fault> {
        self.happened.notify_all();
        self.counted(target, verb, place)
    }

    fn counted(&mut self, target: Operation, verb: &'static str, place: Place<'_>) -> Option<Fault> {
        if self.trace.is_none() && !self.faults.ask_for_names() {
            return self.faults.next(target, "");
        }
        let name = match place {
            Place::Name(name) => name.to_owned(),
            Place::File(file) => self.machine.name_of(file).unwrap_or_default().to_owned(),
        };
        let fault = self.faults.next(target, &name);
        if target != Operation::Reads
            && let Some(trace) = &mut self.trace
        {
            trace.push(Traced { verb, name });
        }
        fault
    }

    fn unplug(&mut self) {
        let now = self.faults.count(Operation::Any);
        self.faults.order(now, Fault::sticky(FaultKind::Io, Operation::Any));
    }

    fn slow_sync_is_over(&mut self) {
        match &mut self.at_slow_sync {
            Some((0, fault)) => {
                let fault = *fault;
                self.at_slow_sync = None;
                self.faults.order(self.faults.count(fault.target), fault);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
    }

    fn try_once(&mut self, target: Operation, verb: &'static str, place: Place<'_>) -> io::Result<()> {
        self.next(target, verb, place).map_or(Ok(()), |fault| Err(fault.error()))
    }

    /// The same for a read. A slow sync waits for changes, so nobody is told.
    fn try_read(&mut self, place: Place<'_>) -> io::Result<()> {
        self.counted(Operation::Reads, "read", place).map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn contents(&self, file: u64) -> io::Result<&Contents> {
        self.machine.contents(file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Log {
    const STRIDE: usize = 32;

    fn push(&mut self, event: Event, after: &Machine) {
        self.events.push(event);
        if self.events.len().is_multiple_of(Log::STRIDE) {
            self.milestones.push(after.clone());
        }
    }

    /// A machine shortly before the end of the first `events` events, and what it still lacks of them.
    fn milestone_before(&self, events: usize, now: &Machine) -> (Machine, Vec<Event>) {
        if events >= self.events.len() {
            return (now.clone(), Vec::new());
        }
        let milestone = events / Log::STRIDE;
        let machine = self.milestones.get(milestone).cloned().unwrap_or_default();
        let since = self.events.get(milestone * Log::STRIDE..events).unwrap_or_default();
        (machine, since.to_vec())
    }
}

/// Who has which file locked: readers are counted, an owner counts as none of them.
#[derive(Debug, Default)]
struct Locks(Mutex<BTreeMap<u64, Option<usize>>>);

impl Locks {
    /// Locks a file, if nobody has it who minds.
    fn take(self: &Arc<Self>, file: u64, how: Locking) -> io::Result<DiskLock> {
        let mut held = self.held();
        let now = match (held.get(&file), how) {
            (None, Locking::Exclusive) => None,
            (None, Locking::Shared) => Some(1),
            (Some(Some(readers)), Locking::Shared) => Some(readers + 1),
            _ => return Err(io::ErrorKind::WouldBlock.into()),
        };
        held.insert(file, now);
        drop(held);
        Ok(DiskLock { locks: self.clone(), file })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Option<usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct DiskLock {
    locks: Arc<Locks>,
    file: u64,
}

impl Ownership for DiskLock {}

impl Drop for DiskLock {
    fn drop(&mut self) {
        let mut held = self.locks.held();
        match held.get_mut(&self.file) {
            Some(Some(readers)) if *readers > 1 => *readers -= 1,
            _ => drop(held.remove(&self.file)),
        }
    }
}

struct DiskFile {
    shared: Arc<Shared>,
    file: u64,
    direct: bool,
}

impl fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(handles) = state.handles.get_mut(&self.file) {
            *handles -= 1;
            if *handles == 0 {
                state.handles.remove(&self.file);
            }
        }
    }
}

impl DiskFile {
    /// Reads as far as the file goes; answers how many bytes.
    fn read_some(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.shared.state();
        state.try_read(Place::File(self.file))?;
        let contents = state.contents(self.file)?;
        let there = contents.len().saturating_sub(offset).min(buf.len() as u64) as usize;
        contents.read(buf.get_mut(..there).unwrap_or_default(), offset);
        Ok(there)
    }
}

impl File for DiskFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_some(buf, offset)? == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let aligned = offset.is_multiple_of(SECTOR as u64) && data.len().is_multiple_of(SECTOR);
        if self.direct && !aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        within_limit(offset.checked_add(data.len() as u64))?;
        let mut state = self.shared.state();
        let fault = state.next(Operation::Writes, "write", Place::File(self.file));
        let fits = state.fits(self.file, offset, data.len());
        let arrived = match fault {
            None => data.get(..fits).unwrap_or_default(),
            Some(Fault { kind: FaultKind::ShortWrite, .. }) => data.get(..data.len() / 2).unwrap_or_default(),
            Some(_) => &[],
        };
        if !arrived.is_empty() {
            state.record(Event::Write { file: self.file, offset, data: arrived.into() });
        }
        match fault {
            Some(fault) => Err(fault.error()),
            None if fits < data.len() => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.give_way();
        let mut state = self.shared.state();
        if let Some(fault) = state.next(Operation::Syncs, "sync", Place::File(self.file)) {
            if fault.kind == FaultKind::StaysDirty {
                return Err(fault.error());
            }
            // Two failures of one sticky fault must not draw alike.
            let seed = fault.seed ^ state.faults.count(Operation::Syncs).rotate_left(32);
            let stuck = fault.kind == FaultKind::CacheStays;
            state.record(Event::SyncFailed { file: self.file, seed, stuck });
            return Err(fault.error());
        }
        if !state.lying {
            state.record(Event::SyncFile { file: self.file });
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.shared.state();
        if let Some(fault) = state.faults.gone() {
            return Err(fault.error());
        }
        state.try_read(Place::File(self.file))?;
        Ok(state.contents(self.file)?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        within_limit(Some(len))?;
        let mut state = self.shared.state();
        state.try_once(Operation::Writes, "set the length of", Place::File(self.file))?;
        state.need_room(self.file, len)?;
        state.record(Event::SetLen { file: self.file, len });
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        within_limit(Some(len))?;
        let mut state = self.shared.state();
        state.try_once(Operation::Writes, "allocate", Place::File(self.file))?;
        state.need_room(self.file, len)?;
        state.record(Event::Allocate { file: self.file, len });
        Ok(())
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    fn drop_cache(&self) -> io::Result<()> {
        self.shared.state().record(Event::DropCache { file: self.file });
        Ok(())
    }
}

fn within_limit(end: Option<u64>) -> io::Result<()> {
    if end.is_some_and(|end| end <= FILE_LIMIT) { Ok(()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
}

#[cfg(test)]
mod control;
#[cfg(test)]
mod tests;
