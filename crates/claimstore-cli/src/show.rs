//! How a record is shown: without its key and without anything its program stored, unless asked.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claimstore::{Happened, Orphaned, Past, Record, RecordState};
use claimstore_hash::digest_key;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::{duration, print};

/// How many bytes of a key's digest stand for the key.
const HASH_BYTES: usize = 6;

/// What is shown, and how.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ShowArgs {
    /// Show keys in full, in the place of a hash and a length.
    #[arg(long)]
    pub(crate) show_keys: bool,

    /// Show what programs stored: responses, progress, origins and notes.
    #[arg(long)]
    pub(crate) show_payload: bool,

    /// One JSON object, with names that stay.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The first 12 hex digits of the key's digest.
pub(crate) fn key_hash(key: &[u8]) -> String {
    hex(digest_key(&[key]).get(..HASH_BYTES).unwrap_or_default())
}

/// A key for people: its hash and its length.
pub(crate) fn key_name(key: &[u8]) -> String {
    format!("{}+{}B", key_hash(key), key.len())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Bytes for people: text where they are text that a terminal only shows, hex digits otherwise.
pub(crate) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("0x{}", hex(bytes)),
    }
}

/// Bytes for programs: a string under `name` where they are UTF-8, else hex digits under `name_hex`.
fn put(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

pub(crate) fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time for people, in UTC.
pub(crate) fn utc(time: SystemTime) -> String {
    let stamp = i64::try_from(ms(time)).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| "beyond all calendars".into(), |stamp| stamp.to_string())
}

/// How long before `now` it was; nothing if it is ahead.
pub(crate) fn age(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

pub(crate) fn state_name(state: RecordState) -> &'static str {
    match state {
        RecordState::Orphaned => "orphaned",
        RecordState::Completed => "completed",
        RecordState::Failed => "failed",
        RecordState::Retry => "retry",
        RecordState::Parked => "parked",
        // A state of a later version is one that is not over.
        _ => "in-progress",
    }
}

pub(crate) fn cause_name(cause: Orphaned) -> &'static str {
    match cause {
        Orphaned::Abandoned => "abandoned",
        Orphaned::Lapsed => "lapsed",
        _ => "earlier-life",
    }
}

pub(crate) fn happened_name(what: Happened) -> &'static str {
    match what {
        Happened::Orphaned(_) => "orphaned",
        Happened::Failed => "failed",
        Happened::Parked => "parked",
        Happened::Requeued => "requeued",
        Happened::Completed => "completed",
        Happened::FailedForGood => "failed-for-good",
        _ => "unknown",
    }
}

pub(crate) fn namespace_name(name: &str) -> &str {
    if name.is_empty() { "(default)" } else { name }
}

impl ShowArgs {
    /// The key in a table or a sentence.
    pub(crate) fn key(self, key: &[u8]) -> String {
        if self.show_keys { readable(key) } else { key_name(key) }
    }

    /// The record as a JSON object.
    pub(crate) fn record(self, record: &Record) -> Value {
        let mut object = Map::new();
        let times = [
            ("settled_at_ms", record.settled_at()),
            ("expires_at_ms", record.expires_at()),
            ("retry_at_ms", record.retry_at()),
            ("asked_at_ms", record.asked_at()),
        ];
        for (name, time) in times {
            object.insert(name.into(), time.map(ms).into());
        }
        object.insert("namespace".into(), record.namespace().into());
        object.insert("key_hash".into(), key_hash(record.key()).into());
        object.insert("key_bytes".into(), record.key().len().into());
        object.insert("state".into(), state_name(record.state()).into());
        object.insert("orphaned".into(), record.orphaned().map(cause_name).into());
        // As text: many readers of JSON round numbers above 2^53, and tokens lie there.
        object.insert("token".into(), record.token().to_string().into());
        object.insert("work_token".into(), record.work_token().to_string().into());
        object.insert("attempt".into(), record.attempt().into());
        object.insert("attempts_granted".into(), record.attempts_granted().into());
        object.insert("asked".into(), record.asked().into());
        object.insert("claimed_at_ms".into(), ms(record.claimed_at()).into());
        object.insert("has_fingerprint".into(), record.has_fingerprint().into());
        if self.show_keys {
            put(&mut object, "key", record.key());
        }
        for (name, bytes) in stored(record) {
            object.insert(format!("{name}_bytes"), bytes.len().into());
            if self.show_payload {
                put(&mut object, name, bytes);
            }
        }
        object.into()
    }

