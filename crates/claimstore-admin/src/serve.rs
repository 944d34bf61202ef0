//! The thread behind the socket: it sleeps until somebody asks, and ends when the store closes.

use crate::answer::{Answer, Refusal, RefusalKind, Served, answer};
use crate::ask::Request;
use crate::socket::{self, Place};
use claimstore::io::{Clock as _, SystemClock};
use claimstore::{ErrorKind, Store, WeakStore};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Longest request in bytes, its line feed included.
const MAX_REQUEST_BYTES: usize = 16 << 10;
/// Most connections at a time.
const MAX_GUESTS: usize = 8;
/// How long a connection may be silent between two requests.
const IDLE_MS: u64 = 30_000;
/// How long a request or an answer may take to get through.
const TRANSFER_MS: u64 = 5_000;

/// A store that serves a socket in its directory.
pub trait ServeAdmin {
    /// Serves `admin.sock` in the store's directory, for its owner alone, until the store closes or
    /// [`Admin::stop`] is called. Starts one thread, which sleeps while nobody asks; it does not keep the store
    /// open. See the [crate](crate) for what can be asked.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a store in memory, which has no directory, for one that was opened read-only, and in a child of
    /// `fork()`; `AddrInUse` when this store is served
    /// already; `NotConnected` when it was closed; those of the operating system.
    fn serve_admin(&self) -> io::Result<Admin>;
}

/// The service of one store. Dropping it changes nothing: the service ends with the store.
#[derive(Debug, Clone)]
pub struct Admin {
    service: Arc<Service>,
}

#[derive(Debug)]
struct Service {
    stop: AtomicBool,
    /// A byte here ends the thread's sleep.
    bell: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
    place: Mutex<Option<Place>>,
    /// Where the thread is: a child of `fork()` has none, and the socket is its parent's.
    process: u32,
}

impl ServeAdmin for Store {
    fn serve_admin(&self) -> io::Result<Admin> {
        let dir = self.directory().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "a store in memory has no directory for a socket")
        })?;
        if self.is_read_only() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a read-only store makes no socket"));
        }
        if let Err(error) = self.outcomes()
            && error.kind() == ErrorKind::Misuse
        {
            return Err(io::Error::new(io::ErrorKind::Unsupported, error));
        }
        let (bell, ear) = UnixStream::pair()?;
        let service = Arc::new(Service {
            stop: AtomicBool::new(false),
            bell,
            thread: Mutex::default(),
            place: Mutex::default(),
            process: std::process::id(),
        });
        // Before anything is made: a close from here on waits for the place, and takes away what is there.
        let at_close = service.clone();
        self.on_close(move || at_close.end());
        let mut place = lock(&service.place);
        if service.is_ending() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the store was closed"));
        }
        let (listener, made) = socket::bind(dir)?;
        listener.set_nonblocking(true)?;
        let host = Host { listener, ear, store: self.downgrade(), service: service.clone() };
        let thread = Builder::new().name("claimstore-admin".into()).spawn(move || host.run())?;
        *lock(&service.thread) = Some(thread);
        *place = Some(made);
        drop(place);
        Ok(Admin { service })
    }
}

impl Admin {
    /// Ends the service: the socket is gone and the thread has ended when this returns. In a child of `fork()` nothing
    /// happens.
    pub fn stop(&self) {
        self.service.end();
    }
}

