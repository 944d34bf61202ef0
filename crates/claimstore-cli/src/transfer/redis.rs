//! Keys of Redis that `SET key value NX PX ttl` made: one row each, `key`, `value`, `pttl`.
//!
//! What a value means only its writer knows. A status says it; a JSON object may have one, or a flag or time that says
//! that the work is done. Of the others, a marker (`1`) and a response count as done, because that is how handled
//! messages are marked and responses kept; a word that is not known, a value that stands for nothing, and a random
//! token, by which a lock tells its holder, do not.

use std::time::Duration;

use super::reading::{Reading, Taken, import};
use super::row::Row;
use super::said::{Ended, Why, is_nothing};
use super::words;

/// The record; nothing where the key was gone when it was read (`pttl` -2), or ends now (0).
///
/// What is left of its time counts from now, not from when it was read: it may be remembered longer, never shorter.
pub(super) fn key(reading: &Reading, row: &Row) -> Result<Option<Taken>, String> {
    let key = reading.key(row, &[], &["key"])?;
    let value = row.bytes(&["value"]).unwrap_or_default();
    let (ended, is_assumed) = ended(reading, value)?;
    let taken = reading.taken_now(import(key, &ended, value.to_vec()), &ended).assumed(is_assumed);
    match row.text(&["pttl"]).map(|left| left.trim().parse::<i64>()) {
        None | Some(Ok(-1)) => Ok(Some(taken)),
        Some(Ok(-2 | 0)) => Ok(None),
        Some(Ok(left_ms)) if left_ms > 0 => {
            let end = reading.now.checked_add(Duration::from_millis(left_ms.unsigned_abs()));
            Ok(Some(taken.ends(Some(end.ok_or("`pttl` is too large")?), reading.now)))
        }
        Some(_) => Err("`pttl` is no number of milliseconds".into()),
    }
}

/// How the work ended, and whether that is taken for granted.
fn ended(reading: &Reading, value: &[u8]) -> Result<(Ended, bool), String> {
    if let Ok(row) = Row::from_json(value, &reading.nulls) {
        let status = reading.language.status(&row);
        let marks = match &status {
            None | Some(Ended::Not(Why::Unsaid)) => reading.language.marks(&row).map_err(|_| in_value())?,
            Some(_) => None,
        };
        if let Some(ended) = marks.or(status) {
            return Ok((ended, false));
        }
        return Ok(reading.unsaid(Ended::Well, text_of(value)));
    }
    // A text that was written as JSON is that text.
    let text = serde_json::from_slice::<String>(value);
    let text = text.unwrap_or_else(|_| String::from_utf8_lossy(value).into_owned());
    Ok(match reading.language.word(text.as_bytes()) {
        Ended::Not(Why::Word(word)) if is_denial(&word) => (Ended::Not(Why::Word(word)), false),
        Ended::Not(Why::Word(word)) if is_status_like(&word) => (Ended::Not(Why::Text(word)), false),
        Ended::Not(Why::Word(word)) if is_token(&word) => {
            reading.unsaid(Ended::Not(Why::Text(word)), text_of(value))
        }
        Ended::Not(Why::Word(_)) => reading.unsaid(Ended::Well, text_of(value)),
        Ended::Not(Why::Unsaid) if value.is_empty() => reading.unsaid(Ended::Well, text_of(value)),
        ended => (ended, false),
    })
}

fn text_of(value: &[u8]) -> Why {
    Why::Text(String::from_utf8_lossy(value).into_owned())
}

fn in_value() -> String {
    "`value` has a time that cannot be read".into()
}

/// Whether it says no.
fn is_denial(word: &str) -> bool {
    is_nothing(word) || words::flag(word) == Some(false)
}

/// Whether it looks like the name of a status, and does not say yes.
fn is_status_like(word: &str) -> bool {
    words::is_name(word) && words::flag(word).is_none()
}

