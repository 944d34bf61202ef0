//! What is refused, and what a refusal leaves behind: nothing.

use crate::common::{DAY, claimed, done_with, duplicate, eventually, on_both, patiently, refused, request};
use crate::pages::{pack, unpack};
use claimstore::io::MemoryStorage;
use claimstore::{ClaimRequest, ErrorKind, Failure, Options, Policy, Store};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

const TEN_YEARS: Duration = Duration::from_secs(315_576_000);

#[test]
fn keys_have_a_length() {
    on_both(|bed| {
        let store = bed.open();
        assert_eq!(refused(store.claim("", DAY)), ErrorKind::InvalidKey);
        assert_eq!(refused(store.get("")), ErrorKind::InvalidKey);
        assert_eq!(refused(store.forget("")), ErrorKind::InvalidKey);
        assert_eq!(refused(store.transact(&request(""), |_| panic!("must not run"))), ErrorKind::InvalidKey);
        assert_eq!(refused(store.claim([0u8; 1_025], DAY)), ErrorKind::TooLarge);
        claimed(store.claim([0u8; 1_024], DAY)).complete("r").unwrap();
        assert_eq!(duplicate(store.claim([0u8; 1_024], DAY)).response(), b"r");
        done_with(store);
    });
}

#[test]
fn ttls_and_leases_have_bounds() {
    on_both(|bed| {
        let store = bed.open();
        for ttl in [Duration::ZERO, Duration::from_millis(999), TEN_YEARS + DAY, Duration::MAX] {
            assert_eq!(refused(store.claim("k", ttl)), ErrorKind::Misuse, "{ttl:?}");
            assert_eq!(refused(store.namespace_with("n", Policy::new().ttl(ttl))), ErrorKind::Misuse);
        }
        for lease in [Duration::ZERO, Duration::from_micros(1), 367 * DAY, Duration::MAX] {
            assert_eq!(refused(store.claim_with(&request("k").lease(lease))), ErrorKind::Misuse, "{lease:?}");
            let held = claimed(store.claim("renewed", DAY));
            assert_eq!(refused(held.renew(lease)), ErrorKind::Misuse);
            let (error, held) = held.detach(lease).unwrap_err().into_parts();
            assert_eq!(error.kind(), ErrorKind::Misuse);
            held.unwrap().release().unwrap();
        }
        assert_eq!(refused(store.namespace_with("n", Policy::new().max_attempts(0))), ErrorKind::Misuse);
        assert_eq!(refused(store.namespace("n".repeat(513).as_str())), ErrorKind::TooLarge);
        let long_origin = request("k").origin(vec![1; 4_097]);
        assert_eq!(refused(store.claim_with(&long_origin)), ErrorKind::TooLarge);
        assert!(store.get("k").unwrap().is_none(), "nothing happened");
        done_with(store);
    });
}

#[test]
fn oversize_payloads_hand_the_lease_back_usable() {
    on_both(|bed| {
        let store = bed.open_with(bed.options().max_response_bytes(100).max_progress_bytes(50)).unwrap();
        let mut lease = claimed(store.claim("k", DAY));
        lease.save_progress([1; 50]).unwrap();
        assert_eq!(refused(lease.save_progress([2; 51])), ErrorKind::TooLarge);
        assert_eq!(lease.progress(), Some(&[1u8; 50][..]), "as it was");
        for oversize in [
            lease.complete([0; 101]).unwrap_err(),
            claimed(store.claim("f", DAY)).fail(Failure::terminal([0; 101])).unwrap_err(),
            claimed(store.claim("p", DAY)).fail(Failure::park([0; 4_097])).unwrap_err(),
            claimed(store.claim("t", DAY)).complete_in(|_| Ok(vec![0; 101])).unwrap_err(),
        ] {
            let (error, lease) = oversize.into_parts();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            lease.unwrap().complete([0; 100]).unwrap();
        }
        assert_eq!(refused(store.transact(&request("x"), |_| Ok(vec![0; 101]))), ErrorKind::TooLarge);
        assert!(store.get("x").unwrap().is_none(), "rolled back");
        for key in ["k", "f", "p", "t"] {
            assert_eq!(duplicate(store.claim(key, DAY)).response(), [0; 100]);
        }
        done_with(store);
    });
}

