//! Latent damage (L5, P13): bytes flipped, files cut, removed and swapped. What a store then says must be
//! right or an error; never `Claimed` for a key that is done, never another response, never a panic of ours.
//!
//! By default one byte in 61; `CLAIMSTORE_EVERY_BYTE=1` takes every one of them, `=5` one in five.

use crate::watch::{Watchdog, begun, told};
use claimstore::ErrorKind;
use claimstore::io::{OpenMode, Storage};
use claimstore_sim::script::{Found, Model, Runner, Step, Stop, World, is_owned_up, probe};
use claimstore_sim::{Level, SimDisk, Variant};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Single bits from both ends, and all of them: one after the other, byte by byte.
const MASKS: [u8; 4] = [0x01, 0x80, 0x10, 0xff];
const SAMPLE: usize = 61;
const THREADS: usize = 2;

/// A store at rest: its files, and what it knows.
struct Store {
    disk: SimDisk,
    clock: (u64, u64),
    /// Any of these is a right answer.
    allowed: Vec<Model>,
    files: Vec<String>,
}

/// One harm done to it.
#[derive(Debug, Clone)]
enum Damage {
    Flip { file: String, at: usize, mask: u8 },
    Cut { file: String, len: usize },
    Remove { file: String },
    Swap { one: String, other: String },
}

#[test]
fn a_closed_store_never_lies() {
    begun();
    let store = closed();
    let damages = damages(&store, |_, _| true);
    report("closed", &store, &damages);
}

#[test]
fn a_crashed_store_never_lies_but_about_its_last_batch() {
    begun();
    let (store, last) = crashed();
    let spared = |file: &str, at: usize| !(file == last.0 && (last.1..last.2).contains(&at));
    let damages = damages(&store, spared);
    report("crashed", &store, &damages);
}

fn report(name: &str, store: &Store, damages: &[Damage]) {
    let shares = std::thread::scope(|scope| {
        let share = |thread: usize| scope.spawn(move || judge_all(store, damages, thread));
        let shares: Vec<_> = (0..THREADS).map(share).collect();
        shares.into_iter().map(|share| share.join().unwrap()).collect::<Vec<_>>()
    });
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for (counted, failed) in shares {
        for (what, count) in counted {
            *tally.entry(what).or_default() += count;
        }
        failures.extend(failed);
    }
    told(format_args!(
        "damage, {name} store of {} files: {} cases, {tally:?}",
        store.files.len(),
        damages.len()
    ));
    let shown: Vec<&String> = failures.iter().take(20).collect();
    assert!(failures.is_empty(), "{} failures: {shown:#?}", failures.len());
}

fn judge_all(store: &Store, damages: &[Damage], thread: usize) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut tally, mut failures) = (BTreeMap::new(), Vec::new());
    let mut watchdog = None;
    for (number, damage) in damages.iter().skip(thread).step_by(THREADS).enumerate() {
        if number % 64 == 0 {
            watchdog.replace(Watchdog::new(format!("damage, at or soon after {damage:?}"), 120));
        }
        let verdict = catch_unwind(AssertUnwindSafe(|| judge(store, damage)));
        match verdict {
            Ok(Ok(what)) => *tally.entry(what).or_default() += 1,
            Ok(Err(stop)) => failures.push(format!("{damage:?}: {stop:?}")),
            Err(_) => failures.push(format!("{damage:?}: panicked")),
        }
    }
    (tally, failures)
}

fn judge(store: &Store, damage: &Damage) -> Result<String, Stop> {
    let disk = fork(&store.disk);
    harm(&disk, damage);
    let mut world = World::at(disk, 77, store.clock.0, store.clock.1);
    let opened = match world.open() {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::Corrupt && error.file().is_none() => {
            return Err(Stop::Disagree(format!("no file is named by {error:?}")));
        }
        Err(error) if is_owned_up(error.kind()) => return Ok(format!("open: {:?}", error.kind())),
        Err(error) => return Err(error.into()),
    };
    let mut refusals = Vec::new();
    for model in &store.allowed {
        match probe(&opened, model) {
            Ok(Found::Intact) => return Ok("intact".to_owned()),
            Ok(Found::Refused(kind)) => return Ok(format!("call: {kind:?}")),
            Err(stop) => refusals.push(format!("{stop:?}")),
        }
    }
    Err(Stop::Disagree(refusals.join("; nor: ")))
}

/// Keys in every state, rows, two namespaces, runs, a rotated journal.
fn script() -> Vec<Step> {
    vec![
        Step::Claim { key: 0, ttl: 2, payload: 1 },
        Step::Complete { held: 0, len: 64 },
        Step::Transact { key: 1, fail: false },
        Step::Claim { key: 2, ttl: 2, payload: 0 },
        Step::Terminal { held: 0 },
        Step::Claim { key: 11, ttl: 2, payload: 0 },
        Step::Complete { held: 0, len: 3 },
        Step::Checkpoint,
        Step::Claim { key: 3, ttl: 2, payload: 0 },
        Step::Park { held: 0 },
        Step::Claim { key: 4, ttl: 2, payload: 0 },
        Step::Labour { held: 0, times: 34 },
        Step::Claim { key: 5, ttl: 1, payload: 0 },
        Step::Retry { held: 1, after_s: 4_000 },
        Step::Claim { key: 0, ttl: 2, payload: 1 },
        Step::Forget { key: 2 },
        Step::Transact { key: 6, fail: false },
        Step::Claim { key: 7, ttl: 2, payload: 0 },
        Step::Complete { held: 1, len: 700 },
        Step::Claim { key: 12, ttl: 2, payload: 0 },
    ]
}

