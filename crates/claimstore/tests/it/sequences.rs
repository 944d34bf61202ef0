//! Streams of positions: what is answered, what lasts, what is reported.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, block_on, claimed as claimed_key, done_with, on_both, patiently, refused,
};
use claimstore::{Error, ErrorKind, Filter, Options, Policy, PositionClaim, PositionLease, Sequence, Store};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

#[track_caller]
fn claimed(answer: Result<PositionClaim, Error>) -> PositionLease {
    match answer {
        Ok(PositionClaim::Claimed(lease)) => lease,
        other => panic!("not claimed: {other:?}"),
    }
}

#[track_caller]
fn duplicate(answer: Result<PositionClaim, Error>) {
    match answer {
        Ok(PositionClaim::Duplicate) => {}
        other => panic!("not a duplicate: {other:?}"),
    }
}

#[track_caller]
fn in_progress(answer: Result<PositionClaim, Error>) -> claimstore::Holder {
    match answer {
        Ok(PositionClaim::InProgress(holder)) => holder,
        other => panic!("not in progress: {other:?}"),
    }
}

fn work(stream: &Sequence, positions: impl IntoIterator<Item = u64>) {
    positions.into_iter().for_each(|position| claimed(stream.claim(position)).complete().unwrap());
}

#[test]
fn positions_are_done_once_in_any_order() {
    on_both(|bed| {
        let store = bed.open();
        let stream = store.sequence("orders/3").unwrap();
        work(&stream, [0, 1, 4, 2]);
        assert_eq!((stream.next().unwrap(), stream.gaps().unwrap()), (3, vec![3..=3]));
        [0, 1, 2, 4].into_iter().for_each(|position| duplicate(stream.claim(position)));
        work(&stream, [3]);
        assert_eq!((stream.next().unwrap(), stream.gaps().unwrap()), (5, vec![]));
        let other = store.sequence("orders/4").unwrap();
        assert_eq!(other.next().unwrap(), 0);
        work(&other, [7]);
        store.checkpoint().unwrap();
        work(&stream, [6]);
        let store = bed.reopen(store);
        let stream = store.sequence("orders/3").unwrap();
        assert_eq!((stream.next().unwrap(), stream.gaps().unwrap()), (5, vec![5..=5]));
        [0, 4, 6].into_iter().for_each(|position| duplicate(stream.claim(position)));
        assert_eq!(store.sequence("orders/4").unwrap().gaps().unwrap(), [0..=6]);
        done_with(store);
    });
}

#[test]
fn a_stream_lasts_longer_than_any_ttl() {
    let bed = Bed::disk();
    let mut store = bed.open();
    work(&store.sequence("s").unwrap(), 0..10);
    for _ in 0..5 {
        bed.clock.advance(100 * DAY);
        store.checkpoint().unwrap();
        store.prune().unwrap();
        store.compact().unwrap();
        assert_eq!(store.sequence("s").unwrap().next().unwrap(), 10);
        store = bed.reopen(store);
    }
    duplicate(store.sequence("s").unwrap().claim(9));
    done_with(store);
}

#[test]
fn a_running_holder_is_in_the_way_and_a_lapsed_one_is_superseded() {
    let bed = Bed::memory();
    let store = bed.open();
    let stream = store.sequence("s").unwrap().lease(MINUTE).unwrap();
    let first = claimed(stream.claim(1));
    assert_eq!(in_progress(stream.claim(1)).retry_after(), MINUTE);
    assert_eq!(in_progress(store.sequence("s").unwrap().claim(1)).retry_after(), MINUTE);
    // Dropped: claimable at once.
    drop(claimed(stream.claim(2)));
    let again = claimed(stream.claim(2));
    assert!(again.token() > first.token());
    again.complete().unwrap();
    bed.clock.advance(MINUTE);
    let second = claimed(stream.claim(1));
    assert!(second.token() > first.token());
    assert_eq!(first.child_key("post"), second.child_key("post"));
    assert_ne!(first.child_key("post"), claimed(stream.claim(3)).child_key("post"));
    let refusal = first.complete().unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::StaleLease);
    assert!(refusal.into_parts().1.is_none());
    bed.clock.advance(2 * MINUTE);
    second.complete().unwrap(); // lapsed, but nobody took it over
    duplicate(stream.claim(1));
    done_with(store);
}

