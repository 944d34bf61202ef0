//! What holds for the keys of one namespace: [`Policy`].
//!
//! Here are its fields and how they are set and read; in `rules` what is computed from them, in `keys` how they read a
//! key, in `codec` their bytes.

mod codec;
mod keys;
mod rules;

pub use keys::Identity;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::time::millis;
use claimstore_hash::KeySpec;
use std::time::Duration;

/// What becomes of a claim whose holder is gone: its process died, it was dropped, or its lease lapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnOrphan {
    /// The next claim takes it over, with a higher token and attempt + 1; once the failures
    /// ([`max_attempts`](Policy::max_attempts)) or the losses ([`max_losses`](Policy::max_losses)) are used up it is parked.
    /// The default.
    #[default]
    Retry,
    /// It is held for review: claims are [`ErrorKind::Parked`].
    Park,
    /// It has failed for good, with an empty response.
    Fail,
    /// It stays in progress until somebody who can ask the remote side resolves it.
    Resolve,
}

/// What becomes of a claim whose lease is dropped unsettled, in a process that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// Nobody holds it any more: it is an orphan at once, and counts as one loss; as one failure if a panic dropped it. The
    /// default.
    #[default]
    Lost,
    /// It goes on until its term, as if the holder were still at work. What is not settled by then has lapsed, and counts
    /// as one failure.
    KeepTerm,
}

/// Which kind of identifier, carrying its own time, the keys of a namespace are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeOrdered {
    /// RFC 9562 UUID, version 7: 16 bytes, 32 hexadecimal digits, or the hyphenated form, in either case.
    UuidV7,
    /// ULID: 16 bytes, or 26 characters of Crockford base 32.
    Ulid,
}

/// The rules of a namespace: how long keys are remembered, how long a holder is trusted, what becomes of
/// orphans. Stored with the namespace.
///
/// Default lease 60 s, three failures, ten losses, [`OnOrphan::Retry`], [`OnDrop::Lost`], skew 5 min, no quota, keys of any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Policy {
    pub(crate) ttl_ms: u64,
    pub(crate) lease_ms: u64,
    pub(crate) skew_ms: u64,
    pub(crate) max_attempts: u32,
    pub(crate) max_losses: u32,
    pub(crate) on_orphan: OnOrphan,
    pub(crate) on_drop: OnDrop,
    pub(crate) time_order: Option<TimeOrdered>,
    pub(crate) quota: Option<Quota>,
    pub(crate) require_fingerprint: bool,
    pub(crate) key_spec: Option<KeySpec>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) metrics_name: Option<Box<str>>,
}

/// At most so many records and bytes (keys and bodies) in one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// How long orphans wait for their third and later attempts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first_ms: u64,
    pub(crate) most_ms: u64,
}

/// The default of [`Policy::max_losses`].
pub(crate) const MAX_LOSSES: u32 = 10;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl Default for Policy {
    fn default() -> Policy {
        Policy::new()
    }
}

impl Policy {
    /// Keys are remembered for 24 hours.
    pub fn new() -> Policy {
        Policy {
            ttl_ms: millis(24 * HOUR),
            lease_ms: 60_000,
            skew_ms: 300_000,
            max_attempts: 3,
            max_losses: MAX_LOSSES,
            on_orphan: OnOrphan::Retry,
            on_drop: OnDrop::Lost,
            time_order: None,
            quota: None,
            require_fingerprint: false,
            key_spec: None,
            backoff: None,
            metrics_name: None,
        }
    }

    /// Real-time traffic (webhooks, API calls): 24 hours.
    pub fn realtime() -> Policy {
        Policy::new()
    }

    /// Daily jobs: 7 days, so that Monday's retry of Friday's batch is still known.
    pub fn daily() -> Policy {
        Policy::new().ttl(7 * DAY)
    }

    /// Weekly jobs: 10 days.
    pub fn weekly() -> Policy {
        Policy::new().ttl(10 * DAY)
    }

