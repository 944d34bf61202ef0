//! Bytes in hex digits, and back.

use std::fmt::Write as _;

/// Bytes in hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The bytes of hex digits; `None` for an odd number of them, or for anything else.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_are_bytes_and_nothing_else_is() {
        assert_eq!(from_hex("00fFa1"), Some(vec![0, 0xff, 0xa1]));
        for wrong in ["0", "0g", "+1", "0x01", "é"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
