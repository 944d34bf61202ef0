//! What is answered to claims and settlements, and how leases change hands.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, abandon, claimed, done_with, duplicate, in_progress, on_both, refused,
    request,
};
use claimstore::{
    Claim, Error, ErrorKind, Failure, Filter, Fingerprint, Lease, LeaseToken, Note, Once, OnceError, Policy,
    RecordState, Review, SettleError, Store,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

// ---- fingerprints ----------------------------------------------------------------------------------------

#[test]
fn fingerprints_are_compared_where_both_sides_have_one_of_the_scheme() {
    let (one, other) = ([1u8; 32], [2u8; 32]);
    let plain = Some(Fingerprint::from(one));
    let mine = |digest| Some(Fingerprint::with_scheme(200, digest));
    let cases = [
        ("same", plain, plain, Ok(true)),
        ("other", plain, Some(Fingerprint::from(other)), Err(ErrorKind::PayloadMismatch)),
        ("absent now", plain, None, Ok(false)),
        ("absent then", None, plain, Ok(false)),
        ("absent both", None, None, Ok(false)),
        ("another scheme", plain, mine(one), Ok(false)),
        ("same of mine", mine(one), mine(one), Ok(true)),
        ("other of mine", mine(one), mine(other), Err(ErrorKind::PayloadMismatch)),
    ];
    on_both(|bed| {
        let store = bed.open();
        for (name, then, now, expected) in &cases {
            let with = |print: &Option<Fingerprint>| match print {
                Some(print) => request(name).fingerprint(*print),
                None => request(name),
            };
            claimed(store.claim_with(&with(then))).complete("r").unwrap();
            for checkpointed in [false, true] {
                if checkpointed {
                    store.checkpoint().unwrap();
                }
                let answer = store.claim_with(&with(now));
                match expected {
                    Ok(checked) => assert_eq!(duplicate(answer).fingerprint_checked(), *checked, "{name}"),
                    Err(kind) => assert_eq!(refused(answer), *kind, "{name}"),
                }
            }
        }
        assert_eq!(store.stats().unwrap().mismatches, 4);
        done_with(store);
    });
}

#[test]
fn a_namespace_may_require_fingerprints() {
    let store = Bed::memory().open();
    let ns = store.namespace_with("n", Policy::new().require_fingerprint(true)).unwrap();
    assert_eq!(refused(ns.claim_default("k")), ErrorKind::Misuse);
    claimed(ns.claim_with(&request("k").fingerprint([1; 32]))).release().unwrap();
    done_with(store);
}

// ---- failing and releasing -------------------------------------------------------------------------------

#[test]
fn failures_have_four_classes() {
    on_both(|bed| {
        let store = bed.open();
        let failed = |key: &str, failure| claimed(store.claim(key, DAY)).fail(failure).unwrap();
        failed("now", Failure::retry());
        assert_eq!(claimed(store.claim("now", DAY)).attempt(), 2);
        failed("later", Failure::retry_after(HOUR));
        assert_eq!(in_progress(store.claim("later", DAY)).retry_after(), HOUR);
        failed("never", Failure::terminal("no such account"));
        let receipt = duplicate(store.claim("never", DAY));
        assert!(receipt.is_failure());
        assert_eq!(receipt.response(), b"no such account");
        failed("parked", Failure::park("two accounts match"));
        assert_eq!(refused(store.claim("parked", DAY)), ErrorKind::Parked);
        let record = store.get("parked").unwrap().unwrap();
        assert_eq!((record.state(), record.note()), (RecordState::Parked, &b"two accounts match"[..]));
        done_with(store);
    });
}

#[test]
fn the_last_attempt_s_retry_parks() {
    on_both(|bed| {
        let store = bed.open();
        for attempt in 1..=3 {
            let lease = claimed(store.claim("k", DAY));
            assert_eq!(lease.attempt(), attempt);
            lease.fail(Failure::retry()).unwrap();
        }
        assert_eq!(refused(store.claim("k", DAY)), ErrorKind::Parked);
        assert_eq!(store.parked().count(), 1);
        assert!(store.forget("k").unwrap(), "an operator lets it go");
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 1);
        done_with(store);
    });
}

