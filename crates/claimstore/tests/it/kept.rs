//! A claim that is kept alive while other things happen to it.

use crate::common::{
    DAY, HOUR, MINUTE, SECOND, claimed, done_with, eventually, in_progress, on_both, request,
};
use claimstore::{Error, ErrorKind, OnDrop, Policy};
use std::thread;
use std::time::Duration;

/// Lets the thread that serves timers have its turn.
#[expect(clippy::disallowed_methods, reason = "the thread of the store cannot be waited for from outside")]
fn a_beat() {
    thread::sleep(Duration::from_millis(60));
}

/// The rows take longer than what is left of the lease, and fail: the claim that comes back is still held.
#[test]
fn rows_that_take_longer_than_the_lease_do_not_lose_it() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let alive = lease.keep_alive(HOUR);
        let refused = lease.complete_in(|_| {
            for _ in 0..7 {
                bed.clock.advance(10 * SECOND);
                a_beat();
            }
            Err(Error::caller(std::io::Error::other("no")))
        });
        let (error, lease) = refused.unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::Caller);
        alive.check().unwrap();
        in_progress(store.claim_with(&request("k")));
        lease.unwrap().complete("r").unwrap();
        done_with(store);
    });
}

/// A dropped lease that keeps its term keeps no more than that.
#[test]
fn what_was_dropped_is_not_kept_alive() {
    on_both(|bed| {
        let store = bed.open();
        let policy = Policy::daily().lease(MINUTE).on_drop(OnDrop::KeepTerm);
        let kept = store.namespace_with("n", policy).unwrap();
        let lease = claimed(kept.claim_default("k"));
        let alive = lease.keep_alive(HOUR);
        drop(lease);
        in_progress(kept.claim_default("k"));
        eventually(|| {
            bed.clock.advance(SECOND);
            alive.check().is_err()
        });
        assert_eq!(alive.check().unwrap_err().kind(), ErrorKind::StaleLease);
        bed.clock.advance(MINUTE);
        claimed(kept.claim_default("k")).complete("r").unwrap();
        done_with(store);
    });
}
