//! An index of the promises. Each has at least one test named after it; where that lies elsewhere, the place is
//! named here. The histories of `claimstore-sim` check P1 to P12 under power loss and failing disks.
//!
//! - P5, P10, P13: beside `recovery::plan`, `engine::time`; P9 there too
//! - P7: `batches`; P12, P17: `namespaces`; P14, P15: `bad_input`
//! - P1 to P4, P6, P8, P9, P11, P16, P18 to P20: below

use crate::common::{
    Bed, DAY, HOUR, MINUTE, abandon, block_on, claimed, clock, done_with, duplicate, eventually, in_progress,
    on_both, poll_once, refused, request,
};
use claimstore::io::{File, LockGuard, MemoryStorage, OpenMode, Storage};
use claimstore::{
    Claim, ClaimRequest, Error, ErrorKind, Failure, Filter, Fingerprint, LeaseToken, ManualClock, Options,
    Policy, RecordState, Store, TimeOrdered,
};
use proptest::prelude::*;
use std::collections::HashSet;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

// ---- a storage that can be left behind, and that can fail ------------------------------------------------

/// Memory whose owner may be gone without a word, as after the death of a process; and whose syncs can be held
/// up or made to fail.
#[derive(Debug, Clone, Default)]
struct Rig {
    memory: Arc<MemoryStorage>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    fail_syncs: AtomicBool,
    hold_syncs: AtomicBool,
    held: AtomicU32,
}

#[derive(Debug)]
struct RigFile {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
}

impl Rig {
    fn open(&self, options: Options) -> Store {
        options.segment_bytes(8 << 20).open_on(Arc::new(self.clone())).unwrap()
    }

    /// Opens it again although nobody closed it.
    fn crash(&self, store: Store, options: Options) -> Store {
        std::mem::forget(store);
        self.open(options)
    }
}

impl Storage for Rig {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.memory.open(name, mode)?;
        Ok(Arc::new(RigFile { file, faults: self.faults.clone() }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.memory.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.sync_dir(dir)
    }

    fn lock(&self, _name: &str) -> io::Result<LockGuard> {
        Ok(Box::new(()))
    }
}

impl File for RigFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.faults.hold_syncs.load(Ordering::SeqCst) {
            self.faults.held.fetch_add(1, Ordering::SeqCst);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if self.faults.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk says no"));
        }
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}

fn quiet(clock: &ManualClock) -> Options {
    Options::new().clock(clock.clone()).background(false)
}

// ---- safety ----------------------------------------------------------------------------------------------

#[test]
fn p1_one_winner() {
    let store = Store::in_memory().unwrap();
    for round in 0..50 {
        let key = format!("k{round}");
        let winners: u32 = std::thread::scope(|scope| {
            let claim = |n: u32| {
                let answer = match n % 3 {
                    0 => store.claim(&key, DAY),
                    1 => block_on(store.claim_async(&request(&key))),
                    _ => store.claim_many(&[request(&key)]).unwrap().remove(0),
                };
                u32::from(answer.unwrap().claimed().is_some_and(|lease| lease.into_token().token() > 0))
            };
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || claim(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(winners, 1);
    }
    done_with(store);
}

#[test]
fn p2_claimed_is_said_only_when_it_is_durable() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    rig.faults.hold_syncs.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let claim = scope.spawn(|| claimed(store.claim("k", DAY)).into_token());
        eventually(|| rig.faults.held.load(Ordering::SeqCst) > 3);
        assert!(!claim.is_finished(), "the sync is not over");
        rig.faults.hold_syncs.store(false, Ordering::SeqCst);
        drop(claim.join().unwrap().to_bytes());
    });
    let store = rig.crash(store, quiet(&clock));
    assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2, "it was there");
    done_with(store);
}

#[test]
fn p3_done_stays_done_across_deaths_and_checkpoints() {
    let (rig, clock) = (Rig::default(), clock());
    let mut store = rig.open(quiet(&clock));
    for round in 0..10u32 {
        for n in 0..20 {
            claimed(store.claim(format!("{round}/{n}"), DAY)).complete(format!("{n}")).unwrap();
        }
        if round % 3 == 0 {
            store.checkpoint().unwrap();
        }
        store = rig.crash(store, quiet(&clock));
        for n in 0..20 * (round + 1) {
            let receipt = duplicate(store.claim(format!("{}/{}", n / 20, n % 20), DAY));
            assert_eq!(receipt.response(), (n % 20).to_string().as_bytes());
        }
    }
    done_with(store);
}

