//! What a watch of orphans asks of the engine.

use super::Engine;
use super::lapses::NEVER_MS;
use super::life::SEQ_BITS;
use crate::codec::State;

impl Engine {
    /// Begins a scan: whatever happens after this call ends the next
    /// [`sleep_until_orphan`](Engine::sleep_until_orphan). Returns boot time.
    pub(crate) fn begin_looking(&self) -> u64 {
        self.lapses.begin_looking();
        self.time.boot_ms()
    }

    /// Sleeps until a lease lapses that had not lapsed at `looked_at_ms`, a claim is abandoned, `due_ms` is reached,
    /// the clock is moved by hand, or the store is closed or poisoned.
    pub(crate) fn sleep_until_orphan(&self, looked_at_ms: u64, due_ms: u64) {
        let due_ms = due_ms.min(self.earliest_lapse_ms(looked_at_ms));
        self.lapses.sleep(due_ms, || self.time.boot_ms(), || self.check_serving().is_err());
    }

    /// Boot time at which the next lease lapses, among those that had not lapsed at `after_ms`.
    pub(super) fn earliest_lapse_ms(&self, after_ms: u64) -> u64 {
        let at = self.time.moment();
        let mut earliest_ms = NEVER_MS;
        self.live.each_shard(|shard| {
            for (_, _, entry) in shard.iter() {
                let record = &entry.record;
                // The lease of an undelivered answer is noted when it starts.
                if record.state != State::InProgress || entry.marks.abandoned || entry.marks.undelivered {
                    continue;
                }
                let lapses_ms = if record.until_ms == 0 && record.token >> SEQ_BITS < self.life {
                    continue;
                } else if record.until_ms == 0 {
                    entry.lease_until_ms
                } else {
                    // Detached: its term is in store time. Converted to boot time, also if it is in the past.
                    (at.boot_ms + record.until_ms.saturating_sub(at.store_ms))
                        .saturating_sub(at.store_ms.saturating_sub(record.until_ms))
                };
                if lapses_ms > after_ms {
                    earliest_ms = earliest_ms.min(lapses_ms);
                }
            }
        });
        earliest_ms
    }
}
