//! Operations on claims that nobody holds: listing, taking over, ending, reviewing, watching.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, abandon, block_on, claimed, done_with, duplicate, eventually,
    in_progress, on_both, refused, request,
};
use claimstore::{
    ErrorKind, Failure, Happened, Note, OnOrphan, Orphaned, Policy, Record, RecordState, Review, Store,
};
use std::sync::atomic::{AtomicUsize, Ordering};

fn unheld(store: &Store) -> Vec<Record> {
    let mut records: Vec<Record> = store.unheld().map(Result::unwrap).collect();
    records.sort_by(|a, b| a.key().cmp(b.key()));
    records
}

fn only(store: &Store) -> Record {
    let mut records = unheld(store);
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

fn parked(store: &Store) -> Record {
    let mut records: Vec<Record> = store.parked().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

fn whats(record: &Record) -> Vec<(Happened, u32)> {
    record.history().iter().map(|past| (past.what(), past.attempt())).collect()
}

#[test]
fn p11_every_claim_without_a_holder_is_listed_with_its_cause_and_no_other() {
    on_both(|bed| {
        let store = bed.open();
        let earlier = claimed(store.claim_with(&request("a-earlier")));
        let detached = claimed(store.claim_with(&request("detached"))).detach(HOUR).unwrap();
        let store = bed.reopen(store);
        drop(earlier);
        abandon(&store, "b-abandoned");
        let lapsed = claimed(store.claim_with(&request("c-lapsed").lease(SECOND)));
        let _held = claimed(store.claim_with(&request("held").lease(HOUR)));
        claimed(store.claim_with(&request("done"))).complete("r").unwrap();
        claimed(store.claim_with(&request("retry"))).fail(Failure::retry()).unwrap();
        bed.clock.advance(SECOND);
        let found = unheld(&store);
        let seen: Vec<(&[u8], Option<Orphaned>)> =
            found.iter().map(|record| (record.key(), record.orphaned())).collect();
        assert_eq!(
            seen,
            [
                // Its store was closed, and not killed.
                (&b"a-earlier"[..], Some(Orphaned::Abandoned)),
                (b"b-abandoned", Some(Orphaned::Abandoned)),
                (b"c-lapsed", Some(Orphaned::Lapsed)),
            ]
        );
        lapsed.renew(MINUTE).unwrap();
        assert_eq!(unheld(&store).len(), 2, "renewed, it has its holder back");
        assert_eq!(refused(store.take_over(&found[2], SECOND).map(drop)), ErrorKind::StaleLease);
        bed.clock.advance(HOUR);
        assert_eq!(unheld(&store).len(), 5, "every lease has lapsed, the detached one's time is over");
        drop(detached);
        done_with(store);
    });
}

/// A taken-over claim of the listing's records; refused for whoever is too late.
#[test]
fn a_take_over_fences_off_everybody_and_counts_no_attempt() {
    on_both(|bed| {
        let store = bed.open();
        store.namespace_with("", Policy::new().on_orphan(OnOrphan::Retry)).unwrap();
        let mut holder = claimed(store.claim_with(&request("k").lease(SECOND).origin("mail 7")));
        holder.save_progress("half").unwrap();
        let work = holder.token();
        bed.clock.advance(SECOND);
        let listed = only(&store);
        let lease = store.take_over(&listed, MINUTE).unwrap();
        assert!(lease.token() > work);
        assert_eq!((lease.attempt(), lease.progress()), (1, Some(&b"half"[..])));
        assert_eq!(in_progress(store.claim_with(&request("k"))).retry_after(), MINUTE, "no claimer slips in");
        assert_eq!(refused(store.take_over(&listed, MINUTE).map(drop)), ErrorKind::StaleLease);
        let verdicts = store.fail_orphans(&[(listed, Failure::terminal("no"))]).unwrap();
        assert_eq!(verdicts[0].as_ref().unwrap_err().kind(), ErrorKind::StaleLease);
        assert_eq!(refused(holder.save_progress("more")), ErrorKind::StaleLease);
        assert_eq!(refused(holder.renew(MINUTE)), ErrorKind::StaleLease);
        assert_eq!(refused(holder.complete("late")), ErrorKind::StaleLease, "the paused holder is out");
        assert_eq!(refused(lease.release()), ErrorKind::Misuse);
        bed.clock.advance(MINUTE);

        // Asked twice, then across a restart: the count, the token of the work and the first cause stay.
        let again = only(&store);
        assert_eq!((again.asked(), again.work_token(), again.orphaned()), (1, work, Some(Orphaned::Lapsed)));
        drop(store.take_over(&again, MINUTE).unwrap());
        let store = bed.reopen(store);
        let again = only(&store);
        assert_eq!((again.asked(), again.work_token(), again.attempt()), (2, work, 1));
        assert_eq!(again.orphaned(), Some(Orphaned::Lapsed));
        assert_eq!(again.origin(), b"mail 7");
        store.take_over(&again, MINUTE).unwrap().complete("found").unwrap();
        let receipt = duplicate(store.claim_with(&request("k")));
        assert_eq!((receipt.response(), receipt.attempts()), (&b"found"[..], 1));
        let record = store.get("k").unwrap().unwrap();
        assert_eq!(whats(&record), [(Happened::Orphaned(Orphaned::Lapsed), 1)]);
        assert_eq!(record.history()[0].token(), work);
        done_with(store);
    });
}

#[test]
fn orphans_end_in_one_commit_by_the_rule_given() {
    on_both(|bed| {
        let store = bed.open();
        for key in ["a", "b", "c", "d"] {
            abandon(&store, key);
        }
        let found = unheld(&store);
        let ends = [
            Failure::retry().because("timeout"),
            Failure::retry_after(MINUTE),
            Failure::park("look"),
            Failure::terminal("gone"),
        ];
        let commits = store.stats().unwrap().commits;
        let verdicts = store.fail_orphans(&found.into_iter().zip(ends).collect::<Vec<_>>()).unwrap();
        assert!(verdicts.iter().all(Result::is_ok));
        assert_eq!(store.stats().unwrap().commits, commits + 1);
        let store = bed.reopen(store);
        assert_eq!(claimed(store.claim_with(&request("a"))).attempt(), 2);
        assert_eq!(in_progress(store.claim_with(&request("b"))).retry_after(), MINUTE);
        assert_eq!(refused(store.claim_with(&request("c"))), ErrorKind::Parked);
        assert_eq!(parked(&store).note(), b"look");
        assert_eq!(duplicate(store.claim_with(&request("d"))).response(), b"gone");
        let record = store.get("a").unwrap().unwrap();
        assert_eq!(record.history()[0].note(), b"timeout");
        done_with(store);
    });
}

#[test]
fn attempts_used_up_park_an_orphan_that_is_to_be_retried() {
    let bed = Bed::memory();
    let store = bed.open();
    store.namespace_with("", Policy::new().max_losses(3)).unwrap();
    for attempt in 1..=3 {
        assert_eq!(claimed(store.claim_with(&request("k"))).attempt(), attempt);
        let verdicts = store.fail_orphans(&[(only(&store), Failure::retry())]).unwrap();
        assert!(verdicts[0].is_ok());
    }
    assert_eq!(refused(store.claim_with(&request("k"))), ErrorKind::Parked);
    let record = parked(&store);
    let abandoned = Happened::Orphaned(Orphaned::Abandoned);
    assert_eq!(whats(&record), [(abandoned, 1), (abandoned, 2), (abandoned, 3)]);
    done_with(store);
}

#[test]
fn an_orphan_waits_for_its_third_attempt_however_it_is_asked() {
    on_both(|bed| {
        let store = bed.open();
        let policy = Policy::new().orphan_backoff(SECOND, 8 * SECOND).max_attempts(9);
        store.namespace_with("", policy).unwrap();
        abandon(&store, "k");
        let second = claimed(store.claim_with(&request("k")));
        assert_eq!(second.attempt(), 2, "the second attempt is due at once");
        drop(second);
        let wait = in_progress(store.claim_with(&request("k"))).retry_after();
        assert!(wait > SECOND / 2 && wait <= SECOND, "{wait:?}");
        let store = bed.reopen(store);
        assert_eq!(in_progress(store.claim_with(&request("k"))).retry_after(), wait, "kept over a restart");
        bed.clock.advance(wait);
        drop(claimed(store.claim_with(&request("k"))));
        let wait = in_progress(store.claim_with(&request("k"))).retry_after();
        assert!(wait > SECOND && wait <= 2 * SECOND, "{wait:?}");
        assert_eq!(unheld(&store).len(), 0, "it waits; nobody has to do anything about it");
        done_with(store);
    });
}

#[test]
fn a_review_ends_as_decided_with_who_and_why_in_the_record() {
    on_both(|bed| {
        for cold in [false, true] {
            let store = bed.open();
            let note = Note::new("ada", "seen in the ledger");
            let park = |key: &str| {
                claimed(store.claim_with(&request(key))).fail(Failure::park("unclear")).unwrap();
                if cold {
                    store.checkpoint().unwrap();
                }
                parked(&store)
            };
            let record = park("done");
            store.review(&record, &Review::Complete(b"90017".to_vec()), &note).unwrap();
            assert_eq!(duplicate(store.claim_with(&request("done"))).response(), b"90017");
            assert_eq!(refused(store.review(&record, &Review::Requeue, &note)), ErrorKind::StaleLease);
            let kept = store.get("done").unwrap().unwrap().history();
            assert_eq!((kept[0].what(), kept[0].note()), (Happened::Parked, &b"unclear"[..]));
            assert_eq!((kept[1].what(), kept[1].by()), (Happened::Completed, &b"ada"[..]));
            assert_eq!(kept[1].note(), b"seen in the ledger");

            store.review(&park("failed"), &Review::Fail(b"never".to_vec()), &note).unwrap();
            assert!(duplicate(store.claim_with(&request("failed"))).is_failure());
            store.review(&park("gone"), &Review::Forget, &note).unwrap();
            assert!(store.get("gone").unwrap().is_none());
            assert_eq!(claimed(store.claim_with(&request("gone"))).attempt(), 1);
            for key in ["done", "failed", "gone"] {
                store.forget(key).unwrap();
            }
            done_with(store);
        }
    });
}

/// The count of attempts goes on, for as many more as the policy allows.
#[test]
fn a_requeued_key_gets_attempts_and_keeps_its_count() {
    on_both(|bed| {
        let store = bed.open();
        let note = Note::new("ada", "the API is back");
        let fail = |store: &Store, attempt: u32| {
            let lease = claimed(store.claim_with(&request("k")));
            assert_eq!(lease.attempt(), attempt);
            lease.fail(Failure::retry()).unwrap();
        };
        (1..=3).for_each(|attempt| fail(&store, attempt));
        assert_eq!(refused(store.claim_with(&request("k"))), ErrorKind::Parked);
        let record = parked(&store);
        assert_eq!(record.note(), b"attempts used up");
        store.review(&record, &Review::Requeue, &note).unwrap();
        let store = bed.reopen(store);
        (4..=6).for_each(|attempt| fail(&store, attempt));
        assert_eq!(refused(store.claim_with(&request("k"))), ErrorKind::Parked);
        assert_eq!(whats(&parked(&store))[3], (Happened::Requeued, 3));
        assert_eq!(parked(&store).history().len(), 7);
        done_with(store);
    });
}

#[test]
fn the_calls_have_twins_that_are_futures() {
    on_both(|bed| {
        let store = bed.open();
        for key in ["a", "b"] {
            abandon(&store, key);
        }
        let found = unheld(&store);
        let lease = block_on(store.take_over_async(&found[0], MINUTE)).unwrap();
        block_on(lease.complete_async("found")).unwrap();
        let again = block_on(store.take_over_async(&found[0], MINUTE));
        assert_eq!(refused(again.map(drop)), ErrorKind::StaleLease);
        let ends = found.into_iter().map(|orphan| (orphan, Failure::park("look"))).collect();
        let verdicts = block_on(store.fail_orphans_async(ends)).unwrap();
        assert_eq!(verdicts.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
        let (note, review) = (Note::new("ada", "seen"), Review::Complete(b"r".to_vec()));
        block_on(store.review_async(&parked(&store), review, note)).unwrap();
        assert_eq!(duplicate(store.claim_with(&request("b"))).response(), b"r");
        done_with(store);
    });
}

#[test]
fn a_watch_sleeps_until_a_lease_lapses_or_is_dropped_and_no_longer() {
    let bed = Bed::memory();
    let store = bed.open();
    let watch = store.watch_orphans().unwrap();
    assert_eq!(refused(store.watch_orphans()), ErrorKind::Misuse, "one at a time");
    let held = claimed(store.claim_with(&request("held").lease(HOUR)));
    let woken = AtomicUsize::new(0);
    let look_after = || {
        let mut found = 0;
        while found < 3 {
            watch.look();
            let orphans = unheld(&store);
            found += orphans.len();
            let ends: Vec<_> = orphans.into_iter().map(|orphan| (orphan, Failure::park("seen"))).collect();
            store.fail_orphans(&ends).unwrap();
            woken.fetch_add(1, Ordering::SeqCst);
            watch.sleep(DAY);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(look_after);
        eventually(|| woken.load(Ordering::SeqCst) == 1);
        abandon(&store, "dropped");
        eventually(|| store.parked().count() == 1);
        // A lease shorter than all that were there when the watch fell asleep.
        let _short = claimed(store.claim_with(&request("short").lease(SECOND)));
        bed.clock.advance(SECOND);
        eventually(|| store.parked().count() == 2);
        // Renewed in time: nothing is found, and the sleep goes on.
        held.renew(2 * HOUR).unwrap();
        bed.clock.advance(HOUR);
        assert_eq!(store.parked().count(), 2);
        bed.clock.advance(HOUR);
        eventually(|| store.parked().count() == 3);
        watch.wake();
    });
    drop(watch);
    drop(store.watch_orphans().unwrap());
    done_with(store);
}

#[test]
fn a_watch_ends_its_sleep_when_the_store_closes() {
    let store = Bed::memory().open();
    let watch = store.watch_orphans().unwrap();
    watch.look();
    std::thread::scope(|scope| {
        scope.spawn(|| watch.sleep(DAY));
        store.close().unwrap();
    });
}

#[test]
fn a_record_of_elsewhere_or_of_another_time_is_refused() {
    let (here, elsewhere) = (Bed::memory().open(), Bed::memory().open());
    let other = elsewhere.namespace("tenant").unwrap();
    drop(claimed(other.claim("k", DAY)));
    let foreign = only(&elsewhere);
    assert_eq!(refused(here.take_over(&foreign, MINUTE).map(drop)), ErrorKind::StaleLease);
    assert_eq!(here.fail_orphans(&[]).unwrap().len(), 0);
    abandon(&here, "k");
    let listed = only(&here);
    assert_eq!(listed.state(), RecordState::Orphaned);
    claimed(here.claim_with(&request("k"))).complete("r").unwrap();
    let verdicts = here.fail_orphans(&[(listed.clone(), Failure::retry())]).unwrap();
    assert_eq!(verdicts[0].as_ref().unwrap_err().kind(), ErrorKind::StaleLease);
    assert_eq!(refused(here.review(&listed, &Review::Forget, &Note::new("", ""))), ErrorKind::StaleLease);
    let debug =
        format!("{listed:?} {:?} {:?}", Review::Fail(b"secret".to_vec()), Note::new("secret", "secret"));
    assert!(!debug.contains("secret"));
    done_with(here);
    done_with(elsewhere);
}
