//! The live table, changed: the last step of the [write path](super), and what a `transact` does to it.

use super::{Change, LeaseAfter, Turn};
use crate::codec::Record;
use crate::engine::Engine;
use crate::engine::commit::Order;
use crate::engine::held::{Held, live_claim_mut};
use crate::engine::live::{Entry, Marks, Shard};
use crate::engine::spaces::{Keyed, Space};
use crate::error::{Error, ErrorKind};
use crate::planted;

/// What is known of an entry in memory only, once its record is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct After {
    marks: Marks,
    /// When the lease lapses, if that stays as it is.
    lease_until_ms: Option<u64>,
}

impl LeaseAfter {
    /// The marks and the lease of a key's next version. `before`: its entry; `was_cold`: the runs have its newest version.
    pub(super) fn after(self, before: Option<&Entry>, was_cold: bool) -> After {
        let carried = carried(before, was_cold);
        match (self, before) {
            (LeaseAfter::Granted, _) => {
                After { marks: Marks { leased: true, undelivered: true, ..carried }, lease_until_ms: None }
            }
            (LeaseAfter::Kept, Some(before)) => After {
                marks: Marks { spill_current: false, ..before.marks },
                lease_until_ms: Some(before.lease_until_ms),
            },
            (LeaseAfter::Ended | LeaseAfter::Kept, _) => After { marks: carried, lease_until_ms: None },
        }
    }
}

impl Engine {
    /// Puts a key's next version in place: into the open batch and into the live table. Returns its batch.
    pub(super) fn put(
        &self,
        turn: &mut Turn<'_>,
        shard: &mut Shard,
        change: &Change<'_>,
        record: Record,
        after: After,
    ) -> u64 {
        let Change { space, keyed, .. } = change;
        let batch = turn.order.append_record(&keyed.full, &record, turn.at.store_ms, turn.waits);
        let anew = || turn.at.boot_ms.saturating_add(record.lease_ms);
        let lease_until_ms = after.lease_until_ms.unwrap_or_else(anew);
        let entry = Entry { marks: after.marks, ..Entry::new(record, batch, lease_until_ms) };
        self.put_entry(turn.order, shard, space, keyed, entry);
        batch
    }

    /// Reserves a key for a `transact`, in memory only: its entry, or a placeholder where it has none.
    pub(super) fn reserve_under(
        &self,
        order: &Order,
        shard: &mut Shard,
        change: &Change<'_>,
        was_cold: bool,
    ) {
        let Change { space, keyed, .. } = change;
        if let Some(entry) = shard.find_mut(keyed.hash, &keyed.full) {
            entry.marks = entry.marks.reserved();
            return;
        }
        let marks = Marks { placeholder: true, ..carried(None, was_cold).reserved() };
        let entry = Entry { marks, ..Entry::new(Record::erased(0), 0, 0) };
        self.put_entry(order, shard, space, keyed, entry);
    }

    /// Reserves a claim for its settlement together with rows, in memory only. Returns its record, and the batch that must
    /// be committed before that may be built upon.
    pub(crate) fn reserve_held(&self, held: &Held) -> Result<(Record, u64), Error> {
        let mut shard = self.live.shard(held.keyed.hash);
        let entry = live_claim_mut(shard.find_mut(held.keyed.hash, &held.keyed.full), held.token)?;
        if entry.marks.reserved {
            return Err(Error::new(ErrorKind::Misuse, "a settlement of this claim is running"));
        }
        entry.marks = entry.marks.reserved();
        Ok((entry.known().into_owned(), entry.batch))
    }

    /// Shows a record that is durable in `tables.redb`: it takes the place of the reservation.
    pub(crate) fn show_durable(&self, space: &Space, keyed: &Keyed, record: Record) {
        let order = self.commit.order();
        let mut shard = self.live.shard(keyed.hash);
        let marks = Marks { in_tables: true, ..carried(shard.find(keyed.hash, &keyed.full), false) };
        let entry = Entry { marks, ..Entry::new(record, 0, 0) };
        self.put_entry(&order, &mut shard, space, keyed, entry);
    }

    /// Gives a reservation back. A placeholder goes with it.
    pub(crate) fn unreserve(&self, space: &Space, keyed: &Keyed) {
        let mut shard = self.live.shard(keyed.hash);
        let Some(entry) = shard.find_mut(keyed.hash, &keyed.full) else { return };
        entry.marks.reserved = false;
        if entry.marks.placeholder
            && let Some(old) = self.live.remove(&mut shard, keyed.hash, &keyed.full)
        {
            if planted::active(70) {
                return;
            }
            // What was never claimed takes no part of a quota.
            space.usage.left(1, (keyed.full.len() + old.record.body.len()) as u64);
        }
    }

    /// Puts an entry in place and keeps the namespace's usage. Whoever has the order is alone: see [`Balance`].
    ///
    /// [`Balance`]: crate::engine::balance::Balance
    fn put_entry(&self, _order: &Order, shard: &mut Shard, space: &Space, keyed: &Keyed, entry: Entry) {
        let added = keyed.full.len() + entry.record.body.len();
        let old = self.live.put(shard, keyed.hash, &keyed.full, entry);
        space.usage.added(added);
        if let Some(old) = &old {
            space.usage.replaced(keyed.full.len() + old.record.body.len());
        }
    }
}

/// The batch that must be committed before anybody hears of the entry.
pub(crate) fn resting_on(entry: &Entry) -> u64 {
    if planted::active(2) {
        return 0;
    }
    entry.batch
}

/// The marks a key's next version takes over from the one before.
fn carried(before: Option<&Entry>, was_cold: bool) -> Marks {
    let old = before.map(|entry| entry.marks).unwrap_or_default();
    Marks {
        spilled: old.spilled,
        may_shadow: old.may_shadow || was_cold,
        in_tables: old.in_tables,
        ..Marks::default()
    }
}
