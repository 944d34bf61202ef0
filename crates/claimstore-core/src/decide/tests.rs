use super::*;
use crate::claim::FailureClass;
use crate::codec::{Asked, Extra, Repeats};
use crate::policy::Backoff;
use crate::tally::Tally;
use claimstore_hash::{Fingerprinter, JsonRules};
use proptest::prelude::*;

const NOW_MS: u64 = 1_000_000;
const TTL_MS: u64 = 60_000;
const NOW: Now = Now { store_ms: NOW_MS, wall_ms: NOW_MS };

/// An attempt of a policy with three, claimed a while ago and, if the state has an end, over in a second.
fn record(state: State) -> Record {
    Record {
        seq: 12,
        token: 11,
        attempt: 2,
        state,
        claimed_at_ms: NOW_MS - 500,
        settled_at_ms: NOW_MS - 100,
        until_ms: if state == State::InProgress { 0 } else { NOW_MS + 1_000 },
        ttl_ms: TTL_MS,
        lease_ms: 5_000,
        fingerprint: None,
        body: b"body"[..].into(),
        extra: None,
    }
}

fn policy() -> Policy {
    Policy { ttl_ms: TTL_MS, skew_ms: 300, max_attempts: 3, ..Policy::new() }
}

fn wanted() -> Wanted<'static> {
    Wanted { ttl_ms: TTL_MS, lease_ms: 7_000, fingerprint: None, fields: b"", origin: b"", key_time_ms: None }
}

fn ordered(key_time_ms: u64) -> Wanted<'static> {
    Wanted { key_time_ms: Some(key_time_ms), ..wanted() }
}

fn print(scheme: u8, byte: u8) -> Fingerprint {
    Fingerprint { scheme, digest: [byte; 32] }
}

/// The decision about a record that nobody holds.
fn of(record: &Record) -> Decision {
    at(record, NOW_MS)
}

fn at(record: &Record, store_ms: u64) -> Decision {
    decide(Some((record, Hold::Orphaned)), &wanted(), &policy(), 0, Now { store_ms, ..NOW })
}

#[test]
fn an_unknown_key_is_claimed_and_so_is_a_forgotten_one() {
    assert_eq!(decide(None, &wanted(), &policy(), 0, NOW), Decision::Claim { attempt: 1 });
    assert_eq!(of(&record(State::Erased)), Decision::Claim { attempt: 1 });
}

#[test]
fn a_result_is_the_answer_up_to_its_last_millisecond() {
    for (state, failure) in [(State::Completed, false), (State::Failed, true)] {
        let record = record(state);
        let duplicate = Decision::Duplicate { failure, fingerprint_checked: false };
        assert_eq!(at(&record, record.until_ms - 1), duplicate);
        assert_eq!(at(&record, record.until_ms), Decision::Claim { attempt: 1 });
    }
}

#[test]
fn a_time_ordered_key_that_was_resolved_never_comes_back() {
    let record = record(State::Completed);
    let now = Now { store_ms: record.until_ms, ..NOW };
    let decision = decide(Some((&record, Hold::Orphaned)), &ordered(NOW_MS), &policy(), 0, now);
    assert_eq!(decision, Decision::Refuse(ErrorKind::TooOld));
}

#[test]
fn a_time_ordered_key_must_lie_between_what_is_remembered_and_the_future() {
    let decided = |key_time_ms, watermark_ms| {
        decide(None, &ordered(key_time_ms), &policy(), watermark_ms, Now { wall_ms: NOW_MS + 40, ..NOW })
    };
    let (claimed, too_old) = (Decision::Claim { attempt: 1 }, Decision::Refuse(ErrorKind::TooOld));
    assert_eq!(decided(NOW_MS - TTL_MS, 0), claimed);
    assert_eq!(decided(NOW_MS - TTL_MS - 1, 0), too_old);
    assert_eq!(decided(NOW_MS - 70, NOW_MS - 70), claimed);
    assert_eq!(decided(NOW_MS - 71, NOW_MS - 70), too_old);
    // By the wall clock, of which it is made, and not by store time.
    assert_eq!(decided(NOW_MS + 340, 0), claimed);
    assert_eq!(decided(NOW_MS + 341, 0), Decision::Refuse(ErrorKind::FutureKey));
}

#[test]
fn a_parked_key_is_refused() {
    assert_eq!(of(&record(State::Parked)), Decision::Refuse(ErrorKind::Parked));
}

