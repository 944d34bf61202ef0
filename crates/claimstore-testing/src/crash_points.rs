//! Runs a handler through every crash point.

use crate::block_on::block_on;
use crate::disk::{Disk, Level, Variant};
use crate::effects::Effects;
use crate::entropy::SeededEntropy;
use crate::judge::{Counts, End, Ended, Judge, states};
use crate::options::{small_options, start};
use crate::process::{Death, Deed, Died, Process, deaths};
use crate::run::Run;
use crate::verdict::{Crash, Place, Places, Verdict};
use claimstore::{Error, ManualClock, Options, Store};
use claimstore_core::planted;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What a handler may return as its error.
type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Handler<'h, W> = &'h dyn Fn(Run<W>) -> Result<(), AnyError>;
type Prepare = Box<dyn Fn(&Store) -> Result<(), Error>>;
type Observe<W> = Box<dyn Fn(&Run<W>) -> Result<(), Error>>;

/// [`CrashPoints::run`] with the defaults.
///
/// ```
/// use claimstore::{Claim, Error};
/// use claimstore_testing::{Run, crash_points};
/// use std::time::Duration;
///
/// let verdict = crash_points(|run: &Run| -> Result<(), Error> {
///     match run.store().claim("order-1", Duration::from_secs(86_400))? {
///         Claim::Claimed(lease) => {
///             // The remote side knows the order by its idempotency key, the same for every attempt.
///             let receipt =
///                 run.effects().run_once("order-1", "pay", &lease.child_key("pay"), || b"receipt 17".to_vec());
///             lease.complete(receipt)?;
///         }
///         Claim::Duplicate(_) => {}
///         Claim::InProgress(_) => return Err(Error::caller("somebody is on it: deliver it again later")),
///     }
///     Ok(())
/// })?;
/// verdict.assert_effects_at_most_once();
/// verdict.assert_nothing_lost();
/// # Ok::<(), claimstore_testing::NoVerdict>(())
/// ```
pub fn crash_points<E: Into<AnyError>>(
    handler: impl Fn(&Run) -> Result<(), E>,
) -> Result<Verdict, NoVerdict> {
    CrashPoints::new().run(handler)
}

/// [`CrashPoints::run_async`] with the defaults.
pub fn crash_points_async<E, F>(handler: impl Fn(Run) -> F) -> Result<Verdict, NoVerdict>
where
    E: Into<AnyError>,
    F: Future<Output = Result<(), E>>,
{
    CrashPoints::new().run_async(handler)
}

/// Runs a handler, and lets its process die at every point where that makes a difference.
///
/// A handler is what a program does with one message: it claims, works, settles, and returns `Ok` when it is done with
/// the message, or an error to get it delivered again. First it runs without a crash. That tells how often each effect
/// is due, and the crash points: before and after each operation of the disk, each call of
/// [`Effects`] and each [`Run::crash_point`]. Points between two of them leave the same behind.
///
/// Then, for each point, in a new world each time: the handler runs until there, and the process dies, or power is lost.
/// The store is opened again, and the message is delivered until the handler returns `Ok`, some minutes apart; and once
/// more after that, as queues do. The effects are counted, and compared with those of the run without a crash.
///
/// ```
/// use claimstore::{Claim, Error, Policy};
/// use claimstore_testing::{CrashPoints, FindingKind, Run};
///
/// // Who does the work first and says so after it, with a remote side that knows no idempotency keys:
/// let verdict = CrashPoints::new()
///     .prepare(|store| store.namespace_with("orders", Policy::daily()).map(drop))
///     .run(|run: &Run| -> Result<(), Error> {
///         let orders = run.store().namespace("orders")?;
///         if let Claim::Claimed(lease) = orders.claim_default("order-1")? {
///             run.effects().run("order-1", "mail", || println!("Thank you for your order."));
///             lease.complete("sent")?;
///         }
///         Ok(())
///     })?;
/// assert_eq!(verdict.times("order-1", "mail"), Some((1, 2)));
/// assert!(verdict.findings().iter().all(|finding| finding.kind() == FindingKind::Twice));
/// println!("{verdict}");
/// # Ok::<(), claimstore_testing::NoVerdict>(())
/// ```
///
/// # What it needs of a handler
///
/// - Effects go through [`Run::effects`], or are counted where they are by [`observe`](CrashPoints::observe).
/// - It does the same in every run: no threads, no clock but [`Run::clock`], no random numbers. Else
///   [`Verdict::missed`] is not 0.
/// - It ends when calls of the store fail, and catches no panics.
///
/// A handler that panics in a process that lives ends it all with [`NoVerdict`]. Panics of a process that is dead, such as
/// an `unwrap` of a call that failed because of that, are part of its death; their messages are printed as usual.
#[must_use = "nothing happens before `run` or `run_async`"]
pub struct CrashPoints<W = ()> {
    options: Options,
    prepare: Option<Prepare>,
    world: Box<dyn Fn(&Effects) -> W>,
    observe: Option<Observe<W>>,
    power_losses: u32,
    in_a_row: u32,
    deliveries: u32,
    wait: Duration,
    seed: u64,
}

