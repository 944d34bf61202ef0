//! The arguments of `exec`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use claimstore::OnOrphan;
use clap::{Args, ValueEnum};

use crate::codes;
use crate::duration;
use crate::key;
use crate::store_args::{STORE_VARIABLE, directory};

/// Runs a command at most once per key, and replays its output and exit code to whoever asks again.
///
/// The command gets CLAIMSTORE_KEY, CLAIMSTORE_TOKEN (which rises from attempt to attempt) and CLAIMSTORE_ATTEMPT in its
/// environment. Its output is passed on as it comes. When it ends, its exit code is recorded with the output so far;
/// what a process that it left behind writes after that is passed on, and not recorded. A script without a first line
/// `#!` is run by /bin/sh.
///
/// SIGHUP, SIGINT, SIGQUIT and SIGTERM are passed on to the command, each once; those that are ignored already (nohup)
/// stay ignored. Before the command runs, such a signal ends the call; after the command has ended, it ends the wait for
/// processes and readers. A command that a signal ended has no result: it is retried, and counts as an attempt.
///
/// While it runs, the claim is renewed at half the lease. If this process is killed, the claim is trusted until the
/// lease is over; then --on-orphan decides. The command itself may outlive this process: give the token to whoever must
/// not be told twice.
#[derive(Debug, Args)]
#[command(after_help = codes::of_exec())]
pub(crate) struct Exec {
    /// The directory of the store, made if absent.
    #[arg(long, value_name = "DIR", env = STORE_VARIABLE, hide_env_values = true, required = false, value_parser = directory())]
    pub(super) store: PathBuf,

    /// The key: what is to be done once.
    #[arg(long, value_name = "KEY")]
    pub(super) key: OsString,

    /// The namespace of the key: the options below that have a default are set in its rules, and the others stay. Not
    /// one of `dedupe`.
    #[arg(long, value_name = "NAME", default_value = "exec", value_parser = parse_namespace)]
    pub(super) namespace: String,

    /// How long the result is remembered.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration::parse_ttl)]
    pub(super) ttl: Duration,

    /// How long the claim is trusted without a sign of life; renewed at half of it. At least 1s.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_lease)]
    pub(super) lease: Duration,

    /// How long to wait for the command where it is running elsewhere.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    pub(super) wait: Duration,

    /// How long to queue for the directory of the store.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub(super) lock_wait: Duration,

    /// The same key with other arguments of the command is refused.
    #[arg(long)]
    pub(super) fingerprint_args: bool,

    /// What becomes of a run that failed: the command's exit code is not 0.
    #[arg(long, value_enum, default_value_t = OnFailure::Retry)]
    pub(super) on_failure: OnFailure,

    /// What becomes of a run whose wrapper was killed.
    #[arg(long, value_enum, default_value_t = AfterCrash::Retry)]
    pub(super) on_orphan: AfterCrash,

    /// How many runs may fail or crash before the key is held for review.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) attempts: u32,

    /// How much of standard output, and of standard error, is recorded, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(0..=491_520))]
    pub(super) max_output: u32,

    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnFailure {
    /// It does not count: the next call runs the command again.
    Retry,
    /// It is the result: later calls are given it.
    Store,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AfterCrash {
    /// The next call runs the command again.
    Retry,
    /// The key is held for review.
    Park,
}

impl From<AfterCrash> for OnOrphan {
    fn from(rule: AfterCrash) -> OnOrphan {
        match rule {
            AfterCrash::Retry => OnOrphan::Retry,
            AfterCrash::Park => OnOrphan::Park,
        }
    }
}

/// The keys of `dedupe` are records that were passed on, under rules of their own.
fn parse_namespace(name: &str) -> Result<String, String> {
    if name.starts_with(key::NAMESPACES) {
        return Err(format!(
            "namespaces that begin with `{}` belong to `claimstore dedupe`",
            key::NAMESPACES
        ));
    }
    Ok(name.to_owned())
}

/// Opening the store takes some milliseconds: a lease must leave room for several tries to renew it.
fn parse_lease(text: &str) -> Result<Duration, String> {
    let lease = duration::parse_lease(text)?;
    if lease < Duration::from_secs(1) { Err("a lease is at least 1s here".into()) } else { Ok(lease) }
}

impl Exec {
    pub(super) fn program(&self) -> (&OsStr, &[OsString]) {
        match self.command.split_first() {
            Some((program, arguments)) => (program, arguments),
            None => (OsStr::new(""), &[]),
        }
    }
}
