//! Tables as other systems keep them, and in which state each of their rows lands.
//!
//! The columns and the words are those that the systems have; the rows are made up. Each enumeration is given in full.

mod jobs;
mod messages;

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::columns;
use super::foreign;
use super::reading::{Reading, Source, Unsaid};
use super::row::{self, Nulls, Row};
use super::said::Language;
use super::time::Times;
use super::words::{DONE, FAILED, Given, IN_PROGRESS, Unknown, Words};
use crate::record::{Syntax, fields};

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lands {
    Completed,
    Failed,
    Parked,
    /// Parked, with a word that is not known.
    Unknown,
}

use Lands::{Completed, Failed, Parked};

fn reading(source: Source, key: &str, done: &[&str]) -> Reading {
    let done = done.iter().map(|&word| word.to_owned()).collect();
    let words = Words::new(&Given { done, ..Given::default() }).unwrap();
    Reading {
        source,
        key: vec![key.to_owned()],
        ttl: None,
        nulls: Nulls::default(),
        language: Language { words, times: Times::default(), status: None },
        unsaid: None,
        now: UNIX_EPOCH + Duration::from_secs(1_795_262_400),
    }
}

fn lands(reading: &Reading, row: &Row) -> Lands {
    let taken = foreign::record(reading, row).unwrap().unwrap();
    let mut unknown = Unknown::default();
    taken.count_unknown(&mut unknown);
    match format!("{:?}", taken.import.state()).as_str() {
        "Completed" => Completed,
        "Failed" => Failed,
        "Parked" if unknown.is_empty() => Parked,
        "Parked" => Lands::Unknown,
        other => panic!("{other}"),
    }
}

/// Each row of a table of messages or jobs, `|` between its fields, lands where the table says.
fn check_with(done: &[&str], key: &str, header: &str, rows: &[(&str, Lands)]) {
    let reading = reading(Source::SqlProcessedMessages, key, done);
    check_rows(&reading, header, rows);
}

fn check(key: &str, header: &str, rows: &[(&str, Lands)]) {
    check_with(&[], key, header, rows);
}

fn delimited(reading: &Reading, header: &str, text: &str, delimiter: u8) -> Row {
    let syntax = Syntax::csv(delimiter);
    let names: Vec<_> =
        fields(header.as_bytes(), syntax).into_iter().map(|name| name.value.into_owned()).collect();
    Row::from_text(&row::header(&names).unwrap(), text.as_bytes(), syntax, &reading.nulls).unwrap()
}

fn check_rows(reading: &Reading, header: &str, rows: &[(&str, Lands)]) {
    for (text, expected) in rows {
        let row = delimited(reading, header, text, b'|');
        assert_eq!(lands(reading, &row), *expected, "{header}\n{text}");
    }
}

/// Records of the idempotency utility for AWS Lambda, as JSON.
#[test]
fn records_of_powertools() {
    let reading = reading(Source::SqlIdempotencyKeys, "id", &[]);
    for (status, expected) in [
        ("INPROGRESS", Parked),
        ("COMPLETED", Completed),
        ("COMPLETE", Completed),
        ("EXPIRED", Lands::Unknown),
    ] {
        let row = format!(
            r#"{{"id":"charge#7","status":"{status}","expiration":1795348800,"in_progress_expiration":1795262460000,"data":"{{}}","validation":""}}"#
        );
        let row = Row::from_json(row.as_bytes(), &reading.nulls).unwrap();
        assert_eq!(lands(&reading, &row), expected, "{status}");
    }
}

