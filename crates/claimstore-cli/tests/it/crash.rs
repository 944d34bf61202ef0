//! kill -9: only the last batch is in doubt, and the user decides about it.

use std::collections::HashMap;
use std::fs::{self, File};

use crate::sandbox::{Sandbox, code, count_rows, rows, run, with_header};

const ROWS: usize = 2_000;
const BATCH: usize = 64;

/// Starts a run and kills it once its output file has grown to `bytes`. Gives the whole rows in the file.
fn killed_run(sandbox: &Sandbox, words: &str, rows: &[String], bytes: u64) -> HashMap<String, usize> {
    let path = sandbox.path("killed.csv");
    let mut command = sandbox.command(words);
    command.stdin(sandbox.file(&with_header(rows))).stdout(File::create(&path).unwrap());
    let mut child = command.spawn().unwrap();
    while fs::metadata(&path).unwrap().len() < bytes && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    // No error where it has ended and was waited for.
    child.kill().unwrap();
    let status = code(child.wait().unwrap());
    assert!(status == 128 + 9 || status == 0, "{status}");
    count_rows(&fs::read(&path).unwrap(), rows).0
}

/// One killed run, then one to the end; how often each row came in both together.
fn crash_and_rerun(on_crash: &str, bytes: u64) -> Vec<usize> {
    let (sandbox, rows) = (Sandbox::new(), rows(ROWS));
    let words = format!("dedupe --delimiter ; --whole-record --batch {BATCH} --on-crash {on_crash}");
    let first = killed_run(&sandbox, &words, &rows, bytes);
    let ran = run(sandbox.command(&words).stdin(sandbox.file(&with_header(&rows))));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (second, rest) = count_rows(&ran.out, &rows);
    assert!(rest.is_empty());
    let in_both = |row| first.get(row).unwrap_or(&0) + second.get(row).unwrap_or(&0);
    rows.iter().map(in_both).collect()
}

fn sizes() -> impl Iterator<Item = u64> {
    (0..12).map(|step| step * 12_000)
}

#[test]
fn emit_loses_nothing_and_repeats_at_most_a_batch() {
    for bytes in sizes() {
        let counts = crash_and_rerun("emit", bytes);
        assert!(counts.iter().all(|&count| count >= 1), "a row is lost");
        assert!(counts.iter().filter(|&&count| count > 1).count() <= BATCH);
    }
}

#[test]
fn skip_repeats_nothing_and_loses_at_most_a_batch() {
    for bytes in sizes() {
        let counts = crash_and_rerun("skip", bytes);
        assert!(counts.iter().all(|&count| count <= 1), "a row came twice");
        assert!(counts.iter().filter(|&&count| count == 0).count() <= BATCH);
    }
}

#[test]
fn many_crashes_do_not_park_a_record() {
    let (sandbox, rows) = (Sandbox::new(), rows(10));
    for _ in 0..8 {
        killed_run(&sandbox, "dedupe --delimiter ; --whole-record", &rows, 1);
    }
    let input = with_header(&rows);
    let ran = sandbox.dedupe("--delimiter ; --whole-record", &input);
    assert_eq!(ran.code, 0, "{}", ran.err);
}
