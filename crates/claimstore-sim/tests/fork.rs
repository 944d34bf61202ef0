//! A child of `fork()` with an open store: everything it tries is refused, nothing it drops does harm, and it never hangs
//! on a lock that a thread of its parent had at that moment. The parent goes on, closes, opens again and verifies.
//!
//! ```text
//! cargo test -p claimstore-sim --test fork
//! ```
//!
//! `CLAIMSTORE_FORKS` is how often each of the four kinds of store is forked while other threads claim (default 12).
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use claimstore::io::MemoryStorage;
use claimstore::{
    Claim, ClaimRequest, Claims, Durability, Error, ErrorKind, Failure, Filter, Import, Lease, LeaseToken,
    Note, OnceError, Options, Policy, PositionClaim, Record, Review, Sequence, Store, Transacted,
};
use claimstore_admin::ServeAdmin as _;
use claimstore_core::backend::{Held, Settlement};
use claimstore_recovery::Recovery;
use fork::{Fork, fork, waitpid};
use std::fmt::Debug;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// A child that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const HUNG: i32 = 99;

type Opened = fn() -> Options;

fn main() {
    let forks = std::env::var("CLAIMSTORE_FORKS").ok().and_then(|forks| forks.parse().ok()).unwrap_or(12);
    let kinds: [(&str, Opened); 4] = [
        ("synced", Options::new),
        ("without background", || Options::new().background(false)),
        ("by interval", || Options::new().durability(Durability::Interval(Duration::from_millis(2)))),
        ("unsynced", || Options::new().durability(Durability::None)),
    ];
    for (kind, options) in kinds {
        everything_is_refused_in_a_child(kind, &options(), forks);
    }
    a_store_in_memory_is_refused_too();
    a_child_that_lives_on_does_not_keep_the_directory();
    a_fork_inside_a_closure_ends_it_in_the_child();
    println!("fork: ok");
}

fn everything_is_refused_in_a_child(kind: &str, options: &Options, forks: usize) {
    let dir = tempfile::tempdir().unwrap();
    let store = options.clone().segment_bytes(1 << 20).max_response_bytes(4_096).open(dir.path()).unwrap();
    let busy = Busy::start(&store);
    let mut things = Things::made(&store);
    for number in 0..forks {
        match fork().unwrap() {
            Fork::Child => {
                // A panic must not unwind into what is the parent's, the directory above all.
                let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    try_everything(store, things, dir.path())
                }));
                end_child(kind, &tried.unwrap_or_else(|_| Failures(vec!["a panic".to_owned()])));
            }
            Fork::Parent(child) => await_child(child, &format!("{kind}, fork {number}")),
        }
        // More traffic, so that the next fork meets other locks.
        claimed(store.claim(format!("parent-{number}"), DAY)).complete("by the parent").unwrap();
    }
    things.futures.retain_mut(|future| future.poll().is_pending());
    let Things { lease, position, mut watch, futures, reaper, admin, .. } = things;
    for mut future in futures {
        future.wait();
    }
    drop(watch.take());
    reaper.stop();
    admin.stop();
    lease.complete("after the forks").unwrap();
    position.complete().unwrap();
    let written = busy.stop();
    store.verify().unwrap();
    store.close().unwrap();
    let again = Store::open(dir.path()).unwrap();
    again.verify().unwrap();
    for number in 0..forks {
        assert!(matches!(again.claim(format!("parent-{number}"), DAY), Ok(Claim::Duplicate(_))), "{kind}");
    }
    for number in 0..written {
        let found = again.claim(format!("busy-{number}"), DAY).unwrap();
        assert!(matches!(found, Claim::Duplicate(_)), "{kind}: busy-{number} {found:?}");
    }
    assert!(again.get("of-the-child").unwrap().is_none(), "{kind}");
    again.close().unwrap();
    println!("fork, {kind}: {forks} forks, {written} claims meanwhile");
}

