//! The storage of real machines, `DirStorage`, under the fault models of the simulated disk. All scripts of the layers
//! stand on it, by way of a simulated kernel; here it is shown that this means something:
//!
//! - its log of system calls is, call by call, what a store asks of a storage;
//! - the simulated kernel answers as the real one does, call by call, and the files agree in the end;
//! - it keeps its promises on a kernel that reads and writes less than it was asked, lets itself be interrupted, and
//!   lacks calls.
//!
//! `CLAIMSTORE_SCRIPTS` says how many scripts each of them takes.

mod both;

use crate::watch::{scale, this_test, told};
use both::Both;
use claimstore::io::Storage;
use claimstore::{Error, Options, Store};
use claimstore_sim::script::{Campaign, Cut, Ground, Recording, Runner, Step, World};
use claimstore_sim::{Event, Level, Rng, SimDisk, SimKernel, Variant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
/// Every kind of file and directory there is, by the first letters of its name.
const KINDS: [&str; 14] = [
    "srv",
    "srv/store",
    "srv/store/LOCK",
    "srv/store/STORE",
    "srv/store/STORE.new",
    "srv/store/catalog.redb",
    "srv/store/catalog.redb.new",
    "srv/store/fingerprint.key",
    "srv/store/fingerprint.key.new",
    "srv/store/journal",
    "srv/store/reserve",
    "srv/store/runs",
    "srv/store/tables.redb",
    "srv/store/tables.redb.new",
];

/// What stands between a store and its disk.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Nothing: what is in the log is what the store asked for.
    Asked,
    /// The storage of real machines.
    Real,
    /// The same, on a kernel that does less than it is asked.
    Rough(u64),
}

impl Way {
    /// The storage in the directory of `disk`, which is made if it is missing.
    fn storage(self, disk: &SimDisk) -> Arc<dyn Storage> {
        let kernel = match self {
            Way::Asked => {
                make_directories(&disk.root());
                return Arc::new(disk.clone());
            }
            Way::Real => SimKernel::new(disk),
            Way::Rough(seed) => SimKernel::rough(disk, seed),
        };
        let storage = kernel.storage(disk);
        storage.create_root().unwrap();
        Arc::new(storage)
    }
}

impl Ground for Way {
    fn open(&self, options: Options, disk: &SimDisk) -> Result<Store, Error> {
        options.open_on(self.storage(disk))
    }
}

/// The directory of the store and the one above it, and what makes their names durable, written down a second time.
fn make_directories(root: &SimDisk) {
    let missing = |dir: &str| root.list(dir).is_err();
    match (missing("srv"), missing("srv/store")) {
        (_, false) => root.sync_dir("srv").unwrap(),
        (false, true) => root.sync_dir("").unwrap(),
        (true, true) => {}
    }
    for (parent, dir) in [("", "srv"), ("srv", "srv/store")] {
        if missing(dir) {
            root.create_dir(dir).unwrap();
            root.sync_dir(parent).unwrap();
        }
    }
}

fn world(seed: u64, ground: impl Ground + 'static) -> World {
    World { ground: Arc::new(ground), ..World::new(seed) }
}

/// A script that comes by every kind of file, and a random one behind it.
fn steps(seed: u64) -> Vec<Step> {
    let mut steps = vec![
        Step::Claim { key: 0, ttl: 2, payload: 1 },
        Step::Transact { key: 1, fail: false },
        Step::Complete { held: 0, len: 64 },
        Step::Claim { key: 2, ttl: 1, payload: 0 },
        Step::Labour { held: 0, times: 90 },
        Step::Checkpoint,
        Step::Reopen,
        Step::Claim { key: 3, ttl: 0, payload: 0 },
        Step::Complete { held: 0, len: 700 },
        Step::Upkeep,
        Step::Advance { stretch: 5 },
        Step::Advance { stretch: 5 },
        Step::Checkpoint,
        Step::Prune,
        Step::Compact,
    ];
    steps.extend(Recording::steps(seed, Campaign::script_len(seed)));
    steps
}

/// A script, then a key for fingerprints, a stream, and a backup of it all to another disk. Answers the calls that
/// each disk saw.
fn live(seed: u64, way: Way) -> [Vec<Event>; 2] {
    let mut runner = Runner::on_empty(world(seed, way)).unwrap();
    runner.run(&steps(seed)).unwrap();
    let mut world = runner.world.clone();
    runner.finish().unwrap();
    let disk = world.disk.clone();
    let store = world.open().unwrap();
    store.fingerprinter().unwrap();
    store.sequence("stream").unwrap();
    let copy = World::home(&SimDisk::new());
    store.backup_on(&way.storage(&copy)).unwrap();
    store.close().unwrap();
    [disk.log(), copy.log()]
}