#[test]
fn release_undoes_this_attempt_only() {
    on_both(|bed| {
        let store = bed.open();
        let mut first = claimed(store.claim("k", DAY));
        first.save_progress("page 1").unwrap();
        first.save_progress("page 2").unwrap();
        drop(first);
        let mut second = claimed(store.claim("k", DAY));
        assert_eq!((second.attempt(), second.progress()), (2, Some(&b"page 2"[..])));
        second.save_progress("page 3").unwrap();
        let token = second.token();
        second.release().unwrap();
        let record = store.get("k").unwrap().unwrap();
        assert_eq!((record.state(), record.attempt()), (RecordState::Retry, 1));
        assert_eq!(record.progress(), Some(&b"page 2"[..]));
        let store = bed.reopen(store);
        let again = claimed(store.claim("k", DAY));
        assert_eq!((again.attempt(), again.progress()), (2, Some(&b"page 2"[..])));
        assert!(again.token() > token, "the token stays burnt");
        again.release().unwrap();
        done_with(store);
    });
}

#[test]
fn progress_outlives_attempts_and_lives() {
    on_both(|bed| {
        let store = bed.open();
        let mut lease = claimed(store.claim("k", DAY));
        lease.save_progress("half").unwrap();
        assert_eq!(lease.progress(), Some(&b"half"[..]));
        lease.fail(Failure::retry()).unwrap();
        let store = bed.reopen(store);
        let lease = claimed(store.claim("k", DAY));
        assert_eq!((lease.attempt(), lease.progress()), (2, Some(&b"half"[..])));
        lease.complete("whole").unwrap();
        assert!(store.get("k").unwrap().unwrap().progress().is_none());
        done_with(store);
    });
}

#[test]
fn child_keys_are_the_same_for_every_attempt() {
    let store = Bed::memory().open();
    let first = claimed(store.claim("k", DAY));
    let (charge, mail) = (first.child_key("charge"), first.child_key("mail"));
    drop(first);
    let second = claimed(store.claim("k", DAY));
    assert_eq!(second.child_key("charge"), charge);
    assert_ne!(charge, mail);
    let elsewhere = claimed(store.namespace("other").unwrap().claim("k", DAY));
    assert_ne!(elsewhere.child_key("charge"), charge, "P17");
    assert_ne!(claimed(store.claim("k2", DAY)).child_key("charge"), charge);
    done_with(store);
}

// ---- leases changing hands -------------------------------------------------------------------------------

#[test]
fn a_token_hands_the_lease_on_within_this_life() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let (number, token) = (lease.token(), lease.into_token());
        assert_eq!(token.token(), number);
        in_progress(store.claim("k", DAY));
        let token = LeaseToken::from_bytes(&token.to_bytes()).unwrap();
        let lease = store.resume(token.clone()).unwrap();
        assert_eq!((lease.token(), lease.attempt(), lease.key()), (number, 1, &b"k"[..]));
        assert_eq!(refused(store.resume(token.clone())), ErrorKind::Misuse, "a lease of it lives");
        lease.complete("r").unwrap();
        assert_eq!(refused(store.resume(token)), ErrorKind::StaleLease, "settled");
        done_with(store);
    });
}

#[test]
fn a_token_that_was_not_detached_is_stale_after_reopening() {
    on_both(|bed| {
        let store = bed.open();
        let token = claimed(store.claim("k", DAY)).into_token();
        let store = bed.reopen(store);
        assert_eq!(refused(store.resume(token)), ErrorKind::StaleLease);
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2, "an orphan at once");
        done_with(store);
    });
}

