//! What is computed from a policy: whether it makes sense, and how long orphans wait.

use super::{Backoff, Policy};
use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_LEASE, MAX_TTL, MIN_TTL};
use crate::time::millis;
use std::time::Duration;

impl Policy {
    /// How long a key waits for its next attempt when `interrupted` of them have ended without a word of their holder; `token`
    /// is that of the last.
    pub fn backoff_after(&self, interrupted: u32, token: u64) -> Duration {
        Duration::from_millis(self.orphan_wait_ms(interrupted, token))
    }

    /// The same in milliseconds.
    #[inline]
    pub fn orphan_wait_ms(&self, interrupted: u32, token: u64) -> u64 {
        self.backoff.map_or(0, |backoff| backoff.after(interrupted, token))
    }

    /// Refuses values no claim could be made under, as [`ErrorKind::Misuse`].
    pub fn check(&self) -> Result<(), Error> {
        let ttl = Duration::from_millis(self.ttl_ms);
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Err(Error::new(ErrorKind::Misuse, "a ttl must lie between 1 second and 10 years"));
        }
        if self.lease_ms == 0 || self.lease_ms > millis(MAX_LEASE) {
            return Err(Error::new(ErrorKind::Misuse, "a lease must lie between 1 ms and 366 days"));
        }
        if self.max_attempts == 0 {
            return Err(Error::new(ErrorKind::Misuse, "at least one attempt must be allowed"));
        }
        if self.max_losses == 0 {
            return Err(Error::new(ErrorKind::Misuse, "at least one loss must be allowed"));
        }
        if self.metrics_name.as_deref().is_some_and(|name| !is_metrics_name(name)) {
            let message = "a metrics name must have 1 to 64 letters, digits, `_`, `-` or `.`";
            return Err(Error::new(ErrorKind::Misuse, message));
        }
        if self.key_spec.is_some() && self.time_order.is_some() {
            return Err(Error::new(ErrorKind::Misuse, "time-ordered keys have a rule of their own"));
        }
        Ok(())
    }
}

impl Backoff {
    /// The wait after so many interrupted attempts: none after the first, `first_ms` after the second, twice
    /// that after the third, up to `most_ms`; less up to a quarter, which `token` draws. The same whenever
    /// it is asked, different for each orphan.
    pub(super) fn after(self, interrupted: u32, token: u64) -> u64 {
        let Some(doublings) = interrupted.checked_sub(2) else { return 0 };
        let full_ms = self.first_ms.saturating_mul(1 << doublings.min(40)).min(self.most_ms);
        // Splitmix64: neighbouring tokens are spread over the whole quarter.
        let mut drawn = token.wrapping_add(0x9e37_79b9_7f4a_7c15);
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = u128::from((drawn ^ (drawn >> 31)) >> 32);
        full_ms - ((u128::from(full_ms / 4) * share) >> 32) as u64
    }
}

pub(super) fn is_metrics_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}
