//! How much a namespace holds, and whether its quota has room for more.

use super::Engine;
use super::spaces::Space;
use crate::error::{Error, ErrorKind};
use crate::policy::Policy;

impl Engine {
    /// Whether a further key of `bytes` fits the namespace's quota.
    pub(crate) fn check_quota(space: &Space, policy: &Policy, bytes: usize) -> Result<(), Error> {
        let Some((most_records, most_bytes)) = policy.quota_limits() else { return Ok(()) };
        let (records, held_bytes) = space.usage.now();
        if records >= most_records || held_bytes.saturating_add(bytes as u64) > most_bytes {
            return Err(Error::new(ErrorKind::Full, "the namespace is at its quota"));
        }
        Ok(())
    }

    /// At open: how much of each namespace the live table holds.
    pub(crate) fn count_usage(&self) {
        self.live.each_shard(|shard| {
            for (_, key, entry) in shard.iter() {
                let id = key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
                if let Some(space) = id.and_then(|id| self.spaces.by_id(id)) {
                    space.usage.added(key.len() + entry.record.body.len());
                }
            }
        });
        self.refresh_run_usage();
    }

    /// Sets, per namespace, how much the published runs hold.
    pub(crate) fn refresh_run_usage(&self) {
        let set = self.cold.set();
        for space in self.spaces.all() {
            space.usage.set_in_runs(set.usage(space.id));
        }
    }
}
