//! The public contract, written as a user would write it: signatures first, then what is answered, then the
//! defaults.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, START_S, abandon, block_on, claimed, done_with, duplicate, in_progress,
    on_both, refused, request,
};
use claimstore::io::{Clock, Entropy, MemoryStorage, Storage};
use claimstore::{
    BatchSettleFuture, Claim, ClaimFuture, ClaimManyFuture, ClaimRequest, CommitFuture, CompleteInFuture,
    CompleteManyError, DetachFuture, Durability, Error, ErrorKind, Failure, Filter, Fingerprint, Holder,
    Import, Imported, KeepAlive, Lease, LeaseToken, ManualClock, Namespace, NamespaceFuture, OnOrphan, Once,
    OnceError, Options, Policy, Pruned, Receipt, Record, RecordState, Records, Report, SettleError,
    SettleFuture, Stats, Store, Table, TableRange, TaskFuture, TimeOrdered, TransactFuture, Transacted,
    Transaction, WaitFuture,
};
use std::fmt::{Debug, Display};
use std::time::{Duration, SystemTime};

// ---- signatures ------------------------------------------------------------------------------------------

fn is_handle<T: Send + Sync + Debug + 'static>() {}
fn is_shown<T: Debug>() {}
fn is_future<F: Future<Output = T> + Send + Unpin + Debug + 'static, T>() {}
fn is_error<E: std::error::Error + Send + Sync + Display + 'static>() {}
fn is_plain<T: Copy + Eq + std::hash::Hash + Debug + Send + Sync + 'static>() {}

/// `Probe::<T>::CLONE` is the inherent constant where `T` is `Clone`, else the trait's.
struct Probe<T>(std::marker::PhantomData<T>);

trait Otherwise {
    const CLONE: bool = false;
}

impl<T> Otherwise for Probe<T> {}

impl<T: Clone> Probe<T> {
    const CLONE: bool = true;
}

#[test]
fn handles_are_shared_futures_are_free_errors_are_errors() {
    is_handle::<Store>();
    is_handle::<Namespace>();
    is_handle::<Lease>();
    is_handle::<LeaseToken>();
    is_handle::<KeepAlive>();
    is_handle::<Table>();
    is_handle::<TableRange<'static>>();
    is_handle::<Claim>();
    is_handle::<Receipt>();
    is_handle::<Holder>();
    is_handle::<ClaimRequest>();
    is_handle::<Failure>();
    is_handle::<Record>();
    is_handle::<Filter>();
    is_handle::<Stats>();
    is_handle::<Report>();
    is_handle::<Pruned>();
    is_handle::<Options>();
    is_handle::<Policy>();
    is_handle::<Fingerprint>();
    is_handle::<ManualClock>();
    is_handle::<Once>();
    is_handle::<OnceError<Error>>();
    is_handle::<Transacted>();
    is_shown::<Transaction<'_>>();
    is_handle::<Records>();

    is_future::<ClaimFuture, Result<Claim, Error>>();
    is_future::<ClaimManyFuture, Result<Vec<Result<Claim, Error>>, Error>>();
    is_future::<WaitFuture, Result<Claim, Error>>();
    is_future::<SettleFuture, Result<(), SettleError>>();
    is_future::<BatchSettleFuture, Result<Vec<Result<(), SettleError>>, CompleteManyError>>();
    is_future::<CommitFuture<bool>, Result<bool, Error>>();
    is_future::<DetachFuture, Result<LeaseToken, SettleError>>();
    is_future::<NamespaceFuture, Result<Namespace, Error>>();
    is_future::<TaskFuture<Report>, Result<Report, Error>>();
    is_future::<TransactFuture, Result<Transacted, Error>>();
    is_future::<CompleteInFuture, Result<Vec<u8>, SettleError>>();
    is_future::<KeepAlive, Result<(), Error>>();

    is_error::<Error>();
    is_error::<SettleError>();
    is_error::<CompleteManyError>();
    is_error::<OnceError<Error>>();
    is_plain::<ErrorKind>();
    is_plain::<RecordState>();
    is_plain::<OnOrphan>();
    is_plain::<TimeOrdered>();

    const {
        assert!(Probe::<Store>::CLONE && Probe::<Namespace>::CLONE && Probe::<ClaimRequest>::CLONE);
        assert!(!Probe::<Lease>::CLONE, "a lease is the right to settle: there is one");
        assert!(!Probe::<Claim>::CLONE && !Probe::<SettleError>::CLONE);
    }
}

