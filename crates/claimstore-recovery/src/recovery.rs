//! [`Recovery`]: how orphans are recovered, once at start or all the time.

use crate::ask::{Asked, LeftBehind};
use crate::event::{Counts, Event, Events};
use crate::pass::{AskingTime, Plans, Rules};
use crate::policy::OrphanPolicy;
use crate::reaper::Reaper;
use crate::resolver::{AsyncResolver, Resolver};
use crate::time::Stopwatch;
use claimstore_core::{Claims, Error};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Threads that ask, unless [`Recovery::parallel`] says otherwise.
const PARALLEL: usize = 8;
/// The most blocked calls that may be abandoned, for each of these threads.
const LEFT_BEHIND_EACH: usize = 4;

type ProgressFn = Box<dyn FnMut(&Counts) + Send>;

/// How the orphans of a store are recovered. Namespaces that get no policy here use their stored one.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// use claimstore::Store;
/// use claimstore_recovery::{Orphan, OrphanPolicy, Recovery, Resolution};
///
/// let store = Store::in_memory()?;
/// let report = Recovery::new(&store)
///     .policy(OrphanPolicy::retry())
///     .policy_for("invoices", OrphanPolicy::resolve())
///     .resolver(|orphan: &Orphan| match find_invoice(orphan.key(), orphan.fence()) {
///         Some(number) => Resolution::Happened(number.into_bytes()),
///         // This remote side refuses what an older token asks for from now on, so nothing can come later.
///         None => Resolution::DidNotHappen,
///     })
///     .run()?;
/// assert_eq!(report.counts.found, 0);
/// # store.close() }
/// # fn find_invoice(_: &[u8], _: u64) -> Option<String> { None }
/// ```
#[must_use = "nothing is recovered until `run` or `spawn`"]
pub struct Recovery {
    claims: Claims,
    plans: Plans,
    parallel: usize,
    events: Events,
    progress: Option<ProgressFn>,
}

/// The result of a recovery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The number of orphans by outcome.
    pub counts: Counts,
    /// The duration of the recovery.
    pub duration: Duration,
    /// The total duration of all calls of resolvers.
    pub asking: Duration,
    /// The duration of the longest call of a resolver.
    pub longest_ask: Duration,
}

impl Recovery {
    /// Recovers the orphans of a backend, in all its namespaces: of a store, or of whatever else becomes [`Claims`].
    pub fn new(claims: impl Into<Claims>) -> Recovery {
        Recovery {
            claims: claims.into(),
            plans: Plans::default(),
            parallel: PARALLEL,
            events: Events::new(),
            progress: None,
        }
    }

    /// The policy for every namespace that gets none of its own here.
    pub fn policy(mut self, policy: OrphanPolicy) -> Recovery {
        self.plans.every = Some(policy);
        self
    }

    /// The policy for the namespace `name`, which is created if absent.
    pub fn policy_for(mut self, name: &str, policy: OrphanPolicy) -> Recovery {
        self.plans.named.insert(name.to_owned(), policy);
        self
    }

    /// The resolver for every namespace that gets none of its own here.
    pub fn resolver(mut self, resolver: impl Resolver) -> Recovery {
        self.plans.resolver = Some(Asked::Blocking(Arc::new(resolver)));
        self
    }

    /// The resolver for the namespace `name`.
    pub fn resolver_for(mut self, name: &str, resolver: impl Resolver) -> Recovery {
        self.plans.resolvers.insert(name.to_owned(), Asked::Blocking(Arc::new(resolver)));
        self
    }

    /// Like [`resolver`](Recovery::resolver), for one that returns a future.
    pub fn async_resolver(mut self, resolver: impl AsyncResolver) -> Recovery {
        self.plans.resolver = Some(Asked::Async(Arc::new(resolver)));
        self
    }

    /// Like [`resolver_for`](Recovery::resolver_for), for one that returns a future.
    pub fn async_resolver_for(mut self, name: &str, resolver: impl AsyncResolver) -> Recovery {
        self.plans.resolvers.insert(name.to_owned(), Asked::Async(Arc::new(resolver)));
        self
    }

    /// How many resolver calls run in parallel: 1 to 1,024. Default: 8.
    pub fn parallel(mut self, orphans: usize) -> Recovery {
        self.parallel = orphans.clamp(1, 1_024);
        self
    }

    /// Called from time to time during [`run`](Recovery::run), and at its end, with the counts so far.
    pub fn on_progress(mut self, progress: impl FnMut(&Counts) + Send + 'static) -> Recovery {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Called for every orphan; see [`Events::subscribe`].
    pub fn on_event(self, subscriber: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Recovery {
        self.events.subscribe(subscriber);
        self
    }

    /// The destination of events and counts. Default: one of its own.
    pub fn events(mut self, events: &Events) -> Recovery {
        self.events = events.clone();
        self
    }

    /// Recovers all present orphans, and returns when it is done. Call it before you take on work. Orphans that must
    /// be asked about later are left to [`spawn`](Recovery::spawn), or to the next run.
    ///
    /// An error of one orphan is counted and leaves it an orphan. The call fails only if the store cannot be read or
    /// a policy cannot be stored; orphans that were recovered before stay recovered.
    pub fn run(mut self) -> Result<Report, Error> {
        let watch = Stopwatch::start();
        let before = self.events.counts();
        let progress = self.progress.take();
        let (rules, _) = self.rules();
        rules.apply_all()?;
        let mut progress = progress.map(|mut progress| {
            let events = rules.events.clone();
            move || progress(&events.counts().since(&before))
        });
        let mut report_progress = || {
            if let Some(progress) = &mut progress {
                progress();
            }
        };
        rules.pass(&mut report_progress)?;
        report_progress();
        Ok(Report {
            counts: rules.events.counts().since(&before),
            duration: watch.elapsed(),
            asking: rules.asking.total(),
            longest_ask: rules.asking.longest(),
        })
    }

    /// Starts a thread that recovers orphans while the store runs. It begins with all present orphans, then sleeps
    /// until a lease lapses or is dropped.
    ///
    /// [`claimstore_core::ErrorKind::Misuse`] if the orphans of the store are watched already.
    pub fn spawn(self) -> Result<Reaper, Error> {
        let watch = self.claims.backend().watch_orphans()?;
        let (rules, stop) = self.rules();
        rules.apply_all()?;
        Reaper::start(rules, watch, stop)
    }

    fn rules(self) -> (Rules, Arc<AtomicBool>) {
        let stop = Arc::new(AtomicBool::new(false));
        let rules = Rules {
            claims: self.claims,
            plans: self.plans,
            parallel: self.parallel,
            events: self.events,
            left_behind: LeftBehind::new(self.parallel * LEFT_BEHIND_EACH),
            stop: stop.clone(),
            asking: AskingTime::default(),
        };
        (rules, stop)
    }
}

impl Rules {
    /// Writes the given policies into the namespaces that exist, and into those that are named.
    fn apply_all(&self) -> Result<(), Error> {
        for name in self.plans.named.keys() {
            drop(self.apply(name)?);
        }
        if self.plans.every.is_some() {
            for name in self.claims.backend().namespaces().wait()? {
                drop(self.apply(&name)?);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("parallel", &self.parallel).finish_non_exhaustive()
    }
}
