//! The bell that wakes the serving thread, and the flag that ends the service.

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
        // Non-blocking: if the buffer is full of rings, one more is not needed, and a caller must not wait.
        stream.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok((Arc::new(Bell { ending: AtomicBool::new(false), stream }), ear))
    }

    /// Wakes the serving thread.
    pub(crate) fn ring(&self) {
        // If the write fails, the thread is gone, or has unread rings.
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
