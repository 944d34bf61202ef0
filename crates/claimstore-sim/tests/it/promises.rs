//! Directed tests of promises that take a simulated disk to see: each begins with the promise's name.

use crate::watch::this_test;
use claimstore::io::{OpenMode, Storage};
use claimstore::{
    Claim, Durability, Error, ErrorKind, Lease, ManualClock, Options, Policy, Store, TimeOrdered,
};
use claimstore_sim::{Fault, FaultKind, Level, SimDisk, Target, Variant};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const START_MS: u64 = 1_800_000_000_000;
const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

/// A machine whose time stands still unless a test moves it.
struct Machine {
    disk: SimDisk,
    clock: ManualClock,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            disk: SimDisk::new(),
            clock: ManualClock::new(UNIX_EPOCH + Duration::from_millis(START_MS)),
        }
    }

    fn options(&self) -> Options {
        Options::new()
            .background(false)
            .clock(self.clock.clone())
            .first_segment_bytes(16 << 10)
            .segment_bytes(64 << 10)
            .max_response_bytes(4 << 10)
            .max_progress_bytes(1 << 10)
            .page_cache_bytes(1 << 20)
    }

    fn open(&self) -> Result<Store, Error> {
        self.open_with(self.options())
    }

    fn open_with(&self, options: Options) -> Result<Store, Error> {
        options.open_on(Arc::new(self.disk.clone()))
    }

    /// The machine as a crash behind the first `events` events leaves it.
    fn crash_at(&self, events: usize, variant: Variant) -> Machine {
        Machine { disk: self.disk.crash_at(events, variant), clock: self.clock.clone() }
    }

    /// What any crash right now may leave: samples of every level.
    fn crashes_now(&self) -> impl Iterator<Item = (Variant, Machine)> {
        let variants = LEVELS.into_iter().flat_map(|level| (0..8).map(move |seed| Variant::new(level, seed)));
        variants.map(|variant| (variant, self.crash_at(usize::MAX, variant)))
    }
}

fn claimed(store: &Store, key: &str) -> Lease {
    store.claim(key, DAY).unwrap().claimed().unwrap()
}

fn is_duplicate(answer: &Result<Claim, Error>, response: &[u8]) -> bool {
    matches!(answer, Ok(Claim::Duplicate(receipt)) if receipt.response() == response)
}

/// The moment `Claimed` and `Ok` are said, no loss of power takes them back.
#[test]
fn p2_what_was_just_said_survives_any_power_loss() {
    this_test();
    let machine = Machine::new();
    let store = machine.open().unwrap();
    for n in 0..20 {
        let (key, response) = (format!("key-{n}"), vec![b'r'; n * 100]);
        let lease = claimed(&store, &key);
        for (variant, found) in machine.crashes_now() {
            let store = found.open().unwrap();
            let record = store.get(&key).unwrap();
            assert!(record.is_some_and(|record| record.token() == lease.token()), "{key} {variant:?}");
        }
        lease.complete(&response).unwrap();
        for (variant, found) in machine.crashes_now() {
            let answer = found.open().unwrap().claim(&key, DAY);
            assert!(is_duplicate(&answer, &response), "{key} {variant:?}: {answer:?}");
        }
    }
}

/// Under the weaker levels a power loss takes back a suffix: whatever is there, all that came before it is
/// there too.
#[test]
fn p8_what_a_power_loss_takes_back_is_a_suffix() {
    this_test();
    let machine = Machine::new();
    let store = machine.open_with(machine.options().durability(Durability::None)).unwrap();
    let keys: Vec<String> = (0..60).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        drop(claimed(&store, key).into_token());
    }
    let mut lengths = std::collections::BTreeSet::new();
    for (variant, found) in machine.crashes_now() {
        let store = found.open().unwrap();
        let there: Vec<bool> = keys.iter().map(|key| store.get(key).unwrap().is_some()).collect();
        let length = there.iter().filter(|there| **there).count();
        assert!(there[..length].iter().all(|there| *there), "{variant:?}: {there:?}");
        lengths.insert(length);
    }
    assert!(lengths.len() > 1, "no crash took anything back: {lengths:?}");
}

/// The UUIDv7 of a time.
fn uuid(time_ms: u64, last: u8) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    (id[6], id[8], id[15]) = (0x70, 0x80, last);
    id
}

