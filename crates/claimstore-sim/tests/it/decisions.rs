//! Decisions of people about keys, as the admin socket and the command make them.
//!
//! Scripts of claims, drops, lapses, settlements, decisions and power losses on a simulated disk, against a table of
//! what each decision may do. After every step, for every key:
//! 1. A decision has the verdict and the effect that the state of the key says, and no other key changes.
//! 2. Who is trusted with a key keeps it: only a forced `forget` takes it away.
//! 3. Who decides about what was seen decides about nothing else.
//! 4. What was said to be decided is there after a power loss right behind the answer, with who and why.
//! 5. Tokens rise over all claims of a key, whatever was decided in between.
//!
//! And the same through the socket of a store that threads work with: 2, 5, and what was completed by a decision is a
//! duplicate for every claim that begins after the answer. `CLAIMSTORE_DECISIONS` sets the number of scripts.

use crate::watch::{Watchdog, begun, scale, told};
use claimstore::{Claim, Durability, ErrorKind, Failure, Lease, Namespace, Options, Policy, Record, Store};
use claimstore_admin::{
    Answer, Client, Decision, Key, RefusalKind, Request, Response, Seen, ServeAdmin as _, Served, State,
    Target, Verb, Verdict, answer,
};
use claimstore_sim::script::World;
use claimstore_sim::{Level, Rng, Variant};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const LEASE: Duration = Duration::from_secs(10);
const VERBS: [Verb; 5] = [Verb::Requeue, Verb::Release, Verb::Complete, Verb::Fail, Verb::Forget];
const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
const DONE: &[u8] = b"decided";

/// Where the model holds a key to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unknown,
    Held,
    /// Nobody is trusted with it: dropped, lapsed, or of an earlier life.
    Orphan,
    Parked,
    Retry,
    Completed,
    Failed,
}

impl Stage {
    fn shows(self, record: Option<&Record>) -> bool {
        let state = record.map(|record| State::from(record.state()));
        match self {
            Stage::Unknown => state.is_none(),
            Stage::Held => state == Some(State::InProgress),
            // A lapsed one still shows as in progress, as its holder may come back.
            Stage::Orphan => matches!(state, Some(State::InProgress | State::Orphaned)),
            Stage::Parked => state == Some(State::Parked),
            Stage::Retry => state == Some(State::Retry),
            Stage::Completed => state == Some(State::Completed),
            Stage::Failed => state == Some(State::Failed),
        }
    }

    /// What a decision makes of it, or why it is refused.
    fn decided(self, verb: Verb, force: bool) -> Result<Stage, RefusalKind> {
        match (verb, self) {
            (_, Stage::Unknown) => Err(RefusalKind::NotFound),
            (Verb::Forget, Stage::Held) if !force => Err(RefusalKind::Held),
            (Verb::Forget, _) => Ok(Stage::Unknown),
            (Verb::Release | Verb::Complete | Verb::Fail, Stage::Held) => Err(RefusalKind::Held),
            (Verb::Requeue, Stage::Parked) | (Verb::Release, Stage::Orphan) => Ok(Stage::Retry),
            (Verb::Complete, Stage::Parked | Stage::Orphan) => Ok(Stage::Completed),
            (Verb::Fail, Stage::Parked | Stage::Orphan) => Ok(Stage::Failed),
            _ => Err(RefusalKind::WrongState),
        }
    }
}

fn decision(verb: Verb, force: bool, targets: Vec<Target>) -> Request {
    Request::Decide(Decision {
        verb,
        targets,
        by: "ada".into(),
        why: "looked".into(),
        response: Response::new(DONE),
        force,
        dry_run: false,
    })
}

fn target(key: &str, seen: Option<Seen>) -> Target {
    Target { namespace: "n".into(), key: Key::new(key.as_bytes()), seen }
}

fn verdicts(answer: Answer) -> Vec<Verdict> {
    match answer {
        Answer::Decided { verdicts } => verdicts,
        other => panic!("{other:?}"),
    }
}

fn seen(record: &Record) -> Seen {
    Seen { token: record.token().to_string(), state: record.state().into() }
}

struct Script {
    world: World,
    store: Store,
    space: Namespace,
    rng: Rng,
    stages: [Stage; 4],
    /// The holder of each key, trusted or lapsed.
    leases: [Option<Lease>; 4],
    looked: [Option<Seen>; 4],
    tokens: [u64; 4],
    decided: u64,
}

impl Script {
    fn new(seed: u64) -> Script {
        let mut world = World::new(seed);
        world.disk.stop_recording();
        let store = world.open().unwrap();
        let space = space(&store);
        let (leases, looked) = Default::default();
        let rng = Rng::new(seed);
        let stages = [Stage::Unknown; 4];
        Script { world, store, space, rng, stages, leases, looked, tokens: [0; 4], decided: 0 }
    }

