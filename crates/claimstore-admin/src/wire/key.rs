//! Keys as requests name them: text, hex digits, or a short name.

use crate::hex::{from_hex, hex};
use crate::wire::refusal::{Refusal, RefusalKind};
use serde::{Deserialize, Serialize};

/// A key, as text, in hex digits, or by the short name that lists show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Key {
    /// UTF-8.
    #[serde(rename = "key")]
    Text(String),
    /// Any bytes.
    #[serde(rename = "key_hex")]
    Hex(String),
    /// The short name, [`key_label`](crate::key_label): it is looked for among all keys of the namespace. A key that is
    /// spelt so itself is found too, and where both are there, neither is.
    #[serde(rename = "key_label")]
    Label(String),
}

/// Shows which, never the key.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Key::Text(_) => "Text(..)",
            Key::Hex(_) => "Hex(..)",
            Key::Label(_) => "Label(..)",
        })
    }
}

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: &[u8]) -> Key {
        match std::str::from_utf8(bytes) {
            Ok(text) => Key::Text(text.into()),
            Err(_) => Key::Hex(hex(bytes)),
        }
    }

    /// As they stand here; [`resolve`](crate::resolve) also knows the key of a short name.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        match self {
            Key::Text(text) | Key::Label(text) => Ok(text.as_bytes().to_vec()),
            Key::Hex(digits) => from_hex(digits)
                .ok_or_else(|| Refusal::new(RefusalKind::Usage, "key_hex has no even number of hex digits")),
        }
    }
}
