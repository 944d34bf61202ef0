//! Finding out whether an orphan's work had an effect: [`Resolver`], [`AsyncResolver`], [`Orphan`], [`Resolution`].

use claimstore_core::{Orphaned, Past, Record};
use std::fmt;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// A claim without a holder, as the resolver sees it. The recovery holds the key during the call.
#[derive(Clone)]
pub struct Orphan {
    record: Record,
    cause: Orphaned,
    fence: u64,
    asks: u32,
    age: Duration,
}

impl Orphan {
    pub(crate) fn new(record: Record, cause: Orphaned, fence: u64, now: SystemTime) -> Orphan {
        let age = now.duration_since(record.claimed_at()).unwrap_or_default();
        let asks = record.asked().saturating_add(1);
        Orphan { record, cause, fence, asks, age }
    }

    /// The namespace; empty for the default one.
    pub fn namespace(&self) -> &str {
        self.record.namespace()
    }

    /// The key; for time-ordered keys the 16 bytes of the identifier.
    pub fn key(&self) -> &[u8] {
        self.record.key()
    }

    /// Which attempt was orphaned, from 1.
    pub fn attempt(&self) -> u32 {
        self.record.attempt()
    }

    /// The token under which the work was done, and which the holder passed downstream.
    pub fn token(&self) -> u64 {
        self.record.work_token()
    }

    /// The token that holds the key now. It is higher than every token of an earlier holder. A remote side that
    /// remembers the highest token per key can refuse late requests of the old holder.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// The origin of the work, as given by the claimer.
    pub fn origin(&self) -> &[u8] {
        self.record.origin()
    }

    /// The progress that the holder saved last, if any; see [`crate::StepList`] for that of steps.
    pub fn progress(&self) -> Option<&[u8]> {
        self.record.progress()
    }

    /// When the orphaned attempt was claimed, in store time.
    pub fn claimed_at(&self) -> SystemTime {
        self.record.claimed_at()
    }

    /// How long ago that was, in store time. Asking does not start it anew.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Why it is an orphan. A lapsed lease is the weakest evidence: its holder may be alive and slow.
    pub fn cause(&self) -> Orphaned {
        self.cause
    }

    /// How often a resolver was asked about this claim, this time included.
    pub fn asks(&self) -> u32 {
        self.asks
    }

    /// How earlier attempts ended.
    pub fn history(&self) -> Vec<Past> {
        self.record.history()
    }
}

/// Shows numbers, never key, origin or progress.
impl fmt::Debug for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orphan")
            .field("attempt", &self.attempt())
            .field("token", &self.token())
            .field("cause", &self.cause)
            .field("asks", &self.asks)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

/// The result of an orphan's work.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub enum Resolution {
    /// It had its effect: the key is completed with this response.
    Happened(Vec<u8>),
    /// It had no effect, and cannot have one any more: the key is retried.
    ///
    /// That the remote side does not know of it is not enough. A request of the old holder may still be under way. So either
    /// the question itself shuts it out (the remote side refuses tokens below the [`fence`](Orphan::fence) that it was asked
    /// with), or the resolver returns [`Unknown`](Resolution::Unknown) until none can be under way any more: while the
    /// [age](Orphan::age) is below the time for which the old holder may have sent requests (its lease, with renewals) and the
    /// time that a request may take to have its effect there.
    DidNotHappen,
    /// It cannot be found out, or not yet: asked about again later, and parked when the
    /// [asks](crate::OrphanPolicy::max_asks) are used up.
    Unknown,
    /// It failed for good, with this response.
    Failed(Vec<u8>),
}

/// Without the response.
impl fmt::Debug for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resolution::Happened(_) => "Happened",
            Resolution::DidNotHappen => "DidNotHappen",
            Resolution::Unknown => "Unknown",
            Resolution::Failed(_) => "Failed",
        })
    }
}

/// Finds out the result of an orphan's work, by asking the remote side.
///
/// Called on a thread of the recovery, one orphan at a time on each of [`parallel`](crate::Recovery::parallel)
/// threads, under a fresh fenced lease. A panic parks the orphan. So does a call that takes longer than the
/// [time limit](crate::OrphanPolicy::time_limit); its thread is abandoned, and its answer is ignored.
///
/// Every closure of the shape `Fn(&Orphan) -> Resolution` is one.
pub trait Resolver: Send + Sync + 'static {
    /// Returns the result of the work of `orphan`.
    fn resolve(&self, orphan: &Orphan) -> Resolution;
}

impl<F: Fn(&Orphan) -> Resolution + Send + Sync + 'static> Resolver for F {
    fn resolve(&self, orphan: &Orphan) -> Resolution {
        self(orphan)
    }
}

/// The future that an [`AsyncResolver`] returns.
pub type ResolveFuture = Pin<Box<dyn Future<Output = Resolution> + Send>>;

/// A [`Resolver`] that returns a future. The future is polled on a thread of the recovery, without a runtime; if it
/// needs a runtime, it must spawn its work there (`handle.spawn(..)`) and await the result. It is dropped at the time
/// limit.
///
/// Every closure of the shape `Fn(Orphan) -> ResolveFuture` is one.
pub trait AsyncResolver: Send + Sync + 'static {
    /// Returns the result of the work of `orphan`.
    fn resolve(&self, orphan: Orphan) -> ResolveFuture;
}

impl<F: Fn(Orphan) -> ResolveFuture + Send + Sync + 'static> AsyncResolver for F {
    fn resolve(&self, orphan: Orphan) -> ResolveFuture {
        self(orphan)
    }
}