/// Threads that claim and complete while others fork.
struct Busy {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Busy {
    fn start(store: &Store) -> Busy {
        let (stop, next, written) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let threads = (0..3).map(|_| {
            let (store, stop, next, written) = (store.clone(), stop.clone(), next.clone(), written.clone());
            thread::Builder::new()
                .spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        let key = format!("busy-{number}");
                        claimed(store.claim(&key, DAY)).complete("done").unwrap();
                        assert!(matches!(store.claim(&key, DAY), Ok(Claim::Duplicate(_))));
                        let _ = store.get(&key).unwrap();
                        written.fetch_add(1, Ordering::SeqCst);
                    }
                })
                .unwrap()
        });
        let threads = threads.collect();
        Busy { stop, written, threads }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.written.load(Ordering::SeqCst)
    }
}

/// One of everything that a program may have in its hands when it forks.
struct Things {
    space: claimstore::Namespace,
    lease: Lease,
    token: LeaseToken,
    sequence: Sequence,
    position: claimstore::PositionLease,
    parked: Record,
    orphan: Record,
    table: claimstore::Table,
    rows: claimstore::TableRange<'static>,
    records: claimstore::Records,
    watch: Option<claimstore::OrphanWatch>,
    futures: Vec<AnyFuture>,
    reaper: claimstore_recovery::Reaper,
    admin: claimstore_admin::Admin,
}

impl Things {
    fn made(store: &Store) -> Things {
        claimed(store.claim("cold", DAY)).complete("cold").unwrap();
        store.checkpoint().unwrap();
        claimed(store.claim("known", DAY)).complete("known").unwrap();
        claimed(store.claim("parked", DAY)).fail(Failure::park("why")).unwrap();
        drop(store.claim("orphan", DAY).unwrap());
        let request = ClaimRequest::new("rows").ttl(DAY);
        let done = store.transact(&request, |tx| {
            tx.table("table")?.insert("row", "value")?;
            Ok(b"rows".to_vec())
        });
        assert!(matches!(done, Ok(Transacted::Done(_))));
        let sequence = store.sequence("stream").unwrap();
        let PositionClaim::Claimed(position) = sequence.claim(0).unwrap() else { panic!("a new stream") };
        let table = store.table("table").unwrap();
        let rows = table.range(..).unwrap();
        let mut records = store.scan(Filter::new());
        assert!(records.next().is_some());
        let parked = store.parked().next().unwrap().unwrap();
        let orphan = store.orphans().next().unwrap().unwrap();
        let space = store.namespace_with("space", Policy::daily()).unwrap();
        // One watch at a time: that of the reaper.
        let reaper = Recovery::new(store).spawn().unwrap();
        let once = store
            .once_async(&ClaimRequest::new("once").ttl(DAY), async |_: &Lease| Ok::<_, Error>(Vec::new()));
        let mut futures = vec![
            AnyFuture::new(store.claim_async(&ClaimRequest::new("future").ttl(DAY))),
            AnyFuture::new(store.claim_many_async(&[ClaimRequest::new("futures").ttl(DAY)])),
            AnyFuture::new(claimed(store.claim("settled", DAY)).complete_async("settled")),
            AnyFuture::new(store.get_async("cold")),
            AnyFuture::new(store.checkpoint_async()),
            AnyFuture::new(store.namespace_async("named")),
            AnyFuture::new(sequence.claim_async(7)),
            AnyFuture::new(store.transact_async(&ClaimRequest::new("tx").ttl(DAY), |_| Ok(Vec::new()))),
            AnyFuture::new(async {
                once.await.map_err(|refused| match refused {
                    OnceError::Store(error) => error,
                    other => Error::caller(other.to_string()),
                })
            }),
            AnyFuture::new(
                store.claim_or_wait_async(&ClaimRequest::new("lease").ttl(DAY), Duration::from_millis(1)),
            ),
        ];
        let lease = claimed(store.claim_with(&ClaimRequest::new("lease").ttl(DAY).lease(DAY)));
        // Some are under way when the fork comes.
        futures.iter_mut().take(2).for_each(|future| drop(future.poll()));
        Things {
            space,
            lease,
            token: claimed(store.claim("token", DAY)).detach(DAY).unwrap(),
            sequence,
            position,
            parked,
            orphan,
            table,
            rows,
            records,
            watch: None,
            futures,
            reaper,
            admin: store.serve_admin().unwrap(),
        }
    }
}