#[test]
fn bytes_that_are_no_token_are_misuse() {
    let store = Bed::memory().open();
    let bytes = claimed(store.claim("k", DAY)).into_token().to_bytes();
    for cut in 0..bytes.len() {
        assert_eq!(refused(LeaseToken::from_bytes(&bytes[..cut])), ErrorKind::Misuse);
    }
    assert_eq!(refused(LeaseToken::from_bytes(&[&bytes[..], b"x"].concat())), ErrorKind::Misuse);
    let other = Bed::memory().open();
    let token = LeaseToken::from_bytes(&bytes).unwrap();
    assert_eq!(refused(other.resume(token)), ErrorKind::InvalidToken, "another store did not make it");
    done_with(other);
    done_with(store);
}

#[test]
fn a_detached_claim_survives_reopening_and_reboot_until_its_term() {
    on_both(|bed| {
        let store = bed.open();
        let token = claimed(store.claim("k", DAY)).detach(2 * HOUR).unwrap();
        bed.clock.advance(HOUR);
        let store = bed.reopen(store);
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), HOUR);
        store.close().unwrap();
        bed.clock.reboot();
        let store = bed.open();
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), HOUR);
        let lease = store.resume(token).unwrap();
        lease.complete("from another life").unwrap();
        assert_eq!(duplicate(store.claim("k", DAY)).response(), b"from another life");

        let token = claimed(store.claim("k2", DAY)).detach(HOUR).unwrap();
        bed.clock.advance(59 * MINUTE);
        in_progress(store.claim("k2", DAY));
        bed.clock.advance(MINUTE);
        assert_eq!(claimed(store.claim("k2", DAY)).attempt(), 2, "its term is over");
        assert_eq!(refused(store.resume(token)), ErrorKind::StaleLease);
        done_with(store);
    });
}

#[test]
fn a_detached_claim_can_be_renewed_durably() {
    on_both(|bed| {
        let store = bed.open();
        let token = claimed(store.claim("k", DAY)).detach(HOUR).unwrap();
        let until = |store: &Store| store.get("k").unwrap().unwrap().detached_until();
        assert_eq!(until(&store), Some(store.store_time() + HOUR));
        let lease = store.resume(token.clone()).unwrap();
        lease.renew(3 * HOUR).unwrap();
        drop(lease);
        let store = bed.reopen(store);
        assert_eq!(until(&store), Some(store.store_time() + 3 * HOUR));
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), 3 * HOUR);
        store.resume(token).unwrap().complete("r").unwrap();
        assert_eq!(until(&store), None);
        done_with(store);
    });
}

#[test]
fn a_lapsed_lease_may_settle_until_somebody_took_over() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        bed.clock.advance(HOUR);
        lease.complete("late, and still the only one").unwrap();
        duplicate(store.claim("k", DAY));

        let mut lease = claimed(store.claim("k2", DAY));
        bed.clock.advance(HOUR);
        lease.renew(MINUTE).unwrap();
        in_progress(store.claim("k2", DAY));
        bed.clock.advance(HOUR);
        let newer = claimed(store.claim("k2", DAY));
        assert_eq!(refused(lease.renew(MINUTE)), ErrorKind::StaleLease);
        assert_eq!(refused(lease.save_progress("p")), ErrorKind::StaleLease);
        let (error, back) = lease.complete("too late").unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::StaleLease);
        assert!(back.is_none(), "it is worth nothing");
        newer.complete("the newer one's").unwrap();
        assert_eq!(duplicate(store.claim("k2", DAY)).response(), b"the newer one's");
        done_with(store);
    });
}

#[test]
fn every_end_of_a_superseded_lease_is_stale_and_changes_nothing() {
    type End = fn(Lease) -> Result<(), SettleError>;
    let ends: [(&str, End); 6] = [
        ("complete", |lease| lease.complete("r")),
        ("fail", |lease| lease.fail(Failure::retry())),
        ("terminal", |lease| lease.fail(Failure::terminal("r"))),
        ("release", Lease::release),
        ("complete_in", |lease| lease.complete_in(|_| panic!("must not run")).map(drop)),
        ("detach", |lease| lease.detach(HOUR).map(drop)),
    ];
    on_both(|bed| {
        let store = bed.open();
        for (key, end) in ends {
            let old = claimed(store.claim(key, DAY));
            bed.clock.advance(HOUR);
            let new = claimed(store.claim(key, DAY));
            let before = store.get(key).unwrap();
            assert_eq!(refused(end(old)), ErrorKind::StaleLease, "{key}");
            assert_eq!(store.get(key).unwrap(), before);
            new.complete("r").unwrap();
        }
        done_with(store);
    });
}

