//! [`Backend`]: where claims are kept, and what each place promises.
//!
//! One state machine, several homes. A backend finds the newest record of a key, decides with
//! [`decide`](crate::decide), makes the next version durable and compares-and-swaps it against the one it decided on. So
//! attempts, back-off, parking, mismatches, time-ordered keys, review and history are the same everywhere.
//!
//! Programs do not call a backend; they use [`Claims`](crate::Claims), a namespace of one.

pub use crate::pending::may_block;
use crate::{ClaimRequest, Error, Failure, Filter, Holder, Note, Pending, Policy, Receipt, Record, Review};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where claims are kept.
///
/// # What every implementor keeps to
///
/// - Each call is one decision, made on the newest version of the key; its effect is durable, as far as
///   [`promises`](Backend::promises) goes, before the call says so. What a call reports is never older than what another
///   call reported before it began.
/// - Tokens of one key only rise, across crashes, prunes, imports and restores.
/// - A call that fails with anything but [`Indeterminate`](crate::ErrorKind::Indeterminate) has changed nothing.
/// - **Cancel safety.** [`claim`](Backend::claim), [`claim_or_wait`](Backend::claim_or_wait), [`resume`](Backend::resume) and
///   [`take_over`](Backend::take_over): when the future is dropped before it gave its result, what it granted is given
///   back, and counts as no attempt. Every other call is on its way when the method returns; dropping the future loses the
///   result and stops nothing.
/// - Nothing blocks but [`OrphanWatch::sleep`], and futures where they [may](may_block). Nothing panics, whatever the storage or the server sends.
pub trait Backend: Send + Sync + fmt::Debug + 'static {
    /// What this place can promise, and its limits. May change while it is used (a server was configured anew).
    fn promises(&self) -> Promises;

    /// Store time, as far as it is known here without asking anybody: what ttls, back-offs and the times in records are
    /// counted in.
    fn now(&self) -> SystemTime;

    /// The policy of a namespace, which is created if there is none: with `policy`, or the default one. A policy
    /// that is given replaces the stored one for later claims.
    ///
    /// [`Misuse`](crate::ErrorKind::Misuse) when it has another rule for keys than the stored one.
    fn define(&self, namespace: &str, policy: Option<Policy>) -> Pending<Policy>;

    /// The names of all namespaces, the default one's being empty.
    fn namespaces(&self) -> Pending<Vec<String>>;

    /// Claims several keys in one round trip and one commit. Result `i` is for request `i`; a later repeat of a key in the
    /// batch is [`InProgress`](Answer::InProgress) of the first.
    ///
    /// The outer error means that no item was decided, or [`Indeterminate`](crate::ErrorKind::Indeterminate) for all.
    fn claim(&self, namespace: &str, requests: Vec<ClaimRequest>) -> Pending<Vec<Result<Answer, Error>>>;

    /// Claims a key, waiting up to `limit` while somebody else holds it: the holder's result, or a grant if the holder
    /// gave up or its lease ran out, or [`InProgress`](Answer::InProgress) when `limit` is over.
    fn claim_or_wait(&self, namespace: &str, request: ClaimRequest, limit: Duration) -> Pending<Answer>;

    /// Ends claims, in one round trip and one commit; result `i` is for item `i`.
    ///
    /// [`StaleLease`](crate::ErrorKind::StaleLease) when the token was superseded, or the key is parked or settled. A lapsed
    /// lease that nobody took over may still be settled. The outer error: no item was settled, or
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) for all.
    fn settle(&self, items: Vec<(Held, Settlement)>) -> Pending<Vec<Result<(), Error>>>;

    /// Starts the lease anew, `term` from now.
    fn renew(&self, held: &Held, term: Duration) -> Pending<()>;

    /// Stores how far the work has come, for the next attempt.
    fn save_progress(&self, held: &Held, progress: Vec<u8>) -> Pending<()>;

    /// Makes the claim outlive its process: trusted until `term` is over. Its lease counts as gone from then on, so that
    /// it can be [resumed](Backend::resume), also by a caller who did not wait for the result.
    fn detach(&self, held: &Held, term: Duration) -> Pending<()>;

    /// Takes up a claim by its token, of this process or [detached](Backend::detach).
    ///
    /// [`StaleLease`](crate::ErrorKind::StaleLease) when the token is not the one in force;
    /// [`Misuse`](crate::ErrorKind::Misuse) while another lease of it lives here.
    fn resume(&self, namespace: &str, key: &[u8], token: u64) -> Pending<Grant>;

    /// A lease was dropped: nobody works on the key any more, unless [`Policy::on_drop`] says that it keeps its term. Where the
    /// thread is panicking, a panic dropped it. Called from `drop`, so it neither blocks nor fails; where the news is lost,
    /// the lease lapses.
    fn abandon(&self, held: &Held);

    /// A lease is gone and its claim goes on until its term. Called from `drop`, as [`abandon`](Backend::abandon) is.
    fn let_go(&self, held: &Held);

    /// What is known of a key; `None` when it is unknown or expired.
    fn get(&self, namespace: &str, key: &[u8]) -> Pending<Option<Record>>;

    /// Records that `filter` shows, of all namespaces that it does not exclude, in no particular order.
    fn scan(&self, filter: Filter) -> Box<dyn Pages>;

    /// Claims that nobody stands behind, with their [cause](Record::orphaned).
    fn orphans(&self) -> Box<dyn Pages>;

    /// A watch that sleeps until there may be orphans. [`Misuse`](crate::ErrorKind::Misuse) where only one may exist.
    fn watch_orphans(&self) -> Result<Box<dyn OrphanWatch>, Error>;

    /// Takes an orphan over that [`orphans`](Backend::orphans) showed, to find out what became of its work: under a fresh
    /// token, for `lease`. It counts as no attempt, and as one time that somebody [asked](Record::asked), also where the result
    /// was not waited for.
    ///
    /// [`StaleLease`](crate::ErrorKind::StaleLease) when it is no orphan any more.
    fn take_over(&self, orphan: &Record, lease: Duration) -> Pending<Grant>;

    /// Ends orphans without asking anybody, in one commit. [`StaleLease`](crate::ErrorKind::StaleLease) for one that is
    /// no orphan any more.
    fn fail_orphans(&self, orphans: Vec<(Record, Failure)>) -> Pending<Vec<Result<(), Error>>>;

    /// Decides about a parked key. [`StaleLease`](crate::ErrorKind::StaleLease) when it is not parked any more, or again
    /// under another token.
    fn review(&self, parked: &Record, review: Review, note: Note) -> Pending<()>;

    /// Makes a key unknown, whatever it is; its lease becomes stale. Returns whether it was known.
    fn forget(&self, namespace: &str, key: &[u8]) -> Pending<bool>;

    /// Makes a key unknown if it still is what `shown` is and, unless `even_if_held`, nobody is trusted with it.
    ///
    /// [`StaleLease`](crate::ErrorKind::StaleLease) otherwise.
    fn forget_shown(&self, shown: &Record, even_if_held: bool) -> Pending<()>;

    /// Does a bounded part of what upkeep is due: removes expired records, and what belongs to that here. Returns whether
    /// more is due.
    fn upkeep(&self) -> Pending<bool>;

    /// Whether `other` keeps its claims in the same place, so that either may settle what the other granted.
    fn is_same(&self, other: &dyn Backend) -> bool;

    /// The backend itself, for whoever knows its type: a lease is turned into the backend's own in this way.
    fn as_any(&self) -> &dyn Any;
}

