//! Carries scripts out, and holds every answer against the model.

use super::compare::compare;
use super::imports::Like;
use super::model::{KEYS, LEASE_MS, Model};
use super::spaces::{Home, limited_policy};
use super::steps::Step;
use super::suffix::{INTERVAL, Point, prefixes};
use super::world::{START_MS, World};
use crate::{Level, Variant};
use claimstore::io::Clock;
use claimstore::{
    Claim, Durability, Error, ErrorKind, Failure, Lease, LeaseToken, Namespace, Policy, Store, TimeOrdered,
};
use claimstore_core::backend::Settlement;
use std::time::{Duration, UNIX_EPOCH};

const DAY_MS: u64 = 86_400_000;
pub(super) const ROWS: &str = "rows";
/// How far time goes in one step; a stretch behind these goes to an edge.
const STRETCHES_MS: [u64; 7] = [1, 999, 30_000, 61_000, 600_000, 7_300_000, 2 * DAY_MS];

/// What a run leaves for those who look at its crash images: after each step, how far the disk's log had come
/// and what the store should know.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The disk's events by then, and what the store should know, after each step; the first is the opened, empty
    /// store.
    pub points: Vec<(usize, Point)>,
    /// For each point, the number of the point that is surely durable by then.
    pub durable: Vec<usize>,
    /// The highest token given by then, for each point.
    pub tokens: Vec<u64>,
    /// The life of the store, for each point.
    pub lives: Vec<u64>,
}

/// How a step ended, if not as planned.
#[derive(Debug)]
pub enum Stop {
    /// The store failed with an error that faults explain.
    Failed(ErrorKind, String),
    /// The store and the model disagree.
    Disagree(String),
}

pub(super) type Done = Result<(), Stop>;

/// Runs scripts.
#[derive(Debug)]
pub struct Runner {
    /// The machine.
    pub world: World,
    /// What the store should know.
    pub model: Model,
    /// What it would know had the step that stopped taken effect.
    pub candidate: Option<Model>,
    /// The highest token seen.
    pub last_token: u64,
    pub(super) store: Option<Store>,
    pub(super) held: Vec<(usize, Lease)>,
    pub(super) tokens: Vec<(usize, LeaseToken)>,
    trace: Option<Trace>,
    pub(super) last_life: u64,
    /// The last point that is surely durable, and all behind it.
    since: Vec<Point>,
    /// Whether the last call went by `Claims`, where every other one does.
    pub(super) by_claims: Option<bool>,
    /// Boot time since the service thread of the store has synced, under an interval.
    unsynced_ms: u64,
}

pub(super) fn disagree<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Disagree(what.into()))
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error.kind(), format!("{error:?}"))
    }
}

impl Runner {
    /// Opens a store on a new machine.
    pub fn new(seed: u64) -> Result<Runner, Stop> {
        Runner::on_empty(World::new(seed))
    }

    /// Opens a store on a machine whose disk is empty.
    pub fn on_empty(world: World) -> Result<Runner, Stop> {
        Runner::on(world, Model { start_ms: START_MS, ..Model::default() })
    }

    /// Opens a store on `world` that should know what `model` says.
    pub fn on(world: World, model: Model) -> Result<Runner, Stop> {
        let mut runner = Runner::closed(world, (0, 0));
        runner.model = model;
        runner.open()?;
        runner.since = vec![Point::of(&runner.model)];
        Ok(runner)
    }

    /// Opens the store of `world` after a crash. It must know what one of `allowed` says, as of `floor`: a
    /// life and a token that were surely given before. The runner goes on from the one that fits.
    pub fn recover(world: World, allowed: &[Model], floor: (u64, u64)) -> Result<Runner, Stop> {
        let mut runner = Runner::closed(world, floor);
        runner.take_up(allowed)?;
        Ok(runner)
    }