#[test]
fn renewing_starts_the_lease_anew() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim_with(&request("k").lease(10 * SECOND)));
        bed.clock.advance(9 * SECOND);
        lease.renew(MINUTE).unwrap();
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), MINUTE);
        lease.complete("r").unwrap();
        done_with(store);
    });
}

// ---- refused settlements ---------------------------------------------------------------------------------

fn too_large(store: &Store, key: &str) -> SettleError {
    claimed(store.claim(key, DAY)).complete(vec![0; (1 << 20) + 1]).unwrap_err()
}

#[test]
fn a_refused_settlement_never_abandons_by_itself() {
    on_both(|bed| {
        let store = bed.open();
        let by_question_mark = || -> Result<(), Error> { Err(too_large(&store, "asked"))? };
        assert_eq!(by_question_mark().unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(in_progress(store.claim("asked", DAY)).retry_after(), MINUTE, "left to its term");
        drop(too_large(&store, "ignored"));
        in_progress(store.claim("ignored", DAY));
        let (_, lease) = too_large(&store, "taken apart").into_parts();
        in_progress(store.claim("taken apart", DAY));
        drop(lease.unwrap());
        assert_eq!(claimed(store.claim("taken apart", DAY)).attempt(), 2, "that drop abandons");
        done_with(store);
    });
}

// ---- once ------------------------------------------------------------------------------------------------

#[test]
fn once_runs_once() {
    on_both(|bed| {
        let store = bed.open();
        let ran = store.once("k", DAY, |lease| {
            assert_eq!(lease.attempt(), 1);
            Ok::<_, Error>(b"r".to_vec())
        });
        assert!(matches!(ran, Ok(Once::Ran(response)) if response == b"r"));
        let again = store.once("k", DAY, |_| -> Result<Vec<u8>, Error> { panic!("must not run") });
        assert!(matches!(again, Ok(Once::Replayed(receipt)) if receipt.response() == b"r"));
        let held = claimed(store.claim("held", DAY));
        let busy = store.once("held", DAY, |_| -> Result<Vec<u8>, Error> { panic!("must not run") });
        assert!(matches!(busy, Ok(Once::InProgress(_))));
        held.release().unwrap();
        done_with(store);
    });
}

#[test]
fn once_fails_with_the_work_s_own_error_and_may_be_tried_again() {
    on_both(|bed| {
        let store = bed.open();
        let failed = store.once("k", DAY, |_| Err::<Vec<u8>, _>("out of paper"));
        assert!(matches!(failed, Err(OnceError::Work("out of paper"))));
        let lease = claimed(store.claim("k", DAY));
        assert_eq!(lease.attempt(), 2);
        lease.release().unwrap();
        let refused = store.once("", DAY, |_| Err::<Vec<u8>, _>("must not run"));
        assert!(matches!(refused, Err(OnceError::Store(error)) if error.kind() == ErrorKind::InvalidKey));
        done_with(store);
    });
}

#[test]
fn once_gives_back_a_response_it_could_not_store() {
    let store = Bed::memory().open();
    let large = store.once("k", DAY, |_| Ok::<_, Error>(vec![7; (1 << 20) + 1]));
    let Err(OnceError::NotStored { response, error }) = large else { panic!() };
    assert_eq!((response.len(), error.kind()), ((1 << 20) + 1, ErrorKind::TooLarge));
    error.into_parts().1.unwrap().complete("shorter").unwrap();
    assert_eq!(duplicate(store.claim("k", DAY)).response(), b"shorter");
    done_with(store);
}

#[test]
fn once_abandons_on_panic() {
    on_both(|bed| {
        let store = bed.open();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            store.once("k", DAY, |_| -> Result<Vec<u8>, Error> { panic!("boom") })
        }));
        assert!(panicked.is_err());
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2, "at once");
        done_with(store);
    });
}

