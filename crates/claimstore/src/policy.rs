//! What holds for the keys of one namespace.

use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::error::{Error, ErrorKind};
use crate::options::{MAX_LEASE, MAX_TTL, MIN_TTL, millis};
use claimstore_hash::KeySpec;
use std::time::Duration;

/// What becomes of a claim whose holder is gone: its process died, it was dropped, or its lease lapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnOrphan {
    /// The next claim takes it over, with a higher token and attempt + 1; once
    /// [`max_attempts`](Policy::max_attempts) are used up it is parked. The default.
    #[default]
    Retry,
    /// It is held for review: claims are [`ErrorKind::Parked`].
    Park,
    /// It has failed for good, with an empty response.
    Fail,
    /// It stays in progress until somebody who can ask the remote side resolves it.
    Resolve,
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
/// Default lease 60 s, three attempts, [`OnOrphan::Retry`], skew 5 min, no quota, keys of any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Policy {
    pub(crate) ttl_ms: u64,
    pub(crate) lease_ms: u64,
    pub(crate) skew_ms: u64,
    pub(crate) max_attempts: u32,
    pub(crate) on_orphan: OnOrphan,
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

/// How long orphans wait for their third and later attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first_ms: u64,
    pub(crate) most_ms: u64,
}

impl Backoff {
    /// The wait before the attempt after `attempt`: none after the first, `first_ms` after the second, twice
    /// that after the third, up to `most_ms`; less up to a quarter, which `token` draws. The same whenever
    /// it is asked, different for each orphan.
    fn after(self, attempt: u32, token: u64) -> u64 {
        let Some(doublings) = attempt.checked_sub(2) else { return 0 };
        let full_ms = self.first_ms.saturating_mul(1 << doublings.min(40)).min(self.most_ms);
        // Splitmix64: neighbouring tokens are spread over the whole quarter.
        let mut drawn = token.wrapping_add(0x9e37_79b9_7f4a_7c15);
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = u128::from((drawn ^ (drawn >> 31)) >> 32);
        full_ms - ((u128::from(full_ms / 4) * share) >> 32) as u64
    }
}

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
            on_orphan: OnOrphan::Retry,
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

    /// How many claims may be made of a key before it is parked. Default: 3. Crashes count.
    pub fn max_attempts(mut self, attempts: u32) -> Policy {
        self.max_attempts = attempts;
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
    /// [`Lease::key`](crate::Lease::key) answers the key as it was given;
    /// [`Lease::child_key`](crate::Lease::child_key) goes by the normalised one.
    pub fn key_spec(mut self, spec: KeySpec) -> Policy {
        self.key_spec = Some(spec);
        self
    }

    /// Lets orphans that are to be retried wait before their third attempt for `first`, before later ones twice
    /// as long each, up to `most`; less up to a quarter, different for each key. The second attempt is
    /// always due at once. Default: no wait.
    pub fn orphan_backoff(mut self, first: Duration, most: Duration) -> Policy {
        self.backoff = Some(Backoff { first_ms: millis(first), most_ms: millis(most) });
        self
    }

    /// Under which name what becomes of claims is counted, in metrics and in
    /// [`Store::outcomes`](crate::Store::outcomes): 1 to 64 letters, digits, `_`, `-` or `.`, of ASCII. Namespaces
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

    /// How long a holder is trusted, as [`lease`](Policy::lease) set it.
    pub fn trusts_for(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How far ahead a time-ordered key may lie, as [`skew`](Policy::skew) set it.
    pub fn skew_allowed(&self) -> Duration {
        Duration::from_millis(self.skew_ms)
    }

    /// Which kind of identifier the keys are, as [`time_ordered_keys`](Policy::time_ordered_keys) set it.
    pub fn time_order(&self) -> Option<TimeOrdered> {
        self.time_order
    }

    /// Most records and most bytes, as [`quota`](Policy::quota) set them.
    pub fn quota_limits(&self) -> Option<(u64, u64)> {
        self.quota.map(|quota| (quota.records, quota.bytes))
    }

    /// Whether claims must have a fingerprint, as [`require_fingerprint`](Policy::require_fingerprint) set it.
    pub fn requires_fingerprint(&self) -> bool {
        self.require_fingerprint
    }

    /// The rule of the keys, as [`key_spec`](Policy::key_spec) set it.
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
    pub fn orphan_rule(&self) -> OnOrphan {
        self.on_orphan
    }

    /// How many claims may be made of a key before it is parked.
    pub fn attempts_allowed(&self) -> u32 {
        self.max_attempts
    }

    /// How long an orphan waits for its next attempt; `token` is of the attempt that was the last.
    pub fn backoff_after(&self, attempt: u32, token: u64) -> Duration {
        Duration::from_millis(self.orphan_wait_ms(attempt, token))
    }

    pub(crate) fn orphan_wait_ms(&self, attempt: u32, token: u64) -> u64 {
        self.backoff.map_or(0, |backoff| backoff.after(attempt, token))
    }

    /// Refuses values no claim could be made under.
    pub(crate) fn check(&self) -> Result<(), Error> {
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
        if self.metrics_name.as_deref().is_some_and(|name| !is_metrics_name(name)) {
            let message = "a metrics name must have 1 to 64 letters, digits, `_`, `-` or `.`";
            return Err(Error::new(ErrorKind::Misuse, message));
        }
        if self.key_spec.is_some() && self.time_order.is_some() {
            return Err(Error::new(ErrorKind::Misuse, "time-ordered keys have a rule of their own"));
        }
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.ttl_ms, out);
        put_varint(self.lease_ms, out);
        put_varint(self.skew_ms, out);
        put_varint(u64::from(self.max_attempts), out);
        out.push(match self.on_orphan {
            OnOrphan::Retry => 0,
            OnOrphan::Park => 1,
            OnOrphan::Fail => 2,
            OnOrphan::Resolve => 3,
        });
        out.push(match self.time_order {
            None => 0,
            Some(TimeOrdered::UuidV7) => 1,
            Some(TimeOrdered::Ulid) => 2,
        });
        out.push(
            u8::from(self.quota.is_some())
                | u8::from(self.require_fingerprint) << 1
                | u8::from(self.key_spec.is_some()) << 2
                | u8::from(self.backoff.is_some()) << 3
                | u8::from(self.metrics_name.is_some()) << 4,
        );
        if let Some(quota) = self.quota {
            put_varint(quota.records, out);
            put_varint(quota.bytes, out);
        }
        if let Some(spec) = &self.key_spec {
            out.extend_from_slice(&spec.to_bytes());
        }
        if let Some(backoff) = self.backoff {
            put_varint(backoff.first_ms, out);
            put_varint(backoff.most_ms, out);
        }
        if let Some(name) = &self.metrics_name {
            put_bytes(name.as_bytes(), out);
        }
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Policy, Malformed> {
        let ttl_ms = cursor.varint("policy ttl")?;
        let lease_ms = cursor.varint("policy lease")?;
        let skew_ms = cursor.varint("policy skew")?;
        let max_attempts =
            u32::try_from(cursor.varint("policy attempts")?).map_err(|_| Malformed("policy attempts"))?;
        let on_orphan = match cursor.u8("policy orphans")? {
            0 => OnOrphan::Retry,
            1 => OnOrphan::Park,
            2 => OnOrphan::Fail,
            3 => OnOrphan::Resolve,
            _ => return Err(Malformed("policy orphans")),
        };
        let time_order = match cursor.u8("policy time order")? {
            0 => None,
            1 => Some(TimeOrdered::UuidV7),
            2 => Some(TimeOrdered::Ulid),
            _ => return Err(Malformed("policy time order")),
        };
        let flags = cursor.u8("policy flags")?;
        let quota = if flags & 1 == 0 {
            None
        } else {
            Some(Quota { records: cursor.varint("quota")?, bytes: cursor.varint("quota")? })
        };
        let require_fingerprint = flags & 2 != 0;
        let key_spec = if flags & 4 == 0 {
            None
        } else {
            let bytes: [u8; 9] = cursor.array("policy key rule")?;
            Some(KeySpec::from_bytes(&bytes).map_err(|_| Malformed("policy key rule"))?)
        };
        let backoff = if flags & 8 == 0 {
            None
        } else {
            Some(Backoff {
                first_ms: cursor.varint("policy back-off")?,
                most_ms: cursor.varint("policy back-off")?,
            })
        };
        let metrics_name = if flags & 16 == 0 {
            None
        } else {
            let name = std::str::from_utf8(cursor.bytes("policy metrics name")?)
                .ok()
                .filter(|name| is_metrics_name(name));
            Some(name.ok_or(Malformed("policy metrics name"))?.into())
        };
        Ok(Policy {
            ttl_ms,
            lease_ms,
            skew_ms,
            max_attempts,
            on_orphan,
            time_order,
            quota,
            require_fingerprint,
            key_spec,
            backoff,
            metrics_name,
        })
    }
}

fn is_metrics_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::{Backoff, OnOrphan, Policy, TimeOrdered};
    use crate::codec::Cursor;
    use claimstore_hash::KeySpec;
    use std::time::Duration;

    #[test]
    fn policies_round_trip_and_cut_ones_are_refused() {
        for policy in [
            Policy::new(),
            Policy::migration(Duration::from_secs(3)).on_orphan(OnOrphan::Resolve).quota(7, 1 << 40),
            Policy::weekly().time_ordered_keys(TimeOrdered::Ulid).require_fingerprint(true).max_attempts(9),
            Policy::daily()
                .key_spec(KeySpec::netsuite())
                .orphan_backoff(Duration::from_secs(2), Duration::from_secs(9)),
            Policy::daily().key_spec(KeySpec::source_record()).quota(1, 2).require_fingerprint(true),
            Policy::new().orphan_backoff(Duration::from_secs(1), Duration::from_secs(8)).quota(1, 2),
            Policy::daily().metrics_name("order-sync").orphan_backoff(Duration::ZERO, Duration::from_secs(8)),
        ] {
            let mut bytes = Vec::new();
            policy.encode(&mut bytes);
            assert_eq!(Policy::decode(&mut Cursor::new(&bytes)), Ok(policy));
            for cut in 0..bytes.len() {
                assert!(Policy::decode(&mut Cursor::new(&bytes[..cut])).is_err());
            }
        }
    }

    #[test]
    fn what_was_set_can_be_read() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
        let policy = Policy::new().ttl(hour).lease(second).skew(second * 2).orphan_backoff(second, hour);
        let policy = policy.quota(7, 9).require_fingerprint(true).key_spec(KeySpec::netsuite());
        assert_eq!((policy.remembers_for(), policy.trusts_for()), (hour, second));
        assert_eq!((policy.skew_allowed(), policy.time_order()), (second * 2, None));
        assert_eq!((policy.quota_limits(), policy.backoff_limits()), (Some((7, 9)), Some((second, hour))));
        assert!(policy.requires_fingerprint() && policy.key_rule() == Some(&KeySpec::netsuite()));
        assert_eq!(policy.no_quota().quota_limits(), None);
    }

    #[test]
    fn a_metrics_name_is_short_and_plain() {
        for name in ["a", "order-sync", "v1.retry_queue", &"n".repeat(64)] {
            assert!(Policy::new().metrics_name(name).check().is_ok(), "{name}");
        }
        for name in ["", "a b", "a/b", "caf\u{e9}", "\"", &"n".repeat(65)] {
            assert!(Policy::new().metrics_name(name).check().is_err(), "{name}");
        }
    }

    #[test]
    fn the_second_attempt_is_due_at_once_and_later_ones_wait_twice_as_long_each() {
        let policy = Policy::new().orphan_backoff(Duration::from_secs(1), Duration::from_secs(8));
        let mut drawn = std::collections::HashSet::new();
        for token in 0..1_000 {
            assert_eq!(policy.orphan_wait_ms(1, token), 0);
            for (attempt, full_ms) in
                [(2, 1_000), (3, 2_000), (4, 4_000), (5, 8_000), (6, 8_000), (99, 8_000)]
            {
                let wait_ms = policy.orphan_wait_ms(attempt, token);
                assert!((full_ms * 3 / 4..=full_ms).contains(&wait_ms), "attempt {attempt}: {wait_ms} ms");
                assert_eq!(wait_ms, policy.orphan_wait_ms(attempt, token));
            }
            drawn.insert(policy.orphan_wait_ms(5, token));
        }
        assert!(drawn.len() > 500, "only {} different waits", drawn.len());
        assert_eq!(Policy::new().orphan_wait_ms(9, 7), 0, "no back-off unless one is asked for");
    }

    /// The first five numbers of the reference implementation with the seed 0.
    #[test]
    fn what_is_taken_off_a_wait_is_drawn_by_splitmix64() {
        let first_ms = 1 << 34;
        let backoff = Backoff { first_ms, most_ms: first_ms };
        let mut token = 0_u64;
        for drawn in [
            0xe220_a839_7b1d_cdaf_u64,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
            0xf88b_b8a8_724c_81ec,
            0x1b39_896a_51a8_749b,
        ] {
            assert_eq!(first_ms - backoff.after(2, token), drawn >> 32);
            token = token.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
    }

    #[test]
    fn named_policies_have_their_ttls() {
        let days = |policy: Policy| policy.ttl_ms / 86_400_000;
        assert_eq!(
            [Policy::realtime(), Policy::daily(), Policy::weekly(), Policy::monthly()].map(days),
            [1, 7, 10, 35]
        );
        assert_eq!(days(Policy::migration(Duration::from_secs(4 * 86_400))), 6);
    }
}
