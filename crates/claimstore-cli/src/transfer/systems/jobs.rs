//! Tables of jobs and workflows.

use super::*;

#[test]
fn workflows_of_dbos() {
    let header = "workflow_uuid|status|name|authenticated_user|assumed_role|authenticated_roles|output|error|executor_id|\
                  created_at|updated_at|application_version|application_id|class_name|config_name|recovery_attempts|queue_name|\
                  workflow_timeout_ms|workflow_deadline_epoch_ms|started_at_epoch_ms|deduplication_id|inputs|priority";
    let row = |status: &str, output: &str, error: &str| {
        format!(
            "w-{status}|{status}|charge||||{output}|{error}|local|1795168800000|1795168801000|v1||Shop|prod|1|charges|60000|\
             1795168860000|1795168800500||{{}}|0"
        )
    };
    let rows = [
        (row("PENDING", "", ""), Parked),
        (row("SUCCESS", "{\"ok\":1}", ""), Completed),
        (row("ERROR", "", "declined"), Failed),
        (row("CANCELLED", "", ""), Failed),
        (row("ENQUEUED", "", ""), Lands::Unknown),
        (row("DELAYED", "", ""), Lands::Unknown),
        (row("MAX_RECOVERY_ATTEMPTS_EXCEEDED", "", ""), Lands::Unknown),
        (row("RETRIES_EXCEEDED", "", ""), Lands::Unknown),
    ];
    let rows: Vec<_> = rows.iter().map(|(row, lands)| (row.as_str(), *lands)).collect();
    check("workflow_uuid", header, &rows);
    // As requests they land where they do as messages.
    check_rows(&reading(Source::SqlIdempotencyKeys, "workflow_uuid", &[]), header, &rows);
}

#[test]
fn jobs_of_oban() {
    let header = "id|state|queue|worker|args|meta|tags|errors|attempt|max_attempts|priority|inserted_at|scheduled_at|\
                  attempted_at|attempted_by|completed_at|discarded_at|cancelled_at";
    let rows = [
        "available|||",
        "scheduled|||",
        "suspended|||",
        "executing|||",
        "retryable|||",
        "completed|2026-11-20 10:00:02.123456||",
        "discarded||2026-11-20 10:00:02|",
        "cancelled|||2026-11-20 10:00:02",
    ];
    let lands = [
        Lands::Unknown,
        Lands::Unknown,
        Lands::Unknown,
        Lands::Unknown,
        Lands::Unknown,
        Completed,
        Failed,
        Failed,
    ];
    for (row, lands) in rows.into_iter().zip(lands) {
        let (state, times) = row.split_once('|').unwrap();
        let row = format!(
            "7|{state}|mail|Shop.Mail|{{}}|{{}}|{{}}|{{}}|1|20|0|2026-11-20 10:00:00.000001|2026-11-20 10:00:00|\
             2026-11-20 10:00:01|{{}}|{times}"
        );
        check("id", header, &[(&row, lands)]);
    }
}

#[test]
fn jobs_of_river() {
    let header = "id|state|attempt|max_attempts|attempted_at|created_at|finalized_at|scheduled_at|priority|args|attempted_by|\
                  errors|kind|metadata|queue|tags|unique_key|unique_states";
    for (state, finalized_at, lands) in [
        ("available", r"\N", Lands::Unknown),
        ("pending", r"\N", Parked),
        ("retryable", r"\N", Lands::Unknown),
        ("running", r"\N", Parked),
        ("scheduled", r"\N", Lands::Unknown),
        ("completed", "2026-11-20 10:00:02.5+00", Completed),
        ("discarded", "2026-11-20 10:00:02.5+00", Failed),
        ("cancelled", "2026-11-20 10:00:02.5+00", Failed),
    ] {
        let row = format!(
            r"7|{state}|1|25|2026-11-20 10:00:01+00|2026-11-20 10:00:00+00|{finalized_at}|2026-11-20 10:00:00+00|1|{{}}|\N|\N|mail|{{}}|default|{{}}|\N|\N"
        );
        check("id", header, &[(&row, lands)]);
    }
}

/// The words that sidekiq-status keeps with each job, as JSON in a value of Redis.
#[test]
fn jobs_of_sidekiq() {
    let reading = reading(Source::Redis, "key", &[]);
    for (status, expected) in [
        ("queued", Lands::Unknown),
        ("working", Lands::Unknown),
        ("retrying", Lands::Unknown),
        ("interrupted", Lands::Unknown),
        ("stopped", Lands::Unknown),
        ("complete", Completed),
        ("failed", Failed),
    ] {
        let value = format!(
            r#"{{"status":"{status}","jid":"b4a577edbccf1d805744efa9","worker":"Mail","updated_at":"1795168800"}}"#
        );
        for value in [value, status.to_owned()] {
            let row =
                serde_json::json!({ "key": "sidekiq:status:7", "value": value, "pttl": 60_000 }).to_string();
            let row = Row::from_json(row.as_bytes(), &reading.nulls).unwrap();
            assert_eq!(lands(&reading, &row), expected, "{value}");
        }
    }
}

