//! [`ReviewQueue`]: decisions of people about keys held for review.

use crate::event::{Event, Events, Reason, reviewed};
use claimstore_core::{Claims, Error, Filter, Happened, Note, Past, Record, RecordState, Records, Review};
use std::fmt;
use std::time::SystemTime;

/// The keys of a backend that are held for review, in all its namespaces.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// use claimstore::{Failure, Note, Store};
/// use claimstore_recovery::ReviewQueue;
/// # use std::time::Duration;
///
/// let store = Store::in_memory()?;
/// # let lease = store.claim("invoice-7", Duration::from_secs(60))?.claimed().unwrap();
/// # lease.fail(Failure::park("no answer"))?;
/// let queue = ReviewQueue::new(&store);
/// for parked in queue.list() {
///     let parked = parked?;
///     println!("{} attempts, {:?}", parked.attempts(), parked.last_error());
///     queue.requeue(&parked, &Note::new("ada", "the API is back"))?;
/// }
/// # assert_eq!(queue.list().count(), 0);
/// # store.close() }
/// ```
#[derive(Debug, Clone)]
pub struct ReviewQueue {
    claims: Claims,
    events: Events,
}

/// A key held for review.
#[derive(Clone)]
pub struct Parked {
    record: Record,
}

impl ReviewQueue {
    /// The queue of a backend: of a store, or of whatever else becomes [`Claims`].
    pub fn new(claims: impl Into<Claims>) -> ReviewQueue {
        ReviewQueue { claims: claims.into(), events: Events::new() }
    }

    /// The destination of review events.
    #[must_use]
    pub fn events(mut self, events: &Events) -> ReviewQueue {
        self.events = events.clone();
        self
    }

    /// All parked keys, in bounded memory and no particular order.
    pub fn list(&self) -> ParkedKeys {
        self.parked(Filter::new())
    }

    /// The parked keys of one namespace.
    pub fn list_in(&self, namespace: &str) -> ParkedKeys {
        self.parked(Filter::new().namespace(namespace))
    }

    fn parked(&self, filter: Filter) -> ParkedKeys {
        let pages = self.claims.backend().scan(filter.state(RecordState::Parked));
        ParkedKeys { records: Records::new(pages) }
    }

    /// A key, if it is parked. The namespace is created if absent.
    pub fn get(&self, namespace: &str, key: impl AsRef<[u8]>) -> Result<Option<Parked>, Error> {
        let claims = self.claims.namespace(namespace);
        drop(claims.policy().wait()?);
        let record = claims.get(key).wait()?;
        Ok(record.filter(|record| record.state() == RecordState::Parked).map(|record| Parked { record }))
    }

    /// Makes the key claimable again, at once, for as many more attempts as the policy allows. The count of attempts
    /// goes on.
    ///
    /// Like the other decisions it is durable when it returns, and fails with [`claimstore_core::ErrorKind::StaleLease`]
    /// if another decision came first.
    pub fn requeue(&self, parked: &Parked, note: &Note) -> Result<(), Error> {
        self.decide(parked, &Review::Requeue, note)
    }

    /// The work is known to be done: duplicates get `response`.
    pub fn complete_with(
        &self,
        parked: &Parked,
        response: impl Into<Vec<u8>>,
        note: &Note,
    ) -> Result<(), Error> {
        self.decide(parked, &Review::Complete(response.into()), note)
    }

    /// The work has failed for good: duplicates get `response`.
    pub fn fail(&self, parked: &Parked, response: impl Into<Vec<u8>>, note: &Note) -> Result<(), Error> {
        self.decide(parked, &Review::Fail(response.into()), note)
    }

    /// Makes the key unknown. No record is left that could keep the note: only the event has it.
    pub fn forget(&self, parked: &Parked, note: &Note) -> Result<(), Error> {
        self.decide(parked, &Review::Forget, note)
    }

    fn decide(&self, parked: &Parked, review: &Review, note: &Note) -> Result<(), Error> {
        let record = &parked.record;
        self.claims.backend().review(record, review.clone(), note.clone()).wait()?;
        let (outcome, reason) = (reviewed(review), Reason::Review);
        self.events.tell(&Event { record, cause: None, outcome, reason, error: None, note: Some(note) });
        Ok(())
    }
}

impl Parked {
    /// The namespace; empty for the default one.
    pub fn namespace(&self) -> &str {
        self.record.namespace()
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.record.key()
    }

    /// Why it is parked.
    pub fn reason(&self) -> &[u8] {
        self.record.note()
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.record.attempt()
    }

    /// When it was parked, in store time.
    pub fn since(&self) -> Option<SystemTime> {
        self.record.settled_at()
    }

    /// How its attempts ended, with tokens, times and errors: the last 16 entries, oldest first.
    pub fn history(&self) -> Vec<Past> {
        self.record.history()
    }

    /// The error text of the last attempt that failed.
    pub fn last_error(&self) -> Option<Vec<u8>> {
        let failed = |past: &Past| past.what() == Happened::Failed && !past.note().is_empty();
        self.record.history().iter().rev().find(|past| failed(past)).map(|past| past.note().to_vec())
    }

    /// The complete record.
    pub fn record(&self) -> &Record {
        &self.record
    }
}

/// Without key and reason.
impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}

/// The iterator of [`ReviewQueue::list`]. Ends after an error.
#[derive(Debug)]
pub struct ParkedKeys {
    records: Records,
}

impl Iterator for ParkedKeys {
    type Item = Result<Parked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.records.next()?.map(|record| Parked { record }))
    }
}
