//! Backslash escapes, as `COPY` of `PostgreSQL` and `INTO OUTFILE` of `MySQL` write them.
//!
//! `\b \f \n \r \t \v` are control characters, `\` with up to three octal digits and `\x` with one or two hex digits
//! name a byte, and any byte that is no letter or digit stands for itself. `\N` is null, and only as a whole field.
//! `\0` with an octal digit behind it is refused: `MySQL` means a zero byte and a digit, `PostgreSQL` one byte.

/// A field that is null, as it is written.
pub(crate) const NULL: &[u8] = br"\N";

/// What the escape at the beginning of `rest`, which begins behind the backslash, stands for, and its length there.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let (&first, behind) = rest.split_first()?;
    Some(match first {
        b'b' => (0x08, 1),
        b'f' => (0x0C, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'v' => (0x0B, 1),
        b'x' => {
            let (value, length) = digits(behind, 2, 16);
            (u8::try_from(value).ok().filter(|_| length > 0)?, 1 + length)
        }
        b'0' if behind.first().is_some_and(|next| matches!(next, b'0'..=b'7')) => return None,
        b'0'..=b'7' => {
            let (value, length) = digits(rest, 3, 8);
            (u8::try_from(value).ok()?, length)
        }
        byte if byte.is_ascii_alphanumeric() => return None,
        byte => (byte, 1),
    })
}

/// The number that at most `most` digits make, and how many there are.
fn digits(bytes: &[u8], most: usize, radix: u32) -> (u32, usize) {
    let digits = bytes.iter().take(most).map_while(|&byte| char::from(byte).to_digit(radix));
    digits.fold((0, 0), |(value, length), digit| (value * radix + digit, length + 1))
}

/// The bytes that `written` stands for.
pub(super) fn unescape(written: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some(before) = memchr::memchr(b'\\', rest) {
        let (plain, behind) = rest.split_at(before);
        value.extend_from_slice(plain);
        let behind = behind.get(1..).unwrap_or_default();
        let (byte, length) = escape(behind).unwrap_or((b'\\', 0));
        value.push(byte);
        rest = behind.get(length..).unwrap_or_default();
    }
    value.extend_from_slice(rest);
    value
}

/// The length of the escape that begins with the backslash in front of `bytes`.
pub(super) fn length(bytes: &[u8]) -> usize {
    1 + bytes.get(1..).and_then(escape).map_or(0, |(_, length)| length)
}

/// Where the first backslash stands that begins no escape. A field that is null has none.
pub(super) fn fault(written: &[u8]) -> Option<usize> {
    if written == NULL {
        return None;
    }
    let mut at = 0;
    loop {
        let rest = written.get(at..)?;
        at += memchr::memchr(b'\\', rest)?;
        let Some((_, length)) = escape(written.get(at + 1..)?) else { return Some(at) };
        at += 1 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes() {
        for (written, value) in [
            (&br"plain"[..], &b"plain"[..]),
            (br"acme\\order", br"acme\order"),
            (br"a\tb\nc\rd\be\ff\vg", b"a\tb\nc\rd\x08e\x0Cf\x0Bg"),
            (br"\101\x42\x4a\x4A\7", b"ABJJ\x07"),
            (br"\0", b"\0"),
            (br"\08", b"\x008"),
            (br"\x4g", b"\x04g"),
            (b"a\\\tb\\\nc", b"a\tb\nc"),
            (b"\\\r\n", b"\r\n"),
            (br#"\"\'\;"#, br#""';"#),
            (br"\\N", br"\N"),
            ("\\\u{e9}".as_bytes(), "\u{e9}".as_bytes()),
        ] {
            assert_eq!(fault(written), None, "{written:?}");
            assert_eq!(unescape(written), value, "{written:?}");
        }
    }

    #[test]
    fn what_is_no_escape_is_found_where_it_stands() {
        for (written, at) in [
            (&br"a\N"[..], 1),
            (br"\Na", 0),
            (br"\q", 0),
            (br"\\\Z", 2),
            (br"\x", 0),
            (br"\xg", 0),
            (br"\01", 0),
            (br"\777", 0),
            (br"\8", 0),
            (br"ab\", 2),
        ] {
            assert_eq!(fault(written), Some(at), "{written:?}");
        }
        assert_eq!(fault(NULL), None);
    }
}