/// The expectation holds only while each of these is `must_use`.
#[expect(dead_code, reason = "asked at compile time only")]
fn what_must_be_used(store: &Store, claim: fn() -> Claim, lease: fn() -> Lease, token: fn() -> LeaseToken) {
    #[expect(unused_must_use, reason = "that is the question")]
    {
        lease();
    }
    #[expect(unused_must_use, reason = "that is the question")]
    {
        claim();
    }
    #[expect(unused_must_use, reason = "that is the question")]
    {
        token();
    }
    #[expect(unused_must_use, reason = "that is the question")]
    {
        store.claim_async(&request("k"));
    }
}

/// Never run: it compiles.
#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn opening(path: &std::path::Path, seam: std::sync::Arc<dyn Storage>) -> Result<(), Error> {
    let store: Store = Store::open(path)?;
    let _: Result<Store, Error> = Store::open("/a/string");
    let _: Store = Store::in_memory()?;
    let _: Store = Options::new().durability(Durability::Sync).open(path)?;
    let _: Store = Options::new().durability(Durability::Interval(SECOND)).in_memory()?;
    let _: Store = Options::new().read_only(true).open(path)?;
    let _: Store = Options::default().durability(Durability::None).open_on(seam)?;
    let _: Options = Options::new()
        .clock(ManualClock::new(SystemTime::UNIX_EPOCH))
        .background(true)
        .max_response_bytes(1)
        .max_progress_bytes(1)
        .max_in_progress(1)
        .live_memory_bytes(1)
        .page_cache_bytes(1);
    let clone = store.clone();
    clone.close()
}

#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn claiming(store: &Store) -> Result<(), Error> {
    let claim: Claim = store.claim("text", DAY)?;
    let _: Claim = store.claim(b"bytes", DAY)?;
    let _: Claim = store.claim(vec![1u8, 2], DAY)?;
    let _: Claim = store.claim([7u8; 32], DAY)?;
    match claim {
        Claim::Claimed(lease) => drop::<Lease>(lease),
        Claim::Duplicate(receipt) => {
            let _: &[u8] = receipt.response();
            let _: bool = receipt.is_failure();
            let _: SystemTime = receipt.claimed_at();
            let _: SystemTime = receipt.settled_at();
            let _: u32 = receipt.attempts();
            let _: bool = receipt.fingerprint_checked();
        }
        Claim::InProgress(holder) => {
            let _: Duration = holder.retry_after();
            let _: SystemTime = holder.since();
            let _: u32 = holder.attempt();
        }
    }
    let request: ClaimRequest =
        ClaimRequest::new("k").ttl(DAY).lease(MINUTE).fingerprint([7u8; 32]).origin(b"topic/3/17");
    let _: Claim = store.claim_with(&request)?;
    let _: Claim = store.claim_or_wait(&request, MINUTE)?;
    let _: Vec<Result<Claim, Error>> = store.claim_many(std::slice::from_ref(&request))?;
    let _: ClaimFuture = store.claim_async(&request);
    let _: ClaimManyFuture = store.claim_many_async(&[request.clone(), request.clone()]);
    let _: WaitFuture = store.claim_or_wait_async(&request, MINUTE);
    Ok(())
}