    fn closed(world: World, (last_life, last_token): (u64, u64)) -> Runner {
        Runner {
            world,
            model: Model::default(),
            candidate: None,
            last_token,
            store: None,
            held: Vec::new(),
            tokens: Vec::new(),
            trace: None,
            last_life,
            since: Vec::new(),
            by_claims: None,
            unsynced_ms: 0,
        }
    }

    /// Lets go of a store that failed, and opens it again on the same disk: the page cache lives on. It must
    /// know what it knew before the failed step, or what the step would have made of it.
    pub fn revive(&mut self) -> Done {
        let allowed: Vec<Model> = std::iter::once(self.model.clone()).chain(self.candidate.take()).collect();
        let allowed = self.closed_or_not(allowed);
        self.let_go();
        self.take_up(&allowed)
    }

    /// The same where what was not synced may be gone: behind a failed sync, or a loss of power.
    pub fn revive_behind_loss(&mut self, step: Option<&Step>) -> Done {
        let mut points = std::mem::take(&mut self.since);
        // A step that failed may have been found to have had its effect all the same.
        if points.last().is_none_or(|last| last.model != self.model) {
            if self.world.durability == Durability::Sync {
                points.clear();
            }
            points.push(Point::of(&self.model));
        }
        let mut allowed = prefixes(&points);
        if let (Some(candidate), Some(step)) = (self.candidate.take(), step) {
            points.push(Point::behind(step, &self.model, &candidate));
            allowed.extend(prefixes(&points));
        }
        if step.is_some() {
            allowed = self.closed_or_not(allowed);
        }
        self.let_go();
        self.take_up(&allowed)
    }

    /// A store that is let go of closes, as well as its disk and its state let it.
    fn closed_or_not(&self, allowed: Vec<Model>) -> Vec<Model> {
        let both = |model: Model| [model.clone().closed(self.last_life), model];
        allowed.into_iter().flat_map(both).collect()
    }

    /// A step that failed has had its effect, or a part of it, all the same.
    pub(super) fn accept(&mut self, candidate: Model) {
        self.model = candidate;
        if self.world.durability == Durability::Sync {
            self.since.clear();
        }
        self.since.push(Point::of(&self.model));
    }

    /// Lets go of the store, on whatever disk it stands: it closes as well as that lets it.
    pub(super) fn let_go(&mut self) {
        self.held.clear();
        self.tokens.clear();
        self.store = None;
    }

    /// Loses power and opens the store again, which must know everything.
    pub fn lose_power(&mut self, variant: Variant) -> Done {
        self.lose_machine(variant);
        self.candidate = None;
        self.revive_behind_loss(None)
    }

    /// What the store of the dead machine still does on its way out reaches no disk.
    fn lose_machine(&mut self, variant: Variant) {
        let disk = self.world.disk.power_loss(variant);
        disk.stop_recording();
        self.world.disk.unplug();
        self.world = self.world.with_disk(disk);
    }

    fn take_up(&mut self, allowed: &[Model]) -> Done {
        // Nothing may be changed before it was looked at: of two policies the one that may be there already.
        self.model.raised = allowed.iter().any(|model| model.raised);
        let born = self.last_life > 0;
        let store = self.world.open()?;
        if born {
            definition_stands(&store, allowed)?;
        }
        self.go_on_with(store)?;
        let (store_ms, opened) = (self.model.store_ms, self.model.clone());
        let mut refusals = Vec::new();
        for model in allowed {
            let was_ms = model.store_ms;
            self.model =
                Model { store_ms, boot_ms: opened.boot_ms, wall_ms: opened.wall_ms, ..model.clone() };
            self.model.new_life();
            match compare(self.opened(), &self.model) {
                // The wall clock is told that it is right, so that nothing is drawn towards it.
                Ok(()) if store_ms <= was_ms.max(opened.wall_ms) => {
                    self.opened().namespace_with(Home::Ordered.name(), self.policy())?;
                    self.doubt_the_unseen(allowed);
                    self.believe_wall();
                    self.since = vec![Point::of(&self.model)];
                    return Ok(());
                }
                Ok(()) => refusals.push(format!("store time {was_ms} became {store_ms}")),
                Err(Stop::Disagree(what)) => refusals.push(what),
                Err(failed) => return Err(failed),
            }
        }
        disagree(refusals.join("; nor: "))
    }

