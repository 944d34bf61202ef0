//! Reading bytes that may lie: nothing indexes, nothing allocates before the bytes are there, leftovers are refused.

use super::varint::{self, ONE_BYTE};
use crate::planted;

/// Bytes that do not say what they should; names the part that was missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Appends `value` as a variable-length integer (1 byte below 251, else a marker and 2, 4 or 8 bytes).
#[inline]
pub fn put_varint(value: u64, out: &mut Vec<u8>) {
    varint::put(value, out);
}

/// Appends `value` with its sign folded into the lowest bit, so that small distances stay short.
#[inline]
pub(super) fn put_signed(value: i64, out: &mut Vec<u8>) {
    put_varint(((value << 1) ^ (value >> 63)) as u64, out);
}

/// Appends the length of `bytes`, then `bytes`.
#[inline]
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A position in bytes that are not trusted yet.
#[derive(Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

/// Shows how many bytes are left, never which.
impl std::fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("remaining", &self.rest.len()).finish()
    }
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What is left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        self.take(N, what)?.try_into().map_err(|_| Malformed(what))
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    /// The next two bytes, little endian.
    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// The next four bytes, little endian.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// The next eight bytes, little endian.
    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// The counterpart of [`put_varint`].
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let (value, used) = varint::read(self.rest).ok_or(Malformed(what))?;
        self.take(used, what)?;
        Ok(value)
    }

    /// `N` integers in a row, which mostly are one byte each.
    #[inline]
    pub fn varints<const N: usize>(&mut self, what: &'static str) -> Result<[u64; N], Malformed> {
        if let Some((bytes, rest)) = self.rest.split_first_chunk::<N>()
            && bytes.iter().all(|byte| u64::from(*byte) < ONE_BYTE)
        {
            self.rest = rest;
            return Ok(bytes.map(u64::from));
        }
        let mut values = [0; N];
        for value in &mut values {
            *value = self.varint(what)?;
        }
        Ok(values)
    }

    /// The counterpart of `put_signed`.
    #[inline]
    pub(super) fn signed(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let folded = self.varint(what)?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// The counterpart of [`put_bytes`]. Borrows, so a length that lies cannot allocate.
    #[inline]
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint(what)?).map_err(|_| Malformed(what))?;
        self.take(len, what)
    }

    /// Refuses leftovers: no bytes may be left.
    #[inline]
    pub fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if planted::active(29) {
            return Ok(());
        }
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, Malformed, put_bytes, put_signed, put_varint};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_in_a_row_round_trip(values: [u64; 3], shift in 0..64u32) {
            let values = values.map(|value| value >> shift);
            let mut out = Vec::new();
            values.iter().for_each(|value| put_varint(*value, &mut out));
            for cut in 0..out.len() {
                prop_assert!(Cursor::new(&out[..cut]).varints::<3>("x").is_err());
            }
            out.push(7);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varints::<3>("x"), Ok(values));
            prop_assert_eq!(cursor.remaining(), 1);
        }

        #[test]
        fn integers_and_bytes_round_trip(a: u64, b: i64, c: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(a, &mut out);
            put_signed(b, &mut out);
            put_bytes(&c, &mut out);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.remaining(), out.len());
            prop_assert_eq!(cursor.varint("a"), Ok(a));
            prop_assert_eq!(cursor.signed("b"), Ok(b));
            let before = cursor.remaining();
            prop_assert_eq!(cursor.bytes("c"), Ok(c.as_slice()));
            prop_assert!(before - cursor.remaining() > c.len());
            prop_assert_eq!(cursor.finish("end"), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.bytes("part").is_ok() {}
            let _ = cursor.signed("number");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_leftovers_are_refused() {
        assert_eq!(Cursor::new(&[1, 2]).u32("length"), Err(Malformed("length")));
        assert_eq!(
            Cursor::new(&[253, 255, 255, 255, 255, 255, 255, 255, 255]).bytes("body"),
            Err(Malformed("body"))
        );
        assert_eq!(Cursor::new(&[0]).finish("end"), Err(Malformed("end")));
    }
}