/// The calls with the names of their files; but for calls about files that have no name any more, as nobody finds what
/// these hold.
fn named(log: Vec<Event>) -> Vec<String> {
    let mut files: Vec<u64> = Vec::new();
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    let mut calls = Vec::new();
    for event in log {
        match &event {
            Event::Create { name } => {
                let file = files.len() as u64;
                files.push(file);
                names.insert(name.clone(), file);
            }
            Event::Rename { from, to } => {
                let file = names.remove(from).unwrap();
                names.insert(to.clone(), file);
            }
            Event::Remove { name } => drop(names.remove(name)),
            _ => {}
        }
        let file = match &event {
            Event::Write { file, .. }
            | Event::SetLen { file, .. }
            | Event::Allocate { file, .. }
            | Event::SyncFile { file }
            | Event::DropCache { file } => Some(*file),
            _ => None,
        };
        let name = file.map(|file| names.iter().find(|(_, named)| **named == file).map(|(name, _)| name));
        let bytes = match &event {
            Event::Write { data, .. } => checksum(data),
            _ => 0,
        };
        match name {
            Some(None) => {}
            Some(Some(name)) => calls.push(format!("{name}: {event:?} {bytes:x}")),
            None => calls.push(format!("{event:?}")),
        }
    }
    calls
}

fn checksum(data: &[u8]) -> u64 {
    data.iter().fold(7, |sum, byte| Rng::new(sum ^ u64::from(*byte)).next_u64())
}

/// The kind of file that a call makes.
fn made(event: &Event) -> Option<String> {
    let (Event::Create { name } | Event::CreateDir { dir: name } | Event::Rename { to: name, .. }) = event
    else {
        return None;
    };
    let kind = name.strip_suffix(".seg").or(name.strip_suffix(".run")).and_then(|name| name.rsplit_once('/'));
    Some(kind.map_or(name.as_str(), |(kind, _)| kind).to_owned())
}

#[test]
fn it_asks_the_kernel_for_what_the_store_asked_of_it() {
    this_test();
    let (mut kinds, mut calls) = (BTreeSet::new(), 0);
    for seed in 0..scale("CLAIMSTORE_SCRIPTS", 12) {
        let real = live(seed, Way::Real);
        kinds.extend(real.iter().flatten().filter_map(made));
        for (real, asked) in real.into_iter().zip(live(seed, Way::Asked)) {
            let (real, asked) = (named(real), named(asked));
            calls += real.len();
            let differ = (0..real.len().max(asked.len())).find(|at| real.get(*at) != asked.get(*at));
            if let Some(at) = differ {
                let around = |log: &[String]| log[at.saturating_sub(3)..(at + 2).min(log.len())].to_vec();
                panic!("script {seed}, call {at}: asked {:#?}, made {:#?}", around(&asked), around(&real));
            }
        }
    }
    told(format_args!("real storage: {calls} system calls are those that were asked for"));
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), KINDS);
}

#[test]
fn the_simulated_kernel_answers_as_the_real_one() {
    this_test();
    let mut calls = 0;
    for seed in 0..scale("CLAIMSTORE_SCRIPTS", 6) {
        let dir = tempfile::tempdir().unwrap();
        let both = Both::in_dir(dir.path());
        let mut runner = Runner::on_empty(world(seed, both.clone())).unwrap();
        runner.run(&steps(seed)).unwrap();
        let disk = runner.world.disk.clone();
        runner.finish().unwrap();
        let differences = both.differences();
        assert!(differences.is_empty(), "script {seed}: {}", differences.join("\n"));
        both.compare_contents(&disk.root());
        calls += both.calls();
    }
    told(format_args!("real storage: {calls} answers of both kernels"));
}

/// A rough kernel: what is read and written comes in pieces, every fourth call is interrupted, `fallocate` and
/// `O_DIRECT` may be missing. Crash images of such scripts are looked at as all others are.
#[test]
fn it_keeps_its_promises_on_a_rough_kernel() {
    this_test();
    let mut campaign = Campaign::new(2);
    for seed in 0..scale("CLAIMSTORE_SCRIPTS", 12) {
        let world = world(seed, Way::Rough(seed));
        let recording = Recording::in_world(world, &steps(seed)).unwrap();
        let mut rng = Rng::new(seed);
        let mut event = rng.index(9);
        while event <= recording.events() {
            let cut = Cut { event, variant: Variant::new(LEVELS[rng.index(4)], rng.next_u64() >> 40) };
            campaign.look_at(
                &recording.image(cut),
                rng.chance(1, 4),
                &format!("script {seed}, {cut}"),
                &mut rng,
            );
            event += 1 + rng.index(60);
        }
    }
    assert!(campaign.failures.is_empty(), "{}", campaign.failures.join("\n"));
}