#[test]
fn p4_no_answer_rests_on_what_is_not_durable() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    let lease = claimed(store.claim_with(&request("k").fingerprint([1; 32])));
    rig.faults.hold_syncs.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let complete = scope.spawn(|| lease.complete("r"));
        eventually(|| rig.faults.held.load(Ordering::SeqCst) > 3);
        let others = [
            scope.spawn(|| drop(duplicate(store.claim("k", DAY)))),
            scope.spawn(|| {
                let other = store.claim_with(&request("k").fingerprint([2; 32]));
                assert_eq!(refused(other), ErrorKind::PayloadMismatch);
            }),
            scope.spawn(|| assert_eq!(store.get("k").unwrap().unwrap().state(), RecordState::Completed)),
            scope.spawn(|| {
                let record = store.scan(Filter::new()).next().unwrap().unwrap();
                assert_eq!(record.state(), RecordState::Completed);
            }),
        ];
        for _ in 0..20 {
            std::thread::park_timeout(Duration::from_millis(1));
            assert!(others.iter().all(|other| !other.is_finished()), "an answer before its sync");
        }
        rig.faults.hold_syncs.store(false, Ordering::SeqCst);
        complete.join().unwrap().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
    });
    done_with(store);
}

#[test]
fn p5_tokens_rise_through_everything() {
    on_both(|bed| {
        let mut store = bed.open();
        let mut last = 0;
        for round in 0..40u32 {
            let key = format!("k{}", round % 3);
            match store.claim(&key, HOUR) {
                Ok(Claim::Claimed(lease)) => {
                    assert!(lease.token() > last);
                    last = lease.token();
                    match round % 4 {
                        0 => lease.complete("r").unwrap(),
                        1 => lease.release().unwrap(),
                        2 => lease.fail(Failure::retry()).unwrap(),
                        _ => drop(lease),
                    }
                }
                Ok(Claim::Duplicate(_)) | Err(_) => drop(store.forget(&key).unwrap()),
                Ok(Claim::InProgress(holder)) => panic!("{holder:?}"),
            }
            match round % 5 {
                0 => store.checkpoint().unwrap(),
                1 => bed.clock.advance(2 * HOUR),
                2 => drop(store.prune().unwrap()),
                3 => store = bed.reopen(store),
                _ => store.compact().unwrap(),
            }
        }
        done_with(store);
    });
}

#[test]
fn p6_after_a_failed_sync_the_handle_says_so_and_reopening_tells() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    claimed(store.claim("before", DAY)).complete("r").unwrap();
    let lease = claimed(store.claim("settling", DAY));
    rig.faults.fail_syncs.store(true, Ordering::SeqCst);
    let (error, _) = lease.complete("r").unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    rig.faults.fail_syncs.store(false, Ordering::SeqCst);
    let kinds = [
        refused(store.claim("later", DAY)),
        refused(block_on(store.claim_async(&request("later")))),
        refused(store.claim_many(&[request("later")])),
        refused(store.get("before")),
        refused(store.forget("before")),
        refused(store.checkpoint()),
        refused(store.stats()),
        refused(block_on(store.verify_async())),
        refused(store.transact(&request("later"), |_| panic!("must not run"))),
    ];
    assert_eq!(kinds, [ErrorKind::Poisoned; 9], "a sync that works again proves nothing");
    assert_eq!(refused(store.clone().close()), ErrorKind::Poisoned);
    let store = rig.crash(store, quiet(&clock));
    assert_eq!(duplicate(store.claim("before", DAY)).response(), b"r");
    assert!(store.get("later").unwrap().is_none());
    match store.claim("settling", DAY).unwrap() {
        Claim::Duplicate(receipt) => assert_eq!(receipt.response(), b"r", "wholly there"),
        Claim::Claimed(lease) => assert_eq!(lease.attempt(), 2, "or wholly absent"),
        Claim::InProgress(holder) => panic!("{holder:?}"),
    }
    done_with(store);
}

