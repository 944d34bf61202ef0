//! Claims that commit together with the caller's own rows.

use crate::common::{
    Bed, DAY, HOUR, abandon, claimed, done_with, duplicate, eventually, in_progress, on_both, refused,
    request,
};
use claimstore::{Claim, Error, ErrorKind, Failure, RecordState, Store, Transacted, Transaction};
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

fn post(store: &Store, key: &str, amount: &str) -> Result<Transacted, Error> {
    store.transact(&request(key), |tx| {
        tx.table("ledger")?.insert(key, amount)?;
        Ok(amount.as_bytes().to_vec())
    })
}

/// Posts, and sees that it was done now.
#[track_caller]
fn post_now(store: &Store, key: &str, amount: &str) {
    assert_eq!(post(store, key, amount).unwrap(), Transacted::Done(amount.as_bytes().to_vec()));
}

#[track_caller]
fn check_posted(store: &Store, key: &str, amount: &str) {
    assert_eq!(store.table("ledger").unwrap().get(key).unwrap().unwrap(), amount.as_bytes());
    assert_eq!(duplicate(store.claim(key, DAY)).response(), amount.as_bytes());
    assert!(matches!(post(store, key, "another"), Ok(Transacted::Duplicate(_))), "nothing ran");
    assert_eq!(store.table("ledger").unwrap().get(key).unwrap().unwrap(), amount.as_bytes());
}

#[test]
fn rows_and_result_are_there_together_now_and_later() {
    on_both(|bed| {
        let store = bed.open();
        assert!(store.table("ledger").unwrap().get("k").unwrap().is_none(), "nobody has written yet");
        assert_eq!(post(&store, "k", "12.50").unwrap(), Transacted::Done(b"12.50".to_vec()));
        check_posted(&store, "k", "12.50");
        let store = bed.reopen(store);
        check_posted(&store, "k", "12.50");
        store.checkpoint().unwrap();
        check_posted(&store, "k", "12.50");
        post_now(&store, "k2", "7");
        store.checkpoint().unwrap();
        let store = bed.reopen(store);
        check_posted(&store, "k", "12.50");
        check_posted(&store, "k2", "7");
        bed.clock.advance(DAY);
        assert_eq!(post(&store, "k", "1").unwrap(), Transacted::Done(b"1".to_vec()), "expired");
        done_with(store);
    });
}

/// Runs a transact that writes and then ends as `end` says; sees that nothing of it is left.
#[track_caller]
fn check_rolled_back(end: impl Fn() -> Result<Vec<u8>, Error>) {
    on_both(|bed| {
        let store = bed.open();
        post_now(&store, "earlier", "1");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            store.transact(&request("k"), |tx| {
                let mut ledger = tx.table("ledger")?;
                ledger.insert("k", "2")?;
                ledger.remove("earlier")?;
                tx.table("new")?.insert("k", "2")?;
                drop(ledger);
                end()
            })
        }));
        assert!(!matches!(outcome, Ok(Ok(_))));
        for _ in 0..2 {
            assert!(store.get("k").unwrap().is_none());
            let ledger = store.table("ledger").unwrap();
            assert_eq!(ledger.range(..).unwrap().count(), 1);
            assert_eq!(ledger.get("earlier").unwrap().unwrap(), b"1");
            assert_eq!(store.table("new").unwrap().range(..).unwrap().count(), 0);
            store.checkpoint().unwrap();
        }
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 1, "the claim was rolled back too");
        done_with(store);
    });
}

#[test]
fn an_error_rolls_everything_back() {
    check_rolled_back(|| Err(Error::caller("no such account")));
}

#[test]
fn a_panic_rolls_everything_back() {
    check_rolled_back(|| panic!("boom"));
}

#[test]
fn the_caller_s_error_comes_out_again() {
    let store = Bed::memory().open();
    let failed = store.transact(&request("k"), |_| Err(Error::caller(std::io::Error::other("overdrawn"))));
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Caller);
    assert_eq!(error.source().unwrap().to_string(), "overdrawn");
    done_with(store);
}

