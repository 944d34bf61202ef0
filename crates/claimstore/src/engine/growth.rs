//! How long a journal segment is made, and how much of it new work leaves free; pure.
//!
//! A new store begins with a short segment, and each following one is longer, up to the full size, as long as there is
//! anything to write. What a settlement needs must not depend on that: a disk may become full at any moment, and then
//! there is no further segment. So a claim is admitted only if the journal, as it stands, has room for the largest
//! settlement of every claim in progress, its own included ([`Growth::kept_for`]).
//!
//! **The argument.** Let *n* be the claims in progress, *a* the most that one settlement takes, *e* an eighth of a full
//! segment, and *r(n)* = min(*n* *a*, *e*). The invariant is: the current segment, or its prepared successor, has room
//! for everything queued and *r(n)* more.
//!
//! - A claim is admitted with room for itself and *r(n + 1)*, counted under the order lock, under which it also joins
//!   those in progress. So the invariant holds after it.
//! - A settlement takes at most *a*, and *n* falls by one. While *n* *a* <= *e*, *r* falls by *a* too: the invariant
//!   holds, and every claim in progress can be settled without a new block on the disk. With more claims than that, they
//!   have *e* together, and new ones are refused first.
//! - A rotation gives up what is left of the current segment. Only a batch that does not fit there rotates, or a claim
//!   that fits in neither; the successor is at least twice as long as the current one, or of full size, and was empty. A
//!   full segment has room for the largest batch (half of it), *e*, and its frames.
//! - A checkpoint retires segments before the current one, which the invariant is not about.
//!
//! What is not settled but renewed, saved as progress or defined uses the same room, and is not counted.

use crate::journal::framed_bytes;
use crate::options::Limits;
use crate::planted;
use claimstore_core::history::{ENTRY_BYTES, MAX_BY_BYTES, MAX_ENTRIES, MAX_NOTE_BYTES};
use claimstore_core::limits::{MAX_KEY_BYTES, MAX_ORIGIN_BYTES};
use claimstore_hash::FieldDigests;

/// What a segment needs beside the frames that are asked for: its header, a link, a seal.
const OVERHEAD_BYTES: u64 = 4_096;
/// What the settlement of a claim may take beside response and progress: what the record has of its claim (origin, digests
/// of fields, history), a note for a reviewer, the key, and the operation around them.
const BESIDE_BYTES: usize = 2 * MAX_ORIGIN_BYTES
    + FieldDigests::MAX_BYTES
    + MAX_ENTRIES * (ENTRY_BYTES + MAX_NOTE_BYTES + MAX_BY_BYTES)
    + MAX_KEY_BYTES
    + 1_024;

/// The sizes of one store.
#[expect(clippy::struct_field_names, reason = "units are part of names")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    /// The shortest segment.
    pub(crate) first_bytes: u64,
    /// The longest one, which all are once the journal has grown.
    pub(crate) full_bytes: u64,
    /// The most that the settlement of one claim takes.
    pub(crate) settlement_bytes: u64,
}

impl Growth {
    /// Of a store with these limits.
    pub(crate) fn of(limits: &Limits) -> Growth {
        // While room is asked for, the progress that a settlement drops still counts.
        let largest_bytes = limits.response_bytes.saturating_add(limits.progress_bytes);
        Growth::new(limits.first_segment_bytes, limits.segment_bytes, largest_bytes)
    }

    fn new(first_bytes: u64, full_bytes: u64, largest_bytes: usize) -> Growth {
        let settlement = largest_bytes.saturating_add(BESIDE_BYTES);
        Growth {
            first_bytes: first_bytes.min(full_bytes),
            full_bytes,
            settlement_bytes: framed_bytes(settlement) as u64,
        }
    }

    /// How much of the journal is kept free for the settlements of so many claims.
    pub(crate) fn kept_for(&self, claims: u64) -> u64 {
        if planted::active(92) {
            return self.settlement_bytes.min(self.full_bytes / 8);
        }
        claims.saturating_mul(self.settlement_bytes).min(self.full_bytes / 8)
    }