#[test]
fn a_retry_waits_until_it_is_due_and_then_counts() {
    let retry = record(State::Retry);
    assert_eq!(of(&retry), Decision::InProgress { retry_after_ms: 1_000 });
    assert_eq!(at(&retry, retry.until_ms - 1), Decision::InProgress { retry_after_ms: 1 });
    assert_eq!(at(&retry, retry.until_ms), Decision::Claim { attempt: 3 });
}

#[test]
fn the_last_attempt_is_the_last_unless_a_reviewer_granted_more() {
    for state in [State::Retry, State::InProgress] {
        let mut last = Record { attempt: 3, until_ms: 0, ..record(state) };
        assert_eq!(of(&last), Decision::Park);
        let note = |record: &Record| {
            let parked = parked(record, Some(Orphaned::EarlierLife), &policy(), 50, NOW_MS);
            assert_eq!((parked.state, parked.attempt, parked.tally().failures), (State::Parked, 3, 3));
            parked.extra.unwrap().note
        };
        assert_eq!(&*note(&last), b"attempts used up");
        last.extra.get_or_insert_default().granted = 4;
        assert_eq!(of(&last), Decision::Claim { attempt: 4 });
        assert_eq!(&*note(&last), b"orphaned");
    }
}

#[test]
fn whoever_holds_a_key_keeps_it() {
    let record = record(State::InProgress);
    for on_orphan in [OnOrphan::Retry, OnOrphan::Park, OnOrphan::Fail, OnOrphan::Resolve] {
        let policy = Policy { on_orphan, ..policy() };
        let decided = |hold| decide(Some((&record, hold)), &wanted(), &policy, 0, NOW);
        let running = Hold::Running { remaining_ms: 77 };
        assert_eq!(decided(running), Decision::InProgress { retry_after_ms: 77 });
        assert_eq!(decided(Hold::Reserved), Decision::InProgress { retry_after_ms: 1 });
        let orphan = match on_orphan {
            OnOrphan::Retry => Decision::Claim { attempt: 3 },
            OnOrphan::Park => Decision::Park,
            OnOrphan::Fail => Decision::Fail,
            OnOrphan::Resolve => Decision::InProgress { retry_after_ms: 1_000 },
        };
        assert_eq!(decided(Hold::Lapsed), orphan);
        assert_eq!(decided(Hold::Orphaned), orphan);
    }
}

#[test]
fn an_orphan_with_a_back_off_waits_from_its_second_attempt_on() {
    let policy = Policy { backoff: Some(Backoff { first_ms: 1_000, most_ms: 8_000 }), ..policy() };
    let decided = |attempt| {
        let record = Record { attempt, ..record(State::InProgress) };
        decide(Some((&record, Hold::Lapsed)), &wanted(), &policy, 0, NOW)
    };
    assert_eq!(decided(1), Decision::Claim { attempt: 2 });
    assert!(matches!(decided(2), Decision::Delay { after_ms: 750..=1_000 }));
    // There is no next attempt to wait for.
    assert_eq!(decided(3), Decision::Park);
}

/// The draw is that of the claim that did the work, however often somebody was asked about it.
#[test]
fn asking_does_not_change_how_long_an_orphan_waits() {
    let policy = Policy { backoff: Some(Backoff { first_ms: 1 << 30, most_ms: 1 << 30 }), ..policy() };
    let decided = |record: &Record| decide(Some((record, Hold::Lapsed)), &wanted(), &policy, 0, NOW);
    let worked = record(State::InProgress);
    let mut asked = Record { token: 99, ..worked.clone() };
    asked.extra.get_or_insert_default().asked =
        Some(Asked { token: worked.token, cause: 1, times: 1, at_ms: NOW_MS });
    assert_eq!(decided(&asked), decided(&worked));
    assert_ne!(decided(&Record { token: 99, ..worked.clone() }), decided(&worked));
}

#[test]
fn another_payload_is_refused_in_every_state_and_an_absent_one_is_not_compared() {
    for state in [State::Completed, State::Failed, State::Parked, State::Retry, State::InProgress] {
        let record = Record { fingerprint: Some(Box::new(print(200, 5))), ..record(state) };
        let decided = |fingerprint| {
            let wanted = Wanted { fingerprint, ..wanted() };
            decide(Some((&record, Hold::Running { remaining_ms: 9 })), &wanted, &policy(), 0, NOW)
        };
        assert_eq!(decided(Some(print(200, 6))), Decision::Refuse(ErrorKind::PayloadMismatch));
        assert_ne!(decided(Some(print(201, 6))), Decision::Refuse(ErrorKind::PayloadMismatch));
        if state == State::Completed {
            let checked = |fingerprint_checked| Decision::Duplicate { failure: false, fingerprint_checked };
            assert_eq!(decided(Some(print(200, 5))), checked(true));
            assert_eq!(decided(Some(print(201, 5))), checked(false));
            assert_eq!(decided(None), checked(false));
        }
    }
}

