//! A process under load that is killed at random moments, again and again, and what the store knows
//! afterwards.
//!
//! `CLAIMSTORE_KILLS` says how often.

use crate::watch::{Watchdog, begun, scale, told};
use claimstore::Store;
use claimstore_sim::Rng;
use claimstore_sim::kill::Book;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// The death of a process takes nothing back, whatever the durability.
const DURABILITIES: [&str; 3] = ["sync", "interval", "none"];

/// Starts a child and kills it after about so many lines.
fn one_life(dir: &Path, seed: u64, lines: usize, book: &mut Book) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kill_child"))
        .arg(dir)
        .args([seed.to_string().as_str(), DURABILITIES[(seed % 3) as usize]])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in said.by_ref().take(lines) {
        book.note(seed, &line.unwrap()).unwrap();
    }
    child.kill().unwrap();
    // What it had said before it died counts.
    for line in said {
        book.note(seed, &line.unwrap()).unwrap();
    }
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), None, "the child ended by itself");
    book.end_life();
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    begun();
    let kills: u64 = scale("CLAIMSTORE_KILLS", 20);
    let first: u64 = scale("CLAIMSTORE_SEED", 1);
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::default();
    for seed in first..first + kills {
        let _watchdog = Watchdog::new(format!("kill, CLAIMSTORE_SEED={seed}"), 600);
        let mut rng = Rng::new(seed);
        let lines = [0, 50, 1_000, 10_000][rng.index(4)];
        one_life(dir.path(), seed, rng.index(lines + 1), &mut book);
        // Now and then the next child finds what the killed one left.
        if rng.chance(3, 4) {
            let store = Store::open(dir.path()).unwrap();
            book.check(&store).unwrap();
            store.verify().unwrap();
            store.close().unwrap();
        }
    }
    let store = Store::open(dir.path()).unwrap();
    book.check(&store).unwrap();
    told(format_args!("kill: {kills} cycles, {} acknowledged, 0 lost, 0 twice", book.acknowledged()));
}