impl Service {
    fn end(&self) {
        if self.process != std::process::id() {
            return;
        }
        self.stop.store(true, Ordering::SeqCst);
        // A bell that cannot be rung belongs to a thread that is gone.
        drop((&self.bell).write(&[1]));
        drop(lock(&self.place).take());
        let thread = lock(&self.thread).take();
        // The last handle may be dropped by this very thread, in the middle of an answer.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            drop(thread.join());
        }
    }

    fn is_ending(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread owns.
struct Host {
    listener: UnixListener,
    ear: UnixStream,
    store: WeakStore,
    service: Arc<Service>,
}

/// One connection.
struct Guest {
    stream: UnixStream,
    /// What came of the next request so far.
    received: Vec<u8>,
    deadline_ms: u64,
}

/// Whether a connection goes on.
type Stays = bool;

impl Host {
    fn run(self) {
        let mut guests: Vec<Guest> = Vec::new();
        while !self.service.is_ending() {
            let Ok((arrived, ready)) = self.sleep(&guests) else { return };
            if self.service.is_ending() {
                return;
            }
            let now_ms = SystemClock.boot_ms();
            let mut ready = ready.into_iter();
            guests.retain_mut(|guest| match ready.next() {
                Some(true) => self.hear(guest),
                _ => now_ms < guest.deadline_ms,
            });
            if arrived {
                self.welcome(&mut guests);
            }
        }
    }

    /// Sleeps until the bell rings, somebody connects or speaks, or somebody has been silent for too long.
    fn sleep(&self, guests: &[Guest]) -> io::Result<(bool, Vec<bool>)> {
        let mut fds = vec![PollFd::new(&self.ear, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        fds.extend(guests.iter().map(|guest| PollFd::new(&guest.stream, PollFlags::IN)));
        let first_ms = guests.iter().map(|guest| guest.deadline_ms).min();
        let limit = first_ms.map(|first_ms| timespec(first_ms.saturating_sub(SystemClock.boot_ms()) + 1));
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().skip(1).map(|fd| !fd.revents().is_empty());
        Ok((ready.next().unwrap_or(false), ready.collect()))
    }

    fn welcome(&self, guests: &mut Vec<Guest>) {
        while let Ok((stream, _)) = self.listener.accept() {
            let deadline_ms = SystemClock.boot_ms() + IDLE_MS;
            let guest = Guest { stream, received: Vec::new(), deadline_ms };
            if guest.stream.set_nonblocking(true).is_err() {
                continue;
            }
            if guests.len() < MAX_GUESTS {
                guests.push(guest);
            } else {
                let message = "eight connections are open; try again";
                self.tell(&guest, &Answer::Refused(Refusal::new(RefusalKind::Busy, message)));
            }
        }
    }

    /// Takes in what a connection has to say, and answers whole lines of it.
    fn hear(&self, guest: &mut Guest) -> Stays {
        let mut buffer = [0; 4_096];
        let count = match (&guest.stream).read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        if guest.received.is_empty() {
            guest.deadline_ms = SystemClock.boot_ms() + TRANSFER_MS;
        }
        guest.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        while let Some(end) = guest.received.iter().position(|byte| *byte == b'\n') {
            let rest = guest.received.split_off(end + 1);
            let line = std::mem::replace(&mut guest.received, rest);
            let answer = self.answer(&line);
            if self.service.is_ending() || !self.tell(guest, &answer) {
                return false;
            }
            guest.deadline_ms = SystemClock.boot_ms() + IDLE_MS;
        }
        if guest.received.len() >= MAX_REQUEST_BYTES {
            let message = "a request has at most 16 KiB";
            self.tell(guest, &Answer::Refused(Refusal::new(RefusalKind::Usage, message)));
            return false;
        }
        true
    }

    fn answer(&self, line: &[u8]) -> Answer {
        let closed = || Refusal::new(RefusalKind::Closed, "the store was closed");
        let answered = Request::from_line(line).and_then(|request| {
            let store = self.store.upgrade().ok_or_else(closed)?;
            answer(&store, &request, Served::Live)
        });
        answered.unwrap_or_else(Answer::Refused)
    }

    /// Writes an answer, for no longer than a transfer may take.
    fn tell(&self, guest: &Guest, answer: &Answer) -> Stays {
        let Ok(mut line) = serde_json::to_vec(answer) else { return false };
        line.push(b'\n');
        let deadline_ms = SystemClock.boot_ms() + TRANSFER_MS;
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match (&guest.stream).write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left_ms = deadline_ms.saturating_sub(SystemClock.boot_ms());
                    if left_ms == 0 || self.service.is_ending() || !self.can_write(&guest.stream, left_ms) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Waits until the connection takes more. False: the bell rang, or it failed.
    fn can_write(&self, stream: &UnixStream, limit_ms: u64) -> bool {
        let mut fds =
            [PollFd::new(&self.ear, PollFlags::IN), PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::OUT)];
        let polled = poll(&mut fds, Some(&timespec(limit_ms)));
        let [ear, _] = fds;
        (polled.is_ok() || polled == Err(rustix::io::Errno::INTR)) && ear.revents().is_empty()
    }
}

fn timespec(ms: u64) -> Timespec {
    let nanoseconds = (ms % 1_000 * 1_000_000).cast_signed();
    Timespec { tv_sec: (ms / 1_000).cast_signed(), tv_nsec: nanoseconds }
}