    /// An entry of a record's history as a JSON object.
    pub(crate) fn past(self, past: &Past) -> Value {
        let mut object = Map::new();
        object.insert("what".into(), happened_name(past.what()).into());
        let cause = if let Happened::Orphaned(cause) = past.what() { Some(cause_name(cause)) } else { None };
        object.insert("orphaned".into(), cause.into());
        object.insert("attempt".into(), past.attempt().into());
        object.insert("token".into(), past.token().to_string().into());
        object.insert("claimed_at_ms".into(), ms(past.claimed_at()).into());
        object.insert("at_ms".into(), ms(past.at()).into());
        object.insert("note_bytes".into(), past.note().len().into());
        put(&mut object, "by", past.by());
        if self.show_payload {
            put(&mut object, "note", past.note());
        }
        object.into()
    }

    /// The record on lines of its own, for people.
    pub(crate) fn lines(self, record: &Record, now: SystemTime) -> String {
        let mut lines = vec![
            ("key", self.key(record.key())),
            ("namespace", namespace_name(record.namespace()).to_owned()),
            ("state", state_name(record.state()).to_owned()),
            ("attempt", record.attempt().to_string()),
            ("token", record.token().to_string()),
            ("claimed", when(now, record.claimed_at())),
        ];
        let times = [
            ("settled", record.settled_at()),
            ("expires", record.expires_at()),
            ("retry at", record.retry_at()),
            ("asked", record.asked_at()),
        ];
        lines.extend(times.into_iter().filter_map(|(name, time)| Some((name, when(now, time?)))));
        let stored = stored(record).into_iter().filter(|(_, bytes)| !bytes.is_empty());
        lines.extend(stored.map(|(name, bytes)| (name, self.payload(bytes))));
        lines.into_iter().fold(String::new(), |text, (name, value)| text + &format!("{name:<10} {value}\n"))
    }

    /// An entry of a record's history on one line.
    pub(crate) fn past_line(self, past: &Past) -> String {
        let mut line =
            format!("{}  attempt {}  {}", utc(past.at()), past.attempt(), happened_name(past.what()));
        if let Happened::Orphaned(cause) = past.what() {
            let _ = write!(line, " ({})", cause_name(cause));
        }
        if !past.by().is_empty() {
            let _ = write!(line, "  by {}", readable(past.by()));
        }
        if !past.note().is_empty() {
            let _ = write!(line, "  note {}", self.payload(past.note()));
        }
        line
    }

    fn payload(self, bytes: &[u8]) -> String {
        if self.show_payload { readable(bytes) } else { format!("{} bytes", bytes.len()) }
    }

    /// A table of records.
    pub(crate) fn table(self, records: &[Record], now: SystemTime) -> String {
        let row = |record: &Record| {
            let state = match record.orphaned() {
                Some(cause) => format!("{} ({})", state_name(record.state()), cause_name(cause)),
                None => state_name(record.state()).to_owned(),
            };
            [
                duration::format(age(now, record.claimed_at())),
                state,
                record.attempt().to_string(),
                namespace_name(record.namespace()).to_owned(),
                self.key(record.key()),
            ]
        };
        let rows: Vec<_> = records.iter().map(row).collect();
        print::table(["AGE", "STATE", "ATTEMPT", "NAMESPACE", "KEY"], &rows)
    }

    /// Records as a JSON object, with the cursor of the page after them.
    pub(crate) fn page(self, records: &[Record], next: Option<&str>) -> Value {
        let records: Vec<_> = records.iter().map(|record| self.record(record)).collect();
        json!({ "records": records, "next": next })
    }
}

/// What the program stored, by name.
fn stored(record: &Record) -> [(&'static str, &[u8]); 4] {
    [
        ("response", record.response().unwrap_or_default()),
        ("progress", record.progress().unwrap_or_default()),
        ("origin", record.origin()),
        ("note", record.note()),
    ]
}

/// A time with its distance from now.
fn when(now: SystemTime, time: SystemTime) -> String {
    match time.duration_since(now) {
        Ok(ahead) if !ahead.is_zero() => format!("{} (in {})", utc(time), duration::format(ahead)),
        _ => format!("{} ({} ago)", utc(time), duration::format(age(now, time))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_digits() {
        assert_eq!(readable(b"order-7"), "order-7");
        assert_eq!(readable(b"\x1b[2J"), "0x1b5b324a");
        assert_eq!(readable(b"\xff"), "0xff");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(UNIX_EPOCH + Duration::from_millis(1_500)), "1970-01-01T00:00:01.5Z");
        assert_eq!(when(UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(90)), "1970-01-01T00:01:30Z (in 1m30s)");
    }

    #[test]
    fn names_of_keys_do_not_change() {
        assert_eq!(key_name(b"order-4711").len(), "000000000000+10B".len());
        assert_ne!(key_name(b"order-4711"), key_name(b"order-4712"));
    }
}
