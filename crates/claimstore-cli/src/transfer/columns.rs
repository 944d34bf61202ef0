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
/// Stems of columns that say that something ended: the work, or that the message was sent by somebody else. Null or a flag
/// that says no holds a row for review; a value does not say that the work is done.
const ENDS: [&str; 28] = [
    "sent",
    "published",
    "delivered",
    "acked",
    "ack",
    "acknowledged",
    "confirmed",
    "notified",
    "dispatched",
    "executed",
    "performed",
    "applied",
    "committed",
    "emitted",
    "forwarded",
    "relayed",
    "transmitted",
    "exported",
    "synced",
    "finalized",
    "settled",
    "resolved",
    "fulfilled",
    "shipped",
    "closed",
    "ended",
    "end",
    "finish",
];
/// Flags of work that waits or is going on.
const WAITING: [&str; 13] = [
    "pending",
    "processing",
    "inprocess",
    "inprogress",
    "inflight",
    "waiting",
    "queued",
    "enqueued",
    "scheduled",
    "running",
    "executing",
    "locked",
    "leased",
];
/// Stems of columns that say that it failed for good.
const FAILED: [&str; 5] = ["failed", "discarded", "cancelled", "canceled", "dead"];
/// Stems of columns that say when the work was last touched, where none of the others is set.
const TOUCHED: [&str; 3] = ["finalized", "updated", "modified"];
/// Stems of columns that say when it began.
const BEGUN: [&str; 7] = ["created", "inserted", "received", "creation", "publication", "enqueued", "added"];
/// Stems of columns that say until when the key is remembered.
const END: [&str; 6] = ["expires", "expiration", "expiry", "expire", "validuntil", "keepuntil"];

/// What may stand before the stem of a time.
const PREFIXES: [&str; 4] = ["date", "time", "when", "dt"];
/// What may stand before the stem of a flag, several times, and what may stand behind it.
const FLAG_PREFIXES: [&str; 8] = ["is", "was", "has", "have", "been", "be", "yet", "already"];
const FLAG_SUFFIXES: [&str; 3] = ["flag", "yn", "indicator"];
const NEGATIONS: [&str; 5] = ["not", "never", "non", "un", "in"];
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

/// Words for how something stands.
const NOUNS: [&str; 4] = ["status", "state", "outcome", "stage"];

/// Columns of work that waits or is going on. A table that has one keeps rows of work that is not done.
const SIGNS_OF_WORK: [&str; 22] = [
    "runat",
    "reservedat",
    "availableat",
    "startedat",
    "claimedat",
    "claimedby",
    "scheduledat",
    "scheduledfor",
    "visibleat",
    "visibilitytimeout",
    "invisibleuntil",
    "delayuntil",
    "delayeduntil",
    "processafter",
    "sendafter",
    "startafter",
    "notbefore",
    "dueat",
    "pickedat",
    "pickedupat",
    "tries",
    "trycount",
];
/// What `next_` stands before in the name of such a column.
const NEXT: [&str; 10] =
    ["attempt", "try", "run", "at", "time", "execution", "delivery", "send", "poll", "visible"];

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

/// What the column says to the contrary: `unprocessed`, `is_not_done`.
pub(super) fn says_undone(name: &str) -> Option<Holds> {
    is_negated(name, &DONE).then_some(Holds::Any)
}

/// Whether it is a flag of work that waits or is going on.
pub(super) fn is_waiting(name: &str) -> bool {
    flag(name).is_some_and(|(stem, is_negated)| !is_negated && WAITING.contains(&stem))
}

/// Whether the column says of something that it ended, be it the work or not: `sent_at`, `is_published`.
pub(super) fn is_end(name: &str) -> bool {
    let name = name.strip_prefix("last").unwrap_or(name);
    holds(name, &ENDS).is_some()
}

/// Whether the column says the contrary: `unsent`.
pub(super) fn is_no_end(name: &str) -> bool {
    is_negated(name, &ENDS)
}

/// Whether the column says how something stands, of which the name does not say that it is the work: `order_status`,
/// `status_id`. Codes of HTTP and addresses do not.
pub(super) fn is_other_status(name: &str, shown: &str) -> bool {
    let is_apart = ["http", "response"].iter().any(|of| name.starts_with(of))
        || ["estate", "postage", "hostage"].iter().any(|word| name.ends_with(word))
        || matches!(name, "usstate" | "addressstate");
    let has_noun = name.starts_with("status")
        || NOUNS.iter().any(|noun| name.ends_with(noun))
        || words(shown).any(|word| NOUNS.contains(&word.as_str()));
    has_noun && !is_apart && !is_status(name)
}

