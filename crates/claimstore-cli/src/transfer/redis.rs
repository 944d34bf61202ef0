//! Keys of Redis that `SET key value NX PX ttl` made: one row each, `key`, `value`, `pttl`.

use claimstore::Import;
use std::time::Duration;

use super::foreign::Reading;
use super::row::Row;

/// What the note of a key says whose value does not say that the work is done.
const UNSETTLED: &str = "was in progress when it was imported";

/// The record; nothing where the key was gone when it was read (`pttl` -2), or ends now (0).
///
/// What is left of its time counts from now, not from when it was read: it may be remembered longer, never shorter.
pub(super) fn key(reading: &Reading, row: &Row) -> Result<Option<Import>, String> {
    let key = reading.key(row, &[], &["key"])?;
    let value = row.bytes(&["value"]).unwrap_or_default();
    let import = if is_in_progress(reading, value) {
        Import::parked(key, UNSETTLED).progress(value)
    } else {
        Import::completed(key, value)
    };
    let import = import.settled_at(reading.now);
    let import = reading.ttl.into_iter().fold(import, Import::ttl);
    match row.text(&["pttl"]).map(str::parse::<i64>) {
        None | Some(Ok(-1)) => Ok(Some(import)),
        Some(Ok(-2 | 0)) => Ok(None),
        Some(Ok(left_ms)) if left_ms > 0 => {
            let left = Duration::from_millis(left_ms.unsigned_abs());
            let end = reading.now.checked_add(left).ok_or("`pttl` is too large")?;
            Ok(Some(import.expires_at(end)))
        }
        Some(_) => Err("`pttl` is no number of milliseconds".into()),
    }
}

/// The value says so, or is a JSON object whose `status` says so.
fn is_in_progress(reading: &Reading, value: &[u8]) -> bool {
    let status = || Some(Row::from_json(value).ok()?.bytes(&["status", "state"])?.to_vec());
    reading.is_in_progress(value) || status().is_some_and(|status| reading.is_in_progress(&status))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::foreign::{IN_PROGRESS, Source};
    use super::*;

    fn check(row: &str, expected: &str) {
        let in_progress = IN_PROGRESS.map(str::to_owned).into();
        let reading =
            Reading { source: Source::Redis, key: Vec::new(), ttl: None, in_progress, now: UNIX_EPOCH };
        let shown = match reading.record(&Row::from_json(row.as_bytes()).unwrap()) {
            Ok(Some(import)) => format!("{import:?}"),
            Ok(None) => "over".to_owned(),
            Err(error) => error,
        };
        assert!(shown.contains(expected), "{row}: {shown}");
    }

    #[test]
    fn values_that_say_so_are_parked_and_all_others_done() {
        for (row, expected) in [
            (r#"{"key":"k","value":"1","pttl":60000}"#, "Completed"),
            (r#"{"key":"k","value":"","pttl":-1}"#, "Completed"),
            (r#"{"key":"k","value":"Processing","pttl":60000}"#, "Parked"),
            (r#"{"key":"k","value":"{\"status\":\"INPROGRESS\"}","pttl":60000}"#, "Parked"),
            (r#"{"key":"k","value":"{\"status\":\"COMPLETED\"}","pttl":60000}"#, "Completed"),
            (r#"{"key":"k","value":false,"pttl":-2}"#, "over"),
            (r#"{"key":"k","value":"1","pttl":0}"#, "over"),
            (r#"{"key":"k","value":"1","pttl":-3}"#, "`pttl` is no number"),
            (r#"{"key":"k","value":"1","pttl":"soon"}"#, "`pttl` is no number"),
            (r#"{"value":"1","pttl":1}"#, "no column names the key"),
        ] {
            check(row, expected);
        }
    }
}