/// What went otherwise than it should.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn refused<T: Debug>(&mut self, name: &str, answer: Result<T, Error>) {
        match answer {
            Err(error) if error.kind() == ErrorKind::Misuse && error.to_string().contains("fork()") => {}
            other => self.0.push(format!("{name}: {other:?}")),
        }
    }

    fn expect(&mut self, name: &str, holds: bool) {
        if !holds {
            self.0.push(name.to_owned());
        }
    }
}

/// In the child: every call, then everything is dropped.
fn try_everything(store: Store, things: Things, dir: &Path) -> Failures {
    watch_over_child();
    let mut failures = Failures::default();
    let told = &mut failures;
    let Things { space, lease, token, sequence, position, parked, orphan, table, .. } = things;
    let Things { mut rows, mut records, watch, futures, reaper, admin, .. } = things;
    claims(told, &store, token);
    told.refused("import_many", space.import_many(&[Import::completed("of-the-child", "x")]));
    told.refused("rows", table.get("row"));
    told.refused("range", table.range(..));
    told.refused("range under way", rows.next().unwrap_or(Ok((Vec::new(), Vec::new()))));
    // What it had read already it still gives.
    told.refused("scan under way", records.find_map(Result::err).map_or(Ok(()), Err));
    orphans_and_reviews(told, &store, &orphan, &parked);
    any_backend(told, &store, &orphan, &parked);
    looks_and_upkeep(told, &store, dir);
    positions(told, &store, &sequence, position);
    every_way_out(told, &store, lease);
    calls_as_futures(told, &store, futures, dir);
    told.refused("close", store.clone().close());
    store.on_close(|| std::process::exit(98));
    directories(told, dir);

    let serving = store.serve_admin().map(drop);
    let unsupported = serving.is_err_and(|error| error.kind() == std::io::ErrorKind::Unsupported);
    told.expect("a socket was served", unsupported);
    let weak = store.downgrade();
    told.expect("the reaper runs", !reaper.is_running());
    reaper.stop();
    admin.stop();
    drop((watch, space, records, rows, table, sequence));
    drop(weak.upgrade());
    drop(store);
    told.expect("the socket is gone", dir.join(claimstore_admin::SOCKET).exists());
    failures
}

fn claims(told: &mut Failures, store: &Store, token: LeaseToken) {
    let fresh = ClaimRequest::new("of-the-child").ttl(DAY);
    // From memory alone a claim may be answered. More than that never.
    for known in ["known", "cold"] {
        match store.claim(known, DAY) {
            Ok(Claim::Duplicate(_)) => {}
            other => told.refused("claim of a known key", other),
        }
    }
    told.refused("claim", store.claim("of-the-child", DAY));
    told.refused("claim_with", store.claim_with(&fresh));
    told.refused("claim_or_wait", store.claim_or_wait(&fresh, DAY));
    told.refused("claim_many", store.claim_many(std::slice::from_ref(&fresh)));
    told.refused("claim_many of nothing", store.claim_many(&[]));
    let once = store.once("of-the-child", DAY, |_| Ok::<_, Error>(Vec::new()));
    told.refused(
        "once",
        match once {
            Err(OnceError::Store(error)) => Err(error),
            other => Ok(format!("{other:?}")),
        },
    );
    told.refused("transact", store.transact(&fresh, |_| Ok(Vec::new())));
    told.refused("get", store.get("known"));
    told.refused("forget", store.forget("known"));
    told.refused("namespace", store.namespace("of-the-child"));
    told.refused("namespace_with", store.namespace_with("space", Policy::weekly()));
    told.refused("complete_many", store.complete_many(Vec::new()).map_err(Error::from));
    told.refused("resume", store.resume(token));
    told.refused("table", store.table("table"));
}

fn orphans_and_reviews(told: &mut Failures, store: &Store, orphan: &Record, parked: &Record) {
    told.refused("orphans", store.orphans().collect::<Result<Vec<_>, _>>());
    told.refused("parked", store.parked().collect::<Result<Vec<_>, _>>());
    told.refused("unheld", store.unheld().collect::<Result<Vec<_>, _>>());
    told.refused("take_over", store.take_over(orphan, DAY));
    told.refused("fail_orphans", store.fail_orphans(&[(orphan.clone(), Failure::retry())]));
    told.refused("fail_orphans of nothing", store.fail_orphans(&[]));
    told.refused("review", store.review(parked, &Review::Requeue, &Note::new("child", "why")));
    told.refused("watch_orphans", store.watch_orphans());
}