    /// Whether it is time to prepare a successor of the newest segment, which is `newest_bytes` long and has room for
    /// `room_bytes`: a quarter of it is used, or the next claim would find no room.
    pub(crate) fn is_due(&self, newest_bytes: u64, room_bytes: u64, claims: u64) -> bool {
        room_bytes < newest_bytes / 4 * 3 || room_bytes < self.kept_for(claims.saturating_add(1))
    }

    /// How long the next segment is: twice as long as the newest one, four times if somebody waits for it, and long
    /// enough for `wanted_bytes` of frames. At least as long as a retired file of `spare_bytes` that is used again:
    /// these bytes are on the disk anyway.
    pub(crate) fn next_bytes(
        &self,
        newest_bytes: u64,
        spare_bytes: u64,
        wanted_bytes: u64,
        hurried: bool,
    ) -> u64 {
        let grown = newest_bytes.saturating_mul(if hurried { 4 } else { 2 });
        let wanted = wanted_bytes.saturating_add(OVERHEAD_BYTES);
        let wanted = wanted.checked_next_power_of_two().unwrap_or(u64::MAX);
        grown.max(wanted).max(spare_bytes).clamp(self.first_bytes, self.full_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, OVERHEAD_BYTES};
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// The defaults.
    fn growth() -> Growth {
        Growth::new(2 * MIB, 64 * MIB, (MIB + (64 << 10)) as usize)
    }

    #[test]
    fn a_new_store_takes_its_first_claim_without_a_further_segment() {
        let growth = growth();
        assert!(growth.settlement_bytes > MIB && growth.settlement_bytes < MIB + (128 << 10));
        let room = growth.first_bytes - OVERHEAD_BYTES;
        assert!(growth.kept_for(1) + 8_192 < room && !growth.is_due(growth.first_bytes, room, 0));
        assert!(growth.is_due(growth.first_bytes, room, 1), "the second one is prepared for");
        assert!(growth.is_due(growth.first_bytes, growth.first_bytes / 2, 0));
    }

    #[test]
    fn segments_double_up_to_the_full_size_and_grow_faster_where_somebody_waits() {
        let sizes = |hurried| {
            let mut newest = growth().first_bytes;
            std::iter::from_fn(move || {
                newest = growth().next_bytes(newest, 0, 0, hurried);
                Some(newest / MIB)
            })
        };
        assert_eq!(sizes(false).take(6).collect::<Vec<_>>(), [4, 8, 16, 32, 64, 64]);
        assert_eq!(sizes(true).take(4).collect::<Vec<_>>(), [8, 32, 64, 64]);
        assert_eq!(growth().next_bytes(2 * MIB, 64 * MIB, 0, false), 64 * MIB, "a file that is there anyway");
        assert_eq!(growth().next_bytes(2 * MIB, 512 * MIB, 0, false), 64 * MIB);
        assert_eq!(growth().next_bytes(2 * MIB, 0, 9 * MIB, false), 16 * MIB);
        // Segments of full size are what they were: an eighth is kept once eight claims are in progress.
        assert_eq!((growth().kept_for(0), growth().kept_for(8)), (0, 8 * MIB));
        assert_eq!(growth().kept_for(u64::MAX), 8 * MIB);
    }

    proptest! {
        /// Whatever is admitted, the next segment takes it, or is of full size.
        #[test]
        fn the_next_segment_has_the_room_it_is_made_for(
            newest in 12u64..=64 << 10, wanted in 0u64..=64 << 20, spare in 0u64..=128 << 20, hurried: bool,
        ) {
            let (growth, newest) = (growth(), newest << 10);
            let next = growth.next_bytes(newest, spare, wanted, hurried);
            prop_assert!(next == growth.full_bytes || next >= wanted + OVERHEAD_BYTES && next >= 2 * newest);
            prop_assert!((growth.first_bytes..=growth.full_bytes).contains(&next));
        }
    }
}
