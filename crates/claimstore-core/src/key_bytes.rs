//! [`KeyBytes`]: the bytes of a key, in place where they are few.
//!
//! Keys are short, and a claim's passes through many hands: the request, the table of claims in progress, the lease. In
//! place it costs none of them an allocation, and comparing it follows no pointer.

use std::fmt;
use std::ops::Deref;

/// The longest bytes that are held in place: with them the value takes 48 bytes. A hash of 32 bytes, an identifier of 36
/// characters and most natural keys fit, each with four bytes for its namespace.
const IN_PLACE: usize = 46;

/// Bytes that own themselves, like a `Box<[u8]>`.
#[derive(Clone)]
pub struct KeyBytes(Form);

#[derive(Clone)]
enum Form {
    InPlace { len: u8, bytes: [u8; IN_PLACE] },
    Heap(Box<[u8]>),
}

impl KeyBytes {
    /// The bytes of `head` and `tail`, one after the other.
    #[inline]
    pub fn joined(head: &[u8], tail: &[u8]) -> KeyBytes {
        let len = head.len() + tail.len();
        let mut bytes = [0; IN_PLACE];
        let Some(place) = bytes.get_mut(..len) else {
            return KeyBytes(Form::Heap([head, tail].concat().into()));
        };
        let (first, second) = place.split_at_mut(head.len());
        first.copy_from_slice(head);
        second.copy_from_slice(tail);
        KeyBytes(Form::InPlace { len: len as u8, bytes })
    }
}

impl Deref for KeyBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::InPlace { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Form::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for KeyBytes {
    #[inline]
    fn from(bytes: &[u8]) -> KeyBytes {
        KeyBytes::joined(bytes, &[])
    }
}

/// No bytes.
impl Default for KeyBytes {
    #[inline]
    fn default() -> KeyBytes {
        KeyBytes::joined(&[], &[])
    }
}

/// Shows how many, never which.
impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{IN_PLACE, KeyBytes};

    #[test]
    fn bytes_of_every_length_come_back() {
        assert_eq!(size_of::<KeyBytes>(), 48);
        assert!(KeyBytes::default().is_empty());
        for len in 0..2 * IN_PLACE {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let whole = KeyBytes::from(&*bytes);
            assert_eq!(*whole, *bytes);
            for cut in 0..=len {
                assert_eq!(*KeyBytes::joined(&bytes[..cut], &bytes[cut..]), *bytes);
            }
            assert_eq!(*whole.clone(), *bytes);
        }
    }

    #[test]
    fn debugging_shows_no_bytes() {
        assert_eq!(format!("{:?}", KeyBytes::from(&b"canary"[..])), "KeyBytes { len: 6, .. }");
    }
}
