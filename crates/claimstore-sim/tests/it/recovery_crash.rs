//! Recovery cut at every step. A store full of orphans is recovered on a recording disk; behind every event of
//! that, at every fault level, the disk is opened as a crash may have left it and recovered again; and that
//! recovery is cut once more.
//!
//! On every image, before anything else is done to it:
//! - no key is lost: each is an orphan as before, or has the end that recovery gives it;
//! - what recovery said it had done is done;
//! - a resolver that was called was called under a durable token: a crash does not take the fence back;
//! - attempts are exact: a crash inside recovery counts none;
//! - an orphan that was taken over still names the token of the work.
//!
//! After the last recovery, besides: every key has its one end, its history names each orphaned attempt once,
//! whoever may be claimed is claimed once, with the next attempt.
//!
//! `CLAIMSTORE_RECOVERY_IMAGES` sets how many distinct images are looked at.

use crate::watch::{begun, this_test, told};
use claimstore::{Claim, ErrorKind, Happened, Lease, Namespace, Policy, Record, RecordState, Store};
use claimstore_recovery::{Events, Orphan, OrphanPolicy, Outcome, Recovery, Resolution};
use claimstore_sim::script::World;
use claimstore_sim::{Fault, FaultKind, Level, Rng, SimDisk, Target, Variant};
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
/// Attempts after which a key is parked.
const MOST: u32 = 3;
/// Asks after which a key is parked.
const ASKS: u32 = 3;
const AT_ONCE: Duration = Duration::ZERO;
/// Of so many images, one is cut again in its own recovery.
const DOUBLE_EVERY: usize = 4;
/// So many recoveries must end before the operation that is to fail: one may have shared its commits by luck.
const CLEAN_TRIES: u32 = 3;

/// A key, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    namespace: &'static str,
    key: String,
    attempts: u32,
    /// Made in the life that recovers, and dropped; else of an earlier life.
    late: bool,
}

impl Case {
    fn end(&self) -> RecordState {
        let retried = if self.attempts < MOST { RecordState::Retry } else { RecordState::Parked };
        match (self.namespace, self.key.as_bytes()[0]) {
            ("park", _) | ("ask", b'u') => RecordState::Parked,
            ("fail", _) | ("ask", b'f') => RecordState::Failed,
            ("ask", b'y') => RecordState::Completed,
            // A loss, of which more are allowed.
            ("ask", b'n') => RecordState::Retry,
            _ => retried,
        }
    }
}

/// Keys of every policy and every answer, with every number of attempts.
fn cases(rng: &mut Rng) -> Vec<Case> {
    let kinds = [
        ("retry", "r"),
        ("park", "p"),
        ("fail", "x"),
        ("ask", "y"),
        ("ask", "n"),
        ("ask", "u"),
        ("ask", "f"),
    ];
    let mut cases = Vec::new();
    for (namespace, letter) in kinds {
        for _ in 0..=rng.index(2) {
            let attempts = 1 + rng.below(u64::from(MOST)) as u32;
            let key = format!("{letter}{}", cases.len());
            cases.push(Case { namespace, key, attempts, late: rng.chance(1, 4) });
        }
    }
    cases
}

/// A namespace and a key.
type Name = (String, Vec<u8>);

/// What a recovery let others know, and behind how many events on the disk.
#[derive(Debug, Clone, Default)]
struct Acknowledged {
    /// The key has its end.
    ends: BTreeMap<Name, usize>,
    /// A resolver was called, and told this fence.
    asked: BTreeMap<Name, (usize, u64)>,
}

/// Recovers everything, without an error; answers what was acknowledged when.
fn recover(store: &Store, disk: &Arc<SimDisk>) -> Result<Acknowledged, String> {
    let (acknowledged, recovered) = try_to_recover(store, disk);
    recovered.map(|()| acknowledged)
}