#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn running_once(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    let once = store.once("k", DAY, |lease: &Lease| {
        let _: u64 = lease.token();
        Ok::<_, std::io::Error>(b"done".to_vec())
    });
    match once {
        Ok(Once::Ran(response)) => drop::<Vec<u8>>(response),
        Ok(Once::Replayed(receipt)) => drop::<Receipt>(receipt),
        Ok(Once::InProgress(holder)) => assert!(holder.attempt() > 0),
        Err(OnceError::Store(error)) => return Err(error.into()),
        Err(OnceError::Work(error)) => return Err(error.into()),
        Err(OnceError::NotStored { response, error }) => {
            drop::<Vec<u8>>(response);
            return Err(error.into());
        }
    }
    Ok(())
}

#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn settling(store: &Store, mut lease: Lease) -> Result<(), Error> {
    let _: &[u8] = lease.key();
    let _: u64 = lease.token();
    let _: u32 = lease.attempt();
    let _: Option<&[u8]> = lease.progress();
    let _: [u8; 32] = lease.child_key("charge");
    let _: Result<(), Error> = lease.renew(MINUTE);
    let _: Result<(), Error> = lease.save_progress(b"half");
    let _: CommitFuture<()> = lease.renew_async(MINUTE);
    let _: CommitFuture<()> = lease.save_progress_async("three quarters");
    let alive: KeepAlive = lease.keep_alive(HOUR);
    let _: Result<(), Error> = alive.check();
    let _: bool = alive.is_over();
    let _: Result<(), Error> = block_on(alive);
    let token: LeaseToken = lease.into_token();
    let bytes: Vec<u8> = token.to_bytes();
    let token: Result<LeaseToken, Error> = LeaseToken::from_bytes(&bytes);
    let lease: Lease = store.resume(token?)?;
    let token: Result<LeaseToken, SettleError> = lease.detach(HOUR);
    let lease = store.resume(token?)?;
    let future: DetachFuture = lease.detach_async(HOUR);
    let lease = store.resume(block_on(future)?)?;
    let refused: Result<(), SettleError> = lease.fail(Failure::retry());
    if let Err(refused) = refused {
        let _: ErrorKind = refused.kind();
        let (error, lease): (Error, Option<Lease>) = refused.into_parts();
        let Some(lease) = lease else { return Err(error) };
        lease.fail(Failure::retry_after(MINUTE))?;
    }
    let ends: [fn(Lease) -> Result<(), SettleError>; 5] = [
        |lease| lease.complete("response"),
        |lease| lease.complete(vec![1u8]),
        |lease| lease.fail(Failure::terminal("response")),
        |lease| lease.fail(Failure::park("look at this")),
        Lease::release,
    ];
    let _: fn(Lease) -> CompleteInFuture = |lease| lease.complete_in_async(|_| Ok(Vec::new()));
    let futures: [fn(Lease) -> SettleFuture; 3] = [
        |lease| lease.complete_async(b"response"),
        |lease| lease.fail_async(Failure::retry()),
        Lease::release_async,
    ];
    let _ = (ends, futures);
    let verdicts: Result<Vec<Result<(), SettleError>>, CompleteManyError> = store.complete_many(Vec::new());
    match verdicts {
        Ok(verdicts) => verdicts.into_iter().collect::<Result<(), SettleError>>()?,
        Err(refused) => {
            let _: ErrorKind = refused.kind();
            let (error, items): (Error, Vec<(Lease, Vec<u8>)>) = refused.into_parts();
            drop(items);
            return Err(error);
        }
    }
    let _: BatchSettleFuture = store.complete_many_async(Vec::new());
    Ok(())
}

