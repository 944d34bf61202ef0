//! A process under load that is killed at random moments, again and again, and what the store knows
//! afterwards.
//!
//! `CLAIMSTORE_KILLS` says how often.

use crate::watch::{Watchdog, scale};
use claimstore::{Claim, RecordState, Store};
use claimstore_sim::Rng;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(86_400);

/// What was heard about one key.
#[derive(Debug, Default)]
struct Heard {
    /// Highest token.
    token: u64,
    /// Which life granted it.
    life: u64,
    /// The holder began to let go.
    let_go: bool,
    completed: bool,
    row: bool,
}

#[derive(Debug, Default)]
struct Book {
    keys: HashMap<String, Heard>,
    acknowledged: u64,
    /// The highest token of earlier lives.
    before: u64,
    highest: u64,
}

impl Book {
    fn note(&mut self, life: u64, line: &str) {
        let mut words = line.split(' ');
        let (what, key) = (words.next().unwrap(), words.next().unwrap());
        let heard = self.keys.entry(key.to_owned()).or_default();
        match what {
            "C" => {
                let token: u64 = words.next().unwrap().parse().unwrap();
                let attempt: u32 = words.next().unwrap().parse().unwrap();
                assert!(!heard.completed, "{key} was claimed after it was completed");
                assert!(token > heard.token && token > self.before, "{key}: token {token} after {heard:?}");
                let held = heard.token > 0 && heard.life == life && !heard.let_go;
                assert!(!held, "{key} was claimed by {token} while {heard:?}");
                assert!(attempt >= 1);
                *heard = Heard { token, life, ..Heard::default() };
                self.highest = self.highest.max(token);
            }
            "L" => heard.let_go = true,
            "D" => heard.completed = true,
            "T" => {
                assert!(!heard.completed && (heard.token == 0 || heard.let_go), "{key} was done twice");
                (heard.completed, heard.row) = (true, true);
            }
            _ => panic!("{line}"),
        }
        self.acknowledged += u64::from(what != "L");
    }

    /// Asks the store about everything that was ever heard.
    fn check(&self, store: &Store) {
        let rows = store.table("rows").unwrap();
        for (key, heard) in &self.keys {
            if heard.completed {
                let answer = store.claim(key, TTL).unwrap();
                let Claim::Duplicate(receipt) = answer else {
                    panic!("{key} is lost: {answer:?}, {heard:?}")
                };
                assert_eq!(receipt.response(), key.as_bytes());
                assert!(
                    !heard.row || rows.get(key).unwrap().as_deref() == Some(key.as_bytes()),
                    "row of {key}"
                );
            } else if !heard.let_go {
                let record = store.get(key).unwrap();
                let record = record.unwrap_or_else(|| panic!("the claim of {key} is lost: {heard:?}"));
                assert!(record.token() >= heard.token, "{key}: {record:?}, {heard:?}");
                let orphan = record.state() == RecordState::Orphaned;
                assert!(orphan || record.response() == Some(key.as_bytes()), "{key}: {record:?}");
            }
        }
    }
}

/// Starts a child and kills it after about so many lines.
fn one_life(dir: &Path, seed: u64, lines: usize, book: &mut Book) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kill_child"))
        .arg(dir)
        .arg(seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in said.by_ref().take(lines) {
        book.note(seed, &line.unwrap());
    }
    child.kill().unwrap();
    // What it had said before it died counts.
    for line in said {
        book.note(seed, &line.unwrap());
    }
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), None, "the child ended by itself");
    book.before = book.highest;
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let kills: u64 = scale("CLAIMSTORE_KILLS", 20);
    let first: u64 = scale("CLAIMSTORE_SEED", 1);
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::default();
    for seed in first..first + kills {
        let _watchdog = Watchdog::new(format!("kill, CLAIMSTORE_SEED={seed}"), 60);
        let mut rng = Rng::new(seed);
        let lines = [0, 50, 1_000, 10_000][rng.index(4)];
        one_life(dir.path(), seed, rng.index(lines + 1), &mut book);
        // Now and then the next child finds what the killed one left.
        if rng.chance(3, 4) {
            let store = Store::open(dir.path()).unwrap();
            book.check(&store);
            store.verify().unwrap();
            store.close().unwrap();
        }
    }
    let store = Store::open(dir.path()).unwrap();
    book.check(&store);
    println!("kill: {kills} cycles, {} acknowledged, 0 lost, 0 twice", book.acknowledged);
}
