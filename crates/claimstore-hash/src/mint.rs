//! Making time-ordered ids: each one above the one before, whatever the clock does.

use crate::{KeyError, TimeOrderedId};

/// Mints UUIDs of version 7, each above the one before.
///
/// Mint an id *once*, where the event arises, and keep it with the event: an id made afresh for each retry makes
/// each retry a new event.
///
/// The caller supplies time and randomness: milliseconds since 1970, and ten bytes of an unpredictable random source,
/// fresh for every id. Ids of different minters are distinguished by randomness alone (74 bits).
///
/// While the time given rises, an id has that time and is otherwise random. When it stands still or goes back, the
/// next id is the previous one plus a random step of up to 2^32: the monotonic random method of RFC 9562, section
/// 6.2. Should its random bits overflow, the id takes the next millisecond. After a clock that ran ahead was set
/// back, ids therefore keep the later time until the clock has caught up; a new minter starts from the clock.
///
/// ```
/// use claimstore_hash::UuidV7Minter;
///
/// let mut minter = UuidV7Minter::new();
/// let first = minter.mint(1_700_000_000_000, [0x5a; 10])?;
/// let second = minter.mint(1_700_000_000_000, [0x01; 10])?;
/// assert!(first < second);
/// assert_eq!(first.to_uuid_string(), "018bcfe5-6800-7969-9a5a-5a5a5a5a5a5a");
/// # Ok::<(), claimstore_hash::KeyError>(())
/// ```
#[derive(Debug, Default)]
pub struct UuidV7Minter {
    sequence: Monotonic<74>,
}

impl UuidV7Minter {
    /// A minter that has minted nothing yet.
    pub fn new() -> UuidV7Minter {
        UuidV7Minter::default()
    }

    /// The next id.
    ///
    /// # Errors
    ///
    /// [`KeyError::TimeTooLarge`] at 2^48 ms; the minter is as before.
    pub fn mint(&mut self, time_ms: u64, random: [u8; 10]) -> Result<TimeOrderedId, KeyError> {
        let (time_ms, random) = self.sequence.next(time_ms, random)?;
        // Of the random bits, 12 are between version and variant, and 62 after the variant.
        let (above, below) = (random >> 62, random & ((1 << 62) - 1));
        Ok(TimeOrderedId::from_bits(u128::from(time_ms) << 80 | 7 << 76 | above << 64 | 0b10 << 62 | below))
    }
}

/// Mints ULIDs, each above the one before.
///
/// All that [`UuidV7Minter`] says holds here, with 80 random bits. The ULID specification lets minting fail when
/// the random bits overflow; this takes the next millisecond.
///
/// ```
/// use claimstore_hash::UlidMinter;
///
/// let mut minter = UlidMinter::new();
/// let first = minter.mint(1_700_000_000_000, [0x5a; 10])?;
/// let second = minter.mint(1_699_999_999_999, [0x01; 10])?;
/// assert!(first < second);
/// assert_eq!(first.to_ulid_string(), "01HF7YAT00B9D5MPJTB9D5MPJT");
/// # Ok::<(), claimstore_hash::KeyError>(())
/// ```
#[derive(Debug, Default)]
pub struct UlidMinter {
    sequence: Monotonic<80>,
}

impl UlidMinter {
    /// A minter that has minted nothing yet.
    pub fn new() -> UlidMinter {
        UlidMinter::default()
    }

    /// The next id.
    ///
    /// # Errors
    ///
    /// [`KeyError::TimeTooLarge`] at 2^48 ms; the minter is as before.
    pub fn mint(&mut self, time_ms: u64, random: [u8; 10]) -> Result<TimeOrderedId, KeyError> {
        let (time_ms, random) = self.sequence.next(time_ms, random)?;
        Ok(TimeOrderedId::from_bits(u128::from(time_ms) << 80 | random))
    }
}

const MAX_TIME_MS: u64 = (1 << 48) - 1;

/// Pairs of a time and `BITS` random bits, each pair above the one before.
#[derive(Default)]
struct Monotonic<const BITS: u32> {
    last: Option<(u64, u128)>,
}

impl<const BITS: u32> Monotonic<BITS> {
    const MAX_RANDOM: u128 = (1 << BITS) - 1;

    fn next(&mut self, time_ms: u64, random: [u8; 10]) -> Result<(u64, u128), KeyError> {
        let random = random.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte));
        let fresh = random & Self::MAX_RANDOM;
        let next = match self.last {
            Some((last_time_ms, last_random)) if time_ms <= last_time_ms => {
                let stepped = last_random + 1 + (random & 0xffff_ffff);
                if stepped <= Self::MAX_RANDOM { (last_time_ms, stepped) } else { (last_time_ms + 1, fresh) }
            }
            _ => (time_ms, fresh),
        };
        if next.0 > MAX_TIME_MS {
            return Err(KeyError::TimeTooLarge);
        }
        self.last = Some(next);
        Ok(next)
    }
}

