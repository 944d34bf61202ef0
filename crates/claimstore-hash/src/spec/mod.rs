//! The key rule of a namespace, applied to every key before it is used.

mod bytes;
mod presets;

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::composite::{SEPARATOR, check_length, split};
use crate::{CompositeKey, KeyError};

/// How keys are normalised and what is refused.
///
/// A key is text in one or more parts. Each part is trimmed, composed and folded as the rule says, then checked;
/// parts are joined as [`composite`](crate::composite) joins them, so different parts never give one key. Numerals
/// are text like any other: `000123` is not `123`, `1.0` is not `1`.
///
/// ```
/// use claimstore_hash::{Case, KeyError, KeySpec};
///
/// let spec = KeySpec::new().trim(true).case(Case::Upper).parts(2, 2);
/// assert_eq!(spec.key(["customer", " ord-001 "])?, b"CUSTOMER|ORD-001");
/// assert_eq!(spec.key([Some("customer"), None]), Err(KeyError::NullPart { index: 1 }));
/// assert_eq!(spec.normalise(b"Customer|Ord-001")?, b"CUSTOMER|ORD-001");
/// # Ok::<(), KeyError>(())
/// ```
///
/// There is a rule ready for each of a number of systems; what it says of the system is in its description:
/// [`salesforce`](Self::salesforce), [`netsuite`](Self::netsuite), [`dynamics365`](Self::dynamics365),
/// [`sap`](Self::sap), [`stripe`](Self::stripe), [`client_token`](Self::client_token),
/// [`service_bus`](Self::service_bus), [`cloudevents`](Self::cloudevents),
/// [`source_record`](Self::source_record).
///
/// Normalising twice gives what normalising once gave. Composing and folding follow the Unicode tables this crate
/// was built with; characters added to Unicode later may fold in a later version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub struct KeySpec {
    trim: bool,
    compose: bool,
    case: Case,
    characters: Characters,
    /// 1 <= min <= max.
    min_parts: u8,
    max_parts: u8,
    /// Of each part; 0: only the limit of the whole key.
    max_characters: u16,
    allow_empty: bool,
    /// An ASCII character, not a letter or digit, not `\`.
    separator: u8,
}

/// The treatment of letter case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Case {
    /// It stays: `ord-1` and `ORD-1` are two keys.
    Keep,
    /// To upper case, character by character; `ß`, which has no single capital in Unicode's tables, stays.
    Upper,
    /// To lower case, character by character.
    Lower,
}

/// Which characters a part may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Characters {
    /// Any but control characters.
    Text,
    /// Space and the visible characters of ASCII.
    Ascii,
    /// The visible characters of ASCII.
    AsciiVisible,
}

/// A part of a key as it comes from a record: text, or null.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyPart<'a> {
    text: Option<&'a [u8]>,
}

/// Shows how long it is, never the text.
impl std::fmt::Debug for KeyPart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPart").field("bytes", &self.text.map(<[u8]>::len)).finish_non_exhaustive()
    }
}

impl<'a> KeyPart<'a> {
    /// The bytes; `None` for null.
    pub fn bytes(self) -> Option<&'a [u8]> {
        self.text
    }
}

impl<'a> From<&'a str> for KeyPart<'a> {
    fn from(text: &'a str) -> KeyPart<'a> {
        KeyPart { text: Some(text.as_bytes()) }
    }
}

impl<'a> From<&'a String> for KeyPart<'a> {
    fn from(text: &'a String) -> KeyPart<'a> {
        KeyPart { text: Some(text.as_bytes()) }
    }
}

impl<'a> From<&'a [u8]> for KeyPart<'a> {
    fn from(text: &'a [u8]) -> KeyPart<'a> {
        KeyPart { text: Some(text) }
    }
}

impl<'a> From<Option<&'a str>> for KeyPart<'a> {
    fn from(text: Option<&'a str>) -> KeyPart<'a> {
        KeyPart { text: text.map(str::as_bytes) }
    }
}

impl Default for KeySpec {
    fn default() -> KeySpec {
        KeySpec::new()
    }
}

impl KeySpec {
    /// One part of any text, kept as it is, not empty, without control characters.
    pub fn new() -> KeySpec {
        KeySpec {
            trim: false,
            compose: false,
            case: Case::Keep,
            characters: Characters::Text,
            min_parts: 1,
            max_parts: 1,
            max_characters: 0,
            allow_empty: false,
            separator: SEPARATOR,
        }
    }

    /// Whether white space around each part goes. Default: it stays.
    pub fn trim(mut self, trim: bool) -> KeySpec {
        self.trim = trim;
        self
    }

    /// Whether parts are brought into Unicode's composed form (NFC), so that `é` is one key however it was typed.
    /// Default: they stay.
    pub fn compose(mut self, compose: bool) -> KeySpec {
        self.compose = compose;
        self
    }

    /// The treatment of letter case. Default: unchanged.
    pub fn case(mut self, case: Case) -> KeySpec {
        self.case = case;
        self
    }

