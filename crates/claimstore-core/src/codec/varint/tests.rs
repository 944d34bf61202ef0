//! Both codecs, side by side.

use super::{bincode_codec, native, put, read};
use proptest::prelude::*;

type Put = fn(u64, &mut Vec<u8>);
type Read = fn(&[u8]) -> Option<(u64, usize)>;

/// The codecs, and the one that this build chose behind its short way for small numbers.
const CODECS: [(&str, Put, Read); 3] = [
    ("bincode", bincode_codec::put, bincode_codec::read),
    ("native", native::put, native::read),
    ("chosen", put, read),
];

/// Every codec writes `value` as the same bytes, and reads them back.
fn check_value(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bincode_codec::put(value, &mut bytes);
    for (name, put, _) in CODECS {
        let mut own = vec![7];
        put(value, &mut own);
        assert_eq!(own[1..], bytes, "{name} writes {value}");
    }
    assert_eq!(check_bytes(&bytes), Some((value, bytes.len())));
    bytes
}

/// Every codec says the same of `bytes`, whole and cut short anywhere.
fn check_bytes(bytes: &[u8]) -> Option<(u64, usize)> {
    for end in 0..=bytes.len() {
        let expected = bincode_codec::read(&bytes[..end]);
        for (name, _, read) in CODECS {
            assert_eq!(read(&bytes[..end]), expected, "{name} reads {:02x?}", &bytes[..end]);
        }
    }
    bincode_codec::read(bytes)
}

/// The table of docs/file-format.md, at its borders.
#[test]
fn golden_bytes() {
    const GOLDEN: [(u64, &[u8]); 8] = [
        (0, b"\x00"),
        (250, b"\xfa"),
        (251, b"\xfb\xfb\x00"),
        (0xffff, b"\xfb\xff\xff"),
        (0x1_0000, b"\xfc\x00\x00\x01\x00"),
        (0xffff_ffff, b"\xfc\xff\xff\xff\xff"),
        (0x1_0000_0000, b"\xfd\x00\x00\x00\x00\x01\x00\x00\x00"),
        (u64::MAX, b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for (value, bytes) in GOLDEN {
        assert_eq!(check_value(value), bytes, "{value}");
    }
}

#[test]
fn every_short_number_is_the_same_in_both() {
    for value in 0..=0x1_0100 {
        check_value(value);
    }
}

/// Whatever the first byte: markers that begin no integer, and forms longer than needed.
#[test]
fn every_first_byte_means_the_same_in_both() {
    for first in 0..=u8::MAX {
        let bytes = [first, 1, 0, 0, 0, 0, 0, 0, 0, 9, 9];
        assert_eq!(check_bytes(&bytes).is_none(), first >= 254, "{first}");
    }
}

proptest! {
    #[test]
    fn both_write_the_same_bytes(value: u64, shift in 0..64u32) {
        check_value(value >> shift);
    }

    #[test]
    fn both_refuse_the_same_damage(value: u64, shift in 0..64u32, at: prop::sample::Index, mask: u8) {
        let mut bytes = check_value(value >> shift);
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        check_bytes(&bytes);
    }

    #[test]
    fn both_say_the_same_of_any_bytes(marker in prop::option::of(249u8..), mut bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        if let (Some(marker), Some(first)) = (marker, bytes.first_mut()) {
            *first = marker;
        }
        check_bytes(&bytes);
    }
}