// ---- looking ---------------------------------------------------------------------------------------------

/// One key of each state, some of them checkpointed.
fn one_of_each(store: &Store) -> [Lease; 1] {
    claimed(store.claim("a/completed", DAY)).complete("r").unwrap();
    claimed(store.claim("a/failed", DAY)).fail(Failure::terminal("r")).unwrap();
    store.checkpoint().unwrap();
    claimed(store.claim("a/retry", DAY)).fail(Failure::retry_after(HOUR)).unwrap();
    claimed(store.claim("b/parked", DAY)).fail(Failure::park("n")).unwrap();
    abandon(store, "b/orphaned");
    [claimed(store.claim_with(&request("b/held").origin("topic/7").fingerprint([1; 32])))]
}

#[test]
fn scans_show_what_the_filter_asks_for() {
    on_both(|bed| {
        let store = bed.open();
        let held = one_of_each(&store);
        let ns = store.namespace("other").unwrap();
        claimed(ns.claim("a/completed", DAY)).complete("r").unwrap();
        let keys = |filter: Filter| {
            let mut keys: Vec<String> = store
                .scan(filter)
                .map(|record| String::from_utf8(record.unwrap().key().to_vec()).unwrap())
                .collect();
            keys.sort();
            keys.join(" ")
        };
        for _ in 0..2 {
            assert_eq!(store.scan(Filter::new()).count(), 7);
            assert_eq!(
                keys(Filter::new().namespace("")),
                "a/completed a/failed a/retry b/held b/orphaned b/parked"
            );
            assert_eq!(keys(Filter::new().prefix("a/").namespace("")), "a/completed a/failed a/retry");
            assert_eq!(keys(Filter::new().namespace("other")), "a/completed");
            assert_eq!(keys(Filter::new().namespace("unknown")), "");
            assert_eq!(keys(Filter::new().state(RecordState::Failed)), "a/failed");
            let two = Filter::new().state(RecordState::InProgress).state(RecordState::Retry);
            assert_eq!(keys(two), "a/retry b/held");
            assert_eq!(keys(Filter::new().state(RecordState::Orphaned)), "b/orphaned");
            assert_eq!(store.orphans().count(), 1);
            assert_eq!(store.parked().count(), 1);
            store.checkpoint().unwrap();
        }
        let record = store.get("b/held").unwrap().unwrap();
        assert_eq!((record.state(), record.origin()), (RecordState::InProgress, &b"topic/7"[..]));
        assert!(record.has_fingerprint() && record.settled_at().is_none() && record.expires_at().is_none());
        assert_eq!(record.token(), held[0].token());
        done_with(store);
    });
}

#[test]
fn scans_leave_expired_records_out() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("short", HOUR)).complete("r").unwrap();
        claimed(store.claim("long", DAY)).complete("r").unwrap();
        for _ in 0..2 {
            bed.clock.advance(HOUR / 2);
            store.checkpoint().unwrap();
        }
        assert_eq!(store.scan(Filter::new()).count(), 1);
        assert!(store.get("short").unwrap().is_none());
        done_with(store);
    });
}

#[test]
fn forgetting_makes_a_key_unknown_whatever_it_is() {
    on_both(|bed| {
        let store = bed.open();
        let held = one_of_each(&store);
        for key in ["a/completed", "a/failed", "a/retry", "b/parked", "b/orphaned", "b/held"] {
            assert!(store.forget(key).unwrap(), "{key}");
            assert!(!store.forget(key).unwrap(), "{key} is unknown already");
            assert!(store.get(key).unwrap().is_none());
        }
        let [held] = held;
        assert_eq!(refused(held.complete("r")), ErrorKind::StaleLease);
        let store = bed.reopen(store);
        assert_eq!(store.scan(Filter::new()).count(), 0);
        assert_eq!(claimed(store.claim("a/completed", DAY)).attempt(), 1);
        done_with(store);
    });
}

