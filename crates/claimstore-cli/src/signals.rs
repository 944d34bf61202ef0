//! SIGINT and SIGTERM: the first asks to end in good order, a second one ends at once.

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
        for signal in [SIGINT, SIGTERM] {
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
        for &number in numbers {
            flag::register_usize(number, Arc::clone(&signals.caught), usize::try_from(number).unwrap_or(1))?;
        }
        Ok(signals)
    }

    pub(crate) fn caught(&self) -> Option<u8> {
        let signal = self.caught.load(Ordering::SeqCst);
        u8::try_from(signal).ok().filter(|&signal| signal != 0)
    }

    /// An error with the exit code of the signal, if one came: for places where nothing was begun yet.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.caught().map_or(Ok(()), |signal| Err(Failure::new(Exit::Signal(signal), "ended by a signal")))
    }
}

#[cfg(test)]
impl Signals {
    /// As if this signal had come.
    pub(crate) fn raise(&self, signal: usize) {
        self.caught.store(signal, Ordering::SeqCst);
    }
}
