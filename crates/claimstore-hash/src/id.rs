//! Ids that carry the time they were made: UUIDv7 and ULID.

use std::fmt;

use crate::KeyError;

/// The places of the hyphens in a UUID of 36 characters.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Crockford's base 32, for writing; [`crockford_digit`] reads it.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A UUIDv7 or ULID without its spelling: 128 bits, of which the first 48 are its time.
///
/// Ids order as their bytes do: by time first. A store keys by [`to_bytes`](Self::to_bytes), so that all spellings
/// of an id are one key. `Debug` does not show the id.
///
/// ```
/// use claimstore_hash::parse_uuid_v7;
///
/// let id = parse_uuid_v7(b"019A6B5C-7E00-7ABC-8123-456789ABCDEF")?;
/// assert_eq!(id, parse_uuid_v7(b"019a6b5c7e007abc8123456789abcdef")?);
/// assert_eq!(id, parse_uuid_v7(&id.to_bytes())?);
/// assert_eq!(id.to_uuid_string(), "019a6b5c-7e00-7abc-8123-456789abcdef");
/// # Ok::<(), claimstore_hash::KeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOrderedId {
    bits: u128,
}

impl TimeOrderedId {
    pub(crate) const fn from_bits(bits: u128) -> TimeOrderedId {
        TimeOrderedId { bits }
    }

    /// The creation time according to the id: milliseconds since 1970, below 2^48. The creator of the id chose it.
    pub fn time_ms(&self) -> u64 {
        (self.bits >> 80) as u64
    }

    /// The id's 16 bytes, most significant first: what a store keys by.
    pub fn to_bytes(self) -> [u8; 16] {
        self.bits.to_be_bytes()
    }

    /// The usual spelling of a UUID: 36 characters, hyphens, small letters.
    pub fn to_uuid_string(&self) -> String {
        let mut text = format!("{:032x}", self.bits);
        for at in HYPHENS {
            text.insert(at, '-');
        }
        text
    }

    /// The usual spelling of a ULID: 26 characters, capital letters.
    pub fn to_ulid_string(&self) -> String {
        let digits = (0..26).rev().map(|place| (self.bits >> (5 * place)) & 0x1f);
        digits.filter_map(|digit| ALPHABET.get(digit as usize)).copied().map(char::from).collect()
    }
}

impl fmt::Debug for TimeOrderedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeOrderedId").finish_non_exhaustive()
    }
}

/// Reads a UUID of version 7 (RFC 9562, section 5.7).
///
/// Spellings of one id, told apart by length:
///
/// - 36 characters: `019a6b5c-7e00-7abc-8123-456789abcdef`, letters large, small or mixed;
/// - 32 characters: the same without hyphens;
/// - 16 bytes: the id itself. Text of 16 ASCII characters is never taken for it: the variant's byte is not ASCII.
///
/// Braces, `urn:uuid:` and white space around it are refused, like every version but 7, the nil UUID and the max
/// UUID.
///
/// # Errors
///
/// [`KeyError::IdLength`], [`KeyError::IdCharacter`], [`KeyError::NotRfc9562`], [`KeyError::NotVersion7`].
pub fn parse_uuid_v7(key: &[u8]) -> Result<TimeOrderedId, KeyError> {
    let bits = match key.len() {
        16 => from_raw(key)?,
        32 => from_hex(key, &[])?,
        36 => from_hex(key, &HYPHENS)?,
        bytes => return Err(KeyError::IdLength { bytes }),
    };
    if (bits >> 62) & 0b11 != 0b10 {
        return Err(KeyError::NotRfc9562);
    }
    if (bits >> 76) & 0xf != 7 {
        return Err(KeyError::NotVersion7);
    }
    Ok(TimeOrderedId { bits })
}

/// Reads a ULID (<https://github.com/ulid/spec>).
///
/// Spellings of one id, told apart by length:
///
/// - 26 characters of Crockford's base 32, letters large, small or mixed; `I` and `L` are read as `1`, `O` as `0`.
///   `U` is refused, and so is a first character above `7`: it would not fit in 128 bits, and dropping bits would
///   make two ids one;
/// - 16 bytes: the id itself, whatever they are. A text of 16 ASCII characters is read as an id made after the year
///   3000, which a store refuses as a key from the future.
///
/// # Errors
///
/// [`KeyError::IdLength`], [`KeyError::IdCharacter`], [`KeyError::IdOverflow`].
pub fn parse_ulid(key: &[u8]) -> Result<TimeOrderedId, KeyError> {
    let bits = match key.len() {
        16 => from_raw(key)?,
        26 => from_crockford(key)?,
        bytes => return Err(KeyError::IdLength { bytes }),
    };
    Ok(TimeOrderedId { bits })
}

