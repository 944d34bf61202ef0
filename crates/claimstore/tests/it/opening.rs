//! Opening: who owns a store is told, an owner can be waited for, and a new store is small.

use crate::bad_input::start_child;
use crate::common::{DAY, claimed, done_with, duplicate, eventually, request};
use claimstore::io::{Clock, SystemClock};
use claimstore::{Error, ErrorKind, ManualClock, Options, Store};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// A clock that counts how often it was read: each try to open reads it.
#[derive(Debug, Clone)]
struct Counted<C> {
    clock: C,
    read: Arc<AtomicU64>,
}

impl<C: Clock> Counted<C> {
    fn new(clock: C) -> Counted<C> {
        Counted { clock, read: Arc::new(AtomicU64::new(0)) }
    }

    /// Waits until the opening that has this clock was refused a few times.
    fn wait_for_tries(&self) {
        let before = self.read.load(Ordering::SeqCst);
        eventually(|| self.read.load(Ordering::SeqCst) > before + 4);
    }
}

impl<C: Clock> Clock for Counted<C> {
    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn boot_ms(&self) -> u64 {
        self.read.fetch_add(1, Ordering::SeqCst);
        self.clock.boot_ms()
    }

    fn boot_id(&self) -> [u8; 16] {
        self.clock.boot_id()
    }
}

/// What is told of a process that surely is the owner: its number, where `/proc` has the processes by the numbers that they
/// have here. That of another PID namespace has not.
fn told(process: u32) -> Option<u32> {
    let seen = fs::read_link("/proc/self").is_ok_and(|own| own == Path::new(&std::process::id().to_string()));
    if !seen {
        println!("SKIPPED: the number of the owner, as /proc is not of this PID namespace");
    }
    seen.then_some(process)
}

#[track_caller]
fn refused(opened: Result<Store, Error>) -> Error {
    let error = opened.expect_err("the store has an owner");
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
    error
}

// ---- who owns it -----------------------------------------------------------------------------------------

#[test]
fn p14_the_owner_is_named_with_the_path() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let mut child = start_child(&dir);
    for options in [Options::new(), Options::new().read_only(true)] {
        let error = refused(options.open(&dir));
        assert_eq!((error.file(), error.owner_process()), (dir.to_str(), told(child.id())));
        let text = error.to_string();
        let process = told(child.id()).map_or(String::new(), |id| format!(" by process {id}"));
        assert!(text.ends_with(&format!("{}{process}", dir.display())), "{text}");
        assert!(std::error::Error::source(&error).is_some());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::open(&dir).unwrap();
    let error = refused(Store::open(&dir));
    assert_eq!(error.owner_process(), told(std::process::id()), "the same process");
    done_with(store);
}

/// The number of an owner that was killed stays in the file, and is never told: others hold the lock now.
#[test]
fn p14_a_number_that_was_left_behind_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start_child(dir.path());
    child.kill().unwrap();
    // Not yet waited for: a zombie has its number still.
    let reader = Options::new().read_only(true).wait_for_owner(MINUTE).open(dir.path()).unwrap();
    let left = fs::read(dir.path().join("LOCK")).unwrap();
    assert!(String::from_utf8(left).unwrap().starts_with(&format!("process {} ", child.id())));
    assert_eq!(refused(Store::open(dir.path())).owner_process(), None);
    child.wait().unwrap();
    assert_eq!(refused(Store::open(dir.path())).owner_process(), None);
    done_with(reader);
    // One that closes leaves nothing.
    done_with(Options::new().wait_for_owner(MINUTE).open(dir.path()).unwrap());
    assert_eq!(fs::read(dir.path().join("LOCK")).unwrap(), b"");
}

/// Whatever stands in the file, it neither opens a store nor keeps one from being opened.
#[test]
fn p14_what_stands_in_the_lock_file_decides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    done_with(Store::open(dir.path()).unwrap());
    for bytes in [&b"process 1 "[..], &[0xff; 4_096], b"\0"] {
        fs::write(dir.path().join("LOCK"), bytes).unwrap();
        let reader = Options::new().read_only(true).open(dir.path()).unwrap();
        assert_eq!(refused(Store::open(dir.path())).owner_process(), None);
        done_with(reader);
        let store = Options::new().wait_for_owner(MINUTE).open(dir.path()).unwrap();
        assert_eq!(refused(Store::open(dir.path())).owner_process(), told(std::process::id()));
        done_with(store);
    }
}

// ---- waiting for it --------------------------------------------------------------------------------------

/// Opens `dir` on a thread; once it surely waits, `leave` makes the owner go.
fn opened_when(dir: &Path, leave: impl FnOnce()) -> Store {
    let clock = Counted::new(SystemClock);
    let options = Options::new().background(false).clock(clock.clone()).wait_for_owner(MINUTE);
    thread::scope(|scope| {
        let opening = scope.spawn(|| options.open(dir));
        clock.wait_for_tries();
        assert!(!opening.is_finished());
        leave();
        opening.join().unwrap().unwrap()
    })
}

#[test]
fn an_owner_that_is_killed_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start_child(dir.path());
    let store = opened_when(dir.path(), || child.kill().unwrap());
    child.wait().unwrap();
    assert_eq!(duplicate(store.claim("done", DAY)).response(), b"r");
    assert_eq!(claimed(store.claim("held", DAY)).attempt(), 2);
    done_with(store);
}

