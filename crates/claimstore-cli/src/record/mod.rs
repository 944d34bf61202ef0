//! Records of a stream: exact bytes in, exact bytes out, and the parts that name the event.

pub(crate) mod csv;
pub(crate) mod json;
mod split;

pub(crate) use split::{Fault, Splitter};

/// The byte order mark that spreadsheets put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One record as it stood in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Every byte of it: a byte order mark in front and the line ending behind included.
    pub(crate) bytes: Vec<u8>,
    /// The line it begins on, from 1.
    pub(crate) line: u64,
    /// Whether it is the first of the input, where alone a byte order mark is one.
    pub(crate) first: bool,
    /// Why its bytes cannot be trusted to be one record.
    pub(crate) fault: Option<Fault>,
}

impl Record {
    /// The record without byte order mark and line ending: what names the event, so that a file saved
    /// with CRLF on one system and LF on another holds the same events.
    pub(crate) fn content(&self) -> &[u8] {
        let bytes = self.bytes.as_slice();
        let bytes = if self.first { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes };
        let Some(bytes) = bytes.strip_suffix(b"\n") else { return bytes };
        bytes.strip_suffix(b"\r").unwrap_or(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_what_both_line_endings_share() {
        for (bytes, first, content) in [
            (&b"a;b\n"[..], false, &b"a;b"[..]),
            (b"a;b\r\n", false, b"a;b"),
            (b"a;b", false, b"a;b"),
            (b"a;b\r", false, b"a;b\r"),
            (b"\xEF\xBB\xBFa\n", true, b"a"),
            (b"\xEF\xBB\xBFa\n", false, b"\xEF\xBB\xBFa"),
            (b"\n", false, b""),
        ] {
            let record = Record { bytes: bytes.to_vec(), line: 1, first, fault: None };
            assert_eq!(record.content(), content);
        }
    }
}
