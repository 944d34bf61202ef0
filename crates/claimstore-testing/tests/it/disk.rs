//! The disk, as a store on it meets what it does.

use claimstore::io::Storage;
use claimstore::{Claim, ErrorKind, Store};
use claimstore_testing::{Disk, Operation, small_options};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn open(disk: &Disk) -> Store {
    small_options().open_on(disk.storage()).unwrap()
}

fn done(store: &Store, key: &str) -> bool {
    matches!(store.claim(key, DAY).unwrap(), Claim::Duplicate(_))
}

fn complete(store: &Store, key: &str) -> Result<(), ErrorKind> {
    let claim = store.claim(key, DAY).map_err(|refused| refused.kind())?;
    claim.claimed().unwrap().complete(vec![7; 50_000]).map_err(|refused| refused.kind())
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_goes_on_with_room() {
    for bytes_left in [0, 1, 511, 512, 4_096, 100_000, 1 << 20, 3 << 20] {
        let disk = Disk::new();
        let store = open(&disk);
        disk.fill_up(bytes_left);
        assert_eq!(disk.free_bytes(), Some(bytes_left));
        assert_eq!(store.stats().unwrap().disk_free_bytes, Some(bytes_left));
        let mut acknowledged = Vec::new();
        let refused = (0..400).map(|number| format!("order-{number}")).find_map(|key| {
            let refused = complete(&store, &key).err();
            if refused.is_none() {
                acknowledged.push(key);
            }
            refused
        });
        assert_eq!(refused, Some(ErrorKind::Full), "{bytes_left}");
        assert!(acknowledged.iter().all(|key| done(&store, key)), "{bytes_left}");
        disk.free_up();
        assert_eq!(disk.free_bytes(), None);
        complete(&store, "with room").unwrap();
        store.close().unwrap();
        let store = open(&disk);
        assert!(acknowledged.iter().all(|key| done(&store, key)), "{bytes_left}");
    }
}

#[test]
fn a_full_disk_is_full_after_a_crash() {
    let disk = Disk::new();
    let store = open(&disk);
    complete(&store, "a").unwrap();
    disk.fill_up(4_096);
    let disk = disk.crash();
    assert_eq!(disk.free_bytes(), Some(4_096));
    drop(store);
}

#[test]
fn overwriting_takes_no_room_and_a_removed_file_gives_its_room_back() {
    use claimstore::io::OpenMode;
    let disk = Disk::new();
    let (a, b) = (disk.open("a", OpenMode::CreateNew).unwrap(), disk.open("b", OpenMode::CreateNew).unwrap());
    a.write_all_at(&[1; 4_096], 0).unwrap();
    disk.fill_up(1_000);
    a.write_all_at(&[2; 4_096], 0).unwrap();
    // What fits arrives.
    let full = b.write_all_at(&[3; 2_048], 0).unwrap_err();
    assert_eq!((full.kind(), b.len().unwrap()), (std::io::ErrorKind::StorageFull, 512));
    b.allocate(2_048).unwrap_err();
    b.set_len(2_048).unwrap_err();
    a.set_len(1_024).unwrap();
    b.write_all_at(&[3; 2_048], 0).unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.free_bytes(), Some(1_000 + 4_096 - 2_048 - 1_024));
    drop(a);
    assert_eq!(disk.free_bytes(), Some(1_000 + 4_096 - 2_048));
}

#[test]
fn an_operation_fails_by_its_number() {
    const FAILED: Option<ErrorKind> = Some(ErrorKind::Indeterminate);
    for (nth, expected) in [(0, [FAILED, Some(ErrorKind::Poisoned)]), (1, [None, FAILED])] {
        let disk = Disk::new();
        let store = open(&disk);
        complete(&store, "before").unwrap();
        disk.fail(Operation::Syncs, nth);
        let claims = ["a", "b"].map(|key| store.claim(key, DAY));
        let kinds = claims.each_ref().map(|claim| claim.as_ref().err().map(claimstore::Error::kind));
        assert_eq!(kinds, expected, "{nth}");
        drop((claims, store));
        assert!(done(&open(&disk.crash()), "before"));
    }
}

#[test]
fn an_operation_fails_by_its_file() {
    let disk = Disk::new();
    let store = open(&disk);
    // Another directory is not meant, nor is a file whose name only begins alike.
    disk.fail_for_good(Operation::Writes, "journ");
    disk.fail_for_good(Operation::Syncs, "runs");
    complete(&store, "a").unwrap();
    disk.fail(Operation::Writes, "journal");
    assert_eq!(complete(&store, "b"), Err(ErrorKind::Indeterminate));
    drop(store);
    // It failed once.
    let disk = disk.crash();
    let store = open(&disk);
    complete(&store, "c").unwrap();
    disk.fail(Operation::Writes, "");
    assert_eq!(complete(&store, "d"), Err(ErrorKind::Indeterminate));
}

#[test]
fn what_fails_for_good_fails_until_it_is_taken_back() {
    let disk = Disk::new();
    disk.fail_for_good(Operation::DirOps, 0);
    for _ in 0..3 {
        assert_eq!(small_options().open_on(disk.storage()).unwrap_err().kind(), ErrorKind::Io);
    }
    disk.clear_faults();
    open(&disk);
    disk.fail_for_good(Operation::Syncs, "");
    let broken = small_options().open_on(disk.storage()).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Io);
}

#[test]
fn a_crash_ends_the_old_process() {
    let disk = Disk::new();
    let store = open(&disk);
    complete(&store, "a").unwrap();
    for next in [disk.crash(), disk.lose_power(3)] {
        assert!(store.claim("b", DAY).is_err());
        assert!(done(&open(&next), "a"));
    }
}

#[test]
fn power_losses_differ_by_seed_and_repeat() {
    let leaves = |seed| {
        let disk = Disk::new();
        let store = open(&disk);
        let _lease = store.claim("a", DAY).unwrap().claimed().unwrap();
        // An unsynced write, and power is lost before its sync.
        disk.fail_for_good(Operation::Syncs, 0);
        assert!(store.claim("b", DAY).is_err());
        disk.lose_power(seed).digest()
    };
    let digests: std::collections::BTreeSet<u64> = (0..20).map(leaves).collect();
    assert!(digests.len() > 3, "{digests:?}");
}
