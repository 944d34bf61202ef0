//! Where lines end: `\n`, `\r\n`, a lone `\r` as old spreadsheets write it, and `\r\r\n`, which is `\r\n` written
//! through a program that turns `\n` into `\r\n`.

use crate::planted;

/// The length of the line end that begins at `at`, where a `\r` or `\n` stands. `None`: that depends on bytes that are
/// not there yet.
pub(super) fn line_end(bytes: &[u8], at: usize, mut at_end: bool) -> Option<usize> {
    if bytes.get(at) == Some(&b'\n') {
        return Some(1);
    }
    if planted::active(47) {
        at_end |= bytes.get(at + 1).is_none();
    }
    match (bytes.get(at + 1), bytes.get(at + 2)) {
        (Some(b'\n'), _) => Some(2),
        (Some(b'\r'), Some(b'\n')) => Some(3),
        (None, _) | (Some(b'\r'), None) if !at_end => None,
        _ => Some(1),
    }
}

/// The first line from `from` on: how many bytes stand before its end, and the length of that. `None`: it depends on
/// bytes that are not there yet.
pub(super) fn first_line(bytes: &[u8], from: usize, at_end: bool) -> Option<(usize, usize)> {
    let rest = bytes.get(from..).unwrap_or_default();
    match memchr::memchr2(b'\r', b'\n', rest) {
        Some(before) => Some((from + before, line_end(bytes, from + before, at_end)?)),
        None if at_end => Some((bytes.len(), 0)),
        None => None,
    }
}

/// How many lines end in `bytes`, and what stands behind the last of them.
pub(super) fn count_lines(bytes: &[u8]) -> (u64, &[u8]) {
    let (mut lines, mut rest) = (0, bytes);
    while let Some(before) = memchr::memchr2(b'\r', b'\n', rest) {
        let length = before + line_end(rest, before, true).unwrap_or(1);
        rest = rest.get(length..).unwrap_or_default();
        lines += 1;
    }
    (lines, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_end_is_one() {
        for (text, length) in [
            ("\na", 1),
            ("\n\n", 1),
            ("\ra", 1),
            ("\r\n", 2),
            ("\r\n\n", 2),
            ("\r\r\n", 3),
            ("\r\ra", 1),
            ("\r\r\r\n", 1),
            ("\r", 1),
            ("\r\r", 1),
        ] {
            assert_eq!(line_end(text.as_bytes(), 0, true), Some(length), "{text:?}");
        }
    }

    #[test]
    fn a_return_at_the_end_of_what_came_is_undecided() {
        for text in ["\r", "\r\r"] {
            assert_eq!(line_end(text.as_bytes(), 0, false), None, "{text:?}");
        }
        assert_eq!(first_line(b"ab\r", 0, false), None);
        assert_eq!(first_line(b"ab", 0, false), None);
        assert_eq!(first_line(b"ab", 0, true), Some((2, 0)));
        assert_eq!(first_line(b"ab\r\r\nc", 0, false), Some((2, 3)));
        assert_eq!(first_line(b"a\nb\nc", 2, false), Some((3, 1)));
    }

    #[test]
    fn lines_are_counted_alike() {
        assert_eq!(count_lines(b"a\r\nb\nc\rd\r\r\nef"), (4, &b"ef"[..]));
        assert_eq!(count_lines(b""), (0, &b""[..]));
    }
}
