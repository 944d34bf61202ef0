//! Asks a store that may be damaged: each answer must be right, or an error that says what is wrong.

use super::compare::{compare_key, compare_scan, key_bytes};
use super::model::{Expected, KEYS, Model};
use super::runner::{Done, Stop, disagree};
use super::spaces::{Home, is_quota};
use claimstore::{Claim, ErrorKind, Store};
use std::time::Duration;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Every answer was right.
    Intact,
    /// Some calls were refused, none was answered wrongly.
    Refused(ErrorKind),
}

/// Reads everything, then claims every key, without letting time pass.
pub fn probe(store: &Store, model: &Model) -> Result<Found, Stop> {
    let mut found = judged(compare_scan(store, model))?;
    let looks = (0..KEYS).map(|key| compare_key(store, model, key));
    let claims = (0..KEYS).map(|key| claim(store, model, key));
    for done in looks.chain(claims) {
        let verdict = judged(done)?;
        if verdict != Found::Intact {
            found = verdict;
        }
    }
    Ok(found)
}

/// The kinds of errors that own up to damage.
pub fn is_owned_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::TooNew | ErrorKind::Misuse)
}

fn judged(done: Done) -> Result<Found, Stop> {
    match done {
        Ok(()) => Ok(Found::Intact),
        Err(Stop::Failed(kind, _)) if is_owned_up(kind) => Ok(Found::Refused(kind)),
        Err(stop) => Err(stop),
    }
}

fn claim(store: &Store, model: &Model, key: usize) -> Done {
    let space = Home::of(key).namespace(store)?;
    let expected = model.expect(key, 0);
    let answer = space.claim(key_bytes(key, model), Duration::from_millis(model.ttl_ms(key, 1)));
    let right = match (&expected, &answer) {
        (Expected::Claimed { attempt, in_doubt, progress }, Ok(Claim::Claimed(lease))) => {
            (lease.attempt(), lease.in_doubt()) == (*attempt, *in_doubt)
                && lease.progress().unwrap_or_default() == progress
        }
        (Expected::Duplicate { failure, response }, Ok(Claim::Duplicate(receipt))) => {
            receipt.is_failure() == *failure && receipt.response() == response
        }
        (Expected::InProgress, Ok(Claim::InProgress(_))) => true,
        (Expected::Parked { .. }, Err(error)) => error.kind() == ErrorKind::Parked,
        (Expected::TooOld, Err(error)) => error.kind() == ErrorKind::TooOld,
        (Expected::Future, Err(error)) => error.kind() == ErrorKind::FutureKey,
        (Expected::Claimed { .. } | Expected::NoRoom, Err(error)) if Home::has_quota(key) => is_quota(error),
        _ => false,
    };
    match answer {
        _ if right => Ok(()),
        Err(error) => Err(error.into()),
        Ok(answer) => disagree(format!("key {key}: {answer:?}, expected {expected:?}")),
    }
}
