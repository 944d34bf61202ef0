//! Files that are removed, renamed or replaced under an open store: noticed before the next batch is answered, and
//! nobody else gets in as long as the second lock stands.

use crate::common::{Bed, DAY, block_on, claimed, done_with, duplicate, eventually, refused, request};
use claimstore::{ClaimRequest, Durability, Error, ErrorKind, Options, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What somebody does to the directory of an open store, and how it is undone; `None` where nothing is left to undo.
struct Loss {
    name: &'static str,
    happens: fn(&Path),
    undone: Option<fn(&Path)>,
    /// Whether a second opening finds anything to open at the path meanwhile.
    leaves_a_store: bool,
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("aside")
}

fn remove_journal(dir: &Path) {
    for entry in fs::read_dir(dir.join("journal")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

const LOSSES: [Loss; 10] = [
    Loss {
        name: "LOCK removed",
        happens: |dir| fs::remove_file(dir.join("LOCK")).unwrap(),
        undone: Some(|_| ()),
        leaves_a_store: true,
    },
    Loss {
        name: "LOCK replaced",
        happens: |dir| {
            fs::write(dir.join("other"), b"").unwrap();
            fs::rename(dir.join("other"), dir.join("LOCK")).unwrap();
        },
        undone: Some(|_| ()),
        leaves_a_store: true,
    },
    Loss {
        name: "LOCK renamed",
        happens: |dir| fs::rename(dir.join("LOCK"), dir.join("OLD")).unwrap(),
        undone: Some(|dir| fs::rename(dir.join("OLD"), dir.join("LOCK")).unwrap()),
        leaves_a_store: true,
    },
    Loss {
        name: "LOCK and STORE removed",
        happens: |dir| {
            fs::copy(dir.join("STORE"), aside(dir)).unwrap();
            fs::remove_file(dir.join("LOCK")).unwrap();
            fs::remove_file(dir.join("STORE")).unwrap();
        },
        undone: Some(|dir| fs::rename(aside(dir), dir.join("STORE")).unwrap()),
        leaves_a_store: false,
    },
    Loss {
        name: "directory renamed",
        happens: |dir| fs::rename(dir, aside(dir)).unwrap(),
        undone: Some(|dir| {
            drop(fs::remove_dir_all(dir));
            fs::rename(aside(dir), dir).unwrap();
        }),
        leaves_a_store: false,
    },
    Loss {
        name: "directory removed",
        happens: |dir| fs::remove_dir_all(dir).unwrap(),
        undone: None,
        leaves_a_store: false,
    },
    Loss {
        name: "directory replaced by a copy",
        happens: |dir| {
            copy(dir, &aside(dir));
            fs::remove_dir_all(dir).unwrap();
            fs::rename(aside(dir), dir).unwrap();
        },
        undone: Some(|_| ()),
        leaves_a_store: false,
    },
    Loss { name: "journal removed", happens: remove_journal, undone: None, leaves_a_store: true },
    Loss {
        name: "journal renamed",
        happens: |dir| fs::rename(dir.join("journal"), dir.join("old")).unwrap(),
        undone: Some(|dir| fs::rename(dir.join("old"), dir.join("journal")).unwrap()),
        leaves_a_store: true,
    },
    Loss {
        name: "journal replaced by a copy",
        happens: |dir| {
            fs::rename(dir.join("journal"), dir.join("old")).unwrap();
            copy(&dir.join("old"), &dir.join("journal"));
        },
        undone: Some(|_| ()),
        leaves_a_store: true,
    },
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &target) } else { assert!(fs::copy(&path, &target).is_ok()) }
    }
}

/// A directory below one that is removed with the test.
fn place() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    (home, dir)
}

/// Small segments, which are made quickly.
fn small() -> Options {
    Options::new().segment_bytes(8 << 20)
}

fn quiet(dir: &Path) -> Store {
    small().background(false).open(dir).unwrap()
}

#[track_caller]
fn assert_told(error: &Error, name: &str) {
    assert!(error.to_string().contains("removed, renamed or replaced"), "{name}: {error}");
    let source = std::error::Error::source(error).unwrap_or_else(|| panic!("{name}: no source"));
    assert!(source.to_string().contains("while the store was open"), "{name}: {source}");
}