#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn local_effects(store: &Store, lease: Lease, request: &ClaimRequest) -> Result<(), Error> {
    let done: Transacted = store.transact(request, |tx: &Transaction<'_>| {
        tx.table("invoices")?.insert(b"k", b"v")?;
        Ok(b"response".to_vec())
    })?;
    match done {
        Transacted::Done(response) => drop::<Vec<u8>>(response),
        Transacted::Duplicate(receipt) => drop::<Receipt>(receipt),
        Transacted::InProgress(holder) => assert!(holder.attempt() > 0),
    }
    let _: Result<Vec<u8>, SettleError> = lease.complete_in(|tx| {
        let mut table = tx.table("invoices")?;
        let _: Option<Vec<u8>> = table.get(b"k")?;
        let _: Option<Vec<u8>> = table.remove(b"k")?;
        let _: Vec<(Vec<u8>, Vec<u8>)> = table.range(..).collect::<Result<_, Error>>()?;
        Err(Error::caller("no such invoice"))
    });
    let _: Error = Error::caller(std::io::Error::other("a business error"));
    let table: Table = store.table("invoices")?;
    let _: Option<Vec<u8>> = table.get(b"k")?;
    let (from, to): (&[u8], &[u8]) = (b"a", b"b");
    let _: Vec<(Vec<u8>, Vec<u8>)> = table.range(from..to)?.collect::<Result<_, Error>>()?;
    Ok(())
}

#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn namespaces(store: &Store, request: &ClaimRequest) -> Result<(), Error> {
    let _: Namespace = store.namespace("prod/acme/order-sync")?;
    let policy: Policy = Policy::daily()
        .ttl(DAY)
        .lease(MINUTE)
        .max_attempts(3)
        .on_orphan(OnOrphan::Retry)
        .time_ordered_keys(TimeOrdered::UuidV7)
        .quota(1_000, 1 << 20);
    let _ = [Policy::new(), Policy::realtime(), Policy::weekly(), Policy::monthly(), Policy::migration(DAY)];
    let ns: Namespace = store.namespace_with("prod/acme/order-sync", policy.clone())?;
    let _: NamespaceFuture = store.namespace_async("n");
    let _: NamespaceFuture = store.namespace_with_async("n", policy);
    let _: Claim = ns.claim("k", DAY)?;
    let _: Claim = ns.claim_default("k")?;
    let _: Claim = ns.claim_with(request)?;
    let _: Claim = ns.claim_or_wait(request, MINUTE)?;
    let _: Vec<Result<Claim, Error>> = ns.claim_many(&[])?;
    let _: ClaimFuture = ns.claim_async(request);
    let _: ClaimManyFuture = ns.claim_many_async(&[]);
    let _: WaitFuture = ns.claim_or_wait_async(request, MINUTE);
    let _: Result<Once, OnceError<Error>> = ns.once("k", DAY, |_| Ok(Vec::new()));
    let _: Result<Once, OnceError<Error>> = block_on(ns.once_async(request, async |_| Ok(Vec::new())));
    let _: Transacted = ns.transact(request, |_| Ok(Vec::new()))?;
    let _: TransactFuture = ns.transact_async(request, |_| Ok(Vec::new()));
    let _: Option<Record> = ns.get("k")?;
    let _: bool = ns.forget("k")?;
    let rows: [Import; 2] = [Import::completed("k", "response"), Import::parked("l", "note")];
    let _: Vec<Result<Imported, Error>> = ns.import_many(&rows)?;
    let _: TaskFuture<Vec<Result<Imported, Error>>> = ns.import_many_async(rows.into());
    let _: CommitFuture<Option<Record>> = ns.get_async("k");
    let _: CommitFuture<bool> = ns.forget_async("k");
    Ok(())
}