/// Threads hand a counter on through one key: every response is one more than the one before it.
#[test]
fn p8_operations_on_a_key_have_one_order() {
    let store = Store::in_memory().unwrap();
    let most = |policy: Policy| policy.max_attempts(u32::MAX);
    let ns = store.namespace_with("n", most(Policy::new())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut lease = claimed(ns.claim_or_wait(&request("counter"), HOUR));
                    let seen =
                        lease.progress().map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
                    assert_eq!(lease.attempt(), seen + 1, "each attempt saw the one before");
                    lease.save_progress((seen + 1).to_le_bytes()).unwrap();
                    lease.fail(Failure::retry()).unwrap();
                }
            });
        }
    });
    let record = ns.get("counter").unwrap().unwrap();
    assert_eq!((record.attempt(), record.progress()), (400, Some(&400u32.to_le_bytes()[..])));
    done_with(store);
}

#[test]
fn p9_a_lease_runs_its_term_whatever_the_wall_clock_does() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        for days in [400u64, 0, 5_000, 1] {
            bed.clock.set_wall(std::time::UNIX_EPOCH + Duration::from_secs(days * 86_400));
            assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), MINUTE);
        }
        lease.complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn p10_a_key_is_not_forgotten_early_by_a_clock_that_jumps_across_a_restart() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("k", DAY)).complete("r").unwrap();
        done_with(store);
        bed.clock.set_wall(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
        let store = bed.open();
        duplicate(store.claim("k", DAY));
        done_with(store);
        bed.clock.reboot();
        let store = bed.open();
        duplicate(store.claim("k", DAY));
        done_with(store);
        let store = bed.open_with(bed.options().accept_clock_step(true)).unwrap();
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 1, "the operator's word");
        done_with(store);
    });
}

#[test]
fn p11_an_orphan_is_neither_lost_nor_completed() {
    let (rig, clock) = (Rig::default(), clock());
    let mut store = rig.open(quiet(&clock));
    let mut last = 0;
    for attempt in 1..=3 {
        let lease = claimed(store.claim("k", DAY));
        assert_eq!(lease.attempt(), attempt, "crashes count");
        assert!(lease.token() > last);
        last = lease.token();
        std::mem::forget(lease);
        if attempt == 2 {
            store.checkpoint().unwrap();
        }
        store = rig.crash(store, quiet(&clock));
        let orphans: Vec<_> = store.orphans().map(Result::unwrap).collect();
        assert_eq!(orphans.len(), 1);
        assert_eq!((orphans[0].key(), orphans[0].token()), (&b"k"[..], last));
    }
    assert_eq!(refused(store.claim("k", DAY)), ErrorKind::Parked);
    assert_eq!(store.parked().count(), 1, "listed for review");
    done_with(store);
}

// ---- limits ----------------------------------------------------------------------------------------------