/// Why there is no verdict.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoVerdict {
    /// The store could not be opened, prepared or read.
    Store(Error),
    /// The handler did not succeed in any delivery, without any crash.
    Handler(Box<dyn std::error::Error + Send + Sync>),
    /// The handler panicked in a process that lives.
    Panicked {
        /// When.
        at: String,
        /// What it said.
        message: String,
    },
}

impl CrashPoints {
    /// The defaults: [`small_options`], three losses of power for each point, up to eight deliveries after a crash, five
    /// minutes apart.
    pub fn new() -> CrashPoints {
        CrashPoints {
            options: small_options(),
            prepare: None,
            world: Box::new(|_| ()),
            observe: None,
            power_losses: 3,
            in_a_row: 1,
            deliveries: 8,
            wait: Duration::from_secs(300),
            seed: 0,
        }
    }
}

impl Default for CrashPoints {
    fn default() -> CrashPoints {
        CrashPoints::new()
    }
}

impl<W> CrashPoints<W> {
    /// How the store is opened. Clock and random bytes are replaced, and upkeep does not run by itself, so that every run
    /// is the same.
    pub fn options(self, options: Options) -> CrashPoints<W> {
        CrashPoints { options, ..self }
    }

    /// What is done with the store once before everything else: namespaces and their policies, records that are there
    /// already. The process does not die in it.
    pub fn prepare(self, prepare: impl Fn(&Store) -> Result<(), Error> + 'static) -> CrashPoints<W> {
        CrashPoints { prepare: Some(Box::new(prepare)), ..self }
    }

    /// A world of your own, such as a fake server: made anew for every crash, kept while processes die in it, and given to
    /// the handler as [`Run::world`]. It may keep a clone of the ledger. Forgets what [`observe`](CrashPoints::observe)
    /// was given.
    ///
    /// ```
    /// use claimstore::{Claim, Error};
    /// use claimstore_testing::{CrashPoints, Effects, Run};
    /// use std::time::Duration;
    ///
    /// struct Mailer(Effects);
    ///
    /// impl Mailer {
    ///     fn send(&self, order: &str) {
    ///         self.0.run(order, "mail", || println!("Thank you for {order}."));
    ///     }
    /// }
    ///
    /// let verdict = CrashPoints::new().world(|effects| Mailer(effects.clone())).run(
    ///     |run: &Run<Mailer>| -> Result<(), Error> {
    ///         if let Claim::Claimed(lease) = run.store().claim("order-1", Duration::from_secs(86_400))? {
    ///             run.world().send("order-1");
    ///             lease.complete("sent")?;
    ///         }
    ///         Ok(())
    ///     },
    /// )?;
    /// verdict.assert_nothing_lost();
    /// # Ok::<(), claimstore_testing::NoVerdict>(())
    /// ```
    pub fn world<V>(self, make: impl Fn(&Effects) -> V + 'static) -> CrashPoints<V> {
        let CrashPoints { options, prepare, power_losses, in_a_row, deliveries, wait, seed, .. } = self;
        let world = Box::new(make);
        CrashPoints { options, prepare, world, observe: None, power_losses, in_a_row, deliveries, wait, seed }
    }

