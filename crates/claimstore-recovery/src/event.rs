//! Outcomes of recovery and their reasons: [`Event`]s to subscribe to, and [`Counts`].

use claimstore_core::{Error, Note, Orphaned, Record, Review};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The outcome of an orphan, or of a parked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It may be claimed again, now or after a back-off.
    Retried,
    /// It is done, by a resolver's answer.
    Completed,
    /// It failed for good.
    Failed,
    /// It is held for review.
    Parked,
    /// It stays an orphan for now: it is not due, or there is no resolver.
    Waiting,
    /// Another actor came first: a holder that renewed, another recovery, an operator. Nothing changed.
    Superseded,
    /// The store refused or failed; it stays an orphan.
    Error,
    /// A reviewer decided so.
    Requeued,
    /// A reviewer gave the response.
    CompletedByReview,
    /// A reviewer failed it for good.
    FailedByReview,
    /// A reviewer forgot the key.
    ForgottenByReview,
}

/// The reason of an [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The policy of the namespace says so.
    Policy,
    /// The resolver said so.
    Resolver,
    /// Its failures or losses are used up.
    AttemptsUsedUp,
    /// It was asked about as often as the policy allows.
    AsksUsedUp,
    /// The resolver cannot tell.
    Unknown,
    /// The resolver panicked.
    Panicked,
    /// The resolver did not answer in time.
    TimedOut,
    /// The resolver's answer is larger than the store takes.
    TooLarge,
    /// It is to be asked about later.
    NotDue,
    /// The policy wants a resolver and there is none.
    NoResolver,
    /// Too many calls of the resolver are blocked already, so no further call was made.
    TooManyBlocked,
    /// A reviewer.
    Review,
    /// The store; see [`Event::error`].
    Store,
}

impl Reason {
    /// The text in the record of a key that was parked for this reason.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Reason::Policy => "orphaned",
            Reason::Resolver => "the resolver said so",
            Reason::AttemptsUsedUp => "attempts used up",
            Reason::AsksUsedUp => "asked as often as allowed, without an answer",
            Reason::Unknown => "the resolver cannot tell",
            Reason::Panicked => "the resolver panicked",
            Reason::TimedOut => "the resolver did not answer in time",
            Reason::TooLarge => "the resolver's response is too large",
            Reason::NotDue => "to be asked about later",
            Reason::NoResolver => "no resolver",
            Reason::TooManyBlocked => "too many calls of the resolver are blocked",
            Reason::Review => "review",
            Reason::Store => "the store refused",
        }
    }
}

/// One decision about one key.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub(crate) record: &'a Record,
    pub(crate) cause: Option<Orphaned>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
    pub(crate) error: Option<&'a Error>,
    pub(crate) note: Option<&'a Note>,
}

impl Event<'_> {
    /// The record as it was before.
    pub fn record(&self) -> &Record {
        self.record
    }

    /// Why it was an orphan; `None` for a parked key.
    pub fn cause(&self) -> Option<Orphaned> {
        self.cause
    }

    /// The outcome.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The store's error, for [`Outcome::Error`].
    pub fn error(&self) -> Option<&Error> {
        self.error
    }

    /// The reviewer's note: the only place where that of a forgotten key is kept.
    pub fn note(&self) -> Option<&Note> {
        self.note
    }
}

/// Without the key.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("attempt", &self.record.attempt())
            .field("token", &self.record.work_token())
            .field("cause", &self.cause)
            .field("outcome", &self.outcome)
            .field("reason", &self.reason)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// The number of orphans by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Orphans that were found.
    pub found: u64,
    /// Given back, to be claimed again.
    pub retried: u64,
    /// Completed by a resolver's answer.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Held for review.
    pub parked: u64,
    /// Left as they are for now.
    pub waiting: u64,
    /// Taken by another actor meanwhile.
    pub superseded: u64,
    /// Left as they are because of an error.
    pub errors: u64,
    /// Calls of resolvers.
    pub asked: u64,
    /// Calls of resolvers that panicked.
    pub panicked: u64,
    /// Calls of resolvers that did not answer in time.
    pub timed_out: u64,
    /// Decisions of reviewers.
    pub reviewed: u64,
}

