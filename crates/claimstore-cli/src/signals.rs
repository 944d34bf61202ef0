//! SIGINT and its like: the first asks to end in good order, a second one ends at once. What whoever started us told us
//! to ignore (`nohup`, a background job of a script) stays ignored, here and in what we start.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::{Exit, Failure};

/// Whether the process was asked to end. Clones ask the same thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// The number of the signal that came, 0 before.
    caught: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Signals> {
        let signals = Signals::default();
        let again = Arc::new(AtomicBool::new(false));
        for signal in heeded(&[SIGINT, SIGTERM]) {
            // In this order, the exit sees the flag of earlier signals only.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&signals.caught), usize::try_from(signal).unwrap_or(1))?;
        }
        Ok(signals)
    }

    /// Notes these signals, and leaves it to the caller to end the process.
    pub(crate) fn noting(numbers: &[i32]) -> io::Result<Signals> {
        let signals = Signals::default();
        for number in heeded(numbers) {
            flag::register_usize(number, Arc::clone(&signals.caught), usize::try_from(number).unwrap_or(1))?;
        }
        Ok(signals)
    }

    pub(crate) fn caught(&self) -> Option<u8> {
        let signal = self.caught.load(Ordering::SeqCst);
        u8::try_from(signal).ok().filter(|&signal| signal != 0)
    }

    /// As if this signal had come.
    pub(crate) fn raise(&self, signal: u8) {
        self.caught.store(usize::from(signal), Ordering::SeqCst);
    }

    /// An error with the exit code of the signal, if one came: for places where nothing was begun yet.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.caught().map_or(Ok(()), |signal| Err(Failure::new(Exit::Signal(signal), "ended by a signal")))
    }
}

/// Those of these signals that are not ignored. A handler in the place of "ignore" would take away what `nohup` gave,
/// and with the handler the command that we run would get the default action, which is to die.
pub(crate) fn heeded(numbers: &[i32]) -> Vec<i32> {
    // Only Linux says it without code that is unsafe here; elsewhere nothing counts as ignored.
    let ignored = fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
    numbers.iter().copied().filter(|number| ignored >> (number - 1) & 1 == 0).collect()
}

/// The mask of ignored signals in a `/proc/self/status`: the lowest bit is signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        for (status, expected) in [
            ("Name:\tx\nSigBlk:\t0000000000000006\nSigIgn:\t0000000000001003\nSigCgt:\t0\n", 0x1003),
            ("SigIgn:\tffffffffffffffff\n", u64::MAX),
            ("SigIgn:\tno number\n", 0),
            ("", 0),
        ] {
            assert_eq!(ignored(status), expected, "{status}");
        }
        let own = fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
        let heeded = heeded(&[1, 2, 3, 15]);
        assert!(heeded.iter().all(|number| own >> (number - 1) & 1 == 0));
    }
}