#[test]
fn a_refused_payload_is_told_the_fields_that_both_sides_know() {
    let digests = |key: u8, text: &str| {
        let maker = Fingerprinter::with_key([key; 32]);
        maker.json_with_fields(&JsonRules::new(), text.as_bytes()).unwrap().1.to_bytes()
    };
    let (stored, given) = (digests(5, r#"{"a":1,"b":2,"c":3}"#), digests(5, r#"{"a":1,"b":3,"c":4}"#));
    let differing = |stored: Option<&[u8]>, fields: &[u8]| {
        let extra = stored.map(|fields| Box::new(Extra { fields: fields.into(), ..Extra::default() }));
        let record = Record { extra, ..record(State::Completed) };
        differing_pointers(&record, &Wanted { fields, ..wanted() })
    };
    assert_eq!(differing(Some(&stored), &given), ["/b", "/c"]);
    assert_eq!(differing(Some(&stored), &stored), [""; 0]);
    // Without digests on both sides, or under another key, nothing can be said.
    assert_eq!(differing(None, &given), [""; 0]);
    assert_eq!(differing(Some(&stored), b""), [""; 0]);
    assert_eq!(differing(Some(&stored), &digests(6, r#"{"a":2}"#)), [""; 0]);
}

#[test]
fn an_expired_key_takes_any_payload() {
    let record = Record { fingerprint: Some(Box::new(print(200, 5))), ..record(State::Completed) };
    let wanted = Wanted { fingerprint: Some(print(200, 6)), ..wanted() };
    let now = Now { store_ms: record.until_ms, ..NOW };
    let decision = decide(Some((&record, Hold::Orphaned)), &wanted, &policy(), 0, now);
    assert_eq!(decision, Decision::Claim { attempt: 1 });
}

// ---- the record of a claim ---------------------------------------------------------------------------------

#[test]
fn a_first_claim_takes_nothing_over() {
    let mut earlier = Record { fingerprint: Some(Box::new(print(200, 5))), ..record(State::Completed) };
    earlier.extra.get_or_insert_default().history = b"history"[..].into();
    let wanted = Wanted { fingerprint: Some(print(200, 6)), origin: b"mail", fields: b"fields", ..wanted() };
    let claimed = claimed(Some(&earlier), None, 1, &wanted, 40, NOW_MS);
    let extra = Extra { origin: b"mail"[..].into(), fields: b"fields"[..].into(), ..Extra::default() };
    let expected = Record {
        seq: 40,
        token: 40,
        attempt: 1,
        state: State::InProgress,
        claimed_at_ms: NOW_MS,
        settled_at_ms: 0,
        until_ms: 0,
        ttl_ms: TTL_MS,
        lease_ms: 7_000,
        fingerprint: Some(Box::new(print(200, 6))),
        body: Box::default(),
        extra: Some(Box::new(extra)),
    };
    assert_eq!(claimed, expected);
}

#[test]
fn a_claim_without_anything_beside_it_has_no_extras() {
    assert_eq!(claimed(None, None, 1, &wanted(), 40, NOW_MS).extra, None);
}

#[test]
fn origin_and_digests_of_fields_are_kept_each_by_itself() {
    for (fields, origin) in [(&b"fields"[..], &b""[..]), (b"", b"mail"), (b"fields", b"mail")] {
        let claimed = claimed(None, None, 1, &Wanted { fields, origin, ..wanted() }, 40, NOW_MS);
        let extra = claimed.extra.unwrap();
        assert_eq!((&*extra.fields, &*extra.origin), (fields, origin));
    }
}

#[test]
fn a_later_attempt_without_anything_beside_it_forgets_what_was_of_the_one_before() {
    let mut earlier = record(State::Parked);
    earlier.extra = Some(Box::new(Extra {
        earlier_progress: Some(b"before"[..].into()),
        note: b"why"[..].into(),
        asked: Some(Asked { token: 1, cause: 1, times: 1, at_ms: 1 }),
        ..Extra::default()
    }));
    assert_eq!(claimed(Some(&earlier), None, 3, &wanted(), 40, NOW_MS).extra, None);
}

#[test]
fn a_later_attempt_goes_on_from_the_progress_and_keeps_what_is_known() {
    let mut earlier = Record { fingerprint: Some(Box::new(print(200, 5))), ..record(State::Retry) };
    earlier.extra = Some(Box::new(Extra {
        origin: b"mail"[..].into(),
        earlier_progress: Some(b"before"[..].into()),
        note: b"why"[..].into(),
        fields: b"old fields"[..].into(),
        history: b"history"[..].into(),
        asked: Some(Asked { token: 1, cause: 1, times: 1, at_ms: 1 }),
        granted: 9,
        repeats: Repeats { replays: 5, mismatches: 6 },
        tally: Some(Tally { failures: 1, losses: 1, interrupted: 1, in_doubt: true, counted: false }),
        left: None,
        granted_losses: 8,
        calls: b"calls"[..].into(),
        unknown: vec![(77, b"later"[..].into())],
    }));
    let wanted = Wanted { fingerprint: Some(print(200, 6)), fields: b"new fields", ..wanted() };
    let claimed = claimed(Some(&earlier), None, 3, &wanted, 40, NOW_MS);
    assert_eq!((claimed.attempt, claimed.token, &*claimed.body), (3, 40, &b"body"[..]));
    assert_eq!(claimed.fingerprint, earlier.fingerprint);
    let expected = Extra {
        earlier_progress: None,
        note: Box::default(),
        asked: None,
        ..*earlier.extra.clone().unwrap()
    };
    assert_eq!(*claimed.extra.unwrap(), expected);
}

#[test]
fn a_later_attempt_may_bring_the_first_fingerprint_and_another_origin() {
    let mut earlier = record(State::Retry);
    earlier.extra.get_or_insert_default().origin = b"mail"[..].into();
    let wanted = Wanted { fingerprint: Some(print(200, 6)), origin: b"queue", fields: b"fields", ..wanted() };
    let claimed = claimed(Some(&earlier), None, 2, &wanted, 40, NOW_MS);
    assert_eq!(claimed.fingerprint, Some(Box::new(print(200, 6))));
    let extra = claimed.extra.unwrap();
    assert_eq!((&*extra.origin, &*extra.fields), (&b"queue"[..], &b"fields"[..]));
}

// ---- settlements -------------------------------------------------------------------------------------------

fn held() -> Record {
    let mut held = Record { settled_at_ms: 0, ..record(State::InProgress) };
    held.extra.get_or_insert_default().earlier_progress = Some(b"before"[..].into());
    held
}

fn settle(held: &Record, ending: &Ending<'_>, key_time_ms: Option<u64>) -> Record {
    let settled = settled(held, ending, &policy(), key_time_ms, 50, NOW_MS);
    assert_eq!((settled.seq, settled.settled_at_ms.max(NOW_MS)), (50, NOW_MS));
    settled
}

#[test]
fn a_result_is_remembered_from_its_settlement_on() {
    for (ending, state) in [
        (Ending::Complete(b"done"), State::Completed),
        (Ending::Fail(&FailureClass::Terminal { response: b"done"[..].into() }), State::Failed),
    ] {
        let settled = settle(&held(), &ending, None);
        let expected = Record {
            seq: 50,
            state,
            settled_at_ms: NOW_MS,
            until_ms: NOW_MS + TTL_MS,
            lease_ms: 0,
            body: b"done"[..].into(),
            extra: None,
            ..held()
        };
        assert_eq!(settled, expected);
    }
}

#[test]
fn a_time_ordered_result_is_remembered_as_long_as_its_key_may_come() {
    let held = Record { ttl_ms: 1_000, ..held() };
    let until = |key_time_ms| settle(&held, &Ending::Complete(b""), Some(key_time_ms)).until_ms;
    assert_eq!(until(NOW_MS - TTL_MS), NOW_MS + 1_000);
    assert_eq!(until(NOW_MS - TTL_MS + 1_001), NOW_MS + 1_001);
    assert_eq!(until(u64::MAX), u64::MAX);
}

#[test]
fn a_failure_waits_keeps_its_progress_and_ends_with_the_last_attempt() {
    let retry = FailureClass::Retry { after_ms: 800, because: Box::default() };
    let waiting = settle(&held(), &Ending::Fail(&retry), None);
    assert_eq!((waiting.state, waiting.until_ms, waiting.attempt), (State::Retry, NOW_MS + 800, 2));
    let tally = Tally { failures: 2, interrupted: 1, in_doubt: true, ..Tally::default() };
    assert_eq!((&*waiting.body, waiting.tally()), (&b"body"[..], tally));
    let last = Record { attempt: 3, ..held() };
    let parked = settle(&last, &Ending::Fail(&retry), None);
    assert_eq!((parked.state, parked.until_ms, parked.attempt), (State::Parked, 0, 3));
    assert_eq!(&*parked.extra.unwrap().note, b"attempts used up");
}

#[test]
fn a_parked_key_says_why_and_goes_on_as_often_as_a_reviewer_grants() {
    let note = FailureClass::Park { note: b"look"[..].into() };
    let parked = settle(&held(), &Ending::Fail(&note), None);
    assert_eq!((parked.state, &*parked.body), (State::Parked, &b"body"[..]));
    // It was parked, and that is no failure.
    let tally = Some(Tally { failures: 1, interrupted: 1, in_doubt: true, ..Tally::default() });
    let extra = Extra { note: b"look"[..].into(), tally, ..Extra::default() };
    assert_eq!(parked.extra, Some(Box::new(extra)));
    let again = requeued(&parked, &Policy { max_attempts: 5, ..policy() }, 60, NOW_MS + 1);
    assert_eq!((again.state, again.until_ms, again.attempt, again.seq), (State::Retry, 0, 2, 60));
    assert_eq!((again.settled_at_ms, &*again.body), (NOW_MS + 1, &b"body"[..]));
    assert_eq!(again.extra, Some(Box::new(Extra { granted: 6, tally, ..Extra::default() })));
}

#[test]
fn a_release_undoes_the_attempt() {
    let first = Record { attempt: 1, ..held() };
    assert_eq!(settle(&first, &Ending::Release, None), Record::erased(50));
    let second = settle(&held(), &Ending::Release, None);
    assert_eq!((second.state, second.attempt, second.until_ms), (State::Retry, 1, 0));
    assert_eq!((&*second.body, second.extra), (&b"before"[..], None));
    let unchanged = Record { extra: None, ..held() };
    assert_eq!(&*settle(&unchanged, &Ending::Release, None).body, b"body");
}

#[test]
fn a_delayed_orphan_keeps_its_attempt_and_its_progress() {
    let delayed = delayed(&held(), Some(Orphaned::Lapsed), 700, 50, NOW_MS);
    assert_eq!((delayed.state, delayed.attempt, delayed.until_ms), (State::Retry, 2, NOW_MS + 700));
    assert_eq!((delayed.seq, delayed.settled_at_ms, &*delayed.body), (50, NOW_MS, &b"body"[..]));
}

// ---- whatever comes ----------------------------------------------------------------------------------------

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::InProgress),
        Just(State::Completed),
        Just(State::Failed),
        Just(State::Retry),
        Just(State::Parked),
        Just(State::Erased),
    ]
}

fn holds() -> impl Strategy<Value = Hold> {
    prop_oneof![
        (1..100_u64).prop_map(|remaining_ms| Hold::Running { remaining_ms }),
        Just(Hold::Lapsed),
        Just(Hold::Orphaned),
        Just(Hold::Dropped),
        Just(Hold::Panicked),
        Just(Hold::Reserved),
    ]
}

proptest! {
    /// What must never happen: a second start beside a holder or a result, and an attempt beyond the last.
    #[test]
    fn a_claim_is_granted_only_where_nobody_and_nothing_stands(
        state in states(),
        hold in holds(),
        attempt in 1..6_u32,
        until_ms in NOW_MS - 2..NOW_MS + 2,
        on_orphan in 0..4_usize,
    ) {
        let on_orphan = [OnOrphan::Retry, OnOrphan::Park, OnOrphan::Fail, OnOrphan::Resolve][on_orphan];
        let policy = Policy { on_orphan, ..policy() };
        let record = Record { attempt, until_ms, ..record(state) };
        let decision = decide(Some((&record, hold)), &wanted(), &policy, 0, NOW);
        let over = state.expires() && until_ms <= NOW_MS;
        match decision {
            Decision::Claim { attempt: 1 } => prop_assert!(over || state == State::Erased),
            Decision::Claim { attempt: next } => {
                prop_assert_eq!(next, attempt + 1);
                prop_assert!(next <= policy.max_attempts || hold == Hold::Dropped);
                let orphan = state == State::InProgress && hold.orphaned().is_some();
                prop_assert!(orphan || state == State::Retry && until_ms <= NOW_MS);
            }
            Decision::Duplicate { .. } => prop_assert!(state.expires() && !over),
            Decision::InProgress { retry_after_ms } => prop_assert!(retry_after_ms > 0),
            Decision::Refuse(kind) => prop_assert!(kind == ErrorKind::Parked && state == State::Parked),
            Decision::Park | Decision::Fail | Decision::Delay { .. } => {
                prop_assert!(matches!(state, State::InProgress | State::Retry));
            }
        }
    }
}
