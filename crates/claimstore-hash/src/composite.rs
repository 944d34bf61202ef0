//! Keys made of several parts, readable, and never two lists of parts under one key.

use std::fmt;

use crate::KeyError;

/// The longest key a claim store takes, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

pub(crate) const SEPARATOR: u8 = b'|';
const ESCAPE: u8 = b'\\';

/// Joins `parts` into one key.
///
/// The parts stand as they are with `|` between them; a `|` or `\` inside a part gets a `\` before it. So two
/// lists of parts give the same key only if they are the same list: `("a", "bc")` is not `("ab", "c")`, and `("a")`
/// is not `("a", "")`. Parts are any bytes: case, leading zeros and white space stay as they are.
/// [`composite_parts`] takes a key apart again.
///
/// One part alone gives itself, escaped; it is best that a namespace holds either composite keys or plain ones.
///
/// # Errors
///
/// [`KeyError::Empty`] for no parts or one empty part, [`KeyError::TooLong`] above [`MAX_KEY_BYTES`].
///
/// ```
/// use claimstore_hash::composite;
///
/// assert_eq!(composite(&["INV-2026-003", "LINE-007"])?, b"INV-2026-003|LINE-007");
/// assert_eq!(composite(&["a|b", "c"])?, br"a\|b|c");
/// # Ok::<(), claimstore_hash::KeyError>(())
/// ```
pub fn composite<P: AsRef<[u8]>>(parts: &[P]) -> Result<Vec<u8>, KeyError> {
    parts.iter().fold(CompositeKey::new(), CompositeKey::part).build()
}

/// The parts of a key that [`composite`] or [`CompositeKey`] made.
///
/// Every key that is accepted here is what [`composite`] makes of the parts returned.
///
/// # Errors
///
/// [`KeyError::Empty`], [`KeyError::TooLong`], and [`KeyError::NotComposite`] for a `\` that stands neither before
/// `|` nor before `\`.
///
/// ```
/// use claimstore_hash::composite_parts;
///
/// assert_eq!(composite_parts(br"a\|b||c")?, [&b"a|b"[..], b"", b"c"]);
/// # Ok::<(), claimstore_hash::KeyError>(())
/// ```
pub fn composite_parts(key: &[u8]) -> Result<Vec<Vec<u8>>, KeyError> {
    split(key, SEPARATOR)
}

/// [`composite_parts`], for another separator.
pub(crate) fn split(key: &[u8], separator: u8) -> Result<Vec<Vec<u8>>, KeyError> {
    check_length(key)?;
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = key.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            byte if byte == separator => parts.push(std::mem::take(&mut part)),
            ESCAPE => match bytes.next() {
                Some((_, escaped)) if escaped == separator || escaped == ESCAPE => part.push(escaped),
                _ => return Err(KeyError::NotComposite { at }),
            },
            plain => part.push(plain),
        }
    }
    parts.push(part);
    Ok(parts)
}

/// Builds a composite key part by part; [`composite`] is the short form and tells how the key looks.
///
/// Fields that identify an event are seldom empty on purpose. A mapping that lost one would put many events under
/// one key, and all but the first would count as done; [`refuse_empty`](Self::refuse_empty) makes that an error.
///
/// ```
/// use claimstore_hash::{CompositeKey, KeyError};
///
/// let order = |number: &str| {
///     CompositeKey::new().refuse_empty().part("erp-prod").part("order").part(number).build()
/// };
/// assert_eq!(order("0000471100")?, b"erp-prod|order|0000471100");
/// assert_eq!(order(""), Err(KeyError::EmptyPart { index: 2 }));
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
#[must_use = "`build` gives the key"]
pub struct CompositeKey {
    separator: u8,
    /// The parts so far, escaped, with separators between them.
    key: Vec<u8>,
    parts: usize,
    first_empty: Option<usize>,
    refuse_empty: bool,
}

impl Default for CompositeKey {
    fn default() -> CompositeKey {
        CompositeKey::new()
    }
}

impl CompositeKey {
    /// A key without parts.
    pub fn new() -> CompositeKey {
        CompositeKey::separated_by(SEPARATOR)
    }

    pub(crate) fn separated_by(separator: u8) -> CompositeKey {
        CompositeKey { separator, key: Vec::new(), parts: 0, first_empty: None, refuse_empty: false }
    }

    /// Lets [`build`](Self::build) refuse a key with an empty part, added before or after this call.
    pub fn refuse_empty(mut self) -> CompositeKey {
        self.refuse_empty = true;
        self
    }