/// Tables that an application makes for itself.
#[test]
fn tables_of_ones_own() {
    let keys = reading(Source::SqlIdempotencyKeys, "idempotency_key", &[]);
    check_rows(
        &keys,
        "idempotency_key|request_path|request_hash|status|response_code|response_body|created_at|expires_at",
        &[
            ("k|/pay|5e|completed|201|{}|2026-11-20 10:00:00+00|2026-11-21 10:00:00+00", Completed),
            ("k|/pay|5e|completed|402|{}|2026-11-20 10:00:00+00|infinity", Failed),
            ("k|/pay|5e|processing|||2026-11-20 10:00:00+00|2026-11-21 10:00:00+00", Parked),
            ("k|/pay|5e|new|||2026-11-20 10:00:00+00|", Lands::Unknown),
            ("k|/pay|5e||0||2026-11-20 10:00:00+00|", Parked),
            ("k|/pay|5e||201|{}|2026-11-20 10:00:00+00|", Completed),
            ("k|/pay|5e|error|500||2026-11-20 10:00:00+00|", Failed),
        ],
    );
    check(
        "message_id",
        "subscriber_id|message_id|status|received_at|processed_at",
        &[
            ("s|m|received|2026-11-20 10:00:00|", Lands::Unknown),
            ("s|m|processed|2026-11-20 10:00:00|2026-11-20 10:00:01", Completed),
            ("s|m|failed|2026-11-20 10:00:00|2026-11-20 10:00:01", Failed),
            ("s|m||2026-11-20 10:00:00|2026-11-20 10:00:01", Completed),
            ("s|m||2026-11-20 10:00:00|", Parked),
            ("s|m|retrying|2026-11-20 10:00:00|2026-11-20 10:00:01", Lands::Unknown),
        ],
    );
}

/// Columns of an application's own, which may be of the work or of something else: none of them makes a row done.
#[test]
fn what_may_be_of_the_work_holds_a_row_for_review_where_nothing_says_that_it_is_done() {
    for column in [
        // A time of an end, or a flag, that is not there.
        "published_at= sent_at= delivered_at= acked_at= AckedAt=NULL last_sent_at= dispatched_at=0 is_sent= published=",
        "is_sent=0 IsPublished=false delivered=no sent_flag=f processed_at=",
        // Flags of work that waits, and negated ones.
        "is_pending=0 is_pending= processing=0 unsent=1 not_sent= is_unprocessed=",
        // The status of something else.
        "delivery_status=pending result_status=pending payment_status=pending order_state=pending OrderState=Pending",
        "outcome=failed delivery_status= stage=in_progress payment_status=failed",
        // Signs of work that waits.
        "next_attempt= next_retry_at=2026-11-20 lease_until= lock_token=7 attempts=0 retry_count=0 locked=",
    ]
    .into_iter()
    .flat_map(|line| line.split(' '))
    {
        check_column(column, Parked, Completed);
    }
    for column in [
        "stage=queued",
        "status_id=3",
        "StateId=1",
        "status_code=102",
        "delivery_status=new",
        "order_state=0",
    ] {
        check_column(column, Lands::Unknown, Completed);
    }
    // What says that the work is not done does so beside a time too.
    for column in [
        "processed_flag=N has_been_processed=0 IsDone=false not_processed=1 unprocessed=true is_not_done=yes incomplete=1",
        "is_pending=1 processing=1 IsProcessing=true in_progress=t queued=1 pending_flag=Y",
    ]
    .into_iter()
    .flat_map(|line| line.split(' '))
    {
        check_column(column, Parked, Parked);
    }
    for column in ["processed_flag=Y", "has_been_processed=1", "unprocessed=false", "not_processed=0"] {
        check_column(column, Completed, Completed);
    }
    for column in [
        "created_at=2026-11-20 updated_at= payload= response_code=102 http_status=102 is_active=0 deleted_at= lock_version=1",
        "us_state=CA sent_at=2026-11-20 is_sent=1 payment_status=done unsent=0 priority=0 has_items=0 next_page=",
    ]
    .into_iter()
    .flat_map(|line| line.split(' '))
    {
        check_column(column, Completed, Completed);
    }
}

