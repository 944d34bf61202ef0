//! What is known of other keepers' rows beforehand, and said on the command line.

use std::time::{Duration, SystemTime};

use claimstore::Import;
use clap::ValueEnum;
use serde_json::value::RawValue;

use super::row::Row;
use super::{redis, sql, time};

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

/// How rows are read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) source: Source,
    /// The columns that make the key; none: those of the source.
    pub(crate) key: Vec<String>,
    /// How long a row without an end of its own is remembered; none: as long as the policy says.
    pub(crate) ttl: Option<Duration>,
    /// Values that say that the work is not done, in small letters.
    pub(crate) in_progress: Vec<String>,
    pub(crate) now: SystemTime,
}

/// Values that say so unless the command line names others.
pub(crate) const IN_PROGRESS: [&str; 9] = [
    "in_progress",
    "in-progress",
    "inprogress",
    "processing",
    "pending",
    "started",
    "running",
    "locked",
    "lock",
];

impl Reading {
    /// The record that a row stands for; nothing for one that is over. What is said names columns, never values.
    pub(crate) fn record(&self, row: &Row) -> Result<Option<Import>, String> {
        match self.source {
            Source::SqlIdempotencyKeys => sql::idempotency_key(self, row).map(Some),
            Source::SqlProcessedMessages => sql::processed_message(self, row).map(Some),
            Source::Redis => redis::key(self, row),
            Source::Claimstore => Err("is no row of a table".into()),
        }
    }

    /// The key: what the command line says, or the first of `names` that there is, behind the first of `scopes` that
    /// there is.
    pub(super) fn key(&self, row: &Row, scopes: &[&str], names: &[&str]) -> Result<Vec<u8>, String> {
        if !self.key.is_empty() {
            return row.key(&self.key);
        }
        // A key that is null is no key; the next name would give that of something else.
        let key = names.iter().find(|name| row.find(&[**name]).is_some());
        let key = key.ok_or_else(|| "no column names the key: say --key".to_owned())?;
        let scope = scopes.iter().find(|name| row.bytes(&[**name]).is_some());
        let parts: Vec<_> = scope.into_iter().chain([key]).map(|&name| name.to_owned()).collect();
        row.key(&parts)
    }

    /// Whether a word says that the work is not done.
    pub(super) fn is_in_progress(&self, word: &[u8]) -> bool {
        let word = word.trim_ascii().to_ascii_lowercase();
        self.in_progress.iter().any(|known| known.as_bytes() == word)
    }

    /// The record with the times of the row. Without any, it was claimed and settled now.
    pub(super) fn with_times(&self, row: &Row, import: Import, settled: &[&str]) -> Result<Import, String> {
        let created_at = at(row, &["created_at", "inserted_at", "received_at", "received", "creation_date"])?;
        let settled_at = at(row, settled)?.or(created_at).unwrap_or(self.now);
        let import = import.claimed_at(created_at.unwrap_or(settled_at)).settled_at(settled_at);
        let import = self.ttl.into_iter().fold(import, Import::ttl);
        let expires_at = at(row, &["expires_at", "expiration_time", "expiry", "valid_until"])?;
        Ok(expires_at.into_iter().fold(import, Import::expires_at))
    }
}

/// The time under the first of these names that is not null.
pub(super) fn at(row: &Row, names: &[&str]) -> Result<Option<SystemTime>, String> {
    let Some(name) = names.iter().find(|name| row.bytes(&[*name]).is_some()) else { return Ok(None) };
    let time = row.text(&[*name]).and_then(time::parse);
    time.map(Some).ok_or_else(|| format!("`{name}` is no time that can be read"))
}

/// Bytes that are one JSON value, as they are; any others as a JSON string.
pub(super) fn as_json(bytes: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(value) if value.get().starts_with(['{', '[']) => value.get().to_owned(),
        _ => serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string(),
    }
}