#[test]
fn jobs_of_pg_boss() {
    let header = "id|name|priority|data|state|retry_limit|retry_count|start_after|started_on|singleton_key|expire_in|\
                  created_on|completed_on|keep_until|output";
    for (state, completed_on, lands) in [
        ("created", "", Lands::Unknown),
        ("retry", "", Lands::Unknown),
        ("active", "", Lands::Unknown),
        ("expired", "", Lands::Unknown),
        ("completed", "2026-11-20 10:00:02.1+00", Completed),
        ("cancelled", "2026-11-20 10:00:02.1+00", Failed),
        ("failed", "2026-11-20 10:00:02.1+00", Failed),
    ] {
        let row = format!(
            "7|mail|0|{{}}|{state}|2|0|2026-11-20 10:00:00+00|2026-11-20 10:00:01+00||00:15:00|2026-11-20 10:00:00+00|\
             {completed_on}|2026-12-04 10:00:00+00|"
        );
        check("id", header, &[(&row, lands)]);
    }
}

#[test]
fn jobs_of_hangfire() {
    let header = "Id|StateId|StateName|InvocationData|Arguments|CreatedAt|ExpireAt";
    for (state, lands) in [
        ("Enqueued", Lands::Unknown),
        ("Scheduled", Lands::Unknown),
        ("Awaiting", Lands::Unknown),
        ("Processing", Parked),
        ("Deleted", Lands::Unknown),
        ("Succeeded", Completed),
        ("Failed", Failed),
    ] {
        let row = format!("7|12|{state}|{{}}|[]|2026-11-20 10:00:00.000|NULL");
        check("Id", header, &[(&row, lands)]);
    }
}

/// `date_done` says when the row was last written, whatever its status.
#[test]
fn results_of_celery() {
    let header = "id|task_id|status|result|date_done|traceback|date_created";
    for (status, lands) in [
        ("PENDING", Parked),
        ("RECEIVED", Lands::Unknown),
        ("STARTED", Parked),
        ("RETRY", Lands::Unknown),
        ("REVOKED", Lands::Unknown),
        ("REJECTED", Lands::Unknown),
        ("IGNORED", Lands::Unknown),
        ("SUCCESS", Completed),
        ("FAILURE", Failed),
    ] {
        let row = format!("7|t-7|{status}|null|2026-11-20 10:00:02.5+00|NULL|2026-11-20 10:00:00+00");
        check("task_id", header, &[(&row, lands)]);
    }
}

/// Tables of work that waits, and loses its rows when it is done; and one of work that failed.
#[test]
fn queues_without_a_status() {
    check(
        "id",
        "id|priority|attempts|handler|last_error|run_at|locked_at|failed_at|locked_by|queue|created_at|updated_at",
        &[
            ("7|0|0|--- mail|||||||2026-11-20 10:00:00|2026-11-20 10:00:00", Parked),
            ("7|0|3|--- mail|no|2026-11-20 10:00:00||2026-11-20 10:00:00||||", Failed),
        ],
    );
    check(
        "id",
        "id|queue|payload|attempts|reserved_at|available_at|created_at",
        &[("7|default|{}|0||1795168800|1795168800", Parked)],
    );
    check(
        "uuid",
        "id|uuid|connection|queue|payload|exception|failed_at",
        &[("7|u-7|database|default|{}|RuntimeException|2026-11-20 10:00:00", Failed)],
    );
    check(
        "id",
        "id|queue_name|priority|serialized_params|scheduled_at|performed_at|finished_at|error|created_at|updated_at|job_class",
        &[
            ("7|mail|0|{}|||||2026-11-20 10:00:00|2026-11-20 10:00:00|Mail", Parked),
            (
                "7|mail|0|{}||2026-11-20 10:00:01||StandardError: no|2026-11-20 10:00:00|2026-11-20 10:00:00|Mail",
                Parked,
            ),
            (
                "7|mail|0|{}||2026-11-20 10:00:01|2026-11-20 10:00:02||2026-11-20 10:00:00|2026-11-20 10:00:00|Mail",
                Completed,
            ),
            (
                "7|mail|0|{}||2026-11-20 10:00:01|2026-11-20 10:00:02|StandardError: no|2026-11-20 10:00:00|2026-11-20 10:00:00|Mail",
                Failed,
            ),
        ],
    );
}