    /// An expired key shows nothing: whether a `forget` of it came through cannot be seen.
    fn doubt_the_unseen(&mut self, allowed: &[Model]) {
        let in_all = |key| allowed.iter().all(|model| model.known.contains_key(&key));
        let unseen = (0..KEYS).filter(|key| self.model.visible(*key).is_none() && !in_all(*key));
        let unseen: Vec<usize> = unseen.collect();
        self.model.known.retain(|key, _| !unseen.contains(key));
    }

    fn believe_wall(&mut self) {
        if self.world.clock.wall_ms().abs_diff(self.model.store_ms) < DAY_MS {
            self.world.set_wall(self.model.store_ms);
        }
        self.read_clock();
    }

    /// Claims a key of its own and gives it back: a token must lie above all that were ever given.
    pub fn check_token(&mut self) -> Done {
        match self.opened().claim("a key of its own", Duration::from_mins(1))? {
            Claim::Claimed(lease) => {
                self.note_token(KEYS, lease.token())?;
                lease.release().map_err(|error| Error::from(error).into())
            }
            other => disagree(format!("{other:?} for a key nobody claimed")),
        }
    }

    /// Ends the run: audits, and closes the store in order.
    pub fn finish(mut self) -> Done {
        self.audit()?;
        self.held.clear();
        self.store.take().map_or(Ok(()), |store| Ok(store.close()?))
    }

    /// Keeps a trace from here on.
    pub fn record(&mut self) {
        self.trace = Some(Trace::default());
        self.note(Point::of(&self.model));
    }

    fn note(&mut self, point: Point) {
        let Some(trace) = &mut self.trace else { return };
        trace.points.push((self.world.disk.events(), point));
        trace.durable.push(trace.points.len().saturating_sub(self.since.len()));
        trace.tokens.push(self.last_token);
        trace.lives.push(self.last_life);
    }

    /// The trace so far.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The open store.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Runs a whole script and audits at its end.
    pub fn run(&mut self, steps: &[Step]) -> Done {
        for (at, step) in steps.iter().enumerate() {
            self.step(step).map_err(|stop| match stop {
                Stop::Disagree(what) => Stop::Disagree(format!("step {at} {step:?}: {what}")),
                failed @ Stop::Failed(..) => failed,
            })?;
        }
        self.audit()
    }

    /// Runs one step. On `Ok` the model has followed; on `Failed` the model stands as before, and
    /// `candidate` is what it would be had the step taken effect.
    pub fn step(&mut self, step: &Step) -> Done {
        let before = self.model.clone();
        self.candidate = None;
        let done = self.carry_out(step);
        if let Err(Stop::Failed(..)) = &done {
            let after = std::mem::replace(&mut self.model, before);
            self.candidate = Some(after);
            return done;
        }
        let point = Point::behind(step, &before, &self.model);
        if self.makes_durable(step) {
            self.since.clear();
        }
        self.since.push(point.clone());
        self.note(point);
        done
    }

    /// Whether all that was answered is durable behind a step that was carried out.
    fn makes_durable(&self, step: &Step) -> bool {
        match (self.world.durability, step) {
            (Durability::Sync, _) | (_, Step::Checkpoint | Step::Reopen | Step::Crash { .. }) => true,
            (Durability::Interval(_), Step::Advance { .. }) => self.unsynced_ms == 0,
            _ => false,
        }
    }

    /// Under an interval: boot time has gone on, and once the interval is over everything is to become durable by
    /// itself.
    fn let_the_interval_pass(&mut self, by_ms: u64) -> Done {
        /// So often a service thread is waited for, some tens of microseconds each time.
        const PATIENCE: u32 = 100_000;
        self.unsynced_ms += by_ms;
        if !matches!(self.world.durability, Durability::Interval(_))
            || self.unsynced_ms < INTERVAL.as_millis() as u64
        {
            return Ok(());
        }
        for _ in 0..PATIENCE {
            if self.opened().stats()?.unsynced_batches == 0 {
                self.unsynced_ms = 0;
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_micros(50));
        }
        disagree("the interval is over, and what was answered before is not synced")
    }

