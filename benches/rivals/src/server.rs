//! Servers that the bench starts for itself and stops again.

use claimstore_bench::Result;
use claimstore_bench::time::{Stopwatch, sleep};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to answer for the first time.
const START: Duration = Duration::from_secs(60);

/// The user and group `nobody` on Linux: who runs servers that refuse to be run by root.
const NOBODY: u32 = 65534;

/// A running server. It is stopped, and waited for, when this value is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stop: Signal,
    log: PathBuf,
    sockets: TempDir,
}

/// A new directory for sockets: in the scratch directory their names could become longer than the 107 bytes that the
/// kernel takes.
pub(crate) fn socket_dir() -> Result<TempDir> {
    Ok(tempfile::tempdir()?)
}

impl Server {
    /// Starts a server that listens in `sockets` and ends at the signal `stop`. What it prints goes to a log in `dir`.
    pub(crate) fn start(command: &mut Command, stop: Signal, dir: &Path, sockets: TempDir) -> Result<Self> {
        let log = dir.join("server.log");
        let out = File::create(&log)?;
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        Ok(Self { child, stop, log, sockets })
    }

    /// Where its sockets are.
    pub(crate) fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    /// The first connection that succeeds; an error with the server's own words if it ends before.
    pub(crate) fn first<T>(&mut self, connect: impl Fn(&Path) -> Result<T>) -> Result<T> {
        let watch = Stopwatch::start();
        loop {
            match connect(self.sockets.path()) {
                Ok(connection) => return Ok(connection),
                Err(error) if watch.elapsed() > START || self.child.try_wait()?.is_some() => {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    return Err(format!("no connection to the server: {error}; it says:\n{log}").into());
                }
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already; then there is nothing to stop.
        if kill_process(Pid::from_child(&self.child), self.stop).is_ok() {
            let _status = self.child.wait();
        }
    }
}

/// The program of that name: on the `PATH`, or in one of the other directories.
pub(crate) fn program(name: &str, others: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).chain(others).collect();
    dirs.into_iter().map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// A command that root runs as nobody, in directories that from now on belong to nobody; anybody else runs it as
/// themselves.
pub(crate) fn not_as_root(program: impl AsRef<OsStr>, dirs: &[&Path]) -> Result<Command> {
    let mut command = Command::new(program);
    for dir in dirs {
        let owner = fs::metadata(dir)?.uid();
        if owner == 0 || owner == NOBODY {
            chown(dir, Some(NOBODY), Some(NOBODY))?;
            command.uid(NOBODY).gid(NOBODY);
        }
    }
    Ok(command)
}
