//! Records from elsewhere: what is written, what is left alone, and what a crash leaves.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, START_S, block_on, claimed, clock, done_with, duplicate, in_progress,
    on_both, refused, request,
};
use crate::rig::Rig;
use claimstore::{
    Claim, ErrorKind, Filter, Happened, Import, Imported, Options, Past, Policy, Record, RecordState, Store,
    TimeOrdered,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

use ErrorKind::{Full, InvalidKey, Misuse, TooLarge};
use Imported::{Differs, Expired, Known, Stored};

fn import(store: &Store, namespace: &str, records: &[Import]) -> Vec<Result<Imported, ErrorKind>> {
    let namespace = store.namespace(namespace).unwrap();
    let answers = namespace.import_many(records).unwrap();
    answers.into_iter().map(|answer| answer.map_err(|error| error.kind())).collect()
}

fn now(bed: &Bed) -> SystemTime {
    let store = bed.open();
    let now = store.store_time();
    done_with(store);
    now
}

#[test]
fn a_record_is_as_it_was_written() {
    on_both(|bed| {
        let now = now(bed);
        let past = Past::new(Happened::Failed, 1, now - 2 * HOUR)
            .with_token(77)
            .with_claimed_at(now - 3 * HOUR)
            .with_note("by", "note");
        let record = Import::completed("done", "response")
            .claimed_at(now - HOUR)
            .settled_at(now - MINUTE)
            .expires_at(now + DAY)
            .attempt(2)
            .attempts_granted(5)
            .fingerprint([7; 32])
            .origin("origin")
            .history(vec![past.clone()]);
        let store = bed.open();
        assert_eq!(import(&store, "shop", &[record]), [Ok(Imported::Stored)]);
        for store in [store.clone(), bed.reopen(store)] {
            let Ok(shop) = store.namespace("shop") else { continue };
            let found: Record = shop.get("done").unwrap().unwrap();
            assert_eq!((found.state(), found.attempt()), (RecordState::Completed, 2));
            assert_eq!((found.claimed_at(), found.settled_at()), (now - HOUR, Some(now - MINUTE)));
            assert_eq!((found.expires_at(), found.attempts_granted()), (Some(now + DAY), 5));
            assert_eq!((found.response(), found.origin()), (Some(&b"response"[..]), &b"origin"[..]));
            assert_eq!((found.fingerprint(), found.history()), (Some([7; 32].into()), vec![past.clone()]));
            let receipt = duplicate(shop.claim_with(&request("done").fingerprint([7; 32])));
            assert!(receipt.fingerprint_checked() && receipt.response() == b"response");
            assert_eq!(
                refused(shop.claim_with(&request("done").fingerprint([8; 32]))),
                ErrorKind::PayloadMismatch
            );
            done_with(store);
        }
    });
}

#[test]
fn each_state_is_claimed_as_its_own() {
    let bed = Bed::memory();
    let now = now(&bed);
    let store = bed.open();
    let records = [
        Import::failed("failed", "why"),
        Import::parked("parked", "in progress there").progress("half"),
        Import::retry("later", now + HOUR).attempt(2).progress("half"),
        Import::retry("due", now - HOUR).attempt(2),
    ];
    assert_eq!(import(&store, "", &records), [Ok(Imported::Stored); 4]);
    assert!(duplicate(store.claim("failed", DAY)).is_failure());
    assert_eq!(refused(store.claim("parked", DAY)), ErrorKind::Parked);
    assert_eq!(in_progress(store.claim("later", DAY)).retry_after(), HOUR);
    let lease = claimed(store.claim("due", DAY));
    assert_eq!(lease.attempt(), 3);
    lease.complete("").unwrap();
    let parked = store.get("parked").unwrap().unwrap();
    assert_eq!((parked.note(), parked.progress()), (&b"in progress there"[..], Some(&b"half"[..])));
    bed.clock.advance(HOUR);
    assert_eq!(claimed(store.claim("later", DAY)).progress(), Some(&b"half"[..]));
    done_with(store);
}

#[test]
fn a_known_key_is_left_alone_and_a_contradiction_told() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("done", DAY)).complete("r").unwrap();
        let held = claimed(store.claim("held", DAY));
        let records = [
            Import::completed("done", "r"),
            Import::completed("done", "other"),
            Import::completed("held", "r"),
            Import::completed("new", "r"),
            Import::completed("new", "r"),
            Import::completed("new", "other"),
        ];
        let expected = [Known, Differs, Known, Stored, Known, Differs].map(Ok);
        assert_eq!(import(&store, "", &records), expected);
        held.complete("mine").unwrap();
        store.checkpoint().unwrap();
        let again = [Known, Differs, Differs, Known, Known, Differs].map(Ok);
        assert_eq!(import(&store, "", &records), again, "also from runs");
        assert_eq!(store.get("held").unwrap().unwrap().response(), Some(&b"mine"[..]));
        done_with(store);
    });
}

