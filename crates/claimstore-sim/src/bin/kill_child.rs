//! What the kill test and `real_kernel` end: several threads at work on one store, saying on standard output what
//! the store told them, a line at a time, until somebody ends the process.
//!
//! `kill_child DIR SEED sync|interval|none`. Lines: `C key token attempt` a claim was granted, `L key` its holder
//! is about to let go of it, `D key` it is completed, `T key` it was done in one `transact`. Responses and rows
//! repeat the key.

use claimstore::{Claim, ClaimRequest, Durability, Error, ErrorKind, Lease, Options, Store, Transacted};
use claimstore_sim::Rng;
use std::io::{self, Write};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const THREADS: u64 = 6;
const TTL: Duration = Duration::from_secs(86_400);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(seed), Some(durability)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: kill_child DIR SEED sync|interval|none".into());
    };
    let seed: u64 = seed.parse()?;
    let durability = match durability.as_str() {
        "sync" => Durability::Sync,
        "interval" => Durability::Interval(Duration::from_millis(5)),
        "none" => Durability::None,
        _ => return Err("the durability is sync, interval or none".into()),
    };
    let store = Options::new()
        .durability(durability)
        .first_segment_bytes(16 << 10)
        .segment_bytes(64 << 10)
        .max_response_bytes(4 << 10)
        .max_progress_bytes(1 << 10)
        .checkpoint_bytes(16 << 10)
        .open(dir)?;
    let said = Mutex::new(io::stdout());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let hand =
                Hand { store: &store, said: &said, rng: Rng::new(seed * THREADS + number), seed, number };
            scope.spawn(move || hand.work());
        }
    });
    Ok(())
}

/// One thread.
struct Hand<'a> {
    store: &'a Store,
    said: &'a Mutex<io::Stdout>,
    rng: Rng,
    seed: u64,
    number: u64,
}

impl Hand<'_> {
    fn work(mut self) {
        for done in 0.. {
            if let Err(error) = self.round(done) {
                // In one write: another thread may end the process meanwhile.
                drop(io::stderr().write_all(format!("{error:?}\n").as_bytes()));
                std::process::exit(1);
            }
        }
    }

    /// Something to do: with a key of its own, or with one that all threads want.
    fn round(&mut self, done: u64) -> Result<(), Error> {
        let own = format!("own-{}-{}-{done}", self.seed, self.number);
        match self.rng.below(10) {
            0..=3 => self.claim(&own),
            4..=6 => {
                let shared = format!("shared-{}-{}", self.seed, done / 8 + self.rng.below(8));
                self.claim(&shared)
            }
            7..=8 => self.batch(&own),
            _ => self.transact(&own),
        }
    }

    fn claim(&mut self, key: &str) -> Result<(), Error> {
        let answer = match self.store.claim(key, TTL) {
            // Dropped by three holders in turn: held for review, as the default policy says.
            Err(error) if error.kind() == ErrorKind::Parked => return Ok(()),
            answer => answer?,
        };
        if let Claim::Claimed(lease) = answer {
            self.say_claimed(key, &lease);
            match self.rng.below(8) {
                0 => {
                    self.say(&format!("L {key}"));
                    lease.release()?;
                }
                1 => {
                    self.say(&format!("L {key}"));
                    drop(lease);
                }
                // Held for ever: an orphan for the next life.
                2 => drop(lease.into_token()),
                _ => {
                    lease.complete(key)?;
                    self.say(&format!("D {key}"));
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, key: &str) -> Result<(), Error> {
        let keys: Vec<String> = (0..=self.rng.below(20)).map(|n| format!("{key}-{n}")).collect();
        let requests: Vec<ClaimRequest> = keys.iter().map(|key| ClaimRequest::new(key).ttl(TTL)).collect();
        let mut items = Vec::new();
        for (key, answer) in keys.iter().zip(self.store.claim_many(&requests)?) {
            if let Claim::Claimed(lease) = answer? {
                self.say_claimed(key, &lease);
                items.push((lease, key.as_bytes().to_vec()));
            }
        }
        for (key, verdict) in keys.iter().zip(self.store.complete_many(items)?) {
            verdict?;
            self.say(&format!("D {key}"));
        }
        Ok(())
    }

    fn transact(&mut self, key: &str) -> Result<(), Error> {
        let answer = self.store.transact(&ClaimRequest::new(key).ttl(TTL), |tx| {
            tx.table("rows")?.insert(key, key)?;
            Ok(key.as_bytes().to_vec())
        })?;
        if matches!(answer, Transacted::Done(_)) {
            self.say(&format!("T {key}"));
        }
        Ok(())
    }

    fn say_claimed(&self, key: &str, lease: &Lease) {
        self.say(&format!("C {key} {} {}", lease.token(), lease.attempt()));
    }

    /// One write a line: the parent sees whole lines only, whenever this process ends.
    fn say(&self, line: &str) {
        if let Ok(mut said) = self.said.lock() {
            // Whoever does not listen any more is about to end this process.
            drop(said.write_all(format!("{line}\n").as_bytes()).and_then(|()| said.flush()));
        }
    }
}
