//! Rows of the tables in which applications keep idempotency keys and handled messages.
//!
//! Read are the names that the usual libraries and their descriptions give to columns: `idempotency_keys` as in Stripe's
//! design for Rails and its descendants (`idempotency_key`, `recovery_point`, `locked_at`, `response_code`,
//! `response_body`), inboxes of message handlers (`message_id`, `consumer`, `processed_at`), MassTransit's `InboxState`
//! (`MessageId`, `ConsumerId`, `Consumed`), NServiceBus's outbox (`MessageId`, `Dispatched`), Spring Modulith's
//! `event_publication` (`id`, `listener_id`, `completion_date`).

use claimstore::Import;

use super::foreign::{Reading, as_json};
use super::row::{Row, Value};

/// What the note of a key says whose row does not say that the work is done.
const UNSETTLED: &str = "was in progress when it was imported";

const SCOPES: [&str; 4] = ["user_id", "account_id", "tenant_id", "scope"];
const CONSUMERS: [&str; 11] = [
    "consumer",
    "consumer_id",
    "consumer_name",
    "consumer_group",
    "handler",
    "handler_name",
    "handler_id",
    "listener_id",
    "subscriber",
    "subscriber_id",
    "subscription",
];
const STATUSES: [&str; 2] = ["status", "state"];
const CODES: [&str; 4] = ["response_code", "response_status", "status_code", "http_status"];
const BODIES: [&str; 4] = ["response_body", "response", "body", "result"];
const SETTLED: [&str; 9] = [
    "completed_at",
    "finished_at",
    "processed_at",
    "handled_at",
    "consumed",
    "consumed_at",
    "dispatched_at",
    "completion_date",
    "updated_at",
];
/// Times and flags whose absence in a row that has the column says that the work is not done.
const DONE_MARKS: [&str; 7] = [
    "processed_at",
    "completed_at",
    "handled_at",
    "consumed",
    "consumed_at",
    "completion_date",
    "dispatched",
];

/// How the work of a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Not,
    Well,
    Badly,
}

/// A row of a table of idempotency keys.
pub(super) fn idempotency_key(reading: &Reading, row: &Row) -> Result<Import, String> {
    let key = reading.key(row, &SCOPES, &["idempotency_key", "key", "request_id", "id"])?;
    let response = response(row);
    let import = match request_ended(reading, row)? {
        Ended::Not => Import::parked(key, UNSETTLED).progress(response),
        Ended::Well => Import::completed(key, response),
        Ended::Badly => Import::failed(key, response),
    };
    let import = match digest(row) {
        Some(digest) => import.fingerprint(digest),
        None => import,
    };
    reading.with_times(row, import, &SETTLED)
}

/// A row of a table of handled messages.
pub(super) fn processed_message(reading: &Reading, row: &Row) -> Result<Import, String> {
    let key = reading.key(row, &CONSUMERS, &["message_id", "event_id", "id"])?;
    let import = match message_ended(reading, row) {
        Ended::Not => Import::parked(key, UNSETTLED),
        Ended::Well => Import::completed(key, row.bytes(&BODIES).unwrap_or_default()),
        Ended::Badly => Import::failed(key, row.bytes(&BODIES).unwrap_or_default()),
    };
    reading.with_times(row, import, &SETTLED)
}

fn request_ended(reading: &Reading, row: &Row) -> Result<Ended, String> {
    let code = match row.text(&CODES) {
        Some(code) => Some(code.parse::<u16>().map_err(|_| "the code of the response is no number")?),
        None => None,
    };
    let by_code = if code.is_some_and(|code| code >= 400) { Ended::Badly } else { Ended::Well };
    if let Some(point) = row.bytes(&["recovery_point"]) {
        return Ok(if point.eq_ignore_ascii_case(b"finished") { by_code } else { Ended::Not });
    }
    Ok(match status(reading, row) {
        Some(Ended::Well) => by_code,
        Some(ended) => ended,
        None if code.is_some() || row.bytes(&BODIES).is_some() => by_code,
        None if row.bytes(&["completed_at", "finished_at"]).is_some() => by_code,
        None => Ended::Not,
    })
}

fn message_ended(reading: &Reading, row: &Row) -> Ended {
    if let Some(ended) = status(reading, row) {
        return ended;
    }
    let marks: Vec<&Value> = DONE_MARKS.iter().filter_map(|name| row.find(&[*name])).collect();
    let is_set =
        |mark: &&Value| !matches!(mark.bytes(), None | Some(b"0" | b"f" | b"false" | b"False" | b"FALSE"));
    // A table without such columns has a row when the message was handled, and none before.
    if marks.is_empty() || marks.iter().any(is_set) { Ended::Well } else { Ended::Not }
}