    /// Adds a part.
    pub fn part(mut self, part: impl AsRef<[u8]>) -> CompositeKey {
        let part = part.as_ref();
        if self.parts > 0 {
            self.key.push(self.separator);
        }
        if part.is_empty() {
            self.first_empty.get_or_insert(self.parts);
        }
        for &byte in part {
            if byte == self.separator || byte == ESCAPE {
                self.key.push(ESCAPE);
            }
            self.key.push(byte);
        }
        self.parts += 1;
        self
    }

    /// The key.
    ///
    /// # Errors
    ///
    /// [`KeyError::EmptyPart`] if asked to refuse those, [`KeyError::Empty`] for no parts or one empty part,
    /// [`KeyError::TooLong`] above [`MAX_KEY_BYTES`].
    pub fn build(self) -> Result<Vec<u8>, KeyError> {
        if let (true, Some(index)) = (self.refuse_empty, self.first_empty) {
            return Err(KeyError::EmptyPart { index });
        }
        check_length(&self.key)?;
        Ok(self.key)
    }
}

impl fmt::Debug for CompositeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompositeKey").field("parts", &self.parts).finish_non_exhaustive()
    }
}

pub(crate) fn check_length(key: &[u8]) -> Result<(), KeyError> {
    match key.len() {
        0 => Err(KeyError::Empty),
        1..=MAX_KEY_BYTES => Ok(()),
        bytes => Err(KeyError::TooLong { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::digest_key;

    #[test]
    fn how_keys_look() {
        let check = |parts: &[&[u8]], expected: Result<&[u8], KeyError>| {
            assert_eq!(composite(parts), expected.map(<[u8]>::to_vec), "{parts:?}");
            if let Ok(key) = expected {
                assert_eq!(composite_parts(key).unwrap(), parts);
            }
        };
        check(&[], Err(KeyError::Empty));
        check(&[b""], Err(KeyError::Empty));
        check(&[b"a"], Ok(b"a"));
        check(&[b"a", b""], Ok(b"a|"));
        check(&[b"", b"a"], Ok(b"|a"));
        check(&[b"", b""], Ok(b"|"));
        check(&[b"a", b"bc"], Ok(b"a|bc"));
        check(&[b"ab", b"c"], Ok(b"ab|c"));
        check(&[b"a|b", b"c"], Ok(br"a\|b|c"));
        check(&[b"a\\", b"b"], Ok(br"a\\|b"));
        check(&[b"a\\|b"], Ok(br"a\\\|b"));
        check(&[b"|"], Ok(br"\|"));
        check(&["Zürich".as_bytes(), b" 0042 "], Ok("Zürich| 0042 ".as_bytes()));
        check(&[&[0x00, 0xff], &[0x7f]], Ok(&[0x00, 0xff, b'|', 0x7f]));
    }

    #[test]
    fn a_stray_backslash_is_no_composite() {
        let check =
            |key: &[u8], at| assert_eq!(composite_parts(key), Err(KeyError::NotComposite { at }), "{key:?}");
        check(br"\", 0);
        check(br"a\", 1);
        check(br"a\b", 1);
        check(br"\\\", 2);
        check(br"\|\a|", 2);
    }

    #[test]
    fn the_limit_counts_the_built_key() {
        let check = |parts: &[&str], expected: Result<usize, usize>| {
            let expected = expected.map_err(|bytes| KeyError::TooLong { bytes });
            assert_eq!(composite(parts).map(|key| key.len()), expected);
        };
        let long = "x".repeat(MAX_KEY_BYTES + 1);
        let bars = "|".repeat(MAX_KEY_BYTES / 2 + 1);
        check(&[&long[1..]], Ok(MAX_KEY_BYTES));
        check(&[&long], Err(MAX_KEY_BYTES + 1));
        check(&[&long[2..], ""], Ok(MAX_KEY_BYTES));
        check(&[&long[1..], ""], Err(MAX_KEY_BYTES + 1));
        check(&[&bars[1..]], Ok(MAX_KEY_BYTES));
        check(&[&bars], Err(MAX_KEY_BYTES + 2));
        assert_eq!(composite_parts(long.as_bytes()), Err(KeyError::TooLong { bytes: MAX_KEY_BYTES + 1 }));
        assert_eq!(composite_parts(b""), Err(KeyError::Empty));
    }

    #[test]
    fn refusing_empty_parts_names_the_first() {
        let check = |parts: &[&str], expected: Result<&str, KeyError>| {
            let before = parts.iter().fold(CompositeKey::new().refuse_empty(), CompositeKey::part).build();
            let after = parts.iter().fold(CompositeKey::new(), CompositeKey::part).refuse_empty().build();
            assert_eq!(before, expected.map(|key| key.as_bytes().to_vec()), "{parts:?}");
            assert_eq!(after, before, "{parts:?}");
        };
        check(&[], Err(KeyError::Empty));
        check(&[""], Err(KeyError::EmptyPart { index: 0 }));
        check(&["a", "", "b", ""], Err(KeyError::EmptyPart { index: 1 }));
        check(&["a", " "], Ok("a| "));
    }

    #[test]
    fn no_two_small_lists_share_a_key() {
        let mut strings = vec![String::new()];
        for length in 0..2 {
            let longer: Vec<String> = strings
                .iter()
                .filter(|string| string.len() == length)
                .flat_map(|string| ['a', '|', '\\'].map(|last| format!("{string}{last}")))
                .collect();
            strings.extend(longer);
        }
        let mut lists: Vec<Vec<&str>> = vec![vec![]];
        let mut seen = HashMap::new();
        for _ in 0..3 {
            lists = lists
                .iter()
                .flat_map(|list| strings.iter().map(|last| [list.as_slice(), &[last.as_str()]].concat()))
                .collect();
            for list in &lists {
                if let Ok(key) = composite(list) {
                    assert_eq!(seen.insert(key, list.clone()), None, "{list:?}");
                }
            }
        }
        // 13 strings; all lists of one to three of them but the single empty one.
        assert_eq!(seen.len(), 13 + 13 * 13 + 13 * 13 * 13 - 1);
    }

    /// Pairs of lists of parts that are nearly the same: the bytes of one, cut at other places, now and then with a
    /// byte changed. `CLAIMSTORE_PAIRS` says how many.
    #[test]
    fn no_two_lists_of_arbitrary_bytes_share_a_key() {
        let pairs = std::env::var("CLAIMSTORE_PAIRS").map_or(20_000, |pairs| pairs.parse().unwrap());
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut same = 0;
        for _ in 0..pairs {
            let alphabet =
                [&[SEPARATOR, ESCAPE][..], &[SEPARATOR, ESCAPE, b'a', 0], &[b':', 0xff, ESCAPE, SEPARATOR]];
            let alphabet = alphabet[draw(3) as usize];
            let bytes: Vec<u8> = (0..draw(12))
                .map(|_| {
                    if draw(8) == 0 {
                        draw(256) as u8
                    } else {
                        alphabet[draw(alphabet.len() as u64) as usize]
                    }
                })
                .collect();
            let mut lists = [(); 2].map(|()| {
                let mut rest = bytes.clone();
                let mut list: Vec<Vec<u8>> = Vec::new();
                for _ in 0..draw(4) {
                    let behind = rest.split_off(draw(rest.len() as u64 + 1) as usize);
                    list.push(std::mem::replace(&mut rest, behind));
                }
                list.push(rest);
                list
            });
            let part = draw(lists[0].len() as u64) as usize;
            if let Some(byte) = lists[0][part].first_mut().filter(|_| draw(3) == 0) {
                *byte = draw(256) as u8;
            }
            let [one, other] = lists;
            same += u64::from(one == other);
            assert_eq!(composite(&one) == composite(&other), one == other, "{one:?} {other:?}");
            assert_eq!(digest_key(&one) == digest_key(&other), one == other, "{one:?} {other:?}");
            let colons = [&one, &other]
                .map(|list| list.iter().fold(CompositeKey::separated_by(b':'), CompositeKey::part).build());
            assert_eq!(colons[0] == colons[1], one == other, "{one:?} {other:?}");
        }
        println!("composite keys: {pairs} pairs, {same} of them the same list");
        assert!(same < pairs);
    }

    #[test]
    fn the_debug_text_keeps_the_parts_to_itself() {
        let shown = format!("{:?}", CompositeKey::new().part("secret").part("other"));
        assert_eq!(shown, "CompositeKey { parts: 2, .. }");
    }

    /// Parts with many separators and escapes in them.
    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![Just(SEPARATOR), Just(ESCAPE), any::<u8>()];
        prop::collection::vec(prop::collection::vec(byte, 0..12), 1..6)
    }

    proptest! {
        #[test]
        fn parts_come_back(parts in parts()) {
            prop_assume!(parts != [b""]);
            prop_assert_eq!(composite_parts(&composite(&parts).unwrap()).unwrap(), parts);
        }

        #[test]
        fn other_parts_another_key(one in parts(), other in parts()) {
            prop_assert_eq!(composite(&one) == composite(&other), one == other);
        }

        #[test]
        fn what_is_taken_apart_is_put_together_again(key in r"[a|\\]{0,12}|.{0,40}") {
            if let Ok(parts) = composite_parts(key.as_bytes()) {
                prop_assert_eq!(composite(&parts).unwrap(), key.as_bytes());
            }
        }

        #[test]
        fn noise_is_an_answer_or_an_error(key in prop::collection::vec(any::<u8>(), 0..1100)) {
            if let Ok(parts) = composite_parts(&key) {
                prop_assert_eq!(composite(&parts).unwrap(), key);
            }
        }
    }
}