#[test]
fn what_was_shown_is_forgotten_only_as_long_as_it_is_that_and_nobody_holds_it() {
    on_both(|bed| {
        let store = bed.open();
        let [held] = one_of_each(&store);
        let shown = |key: &str| store.get(key).unwrap().unwrap();
        let (retry, parked, mine) = (shown("a/retry"), shown("b/parked"), shown("b/held"));
        assert_eq!(refused(store.forget_unheld(&mine)), ErrorKind::StaleLease, "it is held");
        bed.clock.advance(2 * HOUR);
        let again = claimed(store.claim("a/retry", DAY));
        store.review(&parked, &Review::Complete(b"r".to_vec()), &Note::new("ada", "")).unwrap();
        for stale in [&retry, &parked] {
            assert_eq!(refused(store.forget_unheld(stale)), ErrorKind::StaleLease, "it is another by now");
        }
        again.complete("r").unwrap();
        assert_eq!(shown("b/parked").state(), RecordState::Completed);
        // Lapsed, it is nobody's; renewed, it is somebody's again.
        let lapsed = shown("b/held");
        held.renew(HOUR).unwrap();
        assert_eq!(refused(store.forget_unheld(&lapsed)), ErrorKind::StaleLease);
        bed.clock.advance(2 * HOUR);
        for key in ["a/retry", "b/parked", "b/orphaned", "b/held"] {
            let shown = shown(key);
            store.forget_unheld(&shown).unwrap();
            assert!(store.get(key).unwrap().is_none(), "{key}");
            assert_eq!(refused(store.forget_unheld(&shown)), ErrorKind::StaleLease, "{key} is gone");
        }
        assert_eq!(refused(held.complete("r")), ErrorKind::StaleLease);
        let store = bed.reopen(store);
        assert_eq!(claimed(store.claim("b/held", DAY)).attempt(), 1);
        done_with(store);
    });
}

#[test]
fn stats_count_what_happened() {
    let store = Bed::memory().open();
    let [held] = one_of_each(&store);
    in_progress(store.claim("b/held", DAY));
    duplicate(store.claim("a/completed", DAY));
    refused(store.claim("b/parked", DAY));
    drop(claimed(store.claim("b/orphaned", DAY)));
    held.release().unwrap();
    let stats = store.stats().unwrap();
    let outcomes = [stats.claimed, stats.taken_over, stats.duplicates, stats.in_progress_answers];
    assert_eq!(outcomes, [7, 1, 1, 1]);
    assert_eq!([stats.mismatches, stats.refused, stats.completed, stats.failed], [0, 1, 1, 3]);
    assert_eq!([stats.released, stats.in_progress, stats.life, stats.namespaces], [1, 1, 1, 1]);
    assert!(stats.commits > 0 && stats.checkpoints == 1 && stats.runs > 0 && stats.checkpointed_rows == 2);
    assert_eq!(stats.clock_offset, 0);
    done_with(store);
}

// ---- closing ---------------------------------------------------------------------------------------------

#[test]
fn close_answers_for_all_clones_leases_and_tables() {
    on_both(|bed| {
        let store = bed.open();
        let clone = store.clone();
        let ns = store.namespace("n").unwrap();
        let table = store.table("t").unwrap();
        let mut lease = claimed(store.claim("k", DAY));
        let other = claimed(store.claim("k2", DAY));
        let mut scan = store.scan(Filter::new());
        done_with(store);
        let closed = [
            refused(clone.claim("k", DAY)),
            refused(ns.claim_default("k")),
            refused(clone.get("k")),
            refused(clone.forget("k")),
            refused(clone.stats()),
            refused(clone.verify()),
            refused(clone.checkpoint()),
            refused(clone.prune()),
            refused(clone.compact()),
            refused(clone.after_restore()),
            refused(clone.namespace("m")),
            refused(clone.table("t")),
            refused(table.get("k")),
            refused(table.range(..).map(Iterator::count)),
            refused(scan.next().unwrap()),
            refused(clone.claim_many(&[request("k")])),
            refused(clone.transact(&request("k"), |_| panic!("must not run"))),
            refused(lease.renew(MINUTE)),
            refused(lease.save_progress("p")),
            refused(other.complete_in(|_| panic!("must not run"))),
            refused(lease.complete("r")),
        ];
        assert_eq!(closed, [ErrorKind::Closed; 21]);
        let store = bed.open();
        assert_eq!(refused(clone.claim("k", DAY)), ErrorKind::Closed, "old clones stay closed");
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2);
        clone.close().unwrap();
        done_with(store);
    });
}