#[test]
fn what_would_wait_for_itself_is_misuse() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("held", DAY));
        let done = store.transact(&request("k"), |_| {
            assert_eq!(refused(store.transact(&request("inner"), |_| Ok(Vec::new()))), ErrorKind::Misuse);
            let (error, back) = lease.complete_in(|_| Ok(Vec::new())).unwrap_err().into_parts();
            assert_eq!(error.kind(), ErrorKind::Misuse);
            back.unwrap().complete("outside of tables").unwrap();
            assert_eq!(refused(store.checkpoint()), ErrorKind::Misuse);
            assert_eq!(refused(store.prune()), ErrorKind::Misuse);
            assert_eq!(refused(store.compact()), ErrorKind::Misuse);
            assert_eq!(refused(store.verify()), ErrorKind::Misuse);
            assert_eq!(refused(store.upkeep()), ErrorKind::Misuse);
            assert_eq!(refused(store.after_restore()), ErrorKind::Misuse);
            assert_eq!(refused(store.clone().close()), ErrorKind::Misuse);
            Ok(Vec::new())
        });
        assert_eq!(done.unwrap(), Transacted::Done(Vec::new()));
        assert!(store.get("inner").unwrap().is_none());
        duplicate(store.claim("held", DAY));
        done_with(store);
    });
}

#[test]
fn another_store_s_transact_may_be_inside() {
    let (one, two) = (Bed::memory().open(), Bed::memory().open());
    let done = one.transact(&request("k"), |_| {
        post_now(&two, "k", "1");
        Ok(Vec::new())
    });
    assert!(matches!(done, Ok(Transacted::Done(_))));
    check_posted(&two, "k", "1");
    done_with(one);
    done_with(two);
}

#[test]
fn a_table_is_open_once_at_a_time() {
    let store = Bed::memory().open();
    let done = store.transact(&request("k"), |tx| {
        let ledger = tx.table("ledger")?;
        assert_eq!(refused(tx.table("ledger")), ErrorKind::Misuse);
        drop(ledger);
        tx.table("ledger")?.insert("k", "v")?;
        assert_eq!(refused(tx.table("")), ErrorKind::Misuse);
        assert_eq!(refused(tx.table(&"n".repeat(256))), ErrorKind::Misuse);
        assert_eq!(refused(tx.table("ledger")?.insert(vec![0; (64 << 10) + 1], "")), ErrorKind::TooLarge);
        Ok(Vec::new())
    });
    assert!(matches!(done, Ok(Transacted::Done(_))));
    assert_eq!(refused(store.table("")), ErrorKind::Misuse);
    done_with(store);
}

#[test]
fn a_transaction_sees_its_own_rows() {
    let store = Bed::memory().open();
    let work = |tx: &Transaction<'_>| {
        let mut table = tx.table("t")?;
        assert_eq!(table.insert("a", "1")?, None);
        assert_eq!(table.insert("a", "2")?.unwrap(), b"1");
        table.insert("b", "3")?;
        assert_eq!(table.get("a")?.unwrap(), b"2");
        assert_eq!(
            table.range(..).map(Result::unwrap).map(|(key, _)| key).collect::<Vec<_>>().concat(),
            b"ab"
        );
        assert_eq!(table.remove("a")?.unwrap(), b"2");
        assert_eq!(table.remove("a")?, None);
        Ok(Vec::new())
    };
    drop(store.transact(&request("k"), work).unwrap());
    assert_eq!(store.table("t").unwrap().range(..).unwrap().count(), 1);
    done_with(store);
}

#[test]
fn complete_in_settles_with_rows_and_hands_the_lease_back_otherwise() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let refused = lease.complete_in(|tx| {
            tx.table("ledger")?.insert("k", "1")?;
            Err(Error::caller("not yet"))
        });
        let (error, lease) = refused.unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::Caller);
        assert!(store.table("ledger").unwrap().get("k").unwrap().is_none());
        in_progress(store.claim("k", DAY));
        let response = lease.unwrap().complete_in(|tx| {
            in_progress(store.claim("k", DAY));
            tx.table("ledger")?.insert("k", "2")?;
            Ok(b"posted".to_vec())
        });
        assert_eq!(response.unwrap(), b"posted");
        let store = bed.reopen(store);
        assert_eq!(duplicate(store.claim("k", DAY)).response(), b"posted");
        assert_eq!(store.table("ledger").unwrap().get("k").unwrap().unwrap(), b"2");
        done_with(store);
    });
}