    fn step(&mut self) {
        let at = self.rng.index(KEYS.len());
        match self.rng.below(12) {
            0..=2 => self.claim(at),
            3 => self.settle(at),
            4 => drop(self.leases[at].take().map(|_| self.stages[at] = Stage::Orphan)),
            5 => self.lapse(),
            6 => self.looked[at] = self.space.get(KEYS[at]).unwrap().as_ref().map(seen),
            7 => self.lose_power(),
            _ => self.decide(at),
        }
        for (at, key) in KEYS.iter().enumerate() {
            let record = self.space.get(key).unwrap();
            assert!(self.stages[at].shows(record.as_ref()), "{key}: {:?}, not {record:?}", self.stages[at]);
        }
    }

    fn claim(&mut self, at: usize) {
        let takes = matches!(self.stages[at], Stage::Unknown | Stage::Orphan | Stage::Retry);
        match self.space.claim_default(KEYS[at]) {
            Ok(Claim::Claimed(lease)) => {
                assert!(takes && lease.token() > self.tokens[at], "{:?}", self.stages[at]);
                self.tokens[at] = lease.token();
                // Whoever held it before is fenced off.
                self.leases[at] = Some(lease);
                self.stages[at] = Stage::Held;
            }
            Ok(Claim::Duplicate(receipt)) => {
                let expected = if receipt.is_failure() { Stage::Failed } else { Stage::Completed };
                assert_eq!(self.stages[at], expected);
            }
            Ok(Claim::InProgress(_)) => {
                assert!(matches!(self.stages[at], Stage::Held | Stage::Retry | Stage::Orphan));
                // The first who finds an orphan may be told to wait, and the store has noted until when.
                let found = self.space.get(KEYS[at]).unwrap();
                if self.stages[at] == Stage::Orphan && Stage::Retry.shows(found.as_ref()) {
                    self.stages[at] = Stage::Retry;
                    self.leases[at] = None;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Parked);
                // A claim of an orphan that has no attempts left parks it.
                assert!(matches!(self.stages[at], Stage::Parked | Stage::Orphan), "{:?}", self.stages[at]);
                (self.stages[at], self.leases[at]) = (Stage::Parked, None);
            }
        }
    }

    fn settle(&mut self, at: usize) {
        let Some(lease) = self.leases[at].take() else { return };
        // A lapsed lease still settles while nobody took the claim over.
        let holds = matches!(self.stages[at], Stage::Held | Stage::Orphan);
        let park = self.rng.chance(2, 3);
        let settled = if park { lease.fail(Failure::park("note")) } else { lease.complete("own") };
        assert_eq!(settled.is_ok(), holds, "{:?}", self.stages[at]);
        if holds {
            self.stages[at] = if park { Stage::Parked } else { Stage::Completed };
        }
    }

    fn lapse(&mut self) {
        self.world.clock.advance(LEASE);
        for stage in self.stages.iter_mut().filter(|stage| **stage == Stage::Held) {
            *stage = Stage::Orphan;
        }
    }

    fn decide(&mut self, at: usize) {
        let verb = VERBS[self.rng.index(VERBS.len())];
        let force = self.rng.chance(1, 4);
        let seen_before = if self.rng.chance(1, 2) { self.looked[at].clone() } else { None };
        let before = self.space.get(KEYS[at]).unwrap();
        let is_stale = |was: &Seen| before.as_ref().is_some_and(|now| *was != seen(now));
        let expected = match self.stages[at].decided(verb, force) {
            Err(RefusalKind::NotFound) => Err(RefusalKind::NotFound),
            _ if seen_before.as_ref().is_some_and(is_stale) => Err(RefusalKind::Busy),
            decided => decided,
        };
        let request = decision(verb, force, vec![target(KEYS[at], seen_before)]);
        let said = verdicts(answer(&self.store, &request, Served::Live).unwrap());
        let said = said[0].refused.as_ref().map(|refusal| refusal.kind);
        assert_eq!(said, expected.err(), "{verb:?}, forced: {force}, of {:?}", self.stages[at]);
        if self.stages[at] == Stage::Held && expected.is_err() {
            self.leases[at].as_ref().unwrap().renew(LEASE).expect("who is trusted keeps it");
        }
        let Ok(stage) = expected else { return };
        self.stages[at] = stage;
        self.decided += 1;
        if self.rng.chance(1, 3) {
            // Right behind the answer.
            self.lose_power();
        }
        if let Some(lease) = self.leases[at].take() {
            // Whoever held it is fenced off.
            assert_eq!(lease.complete("late").unwrap_err().kind(), ErrorKind::StaleLease);
        }
        let record = self.space.get(KEYS[at]).unwrap();
        assert!(stage.shows(record.as_ref()), "{verb:?} was said to be done, and is not: {record:?}");
        let Some(record) = record else { return };
        let history = record.history();
        let last = history.last().unwrap();
        assert_eq!((last.by(), last.note()), (&b"ada"[..], &b"looked"[..]), "{verb:?}");
        if matches!(stage, Stage::Completed | Stage::Failed) {
            assert_eq!(record.response(), Some(DONE));
        }
    }

