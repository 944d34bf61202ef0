//! What is known of other keepers' rows beforehand, and said on the command line.

use std::time::{Duration, SystemTime};

use claimstore::Import;
use clap::ValueEnum;
use serde_json::value::RawValue;

use super::columns::{self, Holds};
use super::row::{Nulls, Row};
use super::said::{Ended, Language, Why};
use super::time::When;
use super::words::Unknown;

/// Where records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// `claimstore export`.
    Claimstore,
    /// A table of requests by idempotency key, with their responses.
    SqlIdempotencyKeys,
    /// A table of messages that were handled (inbox, idempotent consumer).
    SqlProcessedMessages,
    /// Keys of Redis that `SET NX` made, with their values and times to live.
    Redis,
}

/// What rows and values become that do not say how their work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unsaid {
    /// Done: the row or the value is there because the work was done.
    Done,
    /// Held for review.
    Park,
}

/// The longest that a store remembers a key: what stands for "for ever".
const LONGEST: Duration = Duration::from_secs(315_576_000);

/// Why a row has no key where none of its columns is known to be one.
pub(super) const NO_KEY: &str = "no column names the key: say --key";

/// How rows are read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) source: Source,
    /// The columns that make the key; none: those of the source.
    pub(crate) key: Vec<String>,
    /// How long a row without an end of its own is remembered; none: as long as the policy says.
    pub(crate) ttl: Option<Duration>,
    pub(crate) nulls: Nulls,
    pub(crate) language: Language,
    /// None: it depends on the table, and on the value.
    pub(crate) unsaid: Option<Unsaid>,
    pub(crate) now: SystemTime,
}

/// What a row stands for.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) import: Import,
    /// The row says itself until when it is remembered.
    pub(crate) has_end: bool,
    /// Why it is held for review, if it is.
    why: Option<Why>,
    /// It says nothing, and is taken for done.
    pub(crate) is_assumed: bool,
}

impl Taken {
    fn new(import: Import, ended: &Ended) -> Taken {
        let why = if let Ended::Not(why) = ended { Some(why.clone()) } else { None };
        Taken { import, has_end: false, why, is_assumed: false }
    }

    pub(super) fn assumed(self, is_assumed: bool) -> Taken {
        Taken { is_assumed, ..self }
    }

    /// Ends then, but not later than a store can remember it.
    pub(super) fn ends(self, end: Option<SystemTime>, now: SystemTime) -> Taken {
        let Some(end) = end else { return self };
        let longest = now.checked_add(LONGEST).unwrap_or(end);
        Taken { import: self.import.expires_at(end.min(longest)), has_end: true, ..self }
    }

    /// Counts the word that is not known, if that is why it is held for review.
    pub(crate) fn count_unknown(&self, unknown: &mut Unknown) {
        match &self.why {
            Some(Why::Word(word)) => unknown.count(word),
            Some(Why::Text(_)) => unknown.count_hidden(),
            Some(
                Why::InProgress(_) | Why::Other(_) | Why::Response(_) | Why::Unsaid | Why::Denied | Why::Both,
            )
            | None => {}
        }
    }
}

impl Reading {
    /// The key: what the command line says, or the first of `names` that there is, behind the first of `scopes` that
    /// there is.
    pub(super) fn key(&self, row: &Row, scopes: &[&str], names: &[&str]) -> Result<Vec<u8>, String> {
        if !self.key.is_empty() {
            return row.key(&self.key);
        }
        // A key that is null is no key; the next name would give that of something else.
        let key = names.iter().find(|name| row.find(&[**name]).is_some());
        let key = key.ok_or_else(|| NO_KEY.to_owned())?;
        let scope = scopes.iter().find(|name| row.bytes(&[**name]).is_some());
        let parts: Vec<_> = scope.into_iter().chain([key]).map(|&name| name.to_owned()).collect();
        row.key(&parts)
    }

    /// How work ended of which nothing is said: as the command line has it, or else as is `usual`. And whether that takes
    /// it for done without knowing. `why` it is held for review, if it is.
    pub(super) fn unsaid(&self, usual: Ended, why: Why) -> (Ended, bool) {
        let ended = match self.unsaid {
            Some(Unsaid::Done) => Ended::Well,
            Some(Unsaid::Park) if usual == Ended::Well => Ended::Not(why),
            Some(Unsaid::Park) | None => usual,
        };
        let is_assumed = ended == Ended::Well;
        (ended, is_assumed)
    }

    /// The record of work that ended so, with the times of the row. Without any, it was claimed and settled now.
    pub(super) fn taken(&self, row: &Row, import: Import, ended: &Ended) -> Result<Taken, String> {
        // What was done at the end of time was not done.
        let past = |when| if let When::At(time) = when { Some(time) } else { None };
        let begun = self.first(row, columns::begun(), past)?;
        let settled_at = self.first(row, columns::ended(), past)?.or(begun).unwrap_or(self.now);
        let import = import.claimed_at(begun.unwrap_or(settled_at)).settled_at(settled_at);
        let import = self.ttl.into_iter().fold(import, Import::ttl);
        let end = self.first(row, columns::end(), |when| match when {
            When::Never => None,
            When::At(time) => Some(time),
            When::ForEver => self.now.checked_add(LONGEST),
        })?;
        Ok(Taken::new(import, ended).ends(end, self.now))
    }

    /// What a row without times stands for.
    pub(super) fn taken_now(&self, import: Import, ended: &Ended) -> Taken {
        let import = self.ttl.into_iter().fold(import.settled_at(self.now), Import::ttl);
        Taken::new(import, ended)
    }

    /// The first time under these stems that is one, as `accept` has it.
    fn first(
        &self,
        row: &Row,
        stems: impl Iterator<Item = &'static str>,
        accept: impl Fn(When) -> Option<SystemTime>,
    ) -> Result<Option<SystemTime>, String> {
        for stem in stems {
            let of_stem = row.columns().filter_map(|(name, value)| {
                Some((name, columns::held_by(name.plain(), stem)?, value.bytes()?))
            });
            for (name, holds, bytes) in of_stem {
                let text = String::from_utf8_lossy(bytes);
                match self.language.times.read(&text).map(&accept) {
                    Ok(Some(time)) => return Ok(Some(time)),
                    Ok(None) => {}
                    // A flag, or the address that a message was received at.
                    Err(_) if holds == Holds::Any || text.contains("://") => {}
                    Err(no_time) => return Err(format!("`{}` {}", name.shown(), no_time.reason())),
                }
            }
        }
        Ok(None)
    }
}

/// Bytes that are one JSON value, as they are; any others as a JSON string.
pub(super) fn as_json(bytes: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(value) if value.get().starts_with(['{', '[']) => value.get().to_owned(),
        _ => serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string(),
    }
}

/// The record of work that ended so.
pub(super) fn import(key: Vec<u8>, ended: &Ended, body: Vec<u8>) -> Import {
    match ended {
        Ended::Well => Import::completed(key, body),
        Ended::Badly => Import::failed(key, body),
        Ended::Not(why) => Import::parked(key, why.note()).progress(body),
    }
}