#[test]
fn oversize_batches_decide_nothing() {
    let store = Store::in_memory().unwrap();
    let requests: Vec<ClaimRequest> = (0..=65_536u32).map(|n| ClaimRequest::new(n.to_be_bytes())).collect();
    assert_eq!(refused(store.claim_many(&requests)), ErrorKind::TooLarge);
    assert!(store.get(0u32.to_be_bytes()).unwrap().is_none());
    let leases = store.claim_many(&requests[..65_536]).unwrap();
    let mut items: Vec<_> = leases.into_iter().map(|claim| (claimed(claim), Vec::new())).collect();
    items.push((claimed(store.claim("one more", DAY)), Vec::new()));
    let (error, mut items) = store.complete_many(items).unwrap_err().into_parts();
    assert_eq!((error.kind(), items.len()), (ErrorKind::TooLarge, 65_537));
    items.truncate(65_536);
    for verdict in store.complete_many(items).unwrap() {
        verdict.unwrap();
    }
    done_with(store);
}

#[test]
fn limits_that_make_no_sense_are_misuse() {
    let open = |options: Options| refused(options.open_on(Arc::new(MemoryStorage::new())));
    assert_eq!(open(Options::new().segment_bytes(4_096)), ErrorKind::Misuse);
    assert_eq!(open(Options::new().max_response_bytes(64 << 20)), ErrorKind::Misuse);
    assert_eq!(open(Options::new().max_response_bytes(usize::MAX)), ErrorKind::Misuse);
    assert_eq!(open(Options::new().max_progress_bytes(usize::MAX)), ErrorKind::Misuse);
    assert_eq!(open(Options::new().segment_bytes(u64::MAX)), ErrorKind::Misuse);
    assert_eq!(open(Options::new().segment_bytes((1 << 30) + 1)), ErrorKind::Misuse);
    let interval = |every| Options::new().durability(claimstore::Durability::Interval(every));
    assert_eq!(open(interval(Duration::ZERO)), ErrorKind::Misuse);
}

// ---- directories -----------------------------------------------------------------------------------------

/// Every file under `dir`, with its length and a checksum of its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (usize, u32)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, (bytes.len(), crc32fast::hash(&bytes)));
        }
    }
    found
}

#[test]
fn p15_a_foreign_directory_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    fs::create_dir(dir.path().join("journal")).unwrap();
    fs::write(dir.path().join("journal/dear-diary"), "today").unwrap();
    let before = contents(dir.path());
    assert_eq!(refused(Store::open(dir.path())), ErrorKind::Misuse);
    assert_eq!(contents(dir.path()), before, "not even a lock file was made");
}

#[test]
fn a_birth_that_was_interrupted_is_begun_again() {
    for leftovers in
        [&["STORE.new"][..], &["LOCK", "STORE.new", "catalog.redb.new"], &["STORE.new", "catalog.redb"]]
    {
        let dir = tempfile::tempdir().unwrap();
        for name in leftovers {
            fs::write(dir.path().join(name), "half of it").unwrap();
        }
        let store = Store::open(dir.path()).unwrap();
        claimed(store.claim("k", DAY)).complete("r").unwrap();
        done_with(store);
    }
}

#[test]
fn a_path_that_is_a_file_is_an_error_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "text").unwrap();
    assert_eq!(refused(Store::open(&path)), ErrorKind::Io);
    assert_eq!(refused(Store::open(path.join("below"))), ErrorKind::Io);
    assert_eq!(fs::read(&path).unwrap(), b"text");
}

/// Nobody's user and group, where root runs the tests: permissions do not bind root.
const NOBODY: u32 = 65_534;

/// Whether the machine does not allow it: to root in a container, or to anybody.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput)
}