/// The time of a UUIDv7 in any spelling that [`parse_uuid_v7`] takes, in milliseconds since 1970.
///
/// # Errors
///
/// Those of [`parse_uuid_v7`].
pub fn uuid_v7_time_ms(key: &[u8]) -> Result<u64, KeyError> {
    parse_uuid_v7(key).map(|id| id.time_ms())
}

/// The time of a ULID in any spelling that [`parse_ulid`] takes, in milliseconds since 1970.
///
/// # Errors
///
/// Those of [`parse_ulid`].
pub fn ulid_time_ms(key: &[u8]) -> Result<u64, KeyError> {
    parse_ulid(key).map(|id| id.time_ms())
}

fn from_raw(key: &[u8]) -> Result<u128, KeyError> {
    let bytes = key.try_into().map_err(|_| KeyError::IdLength { bytes: key.len() })?;
    Ok(u128::from_be_bytes(bytes))
}

/// Reads 32 hex digits with a hyphen at each of the places in `hyphens` and nowhere else.
fn from_hex(key: &[u8], hyphens: &[usize]) -> Result<u128, KeyError> {
    let mut bits = 0;
    for (at, &character) in key.iter().enumerate() {
        if hyphens.contains(&at) {
            if character != b'-' {
                return Err(KeyError::IdCharacter { at });
            }
            continue;
        }
        let digit = char::from(character).to_digit(16).ok_or(KeyError::IdCharacter { at })?;
        bits = bits << 4 | u128::from(digit);
    }
    Ok(bits)
}

/// Reads 26 characters of five bits each: 130 bits, of which the first two must be 0.
fn from_crockford(key: &[u8]) -> Result<u128, KeyError> {
    let mut bits = 0;
    for (at, &character) in key.iter().enumerate() {
        let digit = crockford_digit(character).ok_or(KeyError::IdCharacter { at })?;
        if at == 0 && digit > 7 {
            return Err(KeyError::IdOverflow);
        }
        bits = bits << 5 | u128::from(digit);
    }
    Ok(bits)
}

