//! The serving thread of the socket: it sleeps until there is a request, and ends when the store closes.

use crate::answer::{Export, Served, answer};
use crate::serve::bounds::Bounds;
use crate::serve::guest::{Guest, GuestId, Paced, Turn};
use crate::serve::peer::Peer;
use crate::serve::service::Service;
use crate::wire::{Answer, Refusal, RefusalKind, Request, VERSION};
use claimstore::WeakStore;
use claimstore::io::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::Cell;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

/// Longest request in bytes, its line feed included.
const MAX_REQUEST_BYTES: usize = 16 << 10;
/// The same if decisions are allowed, as a decision may carry a response.
const MAX_DECISION_BYTES: usize = 4 << 20;

/// The state of the serving thread.
pub(crate) struct Host {
    pub(crate) listener: UnixListener,
    pub(crate) ear: UnixStream,
    pub(crate) store: WeakStore,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bounds: Bounds,
    /// Until when no new connection is accepted, after an `accept` failed.
    pub(crate) deaf_until_ms: Cell<u64>,
}

/// The pause after a failed `accept`.
const DEAF_MS: u64 = 100;

/// Whether a connection goes on.
type Stays = bool;

impl Host {
    pub(crate) fn run(self) {
        let mut guests: Vec<Guest> = Vec::new();
        let mut arrivals: GuestId = 0;
        while !self.service.is_ending() {
            let Ok((arrived, ready)) = self.sleep(&guests) else { return };
            if self.service.is_ending() {
                return;
            }
            for (id, answer) in self.service.jobs.take_done() {
                guests.retain_mut(|guest| guest.id != id || self.answer(guest, &answer, false));
            }
            let is_ready = |guest: &Guest| ready.contains(&guest.id) || guest.has_request();
            guests.retain_mut(|guest| {
                let stays = !is_ready(guest) || self.attend(guest);
                // Checked for connections that were ready too; otherwise one that sends slowly would never be late.
                stays && guest.deadline_ms().is_none_or(|deadline_ms| self.clock.boot_ms() < deadline_ms)
            });
            if self.service.is_ending() {
                return;
            }
            if arrived {
                self.welcome(&mut guests, &mut arrivals);
            }
        }
    }

    /// Sleeps until the bell rings, a connection arrives or is ready, or a deadline is over.
    fn sleep(&self, guests: &[Guest]) -> io::Result<(bool, Vec<GuestId>)> {
        let watched: Vec<_> = guests.iter().filter_map(|guest| Some((guest, guest.watches()?))).collect();
        let is_deaf = self.clock.boot_ms() < self.deaf_until_ms.get();
        let arrivals = if is_deaf { PollFlags::empty() } else { PollFlags::IN };
        let mut fds = vec![PollFd::new(&self.ear, PollFlags::IN), PollFd::new(&self.listener, arrivals)];
        fds.extend(watched.iter().map(|(guest, flags)| PollFd::new(&guest.stream, *flags)));
        let limit = self.limit(guests);
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut woken = fds.iter().map(|fd| !fd.revents().is_empty());
        if woken.next().unwrap_or(false) {
            // Only empties the pipe: everything the bell may ring for is checked in any case.
            drop((&self.ear).read(&mut [0; 64]));
        }
        let arrived = woken.next().unwrap_or(false);
        let ready = watched.iter().zip(woken).filter(|(_, woken)| *woken).map(|((guest, _), _)| guest.id);
        Ok((arrived, ready.collect()))
    }

    fn limit(&self, guests: &[Guest]) -> Option<Timespec> {
        if guests.iter().any(Guest::has_request) {
            return Some(timespec(0));
        }
        let now_ms = self.clock.boot_ms();
        let hears_ms = Some(self.deaf_until_ms.get()).filter(|hears_ms| now_ms < *hears_ms);
        let first_ms = guests.iter().filter_map(Guest::deadline_ms).chain(hears_ms).min()?;
        Some(timespec(first_ms.saturating_sub(now_ms) + 1))
    }