fn closed() -> Store {
    let mut runner = Runner::on_empty(World::new(5)).unwrap();
    runner.run(&script()).unwrap();
    let (world, mut model) = (runner.world.clone(), runner.model.clone());
    let life = runner.store().unwrap().stats().unwrap().life;
    runner.finish().unwrap();
    model = model.closed(life);
    model.new_life();
    store(&world, vec![model])
}

/// The store as a power loss leaves it, and where its last batch lies.
fn crashed() -> (Store, (String, usize, usize)) {
    let mut runner = Runner::on_empty(World::new(6)).unwrap();
    runner.run(&script()).unwrap();
    let before: Vec<(String, Vec<u8>)> = contents(&runner.world.disk);
    runner.step(&Step::Claim { key: 8, ttl: 2, payload: 0 }).unwrap();
    let mut world = runner.world.clone();
    let mut model = runner.model.clone();
    model.new_life();
    let after = contents(&world.disk);
    let changed = before.iter().zip(&after).find(|(before, after)| before != after).unwrap();
    let (name, old, new) = (&changed.0.0, &changed.0.1, &changed.1.1);
    let first = old.iter().zip(new).position(|(old, new)| old != new).unwrap();
    let last = old.iter().zip(new).rposition(|(old, new)| old != new).unwrap();
    let batch = (name.clone(), first / 512 * 512, (last + 1).next_multiple_of(512));
    world = world.with_disk(world.disk.power_loss(Variant::new(Level::L1, 0)));
    (store(&world, vec![model]), batch)
}

fn store(world: &World, allowed: Vec<Model>) -> Store {
    let files = contents(&world.disk).into_iter().map(|(name, _)| name).collect();
    let clock = (allowed[0].wall_ms, allowed[0].boot_ms);
    Store { disk: fork(&world.disk), clock, allowed, files }
}

fn damages(store: &Store, spared: impl Fn(&str, usize) -> bool) -> Vec<Damage> {
    let stride = std::env::var("CLAIMSTORE_EVERY_BYTE").ok().and_then(|stride| stride.parse().ok());
    let (every, stride) = (stride.is_some(), stride.unwrap_or(SAMPLE).max(1));
    let mut damages = Vec::new();
    for (number, (file, bytes)) in contents(&store.disk).into_iter().enumerate() {
        if file == "LOCK" {
            continue;
        }
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let some = if bytes.len() < 1_024 { 1 } else { stride };
        // Long stretches of zeros are mostly nobody's: there a smaller sample does.
        let (full, empty): (Vec<usize>, Vec<usize>) = (0..bytes.len()).partition(|at| bytes[*at] != 0);
        let behind = empty.iter().filter(|at| !every || **at >= used).step_by(1_021);
        let within = empty.iter().filter(|at| every && **at < used).step_by(some);
        let head = full.iter().filter(|at| **at < 512);
        let rest = full.iter().filter(|at| **at >= 512).skip(number % some).step_by(some);
        let places = head.chain(rest).chain(within).chain(behind).copied().filter(|at| spared(&file, *at));
        let flip = |at: usize| Damage::Flip { file: file.clone(), at, mask: MASKS[at % MASKS.len()] };
        damages.extend(places.map(flip));
        let lens = (0..bytes.len()).step_by((bytes.len() / 24).max(1)).filter(|len| *len < used);
        damages.extend(
            lens.filter(|len| spared(&file, *len)).map(|len| Damage::Cut { file: file.clone(), len }),
        );
        damages.push(Damage::Remove { file });
    }
    for one in &store.files {
        let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let others = store.files.iter().filter(|other| *other > one && folder(other) == folder(one));
        let others = others.filter(|other| folder(other).is_some());
        damages.extend(others.map(|other| Damage::Swap { one: one.clone(), other: other.clone() }));
    }
    damages
}

fn harm(disk: &SimDisk, damage: &Damage) {
    match damage {
        Damage::Flip { file, at, mask } => disk.damage(file, |bytes| bytes[*at] ^= mask),
        Damage::Cut { file, len } => disk.damage(file, |bytes| bytes.truncate(*len)),
        Damage::Remove { file } => disk.remove(file).unwrap(),
        Damage::Swap { one, other } => {
            disk.rename(one, "swapped").unwrap();
            disk.rename(other, one).unwrap();
            disk.rename("swapped", other).unwrap();
        }
    }
}

/// The same disk once more.
fn fork(disk: &SimDisk) -> SimDisk {
    let fork = disk.power_loss(Variant::new(Level::L0, 0));
    fork.stop_recording();
    fork
}

fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> = disk.list("").unwrap();
    for dir in ["journal", "runs"] {
        names.extend(disk.list(dir).unwrap().into_iter().map(|name| format!("{dir}/{name}")));
    }
    names.retain(|name| name != "journal" && name != "runs");
    names.sort();
    let read = |name: String| {
        let file = disk.open(&name, OpenMode::Existing).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}
