//! The rules of a namespace: as answers show them, and changes of them.

use crate::millis::millis;
use claimstore::{OnDrop, OnOrphan, Policy, TimeOrdered};
use serde::{Deserialize, Serialize};

/// Changes of the rules of a namespace, for later claims. Rules that are not set stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyChange {
    /// The namespace.
    pub namespace: String,
    /// Creates the namespace if it does not exist.
    pub create: bool,
    /// Creates the namespace with these rules, and defaults for the rest; changes nothing if it exists already.
    pub if_absent: bool,
    /// How long keys are remembered.
    pub ttl_ms: Option<u64>,
    /// The length of a lease.
    pub lease_ms: Option<u64>,
    /// At how many failures a key is parked.
    pub max_attempts: Option<u32>,
    /// At how many losses a key is parked.
    pub max_losses: Option<u32>,
    /// What happens to claims without a holder.
    pub on_orphan: Option<OrphanRule>,
    /// Most records and bytes.
    pub quota: Option<QuotaView>,
    /// Removes the limit.
    pub no_quota: bool,
    /// The name under which outcomes are counted.
    pub metrics_name: Option<String>,
}

/// What happens to claims without a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrphanRule {
    /// The next claim takes it over.
    Retry,
    /// It is held for review.
    Park,
    /// It has failed for good.
    Fail,
    /// It stays in progress until a resolver ends it.
    Resolve,
}

impl From<OrphanRule> for OnOrphan {
    fn from(rule: OrphanRule) -> OnOrphan {
        match rule {
            OrphanRule::Retry => OnOrphan::Retry,
            OrphanRule::Park => OnOrphan::Park,
            OrphanRule::Fail => OnOrphan::Fail,
            OrphanRule::Resolve => OnOrphan::Resolve,
        }
    }
}

impl PolicyChange {
    /// No change yet.
    pub fn of(namespace: &str) -> PolicyChange {
        PolicyChange { namespace: namespace.to_owned(), ..PolicyChange::default() }
    }

    /// Whether anything is to be set.
    pub(crate) fn sets_any(&self) -> bool {
        let Self { create, if_absent, .. } = *self;
        *self != PolicyChange { create, if_absent, ..PolicyChange::of(&self.namespace) }
    }
}

/// The rules of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is what a claimstore::Policy was set to")]
pub struct PolicyView {
    pub namespace: String,
    pub ttl_ms: u64,
    pub lease_ms: u64,
    pub skew_ms: u64,
    pub max_attempts: u32,
    #[serde(default = "most_losses")]
    pub max_losses: u32,
    pub on_orphan: String,
    #[serde(default = "lost")]
    pub on_drop: String,
    pub time_order: Option<String>,
    pub quota: Option<QuotaView>,
    pub require_fingerprint: bool,
    pub key_rule: bool,
    pub orphan_backoff: Option<BackoffView>,
    pub metrics_name: Option<String>,
}

/// Most records and bytes of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "said above")]
pub struct QuotaView {
    pub records: u64,
    pub bytes: u64,
}

/// The first and the longest wait of orphans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "said above")]
pub struct BackoffView {
    pub first_ms: u64,
    pub most_ms: u64,
}

/// What a program that knows of no such rule goes by.
fn most_losses() -> u32 {
    Policy::new().losses_allowed()
}

fn lost() -> String {
    drop_name(OnDrop::Lost).to_owned()
}

/// What becomes of dropped leases.
fn drop_name(rule: OnDrop) -> &'static str {
    match rule {
        OnDrop::KeepTerm => "keep-term",
        _ => "lost",
    }
}

impl PolicyView {
    /// The rules of the namespace `name`.
    pub fn new(name: &str, rules: &Policy) -> PolicyView {
        let time_order = rules.time_order().map(|order| match order {
            TimeOrdered::Ulid => "ulid",
            _ => "uuid-v7",
        });
        let on_orphan = match rules.orphan_rule() {
            OnOrphan::Park => "park",
            OnOrphan::Fail => "fail",
            OnOrphan::Resolve => "resolve",
            _ => "retry",
        };
        let backoff = rules.backoff_limits();
        PolicyView {
            namespace: name.to_owned(),
            ttl_ms: millis(rules.remembers_for()),
            lease_ms: millis(rules.trusts_for()),
            skew_ms: millis(rules.skew_allowed()),
            max_attempts: rules.attempts_allowed(),
            max_losses: rules.losses_allowed(),
            on_orphan: on_orphan.to_owned(),
            on_drop: drop_name(rules.drop_rule()).to_owned(),
            time_order: time_order.map(str::to_owned),
            quota: rules.quota_limits().map(|(records, bytes)| QuotaView { records, bytes }),
            require_fingerprint: rules.requires_fingerprint(),
            key_rule: rules.key_rule().is_some(),
            orphan_backoff: backoff
                .map(|(first, most)| BackoffView { first_ms: millis(first), most_ms: millis(most) }),
            metrics_name: rules.counted_as().map(str::to_owned),
        }
    }
}