/// The value of a character in Crockford's base 32; the alphabet leaves out I, L, O and U.
fn crockford_digit(character: u8) -> Option<u8> {
    let character = character.to_ascii_uppercase();
    let (first, value) = match character {
        b'0'..=b'9' => (b'0', 0),
        b'A'..=b'H' => (b'A', 10),
        b'J'..=b'K' => (b'J', 18),
        b'M'..=b'N' => (b'M', 20),
        b'P'..=b'T' => (b'P', 22),
        b'V'..=b'Z' => (b'V', 27),
        b'O' => return Some(0),
        b'I' | b'L' => return Some(1),
        _ => return None,
    };
    Some(character - first + value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_TIME_MS: u64 = (1 << 48) - 1;

    #[test]
    fn uuids_with_their_time() {
        let check = |text: &str, expected: Result<u64, KeyError>| {
            assert_eq!(uuid_v7_time_ms(text.as_bytes()), expected, "{text}");
        };
        // The example of RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
        check("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", Ok(1_645_557_742_000));
        check("017f22e279b07cc398c4dc0c0c07398f", Ok(1_645_557_742_000));
        check("017f22E2-79b0-7cC3-98c4-DC0c0c07398F", Ok(1_645_557_742_000));
        check("00000000-0000-7000-8000-000000000000", Ok(0));
        check("ffffffff-ffff-7fff-bfff-ffffffffffff", Ok(MAX_TIME_MS));
        // Nil, max, version 4, version 6, and the variants beside ours.
        check("00000000-0000-0000-0000-000000000000", Err(KeyError::NotRfc9562));
        check("ffffffff-ffff-ffff-ffff-ffffffffffff", Err(KeyError::NotRfc9562));
        check("919108f7-52d1-4320-9bac-f847db4148a8", Err(KeyError::NotVersion7));
        check("1EC9414C-232A-6B00-B3C8-9F6BDECED846", Err(KeyError::NotVersion7));
        check("017f22e2-79b0-7cc3-78c4-dc0c0c07398f", Err(KeyError::NotRfc9562));
        check("017f22e2-79b0-7cc3-c8c4-dc0c0c07398f", Err(KeyError::NotRfc9562));
        check("017f22e2-79b0-8cc3-98c4-dc0c0c07398f", Err(KeyError::NotVersion7));
        check("017f22e2-79b0-fcc3-98c4-dc0c0c07398f", Err(KeyError::NotVersion7));
        // Not a spelling.
        check("", Err(KeyError::IdLength { bytes: 0 }));
        check("017f22e279b07cc398c4dc0c0c07398", Err(KeyError::IdLength { bytes: 31 }));
        check("{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}", Err(KeyError::IdLength { bytes: 38 }));
        check("urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f", Err(KeyError::IdLength { bytes: 45 }));
        check(" 17f22e2-79b0-7cc3-98c4-dc0c0c07398f", Err(KeyError::IdCharacter { at: 0 }));
        check("017f22e2079b0-7cc3-98c4-dc0c0c07398f", Err(KeyError::IdCharacter { at: 8 }));
        check("017f22e2-79b0-7cc3-98c4-dc0c0c07398g", Err(KeyError::IdCharacter { at: 35 }));
        check("017f22e2-79b07-cc3-98c4-dc0c0c07398f", Err(KeyError::IdCharacter { at: 13 }));
        check("-17f22e279b07cc398c4dc0c0c07398f", Err(KeyError::IdCharacter { at: 0 }));
        check("+17f22e279b07cc398c4dc0c0c07398f", Err(KeyError::IdCharacter { at: 0 }));
        check("order-4711-paid!", Err(KeyError::NotRfc9562));
    }

    #[test]
    fn ulids_with_their_time() {
        let check = |text: &str, expected: Result<u64, KeyError>| {
            assert_eq!(ulid_time_ms(text.as_bytes()), expected, "{text}");
        };
        // The example of the ULID specification's text.
        check("01ARZ3NDEKTSV4RRFFQ69G5FAV", Ok(1_469_922_850_259));
        check("01arz3ndektsv4rrffq69g5fav", Ok(1_469_922_850_259));
        check("O1ARZ3NDEKTSV4RRFFQ69G5FAV", Ok(1_469_922_850_259));
        check("0iarz3ndektsv4rrffq69g5fav", Ok(1_469_922_850_259));
        check("0LARZ3NDEKTSV4RRFFQ69G5FAV", Ok(1_469_922_850_259));
        check("00000000000000000000000000", Ok(0));
        check("0000000001ZZZZZZZZZZZZZZZZ", Ok(1));
        check("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", Ok(MAX_TIME_MS));
        check("7zzzzzzzzz0000000000000000", Ok(MAX_TIME_MS));
        // One more than fits, and the most that 26 characters can say.
        check("80000000000000000000000000", Err(KeyError::IdOverflow));
        check("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", Err(KeyError::IdOverflow));
        check("ZZZZZZZZZZZZZZZZZZZZZZZZZZ", Err(KeyError::IdOverflow));
        // Not a spelling.
        check("", Err(KeyError::IdLength { bytes: 0 }));
        check("01ARZ3NDEKTSV4RRFFQ69G5FA", Err(KeyError::IdLength { bytes: 25 }));
        check("01ARZ3NDEKTSV4RRFFQ69G5FAVV", Err(KeyError::IdLength { bytes: 27 }));
        check("01ARZ3NDEKTSV4RRFFQ69G5FAU", Err(KeyError::IdCharacter { at: 25 }));
        check("u1ARZ3NDEKTSV4RRFFQ69G5FAV", Err(KeyError::IdCharacter { at: 0 }));
        check("01ARZ3NDE-TSV4RRFFQ69G5FAV", Err(KeyError::IdCharacter { at: 9 }));
        check("01ARZ3NDEKTSV4RRFFQ69G5FA ", Err(KeyError::IdCharacter { at: 25 }));
        check("01ARZ3NDEKTSV4RRFFQ69G5Fé", Err(KeyError::IdCharacter { at: 24 }));
    }

    #[test]
    fn the_characters_of_base_32() {
        let spelled =
            "0Oo 1IiLl 2 3 4 5 6 7 8 9 Aa Bb Cc Dd Ee Ff Gg Hh Jj Kk Mm Nn Pp Qq Rr Ss Tt Vv Ww Xx Yy Zz";
        let mut accepted = 0;
        for (value, characters) in spelled.split(' ').enumerate() {
            for &character in characters.as_bytes() {
                assert_eq!(crockford_digit(character), u8::try_from(value).ok(), "{}", char::from(character));
                accepted += 1;
            }
            assert_eq!(ALPHABET[value], characters.as_bytes()[0]);
        }
        assert_eq!((0..=255).filter(|&character| crockford_digit(character).is_some()).count(), accepted);
    }

    #[test]
    fn ascii_text_of_16_bytes_is_no_uuid_and_a_ulid_of_the_far_future() {
        for byte in 0x20..0x7f {
            assert_eq!(parse_uuid_v7(&[byte; 16]), Err(KeyError::NotRfc9562));
            // 3000-01-01 UTC.
            assert!(ulid_time_ms(&[byte; 16]).unwrap() > 32_503_680_000_000);
        }
    }

    #[test]
    fn the_debug_text_keeps_the_id_to_itself() {
        let id = parse_ulid(b"01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        assert_eq!(format!("{id:?}"), "TimeOrderedId { .. }");
    }

    /// Any UUIDv7, as its bits.
    fn uuid_v7() -> impl Strategy<Value = u128> {
        any::<u128>().prop_map(|bits| bits & !(0xf << 76 | 0b11 << 62) | 7 << 76 | 0b10 << 62)
    }

    /// `text` with the letters at `large` in capitals and the others small.
    fn with_case(text: &str, large: u64) -> String {
        let capital = |at: usize| large >> (at % 64) & 1 == 1;
        let fold = |(at, c): (usize, char)| {
            if capital(at) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        };
        text.chars().enumerate().map(fold).collect()
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_uuid_is_one_id(bits in uuid_v7(), large: u64) {
            let id = TimeOrderedId::from_bits(bits);
            let text = with_case(&id.to_uuid_string(), large);
            prop_assert_eq!(parse_uuid_v7(text.as_bytes()), Ok(id));
            prop_assert_eq!(parse_uuid_v7(text.replace('-', "").as_bytes()), Ok(id));
            prop_assert_eq!(parse_uuid_v7(&id.to_bytes()), Ok(id));
            prop_assert_eq!(id.to_bytes(), bits.to_be_bytes());
        }

        #[test]
        fn every_spelling_of_a_ulid_is_one_id(bits: u128, large: u64) {
            let id = TimeOrderedId::from_bits(bits);
            let text = with_case(&id.to_ulid_string(), large);
            let look_alike = text.replace('0', "o").replace('1', if large & 1 == 0 { "l" } else { "I" });
            prop_assert_eq!(parse_ulid(text.as_bytes()), Ok(id));
            prop_assert_eq!(parse_ulid(look_alike.as_bytes()), Ok(id));
            prop_assert_eq!(parse_ulid(&id.to_bytes()), Ok(id));
        }

        #[test]
        fn ids_order_as_bytes_and_as_text(one: u128, other: u128) {
            let (one, other) = (TimeOrderedId::from_bits(one), TimeOrderedId::from_bits(other));
            prop_assert_eq!(one.cmp(&other), one.to_bytes().cmp(&other.to_bytes()));
            prop_assert_eq!(one.cmp(&other), one.to_uuid_string().cmp(&other.to_uuid_string()));
            prop_assert_eq!(one.cmp(&other), one.to_ulid_string().cmp(&other.to_ulid_string()));
            prop_assert_eq!(one.time_ms() < other.time_ms(), one < other && one.time_ms() != other.time_ms());
        }

        /// Whatever is accepted is a spelling of the id it is read as: nothing is dropped.
        #[test]
        fn noise_is_refused_or_spells_its_id(
            noise in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..48),
                prop::collection::vec(any::<u8>(), 16),
                "[0-9a-zA-Z]{26}".prop_map(String::into_bytes),
                "[0-9a-fA-F-]{36}".prop_map(String::into_bytes),
                "[0-9a-f]{12}7[0-9a-f]{3}[0-9a-f]{16}".prop_map(String::into_bytes),
            ],
        ) {
            let plain = String::from_utf8_lossy(&noise).to_lowercase();
            if let Ok(id) = parse_uuid_v7(&noise) {
                let is_text = plain.replace('-', "") == id.to_uuid_string().replace('-', "");
                prop_assert!(is_text || noise == id.to_bytes());
            }
            if let Ok(id) = parse_ulid(&noise) {
                let folded = plain.replace(['i', 'l'], "1").replace('o', "0");
                prop_assert!(folded == id.to_ulid_string().to_lowercase() || noise == id.to_bytes());
            }
        }
    }
}