/// How a message lands of which a column says so much: by itself, and beside the time when it was handled.
fn check_column(column: &str, alone: Lands, beside: Lands) {
    let (name, value) = column.split_once('=').unwrap();
    check("id", &format!("id|topic|{name}"), &[(&format!("7|orders|{value}"), alone)]);
    check("id", &format!("{name}|topic|id"), &[(&format!("{value}|orders|7"), alone)]);
    if name != "processed_at" {
        let row = format!("7|{value}|2026-11-20 10:00:00");
        check("id", &format!("id|{name}|processed_at"), &[(&row, beside)]);
    }
}

/// In whatever order they stand.
#[test]
fn two_statuses_that_disagree_hold_a_row_for_review() {
    for (one, other, expected) in [
        ("status=pending", "state=done", Parked),
        ("status=failed", "state=done", Parked),
        ("status=done", "job_status=running", Parked),
        ("status=failed", "state=pending", Parked),
        ("status=done", "state=3", Lands::Unknown),
        ("status=new", "job_state=pending", Lands::Unknown),
        ("status=done", "state=completed", Completed),
        ("status=", "state=done", Completed),
        ("status=failed", "state=error", Failed),
        ("status=done", "payment_status=pending", Completed),
        ("delivery_status=pending", "order_state=7", Lands::Unknown),
    ] {
        let ((name, value), (name_2, value_2)) =
            (one.split_once('=').unwrap(), other.split_once('=').unwrap());
        check("id", &format!("id|{name}|{name_2}"), &[(&format!("7|{value}|{value_2}"), expected)]);
        check("id", &format!("id|{name_2}|{name}"), &[(&format!("7|{value_2}|{value}"), expected)]);
    }
}

/// A table that gets a row when a message was handled; the command line may say otherwise, of a queue too.
#[test]
fn a_table_that_says_nothing_is_taken_as_the_command_line_has_it() {
    for (unsaid, handled, waiting) in [
        (None, (Completed, true), (Parked, false)),
        (Some(Unsaid::Done), (Completed, true), (Completed, true)),
        (Some(Unsaid::Park), (Parked, false), (Parked, false)),
    ] {
        let reading = Reading { unsaid, ..reading(Source::SqlProcessedMessages, "id", &[]) };
        for (header, row, expected) in [
            ("id|topic|created_at", "7|orders|2026-11-20 10:00:00", handled),
            ("id|topic|locked_at", "7|orders|", waiting),
            ("id|topic|attempts", "7|orders|3", waiting),
            ("id|topic|is_sent", "7|orders|0", (Parked, false)),
            ("id|topic|sent_at", "7|orders|2026-11-20 10:00:00", handled),
            ("id|topic|payment_status", "7|orders|done", handled),
            ("id|topic|status", "7|orders|", (Parked, false)),
            ("id|topic|processed_at", "7|orders|", (Parked, false)),
            ("id|topic|status", "7|orders|done", (Completed, false)),
        ] {
            let row = delimited(&reading, header, row, b'|');
            let taken = foreign::record(&reading, &row).unwrap().unwrap();
            assert_eq!((lands(&reading, &row), taken.is_assumed), expected, "{unsaid:?} {header}");
        }
    }
}

/// Words that say nothing by themselves.
const UNKNOWN: [&str; 24] = [
    "enqueued",
    "delayed",
    "new",
    "queued",
    "retrying",
    "retry",
    "scheduled",
    "available",
    "executing",
    "retryable",
    "received",
    "handled",
    "sent",
    "accepted",
    "ok",
    "expired",
    "deleted",
    "skipped",
    "0",
    "1",
    "2",
    "n",
    "f",
    "false",
];
const COLUMNS: [&str; 8] = [
    "status",
    "State",
    "STATUS",
    "StatusName",
    "job_state",
    "message_status",
    "workflow-status",
    "current status",
];

fn spellings(word: &str) -> Vec<String> {
    let title = word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    [word.to_owned(), word.to_uppercase(), title]
        .into_iter()
        .flat_map(|word| [word.clone(), format!(" {word}"), format!("{word}  "), format!("\t{word}\u{a0}")])
        .collect()
}

