//! Exit codes, the part of the command that scripts read.

use std::io;
use std::process::ExitCode;

use claimstore::ErrorKind;
use claimstore_admin::{Refusal, RefusalKind};
use rustix::io::Errno;

/// How a run ended. The numbers above 63 are those of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done,
    /// The key, or the namespace, is not there.
    NotFound,
    /// The key is there, in a state in which this cannot be done.
    WrongState,
    /// Everything was done but for some records, which were refused; standard error names them.
    SomeRefused,
    /// The command line makes no sense, or not for this input.
    Usage,
    /// The input is not what the command line says, or the store is damaged or of a later version.
    Data,
    /// There is no store at the place given.
    NoInput,
    /// What was to be made cannot be: something is there already, or there is no room.
    CannotCreate,
    /// Reading, writing or the store failed.
    Failed,
    /// Another process has the store open; later it may not.
    Busy,
    /// Nobody reads the output any more.
    ReaderGone,
    /// What a command that was run ended with.
    Command(u8),
    /// Ended by this signal.
    Signal(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::NotFound => 1,
            Exit::WrongState => 4,
            Exit::SomeRefused => 3,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoInput => 66,
            Exit::CannotCreate => 73,
            Exit::Failed => 74,
            Exit::Busy => 75,
            // What a shell reports for a filter that SIGPIPE ended.
            Exit::ReaderGone => 128 + 13,
            Exit::Command(code) => code,
            Exit::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// An error that knows its exit code. Without one, an error is [`Exit::Failed`].
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code for an error, wherever in its chain the reason stands.
pub(crate) fn of_error(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return of_refusal(refusal.kind);
    }
    match error.downcast_ref::<claimstore::Error>().map(claimstore::Error::kind) {
        Some(ErrorKind::AlreadyOpen | ErrorKind::Overloaded) => Exit::Busy,
        Some(ErrorKind::Corrupt | ErrorKind::TooNew) => Exit::Data,
        Some(ErrorKind::Misuse | ErrorKind::InvalidKey | ErrorKind::InvalidToken | ErrorKind::TooLarge) => {
            Exit::Usage
        }
        _ => Exit::Failed,
    }
}

/// An error with its reasons, on one line, and what helps where that is known.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let number = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        io.or_else(|| cause.downcast_ref::<Errno>().map(|errno| errno.raw_os_error()))
    };
    let too_few = error.chain().any(|cause| number(cause) == Some(Errno::MFILE.raw_os_error()));
    let help =
        if too_few { "; `ulimit -n` says how many a process may have open, and raises it" } else { "" };
    format!("{error:#}{help}")
}

/// The exit code for what a store, or the program that has it open, refused.
pub(crate) fn of_refusal(kind: RefusalKind) -> Exit {
    match kind {
        RefusalKind::NotFound => Exit::NotFound,
        RefusalKind::WrongState => Exit::WrongState,
        RefusalKind::Usage => Exit::Usage,
        RefusalKind::Occupied => Exit::CannotCreate,
        // Later, or once the program was stopped, it may go.
        RefusalKind::Busy
        | RefusalKind::Closed
        | RefusalKind::Held
        | RefusalKind::Denied
        | RefusalKind::Unsupported => Exit::Busy,
        RefusalKind::Damaged => Exit::Data,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_reason_is_found_under_its_context() {
        let usage = Err::<(), _>(Failure::new(Exit::Usage, "no")).context("more").unwrap_err();
        assert_eq!(of_error(&usage), Exit::Usage);
        assert_eq!(of_error(&anyhow::anyhow!("something")), Exit::Failed);
    }

    #[test]
    fn signals_exit_as_shells_say_it() {
        assert_eq!((Exit::Signal(2).code(), Exit::Signal(15).code()), (130, 143));
    }

    #[test]
    fn too_few_descriptors_are_told_with_what_helps() {
        let of = |errno: Errno| message(&anyhow::Error::from(io::Error::from(errno)).context("opening"));
        assert!(of(Errno::MFILE).starts_with("opening: ") && of(Errno::MFILE).contains("`ulimit -n`"));
        assert!(!of(Errno::NOENT).contains("ulimit"));
        let bare = anyhow::Error::from(Errno::MFILE).context("opening");
        assert!(message(&bare).contains("`ulimit -n`"));
    }
}
