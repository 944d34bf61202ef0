//! What the columns of other keepers' tables are called.
//!
//! Names come as [`normal`](super::row::normal) writes them. A column that tells of the work is named by a stem and by
//! what it holds: `processed`, `is_processed`, `processed_at`, `processed_on_utc`, `date_processed`.

/// Stems of columns that say that the work is done. The first that is set says when.
const DONE: [&str; 11] = [
    "completed",
    "completion",
    "complete",
    "finished",
    "processed",
    "handled",
    "consumed",
    "dispatched",
    "succeeded",
    "success",
    "done",
];
/// Stems of columns that say that it failed for good.
const FAILED: [&str; 5] = ["failed", "discarded", "cancelled", "canceled", "dead"];
/// Stems of columns that say when the work was last touched, where none of the others is set.
const TOUCHED: [&str; 3] = ["finalized", "updated", "modified"];
/// Stems of columns that say when it began.
const BEGUN: [&str; 7] = ["created", "inserted", "received", "creation", "publication", "enqueued", "added"];
/// Stems of columns that say until when the key is remembered.
const END: [&str; 6] = ["expires", "expiration", "expiry", "expire", "validuntil", "keepuntil"];

/// What may stand behind the stem of a time.
const SUFFIXES: [&str; 10] =
    ["at", "on", "date", "time", "timestamp", "datetime", "utc", "ts", "epoch", "ms"];

/// What may stand before `status` and `state`. Others are of the order or of its payment, not of the work.
const STATUS_OF: [&str; 20] = [
    "",
    "job",
    "message",
    "msg",
    "event",
    "task",
    "workflow",
    "run",
    "execution",
    "process",
    "processing",
    "handling",
    "request",
    "record",
    "row",
    "current",
    "inbox",
    "outbox",
    "idempotency",
    "consumer",
];

/// Columns of work that waits or is going on. A table that has one keeps rows of work that is not done.
const SIGNS_OF_WORK: [&str; 18] = [
    "lockedat",
    "lockedby",
    "lockeduntil",
    "lockexpiresat",
    "runat",
    "reservedat",
    "availableat",
    "startedat",
    "claimedat",
    "claimedby",
    "scheduledat",
    "scheduledfor",
    "nextattemptat",
    "nextretryat",
    "nextrunat",
    "visibleat",
    "leaseduntil",
    "leaseexpiresat",
];

/// What a column holds that says that the work is done, or that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A flag, a time or a word.
    Any,
    /// The time when it was.
    Time,
}

/// What the column says of the work, if its name says that it says so.
pub(super) fn says_done(name: &str) -> Option<Holds> {
    // When work was dispatched says that it began, unless it is work that consists in that.
    holds(name, &DONE).filter(|holds| !(name.starts_with("dispatched") && *holds == Holds::Time))
}

pub(super) fn says_failed(name: &str) -> Option<Holds> {
    holds(name, &FAILED)
}

/// Whether the column says how the work stands.
pub(super) fn is_status(name: &str) -> bool {
    let name = name.strip_suffix("name").unwrap_or(name);
    let of = name.strip_suffix("status").or_else(|| name.strip_suffix("state"));
    of.is_some_and(|of| STATUS_OF.contains(&of))
}

pub(super) fn is_sign_of_work(name: &str) -> bool {
    SIGNS_OF_WORK.contains(&name)
}

/// The stems under which a row says when its work ended, in the order in which they count.
pub(super) fn ended() -> impl Iterator<Item = &'static str> {
    DONE.into_iter().chain(FAILED).chain(TOUCHED)
}

pub(super) fn begun() -> impl Iterator<Item = &'static str> {
    BEGUN.into_iter()
}

pub(super) fn end() -> impl Iterator<Item = &'static str> {
    END.into_iter()
}

fn holds(name: &str, stems: &[&str]) -> Option<Holds> {
    stems.iter().find_map(|stem| held_by(name, stem))
}

/// What a column of this name holds, if it is of this stem.
pub(super) fn held_by(name: &str, stem: &str) -> Option<Holds> {
    let flag = ["is", "was", "has"].iter().find_map(|prefix| name.strip_prefix(prefix));
    if flag == Some(stem) {
        return Some(Holds::Any);
    }
    let dated = name.strip_prefix("date").filter(|rest| rest.starts_with(stem));
    let rest = dated.unwrap_or(name).strip_prefix(stem)?;
    match (rest, dated) {
        ("", None) => Some(Holds::Any),
        _ => is_suffix(rest).then_some(Holds::Time),
    }
}

fn is_suffix(rest: &str) -> bool {
    rest.is_empty() || SUFFIXES.iter().any(|suffix| rest.strip_prefix(suffix).is_some_and(is_suffix))
}

#[cfg(test)]
mod tests {
    use super::super::row::normal;
    use super::*;

    fn check(names: &str, expected: Option<Holds>, of: fn(&str) -> Option<Holds>) {
        for name in names.split(' ') {
            assert_eq!(of(&normal(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_column_that_says_done_is_known_by_its_stem() {
        let times = "processed_at ProcessedOnUtc processed_date processedTimestamp completed_at completed_on completion_date \
                     finished_at handled_at consumed_at date_done completed_at_ms done_at";
        check(times, Some(Holds::Time), says_done);
        check(
            "Consumed Dispatched processed is_processed IsCompleted success done",
            Some(Holds::Any),
            says_done,
        );
        check(
            "processed_by processed_count completed_steps completion_attempts success_rate done_ratio dispatched_at \
             DispatchedAt undone not_processed delivered published_at updated_at",
            None,
            says_done,
        );
        check("failed_at FailedOn discarded_at cancelled_at dead_at", Some(Holds::Time), says_failed);
        check("failed is_failed", Some(Holds::Any), says_failed);
        check("failed_jobs failure_count", None, says_failed);
    }

    #[test]
    fn a_status_is_one_of_the_work() {
        for name in
            "status state Status StatusName StateName job_status message_state current_status workflow_status"
                .split(' ')
        {
            assert!(is_status(&normal(name)), "{name}");
        }
        for name in
            "order_status payment_state us_state response_status http_status status_code estate statuses"
                .split(' ')
        {
            assert!(!is_status(&normal(name)), "{name}");
        }
    }

    #[test]
    fn a_stem_is_no_beginning_of_another() {
        for (name, stem, expected) in [
            ("completion", "complete", None),
            ("expiresat", "expire", None),
            ("expirein", "expire", None),
            ("expiresin", "expires", None),
            ("expiration", "expiration", Some(Holds::Any)),
            ("expirationtime", "expiration", Some(Holds::Time)),
            ("createdby", "created", None),
            ("createdatutc", "created", Some(Holds::Time)),
            ("datecreated", "created", Some(Holds::Time)),
        ] {
            assert_eq!(held_by(name, stem), expected, "{name}");
        }
    }
}
