//! The controls of the crash harness: a toy store that keeps its promises passes every crash at every
//! level, and each toy that breaks one is caught. A harness that does not see these sees nothing.

use crate::model::{Answer, Call, Response, Rules, Seen, SeenStage};
use crate::oracle::{Oracle, Probe};
use crate::{Fault, FaultKind, Level, Rng, SimDisk, Target, Variant, Violation};
use claimstore::io::{File, OpenMode, Storage};
use std::collections::{BTreeMap, HashSet};
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
    ReusesTokens,
    BelievesTheCache,
}

/// A journal of two-sector records, read whole at open.
#[derive(Debug)]
struct Toy {
    journal: Arc<dyn File>,
    end: u64,
    bug: Bug,
    life: u64,
    keys: BTreeMap<Vec<u8>, Entry>,
    seq: u64,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    token: u64,
    attempt: u32,
    response: Option<Response>,
    orphan: bool,
}

impl Toy {
    fn open(disk: &SimDisk, bug: Bug) -> std::io::Result<Toy> {
        let journal = match disk.open("journal", OpenMode::Existing) {
            Ok(journal) => journal,
            Err(_) => disk.open("journal", OpenMode::CreateNew)?,
        };
        journal.sync_data()?;
        if bug != Bug::BelievesTheCache {
            journal.drop_cache()?;
        }
        let mut toy = Toy { journal, end: 0, bug, life: 0, keys: BTreeMap::new(), seq: 0 };
        while toy.replay_next()? {}
        for entry in toy.keys.values_mut() {
            entry.orphan = entry.response.is_none();
        }
        if bug != Bug::ForgetsDirectorySync {
            disk.sync_dir("")?;
        }
        toy.journal.set_len(toy.end)?;
        toy.journal.sync_data()?;
        toy.life += 1;
        toy.append(&[&[0u8; 8][..], b"life"].concat())?;
        if bug != Bug::ReusesTokens {
            toy.journal.sync_data()?;
            toy.seq = toy.life << 32;
        }
        Ok(toy)
    }

    /// A record is its checksum, its place, its length and its bytes.
    fn append(&mut self, body: &[u8]) -> std::io::Result<()> {
        let mut bytes = vec![0; RECORD_BYTES];
        bytes[8..16].copy_from_slice(&self.end.to_le_bytes());
        bytes[16] = body.len() as u8;
        bytes[17..17 + body.len()].copy_from_slice(body);
        // The end matters too: a record must fill both its sectors.
        bytes[RECORD_BYTES - 1] = 0xEE;
        let sum = checksum(&bytes[8..]);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
        self.journal.write_all_at(&bytes, self.end)?;
        self.end += RECORD_BYTES as u64;
        Ok(())
    }

    fn replay_next(&mut self) -> std::io::Result<bool> {
        let mut bytes = vec![0; RECORD_BYTES];
        if self.end + RECORD_BYTES as u64 > self.journal.len()? {
            return Ok(false);
        }
        self.journal.read_exact_at(&mut bytes, self.end)?;
        let whole =
            bytes[..8] == checksum(&bytes[8..]).to_le_bytes() && bytes[8..16] == self.end.to_le_bytes();
        let trusted = self.bug == Bug::TrustsRecordsUnseen && bytes[16] > 10 && bytes[16] < 100;
        if !whole && !trusted {
            return Ok(false);
        }
        self.end += RECORD_BYTES as u64;
        let body = &bytes[17..17 + usize::from(bytes[16])];
        let token = u64::from_le_bytes(body[..8].try_into().unwrap());
        self.seq = self.seq.max(token);
        match &body[8..] {
            b"life" => self.life += 1,
            [b'c', key @ ..] => self.claimed(key, token),
            [_, key_len, rest @ ..] => {
                let (key, response) = rest.split_at(usize::from(*key_len).min(rest.len()));
                self.keys.entry(key.to_vec()).or_default().response = Some(response.into());
            }
            _ => {}
        }
        Ok(true)
    }

    fn claimed(&mut self, key: &[u8], token: u64) {
        let entry = self.keys.entry(key.to_vec()).or_default();
        *entry = Entry { token, attempt: entry.attempt + 1, response: None, orphan: false };
    }

    fn commit(&mut self, body: &[u8]) -> std::io::Result<()> {
        self.append(body)?;
        if self.bug == Bug::AcknowledgesBeforeSync { Ok(()) } else { self.journal.sync_data() }
    }

    fn claim_key(&mut self, key: &[u8]) -> std::io::Result<Answer> {
        let entry = self.keys.get(key).cloned();
        match entry {
            Some(Entry { response: Some(response), .. }) => {
                return Ok(Answer::Duplicate { response, failure: false });
            }
            Some(Entry { orphan: false, .. }) => return Ok(Answer::InProgress),
            Some(Entry { attempt: 3, .. }) => return Ok(Answer::Parked),
            _ => {}
        }
        self.seq += 1;
        self.claimed(key, self.seq);
        self.commit(&[&self.seq.to_le_bytes()[..], b"c", key].concat())?;
        Ok(Answer::Claimed { token: self.seq, attempt: self.keys[key].attempt })
    }