#[test]
fn complete_in_is_fenced() {
    on_both(|bed| {
        let store = bed.open();
        let old = claimed(store.claim("k", DAY));
        bed.clock.advance(HOUR);
        let new = claimed(store.claim("k", DAY));
        assert_eq!(refused(old.complete_in(|_| panic!("must not run"))), ErrorKind::StaleLease);
        bed.clock.advance(HOUR);
        let done = new.complete_in(|tx| {
            // The lease has lapsed, but the claim is reserved while its rows are written.
            in_progress(store.claim("k", DAY));
            tx.table("ledger")?.insert("k", "1")?;
            Ok(Vec::new())
        });
        done.unwrap();
        duplicate(store.claim("k", DAY));
        done_with(store);
    });
}

#[test]
fn complete_in_abandons_on_panic() {
    let store = Bed::memory().open();
    let lease = claimed(store.claim("k", DAY));
    let panicked = catch_unwind(AssertUnwindSafe(|| lease.complete_in(|_| panic!("boom"))));
    assert!(panicked.is_err());
    assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2);
    done_with(store);
}

#[test]
fn transact_answers_like_a_claim() {
    on_both(|bed| {
        let store = bed.open();
        let held = claimed(store.claim("held", DAY));
        assert!(matches!(post(&store, "held", "1"), Ok(Transacted::InProgress(_))));
        held.fail(Failure::retry_after(HOUR)).unwrap();
        assert!(matches!(post(&store, "held", "1"), Ok(Transacted::InProgress(_))));
        claimed(store.claim("failed", DAY)).fail(Failure::terminal("no")).unwrap();
        let Ok(Transacted::Duplicate(receipt)) = post(&store, "failed", "1") else { panic!() };
        assert!(receipt.is_failure());
        claimed(store.claim("parked", DAY)).fail(Failure::park("n")).unwrap();
        assert_eq!(refused(post(&store, "parked", "1")), ErrorKind::Parked);
        abandon(&store, "orphan");
        post_now(&store, "orphan", "1");
        assert_eq!(store.get("orphan").unwrap().unwrap().attempt(), 2);
        let before = store.get("orphan").unwrap().unwrap().token();
        post_now(&store, "next", "1");
        assert!(store.get("next").unwrap().unwrap().token() > before);
        claimed(store.claim_with(&request("print").fingerprint([1; 32]))).complete("r").unwrap();
        let other = request("print").fingerprint([2; 32]);
        assert_eq!(refused(store.transact(&other, |_| panic!("must not run"))), ErrorKind::PayloadMismatch);
        done_with(store);
    });
}

#[test]
fn an_orphan_s_rolled_back_transact_leaves_the_orphan() {
    on_both(|bed| {
        let store = bed.open();
        abandon(&store, "k");
        assert_eq!(refused(store.transact(&request("k"), |_| Err(Error::caller("no")))), ErrorKind::Caller);
        assert_eq!(store.get("k").unwrap().unwrap().state(), RecordState::Orphaned);
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2);
        done_with(store);
    });
}

#[test]
fn forgetting_a_transacted_key_keeps_its_rows() {
    on_both(|bed| {
        let mut store = bed.open();
        for checkpointed in [false, true] {
            post_now(&store, "k", "1");
            if checkpointed {
                store.checkpoint().unwrap();
            }
            assert!(store.forget("k").unwrap());
            store = bed.reopen(store);
            assert!(store.get("k").unwrap().is_none(), "it does not come back");
            assert_eq!(store.table("ledger").unwrap().get("k").unwrap().unwrap(), b"1");
        }
        done_with(store);
    });
}

// ---- reading tables --------------------------------------------------------------------------------------

