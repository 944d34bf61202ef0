//! What a change is judged by, and what can be said of it.

use crate::codec::{Record, Repeats, State};
use crate::engine::held::{claim_in_progress, live_claim, reserved};
use crate::engine::live::{Entry, Shard};
use crate::engine::time::Moment;
use crate::error::Error;
use crate::history::Orphaned;
use std::borrow::Cow;

/// What stands of a key when a change of it is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    shard: &'a Shard,
    hash: u64,
    pub(crate) entry: Option<&'a Entry>,
    /// What the runs have, where there is no entry.
    pub(crate) cold: Option<&'a Record>,
    pub(crate) at: Moment,
}

/// What a caller says of a change.
#[derive(Debug)]
pub(crate) enum Verdict<T, B> {
    /// The key gets a next version.
    Write { lease: LeaseAfter, build: B },
    /// Nothing changes. The answer rests on what stands, which was asked for so often.
    Stands { answer: T, repeats: Repeats },
    /// Nothing is written yet: the key is reserved for a `transact`.
    Reserve { answer: T },
}

/// The version before the next one, if there is one, with what was counted since it was written.
pub(crate) type Earlier<'a> = Option<Cow<'a, Record>>;

/// Makes a key's next version, and the answer, of the version before and of its number.
pub(crate) trait Build<T>: FnOnce(Earlier<'_>, u64) -> Result<(Record, T), Error> {}

impl<T, B: FnOnce(Earlier<'_>, u64) -> Result<(Record, T), Error>> Build<T> for B {}

/// What becomes of the lease with the next version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseAfter {
    /// Nobody holds the key.
    Ended,
    /// Somebody holds it from now on, and does not know yet.
    Granted,
    /// Whoever holds it goes on holding it.
    Kept,
}

impl<'a> Standing<'a> {
    pub(crate) fn new(
        shard: &'a Shard,
        hash: u64,
        entry: Option<&'a Entry>,
        cold: Option<&'a Record>,
        at: Moment,
    ) -> Standing<'a> {
        Standing { shard, hash, entry, cold, at }
    }

    /// The newest version of the key.
    pub(crate) fn record(self) -> Option<&'a Record> {
        self.entry.map(|entry| &entry.record).or(self.cold)
    }

    /// The same with what was counted since it was written.
    pub(crate) fn known(self) -> Earlier<'a> {
        self.shard.known(self.hash, self.entry, self.cold)
    }

    /// Checks that the key is in progress under exactly this token.
    pub(crate) fn check_claim(self, token: u64) -> Result<&'a Record, Error> {
        live_claim(self.entry, token).map(|entry| &entry.record)
    }

    /// The same of a claim that its holder may have let go of for good.
    pub(crate) fn check_in_progress(self, token: u64) -> Result<&'a Record, Error> {
        claim_in_progress(self.entry, token).map(|entry| &entry.record)
    }

    /// Checks that no `transact` is running on the key: its record must be the next one.
    pub(crate) fn check_unreserved(self) -> Result<(), Error> {
        if self.entry.is_some_and(|entry| entry.marks.reserved) { Err(reserved()) } else { Ok(()) }
    }

    /// Why nobody stands behind the claim; `None` when somebody does, or when it is not in progress.
    pub(crate) fn orphaned(self, life: u64) -> Option<Orphaned> {
        self.entry.and_then(|entry| entry.orphaned(life, self.at))
    }

    pub(crate) fn is_unknown(self) -> bool {
        self.record().is_none_or(|record| record.state == State::Erased)
    }
}

impl<T, B: Build<T>> Verdict<T, B> {
    pub(crate) fn write(lease: LeaseAfter, build: B) -> Verdict<T, B> {
        Verdict::Write { lease, build }
    }

    /// Nothing changes, and nothing is counted.
    pub(crate) fn stands(answer: T) -> Verdict<T, B> {
        Verdict::Stands { answer, repeats: Repeats::default() }
    }
}
