//! The control of the simulated disk: a toy journal that keeps its promises passes every crash at every level, and each
//! that breaks one is caught, as is a disk whose syncs do nothing. A harness that does not see these sees nothing.

use super::{Disk, Level, Variant};
use crate::Rng;
use claimstore::io::{File, OpenMode, Storage};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
const RECORD_BYTES: usize = 1_024;

/// What a toy does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    AcknowledgesBeforeSync,
    ForgetsDirectorySync,
    TrustsRecordsUnseen,
}

/// A journal of two-sector records, read whole at open.
struct Toy {
    journal: Arc<dyn File>,
    bug: Bug,
    records: Vec<Vec<u8>>,
}

impl Toy {
    fn open(disk: &Disk, bug: Bug) -> io::Result<Toy> {
        let existing = disk.open("journal", OpenMode::Existing);
        let journal = existing.or_else(|_| disk.open("journal", OpenMode::CreateNew))?;
        journal.sync_data()?;
        journal.drop_cache()?;
        let mut toy = Toy { journal, bug, records: Vec::new() };
        while toy.replay_next()? {}
        if bug != Bug::ForgetsDirectorySync {
            disk.sync_dir("")?;
        }
        toy.journal.set_len(toy.end())?;
        toy.journal.sync_data()?;
        Ok(toy)
    }

    fn end(&self) -> u64 {
        (self.records.len() * RECORD_BYTES) as u64
    }

    fn replay_next(&mut self) -> io::Result<bool> {
        let mut bytes = vec![0; RECORD_BYTES];
        if self.end() + RECORD_BYTES as u64 > self.journal.len()? {
            return Ok(false);
        }
        self.journal.read_exact_at(&mut bytes, self.end())?;
        let is_in_place = usize::from(bytes[8]) == self.records.len() + 1;
        let is_whole = is_in_place && bytes[..8] == checksum(&bytes[8..]).to_le_bytes();
        let is_believed = self.bug == Bug::TrustsRecordsUnseen && bytes[8] != 0;
        if is_whole || is_believed {
            self.records.push(bytes);
        }
        Ok(is_whole || is_believed)
    }

    fn append(&mut self) -> io::Result<()> {
        let record = record(self.records.len());
        self.journal.write_all_at(&record, self.end())?;
        self.records.push(record);
        if self.bug == Bug::AcknowledgesBeforeSync { Ok(()) } else { self.journal.sync_data() }
    }
}

/// The record of this number: its checksum, then the number in every byte, so that both sectors matter.
fn record(number: usize) -> Vec<u8> {
    let body = [number as u8 + 1; RECORD_BYTES - 8];
    [&checksum(&body).to_le_bytes()[..], &body].concat()
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// What the toy was asked and said: where in the disk's log each record was begun, and where it was acknowledged.
#[derive(Default)]
struct Account {
    begun: Vec<usize>,
    acknowledged: Vec<usize>,
}

impl Account {
    /// Twelve records; ends at the first error of the disk.
    fn of(disk: &Disk, bug: Bug) -> Account {
        let mut account = Account::default();
        let Ok(mut toy) = Toy::open(disk, bug) else { return account };
        for _ in 0..12 {
            account.begun.push(disk.events());
            if toy.append().is_err() {
                break;
            }
            account.acknowledged.push(disk.events());
        }
        account
    }

    /// After a crash behind so many events: what was acknowledged is there, and nothing that was never begun.
    fn check(&self, events: usize, reopened: &Toy) -> Result<(), String> {
        let least = self.acknowledged.iter().filter(|at| **at <= events).count();
        let most = self.begun.iter().filter(|at| **at < events).count();
        let found = reopened.records.len();
        let is_as_written =
            reopened.records.iter().enumerate().all(|(number, bytes)| *bytes == record(number));
        if is_as_written && (least..=most).contains(&found) {
            return Ok(());
        }
        Err(format!(
            "behind event {events}: {found} records, {least} to {most} expected; as written: {is_as_written}"
        ))
    }
}

/// Crashes the script behind every event, then its recovery behind some, and judges both.
fn crash_everywhere(disk: &Disk, bug: Bug, seeds: u64) -> Result<usize, String> {
    let account = Account::of(disk, bug);
    let mut distinct = HashSet::new();
    for events in 0..=disk.events() {
        for level in LEVELS {
            for seed in 0..seeds {
                let mut rng = Rng::new(seed.wrapping_mul(0x1_0000).wrapping_add(events as u64));
                let image = disk.crash_at(events, Variant::new(level, rng.next_u64()));
                distinct.insert(image.digest());
                account.check(events, &Toy::open(&image, bug).unwrap())?;
                let again = rng.index(image.events() + 1);
                let second = image.crash_at(again, Variant::new(LEVELS[rng.index(4)], rng.next_u64()));
                account.check(events, &Toy::open(&second, bug).unwrap())?;
            }
        }
    }
    Ok(distinct.len())
}

#[test]
fn an_honest_toy_passes() {
    let distinct = crash_everywhere(&Disk::new(), Bug::None, 40).unwrap();
    assert!(distinct > 60, "{distinct}");
}

#[test]
fn every_broken_toy_is_caught() {
    for bug in [Bug::AcknowledgesBeforeSync, Bug::ForgetsDirectorySync, Bug::TrustsRecordsUnseen] {
        assert!(crash_everywhere(&Disk::new(), bug, 40).is_err(), "{bug:?} went unseen");
    }
}

#[test]
fn a_lying_disk_is_caught() {
    crash_everywhere(&Disk::lying(), Bug::None, 10).unwrap_err();
}
