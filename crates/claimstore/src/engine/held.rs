//! What names a claim that is held, and the check that it still is.
//!
//! Fencing: the key must be in progress under exactly the token. A lapsed lease passes.

use super::live::Entry;
use super::spaces::{Keyed, Space};
use crate::codec::State;
use crate::error::{Error, ErrorKind};
use crate::planted;
use crate::sync::Arc;

/// What names a claim: the key and the token it was claimed with.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) space: Arc<Space>,
    pub(crate) keyed: Keyed,
    pub(crate) token: u64,
}

/// The entry, if it is in progress under exactly this token, and its holder has not let go of it for good.
pub(crate) fn live_claim(entry: Option<&Entry>, token: u64) -> Result<&Entry, Error> {
    entry.filter(|entry| is_held(entry, token)).ok_or_else(stale)
}

/// The same, whether its holder has let go of it or not.
pub(crate) fn claim_in_progress(entry: Option<&Entry>, token: u64) -> Result<&Entry, Error> {
    entry.filter(|entry| is_in_progress(entry, token)).ok_or_else(stale)
}

pub(crate) fn live_claim_mut(entry: Option<&mut Entry>, token: u64) -> Result<&mut Entry, Error> {
    entry.filter(|entry| is_held(entry, token)).ok_or_else(stale)
}

fn is_held(entry: &Entry, token: u64) -> bool {
    is_in_progress(entry, token) && entry.record.left().is_none()
}

fn is_in_progress(entry: &Entry, token: u64) -> bool {
    let mut is_same = entry.record.token == token;
    if planted::active(22) {
        is_same = true;
    }
    entry.record.state == State::InProgress && is_same
}

pub(crate) fn reserved() -> Error {
    Error::new(ErrorKind::Overloaded, "a transact is running on the key; retry")
}

pub(crate) fn stale() -> Error {
    Error::new(ErrorKind::StaleLease, "the token was superseded, parked or settled")
}