#[test]
fn dropping_the_last_handle_closes() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let ns = store.namespace("n").unwrap();
        drop(store.clone());
        drop(store);
        claimed(ns.claim_default("a namespace keeps it open")).release().unwrap();
        assert_eq!(refused(bed.open_with(bed.options())), ErrorKind::AlreadyOpen);
        drop(ns);
        assert_eq!(refused(lease.complete("r")), ErrorKind::Closed, "a lease does not");
        let store = bed.open();
        assert_eq!(store.orphans().count(), 1);
        done_with(store);
    });
}

#[test]
fn a_claim_from_another_thread_s_store_is_one_store() {
    let store = Bed::memory().open();
    let winners: usize = std::thread::scope(|scope| {
        let ask = || store.clone().claim("k", DAY).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| match thread.join().unwrap() {
                Claim::Claimed(lease) => {
                    drop(lease.into_token());
                    1
                }
                Claim::InProgress(_) => 0,
                Claim::Duplicate(_) => panic!("nobody completed it"),
            })
            .sum()
    });
    assert_eq!(winners, 1);
    done_with(store);
}

#[test]
fn interval_and_no_durability_answer_the_same() {
    for durability in
        [claimstore::Durability::Interval(Duration::from_millis(5)), claimstore::Durability::None]
    {
        on_both(|bed| {
            let store = bed.open_with(bed.options().durability(durability)).unwrap();
            claimed(store.claim("k", DAY)).complete("r").unwrap();
            store.checkpoint().unwrap();
            claimed(store.claim("k2", DAY)).complete("r").unwrap();
            let store = bed.reopen(store);
            duplicate(store.claim("k", DAY));
            duplicate(store.claim("k2", DAY));
            done_with(store);
        });
    }
}

#[test]
fn child_keys_in_hex_are_child_keys() {
    let store = Store::in_memory().unwrap();
    let hex = |key: [u8; 32]| key.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let lease = claimed(store.claim("k", DAY));
    assert_eq!(lease.child_key_hex("charge"), hex(lease.child_key("charge")));
    let claims = claimstore::Claims::from(&store);
    let claimstore_core::Claim::Claimed(other) = claims.claim("other", DAY).wait().unwrap() else { panic!() };
    assert_eq!(other.child_key_hex("charge"), hex(other.child_key("charge")));
    other.release().wait().unwrap();
    lease.release().unwrap();
}

#[test]
fn a_key_of_parts_is_the_key_of_its_record_and_has_the_short_name_of_it() {
    let store = Store::in_memory().unwrap();
    let orders = Policy::daily().key_spec(claimstore::hash::KeySpec::netsuite());
    let orders = store.namespace_with("orders", orders).unwrap();
    let key = orders.key(["order", " so-17 "]).unwrap();
    claimed(orders.claim_default(&key)).complete("").unwrap();
    duplicate(orders.claim_default("Order|so-17"));
    let record = orders.get("ORDER|SO-17").unwrap().unwrap();
    assert_eq!(record.key(), key);
    assert_eq!(claimstore::key_label(record.key()), claimstore::key_label(&key));
    assert_eq!(orders.key([Some("order"), None]).unwrap_err().kind(), ErrorKind::InvalidKey);
}
