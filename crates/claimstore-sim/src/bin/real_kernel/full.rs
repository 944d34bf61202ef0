//! A disk that fills up under a store (P16): with every so many KiB of room left, in steps.
//!
//! One round: a store with a bucket that has ended; the disk is filled but for what is left. Claims and completions
//! go on until they are refused as `Full`; nothing that was acknowledged is gone; a prune works; and when there is
//! room again, so does everything else, in this life and the next.

use claimstore::{Claim, Error, ErrorKind, Lease, ManualClock, Options, Store};
use claimstore_sim::script::Stop;
use std::fs::{self, File};
use std::io::{ErrorKind as IoKind, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(86_400);
/// Keys of the bucket that ends.
const ENDING: u64 = 300;
/// Beyond what any of the disks can hold.
const ENDLESS: u64 = 100_000;
/// The largest room that is left.
const MOST_KIB: u64 = 1_024;

#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    /// Done between the filling and the refusal, over all rounds.
    acknowledged: u64,
    /// Rounds in which a settlement found room on the full disk.
    settled: u64,
    /// Rounds in which the prune made enough room for a claim.
    resumed: u64,
}

/// Plays a round for each room of `step_kib` more; answers what happened, in one line.
pub(crate) fn run(dir: &Path, step_kib: u64) -> Result<String, Stop> {
    let mut tally = Tally::default();
    for left_kib in (0..=MOST_KIB).step_by(step_kib as usize) {
        round(dir, left_kib, &mut tally).map_err(|stop| match stop {
            Stop::Disagree(what) => Stop::Disagree(format!("{left_kib} KiB left: {what}")),
            Stop::Failed(kind, what) => Stop::Failed(kind, format!("{left_kib} KiB left: {what}")),
        })?;
    }
    let Tally { rounds, acknowledged, settled, resumed } = tally;
    Ok(format!(
        "{rounds} rounds, {acknowledged} acknowledged until Full, 0 lost, {rounds} prunes on the full disk; \
         claims went on behind the prune alone: {resumed}, settled while full: {settled}",
    ))
}

fn round(dir: &Path, left_kib: u64, tally: &mut Tally) -> Result<(), Stop> {
    let (home, filler) = (dir.join("store"), dir.join("filler"));
    if home.exists() {
        fs::remove_dir_all(&home).map_err(|error| outside(&error))?;
    }
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let store = open(&home, &clock)?;
    for n in 0..ENDING {
        let lease = claimed(store.claim(format!("short-{n}"), SHORT)?)?;
        lease.complete(response(n)).map_err(Error::from)?;
    }
    store.checkpoint()?;
    clock.advance(10 * SHORT);
    let held = claimed(store.claim("held", LONG)?)?;

    fill(&filler, left_kib << 10).map_err(|error| outside(&error))?;
    let done = work_until_full(&store)?;
    all_there(&store, done)?;
    full_or_fine(store.checkpoint())?;
    let held = match held.complete("done") {
        Ok(()) => {
            tally.settled += 1;
            None
        }
        Err(refused) => match refused.into_parts() {
            (error, Some(lease)) if error.kind() == ErrorKind::Full => Some(lease),
            (error, _) => return Err(error.into()),
        },
    };
    let pruned = store.prune()?;
    if pruned.records < ENDING {
        return Err(Stop::Disagree(format!("the prune dropped {} records", pruned.records)));
    }
    tally.resumed += u64::from(full_or_fine(store.claim("behind the prune", LONG).map(drop))?);
    all_there(&store, done)?;

    fs::remove_file(&filler).map_err(|error| outside(&error))?;
    if let Some(held) = held {
        held.complete("done").map_err(Error::from)?;
    }
    let lease = claimed(store.claim("room again", LONG)?)?;
    lease.complete("done").map_err(Error::from)?;
    // Every second store is left as a process leaves it that dies.
    if tally.rounds.is_multiple_of(2) {
        store.close()?;
    } else {
        drop(store);
    }
    let store = open(&home, &clock)?;
    all_there(&store, done)?;
    for key in ["held", "room again"] {
        is_done(&store, key, b"done")?;
    }
    store.verify()?;
    store.close()?;
    tally.rounds += 1;
    tally.acknowledged += done;
    Ok(())
}

/// Without threads of its own: what runs when is this program's choice.
fn open(home: &Path, clock: &ManualClock) -> Result<Store, Error> {
    Options::new()
        .background(false)
        .clock(clock.clone())
        .first_segment_bytes(16 << 10)
        .segment_bytes(64 << 10)
        .max_response_bytes(4 << 10)
        .max_progress_bytes(1 << 10)
        .open(home)
}

/// Claims and completes keys until the first refusal, which must be `Full`; answers how many were completed.
fn work_until_full(store: &Store) -> Result<u64, Stop> {
    for n in 0..ENDLESS {
        let lease = match store.claim(format!("long-{n}"), LONG) {
            Ok(answer) => claimed(answer)?,
            Err(error) => return full_or_fine(Err(error)).map(|_| n),
        };
        if let Err(refused) = lease.complete(response(n)) {
            return full_or_fine(Err(Error::from(refused))).map(|_| n);
        }
        if n % 64 == 63 {
            full_or_fine(store.checkpoint())?;
        }
    }
    Err(Stop::Disagree("the disk is never full".into()))
}

/// Whether the call went through; a full disk may refuse it, and nothing else.
fn full_or_fine(done: Result<(), Error>) -> Result<bool, Stop> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Full => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn all_there(store: &Store, done: u64) -> Result<(), Stop> {
    (0..done).try_for_each(|n| is_done(store, &format!("long-{n}"), &response(n)))
}

fn is_done(store: &Store, key: &str, response: &[u8]) -> Result<(), Stop> {
    match store.claim(key, LONG)? {
        Claim::Duplicate(receipt) if receipt.response() == response => Ok(()),
        answer => Err(Stop::Disagree(format!("{key} is lost: {answer:?}"))),
    }
}

fn claimed(answer: Claim) -> Result<Lease, Stop> {
    match answer {
        Claim::Claimed(lease) => Ok(lease),
        answer => Err(Stop::Disagree(format!("{answer:?} for a new key"))),
    }
}

fn response(n: u64) -> Vec<u8> {
    vec![n as u8; 1 << 10]
}

/// Takes all room of the file system but `left` bytes.
fn fill(path: &Path, left: u64) -> std::io::Result<()> {
    let mut filler = File::create(path)?;
    let mut written = 0u64;
    for chunk in [vec![0xff; 1 << 20], vec![0xff; 4 << 10]] {
        loop {
            match filler.write(&chunk) {
                Ok(0) => break,
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == IoKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    filler.set_len(written.saturating_sub(left))?;
    filler.sync_all()
}

fn outside(error: &std::io::Error) -> Stop {
    Stop::Disagree(format!("outside the store: {error}"))
}
