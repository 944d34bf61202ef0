//! What a watch of orphans asks of the engine.

use super::Engine;
use super::lapses::NEVER_MS;
use super::life::SEQ_BITS;
use crate::codec::State;

impl Engine {
    /// What happens after this call ends the next [`sleep_until_orphan`](Engine::sleep_until_orphan). Answers
    /// boot time.
    pub(crate) fn begin_looking(&self) -> u64 {
        self.lapses.begin_looking();
        self.time.boot_ms()
    }

    /// Sleeps until a lease lapses that had not at `looked_at_ms`, a claim is abandoned, `due_ms` has come,
    /// the clock is moved by hand, or the store ends.
    pub(crate) fn sleep_until_orphan(&self, looked_at_ms: u64, due_ms: u64) {
        let due_ms = due_ms.min(self.earliest_lapse_ms(looked_at_ms));
        self.lapses.sleep(due_ms, || self.time.boot_ms(), || self.check_serving().is_err());
    }

    /// When the first of the leases lapses, in boot time, that had not lapsed at `after_ms`.
    pub(super) fn earliest_lapse_ms(&self, after_ms: u64) -> u64 {
        let at = self.time.moment();
        let mut earliest_ms = NEVER_MS;
        self.live.each_shard(|shard| {
            for (_, _, entry) in shard.iter() {
                let record = &entry.record;
                // An answer on its way notes its lease when it is delivered.
                if record.state != State::InProgress || entry.marks.abandoned || entry.marks.undelivered {
                    continue;
                }
                let lapses_ms = if record.until_ms == 0 && record.token >> SEQ_BITS < self.life {
                    continue;
                } else if record.until_ms == 0 {
                    entry.lease_until_ms
                } else {
                    // Detached: by store time, brought over to boot time, also where it is past.
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