#[test]
fn p12_a_prune_may_be_interrupted_anywhere() {
    this_test();
    let machine = Machine::new();
    let ordered = |ttl| Policy::new().ttl(ttl).time_ordered_keys(TimeOrdered::UuidV7);
    let store = machine.open().unwrap();
    let space = store.namespace_with("ordered", ordered(HOUR)).unwrap();
    for n in 0..8_u8 {
        space.claim_default(uuid(START_MS, n)).unwrap().claimed().unwrap().complete("short").unwrap();
        store.claim(format!("short-{n}"), HOUR).unwrap().claimed().unwrap().complete("short").unwrap();
        claimed(&store, &format!("long-{n}")).complete("long").unwrap();
    }
    store.checkpoint().unwrap();
    machine.clock.advance(3 * HOUR);
    let before = machine.disk.events();
    assert!(store.prune().unwrap().records >= 16);
    let after = machine.disk.events();
    for (events, level) in (before..=after).flat_map(|events| LEVELS.map(|level| (events, level))) {
        let store = machine.crash_at(events, Variant::new(level, events as u64)).open().unwrap();
        // Only the watermark knows them once they are pruned, and the ttl is longer than they are old.
        let space = store.namespace_with("ordered", ordered(DAY)).unwrap();
        for n in 0..8_u8 {
            let answer = space.claim_default(uuid(START_MS, n)).map_err(|error| error.kind());
            assert!(matches!(answer, Err(ErrorKind::TooOld)), "{events} {level:?}: {answer:?}");
            let answer = store.claim(format!("long-{n}"), DAY);
            assert!(is_duplicate(&answer, b"long"), "{events} {level:?}: {answer:?}");
            assert_eq!(claimed(&store, &format!("short-{n}")).attempt(), 1);
        }
        store.verify().unwrap();
    }
}

/// Names of all files of a store that hold bytes.
fn files(disk: &SimDisk) -> Vec<String> {
    let below = |dir: &str| {
        let names = disk.list(dir).unwrap();
        let dir = dir.to_owned();
        names.into_iter().map(move |name| if dir.is_empty() { name } else { format!("{dir}/{name}") })
    };
    let names = below("").chain(below("journal")).chain(below("runs"));
    names.filter(|name| !["journal", "runs", "LOCK"].contains(&name.as_str())).collect()
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, OpenMode::Existing).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Wherever the bytes of a known key stand in a closed store, with one of them changed it is not claimed.
#[test]
fn p13_a_known_key_whose_bytes_were_changed_is_never_claimed() {
    const KEY: &str = "a key that is easily found";
    this_test();
    let mut places = 0;
    for in_a_run in [false, true] {
        let machine = Machine::new();
        let store = machine.open().unwrap();
        claimed(&store, KEY).complete("done").unwrap();
        if in_a_run {
            store.checkpoint().unwrap();
            store.close().unwrap();
        } else {
            drop(store);
        }
        for name in files(&machine.disk) {
            let bytes = read(&machine.disk, &name);
            let found = bytes.windows(KEY.len()).enumerate().filter(|(_, bytes)| *bytes == KEY.as_bytes());
            for at in found.flat_map(|(at, _)| at..at + KEY.len()) {
                places += 1;
                let broken = machine.crash_at(usize::MAX, Variant::new(Level::L0, 0));
                broken.disk.damage(&name, |bytes| bytes[at] ^= 0x04);
                let answer = broken.open().and_then(|store| store.claim(KEY, DAY));
                let refused = matches!(&answer, Err(error) if error.kind() == ErrorKind::Corrupt);
                assert!(refused || is_duplicate(&answer, b"done"), "{name} at {at}: {answer:?}");
            }
        }
    }
    assert!(places >= 2 * KEY.len(), "the key stands in {places} places");
}

/// No room for a further file: the journal ends with its segment.
#[test]
fn p16_on_a_full_disk_nothing_is_lost_and_service_resumes() {
    this_test();
    let machine = Machine::new();
    let store = machine.open().unwrap();
    let held = claimed(&store, "held");
    machine.disk.fail_at(0, Fault::sticky(FaultKind::NoSpace, Target::DirOps));
    let mut known = Vec::new();
    let refused = loop {
        let key = format!("key-{}", known.len());
        match store.claim(&key, DAY) {
            Ok(answer) => drop(answer.claimed().unwrap().into_token()),
            Err(error) => break error,
        }
        known.push(key);
        assert!(known.len() < 1_000, "a segment has an end");
    };
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused:?}");
    let all_there = |store: &Store| known.iter().all(|key| store.get(key).unwrap().is_some());
    assert!(!known.is_empty() && all_there(&store));
    held.complete("done").unwrap();
    assert!(is_duplicate(&store.claim("held", DAY), b"done"));
    for (variant, found) in machine.crashes_now() {
        let found = found.open().unwrap();
        assert!(all_there(&found) && is_duplicate(&found.claim("held", DAY), b"done"), "{variant:?}");
    }
    machine.disk.clear_faults();
    assert_eq!(claimed(&store, "there is room again").attempt(), 1);
    assert!(all_there(&store));
    store.verify().unwrap();
    store.close().unwrap();
}
