//! Streams under many threads and a disk that fails and then loses power: whatever a thread was told is done is done in
//! the next life, also where somebody else completed it and was not told so himself (P4).
//!
//! Syncs are slow now and then, and the worst of them fails: much is asked about images that are not durable yet.
//! `CLAIMSTORE_STREAM_HISTORIES` says how many, `CLAIMSTORE_SEED` from which seed on.

use crate::threads::restless;
use crate::watch::{Watchdog, begun, scale, told};
use claimstore::{ErrorKind, PositionClaim, Sequence, Store};
use claimstore_sim::{Fault, FaultKind, Level, Rng, SimDisk, Target, Variant};
use std::collections::BTreeSet;
use std::sync::Arc;

const STREAMS: usize = 2;
/// Positions of a stream.
const LAST: u64 = 120;

/// What one thread was told of the streams: done, and not to be done by anybody else.
#[derive(Default)]
struct Told {
    done: BTreeSet<(usize, u64)>,
    /// Completions begun, whatever became of them.
    begun: BTreeSet<(usize, u64)>,
    /// Tokens of claims.
    tokens: BTreeSet<u64>,
}

impl Told {
    fn join(&mut self, mut other: Told) {
        self.done.append(&mut other.done);
        self.begun.append(&mut other.begun);
        self.tokens.append(&mut other.tokens);
    }
}

fn stream(store: &Store, number: usize) -> Sequence {
    store.sequence(format!("stream/{number}")).unwrap()
}

/// Asks and works until the streams are done or the store is over.
fn work(store: &Store, seed: u64) -> Told {
    let (mut rng, mut told) = (Rng::new(seed), Told::default());
    let opened: Result<Vec<_>, _> = (0..STREAMS).map(|at| store.sequence(format!("stream/{at}"))).collect();
    let Ok(streams) = opened else { return told };
    for _ in 0..LAST {
        let at = rng.index(STREAMS);
        if ask(&streams[at], at, &mut rng, &mut told).is_err() {
            break;
        }
    }
    told
}

/// One question, and the work it may lead to.
fn ask(stream: &Sequence, at: usize, rng: &mut Rng, told: &mut Told) -> Result<(), ErrorKind> {
    let over = |error: claimstore::Error| match error.kind() {
        // Somebody passed by meanwhile, or the window is full.
        ErrorKind::Overloaded | ErrorKind::Misuse | ErrorKind::StaleLease => Ok(()),
        kind => Err(kind),
    };
    let next = match stream.next() {
        Ok(next) => next,
        Err(error) => return over(error),
    };
    told.done.extend((0..next).map(|position| (at, position)));
    let position = next.saturating_sub(2) + rng.below(6);
    match stream.claim(position) {
        Ok(PositionClaim::Duplicate) => {
            told.done.insert((at, position));
            Ok(())
        }
        Ok(PositionClaim::InProgress(_)) => Ok(()),
        Ok(PositionClaim::Claimed(lease)) => {
            assert!(told.tokens.insert(lease.token()), "a token was given twice");
            told.begun.insert((at, position));
            match lease.complete() {
                Ok(()) => {
                    told.done.insert((at, position));
                    Ok(())
                }
                Err(error) => over(error.into_parts().0),
            }
        }
        Err(error) => over(error),
    }
}

fn history(seed: u64, lives: u64) {
    let mut rng = Rng::new(seed);
    let (mut disk, mut told) = (SimDisk::new(), Told::default());
    for life in 0..=lives {
        disk.stop_recording();
        let store = restless().open_on(Arc::new(disk.clone())).unwrap();
        check(&store, &told, &format!("CLAIMSTORE_SEED={seed}, life {life}"));
        if life == lives {
            return;
        }
        let target = [Target::Any, Target::Syncs][rng.index(2)];
        let fault = Fault { seed: rng.next_u64(), ..Fault::sticky(FaultKind::Io, target) };
        disk.slow_syncs([8, 64, 512][rng.index(3)]);
        disk.fail_at_slow_sync(rng.below(24), fault);
        disk.fail_at(disk.operations(target) + 60 + rng.below(600), fault);
        let seeds: Vec<u64> = (0..2 + rng.below(7)).map(|_| rng.next_u64()).collect();
        let heard = std::thread::scope(|scope| {
            let store = &store;
            let workers: Vec<_> = seeds.iter().map(|seed| scope.spawn(move || work(store, *seed))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        heard.into_iter().for_each(|heard| told.join(heard));
        // The last handle: nothing of this life writes any more.
        drop(store);
        let level = [Level::L1, Level::L2, Level::L3][rng.index(3)];
        disk = disk.power_loss(Variant::new(level, rng.next_u64()));
    }
}

/// What was told is done; nothing is that nobody began to complete; and tokens rise.
fn check(store: &Store, told: &Told, line: &str) {
    for at in 0..STREAMS {
        let stream = stream(store, at);
        for position in 0..LAST + 10 {
            let is_done = match stream.claim(position) {
                Ok(PositionClaim::Duplicate) => true,
                Ok(PositionClaim::Claimed(lease)) => {
                    let newer = told.tokens.last().is_none_or(|last| *last < lease.token());
                    assert!(newer, "{line}: an old token was given again");
                    false
                }
                other => panic!("{line}: position {position}: {other:?}"),
            };
            let named = (at, position);
            assert!(is_done || !told.done.contains(&named), "{line}: position {position} of {at} is lost");
            let may_be = told.begun.contains(&named) || told.done.contains(&named);
            assert!(!is_done || may_be, "{line}: position {position} of {at} was never completed");
        }
    }
}

#[test]
fn what_anybody_was_told_of_a_stream_survives_the_disk() {
    begun();
    let histories: u64 = scale("CLAIMSTORE_STREAM_HISTORIES", 40);
    let first: u64 = scale("CLAIMSTORE_SEED", 1);
    for seed in first..first + histories {
        let name = format!("what_anybody_was_told_of_a_stream_survives_the_disk, CLAIMSTORE_SEED={seed}");
        let _watchdog = Watchdog::new(name, 60);
        history(seed, 4);
    }
    told(format_args!("streams: {histories} histories of threads with crashes, all kept"));
}
