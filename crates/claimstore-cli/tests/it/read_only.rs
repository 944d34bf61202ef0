//! A store in a directory that the command cannot write to: what looks works and changes nothing, what changes something
//! says why not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Ran, Sandbox, key, run};

/// Somebody who may read and not write.
const NOBODY: u32 = 65_534;

/// Every file and directory below `dir`, `dir` first.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(tree(&path)) } else { found.push(path) }
    }
    found
}

/// Lets everybody read everything and nobody write; `false`: as it was.
fn lock_up(dir: &Path, locked: bool) {
    for path in tree(dir) {
        let mode = match (path.is_dir(), locked) {
            (true, true) => 0o555,
            (false, true) => 0o444,
            (true, false) => 0o700,
            (false, false) => 0o600,
        };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

/// The command, run by somebody who may not write: root is nobody for that, others are themselves.
struct Reader {
    program: PathBuf,
    store: PathBuf,
    is_root: bool,
}

impl Reader {
    fn of(sandbox: &Sandbox) -> Reader {
        let home = sandbox.path("");
        fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
        let program = sandbox.path("program");
        fs::copy(env!("CARGO_BIN_EXE_claimstore"), &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        Reader { program, store: sandbox.store(), is_root: fs::metadata(&home).unwrap().uid() == 0 }
    }

    fn run(&self, words: &str) -> Ran {
        let mut command = Command::new(&self.program);
        command.args(words.split(' ')).arg("--store").arg(&self.store);
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        run(&mut command)
    }

    /// Whether another user can be had here.
    fn works(&self) -> bool {
        let mut command = Command::new(&self.program);
        command.arg("--version");
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().is_ok_and(|output| output.status.success())
    }
}

/// The columns of a listing but the first, which is an age.
fn rows(out: &[u8]) -> Vec<Vec<String>> {
    let lines = std::str::from_utf8(out).unwrap().lines();
    lines.map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect()).collect()
}

#[test]
fn what_looks_works_where_nothing_can_be_written() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let expected = rows(&sandbox.run("list --show-keys").out);
    assert_eq!(expected.len(), 7, "a line for each key, and one above them");
    let reader = Reader::of(&sandbox);
    if !reader.works() {
        println!("SKIPPED what_looks_works_where_nothing_can_be_written: no other user can be had here");
        return;
    }
    lock_up(&sandbox.store(), true);
    let before: Vec<_> =
        tree(&sandbox.store()).into_iter().map(|path| (fs::read(&path).ok(), path)).collect();
    let done = key("done");
    let looks = [
        "list --show-keys".to_owned(),
        "stats".to_owned(),
        format!("get {done} --namespace shop"),
        format!("explain {done} --namespace shop"),
        "stuck".to_owned(),
        "orphans".to_owned(),
        "parked".to_owned(),
        "policy".to_owned(),
        "verify".to_owned(),
        "export".to_owned(),
    ];
    let ran: Vec<_> = looks.iter().map(|words| (words, reader.run(words))).collect();
    let changes = ["prune", "checkpoint", "compact"].map(|words| (words, reader.run(words)));
    let after: Vec<_> = tree(&sandbox.store()).into_iter().map(|path| (fs::read(&path).ok(), path)).collect();
    // In any case, so that the directory can be removed.
    lock_up(&sandbox.store(), false);
    for (words, ran) in &ran {
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        assert!(!ran.out.is_empty(), "{words}");
    }
    assert_eq!(rows(&ran[0].1.out), expected, "the same as of a store that can be written");
    for (words, ran) in changes {
        assert!(ran.code == 64 || ran.code == 74, "{words}: {} {}", ran.code, ran.err);
        assert!(!ran.err.is_empty(), "{words}");
    }
    assert!(before == after, "the store was changed");
}

/// The lock file may belong to somebody else alone: then nothing is locked, and the store is looked at all the same.
#[test]
fn a_lock_file_that_cannot_be_read_does_not_keep_from_looking() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let reader = Reader::of(&sandbox);
    if !reader.works() {
        println!(
            "SKIPPED a_lock_file_that_cannot_be_read_does_not_keep_from_looking: no other user can be had here"
        );
        return;
    }
    lock_up(&sandbox.store(), true);
    let lock = sandbox.store().join("LOCK");
    fs::set_permissions(&lock, Permissions::from_mode(0o000)).unwrap();
    let owned = reader.is_root && chown(&lock, Some(0), Some(0)).is_ok();
    let ran = reader.run("list");
    lock_up(&sandbox.store(), false);
    assert_eq!(ran.code, 0, "{owned}: {}", ran.err);
}