#[test]
fn the_next_batch_is_not_answered_and_the_store_is_poisoned() {
    for Loss { name, happens, undone, .. } in LOSSES {
        let (_home, dir) = place();
        let store = quiet(&dir);
        claimed(store.claim("before", DAY)).complete("kept").unwrap();
        let lease = claimed(store.claim("held", DAY));
        happens(&dir);
        let error = store.claim("after", DAY).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{name}: {error:?}");
        assert_told(&error, name);
        let error = Error::from(lease.complete("lost").unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{name}: {error:?}");
        assert_told(&error, name);
        assert_eq!(refused(store.claim("another", DAY)), ErrorKind::Poisoned, "{name}");
        assert!(store.close().is_err(), "{name}");
        let Some(undone) = undone else { continue };
        undone(&dir);
        let again = quiet(&dir);
        assert_eq!(duplicate(again.claim("before", DAY)).response(), b"kept", "{name}");
        drop(claimed(again.claim("another", DAY)));
        done_with(again);
    }
}

#[test]
fn every_level_and_every_way_of_asking_notices() {
    type Ask = fn(&Store) -> Result<(), Error>;
    let asks: [(&str, Ask); 6] = [
        ("claim_many", |store| store.claim_many(&[request("many")]).map(drop)),
        ("claim_async", |store| block_on(store.claim_async(&request("async"))).map(drop)),
        ("forget", |store| store.forget("before").map(drop)),
        ("namespace", |store| store.namespace("new").map(drop)),
        ("transact", |store| store.transact(&request("rows"), |_| Ok(Vec::new())).map(drop)),
        ("sequence", |store| store.sequence("stream").map(drop)),
    ];
    let levels = [Durability::Sync, Durability::Interval(Duration::from_millis(1)), Durability::None];
    for level in levels {
        for (name, ask) in asks {
            let (_home, dir) = place();
            let store = small().durability(level).background(false).open(&dir).unwrap();
            claimed(store.claim("before", DAY)).complete("kept").unwrap();
            // The file of tables is made at its first use, by upkeep, which would notice as well.
            store.transact(&request("first"), |_| Ok(Vec::new())).map(drop).unwrap();
            fs::remove_file(dir.join("LOCK")).unwrap();
            let error = ask(&store).unwrap_err();
            let lost = matches!(error.kind(), ErrorKind::Indeterminate | ErrorKind::Poisoned);
            assert!(lost, "{level:?}, {name}: {error:?}");
            assert_eq!(refused(store.claim("another", DAY)), ErrorKind::Poisoned, "{level:?}, {name}");
        }
    }
}

#[test]
fn upkeep_notices_before_it_makes_a_file() {
    type Work = fn(&Store) -> Result<(), Error>;
    let works: [(&str, Work); 6] = [
        ("checkpoint", Store::checkpoint),
        ("prune", |store| store.prune().map(drop)),
        ("compact", Store::compact),
        ("upkeep", |store| store.upkeep().map(drop)),
        ("fingerprinter", |store| store.fingerprinter().map(drop)),
        ("transact", |store| store.transact(&request("rows"), |_| Ok(Vec::new())).map(drop)),
    ];
    for (name, work) in works {
        let (_home, dir) = place();
        let store = quiet(&dir);
        claimed(store.claim("before", DAY)).complete("kept").unwrap();
        fs::rename(&dir, aside(&dir)).unwrap();
        // Somebody else's store stands there now: nothing of ours may get into it.
        let other = quiet(&dir);
        let contents = contents(&dir);
        assert_eq!(refused(work(&store)), ErrorKind::Poisoned, "{name}");
        drop(store);
        assert_eq!(contents, self::contents(&dir), "{name}");
        done_with(other);
    }
}

fn contents(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), fs::metadata(&path).unwrap().len()));
        }
    }
    found.sort();
    found
}

#[test]
fn an_idle_store_with_upkeep_notices_by_itself() {
    let (_home, dir) = place();
    let store = small().open(&dir).unwrap();
    claimed(store.claim("before", DAY)).complete("kept").unwrap();
    fs::remove_file(dir.join("STORE")).unwrap();
    eventually(|| store.stats().is_err());
    let error = store.stats().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_told(&error, "STORE removed");
}

#[test]
fn p14_a_second_lock_holds_where_the_first_was_taken_away() {
    for Loss { name, happens, leaves_a_store, .. } in LOSSES {
        let (_home, dir) = place();
        let store = quiet(&dir);
        claimed(store.claim("before", DAY)).complete("kept").unwrap();
        happens(&dir);
        let second = small().background(false).open(&dir);
        match second {
            // Nothing of the first store is there any more, or a copy of it; the first is poisoned at its next batch.
            Ok(second) if !leaves_a_store => drop(second),
            Err(error) if !leaves_a_store => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error:?}");
            }
            other => assert_eq!(refused(other), ErrorKind::AlreadyOpen, "{name}"),
        }
        assert!(store.claim("after", DAY).is_err(), "{name}");
    }
}

/// A copy that is opened beside its original is another store; what was locked is the file, not its name.
#[test]
fn a_copy_of_an_open_store_opens_and_the_original_goes_on() {
    let (_home, dir) = place();
    let store = quiet(&dir);
    claimed(store.claim("before", DAY)).complete("kept").unwrap();
    copy(&dir, &aside(&dir));
    let second = quiet(&aside(&dir));
    assert_eq!(duplicate(second.claim_with(&ClaimRequest::new("before"))).response(), b"kept");
    claimed(store.claim("after", DAY)).complete("kept").unwrap();
    done_with(second);
    done_with(store);
}

#[test]
fn a_store_that_was_poisoned_so_can_be_opened_again_from_within() {
    let bed = Bed::disk();
    let store = bed.open();
    fs::remove_file(bed.path().join("LOCK")).unwrap();
    // By the look after its batch, or before a segment is made for it.
    let lost = refused(store.claim("key", DAY));
    assert!(matches!(lost, ErrorKind::Indeterminate | ErrorKind::Poisoned), "{lost:?}");
    drop(store);
    done_with(bed.open());
}