#[test]
fn what_is_over_is_not_written_and_the_rest_of_the_ttl_is_kept() {
    let bed = Bed::memory();
    let now = now(&bed);
    let store = bed.open();
    let records = [
        Import::completed("over", "").expires_at(now),
        Import::completed("short", "").settled_at(now - DAY).expires_at(now + MINUTE),
        Import::completed("by ttl", "").settled_at(now - DAY).ttl(DAY + HOUR),
        Import::completed("by policy", "").settled_at(now - DAY + HOUR),
    ];
    assert_eq!(import(&store, "", &records), [Expired, Stored, Stored, Stored].map(Ok));
    bed.clock.advance(SECOND * 59);
    assert_eq!(store.scan(Filter::new()).count(), 3);
    bed.clock.advance(SECOND);
    assert!(matches!(store.claim("short", DAY).unwrap(), Claim::Claimed(_)), "forgotten as it was to be");
    bed.clock.advance(SECOND * 3_539);
    assert_eq!(store.scan(Filter::new()).count(), 3);
    bed.clock.advance(SECOND);
    assert_eq!(store.scan(Filter::new()).count(), 1);
    done_with(store);
}

#[test]
fn what_cannot_be_is_refused_by_itself() {
    let bed = Bed::memory();
    let now = now(&bed);
    let store = bed.open();
    store.namespace_with("small", Policy::new().quota(1, 1 << 20)).unwrap();
    let records = [
        Import::completed("", ""),
        Import::completed([0; 1_025], ""),
        Import::completed("large", vec![0; (1 << 20) + 1]),
        Import::parked("large", vec![0; 4_097]),
        Import::parked("large", "").progress(vec![0; (64 << 10) + 1]),
        Import::completed("k", "").attempt(0),
        Import::completed("k", "").ttl(SECOND / 2),
        Import::completed("k", "").expires_at(now + 3_700 * DAY),
        Import::completed("fits", ""),
        Import::completed("no room", ""),
    ];
    let expected = [InvalidKey, TooLarge, TooLarge, TooLarge, TooLarge, Misuse, Misuse, Misuse].map(Err);
    let answers = import(&store, "small", &records);
    assert_eq!(answers[..8], expected);
    assert_eq!(answers[8..], [Ok(Imported::Stored), Err(Full)]);
    let many = vec![Import::completed("k", ""); 65_537];
    let shop = store.namespace("shop").unwrap();
    assert_eq!(refused(shop.import_many(&many)), TooLarge);
    let answers = block_on(shop.import_many_async(vec![Import::completed("k", "")])).unwrap();
    assert_eq!(answers[0].as_ref().unwrap(), &Imported::Stored);
    done_with(store);
}

