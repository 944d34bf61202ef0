//! Integers of variable length: 1 byte below 251, else a marker and 2, 4 or 8 bytes. docs/file-format.md, part 4.
//!
//! Two codecs write and read the same bytes: `bincode` with the feature of that name, which is on by default, and `native`
//! without it. Builds for tests have both, and compare them.

#[cfg(any(feature = "bincode", test))]
mod bincode_codec;
#[cfg(any(not(feature = "bincode"), test))]
mod native;
#[cfg(test)]
mod tests;

#[cfg(feature = "bincode")]
use bincode_codec as chosen;
#[cfg(not(feature = "bincode"))]
use native as chosen;

/// Numbers below it are one byte, which is the number itself; larger ones begin with a byte that says how long they are.
pub(super) const ONE_BYTE: u64 = 251;

/// Appends `value`. Inlined into every caller: most numbers are one byte.
#[inline]
pub(super) fn put(value: u64, out: &mut Vec<u8>) {
    if value < ONE_BYTE {
        return out.push(value as u8);
    }
    chosen::put(value, out);
}

/// The integer that `bytes` begin with, and how many bytes it takes; `None` if they begin with none.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    if let Some(first) = bytes.first()
        && u64::from(*first) < ONE_BYTE
    {
        return Some((u64::from(*first), 1));
    }
    chosen::read(bytes)
}