#[test]
fn p16_claims_in_progress_are_bounded_and_settlements_go_on() {
    on_both(|bed| {
        let store = bed.open_with(bed.options().max_in_progress(3)).unwrap();
        let leases: Vec<_> = ["a", "b", "c"].map(|key| claimed(store.claim(key, DAY))).into();
        assert_eq!(refused(store.claim("d", DAY)), ErrorKind::Overloaded);
        assert_eq!(refused(store.transact(&request("d"), |_| Ok(Vec::new()))), ErrorKind::Overloaded);
        let batch = store.claim_many(&[request("d"), request("a")]).unwrap();
        assert!(
            matches!(&batch[..], [Err(error), Ok(Claim::InProgress(_))] if error.kind() == ErrorKind::Overloaded)
        );
        assert!(store.get("d").unwrap().is_none(), "nothing happened");
        for lease in leases {
            lease.complete("r").unwrap();
        }
        claimed(store.claim("d", DAY)).complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn p16_live_memory_is_bounded_and_a_checkpoint_frees_it() {
    on_both(|bed| {
        let store = bed.open_with(bed.options().live_memory_bytes(200_000)).unwrap();
        let held = claimed(store.claim("held", DAY));
        let mut n = 0;
        let kind = loop {
            match store.claim(format!("k{n}"), DAY) {
                Ok(claim) => claim.claimed().unwrap().complete(vec![7; 1_000]).unwrap(),
                Err(error) => break error.kind(),
            }
            n += 1;
        };
        assert_eq!(kind, ErrorKind::Overloaded);
        assert!((100..200).contains(&n), "{n} results of 1,000 bytes");
        assert!(store.stats().unwrap().live_bytes < 220_000);
        duplicate(store.claim("k0", DAY));
        held.complete(vec![7; 1_000]).unwrap();
        store.checkpoint().unwrap();
        claimed(store.claim("one more", DAY)).complete("r").unwrap();
        duplicate(store.claim("k0", DAY));
        done_with(store);
    });
}

#[test]
fn p16_a_journal_at_its_limit_refuses_claims_but_no_settlement() {
    let bed = Bed::disk();
    let options =
        || bed.options().segment_bytes(64 << 10).max_response_bytes(4_096).max_progress_bytes(4_096);
    let store = bed.open_with(options().journal_bytes(256 << 10)).unwrap();
    let mut held: Vec<_> = (0..20).map(|n| claimed(store.claim(format!("held{n}"), DAY))).collect();
    let mut n = 0;
    let kind = loop {
        match store.claim(format!("k{n}"), DAY) {
            Ok(claim) => claim.claimed().unwrap().complete(vec![7; 4_000]).unwrap(),
            Err(error) => break error.kind(),
        }
        n += 1;
    };
    assert_eq!(kind, ErrorKind::Full);
    held.pop().unwrap().complete("r").unwrap();
    for lease in held {
        lease.release().unwrap();
    }
    duplicate(store.claim("k0", DAY));
    store.checkpoint().unwrap();
    claimed(store.claim("one more", DAY)).complete("r").unwrap();
    for k in 0..n {
        assert_eq!(duplicate(store.claim(format!("k{k}"), DAY)).response().len(), 4_000, "none was lost");
    }
    let store = {
        done_with(store);
        bed.open_with(options()).unwrap()
    };
    assert_eq!(duplicate(store.claim("held19", DAY)).response(), b"r");
    done_with(store);
}

// ---- secrecy ---------------------------------------------------------------------------------------------

const CANARY: &str = "canary-7f3a91";

/// Everything that was ever shown.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn debug(&mut self, value: &impl Debug) {
        use std::fmt::Write;
        write!(self.0, "{value:?}\n{value:#?}\n").unwrap();
    }

    fn error(&mut self, error: &impl std::error::Error) {
        use std::fmt::Write;
        self.debug(error);
        writeln!(self.0, "{error}").unwrap();
        let mut source = error.source();
        while let Some(inner) = source {
            write!(self.0, "{inner}\n{inner:?}\n").unwrap();
            source = inner.source();
        }
    }

    /// As text, in hexadecimal, as a list of numbers.
    #[track_caller]
    fn check(&self) {
        let hex = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let list = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        for form in [CANARY, &hex, &hex.to_uppercase(), &list] {
            assert!(!self.0.contains(form), "{form}");
        }
        assert!(self.0.len() > 5_000, "something was shown");
    }
}

fn canary(part: &str) -> String {
    format!("{part}-{CANARY}")
}

#[test]
fn p18_keys_and_payloads_are_never_shown() {
    let bed = Bed::disk();
    let mut shown = Shown::default();
    let options = bed.options();
    shown.debug(&options);
    let store = bed.open();
    let ns = store.namespace_with(&canary("namespace"), Policy::daily()).unwrap();
    let mut digest = [0; 32];
    digest[..CANARY.len()].copy_from_slice(CANARY.as_bytes());
    let full = |key: &str| {
        ClaimRequest::new(canary(key))
            .ttl(DAY)
            .origin(canary("origin"))
            .fingerprint(Fingerprint::from(digest))
    };
    let request = full("key");
    shown.debug(&request);
    shown.debug(&Fingerprint::from(digest));
    shown.debug(&store);
    shown.debug(&ns);
    let mut lease = claimed(ns.claim_with(&request));
    lease.save_progress(canary("progress")).unwrap();
    shown.debug(&lease);
    shown.debug(&in_progress(ns.claim_with(&request)));
    shown.debug(&ns.get(canary("key")).unwrap());
    shown.error(&ns.claim_with(&full("key").fingerprint([9; 32])).unwrap_err());
    let refused = lease.complete(canary("response").repeat(100_000)).unwrap_err();
    shown.error(&refused);
    let token = refused.into_parts().1.unwrap().into_token();
    shown.debug(&token);
    let lease = store.resume(token).unwrap();
    let token = lease.detach(HOUR).unwrap();
    let lease = store.resume(token.clone()).unwrap();
    shown.error(&store.resume(token).unwrap_err());
    shown.debug(&Failure::terminal(canary("failure")));
    shown.debug(&Failure::park(canary("note")));
    lease.complete(canary("response")).unwrap();
    let receipt = duplicate(ns.claim_with(&request));
    shown.debug(&receipt);
    shown.debug(&Claim::Duplicate(receipt));
    claimed(ns.claim_with(&full("parked"))).fail(Failure::park(canary("note"))).unwrap();
    shown.error(&ns.claim_with(&full("parked")).unwrap_err());
    let once = ns.once(canary("once"), DAY, |lease| {
        shown.debug(lease);
        Ok::<_, Error>(canary("response").into_bytes())
    });
    drop(once.unwrap());
    let posted = ns.transact(&full("transact"), |tx| {
        let mut table = tx.table(&canary("table"))?;
        table.insert(canary("row"), canary("value"))?;
        shown.debug(tx);
        shown.debug(&table);
        shown.error(&tx.table(&canary("table")).unwrap_err());
        shown.debug(&table.range(..));
        Err(Error::caller(canary("business error")))
    });
    let error = posted.unwrap_err();
    shown.debug(&error);
    assert!(!error.to_string().contains(CANARY));
    ns.transact(&full("transact"), |tx| {
        tx.table(&canary("table"))?.insert(canary("row"), canary("value"))?;
        Ok(canary("response").into_bytes())
    })
    .map(drop)
    .unwrap();
    let table = store.table(&canary("table")).unwrap();
    shown.debug(&table);
    shown.debug(&table.range(..).unwrap());
    let filter = Filter::new().namespace(&canary("namespace")).prefix(canary("key"));
    shown.debug(&filter);
    let mut scan = store.scan(filter);
    shown.debug(&scan.next());
    shown.debug(&scan);
    shown.debug(&store.claim_async(&request));
    shown.debug(&store.claim_many_async(std::slice::from_ref(&request)));
    shown.debug(&store.claim_or_wait_async(&request, HOUR));
    shown.debug(&store.get_async(canary("key")));
    shown.debug(&store.namespace_async(&canary("namespace")));
    shown.debug(&claimed(ns.claim_with(&full("a"))).complete_async(canary("response")));
    shown.debug(&claimed(ns.claim_with(&full("b"))).detach_async(HOUR));
    shown.debug(
        &store.complete_many_async(vec![(claimed(ns.claim_with(&full("c"))), canary("r").into_bytes())]),
    );
    let other = Bed::memory().open();
    let foreign = vec![(claimed(other.claim_with(&full("d"))), canary("r").into_bytes())];
    shown.error(&store.complete_many(foreign).unwrap_err());
    let uuids = Policy::new().time_ordered_keys(TimeOrdered::UuidV7);
    shown.error(&store.namespace_with(&canary("namespace"), uuids.clone()).unwrap_err());
    shown
        .error(&store.namespace_with(&canary("u"), uuids).unwrap().claim_default(canary("key")).unwrap_err());
    shown.error(&LeaseToken::from_bytes(CANARY.as_bytes()).unwrap_err());
    shown.debug(&store.stats().unwrap());
    shown.debug(&store.verify().unwrap());
    shown.debug(&store.prune().unwrap());
    store.checkpoint().unwrap();
    shown.error(&Store::open(bed.path()).unwrap_err());
    done_with(store);
    done_with(other);
    shown.error(&ns.claim_with(&request).unwrap_err());
    check_file_names(bed.path());
    shown.check();
}

fn check_file_names(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        assert!(!entry.file_name().to_string_lossy().contains("canary"));
        if entry.path().is_dir() {
            check_file_names(&entry.path());
        }
    }
}

