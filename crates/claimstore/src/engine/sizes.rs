//! How many items an open store retains, by kind, for tests that look for leaks.
//!
//! Nothing is decided by these numbers. Each is read under its own lock, so they are consistent with each other only
//! while no other thread uses the store.

use super::Engine;

impl Engine {
    /// Names and numbers, in no particular order.
    pub(crate) fn sizes(&self) -> Vec<(&'static str, u64)> {
        let usize_of = |len: usize| len as u64;
        let (mut live, mut live_room) = (0, 0);
        self.live.each_shard(|shard| {
            live += usize_of(shard.iter().count());
            live_room += usize_of(shard.room());
        });
        let set = self.cold.set();
        let (mut counted, mut there) = (0, live);
        for space in self.spaces.all() {
            counted += space.usage.records();
            there += set.usage(space.id).0;
        }
        vec![
            // Waiters, and the memory kept for them.
            ("waiters", usize_of(self.waiters.count())),
            ("keys waited for", usize_of(self.waiters.keys())),
            ("wakers of batches being written", usize_of(self.commit.parked.len())),
            ("timers", usize_of(self.timers.len())),
            ("tasks", usize_of(self.upkeep.tasks.len())),
            ("queued batches", usize_of(self.commit.queued())),
            // Keys.
            ("live entries", live),
            ("room for live entries", live_room),
            ("records counted against quotas", counted),
            ("records there are", there),
            ("positions held", usize_of(self.sequences.held())),
            // Memory and files.
            ("cached bytes", usize_of(self.cold.cache.used_bytes())),
            ("files without a name", usize_of(self.graves.len())),
            ("spare segments", usize_of(self.segments.spares())),
        ]
    }
}
