//! The rules of a namespace as a line of an export.

use std::time::Duration;

use claimstore::{KeySpec, OnDrop, OnOrphan, Policy, TimeOrdered};
use claimstore_admin::{RulesView, from_hex, hex};
use serde::{Deserialize, Serialize};

use crate::duration::millis;

/// A namespace and its rules, under the names that `claimstore policy --json` gives them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) namespace: String,
    ttl_ms: u64,
    lease_ms: u64,
    skew_ms: u64,
    max_attempts: u32,
    #[serde(default = "most_losses")]
    max_losses: u32,
    on_orphan: Orphans,
    #[serde(default)]
    on_drop: Drops,
    #[serde(default)]
    time_order: Option<Order>,
    #[serde(default)]
    quota: Option<Quota>,
    #[serde(default)]
    require_fingerprint: bool,
    /// The bytes of the rule of the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_rule_hex: Option<String>,
    #[serde(default)]
    orphan_backoff: Option<Backoff>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Orphans {
    Retry,
    Park,
    Fail,
    Resolve,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Drops {
    #[default]
    Lost,
    KeepTerm,
}

/// What a file goes by that says nothing of losses.
fn most_losses() -> u32 {
    Policy::new().losses_allowed()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    #[serde(rename = "uuid-v7")]
    UuidV7,
    #[serde(rename = "ulid")]
    Ulid,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Quota {
    records: u64,
    bytes: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Backoff {
    first_ms: u64,
    most_ms: u64,
}

impl Rules {
    pub(crate) fn of(namespace: &str, policy: &Policy) -> Rules {
        Rules {
            namespace: namespace.into(),
            ttl_ms: millis(policy.remembers_for()),
            lease_ms: millis(policy.trusts_for()),
            skew_ms: millis(policy.skew_allowed()),
            max_attempts: policy.attempts_allowed(),
            max_losses: policy.losses_allowed(),
            on_drop: match policy.drop_rule() {
                OnDrop::KeepTerm => Drops::KeepTerm,
                _ => Drops::Lost,
            },
            on_orphan: match policy.orphan_rule() {
                OnOrphan::Park => Orphans::Park,
                OnOrphan::Fail => Orphans::Fail,
                OnOrphan::Resolve => Orphans::Resolve,
                _ => Orphans::Retry,
            },
            time_order: policy.time_order().map(|order| match order {
                TimeOrdered::Ulid => Order::Ulid,
                _ => Order::UuidV7,
            }),
            quota: policy.quota_limits().map(|(records, bytes)| Quota { records, bytes }),
            require_fingerprint: policy.requires_fingerprint(),
            key_rule_hex: policy.key_rule().map(|rule| hex(&rule.to_bytes())),
            orphan_backoff: policy
                .backoff_limits()
                .map(|(first, most)| Backoff { first_ms: millis(first), most_ms: millis(most) }),
            metrics_name: policy.counted_as().map(str::to_owned),
        }
    }

    /// The same, of what the program that has a store open shows of it, under the same names.
    pub(crate) fn shown(view: &RulesView) -> serde_json::Result<Rules> {
        let rules: Rules = serde_json::from_value(serde_json::to_value(&view.policy)?)?;
        Ok(Rules { key_rule_hex: view.key_rule_hex.clone(), ..rules })
    }

    /// The policy; nothing where the rule of the keys is none, or of a later version.
    pub(crate) fn policy(&self) -> Option<Policy> {
        let policy = Policy::new()
            .ttl(Duration::from_millis(self.ttl_ms))
            .lease(Duration::from_millis(self.lease_ms))
            .skew(Duration::from_millis(self.skew_ms))
            .max_attempts(self.max_attempts)
            .max_losses(self.max_losses)
            .on_drop(match self.on_drop {
                Drops::Lost => OnDrop::Lost,
                Drops::KeepTerm => OnDrop::KeepTerm,
            })
            .require_fingerprint(self.require_fingerprint)
            .on_orphan(match self.on_orphan {
                Orphans::Retry => OnOrphan::Retry,
                Orphans::Park => OnOrphan::Park,
                Orphans::Fail => OnOrphan::Fail,
                Orphans::Resolve => OnOrphan::Resolve,
            });
        let order = |order: &Order| match order {
            Order::UuidV7 => TimeOrdered::UuidV7,
            Order::Ulid => TimeOrdered::Ulid,
        };
        let policy = self.time_order.iter().map(order).fold(policy, Policy::time_ordered_keys);
        let policy = self.quota.iter().fold(policy, |policy, quota| policy.quota(quota.records, quota.bytes));
        let policy = self.orphan_backoff.iter().fold(policy, |policy, backoff| {
            policy.orphan_backoff(
                Duration::from_millis(backoff.first_ms),
                Duration::from_millis(backoff.most_ms),
            )
        });
        let policy = self.metrics_name.iter().fold(policy, |policy, name| policy.metrics_name(name));
        let Some(rule) = &self.key_rule_hex else { return Some(policy) };
        let rule = KeySpec::from_bytes(&from_hex(rule)?).ok()?;
        Some(policy.key_spec(rule))
    }
}

#[cfg(test)]
mod tests {
    use claimstore_admin::PolicyView;

    use super::*;

    #[test]
    fn rules_round_trip() {
        let hour = Duration::from_secs(3_600);
        for policy in [
            Policy::new(),
            Policy::daily().lease(hour).skew(hour).max_attempts(9).on_orphan(OnOrphan::Resolve).quota(7, 9),
            Policy::daily().max_losses(4).on_drop(OnDrop::KeepTerm),
            Policy::weekly().time_ordered_keys(TimeOrdered::Ulid).require_fingerprint(true),
            Policy::monthly()
                .key_spec(KeySpec::netsuite())
                .orphan_backoff(hour, 2 * hour)
                .on_orphan(OnOrphan::Fail),
            Policy::monthly()
                .time_ordered_keys(TimeOrdered::UuidV7)
                .on_orphan(OnOrphan::Park)
                .metrics_name("m"),
        ] {
            let text = serde_json::to_string(&Rules::of("shop", &policy)).unwrap();
            let read: Rules = serde_json::from_str(&text).unwrap();
            assert_eq!(read.policy(), Some(policy.clone()), "{text}");
            let key_rule_hex = policy.key_rule().map(|rule| hex(&rule.to_bytes()));
            let view = RulesView { policy: PolicyView::new("shop", &policy), key_rule_hex };
            assert_eq!(Rules::shown(&view).unwrap(), read, "as a live store shows it");
        }
    }
}
