//! `backup` and `restore`.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use claimstore::Claim;

use crate::sandbox::{Sandbox, key, open, payload};

fn words(verb: &str, path: &Path) -> String {
    format!("{verb} {}", path.display())
}

/// A token given now, above all that were given before.
fn next_token(store: &Path) -> u64 {
    let store = open(store);
    let lease = store.claim(format!("token-{}", store.stats().unwrap().life), Duration::from_secs(60));
    let lease = lease.unwrap().claimed().unwrap();
    let token = lease.token();
    lease.release().unwrap();
    store.close().unwrap();
    token
}

#[test]
fn a_restored_backup_holds_what_the_store_held_with_higher_tokens() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let (copy, lost) = (sandbox.path("copy"), sandbox.path("lost"));
    let said = sandbox.json(&words("backup", &copy));
    assert!(said["rows"].as_u64() > Some(0) && said["with_key"] == false, "{said}");
    // What the store gives out after the backup is above anything in it.
    let token_after = next_token(&sandbox.store());
    let before = sandbox.json("list --show-keys");
    fs::rename(sandbox.store(), &lost).unwrap();

    let restored = sandbox.json(&words("restore", &copy));
    assert!(restored["life"].as_u64() > Some(1_024), "{restored}");
    assert_eq!(sandbox.json("list --show-keys"), before);
    assert!(next_token(&sandbox.store()) > token_after);
    let store = sandbox.open();
    let answer = store.namespace("shop").unwrap().claim_default(key("done")).unwrap();
    assert!(matches!(answer, Claim::Duplicate(_)));
    store.close().unwrap();
}

/// While it is taken, threads of the program that has the store open claim and complete.
#[test]
fn a_backup_under_load_opens_verifies_and_has_all_that_was_done_before() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let ttl = Duration::from_secs(3_600);
    let work =
        |name: String| store.claim(name, ttl).unwrap().claimed().unwrap().complete(payload("r")).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        for thread in 0..4 {
            let (work, stop, done) = (&work, &stop, &done);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    work(format!("load-{thread}-{number}"));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..3 {
            for number in 0..100 {
                work(format!("before-{round}-{number}"));
            }
            let copy = sandbox.path(&format!("copy{round}"));
            let before = done.load(Ordering::SeqCst);
            store.backup(&copy).unwrap();
            // It goes on while the copies are looked at.
            while done.load(Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
            let ran = sandbox.run_at("verify --json", &copy);
            assert_eq!(ran.code, 0, "{}", ran.err);
            let listed = sandbox.run_at("list --json --limit 100000 --prefix before-", &copy).out;
            let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
            let records = listed["records"].as_array().unwrap();
            assert_eq!(records.len(), 100 * (round + 1));
            assert!(records.iter().all(|record| record["state"] == "completed"));
            let place = sandbox.path(&format!("place{round}"));
            assert_eq!(sandbox.run_at(&words("restore", &copy), &place).code, 0);
            assert_eq!(sandbox.run_at("verify", &place).code, 0);
        }
    });
    store.close().unwrap();
}

/// Raises the flag at the end of a scope, also by a panic: what waits for it must not wait for ever.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_backup_can_be_restored_twice() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let copy = sandbox.path("copy");
    assert_eq!(sandbox.run(&words("backup", &copy)).code, 0);
    for name in ["one", "other"] {
        let ran = sandbox.run_at(&words("restore", &copy), &sandbox.path(name));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(sandbox.run_at("verify", &sandbox.path(name)).code, 0);
    }
}

#[test]
fn the_key_of_the_fingerprints_comes_along_only_if_asked() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    store.fingerprinter().unwrap();
    store.close().unwrap();
    for (option, there) in [("", false), (" --with-key", true)] {
        let copy = sandbox.path(&format!("copy{}", option.len()));
        assert_eq!(sandbox.run(&format!("{}{option}", words("backup", &copy))).code, 0);
        assert_eq!(copy.join("fingerprint.key").exists(), there);
    }
}

#[test]
fn nothing_is_written_over() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let (copy, full) = (sandbox.path("copy"), sandbox.path("full"));
    assert_eq!(sandbox.run(&words("backup", &copy)).code, 0);
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "x").unwrap();
    let before = sandbox.json("list");
    for ran in [
        sandbox.run(&words("backup", &copy)),
        sandbox.run(&words("backup", &full)),
        sandbox.run(&words("restore", &copy)),
        sandbox.run_at(&words("restore", &copy), &full),
    ] {
        assert_eq!((ran.code, ran.out.len()), (73, 0), "{}", ran.err);
        assert!(ran.err.contains("is not empty"), "{}", ran.err);
    }
    assert_eq!(fs::read(full.join("file")).unwrap(), b"x");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let sandbox = Sandbox::new();
    let foreign = sandbox.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "x").unwrap();
    for from in [&foreign, &sandbox.path("nowhere")] {
        let ran = sandbox.run(&words("restore", from));
        assert_eq!((ran.code, ran.out.len()), (66, 0), "{}", ran.err);
    }
    assert!(!sandbox.store().exists());
}

#[test]
fn a_store_that_is_open_is_not_copied_from() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let place = sandbox.path("place");
    let at_once = format!("{} --wait 0s", words("restore", &sandbox.store()));
    let ran = sandbox.run_at(&at_once, &place);
    assert_eq!((ran.code, ran.out.len(), place.exists()), (75, 0, false), "{}", ran.err);
    // Who waits gets it as soon as it is free.
    let waiting = format!("{} --wait 10m", words("restore", &sandbox.store()));
    let ran = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sandbox.run_at(&waiting, &place));
        store.close().unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(ran.code, 0, "a closed one is as good as a snapshot: {}", ran.err);
}

#[test]
fn a_damaged_backup_leaves_no_store_and_no_draft() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let copy = sandbox.path("copy");
    assert_eq!(sandbox.run(&words("backup", &copy)).code, 0);
    let run = fs::read_dir(copy.join("runs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&run).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&run, &bytes).unwrap();
    let ran = sandbox.run_at(&words("restore", &copy), &sandbox.path("place"));
    assert_eq!((ran.code, ran.out.len()), (65, 0), "{}", ran.err);
    let entries = fs::read_dir(copy.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["copy", "store"]);
}