    /// Monthly closes: 35 days.
    pub fn monthly() -> Policy {
        Policy::new().ttl(35 * DAY)
    }

    /// A migration that takes about `duration`: that long and half as long again, at least a day more.
    pub fn migration(duration: Duration) -> Policy {
        Policy::new().ttl(duration.saturating_add((duration / 2).max(DAY)))
    }

    /// How long a key is remembered after it resolved: 1 second to 10 years.
    pub fn ttl(mut self, ttl: Duration) -> Policy {
        self.ttl_ms = millis(ttl);
        self
    }

    /// How long a holder is trusted without renewing. Default: 60 seconds.
    pub fn lease(mut self, lease: Duration) -> Policy {
        self.lease_ms = millis(lease);
        self
    }

    /// At how many failures a key is parked. Default: 3, at least 1.
    ///
    /// A failure is: `fail` with [`Failure::retry`](crate::Failure::retry), [`retry_after`](crate::Failure::retry_after) or
    /// [`unknown`](crate::Failure::unknown); a panic that drops the lease; a holder whose process died; a lease that lapsed and
    /// was taken over. A claim that was released, or dropped, is none.
    pub fn max_attempts(mut self, attempts: u32) -> Policy {
        self.max_attempts = attempts;
        self
    }

    /// At how many losses a key is parked. Default: 10, at least 1.
    ///
    /// A loss is: a lease that was dropped unsettled in a process that goes on (a cancelled future, an early return), or that was
    /// alive when the store was closed; an orphan of which a resolver found out that it did not happen.
    pub fn max_losses(mut self, losses: u32) -> Policy {
        self.max_losses = losses;
        self
    }

    /// What becomes of a claim whose lease is dropped unsettled. Default: [`OnDrop::Lost`].
    pub fn on_drop(mut self, on_drop: OnDrop) -> Policy {
        self.on_drop = on_drop;
        self
    }

    /// What becomes of orphans. Default: [`OnOrphan::Retry`].
    pub fn on_orphan(mut self, on_orphan: OnOrphan) -> Policy {
        self.on_orphan = on_orphan;
        self
    }

    /// Declares the keys to carry their own time. A key not found whose time lies further back than the
    /// ttl is then refused as [`ErrorKind::TooOld`], for ever. All spellings of one identifier are one key.
    pub fn time_ordered_keys(mut self, order: TimeOrdered) -> Policy {
        self.time_order = Some(order);
        self
    }

    /// How far ahead of the wall clock a time-ordered key may lie. Default: 5 minutes.
    pub fn skew(mut self, skew: Duration) -> Policy {
        self.skew_ms = millis(skew);
        self
    }

    /// Most records, and most bytes of keys and bodies, that the namespace may hold; behind it new keys are
    /// [`ErrorKind::Full`]. Versions that await a merge or a prune count.
    pub fn quota(mut self, records: u64, bytes: u64) -> Policy {
        self.quota = Some(Quota { records, bytes });
        self
    }

    /// Refuses claims without a fingerprint as [`ErrorKind::Misuse`]. Default: false.
    pub fn require_fingerprint(mut self, require: bool) -> Policy {
        self.require_fingerprint = require;
        self
    }

    /// Normalises and checks every key by a rule: claims, look-ups and everything else that names a key. Keys the
    /// rule refuses are [`ErrorKind::InvalidKey`]. The rule of a namespace cannot change. Default: keys of any
    /// bytes, as they are.
    ///
    /// `Lease::key` returns the key as it was given; `Lease::child_key` goes by the normalised one.
    pub fn key_spec(mut self, spec: KeySpec) -> Policy {
        self.key_spec = Some(spec);
        self
    }

    /// Lets a key whose attempts end without a word of their holder wait: not after the first such end, after the second for
    /// `first`, after later ones twice as long each, up to `most`; less up to a quarter, different for each key. Deaths,
    /// lapses, losses and [`Failure::unknown`](crate::Failure::unknown) count; other failures wait for as long as they say.
    /// Default: no wait.
    pub fn orphan_backoff(mut self, first: Duration, most: Duration) -> Policy {
        self.backoff = Some(Backoff { first_ms: millis(first), most_ms: millis(most) });
        self
    }