/// Recovers what it can, in two threads; answers what was acknowledged when, and whether that was all.
fn try_to_recover(store: &Store, disk: &Arc<SimDisk>) -> (Acknowledged, Result<(), String>) {
    let events = Events::new();
    let acknowledged: Arc<Mutex<Acknowledged>> = Arc::default();
    let (of_events, of_resolver) = (acknowledged.clone(), acknowledged.clone());
    let (disk, disk_asked) = (disk.clone(), disk.clone());
    events.subscribe(move |event| {
        let key = (event.record().namespace().to_owned(), event.record().key().to_vec());
        let done = !matches!(event.outcome(), Outcome::Waiting | Outcome::Superseded | Outcome::Error);
        if done {
            of_events.lock().unwrap().ends.insert(key, disk.events());
        }
    });
    let resolver = move |orphan: &Orphan| {
        let name = (orphan.namespace().to_owned(), orphan.key().to_vec());
        of_resolver.lock().unwrap().asked.insert(name, (disk_asked.events(), orphan.fence()));
        match orphan.key()[0] {
            b'y' => Resolution::Happened(orphan.key().to_vec()),
            b'n' => Resolution::DidNotHappen,
            b'f' => Resolution::Failed(orphan.key().to_vec()),
            _ => Resolution::Unknown,
        }
    };
    let ask = OrphanPolicy::resolve().max_attempts(MOST).max_asks(ASKS).ask_again(AT_ONCE, AT_ONCE);
    let recovery = || {
        Recovery::new(store)
            .policy_for("retry", OrphanPolicy::retry().max_attempts(MOST))
            .policy_for("park", OrphanPolicy::park())
            .policy_for("fail", OrphanPolicy::fail("given up"))
            .policy_for("ask", ask.clone())
            .resolver(resolver.clone())
            .parallel(2)
            .events(&events)
    };
    // What is unknown is asked about again.
    let mut report = recovery().run();
    for _ in 1..ASKS {
        if report.as_ref().is_ok_and(|report| report.counts.waiting > 0) {
            report = recovery().run();
        }
    }
    let recovered = match report {
        Err(error) => Err(format!("recovery failed: {error:?}")),
        Ok(report) if report.counts.errors > 0 || report.counts.superseded > 0 => {
            Err(format!("recovery met errors: {:?}", report.counts))
        }
        Ok(_) => Ok(()),
    };
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    (acknowledged, recovered)
}

fn claimed(namespace: &Namespace, key: &str) -> Result<Lease, String> {
    match namespace.claim(key, DAY) {
        Ok(Claim::Claimed(lease)) => Ok(lease),
        other => Err(format!("not claimed: {other:?}")),
    }
}

/// Lets a panic drop the lease: a failure, as the death of the process is, whichever of them the crash leaves.
fn panic_with(lease: Lease) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _lease = lease;
        std::panic::resume_unwind(Box::new("the work's own bug"))
    }));
    assert!(dropped.is_err());
}

fn make(store: &Store, cases: &[Case], late: bool) -> Result<(), String> {
    for case in cases.iter().filter(|case| case.late == late) {
        let eager = Policy::new().max_attempts(9);
        let namespace = store.namespace_with(case.namespace, eager).map_err(|error| error.to_string())?;
        for _ in 0..case.attempts {
            panic_with(claimed(&namespace, &case.key)?);
        }
    }
    Ok(())
}

/// A store full of orphans that was recovered on a recording disk.
struct Recovered {
    cases: Vec<Case>,
    tokens: BTreeMap<Case, u64>,
    disk: Arc<SimDisk>,
    /// How many events came before the recovery.
    before: usize,
    acknowledged: Acknowledged,
    seed: u64,
}

/// A store full of orphans, about to be recovered.
fn orphaned(seed: u64) -> Result<(World, Store, Recovered), String> {
    this_test();
    let cases = cases(&mut Rng::new(seed));
    let mut world = World::new(seed);
    let store = world.open().map_err(|error| error.to_string())?;
    make(&store, &cases, false)?;
    // The process dies here, with everything in the page cache.
    let mut world = world.with_disk(world.disk.power_loss(Variant::new(Level::L0, 0)));
    let store = world.open().map_err(|error| error.to_string())?;
    make(&store, &cases, true)?;
    let tokens = cases.iter().map(|case| Ok((case.clone(), look(&store, case)?.token())));
    let tokens = tokens.collect::<Result<_, String>>()?;
    let before = world.disk.events();
    let (disk, acknowledged) = (world.disk.clone(), Acknowledged::default());
    Ok((world, store, Recovered { cases, tokens, disk, before, acknowledged, seed }))
}

fn recovered(seed: u64) -> Result<Recovered, String> {
    let (world, store, mut recovered) = orphaned(seed)?;
    recovered.acknowledged = recover(&store, &world.disk)?;
    recovered.check_ends(&store)?;
    Ok(recovered)
}

fn look(store: &Store, case: &Case) -> Result<Record, String> {
    let record = store.namespace(case.namespace).and_then(|namespace| namespace.get(&case.key));
    record.map_err(|error| error.to_string())?.ok_or_else(|| format!("{case:?} is lost"))
}