    fn complete(&mut self, key: &[u8], response: &[u8]) -> std::io::Result<()> {
        let token = self.keys[key].token;
        self.commit(&[&token.to_le_bytes()[..], b"d", &[key.len() as u8], key, response].concat())?;
        self.keys.get_mut(key).unwrap().response = Some(response.into());
        Ok(())
    }
}

impl Probe for Toy {
    fn get(&mut self, key: &[u8]) -> Result<Option<Seen>, String> {
        Ok(self.keys.get(key).map(|entry| Seen {
            stage: if entry.response.is_some() { SeenStage::Completed } else { SeenStage::InProgress },
            response: entry.response.clone(),
            attempt: entry.attempt,
            token: Some(entry.token),
        }))
    }

    fn claim(&mut self, key: &[u8]) -> Result<Answer, String> {
        self.claim_key(key).map_err(|error| error.to_string())
    }

    fn keys(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        Ok(Some(self.keys.keys().cloned().collect()))
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Twelve claims, every other one completed; ends at the first error of the disk.
fn script(disk: &SimDisk, bug: Bug, oracle: &mut Oracle) -> Result<(), Violation> {
    let Ok(mut toy) = Toy::open(disk, bug) else { return Ok(()) };
    for number in 0..12u8 {
        let key = [b'k', number];
        let step = oracle.begin(disk.events(), &key, Call::Claim);
        let answer = toy.claim_key(&key).unwrap_or(Answer::Unknown);
        oracle.acknowledge(step, disk.events(), answer.clone())?;
        let Answer::Claimed { token, .. } = answer else { return Ok(()) };
        if number % 2 == 0 {
            let response: Response = [number; 5].into();
            let call = Call::Complete { token, response: response.clone() };
            let step = oracle.begin(disk.events(), &key, call);
            let answer = toy.complete(&key, &response).map_or(Answer::Unknown, |()| Answer::Done);
            oracle.acknowledge(step, disk.events(), answer.clone())?;
            if answer == Answer::Unknown {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Crashes the script behind every event, then its recovery behind some, and judges both.
fn crash_everywhere(disk: &SimDisk, bug: Bug, seeds: u64) -> Result<usize, Violation> {
    let mut oracle = Oracle::new(Rules::default());
    script(disk, bug, &mut oracle)?;
    let mut distinct = HashSet::new();
    for events in 0..=disk.events() {
        for level in LEVELS {
            for seed in 0..seeds {
                let mut rng = Rng::new(seed.wrapping_mul(0x1_0000).wrapping_add(events as u64));
                let image = disk.crash_at(events, Variant::new(level, rng.next_u64()));
                distinct.insert(image.digest());
                judge(&oracle, events, &image, bug, &mut rng)?;
            }
        }
    }
    Ok(distinct.len())
}

fn judge(oracle: &Oracle, events: usize, image: &SimDisk, bug: Bug, rng: &mut Rng) -> Result<(), Violation> {
    let mut reopened = Toy::open(image, bug).unwrap();
    let mut next = oracle.check(events, &mut reopened)?;
    // Crash again, inside the recovery or just behind it, before anything new is promised.
    let again = rng.index(image.events() + 1);
    let second = image.crash_at(again, Variant::new(LEVELS[rng.index(4)], rng.next_u64()));
    oracle.check(events, &mut Toy::open(&second, bug).unwrap())?;
    next.claim_all(|| image.events(), &mut reopened)?;
    let third = image.power_loss(Variant::new(Level::L3, rng.next_u64()));
    let mut last = Toy::open(&third, bug).unwrap();
    next.check(image.events(), &mut last)?.claim_all(|| third.events(), &mut last)
}

#[test]
fn an_honest_toy_passes() {
    let distinct = crash_everywhere(&SimDisk::new(), Bug::None, 40).unwrap();
    assert!(distinct > 60, "{distinct}");
}

#[test]
fn every_broken_toy_is_caught() {
    let bugs =
        [Bug::AcknowledgesBeforeSync, Bug::ForgetsDirectorySync, Bug::TrustsRecordsUnseen, Bug::ReusesTokens];
    for bug in bugs {
        assert!(crash_everywhere(&SimDisk::new(), bug, 40).is_err(), "{bug:?} went unseen");
    }
}

/// Fails every sync of the script in turn; then the process dies, recovers, makes promises, loses power.
fn fail_every_sync(bug: Bug) -> Result<(), Violation> {
    let whole = SimDisk::new();
    script(&whole, bug, &mut Oracle::new(Rules::default()))?;
    for number in 0..whole.operations(Target::Syncs) {
        for seed in 0..20 {
            let disk = SimDisk::new();
            disk.fail_at(number, Fault { seed, ..Fault::once(FaultKind::Io, Target::Syncs) });
            let mut oracle = Oracle::new(Rules::default());
            script(&disk, bug, &mut oracle)?;
            let next_life = disk.power_loss(Variant::new(Level::L0, seed));
            judge(&oracle, disk.events(), &next_life, bug, &mut Rng::new(seed))?;
        }
    }
    Ok(())
}

#[test]
fn failed_syncs_are_survived_only_by_who_drops_the_cache() {
    fail_every_sync(Bug::None).unwrap();
    fail_every_sync(Bug::BelievesTheCache).unwrap_err();
}

#[test]
fn a_lying_disk_is_caught() {
    crash_everywhere(&SimDisk::lying(), Bug::None, 10).unwrap_err();
}