#[test]
fn ranges_page_lazily_and_own_what_they_read() {
    on_both(|bed| {
        let store = bed.open();
        let fill = |tx: &Transaction<'_>| {
            let mut table = tx.table("t")?;
            for n in 0..3_500u32 {
                table.insert(n.to_be_bytes(), n.to_le_bytes())?;
            }
            Ok(Vec::new())
        };
        drop(store.transact(&request("fill"), fill).unwrap());
        let (from, to) = (500u32.to_be_bytes(), 3_000u32.to_be_bytes());
        let mut rows = store.table("t").unwrap().range(&from[..]..&to[..]).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().0, from);
        let change = |tx: &Transaction<'_>| {
            let mut table = tx.table("t")?;
            table.remove(2_999u32.to_be_bytes())?;
            Ok(Vec::new())
        };
        drop(store.transact(&request("change"), change).unwrap());
        assert_eq!(rows.count(), 2_498, "later pages are of their own moment");
        let table = store.table("t").unwrap();
        assert_eq!(table.range(..).unwrap().count(), 3_499);
        assert_eq!(table.range(&to[..]..&from[..]).unwrap().count(), 0);
        assert_eq!(store.table("no such").unwrap().range(..).unwrap().count(), 0);
        let mut half = table.range(..).unwrap();
        half.next();
        done_with(store);
        assert_eq!(
            half.by_ref().filter_map(Result::err).map(|error| error.kind()).next(),
            Some(ErrorKind::Closed)
        );
        assert!(half.next().is_none(), "it ends after an error");
    });
}

#[test]
fn a_table_handle_sees_what_is_written_later_and_dies_with_the_store() {
    on_both(|bed| {
        let store = bed.open();
        let table = store.table("ledger").unwrap();
        assert!(table.get("k").unwrap().is_none());
        post_now(&store, "k", "1");
        assert_eq!(table.get("k").unwrap().unwrap(), b"1");
        done_with(store);
        assert_eq!(refused(table.get("k")), ErrorKind::Closed);
        let store = bed.open();
        post_now(&store, "k2", "2");
        drop(table);
        let store = bed.reopen(store);
        check_posted(&store, "k", "1");
        check_posted(&store, "k2", "2");
        done_with(store);
    });
}

#[test]
fn closing_waits_for_a_running_transact_and_commits_none_later() {
    on_both(|bed| {
        let store = bed.open();
        post_now(&store, "first", "1");
        let (inside, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                store.transact(&request("k"), |tx| {
                    tx.table("ledger")?.insert("k", "2")?;
                    inside.store(true, Ordering::SeqCst);
                    eventually(|| go_on.load(Ordering::SeqCst));
                    Ok(Vec::new())
                })
            });
            eventually(|| inside.load(Ordering::SeqCst));
            let closer = scope.spawn(|| store.clone().close());
            eventually(
                || matches!(store.claim("other", DAY), Err(error) if error.kind() == ErrorKind::Closed),
            );
            go_on.store(true, Ordering::SeqCst);
            assert_eq!(refused(writer.join().unwrap()), ErrorKind::Closed);
            closer.join().unwrap().unwrap();
        });
        let store = bed.open();
        assert!(store.get("k").unwrap().is_none());
        assert!(store.table("ledger").unwrap().get("k").unwrap().is_none());
        check_posted(&store, "first", "1");
        done_with(store);
    });
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_closure() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let response = lease.complete_in(move |tx| {
            tx.table("ledger")?.insert("k", "1")?;
            drop(store);
            Ok(b"1".to_vec())
        });
        assert_eq!(response.unwrap(), b"1");
        let store = bed.open();
        check_posted(&store, "k", "1");
        done_with(store);
    });
}

#[test]
fn transacts_of_many_threads_take_turns() {
    let bed = Bed::memory();
    let store = bed.open_with(bed.options().background(true)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    let key = format!("{}", (n + thread * 7) % 50);
                    match post(store, &key, &key).unwrap() {
                        Transacted::Done(_) | Transacted::Duplicate(_) | Transacted::InProgress(_) => {}
                    }
                    if n % 10 == 0 {
                        store.checkpoint().unwrap();
                    }
                }
            });
        }
    });
    for n in 0..50 {
        let key = n.to_string();
        if let Claim::Claimed(lease) = store.claim(&key, DAY).unwrap() {
            panic!("{key} was given again: {lease:?}");
        }
    }
    assert_eq!(store.table("ledger").unwrap().range(..).unwrap().count(), 50);
    done_with(store);
}
