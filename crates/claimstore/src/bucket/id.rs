//! Buckets: groups of records that are pruned together.

use crate::codec::{Cursor, Malformed};

/// The id of a bucket: a range of expiry time, or one of the two buckets that do not end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum BucketId {
    /// Records that expire in `[index << class, (index + 1) << class)` milliseconds of store time.
    Timed { class: u8, index: u64 },
    /// Records that do not expire: parked, or waiting for their retry.
    Held,
    /// Claims in progress, written to runs so that journal segments can be retired. All of them are also in memory,
    /// so look-ups skip this bucket.
    Open,
}

const TIMED: u8 = 1;
const HELD: u8 = 2;
const OPEN: u8 = 3;

/// Buckets are at least 2^16 ms (65.5 s) wide: narrower ones would only make small files.
const MIN_CLASS: u8 = 16;
/// An eighth of the longest ttl is 2^61 ms wide.
const MAX_CLASS: u8 = 61;
/// A ttl spans this many buckets, so at most an eighth of a namespace is kept longer than asked for.
const BUCKETS_PER_TTL: u64 = 8;

impl BucketId {
    /// Bytes of an encoded bucket id.
    #[cfg(test)]
    pub(crate) const ENCODED_BYTES: usize = 10;

    /// The bucket of a record that expires at `expires_ms` and was kept for `ttl_ms`.
    pub(crate) fn for_expiry(expires_ms: u64, ttl_ms: u64) -> BucketId {
        let width = ttl_ms.div_ceil(BUCKETS_PER_TTL).next_power_of_two();
        let class = (width.trailing_zeros() as u8).max(MIN_CLASS);
        BucketId::Timed { class, index: expires_ms >> class }
    }

    /// The first millisecond at which everything in the bucket has expired; `None` when it never will.
    pub(crate) fn end_ms(self) -> Option<u64> {
        match self {
            BucketId::Timed { class, index } => {
                let end = (u128::from(index) + 1) << class;
                Some(u64::try_from(end).unwrap_or(u64::MAX))
            }
            BucketId::Held | BucketId::Open => None,
        }
    }

    /// Whether a record that expires at `expires_ms` has expired when the bucket is dropped. Otherwise it would be
    /// pruned too early.
    pub(crate) fn outlasts(self, expires_ms: u64) -> bool {
        match self {
            BucketId::Timed { class, index } => expires_ms >> class <= index,
            BucketId::Held | BucketId::Open => true,
        }
    }

    /// Appends the ten bytes of the id.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let (kind, class, index) = match self {
            BucketId::Timed { class, index } => (TIMED, class, index),
            BucketId::Held => (HELD, 0, 0),
            BucketId::Open => (OPEN, 0, 0),
        };
        out.extend_from_slice(&[kind, class]);
        out.extend_from_slice(&index.to_le_bytes());
    }

    /// The counterpart of [`BucketId::encode`].
    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<BucketId, Malformed> {
        let (kind, class, index) =
            (cursor.u8("bucket kind")?, cursor.u8("bucket class")?, cursor.u64("bucket index")?);
        match (kind, class, index) {
            (TIMED, MIN_CLASS..=MAX_CLASS, _) if index <= u64::MAX >> class => {
                Ok(BucketId::Timed { class, index })
            }
            (HELD, 0, 0) => Ok(BucketId::Held),
            (OPEN, 0, 0) => Ok(BucketId::Open),
            _ => Err(Malformed("bucket id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BucketId, MAX_CLASS, MIN_CLASS};
    use crate::codec::Cursor;
    use proptest::prelude::*;

    #[test]
    fn an_index_behind_the_end_of_time_is_refused() {
        for class in MIN_CLASS..=MAX_CLASS {
            let decode = |index: u64| {
                let mut bytes = Vec::new();
                BucketId::Timed { class, index }.encode(&mut bytes);
                BucketId::decode(&mut Cursor::new(&bytes))
            };
            let last = u64::MAX >> class;
            assert_eq!(decode(last), Ok(BucketId::Timed { class, index: last }));
            assert!(decode(last + 1).is_err(), "class {class}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_ends_after_its_records_and_less_than_a_width_later(expires_ms: u64, ttl_ms: u64) {
            let id = BucketId::for_expiry(expires_ms, ttl_ms);
            let BucketId::Timed { class, .. } = id else { panic!("not timed") };
            prop_assert!((MIN_CLASS..=MAX_CLASS).contains(&class));
            let end = id.end_ms().unwrap();
            prop_assert!(end > expires_ms || end == u64::MAX);
            prop_assert!(end - expires_ms <= 1 << class);
            prop_assert!(id.outlasts(expires_ms));
            prop_assert!(1u64 << class >= ttl_ms / 8);
            prop_assert!(class == MIN_CLASS || 1u64 << class < ttl_ms.div_ceil(8) * 2);
        }

        #[test]
        fn ids_round_trip(expires_ms: u64, ttl_ms: u64, noise: [u8; 10]) {
            for id in [BucketId::for_expiry(expires_ms, ttl_ms), BucketId::Held, BucketId::Open] {
                let mut bytes = Vec::new();
                id.encode(&mut bytes);
                prop_assert_eq!(bytes.len(), BucketId::ENCODED_BYTES);
                prop_assert_eq!(BucketId::decode(&mut Cursor::new(&bytes)), Ok(id));
            }
            let _ = BucketId::decode(&mut Cursor::new(&noise));
        }
    }

    #[test]
    fn widths_are_an_eighth_of_the_ttl_but_at_least_a_minute() {
        let check = |ttl_ms: u64, expected_class: u8| {
            let id = BucketId::for_expiry(1 << 40, ttl_ms);
            assert_eq!(id, BucketId::Timed { class: expected_class, index: 1 << (40 - expected_class) });
        };
        check(0, 16);
        check(65_536 * 8, 16);
        check(65_536 * 8 + 1, 17);
        check(7 * 24 * 3_600_000, 27);
    }

    #[test]
    fn the_end_is_the_first_millisecond_of_the_next_bucket() {
        let id = BucketId::Timed { class: 16, index: 1 };
        assert_eq!(id.end_ms(), Some(2 << 16));
        assert!(id.outlasts((2 << 16) - 1));
        assert!(!id.outlasts(2 << 16));
        assert_eq!(BucketId::Held.end_ms(), None);
        assert_eq!(BucketId::Open.end_ms(), None);
    }
}