/// The words of a name as it is written: `order_state`, `OrderState`.
fn words(shown: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for letter in shown.chars() {
        if !letter.is_alphanumeric() || (was_small && letter.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && letter.is_alphanumeric()
        {
            word.extend(letter.to_lowercase());
        }
        was_small = letter.is_lowercase();
    }
    words.into_iter()
}

/// Whether the column says how the work stands.
pub(super) fn is_status(name: &str) -> bool {
    let name = name.strip_suffix("name").unwrap_or(name);
    let of = name.strip_suffix("status").or_else(|| name.strip_suffix("state"));
    of.is_some_and(|of| STATUS_OF.contains(&of))
}

pub(super) fn is_sign_of_work(name: &str) -> bool {
    let is_again = ["attempt", "retry", "retries"].iter().any(|word| name.contains(word));
    is_held(name) || is_again || SIGNS_OF_WORK.contains(&name)
}

/// Whether the column is null once the work is done: a lock, a lease, the time of the next attempt.
pub(super) fn is_held(name: &str) -> bool {
    // The version of a row is no lock.
    let is_lock = ["lock", "lease"].iter().any(|stem| name.starts_with(stem)) && name != "lockversion";
    let rest = name.strip_prefix("next");
    is_lock || rest.is_some_and(|rest| NEXT.iter().any(|what| rest.starts_with(what)))
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
    if flag(name) == Some((stem, false)) {
        return Some(Holds::Any);
    }
    let dated = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    let dated = dated.filter(|rest| rest.starts_with(stem));
    let rest = dated.unwrap_or(name).strip_prefix(stem)?;
    match (rest, dated) {
        ("", None) => Some(Holds::Any),
        _ => is_suffix(rest).then_some(Holds::Time),
    }
}

fn is_negated(name: &str, stems: &[&str]) -> bool {
    flag(name).is_some_and(|(stem, is_negated)| is_negated && stems.contains(&stem))
}

/// The stem of a name that could be a flag's, and whether the name turns its meaning round.
fn flag(name: &str) -> Option<(&str, bool)> {
    let mut stem = FLAG_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let mut is_negated = false;
    loop {
        if is_stem(stem) {
            return Some((stem, is_negated));
        }
        let before = |prefixes: &[&str]| prefixes.iter().find_map(|prefix| stem.strip_prefix(prefix));
        if let Some(rest) = before(&FLAG_PREFIXES) {
            stem = rest;
        } else {
            stem = before(&NEGATIONS)?;
            is_negated = !is_negated;
        }
    }
}

fn is_stem(name: &str) -> bool {
    [&DONE[..], &FAILED, &ENDS, &WAITING].iter().any(|stems| stems.contains(&name))
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
            "processed_flag has_been_processed IsAlreadyProcessed done_yn was_handled",
            Some(Holds::Any),
            says_done,
        );
        check(
            "processed_by processed_count completed_steps completion_attempts success_rate done_ratio dispatched_at \
             DispatchedAt undone not_processed delivered published_at updated_at",
            None,
            says_done,
        );
        check(
            "undone not_processed unprocessed is_unprocessed has_not_been_processed NotYetProcessed incomplete",
            Some(Holds::Any),
            says_undone,
        );
        check("processed is_done unlocked not_sent isbn union", None, says_undone);
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

    fn check_each(names: &str, expected: bool, of: fn(&str) -> bool) {
        for name in names.split(' ') {
            assert_eq!(of(&normal(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_may_be_of_the_work_is_known_too() {
        check_each(
            "sent_at PublishedOn delivered is_sent acked_at last_sent_at dispatched_at end_time",
            true,
            is_end,
        );
        check_each(
            "created_at updated_at deleted_at sender sent_by payload unsent received_at",
            false,
            is_end,
        );
        check_each("unsent not_delivered is_not_published", true, is_no_end);
        check_each("sent is_published unprocessed", false, is_no_end);
        check_each("is_pending pending processing InProgress is_queued pending_flag", true, is_waiting);
        check_each(
            "not_pending pending_count is_active is_deleted has_items processing_time",
            false,
            is_waiting,
        );
        check_each(
            "next_attempt NextRetryAt lease_until lock_token locked_by attempts attempt_count retry_count retries run_at",
            true,
            is_sign_of_work,
        );
        check_each(
            "lock_version blocked_by clock release next_page country entries received_at payload created_at",
            false,
            is_sign_of_work,
        );
        for name in "delivery_status result_status payment_status order_state OrderState outcome stage status_id status_code \
                     stateId status_text deploymentstage"
            .split(' ')
        {
            assert!(is_other_status(&normal(name), name), "{name}");
        }
        for name in "status job_state http_status response_status response_status_code statement estate real_estate us_state \
                     statistics postage"
            .split(' ')
        {
            assert!(!is_other_status(&normal(name), name), "{name}");
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
