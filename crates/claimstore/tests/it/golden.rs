//! Stores that earlier versions of the format left behind: they open, and show what they held.
//!
//! Under `tests/golden/` is a file for each: the store's files in hexadecimal, without zeros, as `Files::to_text` writes
//! them. Such a file is never written again. That of a new version is made once:
//!
//! ```sh
//! CLAIMSTORE_GOLDEN=v2 cargo test -p claimstore --test it golden::make -- --ignored
//! ```

use crate::common::{DAY, HOUR, SECOND, claimed, done_with, duplicate, patiently, refused, request};
use claimstore::{
    ErrorKind, Failure, ManualClock, Note, OnDrop, Options, Policy, Record, RecordState, Review, Store,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn began() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn options(clock: &ManualClock) -> Options {
    Options::new()
        .clock(clock.clone())
        .background(false)
        .segment_bytes(64 << 10)
        .max_response_bytes(1_000)
        .max_progress_bytes(1_000)
}

/// The files of a directory, by their paths below it.
#[derive(Debug, PartialEq, Eq)]
struct Files(BTreeMap<String, Vec<u8>>);

/// Zeros are written only where they are few.
const LINE: usize = 32;

impl Files {
    fn read(dir: &Path) -> Files {
        let mut files = BTreeMap::new();
        for below in ["", "journal", "runs"] {
            for entry in fs::read_dir(dir.join(below)).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() && entry.file_name() != "reserve" {
                    let name = Path::new(below).join(entry.file_name());
                    files.insert(name.to_str().unwrap().to_owned(), fs::read(entry.path()).unwrap());
                }
            }
        }
        Files(files)
    }

    fn write(&self, dir: &Path) {
        for below in ["journal", "runs"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        for (name, bytes) in &self.0 {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, bytes) in &self.0 {
            writeln!(text, "file {name} {}", bytes.len()).unwrap();
            for (at, line) in bytes.chunks(LINE).enumerate() {
                if line.iter().any(|byte| *byte != 0) {
                    write!(text, "{:x} ", at * LINE).unwrap();
                    line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                    text.push('\n');
                }
            }
        }
        text
    }

    fn from_text(text: &str) -> Files {
        let mut files = BTreeMap::new();
        let mut bytes: Option<&mut Vec<u8>> = None;
        for line in text.lines() {
            if let Some(file) = line.strip_prefix("file ") {
                let (name, len) = file.rsplit_once(' ').unwrap();
                let zeros = vec![0; len.parse().unwrap()];
                bytes = Some(files.entry(name.to_owned()).or_insert(zeros));
                continue;
            }
            let (at, hex) = line.split_once(' ').unwrap();
            let at = usize::from_str_radix(at, 16).unwrap();
            for (place, pair) in hex.as_bytes().chunks(2).enumerate() {
                let byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
                bytes.as_mut().unwrap()[at + place] = byte;
            }
        }
        Files(files)
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Fills a store with a key of every kind that every version has. Some of it goes into runs.
fn fill(store: Store, open: &dyn Fn() -> Store) -> Store {
    let ns = store.namespace_with("golden/resolve", Policy::daily().lease(HOUR)).unwrap();
    claimed(ns.claim("done there", 7 * DAY)).complete("there").unwrap();
    claimed(store.claim_with(&request("done").fingerprint([7; 32]).origin("golden")))
        .complete("result")
        .unwrap();
    claimed(store.claim_with(&request("failed"))).fail(Failure::terminal("no")).unwrap();
    claimed(store.claim_with(&request("parked"))).fail(Failure::park("look at it")).unwrap();
    for _ in 0..2 {
        claimed(store.claim_with(&request("fails"))).fail(Failure::retry().because("an error")).unwrap();
    }
    claimed(store.claim_with(&request("waits"))).fail(Failure::retry_after(HOUR)).unwrap();
    claimed(store.claim_with(&request("back"))).fail(Failure::retry()).unwrap();
    claimed(store.claim_with(&request("back"))).release().unwrap();
    claimed(store.claim_with(&request("requeued"))).fail(Failure::park("look")).unwrap();
    let parked = store.parked().map(Result::unwrap).find(|record| record.key() == b"requeued").unwrap();
    store.review(&parked, &Review::Requeue, &Note::new("golden", "again")).unwrap();
    store.checkpoint().unwrap();
    let mut dies = claimed(store.claim_with(&request("dies")));
    dies.save_progress("half").unwrap();
    std::mem::forget(dies);
    store.close().unwrap();
    let store = open();
    let dies = claimed(store.claim_with(&request("dies")));
    assert_eq!((dies.attempt(), dies.progress()), (2, Some(&b"half"[..])));
    std::mem::forget(dies);
    std::mem::forget(claimed(store.claim_with(&request("held"))));
    let _token = claimed(store.claim_with(&request("detached"))).detach(DAY).unwrap();
    claimed(store.claim_with(&request("late"))).complete("in the journal").unwrap();
    store
}

/// Opens a golden store in a directory of its own, a second after it was left.
fn opened(name: &str) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    Files::from_text(&fs::read_to_string(golden(name)).unwrap()).write(dir.path());
    let clock = ManualClock::new(began() + SECOND);
    let store = options(&clock).open(dir.path()).unwrap();
    (dir, store)
}

/// What a key shows: its state, which attempt it is at, and what is counted of them.
type Shown = (RecordState, u32, u32, u32, bool);

fn shown(record: &Record) -> Shown {
    (record.state(), record.attempt(), record.failures(), record.losses(), record.in_doubt())
}

/// Of a version without tallies, each attempt that has ended was a failure, and what became of it is not known.
fn check_first_version(store: &Store) {
    use RecordState::{Completed, Failed, InProgress, Orphaned, Parked, Retry};
    for (key, expected) in [
        ("done", (Completed, 1, 0, 0, false)),
        ("failed", (Failed, 1, 0, 0, false)),
        ("late", (Completed, 1, 0, 0, false)),
        ("parked", (Parked, 1, 1, 0, true)),
        ("fails", (Retry, 2, 2, 0, true)),
        ("waits", (Retry, 1, 1, 0, true)),
        ("back", (Retry, 1, 1, 0, true)),
        ("requeued", (Retry, 1, 1, 0, true)),
        ("dies", (Orphaned, 2, 1, 0, true)),
        ("held", (Orphaned, 1, 0, 0, false)),
        ("detached", (InProgress, 1, 0, 0, false)),
    ] {
        assert_eq!(shown(&store.get(key).unwrap().unwrap()), expected, "{key}");
    }
    let done = duplicate(store.claim_with(&request("done").fingerprint([7; 32])));
    assert_eq!((done.response(), done.fingerprint_checked()), (&b"result"[..], true));
    let dies = claimed(store.claim_with(&request("dies")));
    assert_eq!((dies.attempt(), dies.in_doubt(), dies.progress()), (3, true, Some(&b"half"[..])));
    drop(dies);
    // Two deaths and a failure are three, as they were; a drop is a loss now.
    let fails = claimed(store.claim_with(&request("fails")));
    assert_eq!((fails.attempt(), fails.in_doubt()), (3, true));
    fails.fail(Failure::retry()).unwrap();
    assert_eq!(refused(store.claim_with(&request("fails"))), ErrorKind::Parked);
    let dies = claimed(store.claim_with(&request("dies")));
    assert_eq!(shown(&store.get("dies").unwrap().unwrap()), (InProgress, 4, 2, 1, true));
    // A reviewer granted three more than one.
    assert_eq!(store.get("requeued").unwrap().unwrap().attempts_granted(), 4);
    dies.complete("at last").unwrap();
}

#[test]
fn p15_a_store_of_version_1_opens_and_becomes_one_of_version_2() {
    for name in ["v1-died.txt", "v1-closed.txt"] {
        let text = fs::read_to_string(golden(name)).unwrap();
        let files = Files::from_text(&text);
        assert_eq!(files.to_text(), text, "nothing of it is lost");
        assert_eq!(files.0["STORE"][8], 1);
        let (dir, store) = opened(name);
        assert_eq!(fs::read(dir.path().join("STORE")).unwrap()[8], 2, "before anything else is written");
        check_first_version(&store);
        let ns = store.namespace_with("golden/resolve", Policy::daily().max_losses(4)).unwrap();
        assert_eq!(duplicate(ns.claim("done there", 7 * DAY)).response(), b"there");
        done_with(store);
        let store = patiently(|| options(&ManualClock::new(began() + HOUR)).open(dir.path())).unwrap();
        assert_eq!(store.namespace("golden/resolve").unwrap().policy().losses_allowed(), 4);
        assert_eq!(store.get("dies").unwrap().unwrap().losses(), 1);
        done_with(store);
    }
}

#[test]
fn p15_a_store_of_version_2_shows_what_it_held() {
    use RecordState::{Completed, InProgress, Orphaned, Parked, Retry};
    // What lived at a clean close was lost there; what died is counted when somebody takes it over.
    for (name, dies, held) in
        [("v2-died.txt", (0, 1, true), (0, 0, false)), ("v2-closed.txt", (0, 2, true), (0, 1, true))]
    {
        let (_dir, store) = opened(name);
        for (key, expected) in [
            ("late", (Completed, 1, 0, 0, false)),
            ("parked", (Parked, 1, 0, 0, false)),
            ("fails", (Retry, 2, 2, 0, false)),
            ("waits", (Retry, 1, 1, 0, false)),
            ("back", (Retry, 1, 1, 0, false)),
            ("requeued", (Retry, 1, 0, 0, false)),
            ("dies", (Orphaned, 2, dies.0, dies.1, dies.2)),
            ("held", (Orphaned, 1, held.0, held.1, held.2)),
            ("detached", (InProgress, 1, 0, 0, false)),
        ] {
            assert_eq!(shown(&store.get(key).unwrap().unwrap()), expected, "{name}: {key}");
        }
        let ns = store.namespace("golden/resolve").unwrap();
        assert_eq!((ns.policy().losses_allowed(), ns.policy().drop_rule()), (4, OnDrop::KeepTerm));
        assert_eq!(claimed(store.claim_with(&request("dies"))).progress(), Some(&b"half"[..]));
        done_with(store);
    }
}

#[test]
fn looking_at_a_store_of_version_1_leaves_it_one() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::from_text(&fs::read_to_string(golden("v1-died.txt")).unwrap());
    files.write(dir.path());
    let clock = ManualClock::new(began() + SECOND);
    let store = patiently(|| options(&clock).read_only(true).open(dir.path())).unwrap();
    assert_eq!(store.get("dies").unwrap().unwrap().failures(), 1);
    store.close().unwrap();
    assert_eq!(Files::read(dir.path()), files);
}

/// Makes the golden files of a version: of a closed store, and of one whose process died.
#[test]
#[ignore = "once for each version of the format"]
fn make() {
    let Ok(version) = std::env::var("CLAIMSTORE_GOLDEN") else { return };
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(began());
    let open = || options(&clock).open(dir.path()).unwrap();
    let store = fill(open(), &open);
    let policy = Policy::daily().lease(HOUR).max_losses(4).on_drop(OnDrop::KeepTerm);
    store.namespace_with("golden/resolve", policy).unwrap();
    fs::create_dir_all(golden("")).unwrap();
    clock.advance(SECOND);
    fs::write(golden(&format!("{version}-died.txt")), Files::read(dir.path()).to_text()).unwrap();
    store.close().unwrap();
    fs::write(golden(&format!("{version}-closed.txt")), Files::read(dir.path()).to_text()).unwrap();
}