/// Whether it looks like the random token of a lock: a UUID, or 16 hex digits or more.
fn is_token(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_uuid = digits == 32 && word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let has_letter = word.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_uuid || (digits == word.len() && digits >= 16 && has_letter)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::foreign::record;
    use super::super::reading::{Source, Unsaid};
    use super::super::row::Nulls;
    use super::super::said::Language;
    use super::super::time::Times;
    use super::super::words::{Given, Words};
    use super::*;

    fn reading(unsaid: Option<Unsaid>) -> Reading {
        let words = Words::new(&Given::default()).unwrap();
        Reading {
            source: Source::Redis,
            key: Vec::new(),
            ttl: None,
            nulls: Nulls::default(),
            language: Language { words, times: Times::default(), status: None },
            unsaid,
            now: UNIX_EPOCH,
        }
    }

    fn shown(unsaid: Option<Unsaid>, row: &str) -> String {
        let reading = reading(unsaid);
        match record(&reading, &Row::from_json(row.as_bytes(), &reading.nulls).unwrap()) {
            Ok(Some(taken)) => format!("{:?} assumed {}", taken.import.state(), taken.is_assumed),
            Ok(None) => "over".to_owned(),
            Err(error) => error,
        }
    }

    fn check(unsaid: Option<Unsaid>, value: &str, expected: &str) {
        let row = serde_json::json!({ "key": "k", "value": value, "pttl": 60_000 }).to_string();
        assert_eq!(shown(unsaid, &row), expected, "{value}");
    }

    const UUID: &str = "3f0c2a52-8a9e-4d0b-9d07-5f1d6f0a9b11";

    #[test]
    fn a_status_says_how_the_work_stands_wherever_it_stands() {
        for (word, state) in [
            ("Processing", "Parked"),
            ("ENQUEUED", "Parked"),
            ("retrying ", "Parked"),
            ("in progress", "Parked"),
            ("COMPLETED", "Completed"),
            ("done", "Completed"),
            ("Failed", "Failed"),
            ("dead", "Failed"),
        ] {
            let expected = format!("{state} assumed false");
            check(None, word, &expected);
            check(None, &format!("\"{word}\""), &expected);
            check(None, &format!("{{\"status\":\"{word}\",\"id\":7}}"), &expected);
            check(None, &format!("{{\"jobState\":\"{word}\"}}"), &expected);
        }
    }

    #[test]
    fn of_unsaid_markers_and_responses_count_as_done() {
        for value in [
            "1",
            "true",
            "yes",
            "",
            "7",
            "1795262400",
            r#"{"id":7}"#,
            "[]",
            "posted: 7",
            "https://example.com/7",
        ] {
            check(None, value, "Completed assumed true");
            check(Some(Unsaid::Done), value, "Completed assumed true");
            check(Some(Unsaid::Park), value, "Parked assumed false");
        }
        for value in ["0", "false", "no", "N", "null", "\"null\"", "NULL", "None"] {
            check(None, value, "Parked assumed false");
            check(Some(Unsaid::Done), value, "Parked assumed false");
        }
        for value in [UUID, "9f86d081884c7d659a2feaa0c55ad015"] {
            check(None, value, "Parked assumed false");
            check(Some(Unsaid::Done), value, "Completed assumed true");
            check(Some(Unsaid::Park), value, "Parked assumed false");
        }
        for (value, state) in [
            (r#"{"completedAt":"2026-11-28T10:00:00Z"}"#, "Completed"),
            (r#"{"completedAt":null,"id":7}"#, "Parked"),
            (r#"{"done":false}"#, "Parked"),
            (r#"{"status":null}"#, "Parked"),
        ] {
            check(None, value, &format!("{state} assumed false"));
        }
    }

    #[test]
    fn the_time_that_is_left_is_a_number() {
        for (row, expected) in [
            (r#"{"key":"k","value":false,"pttl":-2}"#, "over"),
            (r#"{"key":"k","value":"1","pttl":0}"#, "over"),
            (r#"{"key":"k","value":"1","pttl":-1}"#, "Completed assumed true"),
            (r#"{"key":"k","value":"1","pttl":9223372036854775807}"#, "Completed assumed true"),
            (r#"{"key":"k","value":"1","pttl":-3}"#, "`pttl` is no number of milliseconds"),
            (r#"{"key":"k","value":"1","pttl":"soon"}"#, "`pttl` is no number of milliseconds"),
            (r#"{"value":"1","pttl":1}"#, "no column names the key: say --key"),
        ] {
            assert_eq!(shown(None, row), expected, "{row}");
        }
    }
}
