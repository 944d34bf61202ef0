//! What goes on in the midst of a long call: a checkpoint, a prune or a compaction is stopped before each operation on a
//! run or the catalogue, a caller before each read of a run, and meanwhile the script goes on. Every answer on the way
//! is held against the model, and so is what the call itself answers when it has ended.

use super::compare::{compare, key_bytes, shows};
use super::model::{KEYS, Model};
use super::runner::{Done, Runner, Stop, disagree};
use super::spaces::Home;
use super::steps::{Step, random_step};
use super::world::World;
use crate::gate::{Keeper, Stopper, gate};
use crate::{Rng, SimDisk};
use claimstore::{Claim, Error, Record, Store};
use std::ops::ControlFlow;
use std::time::Duration;

/// Steps before each long call.
const STEPS_BETWEEN: usize = 15;
/// Long calls of a script.
const CALLS: usize = 12;
/// Most steps in the midst of one.
const STEPS_WITHIN: usize = 24;
/// Steps in the life of the key a caller looks at: it has versions behind it, live and in runs.
const STEPS_OF_A_KEY: usize = 8;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Midst {
    /// Long calls.
    pub calls: usize,
    /// How often one was stopped.
    pub stops: usize,
    /// Steps in the midst of one.
    pub steps: usize,
}

/// A call that is stopped on its way.
#[derive(Debug, Clone, Copy)]
enum Long {
    Checkpoint,
    Prune,
    Compact,
    Upkeep,
    Get(usize),
    Claim(usize),
    Forget(usize),
}

/// What it answered.
enum Told {
    Done,
    Shown(Option<Record>),
    Claimed(Claim),
    Forgot(bool),
}

impl Long {
    fn random(rng: &mut Rng) -> Long {
        let key = rng.index(KEYS);
        match rng.index(12) {
            0..=2 => Long::Checkpoint,
            3 => Long::Prune,
            4 => Long::Compact,
            5 => Long::Upkeep,
            6..=7 => Long::Get(key),
            8..=9 => Long::Claim(key),
            _ => Long::Forget(key),
        }
    }

    /// The key it looks at.
    fn key(self) -> Option<usize> {
        match self {
            Long::Get(key) | Long::Claim(key) | Long::Forget(key) => Some(key),
            Long::Checkpoint | Long::Prune | Long::Compact | Long::Upkeep => None,
        }
    }

    /// Whether it has the upkeep lock, for which other upkeep would wait.
    fn is_upkeep(self) -> bool {
        matches!(self, Long::Checkpoint | Long::Prune | Long::Compact | Long::Upkeep)
    }
}

impl Runner {
    /// Runs the script that `seed` makes, with long calls in it that are stopped.
    pub fn in_the_midst(seed: u64) -> Result<Midst, Stop> {
        let mut rng = Rng::new(seed);
        let mut runner = Runner::on_empty(World::on(SimDisk::new(), seed).gated())?;
        runner.world.disk.stop_recording();
        // The file of the caller's tables is made under the upkeep lock.
        runner.step(&Step::Transact { key: 0, fail: false })?;
        let mut midst = Midst::default();
        for _ in 0..CALLS {
            for _ in 0..STEPS_BETWEEN {
                runner.step(&random_step(&mut rng))?;
            }
            let long = Long::random(&mut rng);
            if let Some(key) = long.key() {
                for _ in 0..STEPS_OF_A_KEY {
                    runner.step(&step_of(key, &mut rng))?;
                }
            }
            runner.long(long, &mut rng, &mut midst).map_err(|stop| match stop {
                Stop::Disagree(what) => Stop::Disagree(format!("in the midst of {long:?}: {what}")),
                failed @ Stop::Failed(..) => failed,
            })?;
            runner.audit()?;
        }
        runner.finish()?;
        Ok(midst)
    }

    fn long(&mut self, long: Long, rng: &mut Rng, midst: &mut Midst) -> Done {
        if let Long::Claim(key) = long
            && (self.model.is_open(key) || Home::has_quota(key))
        {
            return Ok(());
        }
        midst.calls += 1;
        let (store, model) = (self.opened().clone(), self.model.clone());
        let (stopper, keeper) = gate();
        let mut met = vec![model.clone()];
        let (told, meanwhile) = std::thread::scope(|scope| {
            let call = scope.spawn(move || carry_out(stopper, &store, &model, long));
            let meanwhile = self.meanwhile(long, keeper, rng, midst, &mut met);
            (call.join(), meanwhile)
        });
        meanwhile?;
        let Ok(told) = told else { return disagree("the call panicked") };
        self.heard(long, told, &met)
    }

