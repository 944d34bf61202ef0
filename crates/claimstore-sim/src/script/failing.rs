//! Scripts whose disk fails at one operation (L4), and what a store owes its caller then (P6, P16).

use super::compare::compare_key;
use super::model::KEYS;
use super::runner::{Done, Runner, Stop};
use super::steps::Step;
use super::world::World;
use crate::kill::is_honest;
use crate::{Fault, Level, Rng, Target, Variant};
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
            // The store may have been born: another opening of it draws other bytes.
            let mut again = world.clone();
            again.seed = !world.seed;
            Runner::on_empty(again)?
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
            let owned_up = match fault.target {
                Target::Reads => own_up_to_a_read(&mut runner, stop),
                _ => own_up(&mut runner, step, stop, fault, &mut patience),
            };
            owned_up.map_err(|stop| at_step(number, step, stop))?;
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
fn own_up(runner: &mut Runner, step: &Step, end: Stop, fault: Fault, patience: &mut u64) -> Done {
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
        return match fault.target {
            Target::Syncs | Target::Any => runner.revive_behind_loss(Some(step)),
            _ => runner.revive(),
        };
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

/// A read failed in a step: it says so, and no other look is answered wrongly. Then the store is opened anew on a
/// well disk, as the step may have been an opening itself; it knows what it knew before the step, or what the step
/// would have made of it.
fn own_up_to_a_read(runner: &mut Runner, end: Stop) -> Done {
    let Stop::Failed(kind, what) = end else { return Err(end) };
    honest(kind, &what)?;
    let poisoned = runner.store().is_some_and(|store| store.stats().is_err());
    if poisoned {
        only_poisoned(runner)?;
    } else if kind != ErrorKind::Indeterminate {
        (0..KEYS).try_for_each(|key| look_or_refuse(runner, key))?;
    }
    runner.world.disk.clear_faults();
    runner.revive()
}

/// Looks at a key while reads may fail: as before the step that stopped, or as behind it, or refused.
fn look_or_refuse(runner: &Runner, key: usize) -> Done {
    let Some(store) = runner.store() else { return Ok(()) };
    let mut wrong = Vec::new();
    for model in std::iter::once(&runner.model).chain(&runner.candidate) {
        match compare_key(store, model, key) {
            Ok(()) => return Ok(()),
            Err(Stop::Failed(kind, what)) => return honest(kind, &what),
            Err(Stop::Disagree(what)) => wrong.push(what),
        }
    }
    Err(Stop::Disagree(format!("while reads fail: {}", wrong.join("; nor: "))))
}

/// The step failed, and has had its effect all the same.
fn took_effect(runner: &mut Runner) -> Done {
    if let Some(candidate) = runner.candidate.take() {
        runner.accept(candidate);
    }
    runner.audit()
}

/// Also nothing behind the error says that bytes are damaged: a disk that fails has damaged none.
pub(super) fn honest(kind: ErrorKind, what: &str) -> Done {
    if !is_honest(kind) || what.contains("kind: Corrupt") {
        return Err(Stop::Disagree(format!("a failing disk was answered with {what}")));
    }
    let of_a_file = matches!(kind, ErrorKind::Io | ErrorKind::Indeterminate | ErrorKind::Poisoned);
    if of_a_file && !(what.contains(" place: ") && what.contains(" source: ")) {
        return Err(Stop::Disagree(format!("neither the file nor its error is told by {what}")));
    }
    Ok(())
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

/// The power fails, and the store must know everything.
pub(super) fn lose_power(runner: &mut Runner, seed: u64) -> Done {
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
