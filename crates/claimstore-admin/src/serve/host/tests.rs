use super::*;
use crate::client::{AskError, Client};
use crate::serve::bounds::BOUNDS;
use crate::socket;
use claimstore::{ManualClock, Store};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// A store that is served by a clock that stands still.
struct Served {
    dir: TempDir,
    store: Store,
    service: Arc<Service>,
    clock: ManualClock,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn new(bounds: Bounds) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (service, ear) = Service::new().unwrap();
        let (listener, place) = socket::bind(dir.path()).unwrap();
        std::mem::forget(place);
        listener.set_nonblocking(true).unwrap();
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let (weak, of_host) = (store.downgrade(), Arc::new(clock.clone()));
        let host = Host {
            listener,
            ear,
            store: weak,
            service: service.clone(),
            clock: of_host,
            bounds,
            deaf_until_ms: Cell::new(0),
        };
        let thread = Some(std::thread::Builder::new().spawn(move || host.run()).unwrap());
        Served { dir, store, service, clock, thread }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn client(&self) -> Client {
        Client::connect(self.path()).unwrap()
    }

    /// A connection whose reads end with an error where nothing comes, so that a test fails and does not hang.
    fn raw(&self) -> UnixStream {
        let stream = socket::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.service.end();
        drop(self.thread.take().unwrap().join());
        self.store.clone().close().unwrap();
    }
}

/// How many bytes of a request that never ends are taken, one a second.
#[test]
fn a_request_that_trickles_loses_its_place_when_its_time_is_over() {
    let served = Served::new(BOUNDS);
    let (mut slow, mut witness) = (served.raw(), served.client());
    slow.set_nonblocking(true).unwrap();
    let mut taken = 0;
    while taken < 100 {
        if slow.write(b"x").is_err() {
            break;
        }
        taken += 1;
        // Answered, and once more, so the byte was seen: it came first.
        witness.ask(&Request::Hello).unwrap();
        witness.ask(&Request::Hello).unwrap();
        match slow.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => break,
        }
        served.clock.advance(Duration::from_secs(1));
    }
    // The first byte begins its five seconds, and the sixth comes when they are over.
    assert_eq!(taken, 6);
}

#[test]
fn places_that_trickle_are_free_again_for_others() {
    let served = Served::new(Bounds { places_each: 8, ..BOUNDS });
    let mut witness = served.client();
    let slow: Vec<_> = (0..7).map(|_| served.raw()).collect();
    let trickle = |witness: &mut Client, byte: u8| {
        for mut stream in &slow {
            drop(stream.write(&[byte]));
        }
        // Answered, so what came before was seen.
        witness.ask(&Request::Hello).unwrap();
        witness.ask(&Request::Hello).unwrap();
    };
    trickle(&mut witness, b'{');
    // All places are taken: whoever comes now is told so.
    let mut line = String::new();
    BufReader::new(served.raw()).read_line(&mut line).unwrap();
    assert!(line.contains("\"kind\":\"busy\""), "{line}");
    for _ in 0..5 {
        served.clock.advance(Duration::from_secs(1));
        trickle(&mut witness, b' ');
    }
    for mut stream in &slow {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "nobody says anything to it");
    }
    let mut others: Vec<_> = (0..7).map(|_| served.client()).collect();
    assert!(others.iter_mut().all(|other| other.ask(&Request::Hello).is_ok()));
}

/// With a clock that stands still, a thread that waited for the reader would wait for ever.
#[test]
fn a_client_that_reads_nothing_keeps_nobody_else_waiting() {
    let served = Served::new(BOUNDS);
    let mut deaf = served.raw();
    deaf.set_nonblocking(true).unwrap();
    let line = b"{\"v\":1,\"ask\":\"live\"}\n".repeat(2_000);
    let sent = deaf.write(&line).unwrap();
    assert!(sent > 4_000, "{sent}");
    for _ in 0..20 {
        served.client().ask(&Request::Live).unwrap();
    }
    drop(deaf);
}

#[test]
fn a_silent_connection_loses_its_place_after_half_a_minute() {
    let served = Served::new(BOUNDS);
    let (mut silent, mut witness) = (served.client(), served.client());
    silent.ask(&Request::Hello).unwrap();
    served.clock.advance(Duration::from_millis(BOUNDS.idle_ms - 1));
    silent.ask(&Request::Hello).unwrap();
    served.clock.advance(Duration::from_millis(BOUNDS.idle_ms));
    drop(witness.ask(&Request::Hello));
    assert!(matches!(silent.ask(&Request::Hello), Err(AskError::Lost(_))));
}

#[test]
fn places_are_counted_by_process_and_others_users_have_none() {
    let mine = rustix::process::geteuid().as_raw();
    let peer = |process| Some(Peer { user: mine, process });
    let bounds = Bounds { places: 4, places_each: 2, ..BOUNDS };
    let check = |peer: Option<Peer>, taken: &[Option<Peer>], expected: Option<RefusalKind>| {
        let refused = admit(peer, taken.iter().copied(), &bounds).err().map(|refusal| refusal.kind);
        assert_eq!(refused, expected, "{peer:?} beside {taken:?}");
    };
    let busy = Some(RefusalKind::Busy);
    check(peer(1), &[], None);
    check(peer(1), &[peer(1), peer(2), peer(2)], None);
    check(peer(1), &[peer(1), peer(1)], busy);
    check(peer(3), &[peer(1), peer(1), peer(2), peer(2)], busy);
    // Linux tells who it is; where it does not, it is somebody of another name space. Elsewhere all places together are
    // what counts.
    let untold = cfg!(target_os = "linux").then_some(RefusalKind::Denied);
    check(None, &[None, None, None], untold);
    check(None, &[None, None, None, None], untold.or(busy));
    let stranger = Some(Peer { user: mine + 1, process: 9 });
    check(stranger, &[], Some(RefusalKind::Denied));
}

#[test]
fn an_export_is_over_when_it_is_read_too_slowly() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let check = |bytes: u64, now_ms: u64, expected: bool| {
        let export = Export::new(&store, None).unwrap();
        let paced = Paced { export, begun_ms: 1_000, bytes };
        assert_eq!(paced.is_late(now_ms, &BOUNDS), expected, "{bytes} bytes at {now_ms}");
    };
    check(0, 61_000, false);
    check(0, 61_001, true);
    check(BOUNDS.export_pace, 62_000, false);
    check(BOUNDS.export_pace, 62_001, true);
    check(100 << 30, 61_001, false);
    check(u64::MAX, u64::MAX, true);
    store.close().unwrap();
}

#[test]
fn a_slow_export_is_told_so_and_the_connection_goes_on() {
    let served = Served::new(Bounds { idle_ms: 1_000_000, ..BOUNDS });
    for number in 0..1_001 {
        let lease = served.store.claim(format!("k{number}"), Duration::from_secs(60)).unwrap();
        drop(lease);
    }
    served.service.allow();
    let mut client = served.client();
    let Answer::Exported(page) = client.ask(&Request::Export { namespace: None }).unwrap() else { panic!() };
    assert_eq!((page.records.len(), page.is_last), (1_000, false));
    served.clock.advance(Duration::from_secs(600));
    let Err(AskError::Refused(refusal)) = client.ask(&Request::ExportMore) else { panic!() };
    assert!(refusal.message.contains("too slowly"), "{refusal}");
    let Err(AskError::Refused(refusal)) = client.ask(&Request::ExportMore) else { panic!() };
    assert_eq!(refusal.kind, RefusalKind::Usage, "it is over");
    client.ask(&Request::Hello).unwrap();
}