    fn carry_out(&mut self, step: &Step) -> Done {
        match step {
            Step::Claim { key, ttl, payload } => self.claim(key % KEYS, *ttl, *payload),
            Step::ClaimMany { keys, refused } => self.claim_many(keys, *refused),
            Step::Import { keys, state, attempt, payload, ago_s } => {
                let like =
                    Like { state: *state, attempt: 1 + attempt, payload: *payload, ago_ms: ago_s * 1_000 };
                self.import_many(keys, like)
            }
            Step::Complete { held, len } => {
                let response = vec![b'r'; *len];
                self.settle(
                    *held,
                    |model, key| model.resolve(key, false, response.clone()),
                    Settlement::Complete(response.clone()),
                )
            }
            Step::CompleteMany { too_large } => self.complete_many(*too_large),
            Step::Retry { held, after_s } => {
                let failure = if *after_s == 0 {
                    Failure::retry()
                } else {
                    Failure::retry_after(Duration::from_secs(*after_s))
                };
                self.settle(*held, |model, key| model.retry(key, after_s * 1_000), Settlement::Fail(failure))
            }
            Step::Unknown { held } => {
                let failure = Failure::unknown().because("gone");
                self.settle(*held, Model::unknown, Settlement::Fail(failure))
            }
            Step::Terminal { held } => self.settle(
                *held,
                |model, key| model.resolve(key, true, b"no".to_vec()),
                Settlement::Fail(Failure::terminal("no")),
            ),
            Step::Park { held } => self.settle(*held, Model::park, Settlement::Fail(Failure::park("look"))),
            Step::Release { held } => self.release(*held),
            Step::Abandon { held } => {
                self.abandon(*held);
                Ok(())
            }
            Step::Renew { held, term_s } => self.renew(*held, *term_s),
            Step::Progress { held, len } => self.progress(*held, *len),
            Step::Labour { held, times } => self.labour(*held, *times),
            Step::HandOver { held } => self.hand_over(*held),
            Step::Detach { held, term_s } => self.detach(*held, *term_s),
            Step::TakeOver { which, term_s } => self.take_over(*which, *term_s),
            Step::Resume { token } => self.resume(*token),
            Step::Transact { key, fail } => self.transact(key % KEYS, *fail),
            Step::CompleteIn { held } => self.complete_in(*held),
            Step::Forget { key } => self.forget(key % KEYS),
            Step::Advance { stretch } => {
                let by_ms =
                    STRETCHES_MS.get(*stretch).copied().unwrap_or_else(|| self.model.to_the_edge_ms());
                self.world.clock.advance(Duration::from_millis(by_ms));
                self.model.store_ms += by_ms;
                self.read_clock();
                self.let_the_interval_pass(by_ms)
            }
            Step::StepWall { step } => {
                let wall_ms = match step % 3 {
                    0 => self.model.store_ms + 2 * DAY_MS,
                    1 => self.model.store_ms - 2 * DAY_MS,
                    _ => self.model.store_ms,
                };
                self.world.clock.set_wall(UNIX_EPOCH + Duration::from_millis(wall_ms));
                self.read_clock();
                Ok(())
            }
            Step::RaiseTtl => {
                self.model.raised = true;
                self.opened().namespace_with(Home::Ordered.name(), self.policy())?;
                Ok(())
            }
            Step::Checkpoint => Ok(self.opened().checkpoint()?),
            Step::Prune => Ok(self.opened().prune().map(drop)?),
            Step::Upkeep => Ok(self.opened().upkeep().map(drop)?),
            Step::Compact => Ok(self.opened().compact()?),
            Step::Reopen => self.reopen(),
            Step::Crash { seed, reboot } => self.crash(*seed, *reboot),
            Step::Audit => self.audit(),
        }
    }