/// The last id is a key, and the next one can be guessed from it: neither is shown.
impl<const BITS: u32> std::fmt::Debug for Monotonic<BITS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monotonic").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{parse_ulid, parse_uuid_v7};

    #[test]
    fn the_bits_of_a_uuid_are_where_they_belong() {
        let check = |time_ms, random, expected: &str| {
            let id = UuidV7Minter::new().mint(time_ms, random).unwrap();
            assert_eq!(id.to_uuid_string(), expected);
        };
        check(0, [0; 10], "00000000-0000-7000-8000-000000000000");
        check(0, [0xff; 10], "00000000-0000-7fff-bfff-ffffffffffff");
        check(MAX_TIME_MS, [0; 10], "ffffffff-ffff-7000-8000-000000000000");
        check(
            1_645_557_742_000,
            [0x33, 0x0d, 0x8c, 0x4d, 0, 0, 0, 0, 0, 1],
            "017f22e2-79b0-7c36-8c4d-000000000001",
        );
    }

    #[test]
    fn the_bits_of_a_ulid_are_where_they_belong() {
        let check = |time_ms, random, expected: &str| {
            let id = UlidMinter::new().mint(time_ms, random).unwrap();
            assert_eq!(id.to_ulid_string(), expected);
        };
        check(0, [0; 10], "00000000000000000000000000");
        check(0, [0xff; 10], "0000000000ZZZZZZZZZZZZZZZZ");
        check(MAX_TIME_MS, [0; 10], "7ZZZZZZZZZ0000000000000000");
    }

    #[test]
    fn when_the_random_bits_overflow_the_time_moves_on() {
        let mut v7 = UuidV7Minter::new();
        let mut ulids = UlidMinter::new();
        let all_but_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];
        // Random bits of 0 make a step of one: first to the last value there is, then beyond it.
        for (random, expected_ms) in [(all_but_one, 5), ([0; 10], 5), ([0; 10], 6), ([0; 10], 6)] {
            assert_eq!(v7.mint(5, random).unwrap().time_ms(), expected_ms);
            assert_eq!(ulids.mint(5, random).unwrap().time_ms(), expected_ms);
        }
    }

    #[test]
    fn a_uuid_has_74_random_bits_and_its_version_is_not_counted_into() {
        let mut minter = UuidV7Minter::new();
        let all_74 = [0x03, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let last_of_5 = minter.mint(5, all_74).unwrap();
        assert_eq!(last_of_5.to_uuid_string(), "00000000-0005-7fff-bfff-ffffffffffff");
        assert_eq!(minter.mint(5, [0; 10]).unwrap().to_uuid_string(), "00000000-0006-7000-8000-000000000000");
    }

    #[test]
    fn time_ends_at_48_bits_and_a_refusal_changes_nothing() {
        let mut minter = UlidMinter::new();
        assert_eq!(minter.mint(MAX_TIME_MS + 1, [0; 10]), Err(KeyError::TimeTooLarge));
        assert_eq!(minter.mint(u64::MAX, [0; 10]), Err(KeyError::TimeTooLarge));
        minter.mint(9, [0xff; 10]).unwrap();
        assert_eq!(minter.mint(MAX_TIME_MS + 1, [0; 10]), Err(KeyError::TimeTooLarge));
        assert_eq!(minter.mint(10, [3; 10]).unwrap().time_ms(), 10);

        minter.mint(MAX_TIME_MS, [0xff; 10]).unwrap();
        assert_eq!(minter.mint(MAX_TIME_MS, [0; 10]), Err(KeyError::TimeTooLarge));
    }

    #[test]
    fn the_debug_text_keeps_the_last_id_to_itself() {
        let mut minter = UlidMinter::new();
        minter.mint(1, [1; 10]).unwrap();
        assert_eq!(format!("{minter:?}"), "UlidMinter { sequence: Monotonic { .. } }");
    }

    /// Clocks that creep, stand still and jump, with random bits that are often all ones.
    fn calls() -> impl Strategy<Value = Vec<(u64, [u8; 10])>> {
        let time_ms = prop_oneof![100..105_u64, any::<u32>().prop_map(u64::from)];
        let random = prop_oneof![any::<[u8; 10]>(), Just([0xff; 10]), Just([0; 10])];
        prop::collection::vec((time_ms, random), 1..60)
    }

    proptest! {
        #[test]
        fn each_id_is_above_the_one_before_and_reads_back(calls in calls()) {
            let (mut v7, mut ulids) = (UuidV7Minter::new(), UlidMinter::new());
            let mut last = None;
            for (time_ms, random) in calls {
                let uuid = v7.mint(time_ms, random).unwrap();
                let ulid = ulids.mint(time_ms, random).unwrap();
                prop_assert_eq!(parse_uuid_v7(uuid.to_uuid_string().as_bytes()), Ok(uuid));
                prop_assert_eq!(parse_ulid(ulid.to_ulid_string().as_bytes()), Ok(ulid));
                prop_assert!(uuid.time_ms() >= time_ms && ulid.time_ms() >= time_ms);
                prop_assert!(last.is_none_or(|(below_uuid, below_ulid)| below_uuid < uuid && below_ulid < ulid));
                last = Some((uuid, ulid));
            }
        }

        #[test]
        fn while_the_clock_rises_ids_have_its_time(steps in prop::collection::vec((1..9_u64, any::<[u8; 10]>()), 1..60)) {
            let mut minter = UuidV7Minter::new();
            let mut time_ms = 0;
            for (step, random) in steps {
                time_ms += step;
                prop_assert_eq!(minter.mint(time_ms, random).unwrap().time_ms(), time_ms);
            }
        }
    }
}
