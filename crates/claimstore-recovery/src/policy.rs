//! [`OrphanPolicy`]: what happens to the orphans of a namespace.

use claimstore_core::{OnOrphan, Policy};
use std::fmt;
use std::time::Duration;

/// What happens to the orphans of a namespace, from safe to eager: [`park`](OrphanPolicy::park),
/// [`fail`](OrphanPolicy::fail), [`resolve`](OrphanPolicy::resolve), [`retry`](OrphanPolicy::retry).
///
/// A [`Recovery`](crate::Recovery) first writes the rule, the bound of failures and the back-off into the stored policy of the
/// namespace, so that a claim that comes before recovery follows the same rule.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct OrphanPolicy {
    pub(crate) rule: OnOrphan,
    max_attempts: Option<u32>,
    backoff: Option<(Duration, Duration)>,
    pub(crate) response: Box<[u8]>,
    pub(crate) asking: Asking,
}

/// With the length of the response, without its contents.
impl fmt::Debug for OrphanPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrphanPolicy")
            .field("rule", &self.rule)
            .field("max_attempts", &self.max_attempts)
            .field("backoff", &self.backoff)
            .field("response_bytes", &self.response.len())
            .field("asking", &self.asking)
            .finish()
    }
}

/// How a resolver is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) time_limit: Duration,
    pub(crate) max_asks: u32,
    /// First and longest wait before asking again.
    pub(crate) again: (Duration, Duration),
}

impl Default for Asking {
    fn default() -> Asking {
        let seconds = Duration::from_secs;
        Asking { time_limit: seconds(30), max_asks: 8, again: (seconds(5), seconds(300)) }
    }
}

impl OrphanPolicy {
    fn new(rule: OnOrphan) -> OrphanPolicy {
        let backoff = Some((Duration::from_secs(1), Duration::from_secs(8)));
        let (response, asking) = (Box::default(), Asking::default());
        OrphanPolicy { rule, max_attempts: None, backoff, response, asking }
    }

    /// Claimable again, with attempt + 1: the second attempt at once, later ones after 1, 2, 4, 8 s, less up
    /// to a quarter, unless [`backoff`](OrphanPolicy::backoff) says otherwise. Parked once the failures or the losses
    /// are used up.
    pub fn retry() -> OrphanPolicy {
        OrphanPolicy::new(OnOrphan::Retry)
    }

    /// Held for review.
    pub fn park() -> OrphanPolicy {
        OrphanPolicy::new(OnOrphan::Park)
    }

    /// Failed for good, with `response` for duplicates; an empty one where a claim comes before recovery.
    pub fn fail(response: impl AsRef<[u8]>) -> OrphanPolicy {
        OrphanPolicy { response: response.as_ref().into(), ..OrphanPolicy::new(OnOrphan::Fail) }
    }

    /// A [`Resolver`](crate::Resolver) decides; until then, claims are `InProgress`. Work that did not happen is
    /// retried as with [`retry`](OrphanPolicy::retry).
    pub fn resolve() -> OrphanPolicy {
        OrphanPolicy::new(OnOrphan::Resolve)
    }

    /// At how many failures a key is parked: attempts that failed, panicked, died, or lapsed and were taken over. Losses have a
    /// bound of their own, [`Policy::max_losses`]. Default: the namespace's (3).
    pub fn max_attempts(mut self, attempts: u32) -> OrphanPolicy {
        self.max_attempts = Some(attempts);
        self
    }

    /// How long the third attempt waits; later ones wait twice as long each, up to `most`. Default: 1 and 8 s.
    pub fn backoff(mut self, first: Duration, most: Duration) -> OrphanPolicy {
        self.backoff = Some((first, most));
        self
    }

    /// How long a resolver may take for one answer; then the orphan is parked. Default: 30 s.
    pub fn time_limit(mut self, limit: Duration) -> OrphanPolicy {
        self.asking.time_limit = limit;
        self
    }

    /// How often a resolver is asked about one claim before it is parked; a process that died while asking
    /// counts, at least 1. With 1, what is [`Unknown`](crate::Resolution::Unknown) is parked at once. Default: 8, which with
    /// the default of [`ask_again`](OrphanPolicy::ask_again) takes a little over ten minutes.
    pub fn max_asks(mut self, asks: u32) -> OrphanPolicy {
        self.asking.max_asks = asks.max(1);
        self
    }

    /// Asks again about what is [`Unknown`](crate::Resolution::Unknown): after `first`, then twice as long
    /// each time, up to `most`, [`max_asks`](OrphanPolicy::max_asks) times in all. Default: 5 s and 5 min.
    pub fn ask_again(mut self, first: Duration, most: Duration) -> OrphanPolicy {
        self.asking.again = (first, most);
        self
    }

    /// The namespace's policy with this one's rule, bound of failures and back-off.
    pub(crate) fn onto(&self, policy: Policy) -> Policy {
        let policy = policy.on_orphan(self.rule);
        let policy = match self.max_attempts {
            Some(attempts) => policy.max_attempts(attempts),
            None => policy,
        };
        match self.backoff {
            Some((first, most)) => policy.orphan_backoff(first, most),
            None => policy,
        }
    }

    /// The policy for a namespace that was given none: its stored rule.
    pub(crate) fn stored(policy: &Policy) -> OrphanPolicy {
        OrphanPolicy { backoff: None, ..OrphanPolicy::new(policy.orphan_rule()) }
    }
}

impl Asking {
    /// How long after ask number `asks` the next one is due.
    pub(crate) fn wait_after(&self, asks: u32) -> Duration {
        let (first, most) = self.again;
        let Some(doublings) = asks.checked_sub(1) else { return Duration::ZERO };
        first.saturating_mul(1u32 << doublings.min(30)).min(most)
    }

    /// The lease during a resolver call. It is longer than the time limit, so that it still runs when an answer comes
    /// in time.
    pub(crate) fn lease(&self) -> Duration {
        self.time_limit.saturating_add(Duration::from_secs(30)).min(Duration::from_secs(86_400 * 30))
    }
}

#[cfg(test)]
mod tests {
    use super::OrphanPolicy;
    use std::time::Duration;

    #[test]
    fn asking_again_waits_twice_as_long_each_time() {
        let seconds = Duration::from_secs;
        let asking = OrphanPolicy::resolve().ask_again(seconds(2), seconds(10)).asking;
        assert_eq!([0, 1, 2, 3, 4, 99].map(|asks| asking.wait_after(asks).as_secs()), [0, 2, 4, 8, 10, 10]);
        assert_eq!(
            [1, 2, 6, 7].map(|asks| OrphanPolicy::resolve().asking.wait_after(asks).as_secs()),
            [5, 10, 160, 300]
        );
    }
}
