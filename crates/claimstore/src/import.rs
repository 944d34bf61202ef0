//! Records that came to be elsewhere, written as they stand: [`Import`], [`Imported`].

use crate::codec::{Repeats, State};
use crate::error::Error;
use crate::history::Past;
use crate::namespace::Namespace;
use crate::options::millis;
use crate::task::TaskFuture;
use crate::view::RecordState;
use claimstore_hash::{FieldDigests, Fingerprint};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A record to be written as it is: of a claim that was made and ended in another store, or in a database table that
/// a store replaces.
///
/// A claim in progress cannot be imported: its holder has no token of this store. Import it as
/// [`parked`](Import::parked), because the result of the work is not known here.
///
/// Times are those of the source; times ahead of store time count as now. Defaults: claimed and settled now,
/// remembered for the policy's ttl from the settlement on, first attempt.
#[derive(Clone)]
#[must_use]
pub struct Import {
    pub(crate) key: Box<[u8]>,
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) claimed_at_ms: Option<u64>,
    pub(crate) settled_at_ms: Option<u64>,
    /// Completed, Failed: expiry. Retry: claimable from.
    pub(crate) until_ms: Option<u64>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// As bytes: what is stored. Empty: none.
    pub(crate) fields: Box<[u8]>,
    pub(crate) origin: Box<[u8]>,
    pub(crate) note: Box<[u8]>,
    /// Response or progress, by state.
    pub(crate) body: Box<[u8]>,
    pub(crate) granted: u32,
    pub(crate) repeats: Repeats,
    pub(crate) history: Vec<Past>,
}

/// The outcome of an [`Import`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Imported {
    /// It is in the store now, under a token of its own.
    Stored,
    /// The key was known already; the record stands as it was.
    Known,
    /// The same, and the two cannot both be right: their fingerprints differ, or both are resolved, with different
    /// outcomes or responses.
    Differs,
    /// It is no longer to be remembered; nothing was written.
    Expired,
}

impl Import {
    fn new(key: impl AsRef<[u8]>, state: State) -> Import {
        Import {
            key: key.as_ref().into(),
            state,
            attempt: 1,
            claimed_at_ms: None,
            settled_at_ms: None,
            until_ms: None,
            ttl_ms: None,
            fingerprint: None,
            fields: Box::default(),
            origin: Box::default(),
            note: Box::default(),
            body: Box::default(),
            granted: 0,
            repeats: Repeats::default(),
            history: Vec::new(),
        }
    }

    /// Done, with this response.
    pub fn completed(key: impl AsRef<[u8]>, response: impl AsRef<[u8]>) -> Import {
        Import { body: response.as_ref().into(), ..Import::new(key, State::Completed) }
    }

    /// Failed for good, with this response.
    pub fn failed(key: impl AsRef<[u8]>, response: impl AsRef<[u8]>) -> Import {
        Import { body: response.as_ref().into(), ..Import::new(key, State::Failed) }
    }

    /// Claimable again from `at` on.
    pub fn retry(key: impl AsRef<[u8]>, at: SystemTime) -> Import {
        Import { until_ms: Some(since_1970(at)), ..Import::new(key, State::Retry) }
    }

    /// Held for review, with a note for the reviewer (at most 4,096 bytes).
    pub fn parked(key: impl AsRef<[u8]>, note: impl AsRef<[u8]>) -> Import {
        Import { note: note.as_ref().into(), ..Import::new(key, State::Parked) }
    }

    /// Where the key is to stand.
    pub fn state(&self) -> RecordState {
        match self.state {
            State::Failed => RecordState::Failed,
            State::Retry => RecordState::Retry,
            State::Parked => RecordState::Parked,
            // No import is of any other.
            State::Completed | State::InProgress | State::Erased => RecordState::Completed,
        }
    }

    /// When the last claim was made.
    pub fn claimed_at(mut self, at: SystemTime) -> Import {
        self.claimed_at_ms = Some(since_1970(at));
        self
    }

    /// When it ended.
    pub fn settled_at(mut self, at: SystemTime) -> Import {
        self.settled_at_ms = Some(since_1970(at));
        self
    }

    /// When the key is to be forgotten: at most 10 years from now. For keys that have resolved.
    pub fn expires_at(mut self, at: SystemTime) -> Import {
        if self.state.expires() {
            self.until_ms = Some(since_1970(at));
        }
        self
    }