/// The same store as any backend, and a lease of that kind.
fn any_backend(told: &mut Failures, store: &Store, orphan: &Record, parked: &Record) {
    let claims = Claims::from(store);
    let (backend, fresh) = (claims.backend(), || ClaimRequest::new("of-the-child").ttl(DAY));
    let held = Held { namespace: "".into(), key: (*b"lease").into(), token: orphan.token(), attempt: 1 };
    told.refused("any claim", claims.claim("of-the-child", DAY).wait());
    told.refused("any claim_many", claims.claim_many(vec![fresh(), fresh()]).wait());
    told.refused("any claim_or_wait", claims.claim_or_wait(fresh(), DAY).wait());
    told.refused("any settle", backend.settle(vec![(held.clone(), Settlement::Release)]).wait());
    told.refused("any renew", backend.renew(&held, DAY).wait());
    told.refused("any save_progress", backend.save_progress(&held, Vec::new()).wait());
    told.refused("any detach", backend.detach(&held, DAY).wait());
    told.refused("any resume", claims.resume(&held).wait());
    told.refused("any get", claims.get("known").wait());
    told.refused("any scan", backend.scan(Filter::new()).next_page().wait());
    told.refused("any orphans", backend.orphans().next_page().wait());
    told.refused("any watch_orphans", backend.watch_orphans());
    told.refused("any take_over", claims.take_over(orphan, DAY).wait());
    told.refused("any fail_orphans", backend.fail_orphans(vec![(orphan.clone(), Failure::retry())]).wait());
    told.refused("any review", backend.review(parked, Review::Requeue, Note::new("child", "why")).wait());
    told.refused("any forget", claims.forget("known").wait());
    told.refused("any forget_shown", backend.forget_shown(parked, true).wait());
    told.refused("any upkeep", backend.upkeep().wait());
    told.refused("any define", claims.policy().wait());
    told.refused("any namespaces", backend.namespaces().wait());
    backend.abandon(&held);
    backend.let_go(&held);
    let _promises = backend.promises();
}

fn looks_and_upkeep(told: &mut Failures, store: &Store, dir: &Path) {
    told.refused("scan", store.scan(Filter::new()).collect::<Result<Vec<_>, _>>());
    told.refused("stats", store.stats());
    told.refused("census", store.census());
    told.refused("outcomes", store.outcomes());
    told.refused("buckets", store.buckets());
    told.refused("prune", store.prune());
    told.refused("prunable", store.prunable());
    told.refused("checkpoint", store.checkpoint());
    told.refused("upkeep", store.upkeep());
    told.refused("compact", store.compact());
    told.refused("verify", store.verify());
    let target = dir.with_extension("backup");
    told.refused("backup", store.backup(&target));
    told.refused("backup_with_key", store.backup_with_key(&target));
    told.expect("a backup made its directory", !target.exists());
    let memory: Arc<dyn claimstore::io::Storage> = Arc::new(MemoryStorage::new());
    told.refused("backup_on", store.backup_on(&memory));
    told.refused("after_restore", store.after_restore());
    told.refused("fingerprinter", store.fingerprinter());
    told.expect("namespaces", store.namespaces().is_empty());
}

fn positions(told: &mut Failures, store: &Store, sequence: &Sequence, position: claimstore::PositionLease) {
    told.refused("sequence", store.sequence("stream"));
    told.refused("claim of a position", sequence.claim(1));
    told.refused("claim_up_to", sequence.claim_up_to(1));
    told.refused("skip_to", sequence.skip_to(9));
    told.refused("next", sequence.next());
    told.refused("gaps", sequence.gaps());
    match position.complete() {
        Err(error) => told.refused("completing a position", Err::<(), _>(error.into())),
        Ok(()) => told.expect("a position was completed", false),
    }
}