    /// Which characters are allowed. Default: any but control characters.
    pub fn characters(mut self, characters: Characters) -> KeySpec {
        self.characters = characters;
        self
    }

    /// How many parts a key has. Default: exactly one, whose text is the unchanged key, without escapes.
    ///
    /// `least` is taken for at least 1, and `most` for at least `least`.
    pub fn parts(mut self, least: u8, most: u8) -> KeySpec {
        self.min_parts = least.max(1);
        self.max_parts = most.max(self.min_parts);
        self
    }

    /// How many characters each part may have; 0 for no limit of its own. Default: 0. The whole key has at most
    /// [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) in any case.
    pub fn max_characters(mut self, characters: u16) -> KeySpec {
        self.max_characters = characters;
        self
    }

    /// Whether a part may be empty. Default: no. A null part is refused in any case, and so is a key of nothing.
    pub fn allow_empty(mut self, allow: bool) -> KeySpec {
        self.allow_empty = allow;
        self
    }

    /// The key of these parts.
    ///
    /// # Errors
    ///
    /// [`KeyError::NullPart`], [`KeyError::EmptyPart`], [`KeyError::PartCount`], [`KeyError::NotText`],
    /// [`KeyError::Character`], [`KeyError::PartTooLong`], [`KeyError::Unstable`]; [`KeyError::Empty`] and
    /// [`KeyError::TooLong`] for the whole.
    pub fn key<'a, P: Into<KeyPart<'a>>>(
        &self,
        parts: impl IntoIterator<Item = P>,
    ) -> Result<Vec<u8>, KeyError> {
        let parts = parts.into_iter().enumerate().map(|(index, part)| {
            let text = part.into().text.ok_or(KeyError::NullPart { index })?;
            self.part(index, text)
        });
        self.join(&parts.collect::<Result<Vec<_>, _>>()?)
    }

    /// The key that `key` is under this rule: the same for every spelling, and itself for itself.
    ///
    /// A rule of several parts wants them joined as [`key`](Self::key) and [`composite`](crate::composite) join.
    ///
    /// # Errors
    ///
    /// Those of [`key`](Self::key), and [`KeyError::NotComposite`].
    pub fn normalise(&self, key: &[u8]) -> Result<Vec<u8>, KeyError> {
        check_length(key)?;
        if self.max_parts == 1 {
            return self.join(&[self.part(0, key)?]);
        }
        let parts = split(key, self.separator)?;
        let parts = parts.iter().enumerate().map(|(index, part)| self.part(index, part));
        self.join(&parts.collect::<Result<Vec<_>, _>>()?)
    }

    fn join(&self, parts: &[Cow<'_, str>]) -> Result<Vec<u8>, KeyError> {
        if !(usize::from(self.min_parts)..=usize::from(self.max_parts)).contains(&parts.len()) {
            return Err(KeyError::PartCount { parts: parts.len() });
        }
        match parts {
            [part] if self.max_parts == 1 => {
                check_length(part.as_bytes())?;
                Ok(part.as_bytes().to_vec())
            }
            parts => parts
                .iter()
                .fold(CompositeKey::separated_by(self.separator), |key, part| key.part(part.as_bytes()))
                .build(),
        }
    }

    /// One part, normalised and checked.
    fn part<'a>(&self, index: usize, part: &'a [u8]) -> Result<Cow<'a, str>, KeyError> {
        let text = std::str::from_utf8(part).map_err(|_| KeyError::NotText { index })?;
        let trimmed = if self.trim { text.trim() } else { text };
        let text = self.folded(trimmed).ok_or(KeyError::Unstable { index })?;
        if text.is_empty() && !self.allow_empty {
            return Err(KeyError::EmptyPart { index });
        }
        if let Some((at, _)) = text.char_indices().find(|(_, character)| !self.allows(*character)) {
            return Err(KeyError::Character { index, at });
        }
        let characters = text.chars().count();
        if self.max_characters > 0 && characters > usize::from(self.max_characters) {
            return Err(KeyError::PartTooLong { index, characters });
        }
        Ok(text)
    }

    /// Folded and composed until neither changes anything: folding can undo composition and the reverse. `None`
    /// if that does not end soon.
    fn folded<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..4 {
            let next = self.fold_once(&text);
            if next == text {
                return Some(text);
            }
            text = Cow::Owned(next);
        }
        None
    }

    fn fold_once(&self, text: &str) -> String {
        let folded: String = match self.case {
            Case::Keep => text.to_owned(),
            Case::Upper => text.chars().map(|character| only(character, character.to_uppercase())).collect(),
            Case::Lower => text.chars().map(|character| only(character, character.to_lowercase())).collect(),
        };
        if self.compose && !is_nfc(&folded) { folded.nfc().collect() } else { folded }
    }

    fn allows(&self, character: char) -> bool {
        match self.characters {
            Characters::Text => !character.is_control(),
            Characters::Ascii => matches!(character, ' '..='~'),
            Characters::AsciiVisible => character.is_ascii_graphic(),
        }
    }
}

/// The one character `character` is mapped to; itself if it is mapped to several.
fn only(character: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

#[cfg(test)]
mod tests;
