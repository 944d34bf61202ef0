//! The bytes of a rule, as a namespace's policy keeps them.
//!
//! 9 bytes: 1 (the version); flags (bit 0 trim, 1 compose, 2 empty parts allowed); case (0 keep, 1 upper, 2 lower);
//! characters (0 text, 1 ASCII, 2 visible ASCII); least and most parts; most characters (2, little endian);
//! separator.

use super::{Case, Characters, KeySpec};
use crate::KeyError;

const VERSION: u8 = 1;
const TRIM: u8 = 1;
const COMPOSE: u8 = 2;
const ALLOW_EMPTY: u8 = 4;

impl KeySpec {
    /// The rule's bytes, for storing.
    pub fn to_bytes(&self) -> [u8; 9] {
        let flag = |set, bit| if set { bit } else { 0 };
        let [low, high] = self.max_characters.to_le_bytes();
        [
            VERSION,
            flag(self.trim, TRIM) | flag(self.compose, COMPOSE) | flag(self.allow_empty, ALLOW_EMPTY),
            self.case as u8,
            self.characters as u8,
            self.min_parts,
            self.max_parts,
            low,
            high,
            self.separator,
        ]
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotASpec`] for anything else, and for a rule of a later version: it must not be applied in part.
    pub fn from_bytes(bytes: &[u8]) -> Result<KeySpec, KeyError> {
        let &[VERSION, flags, case, characters, min_parts, max_parts, low, high, separator] = bytes else {
            return Err(KeyError::NotASpec);
        };
        let spec = KeySpec {
            trim: flags & TRIM != 0,
            compose: flags & COMPOSE != 0,
            allow_empty: flags & ALLOW_EMPTY != 0,
            case: [Case::Keep, Case::Upper, Case::Lower]
                .get(usize::from(case))
                .copied()
                .ok_or(KeyError::NotASpec)?,
            characters: [Characters::Text, Characters::Ascii, Characters::AsciiVisible]
                .get(usize::from(characters))
                .copied()
                .ok_or(KeyError::NotASpec)?,
            min_parts,
            max_parts,
            max_characters: u16::from_le_bytes([low, high]),
            separator,
        };
        let parts = 1 <= min_parts && min_parts <= max_parts;
        let sound = flags <= (TRIM | COMPOSE | ALLOW_EMPTY) && matches!(separator, b'|' | b':') && parts;
        if sound { Ok(spec) } else { Err(KeyError::NotASpec) }
    }
}