/// A lease, by every way out of it.
fn every_way_out(told: &mut Failures, store: &Store, lease: Lease) {
    told.refused("renew", lease.renew(DAY));
    let lease = back(told, "complete", lease.complete("by the child"));
    let lease = back(told, "fail", lease.fail(Failure::retry()));
    let lease = back(told, "release", lease.release());
    let lease = back(told, "complete_in", lease.complete_in(|_| Ok(Vec::new())));
    let mut lease = back(told, "detach", lease.detach(DAY));
    told.refused("save_progress", lease.save_progress("half"));
    told.refused("renew_async", AnyFuture::answer(lease.renew_async(DAY)));
    told.refused("save_progress_async", AnyFuture::answer(lease.save_progress_async("half")));
    let lease = back(told, "complete_async", AnyFuture::answer(lease.complete_async("by the child")));
    let lease = back(told, "detach_async", AnyFuture::answer(lease.detach_async(DAY)));
    told.refused("keep_alive", AnyFuture::answer(lease.keep_alive(DAY)));
    let settled = AnyFuture::answer(lease.complete_in_async(|_| Ok(Vec::new())));
    let lease = back(told, "complete_in_async", settled.map(drop));
    told.refused("complete_many", store.complete_many(vec![(lease, Vec::new())]).map_err(Error::from));
}

/// Futures made before the fork, and after it.
fn calls_as_futures(told: &mut Failures, store: &Store, mut futures: Vec<AnyFuture>, dir: &Path) {
    for (number, future) in futures.iter_mut().enumerate() {
        match future.poll() {
            Poll::Ready(Err(error)) => told.refused(&format!("future {number}"), Err::<(), _>(error)),
            Poll::Ready(Ok(())) => told.expect(&format!("future {number} was answered"), false),
            Poll::Pending => told.expect(&format!("future {number} is pending"), false),
        }
    }
    let fresh = ClaimRequest::new("of-the-child").ttl(DAY);
    told.refused("claim_async", AnyFuture::answer(store.claim_async(&fresh)));
    told.refused("claim_many_async", AnyFuture::answer(store.claim_many_async(std::slice::from_ref(&fresh))));
    told.refused("claim_or_wait_async", AnyFuture::answer(store.claim_or_wait_async(&fresh, DAY)));
    told.refused("transact_async", AnyFuture::answer(store.transact_async(&fresh, |_| Ok(Vec::new()))));
    told.refused("get_async", AnyFuture::answer(store.get_async("known")));
    told.refused("forget_async", AnyFuture::answer(store.forget_async("known")));
    told.refused("namespace_async", AnyFuture::answer(store.namespace_async("of-the-child")));
    told.refused("verify_async", AnyFuture::answer(store.verify_async()));
    told.refused("prune_async", AnyFuture::answer(store.prune_async()));
    told.refused("compact_async", AnyFuture::answer(store.compact_async()));
    told.refused("checkpoint_async", AnyFuture::answer(store.checkpoint_async()));
    told.refused("backup_async", AnyFuture::answer(store.backup_async(dir.with_extension("backup"))));
    told.refused("fingerprinter_async", AnyFuture::answer(store.fingerprinter_async()));
    told.refused("after_restore_async", AnyFuture::answer(store.after_restore_async()));
    told.refused("sequence_async", AnyFuture::answer(store.sequence_async("stream")));
    told.refused("close_async", AnyFuture::answer(store.clone().close_async()));
}

/// The directory is the parent's; another one may be the child's.
fn directories(told: &mut Failures, dir: &Path) {
    let open = Store::open(dir).map(|_| ());
    told.expect("the parent's directory", open.is_err_and(|error| error.kind() == ErrorKind::AlreadyOpen));
    let own = tempfile::tempdir().unwrap();
    let mine = Store::open(own.path()).unwrap();
    claimed(mine.claim("mine", DAY)).complete("mine").unwrap();
    mine.close().unwrap();
}

/// The lease of a refused settlement.
fn back<T: Debug>(told: &mut Failures, name: &str, answer: Result<T, claimstore::SettleError>) -> Lease {
    match answer {
        Ok(done) => panic!("{name}: {done:?}"),
        Err(refused) => {
            let (error, lease) = refused.into_parts();
            told.refused(name, Err::<(), _>(error));
            lease.unwrap_or_else(|| panic!("{name}: the lease is lost"))
        }
    }
}

