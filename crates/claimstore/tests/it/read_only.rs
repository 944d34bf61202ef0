//! Read-only openings on a real directory. That they change nothing whatever a crash left is shown on the simulated
//! disk.

use crate::common::{Bed, DAY, claimed, done_with, duplicate, refused, request};
use claimstore::{
    Claim, Error, ErrorKind, Failure, Filter, Import, Note, Options, Policy, Record, Review, Store,
};
use std::fs;
use std::path::Path;

fn read_only() -> Options {
    Options::new().read_only(true)
}

/// Names, lengths, times and bytes.
fn state(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(state(&path));
            found.push((path, Vec::new(), changed));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap(), changed));
        }
    }
    found.sort();
    found
}

fn filled(bed: &Bed) -> Store {
    let store = bed.open();
    claimed(store.claim("cold", DAY)).complete("cold").unwrap();
    store.checkpoint().unwrap();
    claimed(store.claim("known", DAY)).complete("known").unwrap();
    claimed(store.claim("parked", DAY)).fail(Failure::park("why")).unwrap();
    let rows = store.transact(&request("rows"), |tx| {
        tx.table("table")?.insert("row", "value")?;
        Ok(b"rows".to_vec())
    });
    assert!(rows.is_ok());
    claimed(store.namespace_with("space", Policy::daily()).unwrap().claim("other", DAY)).release().unwrap();
    store.fingerprinter().unwrap();
    std::mem::forget(claimed(store.claim("held", DAY)));
    store
}

fn listed(store: &Store) -> Vec<Record> {
    let mut records: Vec<Record> = store.scan(Filter::new()).map(Result::unwrap).collect();
    records.sort_by(|one, other| one.key().cmp(other.key()));
    records
}

#[test]
fn it_shows_everything_and_leaves_every_byte() {
    let bed = Bed::disk();
    done_with(filled(&bed));
    let before = state(bed.path());
    let store = bed.options().read_only(true).open(bed.path()).unwrap();
    let shown = listed(&store);
    assert_eq!(shown.len(), 5);
    assert_eq!(store.get("known").unwrap().unwrap().response(), Some(&b"known"[..]));
    assert_eq!(store.get("unknown").unwrap(), None);
    assert_eq!(store.table("table").unwrap().get("row").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.orphans().count(), 1);
    assert_eq!(store.parked().count(), 1);
    assert_eq!(store.namespaces(), ["", "space"]);
    store.namespace("space").unwrap();
    store.fingerprinter().unwrap();
    store.census().unwrap();
    assert!(store.stats().unwrap().opened_clean);
    store.verify().unwrap();
    store.close().unwrap();
    assert!(state(bed.path()) == before, "the directory was changed");
    let usual = bed.open();
    assert_eq!(listed(&usual), shown);
    done_with(usual);
}

#[test]
fn whatever_would_change_something_is_misuse() {
    let bed = Bed::disk();
    done_with(filled(&bed));
    let before = state(bed.path());
    let store = bed.options().read_only(true).open(bed.path()).unwrap();
    let misuse = |name: &str, answer: Result<(), Error>| {
        assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::Misuse), "{name}");
    };
    let space = store.namespace("space").unwrap();
    let parked = store.parked().next().unwrap().unwrap();
    let orphan = store.orphans().next().unwrap().unwrap();
    // Also where the answer would change nothing: a program that claims is one that means to work.
    misuse("claim of a known key", store.claim("known", DAY).map(drop));
    misuse("claim", store.claim("new", DAY).map(drop));
    misuse("claim_many", store.claim_many(&[request("new")]).map(drop));
    misuse("claim_or_wait", store.claim_or_wait(&request("new"), DAY).map(drop));
    misuse("transact", store.transact(&request("new"), |_| Ok(Vec::new())).map(drop));
    misuse("forget", store.forget("known").map(drop));
    misuse("take_over", store.take_over(&orphan, DAY).map(drop));
    misuse("fail_orphans", store.fail_orphans(&[(orphan, Failure::retry())]).map(drop));
    misuse("review", store.review(&parked, &Review::Requeue, &Note::new("by", "why")));
    misuse("import_many", space.import_many(&[Import::completed("new", "x")]).map(drop));
    misuse("a new namespace", store.namespace("new").map(drop));
    misuse("another policy", store.namespace_with("space", Policy::weekly()).map(drop));
    misuse("sequence", store.sequence("stream").map(drop));
    misuse("checkpoint", store.checkpoint());
    misuse("prune", store.prune().map(drop));
    misuse("compact", store.compact());
    misuse("upkeep", store.upkeep().map(drop));
    misuse("after_restore", store.after_restore());
    let target = bed.path().with_extension("backup");
    misuse("backup", store.backup(&target));
    assert!(!target.exists());
    store.close().unwrap();
    assert!(state(bed.path()) == before, "the directory was changed");
}

/// The journal of a process that died is replayed in memory.
#[test]
fn a_store_that_was_not_closed_shows_what_its_journal_has() {
    let bed = Bed::disk();
    let store = filled(&bed);
    let copy = tempfile::tempdir().unwrap();
    copy_files(bed.path(), copy.path());
    let shown = listed(&store);
    done_with(store);
    let before = state(copy.path());
    let looked = bed.options().read_only(true).open(copy.path()).unwrap();
    assert!(!looked.stats().unwrap().opened_clean);
    assert_eq!(listed(&looked).len(), shown.len());
    assert_eq!(looked.get("known").unwrap().unwrap().response(), Some(&b"known"[..]));
    looked.verify().unwrap();
    looked.close().unwrap();
    assert!(state(copy.path()) == before, "the directory was changed");
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_files(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn readers_share_and_an_owner_excludes_them() {
    let bed = Bed::disk();
    let owner = filled(&bed);
    assert_eq!(refused(read_only().open(bed.path())), ErrorKind::AlreadyOpen);
    // Without the lock file the second lock says the same.
    fs::rename(bed.path().join("LOCK"), bed.path().join("OLD")).unwrap();
    assert_eq!(refused(read_only().open(bed.path())), ErrorKind::AlreadyOpen);
    fs::rename(bed.path().join("OLD"), bed.path().join("LOCK")).unwrap();
    done_with(owner);
    let (one, other) = (read_only().open(bed.path()).unwrap(), read_only().open(bed.path()).unwrap());
    assert_eq!(refused(Store::open(bed.path())), ErrorKind::AlreadyOpen);
    one.close().unwrap();
    assert_eq!(refused(Store::open(bed.path())), ErrorKind::AlreadyOpen);
    other.close().unwrap();
    let owner = bed.open();
    assert!(matches!(owner.claim("known", DAY), Ok(Claim::Duplicate(_))));
    done_with(owner);
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(refused(read_only().open(home.path())), ErrorKind::Misuse);
    assert!(fs::read_dir(home.path()).unwrap().next().is_none());
    let missing = home.path().join("missing");
    let absent = read_only().open(&missing).unwrap_err();
    assert_eq!((absent.kind(), absent.file()), (ErrorKind::Misuse, missing.to_str()));
    assert!(!missing.exists());
    assert_eq!(refused(read_only().in_memory()), ErrorKind::Misuse);
    let bed = Bed::disk();
    let store = bed.open();
    claimed(store.claim("key", DAY)).complete("r").unwrap();
    let store = bed.reopen(store);
    assert_eq!(duplicate(store.claim("key", DAY)).response(), b"r");
    done_with(store);
}
