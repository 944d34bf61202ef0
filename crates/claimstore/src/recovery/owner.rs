//! A store that is open elsewhere: what its owner is told as, and how it is waited for.

use crate::error::{Error, ErrorKind};
use crate::identity::LOCK;
use crate::io::Storage;
use crate::options::{Options, millis};
use crate::sync::{Arc, Event};
use std::io;
use std::time::Duration;

/// The first pause between two tries to open a store that has an owner; each is twice as long as the one before.
const FIRST_PAUSE_MS: u64 = 1;
/// The longest one: so much later than the owner left, the next one opens at most.
const LONGEST_PAUSE_MS: u64 = 50;

/// Tries to open until the owner is gone, for as long as the options say; also returns when the last try began.
///
/// The owner tells nobody that it closes, and may be killed; so the lock is tried, at growing intervals. Each try begins
/// from nothing: another owner may have been there meanwhile. Only the clock of the options decides when the time is
/// over; the pauses are real, so that a clock that is moved by hand is looked at, too.
pub(super) fn when_free<T>(
    options: &Options,
    open: impl Fn() -> Result<T, Error>,
) -> Result<(T, u64), Error> {
    let (since_ms, most_ms) = (options.clock.boot_ms(), millis(options.wait_for_owner));
    let mut pause_ms = FIRST_PAUSE_MS;
    loop {
        let began_ns = options.clock.lap_ns();
        let waited_ms = options.clock.boot_ms().saturating_sub(since_ms);
        match open() {
            Err(error) if error.kind() == ErrorKind::AlreadyOpen && waited_ms < most_ms => {
                let pause = Duration::from_millis(pause_ms.min(most_ms - waited_ms));
                Event::default().wait_for(pause, || false);
                pause_ms = (2 * pause_ms).min(LONGEST_PAUSE_MS);
            }
            opened => return opened.map(|opened| (opened, began_ns)),
        }
    }
}

/// The error of a lock that was not to be had.
pub(super) fn not_locked(storage: &Arc<dyn Storage>, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::WouldBlock {
        return Error::io("the store's directory cannot be locked", error);
    }
    let open = Error::with_source(ErrorKind::AlreadyOpen, "the store is open elsewhere", error);
    match storage.directory() {
        Some(directory) => open.owned_by(directory.to_string_lossy(), storage.owner(LOCK)),
        None => open,
    }
}
