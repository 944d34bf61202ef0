//! A record as it stands in the input.

use super::fault::Fault;

/// Whether a line, or what should be the name of a column, begins as a JSON object or array does.
pub(crate) fn looks_like_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start(), [b'{' | b'[', ..])
}

/// The byte order mark that spreadsheets put in front of UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One record as it stood in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Every byte of it: a byte order mark in front and the line end behind included.
    pub(crate) bytes: Vec<u8>,
    /// The line it begins on, from 1.
    pub(crate) line: u64,
    /// Why it cannot be passed on, or cannot be trusted to be one record.
    pub(crate) fault: Option<Fault>,
    /// How many bytes in front are a byte order mark.
    pub(super) mark: usize,
    /// How many bytes behind are a line end; 0 at the end of an input that does not end with one.
    pub(super) line_end: usize,
    /// How many fields it has; 1 where a record is a line.
    pub(super) fields: usize,
}

impl Record {
    /// The record without byte order mark and line end: what names the event, so that a file saved with CRLF on one
    /// system and LF on another holds the same events.
    pub(crate) fn content(&self) -> &[u8] {
        self.bytes.get(self.mark..self.bytes.len() - self.line_end).unwrap_or_default()
    }

    /// Whether a line end stands behind it.
    pub(crate) fn has_line_end(&self) -> bool {
        self.line_end > 0
    }
}

#[cfg(test)]
impl Record {
    /// A record without a fault, read by itself.
    pub(crate) fn of(bytes: &str) -> Record {
        let line_end = bytes.len() - bytes.trim_end_matches(['\r', '\n']).len();
        Record { bytes: bytes.into(), line: 1, fault: None, mark: 0, line_end, fields: 1 }
    }
}