/// Runs a program that was written just now. A process that another test starts at that moment has it open for
/// writing too, between its fork and its exec.
fn run(program: &mut Command) -> io::Result<Output> {
    let mut ended = program.output();
    eventually(|| {
        let is_busy = matches!(&ended, Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy);
        if is_busy {
            ended = program.output();
        }
        !is_busy
    });
    ended
}

#[test]
fn p16_a_read_only_directory_is_refused() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let home = tempfile::tempdir().unwrap();
    mode(home.path(), 0o755);
    let dir = home.path().join("store");
    let store = Store::open(&dir).unwrap();
    claimed(store.claim("done", DAY)).complete("r").unwrap();
    done_with(store);

    // The child may not be allowed to look into the directory this program lies in.
    let program = home.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(program);
    child.args(["--exact", "bad_input::child_that_may_not_write", "--include-ignored"]).env(CHILD_DIR, &dir);
    let is_root = fs::metadata(&dir).unwrap().uid() == 0;
    if is_root {
        child.uid(NOBODY).gid(NOBODY);
    }
    for path in [dir.join("LOCK"), dir.join("journal"), dir.join("runs"), dir.clone()] {
        if is_root && let Err(error) = chown(&path, Some(NOBODY), Some(NOBODY)) {
            assert!(is_forbidden(&error), "{error}");
            println!("SKIPPED p16_a_read_only_directory_is_refused: root gives nothing away here: {error}");
            return;
        }
        mode(&path, if path.is_dir() { 0o500 } else { 0o400 });
    }
    let before = contents(&dir);
    let ended = run(&mut child);
    // In any case, so that the directory can be removed.
    for path in [dir.clone(), dir.join("journal"), dir.join("runs")] {
        mode(&path, 0o700);
    }
    mode(&dir.join("LOCK"), 0o600);
    let ended = match ended {
        Err(error) if is_forbidden(&error) => {
            println!("SKIPPED p16_a_read_only_directory_is_refused: no program can be run here: {error}");
            return;
        }
        ended => ended.unwrap(),
    };
    let ran = String::from_utf8_lossy(&ended.stdout).contains("1 passed");
    assert!(ended.status.success() && ran, "{ended:?}");

    assert_eq!(contents(&dir), before, "untouched");
    let store = patiently(|| Store::open(&dir)).unwrap();
    assert_eq!(duplicate(store.claim("done", DAY)).response(), b"r");
    done_with(store);
}

#[test]
#[ignore = "a process of its own, started by the test above"]
fn child_that_may_not_write() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    assert_eq!(refused(Store::open(&dir)), ErrorKind::Io);
    let new = PathBuf::from(dir).join("new");
    assert_eq!(refused(Store::open(new)), ErrorKind::Io);
}

// ---- newer versions --------------------------------------------------------------------------------------

/// A closed store that has a file of every kind.
fn store_with_every_file() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().background(false).open(dir.path()).unwrap();
    claimed(store.claim("done", DAY)).complete("r").unwrap();
    drop(claimed(store.claim("held", DAY)));
    let done = store.transact(&request("t"), |tx| {
        tx.table("rows")?.insert("k", "v")?;
        Ok(Vec::new())
    });
    drop(done.unwrap());
    done_with(store);
    dir
}

/// Opens the store whose files were changed by `change`, and sees that it is refused untouched.
#[track_caller]
fn check_too_new(change: impl FnOnce(&Path)) {
    let dir = store_with_every_file();
    change(dir.path());
    let before = contents(dir.path());
    for _ in 0..2 {
        assert_eq!(refused(patiently(|| Store::open(dir.path()))), ErrorKind::TooNew);
        assert_eq!(contents(dir.path()), before, "untouched, byte for byte");
    }
}

fn first_in(dir: &Path, extension: &str) -> PathBuf {
    let is_it = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(is_it).unwrap()
}

/// Raises the version at `at` of `file`, whose first `covered` bytes the CRC at their end stands for.
fn raise_version(file: &Path, at: usize, crc_at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] += 1;
    let crc = crc32fast::hash(&bytes[..crc_at]).to_le_bytes();
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc);
    fs::write(file, bytes).unwrap();
}

