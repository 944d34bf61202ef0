//! How a record is shown: without its key and without anything its program stored, unless asked.

use std::fmt::Write as _;

use claimstore_admin::{PastView, RecordView, Show, hex};
use clap::Args;

use crate::human::{self, age, utc, when};
use crate::print::{self, Row};
use crate::source::Page;
use crate::visible::visible;

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

/// Bytes for people: as text with escapes where they are UTF-8, hex digits otherwise.
pub(crate) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => visible(text).into_owned(),
        Err(_) => format!("0x{}", hex(bytes)),
    }
}

pub(crate) fn namespace_name(name: &str) -> &str {
    if name.is_empty() { "(default)" } else { name }
}

impl ShowArgs {
    /// What is asked for.
    pub(crate) fn shown(self) -> Show {
        Show { keys: self.show_keys, payload: self.show_payload }
    }
}

/// The record on lines of its own, for people.
pub(crate) fn lines(record: &RecordView, now_ms: u64) -> String {
    let mut lines = vec![
        ("key", key(record)),
        ("namespace", namespace_name(&record.namespace).to_owned()),
        ("state", record.state.name().to_owned()),
        ("attempt", record.attempt.to_string()),
        ("token", record.token.clone()),
        ("claimed", when(now_ms, record.claimed_at_ms)),
    ];
    let times = [
        ("settled", record.settled_at_ms),
        ("expires", record.expires_at_ms),
        ("retry at", record.retry_at_ms),
        ("held until", record.detached_until_ms),
        ("asked", record.asked_at_ms),
    ];
    let told = |time| if time == 0 { "at once".to_owned() } else { when(now_ms, time) };
    lines.extend(times.into_iter().filter_map(|(name, time)| Some((name, told(time?)))));
    lines.push(("replays", record.replays.to_string()));
    lines.push(("mismatches", record.mismatches.to_string()));
    lines.extend(stored(record));
    print::fields(&lines)
}

/// What programs stored with the record, where there is any.
fn stored(record: &RecordView) -> impl Iterator<Item = (&'static str, String)> {
    let stored = record.stored().into_iter().filter(|(_, length, _)| *length > 0);
    stored.map(|(name, length, bytes)| (name, payload(length, bytes)))
}

/// An entry of a record's history on one line.
pub(crate) fn past_line(past: &PastView) -> String {
    let mut line = format!("{}  attempt {}  {}", utc(past.at_ms), past.attempt, past.what);
    if let Some(cause) = &past.orphaned {
        let _ = write!(line, " ({cause})");
    }
    let by = past.by();
    if !by.is_empty() {
        let _ = write!(line, "  by {}", readable(&by));
    }
    if past.note_bytes > 0 {
        let _ = write!(line, "  note {}", payload(past.note_bytes, past.note()));
    }
    line
}

/// A table of records; below each what programs stored, where it was asked for.
pub(crate) fn table(page: &Page, show: ShowArgs) -> String {
    let below = |(name, value): (&str, String)| format!("       {name:<10} {value}");
    let row = |record: &RecordView| {
        let state = match &record.orphaned {
            Some(cause) => format!("{} ({cause})", record.state.name()),
            None => record.state.name().to_owned(),
        };
        let cells = [
            age(page.store_time_ms, record.claimed_at_ms),
            state,
            record.attempt.to_string(),
            namespace_name(&record.namespace).to_owned(),
            key(record),
        ];
        let below = if show.show_payload { stored(record).map(below).collect() } else { Vec::new() };
        Row { cells, below }
    };
    let rows = page.records.iter().map(row).collect();
    print::table(["AGE", "STATE", "ATTEMPT", "NAMESPACE", "KEY"], rows)
}

/// The key in a table or a sentence: in full where it was asked for.
fn key(record: &RecordView) -> String {
    match record.key() {
        Some(key) => readable(&key),
        None => format!("{}+{}B", record.key_hash, record.key_bytes),
    }
}

/// What a program stored, or how much of it.
fn payload(length: usize, bytes: Option<Vec<u8>>) -> String {
    bytes.map_or_else(|| human::bytes(length as u64), |bytes| readable(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(readable(b"order-7"), "order-7");
        assert_eq!(readable(b"\x1b[2J\n"), "\\u{1b}[2J\\n");
        assert_eq!(readable(b"\xff"), "0xff");
    }
}
