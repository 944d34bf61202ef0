//! Reads rows of other systems by their source.

use super::reading::{Reading, Source, Taken};
use super::row::Row;
use super::{redis, sql};

/// What a row stands for; nothing for one that is over. What is said names columns, never values.
pub(super) fn record(reading: &Reading, row: &Row) -> Result<Option<Taken>, String> {
    match reading.source {
        Source::SqlIdempotencyKeys => sql::idempotency_key(reading, row).map(Some),
        Source::SqlProcessedMessages => sql::processed_message(reading, row).map(Some),
        Source::Redis => redis::key(reading, row),
        Source::Claimstore => Err("is no row of a table".into()),
    }
}