    /// Counts effects where they are, once everything was delivered: rows of the store's tables, the state of your own
    /// [`world`](CrashPoints::world). It says what it found by [`Effects::found`]. An effect that it does not name in
    /// every call counts as not done: it must name those that were not found, too.
    ///
    /// ```
    /// use claimstore::{ClaimRequest, Error, Transacted};
    /// use claimstore_testing::{CrashPoints, Run};
    ///
    /// let verdict = CrashPoints::new()
    ///     .observe(|run: &Run| {
    ///         let row = run.store().table("invoices")?.get("order-1")?;
    ///         let times = row.map_or(0, |row| u64::from(row[0]));
    ///         run.effects().found("order-1", "invoice", times);
    ///         Ok(())
    ///     })
    ///     .run(|run: &Run| -> Result<(), Error> {
    ///         let ran = run.store().transact(&ClaimRequest::new("order-1"), |transaction| {
    ///             let mut invoices = transaction.table("invoices")?;
    ///             let before = invoices.get("order-1")?.map_or(0, |row| row[0]);
    ///             invoices.insert("order-1", [before + 1])?;
    ///             Ok(b"posted".to_vec())
    ///         })?;
    ///         match ran {
    ///             Transacted::InProgress(_) => Err(Error::caller("later")),
    ///             _ => Ok(()),
    ///         }
    ///     })?;
    /// verdict.assert_effects_at_most_once();
    /// verdict.assert_nothing_lost();
    /// # Ok::<(), claimstore_testing::NoVerdict>(())
    /// ```
    pub fn observe(self, observe: impl Fn(&Run<W>) -> Result<(), Error> + 'static) -> CrashPoints<W> {
        CrashPoints { observe: Some(Box::new(observe)), ..self }
    }

    /// How many losses of power are tried at each point, besides the death of the process. Default: 3.
    pub fn power_losses(self, times: u32) -> CrashPoints<W> {
        CrashPoints { power_losses: times, ..self }
    }

    /// How many processes in a row die at most. Default: 1. With 2, the process that comes after a crash dies too, at each
    /// of its own points, once by itself and once with the power: that is how code for a second attempt is tried, which no
    /// first process comes to. It takes about ten times as long for each further one.
    ///
    /// ```
    /// use claimstore::{Claim, Error};
    /// use claimstore_testing::{CrashPoints, Run};
    /// use std::time::Duration;
    ///
    /// // Who looks before a second attempt, but not before a third:
    /// let handler = |run: &Run| -> Result<(), Error> {
    ///     match run.store().claim("order-1", Duration::from_secs(86_400))? {
    ///         Claim::Claimed(lease) => {
    ///             let is_done = run.effects().times("order-1", "mail") > 0;
    ///             if lease.attempt() != 2 || !is_done {
    ///                 run.effects().run("order-1", "mail", || ());
    ///             }
    ///             lease.complete("sent")?;
    ///             Ok(())
    ///         }
    ///         Claim::Duplicate(_) => Ok(()),
    ///         Claim::InProgress(_) => Err(Error::caller("deliver it again later")),
    ///     }
    /// };
    /// CrashPoints::new().run(handler)?.assert_effects_at_most_once();
    /// let verdict = CrashPoints::new().in_a_row(2).run(handler)?;
    /// assert_eq!(verdict.times("order-1", "mail"), Some((1, 2)));
    /// # Ok::<(), claimstore_testing::NoVerdict>(())
    /// ```
    pub fn in_a_row(self, processes: u32) -> CrashPoints<W> {
        CrashPoints { in_a_row: processes.max(1), ..self }
    }