    /// How long the key is remembered after it resolved: 1 second to 10 years. Default: the policy's.
    pub fn ttl(mut self, ttl: Duration) -> Import {
        self.ttl_ms = Some(millis(ttl));
        self
    }

    /// How many claims were made, at least 1.
    pub fn attempt(mut self, attempt: u32) -> Import {
        self.attempt = attempt;
        self
    }

    /// Up to which attempt a reviewer let the key go; see
    /// [`Record::attempts_granted`](crate::Record::attempts_granted).
    pub fn attempts_granted(mut self, attempts: u32) -> Import {
        self.granted = attempts;
        self
    }

    /// How many claims were answered from the record; see [`Record::replays`](crate::Record::replays). Default: 0.
    pub fn replays(mut self, replays: u32) -> Import {
        self.repeats.replays = replays;
        self
    }

    /// How many claims were refused because they came with another payload; see
    /// [`Record::mismatches`](crate::Record::mismatches). Default: 0.
    pub fn mismatches(mut self, mismatches: u32) -> Import {
        self.repeats.mismatches = mismatches;
        self
    }

    /// The fingerprint of the payload.
    pub fn fingerprint(mut self, fingerprint: impl Into<Fingerprint>) -> Import {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// The digests of the payload's fields. Ignored without a fingerprint.
    pub fn fields(mut self, fields: &FieldDigests) -> Import {
        self.fields = fields.to_bytes().into();
        self
    }

    /// Where the work came from. At most 4,096 bytes.
    pub fn origin(mut self, origin: impl AsRef<[u8]>) -> Import {
        self.origin = origin.as_ref().into();
        self
    }

    /// How far the work had come. For keys that have not resolved.
    pub fn progress(mut self, progress: impl AsRef<[u8]>) -> Import {
        if !self.state.expires() {
            self.body = progress.as_ref().into();
        }
        self
    }

    /// How earlier attempts ended, oldest first; of more than 16 entries the newest are kept.
    pub fn history(mut self, history: Vec<Past>) -> Import {
        self.history = history;
        self
    }
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Shows shape, never content.
impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("state", &self.state)
            .field("key_bytes", &self.key.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Records from elsewhere.
impl Namespace {
    /// Writes records from another system, in one commit (at most 65,536, and 32 MiB with the default segment). A key
    /// that is known stays unchanged, so that the same import may be run again. Result i is for record i; the outer
    /// error means that nothing was written, or, for [`Indeterminate`](crate::ErrorKind::Indeterminate), that either
    /// all or nothing was.
    ///
    /// Each record gets a token of this store, which no holder has. It counts against the quota of the namespace.
    ///
    /// Errors of single records: [`InvalidKey`](crate::ErrorKind::InvalidKey),
    /// [`TooLarge`](crate::ErrorKind::TooLarge), [`FutureKey`](crate::ErrorKind::FutureKey),
    /// [`Full`](crate::ErrorKind::Full) for the quota, [`Misuse`](crate::ErrorKind::Misuse) for an attempt of 0 or a
    /// ttl out of bounds, and [`Overloaded`](crate::ErrorKind::Overloaded) while a `transact` is running on the key.
    /// The outer one may be `Overloaded` or [`Full`](crate::ErrorKind::Full) until a checkpoint has caught up.
    ///
    /// ```
    /// # fn main() -> Result<(), claimstore::Error> {
    /// use claimstore::{Claim, Import, Imported, Policy, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let orders = store.namespace_with("orders", Policy::monthly())?;
    /// let rows = [Import::completed("order-1", "posted"), Import::parked("order-2", "in progress at the move")];
    /// for answer in orders.import_many(&rows)? {
    ///     assert_eq!(answer?, Imported::Stored);
    /// }
    /// assert!(matches!(orders.claim_default("order-1")?, Claim::Duplicate(_)));
    /// # Ok(()) }
    /// ```
    pub fn import_many(&self, records: &[Import]) -> Result<Vec<Result<Imported, Error>>, Error> {
        self.engine().import_many(self.space(), records)
    }

    /// Like [`import_many`](Namespace::import_many), as a future that runs on the upkeep thread of the store.
    /// Dropping it does not stop it.
    pub fn import_many_async(&self, records: Vec<Import>) -> TaskFuture<Vec<Result<Imported, Error>>> {
        let space = self.space().clone();
        self.engine().run_elsewhere(move |engine| engine.import_many(&space, &records))
    }
}
