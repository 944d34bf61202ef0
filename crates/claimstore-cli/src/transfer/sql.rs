//! Rows of the tables in which applications keep idempotency keys and handled messages.
//!
//! Read are the names that the usual libraries and their descriptions give to columns: `idempotency_keys` as in Stripe's
//! design for Rails and its descendants (`idempotency_key`, `recovery_point`, `locked_at`, `response_code`,
//! `response_body`), inboxes of message handlers (`message_id`, `consumer`, `processed_at`), MassTransit's `InboxState`
//! (`MessageId`, `ConsumerId`, `Consumed`), NServiceBus's outbox (`MessageId`, `Dispatched`), Spring Modulith's
//! `event_publication` (`id`, `listener_id`, `completion_date`), and the job tables of queues (`id`, `state`).

use super::columns;
use super::reading::{Reading, Taken, as_json, import};
use super::row::Row;
use super::said::{Ended, Why, is_nothing};
use super::words;

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
const CODES: [&str; 4] = ["response_code", "response_status", "status_code", "http_status"];
const BODIES: [&str; 5] = ["response_body", "response", "body", "result", "output"];
const ERRORS: [&str; 3] = ["error", "error_message", "exception"];

/// A row of a table of idempotency keys.
pub(super) fn idempotency_key(reading: &Reading, row: &Row) -> Result<Taken, String> {
    let key = reading.key(row, &SCOPES, &["idempotency_key", "key", "request_id", "workflow_uuid", "id"])?;
    let ended = request_ended(reading, row)?;
    let import = import(key, &ended, response(row, &ended));
    let import = match digest(row) {
        Some(digest) => import.fingerprint(digest),
        None => import,
    };
    reading.taken(row, import, &ended)
}

/// A row of a table of handled messages.
pub(super) fn processed_message(reading: &Reading, row: &Row) -> Result<Taken, String> {
    let key = reading.key(row, &CONSUMERS, &["message_id", "event_id", "workflow_uuid", "id"])?;
    let (ended, is_assumed) = message_ended(reading, row)?;
    let body = match ended {
        // The body of a message that was not handled is the message.
        Ended::Not(_) => Vec::new(),
        Ended::Well | Ended::Badly => body(row, &ended).unwrap_or_default().to_vec(),
    };
    let taken = reading.taken(row, import(key, &ended, body), &ended)?;
    Ok(taken.assumed(is_assumed))
}

fn request_ended(reading: &Reading, row: &Row) -> Result<Ended, String> {
    let code = code(row)?;
    let by_code = |code: Option<u16>| match code {
        None | Some(200..=399) => Ended::Well,
        Some(400..=599) => Ended::Badly,
        // None of a response.
        Some(other) => Ended::Not(Why::Word(other.to_string())),
    };
    let point = row.bytes(&["recovery_point"]).map(|point| reading.language.word(point));
    if let Some(said) = point.or_else(|| reading.language.status(row)) {
        match said {
            Ended::Well => return Ok(by_code(code)),
            // What it does not say, a response or a time may.
            Ended::Not(Why::Unsaid) => {}
            ended => return Ok(ended),
        }
    }
    let marks = reading.language.marks(row)?;
    Ok(match marks {
        Some(Ended::Well) => by_code(code),
        Some(ended @ (Ended::Badly | Ended::Not(Why::Word(_) | Why::Both | Why::Denied))) => ended,
        _ if code.is_some() => by_code(code),
        Some(ended) => ended,
        None => match reading.language.doubt(row) {
            Some(why) => Ended::Not(why),
            None => by_response(reading, row),
        },
    })
}

/// What a response by itself says: that the work is done, unless it is empty or the word of a status, as it is written
/// before there is any.
fn by_response(reading: &Reading, row: &Row) -> Ended {
    if row.columns().any(|(name, value)| columns::is_held(name.plain()) && value.bytes().is_some()) {
        return Ended::Not(Why::Denied);
    }
    let mut bodies = BODIES.iter().filter_map(|name| row.bytes(&[*name])).peekable();
    let Some(first) = bodies.peek().copied() else { return Ended::Not(Why::Unsaid) };
    if bodies.any(|body| is_response(reading, body)) {
        return Ended::Well;
    }
    Ended::Not(Why::Response(String::from_utf8_lossy(first).trim().to_owned()))
}

/// Whether it is the response of work that was done.
fn is_response(reading: &Reading, body: &[u8]) -> bool {
    if let Ok(object) = Row::from_json(body, &reading.nulls) {
        let mut columns = object.columns();
        return match (columns.next(), columns.next()) {
            (None, _) => false,
            // A status and nothing else.
            (Some(_), None) => reading.language.status(&object).is_none_or(|said| said == Ended::Well),
            _ => true,
        };
    }
    // A text that was written as JSON is that text.
    let text = serde_json::from_slice::<String>(body);
    let text = text.unwrap_or_else(|_| String::from_utf8_lossy(body).trim().to_owned());
    let is_empty = is_nothing(&text) || text.split_whitespace().collect::<String>() == "[]";
    match reading.language.word(text.as_bytes()) {
        Ended::Well => true,
        Ended::Badly | Ended::Not(Why::InProgress(_)) => false,
        Ended::Not(_) => !is_empty && !is_word(&text),
    }
}