#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn looking_and_upkeep(store: Store, dir: &std::path::Path) -> Result<(), Error> {
    let _: Option<Record> = store.get("k")?;
    let filter = Filter::new().namespace("n").prefix("p").state(RecordState::Completed);
    for record in store.scan(filter).chain(store.orphans()).chain(store.parked()) {
        let _: Record = record?;
    }
    let _: Stats = store.stats()?;
    let _: Pruned = store.prune()?;
    let _: Report = store.verify()?;
    store.checkpoint()?;
    store.compact()?;
    store.backup(dir)?;
    store.after_restore()?;
    store.forget("k")?;
    let _: CommitFuture<Option<Record>> = store.get_async("k");
    let _: CommitFuture<bool> = store.forget_async("k");
    let _: TaskFuture<Pruned> = store.prune_async();
    let _: TaskFuture<Report> = store.verify_async();
    let _: [TaskFuture<()>; 4] = [
        store.checkpoint_async(),
        store.compact_async(),
        store.backup_async(dir),
        store.after_restore_async(),
    ];
    let _: TaskFuture<()> = store.close_async();
    Ok(())
}

/// The seams take anything of the right kind.
#[expect(dead_code, reason = "every signature of the contract, as a caller writes it")]
fn seams(clock: impl Clock, entropy: impl Entropy) -> Options {
    let _: std::sync::Arc<dyn Storage> = std::sync::Arc::new(MemoryStorage::new());
    Options::new().clock(clock).entropy(entropy)
}

/// Every kind has a name; the type may get more.
#[test]
fn error_kinds_are_the_contract_s() {
    let kinds = [
        ErrorKind::PayloadMismatch,
        ErrorKind::TooOld,
        ErrorKind::FutureKey,
        ErrorKind::Parked,
        ErrorKind::StaleLease,
        ErrorKind::InvalidToken,
        ErrorKind::InvalidKey,
        ErrorKind::TooLarge,
        ErrorKind::Overloaded,
        ErrorKind::Full,
        ErrorKind::Indeterminate,
        ErrorKind::Poisoned,
        ErrorKind::AlreadyOpen,
        ErrorKind::Closed,
        ErrorKind::Corrupt,
        ErrorKind::TooNew,
        ErrorKind::Io,
        ErrorKind::Misuse,
        ErrorKind::Caller,
    ];
    let distinct: std::collections::HashSet<ErrorKind> = kinds.into_iter().collect();
    assert_eq!(distinct.len(), kinds.len());
    let error = Error::caller("mine");
    assert_eq!(error.kind(), ErrorKind::Caller);
    assert!(error.differing_pointers().is_empty());
}

// ---- what `claim` answers --------------------------------------------------------------------------------

#[test]
fn unknown_expired_and_released_keys_are_claimed_as_attempt_1() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", SECOND));
        assert_eq!((lease.attempt(), lease.key(), lease.progress()), (1, &b"k"[..], None));
        lease.release().unwrap();
        let lease = claimed(store.claim("k", SECOND));
        assert_eq!(lease.attempt(), 1);
        lease.complete("r").unwrap();
        bed.clock.advance(Duration::from_millis(999));
        assert_eq!(duplicate(store.claim("k", SECOND)).response(), b"r");
        bed.clock.advance(Duration::from_millis(1));
        assert_eq!(claimed(store.claim("k", SECOND)).attempt(), 1, "expired at the end of its ttl");
        done_with(store);
    });
}

#[test]
fn a_running_lease_is_in_progress_until_60_s_are_over() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let first = lease.token();
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(START_S);
        let holder = in_progress(store.claim("k", DAY));
        assert_eq!((holder.retry_after(), holder.attempt(), holder.since()), (MINUTE, 1, since));
        bed.clock.advance(Duration::from_millis(59_999));
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), Duration::from_millis(1));
        bed.clock.advance(Duration::from_millis(1));
        let second = claimed(store.claim("k", DAY));
        assert_eq!(second.attempt(), 2);
        assert!(second.token() > first);
        assert_eq!(refused(lease.complete("late")), ErrorKind::StaleLease);
        done_with(store);
    });
}

#[test]
fn orphans_are_claimed_at_once_abandoned_or_of_an_earlier_life() {
    on_both(|bed| {
        let store = bed.open();
        abandon(&store, "k");
        let second = claimed(store.claim("k", DAY));
        assert_eq!(second.attempt(), 2);
        let token = second.token();
        let store = bed.reopen(store);
        let third = claimed(store.claim("k", DAY));
        assert_eq!(third.attempt(), 3);
        assert!(third.token() > token);
        assert_eq!(refused(second.complete("from an earlier life")), ErrorKind::Closed);
        done_with(store);
    });
}

