//! Which namespace a key of a script lies in, and the quota of one of them.

use super::model::{KEYS, Known, Model};
use super::runner::{Done, Runner, disagree};
use claimstore::{Error, ErrorKind, Namespace, OnDrop, Policy, Store};

/// The first time-ordered key.
pub(super) const FIRST_ORDERED: usize = 10;
/// The first key of the namespace with a quota.
pub(super) const FIRST_LIMITED: usize = 14;
/// Most records of that namespace.
const QUOTA: u64 = 2;

/// Where a key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// The default namespace.
    Plain,
    /// Keys that carry a time.
    Ordered,
    /// No more than [`QUOTA`] records.
    Limited,
}

impl Home {
    pub(super) fn of(key: usize) -> Home {
        match key {
            0..FIRST_ORDERED => Home::Plain,
            FIRST_ORDERED..FIRST_LIMITED => Home::Ordered,
            _ => Home::Limited,
        }
    }

    /// Whether a claim of `key` may be refused by a quota.
    pub(super) fn has_quota(key: usize) -> bool {
        Home::of(key) == Home::Limited
    }

    /// The name of the namespace.
    pub(super) fn name(self) -> &'static str {
        match self {
            Home::Plain => "",
            Home::Ordered => "ordered",
            Home::Limited => "limited",
        }
    }

    /// At how many losses a key is parked.
    pub(super) fn max_losses(self) -> u32 {
        match self {
            Home::Plain => 10,
            Home::Ordered | Home::Limited => 2,
        }
    }

    /// Whether a lease that is dropped keeps its term.
    pub(super) fn keeps_term(self) -> bool {
        self == Home::Limited
    }

    pub(super) fn namespace(self, store: &Store) -> Result<Namespace, Error> {
        store.namespace(self.name())
    }

    /// Those of some keys that lie where the first of them does: one namespace a batch.
    pub(super) fn only_of_first(keys: &[usize]) -> Vec<usize> {
        let Some(first) = keys.first() else { return Vec::new() };
        let home = Home::of(first % KEYS);
        keys.iter().map(|key| key % KEYS).filter(|key| Home::of(*key) == home).collect()
    }
}

/// The policy of the namespace with a quota.
pub(super) fn limited_policy() -> Policy {
    Policy::new().quota(QUOTA, 1 << 30).max_losses(Home::Limited.max_losses()).on_drop(OnDrop::KeepTerm)
}

/// Whether this is the quota's word, not that of a full disk.
pub(super) fn is_quota(error: &Error) -> bool {
    error.kind() == ErrorKind::Full && error.to_string().contains("quota")
}

impl Model {
    /// Whether a claim of `key` must be refused by the quota. A key of which something may be left in the store is not
    /// new to it, and one that is counted may be no longer visible: of these either answer is right.
    pub(super) fn is_at_quota(&self, key: usize) -> bool {
        let limited = |key: &usize| Home::of(*key) == Home::Limited;
        let visible = self.known.keys().filter(|known| limited(known) && self.visible(**known).is_some());
        limited(&key) && !self.met.contains(&key) && visible.count() as u64 >= QUOTA
    }

    /// A claim of `key` that was foreseen was refused by the quota: nothing of it is there.
    pub(super) fn refuse(&mut self, key: usize) {
        if matches!(self.known.get(&key), Some(Known { token: 0, .. })) {
            self.known.remove(&key);
        }
    }
}

impl Runner {
    /// What counts against quotas is what is there: whatever comes, goes or is rolled back.
    pub(super) fn audit_counts(&self) -> Done {
        let sizes = self.opened().sizes()?;
        let size = |wanted| sizes.iter().find(|(name, _)| *name == wanted).map(|(_, size)| *size);
        let (counted, there) = (size("records counted against quotas"), size("records there are"));
        if counted.is_none() || counted != there {
            return disagree(format!("{counted:?} records count against quotas, {there:?} are there"));
        }
        let idle = ["waiters", "keys waited for", "tasks", "queued batches", "positions held"];
        match idle.into_iter().find(|name| size(name) != Some(0)) {
            Some(name) => disagree(format!("nobody is about, and of {name} there are {:?}", size(name))),
            None => Ok(()),
        }
    }
}
