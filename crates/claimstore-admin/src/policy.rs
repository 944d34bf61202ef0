//! Changes of a namespace's rules.

use crate::answer::{Refusal, RefusalKind, namespace};
use crate::view::QuotaView;
use claimstore::{OnOrphan, Policy, Store};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest name of a namespace, in bytes.
const MAX_NAME_BYTES: usize = 512;

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
    /// How many claims may be made of a key before it is parked.
    pub max_attempts: Option<u32>,
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
    fn sets_any(&self) -> bool {
        let Self { create, if_absent, .. } = *self;
        *self != PolicyChange { create, if_absent, ..PolicyChange::of(&self.namespace) }
    }

    /// Returns whether the namespace was created.
    pub(crate) fn apply(&self, store: &Store) -> Result<bool, Refusal> {
        let is_new = !store.namespaces().contains(&self.namespace);
        if is_new && !self.create && !self.if_absent {
            namespace(store, &self.namespace)?;
        }
        if is_new && self.namespace.len() > MAX_NAME_BYTES {
            return Err(Refusal::new(RefusalKind::Usage, "a namespace's name has at most 512 bytes"));
        }
        if is_new {
            // Name and rules in one operation: a crash leaves no namespace with other rules.
            store.namespace_with(&self.namespace, self.change(Policy::new()))?;
        } else if self.sets_any() && !self.if_absent {
            let rules = store.namespace(&self.namespace)?.policy();
            store.namespace_with(&self.namespace, self.change(rules))?;
        }
        Ok(is_new)
    }

    fn change(&self, rules: Policy) -> Policy {
        let time = |ms: &u64| Duration::from_millis(*ms);
        let rules = self.ttl_ms.iter().map(time).fold(rules, Policy::ttl);
        let rules = self.lease_ms.iter().map(time).fold(rules, Policy::lease);
        let rules = self.max_attempts.into_iter().fold(rules, Policy::max_attempts);
        let rules = self.on_orphan.into_iter().fold(rules, |rules, rule| rules.on_orphan(rule.into()));
        let rules = self.metrics_name.iter().fold(rules, |rules, name| rules.metrics_name(name));
        match &self.quota {
            _ if self.no_quota => rules.no_quota(),
            None => rules,
            Some(QuotaView { records, bytes }) => rules.quota(*records, *bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let store = Store::in_memory().unwrap();
        let before = Policy::daily().max_attempts(9).quota(7, 9).metrics_name("m");
        store.namespace_with("shop", before.clone()).unwrap();
        let rules = || store.namespace("shop").unwrap().policy();
        let check = |change: PolicyChange, expected: Policy| {
            assert_eq!(change.apply(&store), Ok(false));
            assert_eq!(rules(), expected);
        };
        let of = PolicyChange::of;
        check(of("shop"), before.clone());
        check(PolicyChange { max_attempts: Some(2), ..of("shop") }, before.clone().max_attempts(2));
        check(PolicyChange { no_quota: true, ..of("shop") }, before.clone().max_attempts(2).no_quota());
        let two_days = Duration::from_secs(2 * 86_400);
        let rest = before.max_attempts(2).no_quota().ttl(two_days).on_orphan(OnOrphan::Park);
        let (ttl_ms, on_orphan) = (Some(2 * 86_400_000), Some(OrphanRule::Park));
        check(PolicyChange { ttl_ms, on_orphan, ..of("shop") }, rest);
        store.close().unwrap();
    }

    #[test]
    fn a_namespace_is_made_only_if_that_is_said() {
        let store = Store::in_memory().unwrap();
        let new = PolicyChange { max_attempts: Some(2), ..PolicyChange::of("new") };
        assert_eq!(new.apply(&store).unwrap_err().kind, RefusalKind::NotFound);
        assert!(!store.namespaces().contains(&"new".to_owned()));
        for made in [true, false] {
            assert_eq!(PolicyChange { create: true, ..new.clone() }.apply(&store), Ok(made));
        }
        assert_eq!(store.namespace("new").unwrap().policy(), Policy::new().max_attempts(2));
        for (max_attempts, made) in [(5, true), (6, false)] {
            let (if_absent, max_attempts) = (true, Some(max_attempts));
            let absent = PolicyChange { if_absent, max_attempts, ..PolicyChange::of("absent") };
            assert_eq!(absent.apply(&store), Ok(made));
            assert_eq!(store.namespace("absent").unwrap().policy().attempts_allowed(), 5);
        }
        let long = PolicyChange { create: true, ..PolicyChange::of(&"n".repeat(513)) };
        assert_eq!(long.apply(&store).unwrap_err().kind, RefusalKind::Usage);
        store.close().unwrap();
    }
}