#[test]
fn p15_a_newer_store_is_too_new() {
    check_too_new(|dir| raise_version(&dir.join("STORE"), 8, 28));
}

#[test]
fn p15_a_newer_journal_is_too_new() {
    check_too_new(|dir| {
        let segment = first_in(&dir.join("journal"), "seg");
        let mut bytes = fs::read(&segment).unwrap();
        bytes[8] += 1;
        let crc = crc32fast::hash(&[&bytes[..12], &bytes[16..512]].concat());
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        fs::write(&segment, bytes).unwrap();
    });
}

/// Raises the version in the state row of a redb file.
fn raise_redb_version(file: &Path) {
    use redb::ReadableTable;
    const META: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("meta");
    let bare = file.with_extension("bare");
    fs::write(&bare, unpack(&fs::read(file).unwrap())).unwrap();
    let db = redb::Database::open(&bare).unwrap();
    let transaction = db.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        let mut row = meta.get(&b"state"[..]).unwrap().unwrap().value().to_vec();
        row[8] += 1;
        let body = row.len() - 4;
        let lengths = [4u64.to_le_bytes(), 5u64.to_le_bytes()].concat();
        let crc = crc32fast::hash(&[&lengths, &b"meta"[..], b"state", &row[..body]].concat());
        row[body..].copy_from_slice(&crc.to_le_bytes());
        meta.insert(&b"state"[..], &row[..]).unwrap();
    }
    transaction.commit().unwrap();
    drop(db);
    fs::write(file, pack(&fs::read(&bare).unwrap())).unwrap();
    fs::remove_file(bare).unwrap();
}

#[test]
fn p15_a_newer_catalogue_is_too_new() {
    check_too_new(|dir| raise_redb_version(&dir.join("catalog.redb")));
}

#[test]
fn p15_newer_tables_are_too_new() {
    check_too_new(|dir| raise_redb_version(&dir.join("tables.redb")));
}

/// The catalogue vouches for the footer of each run, so a newer run under an old catalogue is damage.
#[test]
fn p15_a_newer_run_is_refused_untouched() {
    let dir = store_with_every_file();
    let run = first_in(&dir.path().join("runs"), "run");
    let len = fs::read(&run).unwrap().len();
    raise_version(&run, len - 12, len - 8);
    let before = contents(dir.path());
    assert_eq!(refused(patiently(|| Store::open(dir.path()))), ErrorKind::Corrupt);
    assert_eq!(contents(dir.path()), before);
}

// ---- one owner -------------------------------------------------------------------------------------------

#[test]
fn p14_a_second_open_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = Store::open(&place).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&place, &link).unwrap();
    for path in [place.clone(), link.clone(), place.join("../store/."), place.join("journal/..")] {
        assert_eq!(refused(Store::open(path)), ErrorKind::AlreadyOpen);
    }
    claimed(store.claim("k", DAY)).complete("r").unwrap();
    done_with(store);
    let store = patiently(|| Store::open(&link)).unwrap();
    assert_eq!(duplicate(store.claim("k", DAY)).response(), b"r");
    done_with(store);
}

const CHILD_DIR: &str = "CLAIMSTORE_TEST_DIR";

/// Opens the store, claims, says so, and waits to be killed.
#[test]
#[ignore = "a process of its own, started by the tests below"]
fn child_that_holds_the_store() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = Store::open(dir).unwrap();
    claimed(store.claim("done", DAY)).complete("r").unwrap();
    let _held = claimed(store.claim("held", DAY));
    println!("\nREADY");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

pub(crate) fn start_child(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bad_input::child_that_holds_the_store", "--include-ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "READY"), "the child did not open the store");
    child
}

#[test]
fn p14_another_process_owns_it_until_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start_child(dir.path());
    assert_eq!(refused(Store::open(dir.path())), ErrorKind::AlreadyOpen);
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(duplicate(store.claim("done", DAY)).response(), b"r", "P2, P3: acknowledged is durable");
    assert_eq!(store.orphans().count(), 1, "P11");
    assert_eq!(claimed(store.claim("held", DAY)).attempt(), 2);
    done_with(store);
}