#[test]
fn the_window_is_bounded_and_gaps_can_be_given_up() {
    let bed = Bed::memory();
    let store = bed.open();
    let stream = store.sequence("s").unwrap();
    let window = Sequence::WINDOW;
    work(&stream, [window - 1]);
    assert_eq!(refused(stream.claim(window)), ErrorKind::Overloaded);
    assert_eq!(refused(stream.claim(u64::MAX)), ErrorKind::Misuse);
    assert_eq!(stream.gaps().unwrap(), [0..=window - 2]);
    let held = claimed(stream.claim(5));
    assert_eq!(refused(stream.skip_to(6)), ErrorKind::Misuse, "it is being worked on");
    stream.skip_to(5).unwrap();
    stream.skip_to(1).unwrap();
    assert_eq!(stream.next().unwrap(), 5);
    held.complete().unwrap();
    stream.skip_to(window - 1).unwrap();
    assert_eq!((stream.next().unwrap(), stream.gaps().unwrap()), (window, vec![]));
    work(&stream, [window]);
    stream.skip_to(u64::MAX).unwrap();
    duplicate(stream.claim(u64::MAX - 1));
    done_with(store);
}

#[test]
fn a_stretch_of_a_log_is_one_claim() {
    let bed = Bed::disk();
    let store = bed.open();
    let log = store.sequence("wal").unwrap().lease(MINUTE).unwrap();
    claimed(log.claim_up_to(0x1_6b37_4848)).complete().unwrap();
    duplicate(log.claim_up_to(0x1_6b37_4848));
    duplicate(log.claim_up_to(17));
    let held = claimed(log.claim_up_to(0x1_6b37_9000));
    in_progress(log.claim_up_to(0x1_6b38_0000));
    in_progress(log.claim_up_to(0x1_6b37_8000));
    in_progress(log.claim(0x1_6b37_4900));
    held.complete().unwrap();
    assert_eq!(log.next().unwrap(), 0x1_6b37_9001);
    // A lapsed stretch is taken over by one that meets it.
    let lapsed = claimed(log.claim_up_to(0x1_6b40_0000));
    bed.clock.advance(MINUTE);
    let taken = claimed(log.claim_up_to(0x1_6b41_0000));
    assert_eq!(lapsed.complete().unwrap_err().kind(), ErrorKind::StaleLease);
    taken.complete().unwrap();
    let store = bed.reopen(store);
    assert_eq!(store.sequence("wal").unwrap().next().unwrap(), 0x1_6b41_0001);
    done_with(store);
}

#[test]
fn after_a_restart_nobody_holds_a_position_and_tokens_rise() {
    let bed = Bed::disk();
    let store = bed.open();
    let lease = claimed(store.sequence("s").unwrap().claim(3));
    let key = lease.child_key("post");
    let store = bed.reopen(store);
    assert_eq!(lease.complete().unwrap_err().kind(), ErrorKind::Closed);
    let again = claimed(store.sequence("s").unwrap().claim(3));
    assert_eq!(again.child_key("post"), key);
    let stream = store.sequence("s").unwrap();
    let other = claimed_key(store.claim("k", HOUR));
    assert!(other.token() > again.token());
    done_with(store);
    assert_eq!(refused(stream.claim(1)), ErrorKind::Closed);
    assert_eq!(refused(stream.next()), ErrorKind::Closed);
}

#[test]
fn the_streams_namespace_is_the_stores_own() {
    let bed = Bed::disk();
    let store = bed.open();
    work(&store.sequence("s").unwrap(), [0]);
    assert_eq!(refused(store.namespace("claimstore/sequences")), ErrorKind::Misuse);
    assert_eq!(refused(store.namespace_with("claimstore/sequences", Policy::new())), ErrorKind::Misuse);
    claimed_key(store.claim("s", HOUR)).release().unwrap();
    let store = bed.reopen(store);
    assert_eq!(store.orphans().count(), 0);
    assert_eq!(store.scan(Filter::default()).count(), 0);
    assert_eq!(refused(store.sequence("")), ErrorKind::InvalidKey);
    assert_eq!(refused(store.sequence([0; 1_025])), ErrorKind::TooLarge);
    assert_eq!(refused(store.sequence("s").unwrap().lease(Duration::ZERO)), ErrorKind::Misuse);
    let shown =
        format!("{:?} {:?}", store.sequence("secret").unwrap(), store.sequence("secret").unwrap().claim(0));
    assert!(!shown.contains("secret"), "{shown}");
    done_with(store);
}