/// The newest records, a page at a time.
pub trait Pages: Send + fmt::Debug {
    /// The next page, of at least one record and bounded in number and bytes; an empty one is the end. After an error
    /// there are no more.
    fn next_page(&mut self) -> Pending<Vec<Record>>;
}

/// Sleeps until a claim may have lost its holder.
///
/// The order is [`look`](OrphanWatch::look), then go through [`Backend::orphans`], then [`sleep`](OrphanWatch::sleep): what
/// happens after the look ends the sleep.
pub trait OrphanWatch: Send + Sync + fmt::Debug {
    /// To be called before going through the orphans.
    fn look(&self);

    /// Blocks until a claim was abandoned, or a lease lapsed, after the last look; or until [`wake`](OrphanWatch::wake) is
    /// called, `at_most` is over, or the backend is closed. May return early, and may poll.
    fn sleep(&self, at_most: Duration);

    /// Ends a sleep, from any thread; or the next one, when there has been no look since.
    fn wake(&self);
}

/// What names a claim: namespace, key and the token it was granted with.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// The namespace; empty for the default one.
    pub namespace: Arc<str>,
    /// The key, as the rule of its namespace normalises it.
    pub key: Box<[u8]>,
    /// The fencing token.
    pub token: u64,
    /// Which attempt it is, from 1.
    pub attempt: u32,
}