impl Recovered {
    /// What a crash behind `events` events left must hold, before anything is done to it.
    fn check_image(&self, store: &Store, acknowledged: &Acknowledged, events: usize) -> Result<(), String> {
        for case in &self.cases {
            let record = look(store, case)?;
            let name = (case.namespace.to_owned(), case.key.clone().into_bytes());
            let done = acknowledged.ends.get(&name).is_some_and(|at| *at <= events);
            let asked = acknowledged.asked.get(&name).filter(|(at, _)| *at <= events);
            if asked.is_some_and(|(_, fence)| record.token() < *fence) {
                return Err(format!("{case:?} was asked about under a token that is lost"));
            }
            match record.state() {
                RecordState::Orphaned if !done => {
                    if record.work_token() != self.tokens[case] {
                        return Err(format!("{case:?} names another token"));
                    }
                }
                state if state == case.end() => {}
                state => return Err(format!("{case:?} is {state:?}, acknowledged: {done}")),
            }
            if record.attempt() != case.attempts {
                return Err(format!("{case:?} counts {} attempts", record.attempt()));
            }
        }
        Ok(())
    }

    fn check_ends(&self, store: &Store) -> Result<(), String> {
        for case in &self.cases {
            let record = look(store, case)?;
            if (record.state(), record.attempt()) != (case.end(), case.attempts) {
                return Err(format!("{case:?} ended as {record:?}"));
            }
            let orphaned = |attempt| {
                let of_it = |past: &&claimstore::Past| {
                    past.attempt() == attempt && matches!(past.what(), Happened::Orphaned(_))
                };
                record.history().iter().filter(of_it).count()
            };
            if (1..=case.attempts).any(|attempt| orphaned(attempt) != 1) {
                return Err(format!("{case:?} has the history {:?}", record.history()));
            }
        }
        Ok(())
    }

    /// Whoever may be claimed is claimed once, and done.
    fn check_work(&self, store: &Store, world: &World) -> Result<(), String> {
        // Every back-off is over.
        world.clock.advance(Duration::from_secs(10));
        for case in &self.cases {
            let namespace = store.namespace(case.namespace).map_err(|error| error.to_string())?;
            match (case.end(), namespace.claim(&case.key, DAY)) {
                (RecordState::Retry, Ok(Claim::Claimed(lease))) => {
                    if lease.attempt() != case.attempts + 1 || lease.token() <= self.tokens[case] {
                        return Err(format!("{case:?} was claimed as {lease:?}"));
                    }
                    if !matches!(namespace.claim(&case.key, DAY), Ok(Claim::InProgress(_))) {
                        return Err(format!("{case:?} was claimed twice"));
                    }
                    lease.complete("done").map_err(|error| error.to_string())?;
                }
                (RecordState::Parked, Err(error)) if error.kind() == ErrorKind::Parked => {}
                (RecordState::Completed, Ok(Claim::Duplicate(receipt))) if !receipt.is_failure() => {}
                (RecordState::Failed, Ok(Claim::Duplicate(receipt))) if receipt.is_failure() => {}
                (_, answer) => return Err(format!("{case:?} is answered {answer:?}")),
            }
        }
        Ok(())
    }

    /// Opens what a crash left, checks it, recovers it; answers the world it was done in, with where its
    /// recovery began and what that acknowledged.
    fn look_at(
        &self,
        image: SimDisk,
        acknowledged: &Acknowledged,
        events: usize,
        rng: &mut Rng,
    ) -> Result<(World, usize, Acknowledged), String> {
        let mut world = World::on(image, self.seed ^ rng.next_u64());
        if rng.chance(1, 2) {
            world.clock.reboot();
        }
        let store = world.open().map_err(|error| format!("open: {error:?}"))?;
        self.check_image(&store, acknowledged, events)?;
        let before = world.disk.events();
        let again = recover(&store, &world.disk)?;
        self.check_ends(&store)?;
        self.check_work(&store, &world)?;
        store.verify().map_err(|error| format!("verify: {error:?}"))?;
        Ok((world, before, again))
    }
}

#[derive(Default)]
struct Tally {
    images: HashSet<u64>,
    doubles: HashSet<u64>,
    failures: Vec<String>,
}