#[test]
fn a_backup_has_the_streams() {
    let (bed, copies) = (Bed::disk(), tempfile::tempdir().unwrap());
    let store = bed.open();
    let stream = store.sequence("s").unwrap();
    work(&stream, [0, 1, 3]);
    let before = claimed(stream.claim(2)).token();
    store.backup(copies.path().join("copy")).unwrap();
    work(&stream, [4]);
    done_with(store);
    let store = bed.options().open(copies.path().join("copy")).unwrap();
    let stream = store.sequence("s").unwrap();
    assert_eq!((stream.next().unwrap(), stream.gaps().unwrap()), (2, vec![2..=2]));
    assert!(claimed(stream.claim(4)).token() > before);
    done_with(store);
}

#[test]
fn a_stream_can_be_asked_without_blocking() {
    on_both(|bed| {
        let store = bed.open();
        let stream = block_on(store.sequence_async("s")).unwrap();
        let lease = claimed(block_on(stream.claim_async(0)));
        in_progress(block_on(stream.claim_async(0)));
        block_on(lease.complete_async()).unwrap();
        duplicate(block_on(stream.claim_async(0)));
        // Dropped before it was told: given back.
        drop(stream.claim_async(1));
        drop(claimed(block_on(stream.claim_async(1))));
        block_on(claimed(block_on(stream.claim_up_to_async(7))).complete_async()).unwrap();
        block_on(stream.skip_to_async(20)).unwrap();
        // Not waited for, but done before the store is closed.
        drop(claimed(stream.claim(20)).complete_async());
        let store = bed.reopen(store);
        assert_eq!(store.sequence("s").unwrap().next().unwrap(), 21);
        done_with(store);
        assert_eq!(refused(block_on(stream.claim_async(1))), ErrorKind::Closed);
    });
}

/// Many threads deliver a stream several times over: each position is done once.
#[test]
fn threads_share_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().open(dir.path()).unwrap();
    let (threads, positions) = (8, 400);
    let barrier = Barrier::new(threads);
    let done = std::thread::scope(|scope| {
        let deliver = |thread: usize| {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                let stream = store.sequence("s").unwrap();
                barrier.wait();
                let order = (0..positions).map(|at| (at / 16 * 16) + (at * 7 + thread as u64) % 16);
                let mut mine = Vec::new();
                for position in order {
                    if let PositionClaim::Claimed(lease) = stream.claim(position).unwrap() {
                        mine.push((position, lease.token()));
                        lease.complete().unwrap();
                    }
                }
                mine
            })
        };
        let threads: Vec<_> = (0..threads).map(deliver).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let distinct: BTreeSet<u64> = done.iter().map(|(position, _)| *position).collect();
    let tokens: BTreeSet<u64> = done.iter().map(|(_, token)| *token).collect();
    assert_eq!((done.len(), distinct.len(), tokens.len()), (400, 400, 400));
    assert_eq!(store.sequence("s").unwrap().next().unwrap(), positions);
    done_with(store);
    let store = patiently(|| Store::open(dir.path())).unwrap();
    assert_eq!(store.sequence("s").unwrap().next().unwrap(), positions);
    done_with(store);
}

/// Its record is a claim of an earlier life until somebody opens the stream: nobody may end it as an orphan.
#[test]
fn a_stream_that_was_not_opened_yet_is_no_orphan() {
    on_both(|bed| {
        let store = bed.open();
        work(&store.sequence("orders/3").unwrap(), [0, 1]);
        let store = bed.reopen(store);
        assert_eq!((store.unheld().count(), store.orphans().count()), (0, 0));
        assert!(store.namespaces().iter().all(|name| !name.contains("sequences")));
        assert_eq!(store.sequence("orders/3").unwrap().next().unwrap(), 2);
        done_with(store);
    });
}