#[test]
fn three_failures_then_parked() {
    on_both(|bed| {
        let store = bed.open();
        for attempt in 1..=3 {
            let lease = claimed(store.claim("k", DAY));
            assert_eq!((lease.attempt(), lease.in_doubt()), (attempt, false));
            lease.fail(Failure::retry()).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(refused(store.claim("k", DAY)), ErrorKind::Parked);
        }
        assert_eq!(store.parked().count(), 1);
        let store = bed.reopen(store);
        assert_eq!(refused(store.claim("k", DAY)), ErrorKind::Parked);
        assert_eq!(store.get("k").unwrap().unwrap().state(), RecordState::Parked);
        done_with(store);
    });
}

#[test]
fn a_dropped_lease_is_a_loss_of_which_there_may_be_ten() {
    on_both(|bed| {
        let store = bed.open();
        for attempt in 1..=10 {
            let lease = claimed(store.claim("k", DAY));
            assert_eq!((lease.attempt(), lease.in_doubt()), (attempt, attempt > 1));
        }
        assert_eq!(refused(store.claim("k", DAY)), ErrorKind::Parked);
        let record = store.get("k").unwrap().unwrap();
        assert_eq!((record.attempt(), record.failures(), record.losses()), (10, 0, 10));
        done_with(store);
    });
}

#[test]
fn each_orphan_policy_has_its_answer() {
    on_both(|bed| {
        let store = bed.open();
        let ns =
            |name: &str, on_orphan| store.namespace_with(name, Policy::new().on_orphan(on_orphan)).unwrap();
        let (retry, park) = (ns("retry", OnOrphan::Retry), ns("park", OnOrphan::Park));
        let (fail, resolve) = (ns("fail", OnOrphan::Fail), ns("resolve", OnOrphan::Resolve));
        for ns in [&retry, &park, &fail, &resolve] {
            drop(claimed(ns.claim("dropped", DAY)));
            drop(claimed(ns.claim("lapsed", DAY)).into_token());
        }
        bed.clock.advance(MINUTE);
        for key in ["dropped", "lapsed"] {
            assert_eq!(claimed(retry.claim(key, DAY)).attempt(), 2);
            assert_eq!(refused(park.claim(key, DAY)), ErrorKind::Parked);
            let receipt = duplicate(fail.claim(key, DAY));
            assert!(receipt.is_failure() && receipt.response().is_empty());
            assert!(in_progress(resolve.claim(key, DAY)).retry_after() > Duration::ZERO);
            assert_eq!(in_progress(resolve.claim(key, DAY)).attempt(), 1, "until somebody resolves it");
        }
        done_with(store);
    });
}

#[test]
fn a_failed_key_waits_for_its_retry_time() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("k", DAY)).fail(Failure::retry_after(HOUR)).unwrap();
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), HOUR);
        bed.clock.advance(HOUR.checked_sub(SECOND).unwrap());
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), SECOND);
        let store = bed.reopen(store);
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), SECOND);
        bed.clock.advance(SECOND);
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2);
        done_with(store);
    });
}

#[test]
fn completed_and_failed_for_good_are_duplicates() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("done", DAY)).complete("yes").unwrap();
        claimed(store.claim("failed", DAY)).fail(Failure::terminal("no")).unwrap();
        for round in 0..3 {
            let receipt = duplicate(store.claim("done", DAY));
            assert_eq!((receipt.response(), receipt.is_failure()), (&b"yes"[..], false), "round {round}");
            let receipt = duplicate(store.claim("failed", DAY));
            assert_eq!((receipt.response(), receipt.is_failure()), (&b"no"[..], true));
            assert_eq!((receipt.attempts(), receipt.fingerprint_checked()), (1, false));
            assert_eq!(receipt.settled_at(), receipt.claimed_at());
            if round == 0 {
                store.checkpoint().unwrap();
            }
        }
        let store = bed.reopen(store);
        assert_eq!(duplicate(store.claim("done", DAY)).response(), b"yes");
        done_with(store);
    });
}

