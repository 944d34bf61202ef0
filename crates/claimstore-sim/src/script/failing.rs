//! Scripts whose disk fails at one operation (L4), and what a store owes its caller then (P6, P16).

use super::runner::{Done, Runner, Stop};
use super::steps::Step;
use super::world::World;
use crate::kill::is_honest;
use crate::{Fault, Level, Rng, Variant};
use claimstore::{ClaimRequest, ErrorKind, Filter};
use std::time::Duration;

/// Runs a script on a machine whose operation number `at` of the fault's target fails. Whatever is refused must be
/// refused honestly; the store goes on, or says that it cannot; and after a while the power fails, too. Answers how
/// many steps were stopped.
///
/// The script has no crashes of its own.
pub fn survive(world: &World, steps: &[Step], at: u64, fault: Fault) -> Result<u64, Stop> {
    world.disk.stop_recording();
    world.disk.fail_at(at, fault);
    let mut stopped = 0;
    let mut runner = match Runner::on_empty(world.clone()) {
        Ok(runner) => runner,
        Err(Stop::Failed(kind, what)) => {
            stopped += 1;
            honest(kind, &what)?;
            world.disk.clear_faults();
            Runner::on_empty(world.clone())?
        }
        Err(stop) => return Err(stop),
    };
    // After the failure the script goes on for a while; then the power fails.
    let mut behind = None;
    // A disk that fails for good is met by some steps more before it is mended.
    let mut patience = if fault.sticky { at % 4 } else { 0 };
    let power = at ^ world.seed.rotate_left(20);
    for (number, step) in steps.iter().enumerate() {
        if let Err(stop) = runner.step(step) {
            stopped += 1;
            own_up(&mut runner, step, stop, &mut patience).map_err(|stop| at_step(number, step, stop))?;
            behind = Some(1 + at % 9);
        }
        behind = behind.map(|steps| steps - 1);
        if behind == Some(0) {
            behind = None;
            lose_power(&mut runner, power).map_err(|stop| at_step(number, step, stop))?;
        }
    }
    lose_power(&mut runner, power)?;
    runner.finish()?;
    Ok(stopped)
}

/// A step failed: with an honest word, and without an effect or with its whole effect.
fn own_up(runner: &mut Runner, step: &Step, end: Stop, patience: &mut u64) -> Done {
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
fn took_effect(runner: &mut Runner) -> Done {
    if let Some(candidate) = runner.candidate.take() {
        runner.model = candidate;
    }
    runner.audit()
}

/// Also nothing behind the error says that bytes are damaged: a disk that fails has damaged none.
fn honest(kind: ErrorKind, what: &str) -> Done {
    if is_honest(kind) && !what.contains("kind: Corrupt") {
        Ok(())
    } else {
        Err(Stop::Disagree(format!("a failing disk was answered with {what}")))
    }
}

/// Every call of a poisoned store says so.
fn only_poisoned(runner: &Runner) -> Done {
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

fn lose_power(runner: &mut Runner, seed: u64) -> Done {
    let mut rng = Rng::new(seed);
    let level = [Level::L2, Level::L3][rng.index(2)];
    runner.lose_power(Variant::new(level, rng.next_u64()))
}

fn at_step(number: usize, step: &Step, end: Stop) -> Stop {
    match end {
        Stop::Disagree(what) => Stop::Disagree(format!("step {number} {step:?}: {what}")),
        Stop::Failed(kind, what) => Stop::Failed(kind, format!("step {number} {step:?}: {what}")),
    }
}