fn a_store_in_memory_is_refused_too() {
    let store = Store::in_memory().unwrap();
    let lease = claimed(store.claim("lease", DAY));
    match fork().unwrap() {
        Fork::Child => {
            watch_over_child();
            let mut failures = Failures::default();
            failures.refused("claim", store.claim("of-the-child", DAY));
            let lease = back(&mut failures, "complete", lease.complete("by the child"));
            failures.refused("close", store.clone().close());
            drop((lease, store));
            end_child("in memory", &failures);
        }
        Fork::Parent(child) => await_child(child, "in memory"),
    }
    lease.complete("by the parent").unwrap();
    store.close().unwrap();
}

fn a_child_that_lives_on_does_not_keep_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    match fork().unwrap() {
        Fork::Child => {
            watch_over_child();
            // Alive, and with the store in its hands, until the parent has closed and opened again.
            there.read_exact(&mut [0]).unwrap();
            let mut failures = Failures::default();
            failures.refused("close", store.clone().close());
            drop(store);
            end_child("living on", &failures);
        }
        Fork::Parent(child) => {
            claimed(store.claim("key", DAY)).complete("done").unwrap();
            store.close().unwrap();
            let again = Store::open(dir.path()).expect("the parent gave the directory up");
            here.write_all(&[1]).unwrap();
            await_child(child, "living on");
            // What the child dropped did not free it either.
            let taken = Store::open(dir.path()).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AlreadyOpen);
            assert!(matches!(again.claim("key", DAY), Ok(Claim::Duplicate(_))));
            again.verify().unwrap();
            again.close().unwrap();
        }
    }
}

fn a_fork_inside_a_closure_ends_it_in_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut child = None;
    let answer = store.transact(&ClaimRequest::new("rows").ttl(DAY), |tx| {
        let mut table = tx.table("table")?;
        table.insert("before", "fork")?;
        match fork().unwrap() {
            Fork::Child => {
                watch_over_child();
                let refused = [table.insert("after", "fork").map(drop), tx.table("other").map(drop)];
                if !refused
                    .iter()
                    .all(|done| done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Misuse))
                {
                    std::process::exit(1);
                }
            }
            Fork::Parent(pid) => {
                child = Some(pid);
                table.insert("after", "fork")?;
            }
        }
        Ok(b"response".to_vec())
    });
    let Some(child) = child else {
        let mut failures = Failures::default();
        failures.refused("transact", answer);
        drop(store);
        end_child("inside transact", &failures);
    };
    await_child(child, "inside transact");
    assert!(matches!(answer, Ok(Transacted::Done(_))));
    store.close().unwrap();
    let again = Store::open(dir.path()).unwrap();
    again.verify().unwrap();
    assert_eq!(again.table("table").unwrap().get("after").unwrap().as_deref(), Some(&b"fork"[..]));
    again.close().unwrap();
}

// ---- processes and futures ------------------------------------------------------------------------------

/// Ends this process if the child's work does not end by itself.
fn watch_over_child() {
    let watch = || {
        thread::park_timeout(PATIENCE);
        eprintln!("fork: the child hangs");
        std::process::exit(HUNG);
    };
    drop(thread::Builder::new().spawn(watch).unwrap());
}

fn end_child(kind: &str, failures: &Failures) -> ! {
    for failure in &failures.0 {
        eprintln!("fork, {kind}: {failure}");
    }
    std::process::exit(i32::from(!failures.0.is_empty()));
}

#[track_caller]
fn await_child(child: i32, name: &str) {
    let status = waitpid(child).unwrap();
    assert_eq!(status, 0, "{name}: the child ended with status {status:#x}");
}

fn claimed(answer: Result<Claim, Error>) -> Lease {
    answer.unwrap().claimed().expect("a fresh key")
}

/// A future of any kind, of which only success and failure matter.
struct AnyFuture(std::pin::Pin<Box<dyn Future<Output = Result<(), Error>>>>);

impl AnyFuture {
    fn new<T, E: Into<Error>>(future: impl Future<Output = Result<T, E>> + 'static) -> AnyFuture {
        AnyFuture(Box::pin(async { future.await.map(drop).map_err(Into::into) }))
    }

    fn poll(&mut self) -> Poll<Result<(), Error>> {
        self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn wait(&mut self) {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(thread::current())).into();
        while self.0.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// What a future says at its first poll; in a child it must say it at once.
    fn answer<T, E>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("a future of a child is pending"),
        }
    }
}