// ---- any input -------------------------------------------------------------------------------------------

/// Lengths around every limit, and any bytes.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![0usize..40, 1_020usize..1_030, 4_090usize..4_100, Just(70_000)];
    (lengths, any::<u8>(), any::<bool>()).prop_flat_map(|(len, byte, uniform)| {
        if uniform || len > 5_000 {
            Just(vec![byte; len]).boxed()
        } else {
            proptest::collection::vec(any::<u8>(), len).boxed()
        }
    })
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0u64..100).prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_secs),
        (1u64..400_000_000).prop_map(Duration::from_secs),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn p19_any_argument_is_an_answer_or_a_typed_error(
        keys in proptest::collection::vec(any_bytes(), 1..6),
        payload in any_bytes(),
        name in ".{0,600}",
        durations in proptest::array::uniform4(any_duration()),
        numbers in any::<(u32, u64, u64)>(),
        print in any::<[u8; 32]>(),
    ) {
        let [ttl, lease, delay, passing] = durations;
        let bed = Bed::memory();
        let store = bed.open();
        let policy = Policy::migration(delay).ttl(ttl).lease(lease).skew(passing).max_attempts(numbers.0);
        let mut spaces = vec![store.namespace("").unwrap()];
        spaces.extend(store.namespace(&name));
        spaces.extend(store.namespace_with(&name, policy.clone().quota(numbers.1, numbers.2)));
        spaces.extend(store.namespace_with("u", policy.clone().time_ordered_keys(TimeOrdered::UuidV7)));
        spaces.extend(store.namespace_with("l", policy.time_ordered_keys(TimeOrdered::Ulid)));
        let mut known = HashSet::new();
        for key in &keys {
            let request =
                ClaimRequest::new(key).ttl(ttl).lease(lease).origin(&payload).fingerprint(Fingerprint::from(print));
            for ns in &spaces {
                if let Ok(Claim::Claimed(mut lease)) = ns.claim_with(&request) {
                    known.insert(lease.token());
                    let _: [u8; 32] = lease.child_key(&name);
                    drop(lease.renew(delay));
                    drop(lease.save_progress(&payload));
                    drop(match numbers.1 % 6 {
                        0 => lease.complete(&payload),
                        1 => lease.fail(Failure::retry_after(delay)),
                        2 => lease.fail(Failure::terminal(&payload)),
                        3 => lease.fail(Failure::park(&payload)),
                        4 => lease.detach(delay).map(drop),
                        _ => lease.release(),
                    });
                }
                drop(ns.claim(key, ttl));
                drop(ns.claim_default(key));
                drop(ns.get(key));
                drop(poll_once(&mut ns.claim_async(&request)));
                drop(ns.claim_many(&[request.clone(), ClaimRequest::new(&payload)]));
                drop(ns.transact(&request, |tx| {
                    let mut table = tx.table(&name)?;
                    table.insert(key, &payload)?;
                    let _: usize = table.range(&key[..]..&payload[..]).count();
                    Ok(payload.clone())
                }));
            }
            if let Ok(table) = store.table(&name) {
                drop(table.get(key));
                drop(table.range(&key[..]..=&payload[..]).map(Iterator::count));
            }
            drop(store.forget(key));
            drop(LeaseToken::from_bytes(key).and_then(|token| store.resume(token)));
            let _: usize = store.scan(Filter::new().namespace(&name).prefix(key)).count();
        }
        bed.clock.advance(passing.min(1_000 * DAY));
        store.checkpoint().unwrap();
        store.prune().unwrap();
        let store = bed.reopen(store);
        done_with(store);
    }
}