/// Ids of now, and of 40 days later.
#[test]
fn p12_an_imported_time_ordered_key_never_comes_back() {
    let bed = Bed::memory();
    let now = now(&bed);
    let store = bed.open();
    let policy = Policy::daily().time_ordered_keys(TimeOrdered::UuidV7);
    let events = store.namespace_with("events", policy).unwrap();
    let id = |time: SystemTime| {
        let ms = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let mut id = ((ms << 80) | (7 << 76) | (1 << 63)).to_be_bytes();
        id[15] = 1;
        id
    };
    let (key, ahead) = (id(now), id(now + 40 * DAY));
    let records = [Import::completed(key, "").expires_at(now + HOUR), Import::completed(ahead, "")];
    assert_eq!(import(&store, "events", &records), [Ok(Imported::Stored), Err(ErrorKind::FutureKey)]);
    for _ in 0..20 {
        bed.clock.advance(DAY);
        match events.claim_default(key) {
            Ok(Claim::Duplicate(_)) => {}
            other => assert_eq!(refused(other), ErrorKind::TooOld),
        }
        store.checkpoint().unwrap();
        store.prune().unwrap();
    }
    assert_eq!(refused(events.claim_default(key)), ErrorKind::TooOld);
    assert!(matches!(events.claim_default(id(now + 20 * DAY)).unwrap(), Claim::Claimed(_)));
    done_with(store);
}

#[test]
fn p2_what_was_said_to_be_stored_survives_the_death_of_the_process() {
    let (rig, clock) = (Rig::default(), clock());
    let options = || Options::new().clock(clock.clone()).background(false);
    let store = rig.open(options());
    let records: Vec<Import> =
        (0..1_000).map(|number| Import::completed(format!("k{number}"), "response")).collect();
    assert_eq!(import(&store, "", &records), vec![Ok(Imported::Stored); 1_000]);
    let token = store.get("k999").unwrap().unwrap().token();
    let store = rig.crash(store, options());
    assert_eq!(import(&store, "", &records), vec![Ok(Imported::Known); 1_000]);
    assert!(claimed(store.claim("next", DAY)).token() > token, "tokens rise");
    done_with(store);
}

#[test]
fn p18_its_debug_shows_no_key_and_no_payload() {
    let past = Past::new(Happened::Failed, 1, SystemTime::UNIX_EPOCH).with_note("canary", "canary");
    for import in [
        Import::completed("canary", "canary").origin("canary").fingerprint([b'c'; 32]).history(vec![past]),
        Import::parked("canary", "canary").progress("canary"),
    ] {
        let text = format!("{import:?}");
        assert!(!text.contains("canary") && !text.contains("99, 99"), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// And what was stored is found, until it is over.
    #[test]
    fn p19_any_record_is_stored_or_refused(
        key in vec(any::<u8>(), 0..40),
        body in vec(any::<u8>(), 0..40),
        seconds in any::<[u64; 4]>(),
        numbers in any::<(u8, u32, u32)>(),
    ) {
        let bed = Bed::memory();
        let store = bed.open();
        // Half of them about now, so that not all are over.
        let time = |seconds: u64| {
            let seconds = if seconds.is_multiple_of(2) { START_S + seconds % 1_000 } else { seconds };
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        };
        let [Some(claimed), Some(settled), Some(expires)] = [0, 1, 2].map(|place| time(seconds[place])) else {
            return Ok(());
        };
        let import = match numbers.0 % 4 {
            0 => Import::completed(&key, &body),
            1 => Import::failed(&key, &body),
            2 => Import::retry(&key, expires),
            _ => Import::parked(&key, &body),
        };
        let import = import.claimed_at(claimed).settled_at(settled).expires_at(expires).origin(&body);
        let import = import.attempt(numbers.1).attempts_granted(numbers.2).progress(&body);
        let import = if numbers.0 % 3 == 0 { import.ttl(Duration::from_secs(seconds[3])) } else { import };
        let answer = store.namespace("").unwrap().import_many(&[import]).unwrap().remove(0);
        let found = if key.is_empty() { None } else { store.get(&key).unwrap() };
        prop_assert_eq!(matches!(answer, Ok(Imported::Stored)), found.is_some());
        if let Some(found) = found {
            prop_assert!(found.claimed_at() <= found.settled_at().unwrap());
            prop_assert!(found.settled_at().unwrap() <= store.store_time());
            prop_assert_eq!(found.attempt(), numbers.1);
        }
        done_with(store);
    }
}