    fn welcome(&self, guests: &mut Vec<Guest>, arrivals: &mut GuestId) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                        // For example, no file descriptor is left. The connection stays in the backlog; pause, so
                        // that this thread does not spin.
                        self.deaf_until_ms.set(self.clock.boot_ms() + DEAF_MS);
                    }
                    return;
                }
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let peer = Peer::of(&stream);
            let taken = guests.iter().map(|guest| guest.peer);
            match admit(peer, taken, &self.bounds) {
                Ok(()) => {
                    *arrivals += 1;
                    guests.push(Guest::new(*arrivals, stream, peer, self.clock.boot_ms(), &self.bounds));
                }
                Err(refusal) => turn_away(&stream, refusal),
            }
        }
    }

    /// Serves a connection as far as possible without blocking.
    fn attend(&self, guest: &mut Guest) -> Stays {
        let allowed = self.service.allows_decisions();
        let most_bytes = if allowed { MAX_DECISION_BYTES } else { MAX_REQUEST_BYTES };
        match guest.go_on(self.clock.boot_ms(), &self.bounds, most_bytes) {
            Turn::Goes => true,
            Turn::Gone => false,
            Turn::Asked(line) => self.serve(guest, &line),
            Turn::TooLong => {
                let most = if allowed { "4 MiB" } else { "16 KiB" };
                let refusal = Refusal::new(RefusalKind::Usage, format!("a request has at most {most}"));
                self.answer(guest, &Answer::Refused(refusal), true)
            }
        }
    }

    fn serve(&self, guest: &mut Guest, line: &[u8]) -> Stays {
        let request = match Request::from_line(line).and_then(|request| self.allow(request)) {
            Ok(request) => request,
            Err(refusal) => return self.answer(guest, &Answer::Refused(refusal), false),
        };
        if request.is_upkeep() {
            guest.wait();
            let begun = self.service.jobs.begin(&self.store, guest.id, request);
            let refused = |error: io::Error| {
                let message = format!("no thread can be started: {error}");
                Answer::Refused(Refusal::new(RefusalKind::Failed, message))
            };
            return begun
                .map_err(refused)
                .map_or_else(|answer| self.answer(guest, &answer, false), |()| true);
        }
        let answered = self.reply(guest, &request).unwrap_or_else(Answer::Refused);
        !self.service.is_ending() && self.answer(guest, &answered, false)
    }

    fn allow(&self, request: Request) -> Result<Request, Refusal> {
        if request.needs_permission() && !self.service.allows_decisions() {
            return Err(Refusal::new(
                RefusalKind::Denied,
                "the program that has the store open serves it to look at, and allows no decisions: call \
                 `serve_admin()?.allow_decisions()` in it, or stop it",
            ));
        }
        Ok(request)
    }

    fn reply(&self, guest: &mut Guest, request: &Request) -> Result<Answer, Refusal> {
        let closed = || Refusal::new(RefusalKind::Closed, "the store was closed");
        let store = self.store.upgrade().ok_or_else(closed)?;
        match request {
            Request::Hello => {
                Ok(Answer::Hello { protocol: VERSION, decisions: self.service.allows_decisions() })
            }
            Request::Export { namespace } => {
                let export = Export::new(&store, namespace.as_deref())?;
                guest.export = Some(Paced { export, begun_ms: self.clock.boot_ms(), bytes: 0 });
                self.export_more(guest)
            }
            Request::ExportMore => self.export_more(guest),
            request => answer(&store, request, Served::Live),
        }
    }

    /// The next page of an export. An export that is read too slowly is ended, because it keeps files on the disk.
    fn export_more(&self, guest: &mut Guest) -> Result<Answer, Refusal> {
        let none = || Refusal::new(RefusalKind::Usage, "no export is under way on this connection");
        let mut paced = guest.export.take().ok_or_else(none)?;
        if paced.is_late(self.clock.boot_ms(), &self.bounds) {
            let message = "the export was read too slowly, at less than 256 KiB a second, and is over";
            return Err(Refusal::new(RefusalKind::Failed, message));
        }
        let page = paced.export.page()?;
        guest.export = Some(paced).filter(|_| !page.is_last);
        Ok(Answer::Exported(page))
    }

    fn answer(&self, guest: &mut Guest, answer: &Answer, is_last: bool) -> Stays {
        !matches!(guest.answer(answer, is_last, self.clock.boot_ms(), &self.bounds), Turn::Gone)
    }
}

impl Paced {
    fn is_late(&self, now_ms: u64, bounds: &Bounds) -> bool {
        let pace = bounds.export_pace.max(1);
        let due_ms = bounds.export_ms.saturating_add(self.bytes.saturating_mul(1_000) / pace);
        now_ms.saturating_sub(self.begun_ms) > due_ms
    }
}

/// Whether a new connection gets a place beside the present ones.
fn admit(
    peer: Option<Peer>,
    taken: impl ExactSizeIterator<Item = Option<Peer>>,
    bounds: &Bounds,
) -> Result<(), Refusal> {
    // On Linux the peer is always known, except for one in another PID namespace, which is not let in.
    let is_let_in = peer.map_or(!cfg!(target_os = "linux"), Peer::is_let_in);
    if !is_let_in {
        let message = "the socket is for the user that the program runs as, and for root";
        return Err(Refusal::new(RefusalKind::Denied, message));
    }
    if taken.len() >= bounds.places {
        let message = "all places are taken: as many connections are open as there may be; try again";
        return Err(Refusal::new(RefusalKind::Busy, message));
    }
    let of_process = |other: &Option<Peer>| match (other, peer) {
        (Some(other), Some(peer)) => other.process == peer.process,
        _ => false,
    };
    if taken.filter(of_process).count() >= bounds.places_each {
        let message = "this process has as many connections open as one may have; use those, or close one";
        return Err(Refusal::new(RefusalKind::Busy, message));
    }
    Ok(())
}

/// Sends the refusal, if that is possible without blocking.
fn turn_away(mut stream: &UnixStream, refusal: Refusal) {
    if let Ok(mut line) = serde_json::to_vec(&Answer::Refused(refusal)) {
        line.push(b'\n');
        drop(stream.write(&line));
    }
}

fn timespec(ms: u64) -> Timespec {
    let nanoseconds = (ms % 1_000 * 1_000_000).cast_signed();
    Timespec { tv_sec: (ms / 1_000).cast_signed(), tv_nsec: nanoseconds }
}

#[cfg(test)]
mod tests;