#[test]
fn a_running_transact_is_in_progress() {
    on_both(|bed| {
        let store = bed.open();
        let done = store.transact(&request("k"), |_| {
            assert!(in_progress(store.claim("k", DAY)).retry_after() > Duration::ZERO);
            Ok(b"r".to_vec())
        });
        assert_eq!(done.unwrap(), Transacted::Done(b"r".to_vec()));
        assert_eq!(duplicate(store.claim("k", DAY)).response(), b"r");
        done_with(store);
    });
}

#[test]
fn another_fingerprint_is_a_mismatch_in_every_state() {
    on_both(|bed| {
        let store = bed.open();
        let (one, other) = ([1u8; 32], [2u8; 32]);
        let with = |key: &str, print: [u8; 32]| request(key).fingerprint(print);
        claimed(store.claim_with(&with("done", one))).complete("r").unwrap();
        claimed(store.claim_with(&with("failed", one))).fail(Failure::terminal("r")).unwrap();
        claimed(store.claim_with(&with("waits", one))).fail(Failure::retry_after(HOUR)).unwrap();
        claimed(store.claim_with(&with("parked", one))).fail(Failure::park("n")).unwrap();
        let held = claimed(store.claim_with(&with("held", one)));
        drop(claimed(store.claim_with(&with("orphan", one))));
        for key in ["done", "failed", "waits", "parked", "held", "orphan"] {
            let before = store.get(key).unwrap();
            assert_eq!(refused(store.claim_with(&with(key, other))), ErrorKind::PayloadMismatch, "{key}");
            assert_eq!(store.get(key).unwrap(), before, "the record stands");
        }
        assert!(duplicate(store.claim_with(&with("done", one))).fingerprint_checked());
        held.complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn time_ordered_keys_are_too_old_or_of_the_future() {
    on_both(|bed| {
        let store = bed.open();
        let ns = store.namespace_with("t", Policy::new().time_ordered_keys(TimeOrdered::UuidV7)).unwrap();
        let now_ms = START_S * 1_000;
        assert_eq!(claimed(ns.claim_default(uuid(now_ms))).attempt(), 1);
        assert_eq!(claimed(ns.claim_default(uuid(now_ms - 86_400_000))).attempt(), 1, "just in the window");
        assert_eq!(refused(ns.claim_default(uuid(now_ms - 86_400_001))), ErrorKind::TooOld);
        assert_eq!(
            claimed(ns.claim_default(uuid(now_ms + 300_000))).attempt(),
            1,
            "just in the skew of 5 min"
        );
        assert_eq!(refused(ns.claim_default(uuid(now_ms + 300_001))), ErrorKind::FutureKey);
        assert_eq!(refused(ns.claim(uuid(now_ms), HOUR)), ErrorKind::Misuse, "a ttl below the policy's");
        assert_eq!(refused(ns.claim_default("not a UUID")), ErrorKind::InvalidKey);
        done_with(store);
    });
}

/// A UUIDv7 of a time, in text.
pub(crate) fn uuid(time_ms: u64) -> String {
    let hex = format!("{time_ms:012x}");
    format!("{}-{}-7abc-8123-456789abcdef", &hex[..8], &hex[8..])
}

// ---- defaults --------------------------------------------------------------------------------------------

/// Completes one key under a policy and finds out how long it is remembered.
fn remembered(policy: Policy) -> Duration {
    let bed = Bed::memory();
    let store = bed.open();
    let ns = store.namespace_with("n", policy).unwrap();
    claimed(ns.claim_default("k")).complete("r").unwrap();
    let record = ns.get("k").unwrap().unwrap();
    let kept = record.expires_at().unwrap().duration_since(record.settled_at().unwrap()).unwrap();
    bed.clock.advance(kept.checked_sub(Duration::from_millis(1)).unwrap());
    duplicate(ns.claim_default("k"));
    bed.clock.advance(Duration::from_millis(1));
    claimed(ns.claim_default("k")).release().unwrap();
    done_with(store);
    kept
}

#[test]
fn policies_have_their_ttls() {
    assert_eq!(remembered(Policy::new()), DAY);
    assert_eq!(remembered(Policy::realtime()), DAY);
    assert_eq!(remembered(Policy::daily()), 7 * DAY);
    assert_eq!(remembered(Policy::weekly()), 10 * DAY);
    assert_eq!(remembered(Policy::monthly()), 35 * DAY);
    assert_eq!(remembered(Policy::migration(4 * DAY)), 6 * DAY);
    assert_eq!(remembered(Policy::daily().ttl(2 * HOUR)), 2 * HOUR);
}

#[test]
fn a_namespace_without_a_policy_has_the_default_one() {
    let store = Bed::memory().open();
    assert_eq!(store.namespace("n").unwrap().policy(), Policy::new());
    assert_eq!(Policy::default(), Policy::new());
    done_with(store);
}

#[test]
fn the_limits_of_one_call_have_their_defaults() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim([7u8; 1_024], DAY)).release().unwrap();
        assert_eq!(refused(store.claim([7u8; 1_025], DAY)), ErrorKind::TooLarge);
        let mut lease = claimed(store.claim("k", DAY));
        lease.save_progress(vec![1; 64 << 10]).unwrap();
        assert_eq!(refused(lease.save_progress(vec![1; (64 << 10) + 1])), ErrorKind::TooLarge);
        let (error, lease) = lease.complete(vec![1; (1 << 20) + 1]).unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        lease.unwrap().complete(vec![1; 1 << 20]).unwrap();
        assert_eq!(duplicate(store.claim("k", DAY)).response().len(), 1 << 20);
        let ten_years = Duration::from_secs(315_576_000);
        for (ttl, fits) in [(Duration::from_millis(999), false), (SECOND, true), (ten_years, true)] {
            assert_eq!(store.claim(format!("{ttl:?}"), ttl).is_ok(), fits, "{ttl:?}");
        }
        assert_eq!(refused(store.claim("k2", ten_years + SECOND)), ErrorKind::Misuse);
        done_with(store);
    });
}

