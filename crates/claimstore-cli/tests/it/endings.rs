//! A run that is ended early loses nothing and repeats nothing.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::sandbox::{HEADER, Ran, Sandbox, assert_each_once, code, rows, run, send, with_header};

const WORDS: &str = "dedupe --delimiter ; --whole-record";

/// Two megabytes: a pipe holds one where pages have 64 KiB.
fn more_than_a_pipe_holds() -> Vec<String> {
    let long = "long".repeat(200);
    rows(3_000).into_iter().map(|row| row.replace("plain", &long)).collect()
}

/// Reads what is left of the output and waits for the end.
fn finish(mut child: Child, mut out: Vec<u8>) -> Ran {
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    Ran { code: code(child.wait().unwrap()), out, err }
}

#[test]
fn when_the_reader_goes_the_rest_is_left_to_the_next_run() {
    let (sandbox, rows) = (Sandbox::new(), more_than_a_pipe_holds());
    let input = with_header(&rows);
    let mut child = sandbox.command(WORDS).stdin(sandbox.file(&input)).spawn().unwrap();
    // Reads like `head -c`, then goes. What the pipe took counts as passed on, read or not; rows pass in order, so
    // the number of them tells which.
    let mut reader = child.stdout.take().unwrap();
    let mut out = vec![0; HEADER.len()];
    reader.read_exact(&mut out).unwrap();
    drop(reader);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(code(child.wait().unwrap()), 141, "{err}");
    let passed = number_in_front_of(&err, " passed");
    let left = number_in_front_of(&err, " not passed on");
    assert!(left > 0, "{err}");

    let second = sandbox.dedupe("--delimiter ; --whole-record", &input);
    assert_eq!(number_in_front_of(&second.err, " passed"), rows.len() - passed);
    assert_each_once(&[&with_header(&rows[..passed]), &second.out], &rows);
}

fn number_in_front_of(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap();
    before.rsplit([' ', '\n']).next().unwrap().parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn a_closed_pipe_takes_nothing() {
    let (sandbox, rows) = (Sandbox::new(), rows(200));
    let input = with_header(&rows);
    for _ in 0..2 {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = run(sandbox.command(WORDS).stdin(sandbox.file(&input)).stdout(writer));
        assert_eq!(ran.code, 141);
    }
    assert!(sandbox.dedupe("--delimiter ; --whole-record", &input).out == input);
}

#[cfg(target_os = "linux")] // elsewhere there is no such device
#[test]
fn a_full_device_takes_nothing() {
    let (sandbox, rows) = (Sandbox::new(), rows(200));
    let input = with_header(&rows);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = run(sandbox.command(WORDS).stdin(sandbox.file(&input)).stdout(full));
    assert_eq!(ran.code, 74);
    assert!(sandbox.dedupe("--delimiter ; --whole-record", &input).out == input);
}

#[test]
fn a_signal_in_the_middle_of_the_input_ends_in_good_order() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        for fed in [0, 1, 63, 64, 65, 500] {
            let (sandbox, rows) = (Sandbox::new(), rows(1_000));
            let mut child = sandbox.command(WORDS).stdin(Stdio::piped()).spawn().unwrap();
            // The input stays open: the run is waiting for more when the signal comes, or still busy.
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(&with_header(&rows[..fed])).unwrap();
            let mut out = vec![0; HEADER.len()];
            child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
            send(&child, signal);
            let first = finish(child, out);
            drop(stdin);
            assert_eq!(first.code, expected, "{}", first.err);

            let second = sandbox.dedupe("--delimiter ; --whole-record", &with_header(&rows));
            assert_each_once(&[&first.out, &second.out], &rows);
        }
    }
}

#[test]
fn a_signal_ends_a_run_that_nobody_reads() {
    let (sandbox, rows) = (Sandbox::new(), more_than_a_pipe_holds());
    let input = with_header(&rows);
    let mut child = sandbox.command(WORDS).stdin(sandbox.file(&input)).spawn().unwrap();
    let mut out = vec![0; HEADER.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
    send(&child, Signal::TERM);
    // Ends although its output is full: only then is it read.
    assert_eq!(code(child.wait().unwrap()), 143);
    let first = finish(child, out);

    let second = sandbox.dedupe("--delimiter ; --whole-record", &input);
    assert_each_once(&[&first.out, &second.out], &rows);
    assert!(second.out.len() > HEADER.len(), "the pipe cannot have taken everything");
}

#[test]
fn a_pausing_input_does_not_hold_records_back() {
    let (sandbox, rows) = (Sandbox::new(), rows(3));
    let mut child = sandbox.command(WORDS).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = with_header(&rows);
    stdin.write_all(&input).unwrap();
    // Far fewer than a batch, and the input is still open.
    let mut out = vec![0; input.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
    assert!(out == input);
    drop(stdin);
    assert_eq!(finish(child, Vec::new()).code, 0);
}