type Subscriber = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// The destination of events, which it counts and passes to subscribers. All clones share one state.
#[derive(Clone, Default)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    subscribers: RwLock<Vec<Subscriber>>,
    counts: [AtomicU64; 12],
}

/// The name of a count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Found,
    Retried,
    Completed,
    Failed,
    Parked,
    Waiting,
    Superseded,
    Errors,
    Asked,
    Panicked,
    TimedOut,
    Reviewed,
}

impl Events {
    /// A destination without subscribers.
    pub fn new() -> Events {
        Events::default()
    }

    /// Calls `subscriber` for every event from now on, on the thread that decided. A panic of it is caught.
    pub fn subscribe(&self, subscriber: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        let mut subscribers = self.shared.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        subscribers.push(Arc::new(subscriber));
    }

    /// The counts since this value was created.
    pub fn counts(&self) -> Counts {
        let of = |count: Count| self.slot(count).map_or(0, |slot| slot.load(Ordering::Relaxed));
        Counts {
            found: of(Count::Found),
            retried: of(Count::Retried),
            completed: of(Count::Completed),
            failed: of(Count::Failed),
            parked: of(Count::Parked),
            waiting: of(Count::Waiting),
            superseded: of(Count::Superseded),
            errors: of(Count::Errors),
            asked: of(Count::Asked),
            panicked: of(Count::Panicked),
            timed_out: of(Count::TimedOut),
            reviewed: of(Count::Reviewed),
        }
    }

    fn slot(&self, count: Count) -> Option<&AtomicU64> {
        self.shared.counts.get(count as usize)
    }

    pub(crate) fn count(&self, count: Count) {
        if let Some(slot) = self.slot(count) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an event and calls all subscribers.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.count(match event.outcome {
            Outcome::Retried => Count::Retried,
            Outcome::Completed => Count::Completed,
            Outcome::Failed => Count::Failed,
            Outcome::Parked => Count::Parked,
            Outcome::Waiting => Count::Waiting,
            Outcome::Superseded => Count::Superseded,
            Outcome::Error => Count::Errors,
            Outcome::Requeued
            | Outcome::CompletedByReview
            | Outcome::FailedByReview
            | Outcome::ForgottenByReview => Count::Reviewed,
        });
        // Called without the lock: a subscriber may subscribe another one.
        let subscribers = self.shared.subscribers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for subscriber in subscribers {
            drop(catch_unwind(AssertUnwindSafe(|| subscriber(event))));
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Counts {
    /// The difference since `before`.
    pub(crate) fn since(&self, before: &Counts) -> Counts {
        Counts {
            found: self.found - before.found,
            retried: self.retried - before.retried,
            completed: self.completed - before.completed,
            failed: self.failed - before.failed,
            parked: self.parked - before.parked,
            waiting: self.waiting - before.waiting,
            superseded: self.superseded - before.superseded,
            errors: self.errors - before.errors,
            asked: self.asked - before.asked,
            panicked: self.panicked - before.panicked,
            timed_out: self.timed_out - before.timed_out,
            reviewed: self.reviewed - before.reviewed,
        }
    }

    /// Orphans with any outcome.
    pub fn done(&self) -> u64 {
        self.retried
            + self.completed
            + self.failed
            + self.parked
            + self.waiting
            + self.superseded
            + self.errors
    }
}

/// The outcome of a review.
pub(crate) fn reviewed(review: &Review) -> Outcome {
    match review {
        Review::Requeue => Outcome::Requeued,
        Review::Complete(_) => Outcome::CompletedByReview,
        Review::Fail(_) => Outcome::FailedByReview,
        Review::Forget => Outcome::ForgottenByReview,
    }
}