#[test]
fn dropping_a_lease_abandons_the_claim_in_memory() {
    on_both(|bed| {
        let store = bed.open();
        let before = {
            let lease = claimed(store.claim("k", DAY));
            let before = store.stats().unwrap().commits;
            drop(lease);
            before
        };
        assert_eq!(store.stats().unwrap().commits, before, "no I/O");
        assert_eq!(store.get("k").unwrap().unwrap().state(), RecordState::Orphaned);
        done_with(store);
    });
}

#[test]
fn a_read_only_opening_looks_and_changes_nothing() {
    let bed = Bed::disk();
    let store = bed.open();
    claimed(store.claim("key", DAY)).complete("r").unwrap();
    done_with(store);
    let looked = bed.options().read_only(true).open(bed.path()).unwrap();
    assert_eq!(looked.get("key").unwrap().unwrap().response(), Some(&b"r"[..]));
    assert_eq!(looked.scan(Filter::new()).count(), 1);
    looked.stats().unwrap();
    assert!(looked.is_read_only() && !bed.options().in_memory().unwrap().is_read_only());
    assert_eq!(refused(looked.claim("key", DAY)), ErrorKind::Misuse);
    assert_eq!(refused(looked.checkpoint()), ErrorKind::Misuse);
    done_with(looked);
    done_with(bed.open());
}