    /// Under which name what becomes of claims is counted, in metrics and in
    /// `Store::outcomes`: 1 to 64 letters, digits, `_`, `-` or `.`, of ASCII. Namespaces
    /// with one name are counted together. Say what kind of work it is, never whose: the name of a namespace may
    /// be a tenant's, and is never shown as a label. Default: none; those are counted together without a name.
    pub fn metrics_name(mut self, name: &str) -> Policy {
        self.metrics_name = Some(name.into());
        self
    }

    /// The name that [`metrics_name`](Policy::metrics_name) set.
    pub fn counted_as(&self) -> Option<&str> {
        self.metrics_name.as_deref()
    }

    /// Takes the [`quota`](Policy::quota) away.
    pub fn no_quota(mut self) -> Policy {
        self.quota = None;
        self
    }

    /// How long a key is remembered, as [`ttl`](Policy::ttl) set it.
    pub fn remembers_for(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// How long a key is remembered, in milliseconds.
    #[inline]
    pub fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }

    /// How long a holder is trusted, as [`lease`](Policy::lease) set it.
    pub fn trusts_for(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long a holder is trusted, in milliseconds.
    #[inline]
    pub fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// How far ahead a time-ordered key may lie, as [`skew`](Policy::skew) set it.
    pub fn skew_allowed(&self) -> Duration {
        Duration::from_millis(self.skew_ms)
    }

    /// How far ahead a time-ordered key may lie, in milliseconds.
    #[inline]
    pub fn skew_ms(&self) -> u64 {
        self.skew_ms
    }

    /// Which kind of identifier the keys are, as [`time_ordered_keys`](Policy::time_ordered_keys) set it.
    #[inline]
    pub fn time_order(&self) -> Option<TimeOrdered> {
        self.time_order
    }

    /// Most records and most bytes, as [`quota`](Policy::quota) set them.
    #[inline]
    pub fn quota_limits(&self) -> Option<(u64, u64)> {
        self.quota.map(|quota| (quota.records, quota.bytes))
    }

    /// Whether claims must have a fingerprint, as [`require_fingerprint`](Policy::require_fingerprint) set it.
    #[inline]
    pub fn requires_fingerprint(&self) -> bool {
        self.require_fingerprint
    }

    /// The rule of the keys, as [`key_spec`](Policy::key_spec) set it.
    #[inline]
    pub fn key_rule(&self) -> Option<&KeySpec> {
        self.key_spec.as_ref()
    }

    /// The first and the longest wait, as [`orphan_backoff`](Policy::orphan_backoff) set them.
    pub fn backoff_limits(&self) -> Option<(Duration, Duration)> {
        let limits = |backoff: Backoff| {
            (Duration::from_millis(backoff.first_ms), Duration::from_millis(backoff.most_ms))
        };
        self.backoff.map(limits)
    }

    /// What becomes of orphans, as [`on_orphan`](Policy::on_orphan) set it.
    #[inline]
    pub fn orphan_rule(&self) -> OnOrphan {
        self.on_orphan
    }

    /// At how many failures a key is parked, as [`max_attempts`](Policy::max_attempts) set it.
    #[inline]
    pub fn attempts_allowed(&self) -> u32 {
        self.max_attempts
    }

    /// At how many losses a key is parked, as [`max_losses`](Policy::max_losses) set it.
    #[inline]
    pub fn losses_allowed(&self) -> u32 {
        self.max_losses
    }

    /// What becomes of a claim whose lease is dropped, as [`on_drop`](Policy::on_drop) set it.
    #[inline]
    pub fn drop_rule(&self) -> OnDrop {
        self.on_drop
    }
}

#[cfg(test)]
mod tests;