impl Tally {
    fn script(&mut self, seed: u64, wanted: usize) {
        let recovered = match guarded(|| recovered(seed)) {
            Ok(recovered) => recovered,
            Err(what) => return self.failures.push(format!("seed {seed}: {what}")),
        };
        let mut rng = Rng::new(!seed);
        for events in recovered.before..=recovered.disk.events() {
            for level in LEVELS {
                let variant = Variant::new(level, rng.next_u64() >> 40);
                let image = recovered.disk.crash_at(events, variant);
                if self.images.len() >= wanted || !self.images.insert(image.digest()) {
                    continue;
                }
                let line = format!("seed {seed}, event {events}, {variant:?}");
                let looked = guarded(|| recovered.look_at(image, &recovered.acknowledged, events, &mut rng));
                match looked {
                    Err(what) => self.failures.push(format!("{line}: {what}")),
                    Ok(again) if self.images.len().is_multiple_of(DOUBLE_EVERY) => {
                        self.cut_again(&recovered, &again, &line, &mut rng);
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    /// A crash inside the recovery that followed the crash.
    fn cut_again(
        &mut self,
        recovered: &Recovered,
        (world, before, acknowledged): &(World, usize, Acknowledged),
        line: &str,
        rng: &mut Rng,
    ) {
        // Up to the last acknowledgement: behind it there is work already, which is not what is looked at.
        let last = acknowledged.ends.values().max().copied().unwrap_or(*before);
        for level in LEVELS {
            let events = before + rng.index(last - before + 1);
            let variant = Variant::new(level, rng.next_u64() >> 40);
            let image = world.disk.crash_at(events, variant);
            if !self.doubles.insert(image.digest()) {
                continue;
            }
            if let Err(what) = guarded(|| recovered.look_at(image, acknowledged, events, rng)) {
                self.failures.push(format!("{line}, then event {events}, {variant:?}: {what}"));
            }
        }
    }
}

#[test]
fn recovery_may_be_cut_at_every_step() {
    begun();
    let wanted = std::env::var("CLAIMSTORE_RECOVERY_IMAGES")
        .ok()
        .and_then(|images| images.parse().ok())
        .unwrap_or(2_000);
    let mut tally = Tally::default();
    let (mut seed, mut scripts) = (0, 0);
    while tally.images.len() < wanted && tally.failures.len() < 5 {
        tally.script(seed, wanted);
        (seed, scripts) = (seed + 1, scripts + 1);
    }
    told(format_args!(
        "recovery crash images: {} distinct in {scripts} scripts, {} double, {} failed",
        tally.images.len(),
        tally.doubles.len(),
        tally.failures.len()
    ));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

/// Every write and sync of a recovery fails in turn, for good. It says so, and what it had said before is true,
/// in the page cache and after a power loss that follows.
#[test]
fn a_recovery_whose_disk_fails_is_honest() {
    this_test();
    let (mut points, mut stopped) = (0, 0);
    for (script, target) in (0..5).flat_map(|script| [(script, Target::Writes), (script, Target::Syncs)]) {
        let (mut at, mut clean) = (0, 0);
        while clean < CLEAN_TRIES {
            let (world, store, recovered) = orphaned(script).unwrap();
            let first = world.disk.operations(target);
            world.disk.fail_at(first + at, Fault { kind: FaultKind::Io, target, sticky: true, seed: at });
            let (acknowledged, outcome) = try_to_recover(&store, &world.disk);
            if world.disk.operations(target) <= first + at {
                assert_eq!(outcome, Ok(()), "nothing failed");
                clean += 1;
                continue;
            }
            clean = 0;
            points += 1;
            stopped += usize::from(outcome.is_err());
            drop(store);
            world.disk.clear_faults();
            let mut rng = Rng::new(at);
            for level in LEVELS {
                let image = world.disk.power_loss(Variant::new(level, at));
                let looked = guarded(|| recovered.look_at(image, &acknowledged, usize::MAX, &mut rng));
                assert!(looked.is_ok(), "{script}, {target:?} {at}, {level:?}: {:?}", looked.err());
            }
            at += 1;
        }
    }
    told(format_args!("failing recoveries: {points} points, {stopped} stopped it"));
    assert!(points > 50 && stopped > points / 2, "{points} points, {stopped} stopped");
}

/// The control: on a disk whose syncs do nothing the checks must notice, else they see nothing.
#[test]
fn a_recovery_on_a_lying_disk_is_caught() {
    this_test();
    let mut world = World::on(SimDisk::lying(), 3);
    let cases = cases(&mut Rng::new(3));
    let store = world.open().unwrap();
    make(&store, &cases, false).unwrap();
    make(&store, &cases, true).unwrap();
    let tokens = cases.iter().map(|case| (case.clone(), look(&store, case).unwrap().token())).collect();
    let before = world.disk.events();
    let acknowledged = recover(&store, &world.disk).unwrap();
    let disk = world.disk.clone();
    let recovered = Recovered { cases, tokens, disk, before, acknowledged, seed: 3 };
    let events = recovered.disk.events();
    let mut rng = Rng::new(3);
    let caught = (0..40).filter(|seed| {
        let image = recovered.disk.crash_at(events, Variant::new(Level::L1, *seed));
        guarded(|| recovered.look_at(image, &recovered.acknowledged, events, &mut rng)).is_err()
    });
    let caught = caught.count();
    told(format_args!("a recovery on a lying disk: {caught} of 40 images caught"));
    assert!(caught > 20);
}

/// A panic anywhere is a failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("panicked".to_owned()))
}