fn status(reading: &Reading, row: &Row) -> Option<Ended> {
    let status = row.bytes(&STATUSES)?;
    if reading.is_in_progress(status) {
        return Some(Ended::Not);
    }
    let failed = [&b"failed"[..], b"failure", b"error"].iter().any(|word| status.eq_ignore_ascii_case(word));
    Some(if failed { Ended::Badly } else { Ended::Well })
}

/// The body as it is; beside a code, one JSON object of both.
fn response(row: &Row) -> Vec<u8> {
    let body = row.bytes(&BODIES);
    let Some(code) = row.text(&CODES).and_then(|code| code.parse::<u16>().ok()) else {
        return body.unwrap_or_default().to_vec();
    };
    let body = body.map_or_else(|| "null".into(), as_json);
    format!("{{\"response_code\":{code},\"response_body\":{body}}}").into_bytes()
}

/// A digest of 32 bytes in hex digits, as a fingerprint of the caller's own.
fn digest(row: &Row) -> Option<[u8; 32]> {
    let digits = row.bytes(&["request_hash", "request_fingerprint", "fingerprint", "params_hash"])?;
    crate::target::from_hex(digits).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::foreign::{IN_PROGRESS, Source};
    use super::*;

    fn check(source: Source, row: &str, expected: &str) {
        let reading = Reading {
            source,
            key: Vec::new(),
            ttl: None,
            in_progress: IN_PROGRESS.map(str::to_owned).into(),
            now: UNIX_EPOCH + Duration::from_secs(1),
        };
        let import = reading.record(&Row::from_json(row.as_bytes()).unwrap());
        let shown = import.map_or_else(|error| error, |import| format!("{:?}", import.unwrap()));
        assert!(shown.contains(expected), "{row}: {shown}");
    }

    #[test]
    fn requests_that_are_not_finished_are_parked() {
        for (row, state) in [
            (r#""recovery_point":"finished","response_code":201,"response_body":"{}""#, "Completed"),
            (r#""recovery_point":"finished","response_code":402"#, "Failed"),
            (r#""recovery_point":"charge_created","locked_at":"2026-01-01 00:00:00""#, "Parked"),
            (r#""recovery_point":"started","locked_at":null"#, "Parked"),
            (r#""response_code":null,"response_body":null,"locked_at":"2026-01-01 00:00:00""#, "Parked"),
            (r#""status":"COMPLETED""#, "Completed"),
            (r#""status":"completed","response_code":500"#, "Failed"),
            (r#""status":"Processing","response_code":200"#, "Parked"),
            (r#""status":"failed""#, "Failed"),
            (r#""response_body":{"id":7}"#, "Completed"),
            (r#""completed_at":"2026-01-01""#, "Completed"),
            (r#""created_at":"2026-01-01""#, "Parked"),
            (r#""response_code":"abc""#, "the code of the response is no number"),
            (r#""response_code":200,"created_at":"soon""#, "`created_at` is no time"),
        ] {
            check(Source::SqlIdempotencyKeys, &format!("{{\"idempotency_key\":\"k\",{row}}}"), state);
        }
        check(Source::SqlIdempotencyKeys, r#"{"request":"k"}"#, "no column names the key");
    }

    #[test]
    fn messages_that_were_not_handled_are_parked() {
        for (row, state) in [
            (r#""processed_at":"2026-01-01T00:00:00Z""#, "Completed"),
            (r#""processed_at":null"#, "Parked"),
            (r#""ConsumerId":"c","Consumed":null,"Received":"2026-01-01""#, "Parked"),
            (r#""ConsumerId":"c","Consumed":"2026-01-01","Delivered":null"#, "Completed"),
            (r#""Dispatched":true"#, "Completed"),
            (r#""Dispatched":false"#, "Parked"),
            (r#""Dispatched":0,"DispatchedAt":null"#, "Parked"),
            (r#""status":"pending","processed_at":"2026-01-01""#, "Parked"),
            (r#""topic":"orders""#, "Completed"),
        ] {
            check(Source::SqlProcessedMessages, &format!("{{\"MessageId\":\"m\",{row}}}"), state);
        }
    }

    #[test]
    fn a_response_with_a_code_is_one_object() {
        for (row, expected) in [
            (
                r#"{"response_code":201,"response_body":{"id":7}}"#,
                r#"{"response_code":201,"response_body":{"id":7}}"#,
            ),
            (
                r#"{"response_code":"201","response_body":"{\"id\":7}"}"#,
                r#"{"response_code":201,"response_body":{"id":7}}"#,
            ),
            (r#"{"response_code":204}"#, r#"{"response_code":204,"response_body":null}"#),
            (
                r#"{"response_code":200,"response_body":"say \"hi\""}"#,
                r#"{"response_code":200,"response_body":"say \"hi\""}"#,
            ),
            (r#"{"response_body":"plain"}"#, "plain"),
            ("{}", ""),
        ] {
            let row = Row::from_json(row.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(response(&row)).unwrap(), expected);
        }
    }
}