/// Whether it looks like the name of a status, or says no.
fn is_word(text: &str) -> bool {
    words::flag(text).map_or_else(|| words::is_name(text), |flag| !flag)
}

/// How the handling ended, and whether that is taken for granted.
fn message_ended(reading: &Reading, row: &Row) -> Result<(Ended, bool), String> {
    let status = reading.language.status(row);
    match status {
        None | Some(Ended::Not(Why::Unsaid)) => {}
        Some(ended) => return Ok((ended, false)),
    }
    let ended = match reading.language.marks(row)? {
        // Handled for the last time, and this is what came of it.
        Some(Ended::Well) if has_error(row) => Ended::Badly,
        Some(ended) => ended,
        None if status.is_some() => Ended::Not(Why::Unsaid),
        // A queue loses its rows when they are done.
        None if let Some(why) = reading.language.doubt(row) => Ended::Not(why),
        None if row.columns().any(|(name, _)| columns::is_sign_of_work(name.plain())) => {
            return Ok(reading.unsaid(Ended::Not(Why::Unsaid), Why::Unsaid));
        }
        // A table without any such column has a row when the message was handled, and none before.
        None => return Ok(reading.unsaid(Ended::Well, Why::Unsaid)),
    };
    Ok((ended, false))
}

fn has_error(row: &Row) -> bool {
    row.bytes(&ERRORS).is_some_and(|error| !matches!(error, b"{}" | b"[]"))
}

/// The code of the response; 0 is none.
fn code(row: &Row) -> Result<Option<u16>, String> {
    let Some(code) = row.text(&CODES) else { return Ok(None) };
    let code = code.trim().parse::<u16>().map_err(|_| "the code of the response is no number")?;
    Ok((code != 0).then_some(code))
}

fn body<'r>(row: &'r Row, ended: &Ended) -> Option<&'r [u8]> {
    let body = row.bytes(&BODIES);
    if *ended == Ended::Badly { body.or_else(|| row.bytes(&ERRORS)) } else { body }
}

/// The body as it is; beside a code, one JSON object of both.
fn response(row: &Row, ended: &Ended) -> Vec<u8> {
    let body = body(row, ended);
    let Ok(Some(code)) = code(row) else { return body.unwrap_or_default().to_vec() };
    let body = body.map_or_else(|| "null".into(), as_json);
    format!("{{\"response_code\":{code},\"response_body\":{body}}}").into_bytes()
}

