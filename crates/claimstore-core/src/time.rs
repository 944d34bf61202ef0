//! Milliseconds, the unit of every time and length of time in a record.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole milliseconds, saturating.
#[inline]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole milliseconds since 1970; 0 for times before it.
#[inline]
pub fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// The time that is so many milliseconds after 1970.
#[inline]
pub fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}
