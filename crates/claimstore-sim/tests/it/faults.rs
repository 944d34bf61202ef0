//! Operations that fail (L4): every write, sync and directory operation of a script, once and for good, with
//! EIO, ENOSPC and half a write. Each error must be honest, the store opened again must know what was
//! acknowledged, in the page cache and on the disk after a power loss that follows (P6, P16, hazard 5).
//!
//! By default a sample; `CLAIMSTORE_EVERY_K=1` takes every operation.

use claimstore::{ClaimRequest, ErrorKind, Filter};
use claimstore_sim::script::{Recording, Runner, Step, Stop, World};
use claimstore_sim::{Fault, FaultKind, Level, Rng, Target, Variant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const KINDS: [FaultKind; 3] = [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite];
const TARGETS: [Target; 3] = [Target::Writes, Target::Syncs, Target::DirOps];
/// How many operations apart the sampled ones lie: a prime, so that no rhythm of the engine hides one kind.
const SAMPLE: usize = 7;
const THREADS: usize = 2;

/// One fault in one script.
#[derive(Debug, Clone, Copy)]
struct Point {
    script: u64,
    at: u64,
    fault: Fault,
}

#[test]
fn every_failed_operation_is_owned_up_to() {
    let points = points();
    let stopped = AtomicU64::new(0);
    let failures = std::thread::scope(|scope| {
        let share = |thread: usize| {
            let (points, counter) = (&points, &stopped);
            scope.spawn(move || {
                let mine = points.iter().skip(thread).step_by(THREADS);
                mine.filter_map(|point| failure(*point, counter)).take(5).collect::<Vec<_>>()
            })
        };
        let shares: Vec<_> = (0..THREADS).map(share).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect::<Vec<_>>()
    });
    println!("io errors: {} points, {} stopped a call", points.len(), stopped.into_inner());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every operation of the scripts, with every way to fail.
fn points() -> Vec<Point> {
    let every = std::env::var("CLAIMSTORE_EVERY_K").is_ok_and(|every| every == "1");
    let mut points = Vec::new();
    for script in 0..3 {
        let world = World::new(script);
        let mut runner = Runner::on_empty(world.clone()).unwrap();
        runner.run(&steps(script)).unwrap();
        runner.finish().unwrap();
        for target in TARGETS {
            for at in 0..world.disk.operations(target) {
                for (kind, sticky) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                    let only_writes = kind == FaultKind::ShortWrite && target != Target::Writes;
                    if !only_writes {
                        let fault = Fault { kind, target, sticky, seed: at };
                        points.push(Point { script, at, fault });
                    }
                }
            }
        }
    }
    if every { points } else { points.into_iter().step_by(SAMPLE).collect() }
}

/// About 60 steps that commit, around what upkeep does.
fn steps(script: u64) -> Vec<Step> {
    let mut steps = vec![
        Step::Claim { key: 0, ttl: 0, payload: 0 },
        Step::Transact { key: 1, fail: false },
        Step::Complete { held: 0, len: 64 },
        Step::Claim { key: 2, ttl: 1, payload: 1 },
        Step::Labour { held: 0, times: 30 },
        Step::Checkpoint,
        Step::Claim { key: 3, ttl: 0, payload: 0 },
        Step::Complete { held: 1, len: 700 },
        Step::Checkpoint,
        Step::Transact { key: 4, fail: false },
        Step::Upkeep,
        Step::Reopen,
        Step::ClaimMany { keys: vec![5, 6, 7] },
        Step::Labour { held: 1, times: 20 },
        Step::CompleteMany,
        Step::Advance { stretch: 3 },
        Step::Advance { stretch: 5 },
        Step::Checkpoint,
        Step::Prune,
        Step::Compact,
    ];
    steps.extend(Recording::steps(script, 40));
    steps
}

fn failure(point: Point, stopped: &AtomicU64) -> Option<String> {
    let what = match catch_unwind(AssertUnwindSafe(|| run(point, stopped))) {
        Ok(Ok(())) => return None,
        Ok(Err(stop)) => format!("{stop:?}"),
        Err(_) => "panicked".to_owned(),
    };
    Some(format!("{point:?}: {what}"))
}

fn run(point: Point, stopped: &AtomicU64) -> Result<(), Stop> {
    let world = World::new(point.script);
    world.disk.stop_recording();
    world.disk.fail_at(point.at, point.fault);
    let mut runner = match Runner::on_empty(world.clone()) {
        Ok(runner) => runner,
        Err(Stop::Failed(kind, what)) => {
            stopped.fetch_add(1, Ordering::Relaxed);
            honest(kind, &what)?;
            world.disk.clear_faults();
            Runner::on_empty(world)?
        }
        Err(stop) => return Err(stop),
    };
    // After the failure the script goes on for a while; then the power fails.
    let mut behind = None;
    // A disk that fails for good is met by some steps more before it is mended.
    let mut patience = if point.fault.sticky { point.at % 4 } else { 0 };
    for (number, step) in steps(point.script).iter().enumerate() {
        if let Err(stop) = runner.step(step) {
            stopped.fetch_add(1, Ordering::Relaxed);
            own_up(&mut runner, step, stop, &mut patience).map_err(|stop| at_step(number, step, stop))?;
            behind = Some(1 + point.at % 9);
        }
        behind = behind.map(|steps| steps - 1);
        if behind == Some(0) {
            behind = None;
            lose_power(&mut runner, point).map_err(|stop| at_step(number, step, stop))?;
        }
    }
    lose_power(&mut runner, point)?;
    runner.finish()
}

/// A step failed: with an honest word, and without an effect or with its whole effect.
fn own_up(runner: &mut Runner, step: &Step, end: Stop, patience: &mut u64) -> Result<(), Stop> {
    let Stop::Failed(kind, what) = end else { return Err(end) };
    honest(kind, &what)?;
    let poisoned = runner.store().is_none_or(|store| store.stats().is_err());
    if poisoned {
        only_poisoned(runner)?;
    }
    let revive = poisoned || kind == ErrorKind::Indeterminate;
    if revive || *patience == 0 {
        runner.world.disk.clear_faults();
    }
    if revive {
        return runner.revive();
    }
    if *patience > 0 {
        *patience -= 1;
        // Nothing happened. The disk still fails: a file in need of repair cannot be read just now.
        return match runner.audit() {
            Err(Stop::Failed(kind, what)) => honest(kind, &what),
            Err(Stop::Disagree(_)) if matches!(step, Step::Labour { .. }) => took_effect(runner),
            done => done,
        };
    }
    // Nothing happened, and now that the disk is well again the same step goes through. Labour is many
    // calls: the first of them may have come through.
    match runner.audit() {
        Err(Stop::Disagree(_)) if matches!(step, Step::Labour { .. }) => took_effect(runner)?,
        done => done?,
    }
    runner.step(step)
}

/// The step failed, and has had its effect all the same.
fn took_effect(runner: &mut Runner) -> Result<(), Stop> {
    if let Some(candidate) = runner.candidate.take() {
        runner.model = candidate;
    }
    runner.audit()
}

fn honest(kind: ErrorKind, what: &str) -> Result<(), Stop> {
    match kind {
        ErrorKind::Indeterminate | ErrorKind::Poisoned | ErrorKind::Full | ErrorKind::Io => Ok(()),
        _ => Err(Stop::Disagree(format!("a failing disk was answered with {what}"))),
    }
}

/// Every call of a poisoned store says so.
fn only_poisoned(runner: &Runner) -> Result<(), Stop> {
    let Some(store) = runner.store() else { return Ok(()) };
    let second = Duration::from_secs(1);
    let answers = [
        ("claim", store.claim("new", second).err()),
        ("claim_many", store.claim_many(&[ClaimRequest::new("new").ttl(second)]).err()),
        ("get", store.get("key-0").err()),
        ("forget", store.forget("key-0").err()),
        ("scan", store.scan(Filter::new()).find_map(Result::err)),
        ("checkpoint", store.checkpoint().err()),
        ("prune", store.prune().err()),
        ("compact", store.compact().err()),
        ("upkeep", store.upkeep().err()),
        ("transact", store.transact(&ClaimRequest::new("new").ttl(second), |_| Ok(Vec::new())).err()),
    ];
    for (call, error) in answers {
        if error.as_ref().map(claimstore::Error::kind) != Some(ErrorKind::Poisoned) {
            return Err(Stop::Disagree(format!("{call} of a poisoned store answered {error:?}")));
        }
    }
    Ok(())
}

fn lose_power(runner: &mut Runner, point: Point) -> Result<(), Stop> {
    let mut rng = Rng::new(point.at ^ point.script.rotate_left(20));
    let level = [Level::L2, Level::L3][rng.index(2)];
    runner.lose_power(Variant::new(level, rng.next_u64()))
}

fn at_step(number: usize, step: &Step, end: Stop) -> Stop {
    match end {
        Stop::Disagree(what) => Stop::Disagree(format!("step {number} {step:?}: {what}")),
        Stop::Failed(kind, what) => Stop::Failed(kind, format!("step {number} {step:?}: {what}")),
    }
}
