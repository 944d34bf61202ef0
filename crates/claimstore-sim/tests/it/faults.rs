//! Operations that fail (L4): every write, sync and directory operation of a script, once and for good, with
//! EIO, ENOSPC and half a write. Each error must be honest, the store opened again must know what was
//! acknowledged, in the page cache and on the disk after a power loss that follows (P6, P16, hazard 5).
//!
//! By default a sample; `CLAIMSTORE_EVERY_K=1` takes every operation.

use claimstore_sim::script::{Recording, Runner, Step, World, survive};
use claimstore_sim::{Fault, FaultKind, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

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
    let run = || survive(&World::new(point.script), &steps(point.script), point.at, point.fault);
    let what = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(calls)) => {
            stopped.fetch_add(calls, Ordering::Relaxed);
            return None;
        }
        Ok(Err(stop)) => format!("{stop:?}"),
        Err(_) => "panicked".to_owned(),
    };
    Some(format!("{point:?}: {what}"))
}