    /// Works while the other is stopped. Ends when it has ended; or, with the gate open, at the first disagreement.
    #[expect(clippy::needless_pass_by_value, reason = "dropped at the end, which opens the gate for good")]
    fn meanwhile(
        &mut self,
        long: Long,
        keeper: Keeper,
        rng: &mut Rng,
        midst: &mut Midst,
        met: &mut Vec<Model>,
    ) -> Done {
        let mut left = STEPS_WITHIN;
        while keeper.stopped() {
            midst.stops += 1;
            if left > 0 && rng.chance(1, 2) {
                left -= 1;
                midst.steps += 1;
                self.one_step(long, rng)?;
                met.push(self.model.clone());
            }
            keeper.go_on();
        }
        Ok(())
    }

    fn one_step(&mut self, long: Long, rng: &mut Rng) -> Done {
        // What moves records away from under a look is what it must notice.
        let step = if !long.is_upkeep() && rng.chance(1, 2) {
            Step::Checkpoint
        } else {
            loop {
                if let ControlFlow::Break(step) = allowed(random_step(rng), long) {
                    break step;
                }
            }
        };
        self.step(&step)?;
        compare(self.opened(), &self.model)
    }

    /// Holds what the call told against the model: of a look any state that was met on the way will do; what has an
    /// effect had it at the end, as no step came behind its last stop.
    fn heard(&mut self, long: Long, told: Result<Told, Error>, met: &[Model]) -> Done {
        match (long, told) {
            (Long::Claim(key), told) => {
                let expected = self.model.expect(key, 0);
                self.foresee(key, self.model.ttl_ms(key, 1), 0, &expected);
                let answer = told.map(|told| match told {
                    Told::Claimed(claim) => claim,
                    Told::Done | Told::Shown(_) | Told::Forgot(_) => unreachable!("a claim was made"),
                });
                self.judge(key, &expected, answer)
            }
            (_, Err(error)) => Err(error.into()),
            (Long::Get(key), Ok(Told::Shown(record))) => {
                if met.iter().any(|model| shows(model, key, record.as_ref())) {
                    return Ok(());
                }
                disagree(format!("key {key}: {record:?}, expected {:?}", self.model.visible(key)))
            }
            (Long::Forget(key), Ok(Told::Forgot(known))) => {
                let visible = self.model.visible(key).is_some();
                self.model.known.remove(&key);
                if visible && !known {
                    disagree(format!("key {key} was not found to be forgotten"))
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }
}

/// A step in the life of one key.
fn step_of(key: usize, rng: &mut Rng) -> Step {
    match rng.index(8) {
        0..=2 => Step::Claim { key, ttl: 2, payload: 0 },
        3..=4 => Step::CompleteMany { too_large: false },
        5 => Step::Forget { key },
        _ => Step::Checkpoint,
    }
}

/// Breaks with a step that waits for nothing the stopped call holds.
fn allowed(step: Step, long: Long) -> ControlFlow<Step> {
    let waits = match step {
        Step::Reopen | Step::Crash { .. } => true,
        Step::Checkpoint | Step::Prune | Step::Upkeep | Step::Compact | Step::Audit => long.is_upkeep(),
        _ => false,
    };
    if waits { ControlFlow::Continue(()) } else { ControlFlow::Break(step) }
}

fn carry_out(stopper: Stopper, store: &Store, model: &Model, long: Long) -> Result<Told, Error> {
    let space = |key: usize| Home::of(key).namespace(store);
    stopper.run(|| match long {
        Long::Checkpoint => store.checkpoint().map(|()| Told::Done),
        Long::Prune => store.prune().map(|_| Told::Done),
        Long::Compact => store.compact().map(|()| Told::Done),
        Long::Upkeep => store.upkeep().map(|_| Told::Done),
        Long::Get(key) => space(key)?.get(key_bytes(key, model)).map(Told::Shown),
        Long::Claim(key) => {
            let ttl = Duration::from_millis(model.ttl_ms(key, 1));
            space(key)?.claim(key_bytes(key, model), ttl).map(Told::Claimed)
        }
        Long::Forget(key) => space(key)?.forget(key_bytes(key, model)).map(Told::Forgot),
    })
}