/// A digest of 32 bytes in hex digits, as a fingerprint of the caller's own.
fn digest(row: &Row) -> Option<[u8; 32]> {
    let digits = row.bytes(&["request_hash", "request_fingerprint", "fingerprint", "params_hash"])?;
    claimstore_admin::from_hex(std::str::from_utf8(digits).ok()?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::foreign::record;
    use super::super::reading::Source;
    use super::super::row::Nulls;
    use super::super::said::Language;
    use super::super::time::Times;
    use super::super::words::{Given, Words};
    use super::*;

    fn check(source: Source, row: &str, expected: &str) {
        let words = Words::new(&Given::default()).unwrap();
        let reading = Reading {
            source,
            key: Vec::new(),
            ttl: None,
            nulls: Nulls::default(),
            language: Language { words, times: Times::default(), status: None },
            unsaid: None,
            now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        };
        let taken = record(&reading, &Row::from_json(row.as_bytes(), &reading.nulls).unwrap());
        let shown = taken.map_or_else(|error| error, |taken| format!("{:?}", taken.unwrap().import));
        assert!(shown.contains(expected), "{row}: {shown}");
    }

    /// Columns of a request beside its key, and what becomes of it.
    const REQUESTS: [(&str, &str); 57] = [
        (r#""recovery_point":"finished","response_code":201,"response_body":"{}""#, "Completed"),
        (r#""recovery_point":" FINISHED ""#, "Completed"),
        (r#""recovery_point":"finished","response_code":402"#, "Failed"),
        (r#""recovery_point":"charge_created","locked_at":"2026-01-01 00:00:00""#, "Parked"),
        (r#""recovery_point":"started","locked_at":null"#, "Parked"),
        (r#""recovery_point":null,"response_code":201"#, "Completed"),
        (r#""response_code":null,"response_body":null,"locked_at":"2026-01-01 00:00:00""#, "Parked"),
        (r#""response_code":0,"response_body":"""#, "Parked"),
        (r#""response_code":102"#, "Parked"),
        (r#""response_code":999"#, "Parked"),
        (r#""status":"COMPLETED""#, "Completed"),
        (r#""status":"completed","response_code":500"#, "Failed"),
        (r#""status":"Processing","response_code":200"#, "Parked"),
        (r#""status":"new","response_code":200"#, "Parked"),
        (r#""status":null,"response_code":200"#, "Completed"),
        (r#""status":null"#, "Parked"),
        (r#""status":"failed""#, "Failed"),
        (r#""response_body":{"id":7}"#, "Completed"),
        (r#""response_body":{"id":7},"completed_at":null"#, "Parked"),
        (r#""response_code":200,"completed_at":null"#, "Completed"),
        (r#""response_code":200,"completed":false"#, "Parked"),
        (r#""completed_at":"2026-01-01""#, "Completed"),
        (r#""completed_at":"0001-01-01T00:00:00Z""#, "Parked"),
        (r#""completed_at":0"#, "Parked"),
        (r#""completed_at":20261128"#, "`completed_at` is no time"),
        (r#""created_at":"2026-01-01""#, "Parked"),
        (r#""status":"pending","state":"done""#, "Parked"),
        (r#""state":"done","status":"pending","response_code":200"#, "Parked"),
        (r#""response_body":{}"#, "Parked"),
        (r#""response_body":"{ }""#, "Parked"),
        (r#""response_body":[]"#, "Parked"),
        (r#""response_body":" [ ] ""#, "Parked"),
        (r#""response_body":"null""#, "Parked"),
        (r#""response_body":"pending""#, "Parked"),
        (r#""response_body":"\"queued\"""#, "Parked"),
        (r#""response_body":"failed""#, "Parked"),
        (r#""response_body":"false""#, "Parked"),
        (r#""response_body":{"status":"pending"}"#, "Parked"),
        (r#""response_body":"done""#, "Completed"),
        (r#""response_body":{"status":"done"}"#, "Completed"),
        (r#""response_body":{"id":7,"status":"pending"}"#, "Completed"),
        (r#""response_body":"paid: 7""#, "Completed"),
        (r#""response_body":{},"result":{"id":7}"#, "Completed"),
        (r#""response_body":{},"response_code":200"#, "Completed"),
        (r#""response_body":{},"completed_at":"2026-01-01""#, "Completed"),
        (r#""response_body":{},"status":"done""#, "Completed"),
        (r#""response_body":{"id":7},"payment_status":"pending""#, "Parked"),
        (r#""response_body":{"id":7},"payment_status":"done""#, "Completed"),
        (r#""response_code":200,"payment_status":"pending""#, "Completed"),
        (r#""response_body":{"id":7},"is_pending":true"#, "Parked"),
        (r#""response_code":200,"processing":1"#, "Parked"),
        (r#""response_body":{"id":7},"locked_at":null"#, "Completed"),
        (r#""response_body":{"id":7},"locked_at":"2026-01-01""#, "Parked"),
        (r#""response_body":{"id":7},"next_attempt":"2026-01-01""#, "Parked"),
        (r#""response_body":{"id":7},"attempts":1"#, "Completed"),
        (r#""response_code":"abc""#, "the code of the response is no number"),
        (r#""response_code":200,"created_at":"soon""#, "`created_at` is no time"),
    ];

    #[test]
    fn requests_that_are_not_finished_are_parked() {
        for (row, state) in REQUESTS {
            check(Source::SqlIdempotencyKeys, &format!("{{\"idempotency_key\":\"k\",{row}}}"), state);
        }
        check(Source::SqlIdempotencyKeys, r#"{"request":"k"}"#, "no column names the key");
    }

    #[test]
    fn messages_that_were_not_handled_are_parked() {
        for (row, state) in [
            (r#""processed_at":"2026-01-01T00:00:00Z""#, "Completed"),
            (r#""processed_at":null"#, "Parked"),
            (r#""processed_at":"infinity""#, "Parked"),
            (r#""ProcessedOnUtc":null,"Error":null"#, "Parked"),
            (r#""ProcessedOnUtc":"2026-01-01","Error":null"#, "Completed"),
            (r#""ProcessedOnUtc":"2026-01-01","Error":"no such order""#, "Failed"),
            (r#""ConsumerId":"c","Consumed":null,"Received":"2026-01-01""#, "Parked"),
            (r#""ConsumerId":"c","Consumed":"2026-01-01","Delivered":null"#, "Completed"),
            (r#""Dispatched":true"#, "Completed"),
            (r#""Dispatched":false"#, "Parked"),
            (r#""Dispatched":0,"DispatchedAt":null"#, "Parked"),
            (r#""Dispatched":0,"DispatchedAt":"2026-01-01""#, "Parked"),
            (r#""is_processed":0,"processed_at":"2026-01-01""#, "Parked"),
            (r#""completed_at":"2026-01-01","failed_at":"2026-01-01""#, "Parked"),
            (r#""completed_at":null,"failed_at":"2026-01-01""#, "Failed"),
            (r#""status":"pending","processed_at":"2026-01-01""#, "Parked"),
            (r#""status":null,"processed_at":"2026-01-01""#, "Completed"),
            (r#""status":null,"processed_at":null"#, "Parked"),
            (r#""status":null"#, "Parked"),
            (r#""order_status":"new""#, "Parked"),
            (r#""us_state":"CA""#, "Completed"),
            (r#""locked_at":null"#, "Parked"),
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
            let row = Row::from_json(row.as_bytes(), &Nulls::default()).unwrap();
            assert_eq!(String::from_utf8(response(&row, &Ended::Well)).unwrap(), expected);
        }
    }
}
