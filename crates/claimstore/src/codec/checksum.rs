//! CRC-32 (IEEE), for accidental damage only.

/// The checksum of several parts, as if they stood one behind the other.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn parts_do_not_matter_and_bits_do() {
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
        assert_eq!(crc32(&[b"1234", b"56789"]), crc32(&[b"123456789"]));
        assert_ne!(crc32(&[b"123456788"]), crc32(&[b"123456789"]));
        assert_eq!(crc32(&[]), 0, "hence an all-zero header must never count as valid");
    }
}
