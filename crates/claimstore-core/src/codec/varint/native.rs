//! The codec without a dependency. It writes the bytes that `bincode` writes, and reads and refuses the same bytes.

const TWO_BYTES: u8 = 251;
const FOUR_BYTES: u8 = 252;
const EIGHT_BYTES: u8 = 253;

/// Appends `value` in its shortest form.
#[inline]
pub(super) fn put(value: u64, out: &mut Vec<u8>) {
    if value < super::ONE_BYTE {
        out.push(value as u8);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(TWO_BYTES);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(FOUR_BYTES);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(EIGHT_BYTES);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// The integer that `bytes` begin with, and how many bytes it takes. A form longer than needed is read too.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let (marker, rest) = bytes.split_first()?;
    match *marker {
        TWO_BYTES => rest.first_chunk().map(|value| (u64::from(u16::from_le_bytes(*value)), 3)),
        FOUR_BYTES => rest.first_chunk().map(|value| (u64::from(u32::from_le_bytes(*value)), 5)),
        EIGHT_BYTES => rest.first_chunk().map(|value| (u64::from_le_bytes(*value), 9)),
        254.. => None,
        value => Some((u64::from(value), 1)),
    }
}