#[test]
fn an_owner_that_closes_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start_child(dir.path());
    let store = opened_when(dir.path(), || child.stdin.take().unwrap().write_all(b"close\n").unwrap());
    child.wait().unwrap();
    assert_eq!(duplicate(store.claim("done", DAY)).response(), b"r");
    done_with(store);
}

#[test]
fn an_owner_in_the_same_process_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    claimed(first.claim("k", DAY)).complete("r").unwrap();
    let second = opened_when(dir.path(), || done_with(first));
    assert_eq!(duplicate(second.claim("k", DAY)).response(), b"r");
    let third = opened_when(dir.path(), || drop(second));
    done_with(third);
}

/// The clock of the options says when it is over, and then the call is refused as it would have been at once.
#[test]
fn at_the_end_of_the_wait_it_is_open_already() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Store::open(dir.path()).unwrap();
    let manual = ManualClock::new(std::time::UNIX_EPOCH + DAY);
    let clock = Counted::new(manual.clone());
    let options = Options::new().clock(clock.clone()).wait_for_owner(MINUTE);
    let error = thread::scope(|scope| {
        let opening = scope.spawn(|| options.open(dir.path()));
        clock.wait_for_tries();
        manual.advance(Duration::from_millis(59_999));
        clock.wait_for_tries();
        assert!(!opening.is_finished(), "not before its time");
        manual.advance(Duration::from_millis(1));
        refused(opening.join().unwrap())
    });
    assert_eq!(error.owner_process(), told(std::process::id()));
    // Without a wait: at once, whatever the clock.
    refused(Options::new().clock(manual).open(dir.path()));
    done_with(owner);
}

/// Other errors do not wait.
#[test]
fn only_an_owner_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("something"), b"else").unwrap();
    let standing = ManualClock::new(std::time::UNIX_EPOCH + DAY);
    let opened = Options::new().clock(standing).wait_for_owner(DAY).open(dir.path());
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Misuse);
}

// ---- how small it is -------------------------------------------------------------------------------------

/// Bytes that the files below `dir` take on the disk.
fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| {
        let found = entry.metadata().unwrap();
        if found.is_dir() { disk_bytes(&entry.path()) } else { (found.blocks() * 512).max(found.len()) }
    });
    bytes.sum()
}

#[test]
fn a_new_store_is_small_and_grows_with_what_is_asked_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().background(false).open(dir.path()).unwrap();
    let rest = || while store.upkeep().unwrap() {};
    rest();
    let opened = disk_bytes(dir.path());
    let lease = claimed(store.claim("first", DAY));
    let granted = disk_bytes(dir.path());
    rest();
    let one = disk_bytes(dir.path());
    lease.complete("r").unwrap();
    for batch in 0..100 {
        let requests: Vec<_> = (0..100).map(|n| request(&format!("{batch}/{n}"))).collect();
        let claims = store.claim_many(&requests).unwrap();
        let items = claims.into_iter().map(|claim| (claimed(claim), vec![7; 100])).collect();
        store.complete_many(items).unwrap().into_iter().for_each(|verdict| verdict.unwrap());
    }
    rest();
    let many = disk_bytes(dir.path());
    println!("bytes on disk: {opened} opened, {granted} to {one} with one claim, {many} after 10,000");
    assert!(opened <= 4 * MIB && granted == opened, "before it holds data");
    assert!(one <= 10 * MIB && many <= 72 * MIB);
    done_with(store);
    let closed = disk_bytes(dir.path());
    // Opening again takes no more than there was.
    let store = Options::new().background(false).open(dir.path()).unwrap();
    assert!(disk_bytes(dir.path()) <= closed + MIB);
    assert_eq!(duplicate(store.claim("99/99", DAY)).response().len(), 100);
    done_with(store);
}

const HUNDRED_DIR: &str = "CLAIMSTORE_TEST_HUNDRED";

/// Opens a hundred stores and says what they take.
#[test]
#[ignore = "a process of its own, started by the test below"]
fn child_with_a_hundred_stores() {
    let Some(dir) = std::env::var_os(HUNDRED_DIR) else { return };
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count() as u64;
    let resident_kb = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let used = || (resident_kb(), count("fd"), count("task"));
    let before = used();
    let stores: Vec<_> = (0..100)
        .map(|n| {
            let store = Store::open(Path::new(&dir).join(n.to_string())).unwrap();
            claimed(store.claim("k", DAY)).complete("r").unwrap();
            store
        })
        .collect();
    let after = used();
    println!("\nUSED {} {} {}", after.0 - before.0, after.1 - before.1, after.2 - before.2);
    stores.into_iter().for_each(done_with);
}

#[test]
#[cfg(target_os = "linux")]
fn a_hundred_stores_fit_into_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::child_with_a_hundred_stores", "--include-ignored", "--nocapture"])
        .env(HUNDRED_DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let numbers =
        said.lines().find_map(|line| line.strip_prefix("USED ")).unwrap_or_else(|| panic!("{said}"));
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    let [resident_kb, descriptors, threads] = numbers[..] else { panic!("{said}") };
    let bytes = disk_bytes(dir.path());
    println!(
        "100 stores: {resident_kb} kB, {descriptors} descriptors, {threads} threads, {bytes} bytes on disk"
    );
    assert!(resident_kb < 200 << 10 && bytes < 100 * 8 * MIB);
    // `LOCK`, `STORE`, the catalogue, a segment or two with two each; one thread for upkeep.
    assert!(descriptors <= 800 && threads <= 100);
}