    /// How often the message is delivered at most in one process. Default: 8.
    pub fn deliveries(self, most: u32) -> CrashPoints<W> {
        CrashPoints { deliveries: most.max(1), ..self }
    }

    /// How much time passes before the message is delivered again. Default: five minutes, which is longer than the
    /// default lease.
    pub fn wait(self, wait: Duration) -> CrashPoints<W> {
        CrashPoints { wait, ..self }
    }

    /// Chooses what losses of power take away. Default: 0.
    pub fn seed(self, seed: u64) -> CrashPoints<W> {
        CrashPoints { seed, ..self }
    }

    /// Runs a handler that blocks.
    pub fn run<E: Into<AnyError>>(
        &self,
        handler: impl Fn(&Run<W>) -> Result<(), E>,
    ) -> Result<Verdict, NoVerdict> {
        self.judge(&|run| handler(&run).map_err(Into::into))
    }

    /// Runs a handler that gives a future, which [`block_on`] drives: without a runtime.
    ///
    /// ```
    /// use claimstore::Error;
    /// use claimstore_core::Claim;
    /// use claimstore_testing::{CrashPoints, Run};
    /// use std::time::Duration;
    ///
    /// async fn handle(run: Run) -> Result<(), Error> {
    ///     match run.claims().claim("order-1", Duration::from_secs(86_400)).await? {
    ///         Claim::Claimed(lease) => {
    ///             let id = lease.child_key("pay");
    ///             let receipt = run.effects().run_once("order-1", "pay", &id, || b"receipt 17".to_vec());
    ///             lease.complete(receipt).await?;
    ///             Ok(())
    ///         }
    ///         Claim::Duplicate(_) => Ok(()),
    ///         Claim::InProgress(_) => Err(Error::caller("later")),
    ///     }
    /// }
    ///
    /// CrashPoints::new().run_async(handle)?.assert_effects_at_most_once();
    /// # Ok::<(), claimstore_testing::NoVerdict>(())
    /// ```
    pub fn run_async<E, F>(&self, handler: impl Fn(Run<W>) -> F) -> Result<Verdict, NoVerdict>
    where
        E: Into<AnyError>,
        F: Future<Output = Result<(), E>>,
    {
        self.judge(&|run| block_on(handler(run)).map_err(Into::into))
    }

    fn judge(&self, handler: Handler<'_, W>) -> Result<Verdict, NoVerdict> {
        let disk = self.prepared()?;
        let (first, due, deeds) = self.without_a_crash(&disk, handler)?;
        let mut judge = Judge::new(due, &first);
        self.crash_everywhere(&disk, &[], &deeds, handler, &mut judge)?;
        let Judge { rows, findings, crashes, missed, .. } = judge;
        let (points, power_losses, in_a_row) = (points(&deeds).len(), self.power_losses, self.in_a_row);
        Ok(Verdict { points, power_losses, in_a_row, crashes, missed, rows, findings })
    }

    /// After the crashes `before` a process did `deeds`: lets it die at each of its points.
    fn crash_everywhere(
        &self,
        prepared: &Disk,
        before: &[End],
        deeds: &[Deed],
        handler: Handler<'_, W>,
        judge: &mut Judge,
    ) -> Result<(), NoVerdict> {
        // Behind another crash, one loss of power is enough.
        let losses = if before.is_empty() { self.power_losses } else { self.power_losses.min(1) };
        for (number, death) in points(deeds) {
            for loss in 0..=losses {
                let crash = match loss {
                    0 => Crash::OfProcess,
                    _ => Crash::OfPower { seed: self.seed_of(number, loss) },
                };
                let mut ends = before.to_vec();
                ends.push(End { death, place: place(deeds, number, crash) });
                let (ended, next_deeds) = self.crash(prepared, &ends, handler)?;
                judge.look_at(&ended);
                if ends.len() < self.in_a_row as usize {
                    self.crash_everywhere(prepared, &ends, &next_deeds, handler, judge)?;
                }
            }
        }
        Ok(())
    }

