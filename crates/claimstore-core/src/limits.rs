//! What requests and policies are held to.

use std::time::Duration;

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;
/// Longest origin, and longest note for a reviewer, in bytes.
pub const MAX_ORIGIN_BYTES: usize = 4_096;
/// Shortest ttl.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// Longest ttl: ten years of 365.25 days.
pub const MAX_TTL: Duration = Duration::from_secs(315_576_000);
/// Longest lease: a day more than anybody should hold a claim without renewing it.
pub const MAX_LEASE: Duration = Duration::from_secs(366 * 86_400);