/// Shows token and attempt, never the key.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("token", &self.token)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// A granted claim.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// What settles it.
    pub held: Held,
    /// What earlier attempts saved last.
    pub progress: Option<Box<[u8]>>,
    /// Whether an earlier attempt may have had an effect that nobody knows of, when it was granted; always of a claim that was
    /// [taken over](Backend::take_over).
    pub in_doubt: bool,
}

/// Shows what is held, never the progress.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("held", &self.held).finish_non_exhaustive()
    }
}

/// What a claim is answered by a backend. [`Claims`](crate::Claims) makes a [`Lease`](crate::Lease) of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a grant that is not looked at keeps the key until its term"]
pub enum Answer {
    /// It is the caller's to do.
    Claimed(Grant),
    /// It has been done.
    Duplicate(Receipt),
    /// Somebody is on it, or it may not be tried again yet.
    InProgress(Holder),
}

/// How a claim ends.
#[derive(Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The work is done, with this response.
    Complete(Vec<u8>),
    /// The work failed.
    Fail(Failure),
    /// As if never claimed: earlier attempts and progress are as they were.
    Release,
}

/// Shows the kind, never the response.
impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Settlement::Complete(_) => f.write_str("Complete"),
            Settlement::Fail(failure) => failure.fmt(f),
            Settlement::Release => f.write_str("Release"),
        }
    }
}

/// What a backend promises.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Promises {
    /// What a crash or a failover may take back of what was acknowledged.
    pub durability: Durable,
    /// Whose clock terms and ttls go by.
    pub clock: ClockOf,
    /// Whether a claim can be settled in one transaction with the caller's own rows.
    pub transactional: bool,
    /// Whether it keeps streams of numbered messages.
    pub sequences: bool,
    /// Most items of one [`claim`](Backend::claim), [`settle`](Backend::settle) or
    /// [`fail_orphans`](Backend::fail_orphans).
    pub batch_items: usize,
    /// Longest key in bytes.
    pub key_bytes: usize,
    /// Longest response in bytes.
    pub response_bytes: usize,
    /// Longest progress in bytes.
    pub progress_bytes: usize,
}

impl Promises {
    /// With the limits that the embedded store has by default.
    #[must_use]
    pub fn new(durability: Durable, clock: ClockOf) -> Promises {
        Promises {
            durability,
            clock,
            transactional: false,
            sequences: false,
            batch_items: 65_536,
            key_bytes: 1_024,
            response_bytes: 1 << 20,
            progress_bytes: 64 << 10,
        }
    }
}

/// What a crash may take back of what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durable {
    /// Nothing: it is synced to a disk first.
    Synced,
    /// Nothing, unless as many machines as this lose it at once.
    Replicated(u32),
    /// A power loss takes back the last so much time; the death of the process nothing.
    Within(Duration),
    /// A crash or a failover may take back acknowledged claims.
    BestEffort,
}

/// Whose clock terms and ttls go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockOf {
    /// That of the process which has the store open; it is the only one.
    Process,
    /// That of a server which all callers share.
    Server,
}