    fn seed_of(&self, number: usize, loss: u32) -> u64 {
        crate::Rng::new(self.seed ^ ((number as u64) << 32) ^ u64::from(loss)).below(1_000_000)
    }

    /// A disk with a store on it that is closed.
    fn prepared(&self) -> Result<Disk, Error> {
        let disk = Disk::new();
        let store = self.open(&disk, &ManualClock::new(start()), 0)?;
        if let Some(prepare) = &self.prepare {
            prepare(&store)?;
        }
        store.close()?;
        Ok(disk)
    }

    /// Opens the store. No two openings have the same random bytes.
    fn open(&self, disk: &Disk, clock: &ManualClock, opening: u64) -> Result<Store, Error> {
        let entropy = SeededEntropy::new(self.seed.wrapping_add(opening));
        let options = self.options.clone().background(false).clock(clock.clone()).entropy(entropy);
        options.open_on(disk.storage())
    }

    /// What came of it, what was due, and everything that the process did.
    fn without_a_crash(
        &self,
        prepared: &Disk,
        handler: Handler<'_, W>,
    ) -> Result<(Ended, Counts, Vec<Deed>), NoVerdict> {
        let machine = Machine::new(self, prepared);
        let store = self.open(&machine.disk, &machine.clock, 1)?;
        let (run, process) = machine.run(&store, Death::Never);
        if let Delivered::Refused(error) = self.deliver(&run, handler, &[])? {
            return Err(NoVerdict::Handler(error));
        }
        let deeds = process.deeds();
        self.look(&run)?;
        let due = machine.effects.counts();
        let ended = Ended { acked: true, reached: true, ..Ended::default() };
        Ok((self.end(&machine, &store, ended, handler)?, due, deeds))
    }

    /// One process after the other ends as `ends` say. What comes after them, and what the process that lives did.
    fn crash(
        &self,
        prepared: &Disk,
        ends: &[End],
        handler: Handler<'_, W>,
    ) -> Result<(Ended, Vec<Deed>), NoVerdict> {
        let mut machine = Machine::new(self, prepared);
        let mut ended = Ended { reached: true, ..Ended::default() };
        for (number, End { death, place }) in ends.iter().enumerate() {
            let store = self.open(&machine.disk, &machine.clock, 1 + number as u64)?;
            ended.note(states(&store)?);
            let (run, _) = machine.run(&store, *death);
            ended.places.push(place.clone());
            let delivered = self.deliver(&run, handler, &ended.places)?;
            ended.reached &= *death == Death::Never || matches!(delivered, Delivered::Died);
            machine.crash(place.crash);
        }
        let store = self.open(&machine.disk, &machine.clock, 1 + ends.len() as u64)?;
        ended.note(states(&store)?);
        let (run, process) = machine.run(&store, Death::Never);
        ended.acked = matches!(self.deliver(&run, handler, &ended.places)?, Delivered::Acked);
        let deeds = process.deeds();
        Ok((self.end(&machine, &store, ended, handler)?, deeds))
    }

    /// Delivers the message once more, as queues do, and looks at everything.
    fn end(
        &self,
        machine: &Machine<W>,
        store: &Store,
        mut ended: Ended,
        handler: Handler<'_, W>,
    ) -> Result<Ended, NoVerdict> {
        let (run, _) = machine.run(store, Death::Never);
        // Whatever it returns: it has returned before what counts.
        let _ = self.deliver(&run, handler, &ended.places)?;
        self.look(&run)?;
        ended.counts = machine.effects.counts();
        ended.states = states(store)?;
        Ok(ended)
    }

    fn look(&self, run: &Run<W>) -> Result<(), Error> {
        self.observe.as_ref().map_or(Ok(()), |observe| observe(run))
    }

