//! A place for one test: a store, and the command to run on it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Once};
use std::time::Duration;

use claimstore::{ClaimRequest, ErrorKind, Failure, Policy, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::flag;
use tempfile::TempDir;

/// Dropping it checks the store for damage.
pub(crate) struct Sandbox {
    dir: TempDir,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        crate::watch::this_test();
        usual_signals();
        Sandbox { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// `claimstore <words> --store <store>`, words separated by single spaces.
    pub(crate) fn command(&self, words: &str) -> Command {
        Sandbox::command_at(words, &self.store())
    }

    pub(crate) fn command_at(words: &str, store: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claimstore"));
        command.args(words.split(' ')).arg("--store").arg(store);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn open(&self) -> Store {
        open(&self.store())
    }

    /// Runs `claimstore <words> --store <store>` to its end, with nobody to ask.
    pub(crate) fn run(&self, words: &str) -> Ran {
        run(&mut self.command(words))
    }

    /// Like [`run`](Sandbox::run), on a store elsewhere.
    pub(crate) fn run_at(&self, words: &str, store: &Path) -> Ran {
        assert!(store.starts_with(self.dir.path()));
        run(&mut Sandbox::command_at(words, store))
    }

    /// What a successful run with `--json` said.
    pub(crate) fn json(&self, words: &str) -> Value {
        let ran = self.run(&format!("{words} --json"));
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        assert_eq!(ran.out.split_inclusive(|byte| *byte == b'\n').count(), 1, "one object on one line");
        serde_json::from_slice(&ran.out).unwrap()
    }

    /// A store with one key in each state, in the namespace `shop`. All keys and payloads are telltale.
    pub(crate) fn fill(&self) {
        let store = self.open();
        let shop = store.namespace_with("shop", Policy::daily().max_attempts(2)).unwrap();
        let claim = |name: &str| {
            let request = ClaimRequest::new(key(name)).origin(payload("origin"));
            shop.claim_with(&request).unwrap().claimed().unwrap()
        };
        claim("done").complete(payload("response")).unwrap();
        claim("failed").fail(Failure::terminal(payload("failure"))).unwrap();
        let later = Failure::retry_after(Duration::from_secs(3_600)).because(payload("error"));
        claim("retry").fail(later).unwrap();
        claim("parked").fail(Failure::park(payload("note"))).unwrap();
        let mut orphan = claim("orphan");
        orphan.save_progress(payload("progress")).unwrap();
        drop(orphan);
        drop(claim("held").detach(Duration::from_secs(3_600)).unwrap());
        store.close().unwrap();
    }

    /// The record of a key of [`fill`](Sandbox::fill), as `explain` shows it.
    pub(crate) fn explain(&self, name: &str) -> Value {
        self.json(&format!("explain {} --namespace shop --show-payload", key(name)))
    }

    /// A file with these bytes, open for reading.
    pub(crate) fn file(&self, bytes: &[u8]) -> File {
        let mut file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        file.write_all(bytes).unwrap();
        File::open(file.path()).unwrap()
    }

    /// Runs `claimstore dedupe <words>` to its end.
    pub(crate) fn dedupe(&self, words: &str, input: &[u8]) -> Ran {
        let mut command = self.command(&format!("dedupe {words}"));
        run(command.stdin(self.file(input)))
    }
}

/// From here on the commands that tests start ignore no signal, whatever started the tests told them to ignore (`nohup`, a
/// background job of a script). A signal that is caught is no longer ignored after an `exec`. Nothing changes for the tests.
fn usual_signals() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCHLD, SIGWINCH] {
            if ignored >> (signal - 1) & 1 == 1 {
                flag::register(signal, Arc::default()).unwrap();
            }
        }
    });
}

/// How long a store may be open elsewhere before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a store in this process. A command that another test starts just then has our lock too, between its fork and
/// its exec, and for no longer than that.
#[expect(clippy::disallowed_methods, reason = "other processes run in real time")]
pub(crate) fn open(path: &Path) -> Store {
    let begun = std::time::Instant::now();
    loop {
        match Store::open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyOpen && begun.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            store => return store.unwrap(),
        }
    }
}

/// A key that would be noticed anywhere.
pub(crate) fn key(name: &str) -> String {
    format!("canary-key-{name}")
}

/// A payload that would be noticed anywhere.
pub(crate) fn payload(name: &str) -> String {
    format!("canary-payload-{name}")
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.store().exists() {
            return;
        }
        let store = self.open();
        store.verify().unwrap();
        store.close().unwrap();
    }
}

/// The same command, started by a line of a shell that ends in `exec "$@"`.
pub(crate) fn through(line: &str, command: &Command) -> Command {
    let mut through = Command::new("sh");
    through.args(["-c", line, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        through.env(name, value.unwrap_or_default());
    }
    through.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    through
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    Ran { code: code(output.status), out: output.stdout, err }
}

/// The exit code as a shell would say it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// `header` and `count` different rows, with quotes and line endings inside some.
pub(crate) fn rows(count: usize) -> Vec<String> {
    let row = |number| match number % 10 {
        3 => format!("{number};\"two\nlines\";\"7\"\"\"\n"),
        7 => format!("{number};{};x\r\n", "long".repeat(200)),
        _ => format!("{number};plain;x\n"),
    };
    (0..count).map(row).collect()
}

pub(crate) const HEADER: &str = "No;Text;More\n";

pub(crate) fn with_header(rows: &[String]) -> Vec<u8> {
    [HEADER, &rows.concat()].concat().into_bytes()
}

/// How often each of `rows` stands in `out`, which begins with the header; and what stands behind the last whole one.
pub(crate) fn count_rows(out: &[u8], rows: &[String]) -> (HashMap<String, usize>, Vec<u8>) {
    let numbers: HashMap<&str, &String> =
        rows.iter().map(|row| (row.split(';').next().unwrap(), row)).collect();
    let mut counts = HashMap::new();
    let mut rest = out.strip_prefix(HEADER.as_bytes()).unwrap_or_default();
    loop {
        let number: String =
            rest.iter().take_while(|byte| **byte != b';').map(|&byte| byte as char).collect();
        match numbers.get(number.as_str()) {
            Some(row) if rest.starts_with(row.as_bytes()) => {
                *counts.entry((*row).clone()).or_insert(0) += 1;
                rest = &rest[row.len()..];
            }
            _ => return (counts, rest.to_vec()),
        }
    }
}

/// Checks that the outputs together hold each row exactly once, and nothing but whole rows.
pub(crate) fn assert_each_once(outputs: &[&[u8]], rows: &[String]) {
    let mut all: HashMap<String, usize> = HashMap::new();
    for out in outputs {
        let (counts, rest) = count_rows(out, rows);
        assert!(rest.is_empty(), "a row is torn");
        for (row, count) in counts {
            *all.entry(row).or_insert(0) += count;
        }
    }
    for row in rows {
        assert_eq!(all.get(row), Some(&1), "{row}");
    }
}

pub(crate) fn data_set() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/online-retail-10k.csv");
    fs::read(path).unwrap()
}
