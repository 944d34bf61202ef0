//! Who sent a signal, and whether the command has it already: it must get each once, not twice and not never.
//!
//! The command stays in our process group, so that it can read from the terminal. What a terminal sends, it sends to the
//! whole group; what a process sends with `kill PID`, only we have. A signal tells the two apart: behind the terminal's
//! stands the kernel, behind the other a process. (A group of its own for the command would need neither, but would take
//! the terminal away from it, unless we did what a shell does for its jobs.) What cannot be told apart is a process that
//! signals our whole group: the command has that twice.

use rustix::process::{Pid, getpid};
use signal_hook::consts::SIGHUP;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::kin::Kin;

/// Longest way from a process up to the command that it comes from.
const MAX_ANCESTORS: usize = 64;

/// Who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The terminal, or whatever else the kernel does in its own name.
    Kernel,
    Process(i32),
    /// The system does not say.
    Unknown,
}

impl Sender {
    pub(super) fn of(origin: &Origin) -> Sender {
        match (origin.cause, origin.process) {
            (Cause::Kernel, _) => Sender::Kernel,
            (_, Some(process)) => Sender::Process(process.pid),
            _ => Sender::Unknown,
        }
    }
}

/// What we know of our place beside the command.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The command is in our process group.
    same_group: bool,
    /// We lead the session of a terminal: when that goes, we alone are told.
    leads_session: bool,
    /// The sender is the command, or was started by it.
    from_command: bool,
}

/// Whether the command has this signal from whoever sent it to us.
pub(super) fn has_it(signal: i32, sender: Sender, command: Pid) -> bool {
    let (own, its) = (Kin::of(getpid()), Kin::of(command));
    // What cannot be seen is as we leave it: the command starts in our group.
    let same_group = own.zip(its).is_none_or(|(own, its)| own.group == its.group);
    let leads_session = own.is_some_and(|own| own.session == getpid().as_raw_pid());
    let from_command = matches!(sender, Sender::Process(pid) if comes_from(pid, command));
    decide(signal, sender, Place { same_group, leads_session, from_command })
}

fn decide(signal: i32, sender: Sender, place: Place) -> bool {
    match sender {
        Sender::Kernel if signal == SIGHUP => place.same_group && !place.leads_session,
        Sender::Kernel => place.same_group,
        // `kill 0` in a script means its group, which we happen to be in. Sent back it would be there twice, or go round.
        Sender::Process(_) => place.from_command,
        // Once too often rather than not at all.
        Sender::Unknown => false,
    }
}

/// Whether a process is the command or one that it started, as far as that can be seen (Linux).
fn comes_from(pid: i32, command: Pid) -> bool {
    let parent = |pid: &Pid| Pid::from_raw(Kin::of(*pid)?.parent).filter(|parent| !parent.is_init());
    std::iter::successors(Pid::from_raw(pid), parent).take(MAX_ANCESTORS).any(|pid| pid == command)
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};

    use super::*;

    /// Every sender and place; signals by what a terminal does with them.
    #[test]
    fn each_signal_reaches_the_command_once() {
        let hang_up: &[i32] = &[SIGHUP];
        let keys: &[i32] = &[SIGINT, SIGQUIT, SIGTERM];
        let all: &[i32] = &[SIGHUP, SIGINT, SIGQUIT, SIGTERM];
        let any = [false, true];
        // Signals, sender, in our group, we lead the session, from the command: whether the command has it.
        for (signals, sender, same_group, leads, from_command, expected) in [
            (keys, Sender::Kernel, &[true][..], &any[..], &any[..], true),
            (all, Sender::Kernel, &[false], &any, &any, false),
            (hang_up, Sender::Kernel, &[true], &[true], &any, false),
            (hang_up, Sender::Kernel, &[true], &[false], &any, true),
            (all, Sender::Process(7), &any, &any, &[true], true),
            (all, Sender::Process(7), &any, &any, &[false], false),
            (all, Sender::Unknown, &any, &any, &any, false),
        ] {
            for &signal in signals {
                for (&same_group, &leads_session) in
                    same_group.iter().flat_map(|group| leads.iter().map(move |leads| (group, leads)))
                {
                    for &from_command in from_command {
                        let place = Place { same_group, leads_session, from_command };
                        assert_eq!(decide(signal, sender, place), expected, "{signal} {sender:?} {place:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_process_comes_from_its_parent() {
        let own = getpid();
        assert!(comes_from(own.as_raw_pid(), own));
        if let Some(parent) = rustix::process::getppid().filter(|_| Kin::of(own).is_some()) {
            assert!(comes_from(own.as_raw_pid(), parent));
            assert!(!comes_from(parent.as_raw_pid(), own));
        }
    }
}
