//! [`Entry`]: what the live table has of a key.

use super::decide::Hold;
use super::life::SEQ_BITS;
use super::repeats::with;
use crate::codec::{Record, Repeats, State};
use std::borrow::Cow;
use std::cell::Cell;

/// Bytes of an entry beside its key and body.
pub(super) const ENTRY_BYTES: usize = 224;
/// Bytes of a record's extensions beside their contents.
pub(super) const EXTRA_BYTES: usize = 160;

/// One key's newest record, and the state of it that exists in memory only.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) marks: Marks,
    /// Claims answered from `record` since it was written. A `Cell`, so that an answer counts through the shared
    /// reference that it already has and needs no second look-up.
    pub(crate) repeats: Cell<Repeats>,
    /// Boot time at which the holder's lease lapses. Only meaningful for a claim made in the present life of the
    /// store.
    pub(crate) lease_until_ms: u64,
    /// The journal batch that carries `record`; 0 if the record was durable at open.
    pub(crate) batch: u64,
    pub(crate) record: Record,
}

/// State of an entry that exists in memory only.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own rule")]
pub(crate) struct Marks {
    /// The lease was dropped without a settlement: the claim has no holder.
    pub(crate) abandoned: bool,
    /// The lease was dropped without a settlement, whether the claim keeps its term or not: nobody renews it.
    pub(crate) dropped: bool,
    /// A panic dropped the lease, or would have lost the claim if it did not keep its term.
    pub(crate) panicked: bool,
    /// Granted, but the answer has not been returned to the caller yet.
    pub(crate) undelivered: bool,
    /// A `Lease` object holds it, so `resume` must not make a second one.
    pub(crate) leased: bool,
    /// A run of the open bucket has a row of this key.
    pub(crate) spilled: bool,
    /// That row is the present version.
    pub(crate) spill_current: bool,
    /// Another bucket may have an older version: the next checkpoint looks for it and writes a tombstone there.
    pub(crate) may_shadow: bool,
    /// The claims of `tables.redb` may have a row of this key.
    pub(crate) in_tables: bool,
    /// A `transact` or `complete_in` is running on it.
    pub(crate) reserved: bool,
    /// The reserved key was unknown, so `record` is only a placeholder.
    pub(crate) placeholder: bool,
}

impl Entry {
    pub(crate) fn new(record: Record, batch: u64, lease_until_ms: u64) -> Entry {
        Entry { record, batch, lease_until_ms, marks: Marks::default(), repeats: Cell::default() }
    }

    /// Whether the claim has a holder. `life` is the store's present life, `now_ms` store time, `boot_ms` boot time.
    ///
    /// The order of the checks matters: each is an exception to all that follow it.
    pub(crate) fn hold(&self, life: u64, now_ms: u64, boot_ms: u64) -> Hold {
        if self.marks.reserved {
            return Hold::Reserved;
        }
        // The lease starts at the acknowledgement, which has not been returned yet.
        if self.marks.undelivered {
            return Hold::Running { remaining_ms: 1 };
        }
        // A detached claim outlives its process on purpose: its term is durable and runs on store time. Checked
        // before the life, because a restart does not end it.
        if self.record.until_ms > now_ms && self.record.state == State::InProgress {
            return Hold::Running { remaining_ms: self.record.until_ms - now_ms };
        }
        if self.marks.abandoned {
            return if self.marks.panicked { Hold::Panicked } else { Hold::Dropped };
        }
        // A claim of an earlier life: its process is gone, as a directory has one owner at a time. Or one that was left
        // behind in this.
        if self.record.token >> SEQ_BITS < life || self.record.left().is_some() {
            return Hold::Orphaned;
        }
        match self.lease_until_ms.checked_sub(boot_ms) {
            Some(remaining_ms) if remaining_ms > 0 => Hold::Running { remaining_ms },
            _ => Hold::Lapsed,
        }
    }

    /// Adds claims that were answered from the record. Under the shard's lock, as for all access to an entry.
    pub(crate) fn count(&self, more: Repeats) {
        self.repeats.set(self.repeats.get().and(more));
    }

    /// The record, including the counts since it was written.
    pub(crate) fn known(&self) -> Cow<'_, Record> {
        with(Cow::Borrowed(&self.record), self.repeats.get())
    }

    /// The same as an owned record, without the body.
    pub(crate) fn known_without_body(&self) -> Record {
        with(Cow::Owned(self.record.without_body()), self.repeats.get()).into_owned()
    }

    /// The same; consumes the entry.
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
