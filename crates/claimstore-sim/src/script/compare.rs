//! Holds what a store shows against what it should know.

use super::holders::compare_holders;
use super::model::{Counts, KEYS, Known, Model, Stage};
use super::runner::{Done, ROWS, disagree};
use super::spaces::{FIRST_ORDERED, Home};
use claimstore::{Filter, Record, RecordState, Store};
use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

/// The bytes of key number `key`. The last opaque one is spelled like a key of the other namespace with its
/// name before it: without a bound between the two they would be one.
pub fn key_bytes(key: usize, model: &Model) -> Vec<u8> {
    match model.key_time_ms(key) {
        None if key + 1 == FIRST_ORDERED => {
            [Home::Ordered.name().as_bytes(), &key_bytes(FIRST_ORDERED + 1, model)].concat()
        }
        None => format!("key-{key}").into_bytes(),
        Some(time_ms) => {
            let mut id = [0u8; 16];
            id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
            id[6] = 0x70;
            id[8] = 0x80;
            id[15] = key as u8;
            id.to_vec()
        }
    }
}

/// Compares every key's record, the full scan, the caller's rows, and who is behind the claims.
pub fn compare(store: &Store, model: &Model) -> Done {
    (0..KEYS).try_for_each(|key| compare_key(store, model, key))?;
    compare_scan(store, model)?;
    compare_holders(store, model)
}

/// Compares one key's record and row.
pub(super) fn compare_key(store: &Store, model: &Model, key: usize) -> Done {
    let record = Home::of(key).namespace(store)?.get(key_bytes(key, model))?;
    let known = model.visible(key);
    if !same(record.as_ref(), known, model) {
        return disagree(format!("key {key}: {record:?}, expected {known:?}"));
    }
    let row = store.table(ROWS)?.get([key as u8])?;
    if row.as_ref() != model.rows.get(&key) {
        return disagree(format!("row {key}: {row:?}, expected {:?}", model.rows.get(&key)));
    }
    Ok(())
}

/// Whether a record of a key is what the model knows of it.
pub(super) fn shows(model: &Model, key: usize, record: Option<&Record>) -> bool {
    same(record, model.visible(key), model)
}

/// Compares the keys a full scan shows.
pub(super) fn compare_scan(store: &Store, model: &Model) -> Done {
    let visible = (0..KEYS).filter(|key| model.visible(*key).is_some());
    let visible: BTreeSet<Vec<u8>> = visible.map(|key| key_bytes(key, model)).collect();
    let scanned = store.scan(Filter::new()).map(|record| record.map(|record| record.key().to_vec()));
    let scanned: Vec<Vec<u8>> = scanned.collect::<Result<_, _>>()?;
    if scanned.len() != visible.len() || !scanned.iter().all(|key| visible.contains(key)) {
        return disagree(format!("a scan shows {} keys, expected {}", scanned.len(), visible.len()));
    }
    Ok(())
}

fn same(record: Option<&Record>, known: Option<&Known>, model: &Model) -> bool {
    let (record, known) = match (record, known) {
        (None, None) => return true,
        (Some(record), Some(known)) => (record, known),
        _ => return false,
    };
    let stage = match &known.stage {
        Stage::InProgress { progress, orphaned, detached_until_ms, .. } => {
            let orphan = *orphaned && *detached_until_ms <= model.store_ms;
            let state = if orphan { RecordState::Orphaned } else { RecordState::InProgress };
            // Two ends look alike until the first of them has come.
            let detached_until =
                (*detached_until_ms != 0).then(|| UNIX_EPOCH + Duration::from_millis(*detached_until_ms));
            record.state() == state
                && record.detached_until() == detached_until
                && record.progress().unwrap_or_default() == progress
        }
        Stage::Resolved { failure, response, .. } => {
            let state = if *failure { RecordState::Failed } else { RecordState::Completed };
            record.state() == state && record.response() == Some(response)
        }
        Stage::Retry { progress, until_ms } => {
            record.state() == RecordState::Retry
                && record.retry_at() == Some(UNIX_EPOCH + Duration::from_millis(*until_ms))
                && record.progress().unwrap_or_default() == progress
        }
        Stage::Parked => record.state() == RecordState::Parked,
    };
    // A token of 0 stands for a claim whose answer nobody got.
    let Counts { failures, losses, in_doubt } = known.counts;
    let counts = (record.failures(), record.losses(), record.in_doubt()) == (failures, losses, in_doubt);
    stage
        && counts
        && record.attempt() == known.attempt
        && (known.token == 0 || record.token() == known.token)
}
