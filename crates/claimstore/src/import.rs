//! Records that came to be elsewhere, written as they stand: [`Import`], [`Imported`].

use crate::codec::{Repeats, State};
use crate::history::Past;
use crate::view::RecordState;
use claimstore_core::tally::Tally;
use claimstore_core::time::{millis, since_1970};
use claimstore_hash::{FieldDigests, Fingerprint};
use std::time::{Duration, SystemTime};

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
    pub(crate) granted_losses: u32,
    pub(crate) counts: Counts,
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
            granted_losses: 0,
            counts: Counts::default(),
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

    /// How many attempts failed; see [`Record::failures`](crate::Record::failures). Default: each that has ended, as it is of a
    /// key of which only the attempts are known.
    pub fn failures(mut self, failures: u32) -> Import {
        self.counts.failures = Some(failures);
        self
    }

    /// How many attempts were lost; see [`Record::losses`](crate::Record::losses). Default: none.
    pub fn losses(mut self, losses: u32) -> Import {
        self.counts.losses = Some(losses);
        self
    }

    /// How many attempts ended without a word of their holder; see [`Record::interrupted`](crate::Record::interrupted).
    /// Default: each that has ended.
    pub fn interrupted(mut self, interrupted: u32) -> Import {
        self.counts.interrupted = Some(interrupted);
        self
    }

    /// Whether an attempt may have had an effect that nobody knows of; see [`Record::in_doubt`](crate::Record::in_doubt).
    /// Default: so it is of a key that has not resolved. One that has is never in doubt.
    pub fn in_doubt(mut self, in_doubt: bool) -> Import {
        self.counts.in_doubt = Some(in_doubt);
        self
    }

    /// Up to how many failures a reviewer let the key go; see
    /// [`Record::attempts_granted`](crate::Record::attempts_granted).
    pub fn attempts_granted(mut self, attempts: u32) -> Import {
        self.granted = attempts;
        self
    }

    /// Up to how many losses a reviewer let the key go; see [`Record::losses_granted`](crate::Record::losses_granted).
    pub fn losses_granted(mut self, losses: u32) -> Import {
        self.granted_losses = losses;
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

/// What is said of the numbers of the key; the rest is assumed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) failures: Option<u32>,
    pub(crate) losses: Option<u32>,
    pub(crate) interrupted: Option<u32>,
    pub(crate) in_doubt: Option<bool>,
}

impl Counts {
    /// The tally of a key in this state, after this attempt.
    pub(crate) fn tally(self, state: State, attempt: u32) -> Tally {
        let assumed = Tally::assumed(state, attempt);
        Tally {
            failures: self.failures.unwrap_or(assumed.failures),
            losses: self.losses.unwrap_or(assumed.losses),
            interrupted: self.interrupted.unwrap_or(assumed.interrupted),
            in_doubt: self.in_doubt.unwrap_or(assumed.in_doubt) && !state.expires(),
            counted: false,
        }
    }
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
