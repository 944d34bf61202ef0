//! What many threads see of one store, with checkpoints and merges running all the time, and whether one
//! order of operations explains it.
//!
//! `CLAIMSTORE_HISTORIES` and `CLAIMSTORE_OPS` scale the large histories: how many, and how many operations
//! each of 16 threads does. `CLAIMSTORE_SEED` replays from one seed on.

use crate::rest::assert_at_rest;
use crate::watch::{Watchdog, begun, scale, told};
use crate::worker::{Action, Ending, Keys, MAX_RESPONSE_BYTES, Worker};
use claimstore::io::{DirStorage, MemoryStorage, Storage};
use claimstore::{Durability, ErrorKind, Options, Store};
use claimstore_sim::checker::{Checked, check};
use claimstore_sim::history::{Recorder, Session, Ticket};
use claimstore_sim::model::{Answer, Call, Rules};
use claimstore_sim::{Fault, FaultKind, Level, Rng, SimDisk, Target, Variant, Violation};
use proptest::prelude::*;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A store that checkpoints, merges and changes segments as often as it can.
pub(crate) fn restless() -> Options {
    Options::new()
        .first_segment_bytes(16 << 10)
        .segment_bytes(64 << 10)
        .max_response_bytes(MAX_RESPONSE_BYTES)
        .max_progress_bytes(1 << 10)
        .page_cache_bytes(64 << 10)
        .journal_bytes(4 << 20)
        .checkpoint_bytes(16 << 10)
}

/// What a life of the store leaves.
struct Life {
    sessions: Vec<Session>,
    /// Keys up to this one were named.
    keys: u32,
}

/// Runs one script on each thread, beside a thread that checkpoints and compacts without pause.
fn live(store: &Store, recorder: &Recorder, scripts: Vec<Vec<Action>>, ending: Ending) -> Life {
    let keys = scripts.iter().flatten().map(highest_key).max().unwrap_or(0) + 1;
    let done = AtomicBool::new(false);
    let sessions = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| keep_house(store, &done, ending));
        let workers: Vec<_> = scripts
            .into_iter()
            .map(|script| {
                let mut worker = Worker::new(store.clone(), recorder.session(), ending);
                scope.spawn(move || {
                    for action in &script {
                        worker.act(action);
                        if worker.over {
                            break;
                        }
                    }
                    worker.finish()
                })
            })
            .collect();
        let sessions: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        done.store(true, Ordering::Release);
        keeper.join().unwrap();
        sessions
    });
    Life { sessions, keys }
}