    fn lose_power(&mut self) {
        let level = LEVELS[self.rng.index(LEVELS.len())];
        let disk = self.world.disk.power_loss(Variant::new(level, self.rng.next_u64()));
        disk.stop_recording();
        self.world = self.world.with_disk(disk);
        self.store = self.world.open().unwrap();
        self.space = space(&self.store);
        self.leases = Default::default();
        for stage in self.stages.iter_mut().filter(|stage| **stage == Stage::Held) {
            *stage = Stage::Orphan;
        }
    }
}

/// As many attempts as a script can make: what parks a key here is a person, or a failure.
fn space(store: &Store) -> Namespace {
    store.namespace_with("n", Policy::daily().lease(LEASE).max_attempts(u32::MAX)).unwrap()
}

#[test]
fn scripts_of_decisions_follow_the_table_and_outlive_power_losses() {
    begun();
    let _watchdog = Watchdog::new("decisions::scripts", 240);
    let mut decided = 0;
    let scripts = scale("CLAIMSTORE_DECISIONS", 30);
    for seed in 0..scripts {
        let mut script = Script::new(seed);
        let ran =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (0..60).for_each(|_| script.step())));
        if let Err(panic) = ran {
            eprintln!("decisions: script {seed}");
            std::panic::resume_unwind(panic);
        }
        decided += script.decided;
    }
    told(format_args!("decisions: {decided} made in {scripts} scripts"));
    assert!(decided > scripts, "{decided}");
}

/// One worker of a live store: claims, and settles or drops what it got. Who holds a lease that has not lapsed must be
/// able to settle it, unless a decision was forced.
fn work(space: &Namespace, thread: u64, stop: &AtomicBool, tokens: &[AtomicU64; 4]) -> u64 {
    let mut rng = Rng::new(thread + 1);
    let mut granted = 0;
    while !stop.load(Ordering::SeqCst) {
        let at = rng.index(KEYS.len());
        let Ok(Claim::Claimed(lease)) = space.claim_default(KEYS[at]) else {
            std::thread::yield_now();
            continue;
        };
        granted += 1;
        let before = tokens[at].fetch_max(lease.token(), Ordering::SeqCst);
        assert!(lease.token() > before, "tokens rise");
        std::thread::yield_now();
        match rng.below(4) {
            0 => lease.complete("own").expect("its holder is trusted"),
            1 => lease.fail(Failure::park("note")).expect("its holder is trusted"),
            2 => lease.fail(Failure::retry()).expect("its holder is trusted"),
            _ => drop(lease),
        }
    }
    granted
}

/// No decision is forced here, so nobody who works loses what they hold.
#[test]
fn decisions_through_the_socket_of_a_store_at_work_overrule_nobody() {
    begun();
    let _watchdog = Watchdog::new("decisions::at_work", 240);
    let dir = tempfile::tempdir().unwrap();
    // Nobody waits for the disk: it is about who comes first, and slow syncs would leave little of that.
    let store = Options::new().durability(Durability::None).open(dir.path()).unwrap();
    let policy = Policy::daily().lease(Duration::from_secs(3_600)).max_attempts(u32::MAX);
    let space = store.namespace_with("n", policy).unwrap();
    drop(store.serve_admin().unwrap().allow_decisions());
    let (stop, tokens) = (AtomicBool::new(false), Default::default());
    let goal = scale("CLAIMSTORE_DECISIONS", 30) * 20;
    let (granted, decided) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|thread| {
                let (space, stop, tokens) = (&space, &stop, &tokens);
                scope.spawn(move || {
                    let _stops = Stops(stop);
                    work(space, thread, stop, tokens)
                })
            })
            .collect();
        let decided = {
            let _stops = Stops(&stop);
            decide_at_work(&dir, &space, goal, &stop)
        };
        (workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), decided)
    });
    told(format_args!("decisions: {decided} made while {granted} claims were granted"));
    assert!(decided >= goal && granted > goal / 20, "{decided} of {goal}, {granted}");
    store.verify().unwrap();
    store.close().unwrap();
}

fn decide_at_work(dir: &tempfile::TempDir, space: &Namespace, goal: u64, stop: &AtomicBool) -> u64 {
    let mut client = Client::connect(dir.path()).unwrap();
    let mut rng = Rng::new(99);
    let mut decided = 0;
    while decided < goal && !stop.load(Ordering::SeqCst) {
        let verb = VERBS[rng.index(VERBS.len())];
        let targets: Vec<_> = KEYS.iter().map(|key| target(key, None)).collect();
        let said = verdicts(client.ask(&decision(verb, false, targets)).unwrap());
        let done: Vec<_> = KEYS.iter().zip(&said).filter(|(_, verdict)| verdict.refused.is_none()).collect();
        decided += done.len() as u64;
        for (key, verdict) in done {
            // Only a decision makes them unknown again, and those are made here, one after the other.
            if matches!(verb, Verb::Complete | Verb::Fail) {
                let Claim::Duplicate(receipt) = space.claim_default(key).unwrap() else {
                    panic!("{verdict:?}")
                };
                assert_eq!((receipt.response(), receipt.is_failure()), (DONE, verb == Verb::Fail));
            }
        }
    }
    decided
}

/// Raises the flag at the end of a scope, also by a panic: what waits for it must not wait for ever.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