/// Every word in every spelling, in every column, of every source, as JSON and as delimited text.
#[test]
fn a_status_lands_alike_wherever_it_stands() {
    let lists = [
        (&DONE[..], Completed),
        (&FAILED[..], Failed),
        (&IN_PROGRESS[..], Parked),
        (&UNKNOWN[..], Lands::Unknown),
    ];
    let mut checked = 0;
    for source in [Source::SqlIdempotencyKeys, Source::SqlProcessedMessages, Source::Redis] {
        let reading = reading(source, "key", &[]);
        for (word, expected) in
            lists.iter().flat_map(|(list, lands)| list.iter().map(move |word| (word, *lands)))
        {
            for (spelled, column) in
                spellings(word).iter().flat_map(|word| COLUMNS.map(|column| (word, column)))
            {
                let object = serde_json::json!({ column: spelled, "key": "k", "processed_at": "2026-11-20" });
                let row = match source {
                    Source::Redis => {
                        serde_json::json!({ "key": "k", "value": object.to_string(), "pttl": -1 })
                    }
                    _ => object,
                };
                let row = Row::from_json(row.to_string().as_bytes(), &reading.nulls).unwrap();
                assert_eq!(lands(&reading, &row), expected, "{source:?} {column} {spelled:?}");
                checked += 1;
                if source != Source::Redis {
                    let header = format!("processed_at;{column};key");
                    check_csv(&reading, &header, &format!("2026-11-20;\"{spelled}\";k"), expected);
                }
            }
        }
    }
    assert_eq!(
        checked,
        3 * (DONE.len() + FAILED.len() + IN_PROGRESS.len() + UNKNOWN.len()) * 12 * COLUMNS.len()
    );
}

fn check_csv(reading: &Reading, header: &str, row: &str, expected: Lands) {
    let row = delimited(reading, header, row, b';');
    assert_eq!(lands(reading, &row), expected, "{header}");
}

proptest! {
    /// Whatever stands in whatever columns: a row is only done if a word, a flag or a time in it says so.
    #[test]
    fn nothing_is_done_that_does_not_say_so(
        fields in prop::collection::btree_map(
            prop::sample::select(vec![
                "status", "state", "processed_at", "ProcessedOnUtc", "consumed", "dispatched", "completed_at", "is_done",
                "failed_at", "locked_at", "run_at", "error", "recovery_point", "topic", "sent_at", "is_published", "acked",
                "is_pending", "processing", "order_status", "status_id", "outcome", "next_attempt", "attempts",
            ]),
            prop::sample::select(vec![
                "", "NULL", "0", "N", "F", "false", "0001-01-01", "0001-01-01T00:00:00Z", "infinity", "9999-12-31", "new",
                "ENQUEUED", "retrying", "pending", "failed", "in progress", "  ", "{}", "[]", "null",
            ]),
            1..6,
        ),
        is_request: bool,
    ) {
        let source = if is_request { Source::SqlIdempotencyKeys } else { Source::SqlProcessedMessages };
        let reading = reading(source, "key", &[]);
        let (mut header, mut text) = ("key".to_owned(), "k".to_owned());
        for (name, value) in &fields {
            write!(header, "|{name}").unwrap();
            write!(text, "|{value}").unwrap();
        }
        let row = delimited(&reading, &header, &text, b'|');
        if let Ok(taken) = foreign::record(&reading, &row) {
            let state = format!("{:?}", taken.unwrap().import.state());
            // A table of handled messages without any column that could say so has a row for each of them.
            let says_nothing = fields.keys().all(|shown| {
                let name = row::normal(shown);
                let says = columns::is_status(&name) || columns::says_done(&name).is_some();
                let may_say = columns::is_other_status(&name, shown) || columns::is_end(&name);
                let waits = columns::is_waiting(&name) || columns::is_sign_of_work(&name);
                !says && !may_say && !waits && columns::says_failed(&name).is_none()
            });
            prop_assert!(state != "Completed" || (says_nothing && !is_request), "{header}\n{text}");
        }
    }
}