// ---- opening ---------------------------------------------------------------------------------------------

#[test]
fn p20_opening_after_a_death_is_quick_and_bounded() {
    let (rig, clock) = (Rig::default(), clock());
    let options = || quiet(&clock).live_memory_bytes(48 << 20);
    let store = rig.open(options());
    for batch in 0..40 {
        let requests: Vec<_> = (0..1_000).map(|n| request(&format!("{batch}/{n}"))).collect();
        let claims = store.claim_many(&requests).unwrap();
        let items = claims.into_iter().map(|claim| (claimed(claim), vec![7; 500])).collect();
        store.complete_many(items).unwrap().into_iter().for_each(|verdict| verdict.unwrap());
    }
    let written = store.stats().unwrap().journal_bytes_written;
    assert!(written > 20 << 20);
    #[expect(clippy::disallowed_methods, reason = "what is measured is the machine's time")]
    let begun = std::time::Instant::now();
    let store = rig.crash(store, options());
    abandon(&store, "the first claim");
    let taken = begun.elapsed();
    // 15 seconds a GB of journal is stated; a test build on a busy machine is allowed more.
    assert!(taken < Duration::from_secs(10), "{taken:?} for {written} bytes");
    assert!(store.stats().unwrap().live_bytes < 48 << 20);
    assert_eq!(duplicate(store.claim("39/999", DAY)).response().len(), 500);
    done_with(store);
}
