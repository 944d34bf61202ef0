//! A store of version 1 of the format becomes one of version 2 at its first opening for writing, wherever that is cut.

use crate::watch::this_test;
use claimstore::io::{OpenMode, Storage};
use claimstore::{Claim, ErrorKind, ManualClock, Options, RecordState, Store};
use claimstore_sim::{Level, SimDisk, Variant};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(86_400);
/// Where the version stands in `STORE`, and the checksum behind all of it.
const VERSION_AT: usize = 8;
const SUM_AT: usize = 28;

fn options() -> Options {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    Options::new()
        .clock(clock)
        .background(false)
        .segment_bytes(64 << 10)
        .max_response_bytes(1_000)
        .max_progress_bytes(1_000)
}

fn open(disk: &SimDisk) -> Result<Store, claimstore::Error> {
    options().open_on(Arc::new(disk.clone()))
}

fn version(disk: &SimDisk) -> u32 {
    let mut bytes = [0; 4];
    disk.open("STORE", OpenMode::Existing).unwrap().read_exact_at(&mut bytes, VERSION_AT as u64).unwrap();
    u32::from_le_bytes(bytes)
}

/// What a store has written in which nothing failed and nothing was lost is the same in both versions, but for `STORE`.
fn make_version_1(disk: &SimDisk) {
    let file = disk.open("STORE", OpenMode::Existing).unwrap();
    let mut bytes = [0; SUM_AT + 4];
    assert_eq!(file.len().unwrap(), bytes.len() as u64);
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&1u32.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..SUM_AT]);
    bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_data().unwrap();
}

/// A store of version 1: with a result, and with a claim whose process died or not.
fn old_store(dies: bool) -> SimDisk {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    store.claim("done", DAY).unwrap().claimed().unwrap().complete("result").unwrap();
    let disk = if dies {
        let lease = store.claim("open", DAY).unwrap().claimed().unwrap();
        let died = disk.crash_at(disk.events(), Variant::new(Level::L0, 0));
        drop((lease, store));
        died
    } else {
        store.close().unwrap();
        disk
    };
    make_version_1(&disk);
    // What follows begins on a disk on which all of that is durable.
    disk.crash_at(disk.events(), Variant::new(Level::L0, 0))
}

#[test]
fn p15_raising_a_store_of_version_1_may_be_cut_anywhere() {
    this_test();
    let (mut images, mut raised) = (0, 0);
    for dies in [false, true] {
        let disk = old_store(dies);
        assert_eq!(version(&disk), 1);
        let store = open(&disk).unwrap();
        assert_eq!(version(&disk), 2);
        // The first bytes that version 1 does not know.
        drop(store.claim("lost", DAY).unwrap().claimed().unwrap());
        assert_eq!(store.claim("lost", DAY).unwrap().claimed().unwrap().attempt(), 2);
        for event in 0..=disk.events() {
            for (level, seed) in [Level::L0, Level::L1, Level::L2, Level::L3].into_iter().zip(event as u64..)
            {
                let image = disk.crash_at(event, Variant::new(level, seed));
                let before = version(&image);
                let again =
                    open(&image).unwrap_or_else(|error| panic!("{dies} {event} {level:?}: {error:?}"));
                let claim = again.claim("done", DAY).unwrap();
                assert!(matches!(claim, Claim::Duplicate(receipt) if receipt.response() == b"result"));
                let found = again.get("open").unwrap().map(|record| record.state());
                assert_eq!(found, dies.then_some(RecordState::Orphaned));
                if let Some(lost) = again.get("lost").unwrap() {
                    assert_eq!(before, 2, "bytes of version 2 in a store of version 1, {event} {level:?}");
                    assert!(lost.attempt() <= 2);
                }
                again.close().unwrap();
                assert_eq!(version(&image), 2);
                images += 1;
                raised += u32::from(before == 1);
            }
        }
        store.close().unwrap();
    }
    assert!(raised > 0 && raised < images, "{raised} of {images}");
    println!("stores of version 1: {images} images, {raised} of them not raised yet");
}

/// A read-only opening shows a store of version 1 and leaves it one; a version beyond ours is told from damage.
#[test]
fn p15_looking_raises_nothing_and_a_later_version_is_too_new() {
    this_test();
    let disk = old_store(true);
    let store = options().read_only(true).open_on(Arc::new(disk.clone())).unwrap();
    assert_eq!(store.get("done").unwrap().unwrap().response(), Some(&b"result"[..]));
    store.close().unwrap();
    assert_eq!(version(&disk), 1);
    let file = disk.open("STORE", OpenMode::Existing).unwrap();
    let mut bytes = [0; SUM_AT + 4];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&3u32.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..SUM_AT]);
    bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    file.write_all_at(&bytes, 0).unwrap();
    assert_eq!(open(&disk).unwrap_err().kind(), ErrorKind::TooNew);
}
