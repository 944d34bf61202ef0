//! Why bytes are no key of the wanted kind.

use std::fmt;

/// Why a key could not be built, read or minted. Holds positions and lengths, never bytes of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyError {
    /// The key would have no bytes: no parts, or one empty part.
    Empty,
    /// A part is empty where [`CompositeKey::refuse_empty`](crate::CompositeKey::refuse_empty) was asked for.
    EmptyPart {
        /// Which part, counted from 0.
        index: usize,
    },
    /// The key is longer than [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES). [`digest_key`](crate::digest_key) takes
    /// parts of any length.
    TooLong {
        /// The length the key would have.
        bytes: usize,
    },
    /// A part is null where a [`KeySpec`](crate::KeySpec) wants a value.
    NullPart {
        /// Which part, counted from 0.
        index: usize,
    },
    /// More or fewer parts than a [`KeySpec`](crate::KeySpec) wants.
    PartCount {
        /// How many there are.
        parts: usize,
    },
    /// A part that is not UTF-8, where a [`KeySpec`](crate::KeySpec) wants text.
    NotText {
        /// Which part, counted from 0.
        index: usize,
    },
    /// A part has a character that a [`KeySpec`](crate::KeySpec) does not allow.
    Character {
        /// Which part, counted from 0.
        index: usize,
        /// Where in the part, after trimming and folding, counted in bytes from 0.
        at: usize,
    },
    /// A part has more characters than a [`KeySpec`](crate::KeySpec) allows.
    PartTooLong {
        /// Which part, counted from 0.
        index: usize,
        /// How many characters it has.
        characters: usize,
    },
    /// Folding and composing a part comes to no end: no text that anybody writes.
    Unstable {
        /// Which part, counted from 0.
        index: usize,
    },
    /// The bytes are no [`KeySpec`](crate::KeySpec) that this version knows.
    NotASpec,
    /// A backslash stands before something it cannot escape: [`composite`](crate::composite) did not make this.
    NotComposite {
        /// Where the backslash is, counted in bytes from 0.
        at: usize,
    },
    /// The length is none of the spellings of this kind of id.
    IdLength {
        /// The length found.
        bytes: usize,
    },
    /// A character that this spelling does not have, or not there.
    IdCharacter {
        /// Where it stands, counted in bytes from 0.
        at: usize,
    },
    /// A UUID, but not of version 7: it carries no time to go by.
    NotVersion7,
    /// A UUID of another variant than RFC 9562's.
    NotRfc9562,
    /// A ULID that starts above `7` and so stands for more than 128 bits.
    IdOverflow,
    /// The time does not fit in the 48 bits an id has for it (it ends in the year 10889).
    TimeTooLarge,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Empty => f.write_str("the key is empty"),
            KeyError::EmptyPart { index } => write!(f, "part {index} of the key is empty"),
            KeyError::TooLong { bytes } => {
                write!(f, "the key has {bytes} bytes, the limit is {}", crate::MAX_KEY_BYTES)
            }
            KeyError::NullPart { index } => write!(f, "part {index} of the key is null"),
            KeyError::PartCount { parts } => {
                write!(f, "the key has {parts} parts, which is not what its rule says")
            }
            KeyError::NotText { index } => write!(f, "part {index} of the key is not UTF-8"),
            KeyError::Character { index, at } => {
                write!(f, "part {index} of the key has a character at byte {at} that its rule forbids")
            }
            KeyError::PartTooLong { index, characters } => {
                write!(f, "part {index} of the key has {characters} characters, more than its rule allows")
            }
            KeyError::Unstable { index } => write!(f, "part {index} of the key cannot be folded"),
            KeyError::NotASpec => f.write_str("not the bytes of a key rule"),
            KeyError::NotComposite { at } => write!(f, "not a composite key: stray backslash at byte {at}"),
            KeyError::IdLength { bytes } => write!(f, "no spelling of the id has {bytes} bytes"),
            KeyError::IdCharacter { at } => write!(f, "the id has a wrong character at byte {at}"),
            KeyError::NotVersion7 => f.write_str("the UUID is not of version 7"),
            KeyError::NotRfc9562 => f.write_str("the UUID is not of the RFC 9562 variant"),
            KeyError::IdOverflow => f.write_str("the ULID stands for more than 128 bits"),
            KeyError::TimeTooLarge => f.write_str("the time does not fit in 48 bits of milliseconds"),
        }
    }
}

impl std::error::Error for KeyError {}
