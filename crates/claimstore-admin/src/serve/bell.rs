//! What wakes the serving thread, and whether the service is over.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The bell of a service.
#[derive(Debug)]
pub(crate) struct Bell {
    ending: AtomicBool,
    /// A byte here ends the thread's sleep.
    stream: UnixStream,
}

impl Bell {
    /// The bell, and the ear that hears it.
    pub(crate) fn new() -> io::Result<(Arc<Bell>, UnixStream)> {
        let (stream, ear) = UnixStream::pair()?;
        // Rung once too often it is heard all the same, and nobody waits for it to be heard.
        stream.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok((Arc::new(Bell { ending: AtomicBool::new(false), stream }), ear))
    }

    /// Wakes the serving thread.
    pub(crate) fn ring(&self) {
        // A bell that cannot be rung belongs to a thread that is gone.
        drop((&self.stream).write(&[1]));
    }

    /// The service is over, and its thread is woken to see it.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.ring();
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }
}
