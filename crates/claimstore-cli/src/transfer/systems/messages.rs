//! Inboxes and outboxes of message handlers.

use super::*;

#[test]
fn the_inbox_of_mass_transit() {
    let header = "Id|MessageId|ConsumerId|LockId|RowVersion|Received|ReceiveCount|ExpirationTime|Consumed|Delivered|\
                  LastSequenceNumber";
    for (consumed, delivered, lands) in [
        ("NULL", "NULL", Parked),
        ("", "", Parked),
        ("0001-01-01 00:00:00.0000000", "NULL", Parked),
        ("2026-11-20 10:00:01.1234567", "NULL", Completed),
        ("2026-11-20 10:00:01.1234567", "2026-11-20 10:00:02.1234567", Completed),
    ] {
        let row = format!(
            "7|m-7|c-1|l-1|0x00000000000007D1|2026-11-20 10:00:00.1234567|1|NULL|{consumed}|{delivered}|NULL"
        );
        check("MessageId", header, &[(&row, lands)]);
    }
}

#[test]
fn the_outbox_of_nservicebus() {
    let header = "MessageId|Dispatched|DispatchedAt|PersistenceVersion|Operations";
    for (flags, at, lands) in [
        ("0 f F false False FALSE N no NULL", "NULL", Parked),
        ("0 f F false False FALSE N no NULL", "", Parked),
        ("1 t T true True TRUE Y yes", "2026-11-20 10:00:01.123", Completed),
        ("2 maybe", "NULL", Lands::Unknown),
    ] {
        for flag in flags.split(' ').chain(if lands == Parked { ["\0", "0001-01-01"] } else { ["", ""] }) {
            let row = format!("m-7|{flag}|{at}|8.2.0.0|[]");
            if !flag.is_empty() || lands == Parked {
                check("MessageId", header, &[(&row, lands)]);
            }
        }
    }
}

#[test]
fn publications_of_spring_modulith() {
    let header = "id|listener_id|event_type|serialized_event|publication_date|completion_date|status|completion_attempts|\
                  last_resubmission_date";
    for (completion_date, status, lands) in [
        ("", "PUBLISHED", Lands::Unknown),
        ("", "PROCESSING", Parked),
        ("", "RESUBMITTED", Lands::Unknown),
        ("", "FAILED", Failed),
        ("2026-11-20 10:00:01.5+00", "COMPLETED", Completed),
        // Of a version without the column of the status.
        ("2026-11-20 10:00:01.5+00", "", Completed),
        ("", "", Parked),
    ] {
        let row = format!("7|l-1|OrderPaid|{{}}|2026-11-20 10:00:00.5+00|{completion_date}|{status}|1|");
        check("id", header, &[(&row, lands)]);
    }
}

#[test]
fn messages_received_by_cap() {
    let header = "Id|Version|Name|Group|Content|Retries|Added|ExpiresAt|StatusName";
    for (status, expires_at, lands) in [
        ("Scheduled", "NULL", Lands::Unknown),
        ("Failed", "2026-12-20 10:00:00", Failed),
        ("Succeeded", "2026-11-30 10:00:00", Completed),
    ] {
        let row = format!("7|v1|order.paid|shop|{{}}|0|2026-11-20 10:00:00|{expires_at}|{status}");
        check("Id", header, &[(&row, lands)]);
    }
}

#[test]
fn envelopes_of_wolverine() {
    let header = "id|status|owner_id|execution_time|attempts|body|message_type|received_at|keep_until";
    let row = |status: &str| {
        format!("7|{status}|0|NULL|0|\\x7b7d|OrderPaid|rabbitmq://queue/orders|2026-12-20 10:00:00+00")
    };
    for status in ["Incoming", "Scheduled", "Handled"] {
        check("id", header, &[(&row(status), Lands::Unknown)]);
    }
    check_with(&["handled"], "id", header, &[(&row("Handled"), Completed)]);
}

#[test]
fn an_outbox_with_the_time_it_was_processed() {
    let header = "Id|Type|Content|OccurredOnUtc|ProcessedOnUtc|Error";
    check(
        "Id",
        header,
        &[
            ("7|OrderPaid|{}|2026-11-20T10:00:00Z||", Parked),
            ("7|OrderPaid|{}|2026-11-20T10:00:00Z|0001-01-01T00:00:00Z|", Parked),
            ("7|OrderPaid|{}|2026-11-20T10:00:00Z|2026-11-20T10:00:01Z|", Completed),
            ("7|OrderPaid|{}|2026-11-20T10:00:00Z|2026-11-20T10:00:01Z|no such order", Failed),
        ],
    );
}
