//! Applies changes of the rules of a namespace.

use crate::answer::find::namespace;
use crate::wire::{PolicyChange, QuotaView, Refusal, RefusalKind};
use claimstore::{Policy, Store};
use std::time::Duration;

/// Longest name of a namespace, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// Sets what `change` names, and returns whether the namespace was created.
pub(crate) fn set(store: &Store, change: &PolicyChange) -> Result<bool, Refusal> {
    let is_new = !store.namespaces().contains(&change.namespace);
    if is_new && !change.create && !change.if_absent {
        namespace(store, &change.namespace)?;
    }
    if is_new && change.namespace.len() > MAX_NAME_BYTES {
        return Err(Refusal::new(RefusalKind::Usage, "a namespace's name has at most 512 bytes"));
    }
    if is_new {
        // Name and rules in one operation: a crash leaves no namespace with other rules.
        store.namespace_with(&change.namespace, changed(Policy::new(), change))?;
    } else if change.sets_any() && !change.if_absent {
        let rules = store.namespace(&change.namespace)?.policy();
        store.namespace_with(&change.namespace, changed(rules, change))?;
    }
    Ok(is_new)
}

/// The rules after the change.
fn changed(rules: Policy, change: &PolicyChange) -> Policy {
    let time = |ms: &u64| Duration::from_millis(*ms);
    let rules = change.ttl_ms.iter().map(time).fold(rules, Policy::ttl);
    let rules = change.lease_ms.iter().map(time).fold(rules, Policy::lease);
    let rules = change.max_attempts.into_iter().fold(rules, Policy::max_attempts);
    let rules = change.max_losses.into_iter().fold(rules, Policy::max_losses);
    let rules = change.on_orphan.into_iter().fold(rules, |rules, rule| rules.on_orphan(rule.into()));
    let rules = change.metrics_name.iter().fold(rules, |rules, name| rules.metrics_name(name));
    match &change.quota {
        _ if change.no_quota => rules.no_quota(),
        None => rules,
        Some(QuotaView { records, bytes }) => rules.quota(*records, *bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::OrphanRule;
    use claimstore::OnOrphan;

    #[test]
    fn what_is_not_named_stays() {
        let store = Store::in_memory().unwrap();
        let before = Policy::daily().max_attempts(9).quota(7, 9).metrics_name("m");
        store.namespace_with("shop", before.clone()).unwrap();
        let rules = || store.namespace("shop").unwrap().policy();
        let check = |change: PolicyChange, expected: Policy| {
            assert_eq!(set(&store, &change), Ok(false));
            assert_eq!(rules(), expected);
        };
        let of = PolicyChange::of;
        check(of("shop"), before.clone());
        check(PolicyChange { max_attempts: Some(2), ..of("shop") }, before.clone().max_attempts(2));
        check(PolicyChange { no_quota: true, ..of("shop") }, before.clone().max_attempts(2).no_quota());
        let before = before.max_losses(5);
        check(PolicyChange { max_losses: Some(5), ..of("shop") }, before.clone().max_attempts(2).no_quota());
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
        assert_eq!(set(&store, &new).unwrap_err().kind, RefusalKind::NotFound);
        assert!(!store.namespaces().contains(&"new".to_owned()));
        for made in [true, false] {
            assert_eq!(set(&store, &PolicyChange { create: true, ..new.clone() }), Ok(made));
        }
        assert_eq!(store.namespace("new").unwrap().policy(), Policy::new().max_attempts(2));
        for (max_attempts, made) in [(5, true), (6, false)] {
            let (if_absent, max_attempts) = (true, Some(max_attempts));
            let absent = PolicyChange { if_absent, max_attempts, ..PolicyChange::of("absent") };
            assert_eq!(set(&store, &absent), Ok(made));
            assert_eq!(store.namespace("absent").unwrap().policy().attempts_allowed(), 5);
        }
        let long = PolicyChange { create: true, ..PolicyChange::of(&"n".repeat(513)) };
        assert_eq!(set(&store, &long).unwrap_err().kind, RefusalKind::Usage);
        store.close().unwrap();
    }
}