    /// Delivers the message until the handler is done with it, or its process is dead.
    fn deliver(
        &self,
        run: &Run<W>,
        handler: Handler<'_, W>,
        places: &[Place],
    ) -> Result<Delivered, NoVerdict> {
        let mut delivery = 1;
        loop {
            let delivered = run.delivered(delivery);
            let returned = catch_unwind(AssertUnwindSafe(|| handler(delivered)));
            if run.is_dead() {
                return Ok(Delivered::Died);
            }
            let error = match returned {
                Ok(Ok(())) => return Ok(Delivered::Acked),
                Ok(Err(error)) => error,
                Err(payload) if payload.is::<Died>() => return Ok(Delivered::Died),
                Err(payload) => {
                    let message = text_of(&*payload);
                    let at = format!("delivery {delivery}; {}", Places(places));
                    return Err(NoVerdict::Panicked { at, message });
                }
            };
            if delivery == self.deliveries {
                return Ok(Delivered::Refused(error));
            }
            run.clock().advance(self.wait);
            delivery += 1;
        }
    }
}

impl<W> fmt::Debug for CrashPoints<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashPoints")
            .field("power_losses", &self.power_losses)
            .field("deliveries", &self.deliveries)
            .field("wait", &self.wait)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// How the deliveries of a message ended.
enum Delivered {
    /// The process died.
    Died,
    /// The handler is done with it.
    Acked,
    /// The handler was not, up to the last.
    Refused(AnyError),
}

/// A machine and the world around it.
struct Machine<W> {
    disk: Disk,
    clock: ManualClock,
    effects: Effects,
    world: Arc<W>,
}

impl<W> Machine<W> {
    fn new(crash_points: &CrashPoints<W>, prepared: &Disk) -> Machine<W> {
        let disk = prepared.power_loss(Variant::new(Level::L0, 0));
        disk.stop_recording();
        let effects = Effects::default();
        let world = Arc::new((crash_points.world)(&effects));
        Machine { disk, clock: ManualClock::new(start()), effects, world }
    }

    /// A new process, in which the store is open.
    fn run(&self, store: &Store, death: Death) -> (Run<W>, Arc<Process>) {
        let process = Arc::new(Process::new(&self.disk, death));
        self.effects.of(&process);
        (Run::new(store, &self.effects, &process, &self.clock, &self.world), process)
    }

    /// What a crash leaves.
    fn crash(&mut self, crash: Crash) {
        self.disk = match crash {
            Crash::OfPower { seed } => {
                self.clock.reboot();
                self.disk.lose_power(seed)
            }
            Crash::OfProcess | Crash::None => self.disk.crash(),
        };
    }
}

/// The points of a process that did all this, each with the number of deeds before it.
fn points(deeds: &[Deed]) -> Vec<(usize, Death)> {
    let mut points: Vec<(usize, Death)> = deaths(deeds).into_iter().enumerate().collect();
    if planted::active(96) {
        // A crash right behind an effect is forgotten.
        let is_behind_a_call =
            |number: usize| number > 0 && matches!(deeds.get(number - 1), Some(Deed::Call(_)));
        points.retain(|(number, _)| !is_behind_a_call(*number));
    }
    points
}

fn place(deeds: &[Deed], number: usize, crash: Crash) -> Place {
    let after = number.checked_sub(1).and_then(|last| deeds.get(last));
    let after = after.map_or_else(|| "the opening of the store".to_owned(), Deed::name);
    let before = deeds.get(number).map_or_else(|| "the end".to_owned(), Deed::name);
    Place { crash, after, before, state: None }
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

impl From<Error> for NoVerdict {
    fn from(error: Error) -> NoVerdict {
        NoVerdict::Store(error)
    }
}

impl fmt::Display for NoVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoVerdict::Store(error) => write!(f, "the store failed: {error}"),
            NoVerdict::Handler(error) => write!(f, "the handler fails without any crash: {error}"),
            NoVerdict::Panicked { at, message } => write!(f, "the handler panicked: {message} ({at})"),
        }
    }
}

impl std::error::Error for NoVerdict {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NoVerdict::Store(error) => Some(error),
            NoVerdict::Handler(error) => Some(&**error),
            NoVerdict::Panicked { .. } => None,
        }
    }
}
