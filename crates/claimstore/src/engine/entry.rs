//! [`Entry`]: what the live table has of a key.

use super::decide::Hold;
use super::life::SEQ_BITS;
use super::repeats::with;
use crate::codec::{Record, Repeats, State};
use std::borrow::Cow;
use std::cell::Cell;

/// What an entry costs beside its key and body.
pub(super) const ENTRY_BYTES: usize = 224;
/// What extensions cost beside their bytes.
pub(super) const EXTRA_BYTES: usize = 160;

/// One key's newest record, and what is known of it in memory only.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) marks: Marks,
    /// Claims answered from `record` since it was written. Counted through a shared reference, so that an answer
    /// needs no second look-up to be counted.
    pub(crate) repeats: Cell<Repeats>,
    /// Boot time at which the holder's lease lapses; for a claim of this life.
    pub(crate) lease_until_ms: u64,
    /// The journal batch that carries `record`; 0 for what was durable at open.
    pub(crate) batch: u64,
    pub(crate) record: Record,
}

/// What is known of an entry in memory only.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own rule")]
pub(crate) struct Marks {
    /// The lease was dropped: nobody works on it.
    pub(crate) abandoned: bool,
    /// Granted, and the answer not handed out yet.
    pub(crate) undelivered: bool,
    /// A `Lease` object holds it, so `resume` must not make a second one.
    pub(crate) leased: bool,
    /// A row of this key lies in a run of the open bucket.
    pub(crate) spilled: bool,
    /// The row in the open bucket is this very version.
    pub(crate) spill_current: bool,
    /// An older version may lie in some bucket: the checkpoint looks, and covers it by a tombstone.
    pub(crate) may_shadow: bool,
    /// A row of this key may lie in the claims of `tables.redb`.
    pub(crate) in_tables: bool,
    /// A `transact` or `complete_in` is running on it.
    pub(crate) reserved: bool,
    /// The reservation stands on a key that was unknown: `record` is a placeholder.
    pub(crate) placeholder: bool,
}

impl Entry {
    pub(crate) fn new(record: Record, batch: u64, lease_until_ms: u64) -> Entry {
        Entry { record, batch, lease_until_ms, marks: Marks::default(), repeats: Cell::default() }
    }

    /// Who stands behind it. `life` is the store's present life, `now_ms` store time, `boot_ms` boot time.
    pub(crate) fn hold(&self, life: u64, now_ms: u64, boot_ms: u64) -> Hold {
        if self.marks.reserved {
            return Hold::Reserved;
        }
        // Its lease runs from the acknowledgement, which is still on its way.
        if self.marks.undelivered {
            return Hold::Running { remaining_ms: 1 };
        }
        // A detached claim outlives its process on purpose, and is trusted by store time.
        if self.record.until_ms > now_ms && self.record.state == State::InProgress {
            return Hold::Running { remaining_ms: self.record.until_ms - now_ms };
        }
        if self.marks.abandoned || self.record.token >> SEQ_BITS < life {
            return Hold::Orphaned;
        }
        match self.lease_until_ms.checked_sub(boot_ms) {
            Some(remaining_ms) if remaining_ms > 0 => Hold::Running { remaining_ms },
            _ => Hold::Lapsed,
        }
    }

    /// Counts claims that were answered from the record. Under the shard's lock, like everything about an entry.
    pub(crate) fn count(&self, more: Repeats) {
        self.repeats.set(self.repeats.get().and(more));
    }

    /// The record, with what was counted since it was written.
    pub(crate) fn known(&self) -> Cow<'_, Record> {
        with(Cow::Borrowed(&self.record), self.repeats.get())
    }

    /// The same as a record of its own, without a body.
    pub(crate) fn known_without_body(&self) -> Record {
        with(Cow::Owned(self.record.without_body()), self.repeats.get()).into_owned()
    }

    /// The same, for good.
    pub(crate) fn into_known(self) -> Record {
        let repeats = self.repeats.get();
        with(Cow::Owned(self.record), repeats).into_owned()
    }

    pub(super) fn bytes(&self, key: &[u8]) -> usize {
        let extra = self.record.extra.as_ref().map_or(0, |_| EXTRA_BYTES);
        ENTRY_BYTES + key.len() + self.record.loose_bytes() + extra
    }

    pub(super) fn is_in_progress(&self) -> bool {
        self.record.state == State::InProgress
    }
}
