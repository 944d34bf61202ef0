//! Records from elsewhere, as a step: what becomes of each, and what is known after it.

use super::calls::fingerprint;
use super::compare::key_bytes;
use super::model::{Counts, Known, Model, SKEW_MS, Stage};
use super::runner::{Done, Runner, disagree};
use super::spaces::Home;
use claimstore::{Error, ErrorKind, Import, Imported};
use std::time::{Duration, UNIX_EPOCH};

/// The ttl of the opaque keys that are imported.
const TTL_MS: u64 = 3_600_000;
/// When what is to be retried later may be claimed, from now.
const LATER_MS: u64 = 30_000;

/// What the records of one import have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Like {
    pub(super) state: usize,
    pub(super) attempt: u32,
    pub(super) payload: u8,
    pub(super) ago_ms: u64,
}

impl Runner {
    pub(super) fn import_many(&mut self, keys: &[usize], like: Like) -> Done {
        let keys = Home::only_of_first(keys);
        // What a quota makes of imports is left to directed tests.
        let Some(&first) = keys.first().filter(|first| Home::of(**first) != Home::Limited) else {
            return Ok(());
        };
        let records: Vec<Import> = keys.iter().map(|&key| self.import(key, like)).collect();
        let expected: Vec<_> = keys.iter().map(|&key| self.model.import(key, like)).collect();
        let answers = self.space(first)?.import_many(&records)?;
        for ((key, expected), answer) in keys.into_iter().zip(expected).zip(answers) {
            judge(key, expected, answer)?;
        }
        Ok(())
    }

    fn import(&self, key: usize, like: Like) -> Import {
        let bytes = key_bytes(key, &self.model);
        let at = |ms: u64| UNIX_EPOCH + Duration::from_millis(ms);
        let now_ms = self.model.store_ms;
        let import = match like.state {
            0 => Import::completed(bytes, "elsewhere"),
            1 => Import::failed(bytes, "elsewhere"),
            2 => Import::retry(bytes, at(0)).progress("half"),
            3 => Import::retry(bytes, at(now_ms + LATER_MS)).progress("half"),
            _ => Import::parked(bytes, "look").progress("half"),
        };
        let import = import.attempt(like.attempt).settled_at(at(now_ms - like.ago_ms));
        let import = match Home::of(key) {
            Home::Ordered => import,
            Home::Plain | Home::Limited => import.ttl(Duration::from_millis(TTL_MS)),
        };
        if like.payload == 0 { import } else { import.fingerprint(fingerprint(like.payload)) }
    }
}

impl Model {
    /// What should become of an import; the model follows it.
    fn import(&mut self, key: usize, like: Like) -> Result<Imported, ErrorKind> {
        let key_time_ms = self.key_time_ms(key);
        if key_time_ms.is_some_and(|time_ms| time_ms > self.wall_ms + SKEW_MS) {
            return Err(ErrorKind::FutureKey);
        }
        let stage = self.imported(key_time_ms, like);
        let is_over = matches!(stage, Stage::Resolved { until_ms, .. } if until_ms <= self.store_ms);
        match self.visible(key) {
            Some(known) => return Ok(known.beside(&stage, like.payload)),
            None if is_over => return Ok(Imported::Expired),
            None => {}
        }
        self.newest_ms = self.newest_ms.max(key_time_ms.unwrap_or(0));
        // Of attempts that were made elsewhere nothing is said: they failed, and nobody knows how.
        let resolved = matches!(stage, Stage::Resolved { .. });
        let failures = if resolved { like.attempt - 1 } else { like.attempt };
        let counts = Counts { failures, losses: 0, in_doubt: !resolved };
        let (asked, asked_of_dropped) = (false, false);
        let Like { attempt, payload, .. } = like;
        let known = Known { token: 0, attempt, counts, payload, asked, asked_of_dropped, stage };
        self.known.insert(key, known);
        Ok(Imported::Stored)
    }

    fn imported(&self, key_time_ms: Option<u64>, like: Like) -> Stage {
        let (progress, now_ms) = (b"half".to_vec(), self.store_ms);
        match like.state {
            0 | 1 => {
                let ttl_ms = key_time_ms.map_or(TTL_MS, |_| self.ordered_ttl_ms());
                let least_ms = key_time_ms.map_or(0, |time_ms| time_ms + self.ordered_ttl_ms());
                let until_ms = (now_ms - like.ago_ms + ttl_ms).max(least_ms);
                Stage::Resolved { failure: like.state == 1, response: b"elsewhere".to_vec(), until_ms }
            }
            2 => Stage::Retry { until_ms: 0, progress },
            3 => Stage::Retry { until_ms: now_ms + LATER_MS, progress },
            _ => Stage::Parked,
        }
    }
}

impl Known {
    /// What an import is beside a key that is known.
    fn beside(&self, import: &Stage, payload: u8) -> Imported {
        let other_payload = self.payload != 0 && payload != 0 && self.payload != payload;
        let other_result = match (&self.stage, import) {
            (
                Stage::Resolved { failure, response, .. },
                Stage::Resolved { failure: imported_failure, response: imported, .. },
            ) => (failure, response) != (imported_failure, imported),
            _ => false,
        };
        if other_payload || other_result { Imported::Differs } else { Imported::Known }
    }
}

fn judge(key: usize, expected: Result<Imported, ErrorKind>, answer: Result<Imported, Error>) -> Done {
    match (expected, answer) {
        (Ok(expected), Ok(answer)) if expected == answer => Ok(()),
        (Err(expected), Err(error)) if expected == error.kind() => Ok(()),
        (_, Err(error)) if error.kind() == ErrorKind::Overloaded => Err(error.into()),
        (expected, answer) => disagree(format!("key {key}: import {answer:?}, expected {expected:?}")),
    }
}