    pub(super) fn opened(&self) -> &Store {
        self.store.as_ref().expect("a runner's store is open between steps")
    }

    pub(super) fn space(&self, key: usize) -> Result<Namespace, Error> {
        Home::of(key).namespace(self.opened())
    }

    fn open(&mut self) -> Done {
        let store = self.world.open()?;
        self.go_on_with(store)
    }

    fn go_on_with(&mut self, store: Store) -> Done {
        self.unsynced_ms = 0;
        store.namespace_with(Home::Ordered.name(), self.policy())?;
        store.namespace_with(Home::Limited.name(), limited_policy())?;
        // Made before the first token, and known in each life: that its making may fail is another test's.
        store.fingerprinter()?;
        let stats = store.stats()?;
        if stats.life <= self.last_life {
            return disagree(format!("life {} after life {}", stats.life, self.last_life));
        }
        self.last_life = stats.life;
        self.model.store_ms = stats.store_time_ms;
        self.store = Some(store);
        self.read_clock();
        Ok(())
    }

    /// Of the time-ordered keys.
    fn policy(&self) -> Policy {
        let ttl = Duration::from_millis(self.model.ordered_ttl_ms());
        Policy::new().ttl(ttl).time_ordered_keys(TimeOrdered::UuidV7).max_losses(Home::Ordered.max_losses())
    }

    fn read_clock(&mut self) {
        self.model.boot_ms = self.world.clock.boot_ms();
        self.model.wall_ms = self.world.clock.wall_ms();
    }

    /// Lets go of everything of the old life, in memory and in the model.
    fn end_life(&mut self) {
        self.held.clear();
        self.model.new_life();
    }

    fn reopen(&mut self) -> Done {
        let store_ms = self.model.store_ms;
        if let Some(store) = self.store.take() {
            store.close()?;
            self.model = self.model.clone().closed(self.last_life);
        }
        self.end_life();
        self.open()?;
        if self.model.store_ms != store_ms {
            return disagree(format!("store time {} became {} by reopening", store_ms, self.model.store_ms));
        }
        self.audit()
    }

    fn crash(&mut self, seed: u64, reboot: bool) -> Done {
        let level = [Level::L0, Level::L1, Level::L2, Level::L3][(seed % 4) as usize];
        self.lose_machine(Variant::new(level, seed));
        let store_ms = self.model.store_ms;
        if reboot {
            self.world.clock.reboot();
        }
        self.store = None;
        self.end_life();
        self.open()?;
        if reboot {
            // From here on the wall clock tells the truth again, so that nothing is drawn towards it.
            self.world.clock.set_wall(UNIX_EPOCH + Duration::from_millis(self.model.store_ms));
            self.read_clock();
        } else if self.model.store_ms != store_ms {
            return disagree(format!("store time {} became {} by a crash", store_ms, self.model.store_ms));
        }
        self.audit()
    }

    /// Compares everything the store shows with the model.
    pub fn audit(&mut self) -> Done {
        let store = self.opened();
        store.verify()?;
        if store.stats()?.store_time_ms != self.model.store_ms {
            return disagree(format!(
                "store time {}, expected {}",
                store.stats()?.store_time_ms,
                self.model.store_ms
            ));
        }
        compare(store, &self.model)?;
        self.audit_counts()
    }
}

/// A namespace is defined durably under every level: it is there before anybody defines it again.
fn definition_stands(store: &Store, allowed: &[Model]) -> Done {
    let remembers = store.namespace(Home::Ordered.name())?.policy().remembers_for();
    let ttls = allowed.iter().map(|model| Duration::from_millis(model.ordered_ttl_ms()));
    if ttls.into_iter().any(|ttl| ttl == remembers) {
        return Ok(());
    }
    disagree(format!("the namespace remembers for {remembers:?}: its definition is lost"))
}

const _: () = assert!(LEASE_MS == 60_000, "the default lease of the contract");