fn keep_house(store: &Store, done: &AtomicBool, ending: Ending) {
    for round in 0_u64.. {
        if done.load(Ordering::Acquire) {
            return;
        }
        let kept = match round % 8 {
            0 => store.compact(),
            1 => store.verify().map(drop),
            _ => store.checkpoint(),
        };
        match kept {
            Ok(()) => std::thread::yield_now(),
            Err(error) if ending == Ending::MayCrash && error.kind() != ErrorKind::Corrupt => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn highest_key(action: &Action) -> u32 {
    match action {
        Action::Claim(key)
        | Action::Ask(key)
        | Action::Async(key)
        | Action::Offer(key)
        | Action::Get(key)
        | Action::Forget(key) => *key,
        Action::ClaimMany(keys) => keys.iter().copied().max().unwrap_or(0),
        _ => 0,
    }
}

/// Looks at every key once.
fn look_at_all(store: &Store, recorder: &Recorder, keys: u32) -> Session {
    let mut reader = Worker::new(store.clone(), recorder.session(), Ending::Lives);
    for key in 0..keys {
        reader.get(key);
    }
    reader.finish()
}

/// A close begins: to each key it is an operation.
fn closing(recorder: &Recorder, keys: u32) -> (Session, Vec<Ticket>) {
    let mut session = recorder.session();
    let tickets = (0..keys).map(|key| session.invoke(key, Call::Close)).collect();
    (session, tickets)
}

/// The close came about.
fn answered(mut session: Session, closed: Vec<Ticket>) -> Session {
    closed.into_iter().for_each(|ticket| session.answer(ticket, Answer::Done));
    session
}

/// One life under load, then a clean close, and a look at what the next one knows.
fn history(
    storage: &Arc<dyn Storage>,
    durability: Durability,
    scripts: Vec<Vec<Action>>,
) -> Result<Checked, Violation> {
    let recorder = Recorder::new();
    // A process that another test starts just now has the lock of a directory too, between its fork and its exec.
    let open = || loop {
        match restless().durability(durability).open_on(storage.clone()) {
            Err(error) if error.kind() == ErrorKind::AlreadyOpen => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let store = open();
    let Life { mut sessions, keys } = live(&store, &recorder, scripts, Ending::Lives);
    sessions.push(look_at_all(&store, &recorder, keys));
    assert_at_rest(&store);
    store.verify().unwrap();
    let (session, closed) = closing(&recorder, keys);
    store.close().unwrap();
    sessions.push(answered(session, closed));
    // Besides, to the claims in progress a close is what a crash is.
    recorder.crashed();
    let store = open();
    sessions.push(look_at_all(&store, &recorder, keys));
    store.verify().unwrap();
    store.close().unwrap();
    check(&recorder.collect(sessions), Rules::default())
}

fn random_scripts(rng: &mut Rng, threads: usize, actions: u32) -> Vec<Vec<Action>> {
    let keys = random_keys(rng);
    (0..threads).map(|_| (0..actions).map(|done| keys.action(rng, done)).collect()).collect()
}

fn random_keys(rng: &mut Rng) -> Keys {
    let stay = [0, 2, 5, 20][rng.index(4)];
    Keys { width: 1 + rng.below(16) as u32, stay }
}

#[test]
fn large_histories_are_linearizable() {
    begun();
    let histories: u64 = scale("CLAIMSTORE_HISTORIES", 20);
    let actions: u32 = scale("CLAIMSTORE_OPS", 2_000);
    let first: u64 = scale("CLAIMSTORE_SEED", 1);
    let mut operations = 0;
    for seed in first..first + histories {
        let _watchdog =
            Watchdog::new(format!("large_histories_are_linearizable, CLAIMSTORE_SEED={seed}"), 600);
        let scripts = random_scripts(&mut Rng::new(seed), 16, actions);
        let dir = tempfile::tempdir().unwrap();
        let (storage, durability): (Arc<dyn Storage>, _) = match seed % 4 {
            0 => (Arc::new(DirStorage::new(dir.path())), Durability::Sync),
            2 => (Arc::new(DirStorage::new(dir.path())), Durability::Interval(Duration::from_millis(2))),
            _ => (Arc::new(MemoryStorage::new()), Durability::Sync),
        };
        let checked = history(&storage, durability, scripts)
            .unwrap_or_else(|violation| panic!("CLAIMSTORE_SEED={seed}\n{violation}"));
        operations += checked.operations;
    }
    told(format_args!("threads: {histories} histories, {operations} operations, all linearizable"));
}

fn any_scripts() -> impl Strategy<Value = Vec<Vec<Action>>> {
    (2_usize..=16, any::<u64>(), 1_u32..60).prop_flat_map(|(threads, seed, actions)| {
        let keys = random_keys(&mut Rng::new(seed));
        let script = move || {
            prop::collection::vec(any::<u64>(), 1..=actions as usize).prop_map(move |seeds| {
                let numbered = (0_u32..).zip(seeds);
                numbered.map(|(done, seed)| keys.action(&mut Rng::new(seed), done)).collect::<Vec<_>>()
            })
        };
        prop::collection::vec(script(), threads)
    })
}

fn small_history(scripts: Vec<Vec<Action>>) -> Result<Checked, TestCaseError> {
    let _watchdog = Watchdog::new("small_histories_are_linearizable", 60);
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    history(&storage, Durability::Sync, scripts)
        .map_err(|violation| TestCaseError::fail(violation.to_string()))
}

#[test]
fn small_histories_are_linearizable() {
    begun();
    // Threads do not repeat themselves: shrinking goes as far as luck does.
    let config = ProptestConfig {
        cases: scale("CLAIMSTORE_CASES", 100),
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let (histories, operations) = (Cell::new(0), Cell::new(0));
    proptest!(config, |(scripts in any_scripts())| {
        let checked = small_history(scripts)?;
        histories.set(histories.get() + 1);
        operations.set(operations.get() + checked.operations);
    });
    let (histories, operations) = (histories.get(), operations.get());
    told(format_args!("threads: {histories} small histories, {operations} operations, all linearizable"));
}

/// Lives under load that end with a disk that fails for good, and then with power.
fn history_with_crashes(seed: u64, lives: u32, actions: u32) -> Result<Checked, Violation> {
    let mut rng = Rng::new(seed);
    let keys = random_keys(&mut rng);
    let recorder = Recorder::new();
    let mut sessions = Vec::new();
    let mut disk = SimDisk::new();
    let mut known_keys = 0;
    for life in 0..=lives {
        disk.stop_recording();
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let store = restless().open_on(storage);
        let store = store.unwrap_or_else(|error| panic!("CLAIMSTORE_SEED={seed}, life {life}: {error:?}"));
        sessions.push(look_at_all(&store, &recorder, known_keys));
        store.verify().unwrap();
        if life == lives {
            break;
        }
        let target = [Target::Any, Target::Syncs, Target::Writes][rng.index(3)];
        let fault = Fault { seed: rng.next_u64(), ..Fault::sticky(FaultKind::Io, target) };
        disk.slow_syncs([0, 8, 64, 512][rng.index(4)]);
        if rng.chance(1, 2) {
            // The worst moment: much has happened behind the back of a sync that now does not come.
            disk.fail_at_slow_sync(rng.below(16), fault);
        }
        disk.fail_at(disk.operations(target) + rng.below(400), fault);
        let threads = 2 + rng.index(15);
        let from = life * actions;
        let mut script = || (from..from + actions).map(|done| keys.action(&mut rng, done)).collect();
        let scripts = (0..threads).map(|_| script()).collect();
        let Life { sessions: seen, keys } = live(&store, &recorder, scripts, Ending::MayCrash);
        known_keys = known_keys.max(keys);
        sessions.extend(seen);
        // The last handle: nothing of this life writes any more, but what a close can on that disk.
        let (session, _never_answered) = closing(&recorder, known_keys);
        drop(store);
        sessions.push(session);
        recorder.crashed();
        let level = [Level::L1, Level::L2, Level::L3][rng.index(3)];
        disk = disk.power_loss(Variant::new(level, rng.next_u64()));
    }
    check(&recorder.collect(sessions), Rules::default())
}

#[test]
fn histories_with_crashes_are_linearizable() {
    begun();
    let histories: u64 = scale("CLAIMSTORE_HISTORIES", 20);
    let first: u64 = scale("CLAIMSTORE_SEED", 1);
    let mut operations = 0;
    for seed in first..first + histories * 5 {
        let _watchdog =
            Watchdog::new(format!("histories_with_crashes_are_linearizable, CLAIMSTORE_SEED={seed}"), 60);
        let checked = history_with_crashes(seed, 4, 60)
            .unwrap_or_else(|violation| panic!("CLAIMSTORE_SEED={seed}\n{violation}"));
        operations += checked.operations;
    }
    told(format_args!("crashes: {} histories, {operations} operations, all linearizable", histories * 5));
}
