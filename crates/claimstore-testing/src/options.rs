//! Stores that are small and quick to open.

use claimstore::{ManualClock, Options};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where clocks of tests begin: a moment in January 2027.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Options for a store in a test: journal segments of 1 MiB, at most 8 MiB of journal, responses up to 128 KiB, no
/// thread for upkeep, and a clock of its own that stands still. All else is the default.
///
/// Segments of the default size cost a disk in memory 64 MiB each. To move the clock, put your own in:
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// use claimstore_testing::{Disk, ManualClock, small_options};
/// use claimstore::Claim;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
/// let store = small_options().clock(clock.clone()).open_on(Disk::new().storage())?;
/// let lease = store.claim("order-1", Duration::from_secs(86_400))?.claimed().unwrap();
/// clock.advance(Duration::from_secs(61)); // the lease lapses
/// let next = store.claim("order-1", Duration::from_secs(86_400))?.claimed().unwrap();
/// assert!(next.token() > lease.token());
/// # Ok(()) }
/// ```
pub fn small_options() -> Options {
    Options::new()
        .segment_bytes(1 << 20)
        .journal_bytes(8 << 20)
        .max_response_bytes(128 << 10)
        .background(false)
        .clock(ManualClock::new(start()))
}
