//! Cuts a stream into records without changing a byte.

use std::io::{self, BufRead};

use super::{BYTE_ORDER_MARK, Record};

/// Longer records are refused, so that one unclosed quote cannot fill the memory.
pub(crate) const RECORD_BYTES: usize = 16 << 20;

/// Why a piece of input is not a record that can be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Longer than [`RECORD_BYTES`].
    TooLong,
    /// The input ended inside quotes.
    OpenQuote,
}

/// A resumable splitter: an error of the reader (`WouldBlock` among them) loses nothing, the next call
/// goes on where it stood.
#[derive(Debug)]
pub(crate) struct Splitter<R> {
    input: R,
    scan: Scan,
    /// The bytes of the record being read; empty once it proved too long.
    pending: Vec<u8>,
    too_long: bool,
    /// Whether a byte of the record being read was seen.
    begun: bool,
    first: bool,
    line: u64,
    start_line: u64,
    limit: usize,
}

impl<R: BufRead> Splitter<R> {
    /// Records of delimited text: a line ending inside quotes belongs to the field.
    pub(crate) fn csv(input: R, delimiter: u8) -> Self {
        Self::new(input, Some(delimiter))
    }

    /// One record a line.
    pub(crate) fn lines(input: R) -> Self {
        Self::new(input, None)
    }

    fn new(input: R, delimiter: Option<u8>) -> Self {
        Splitter {
            input,
            scan: Scan { delimiter, place: Place::FieldStart, mark: Some(0) },
            pending: Vec::new(),
            too_long: false,
            begun: false,
            first: true,
            line: 1,
            start_line: 1,
            limit: RECORD_BYTES,
        }
    }

    /// The next record, or `None` at the end of the input.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(self.begun.then(|| self.finish()));
            }
            let (length, ended) = self.scan.advance(buffer, &mut self.line);
            let piece = buffer.get(..length).unwrap_or(buffer);
            self.begun = true;
            if self.too_long || self.pending.len() + piece.len() > self.limit {
                self.too_long = true;
                self.pending = Vec::new();
            } else {
                self.pending.extend_from_slice(piece);
            }
            self.input.consume(length);
            if ended {
                return Ok(Some(self.finish()));
            }
        }
    }

    fn finish(&mut self) -> Record {
        let fault = match (self.too_long, self.scan.place) {
            (true, _) => Some(Fault::TooLong),
            (false, Place::Quoted) => Some(Fault::OpenQuote),
            (false, _) => None,
        };
        let record = Record {
            bytes: std::mem::take(&mut self.pending),
            line: self.start_line,
            first: self.first,
            fault,
        };
        self.scan.place = Place::FieldStart;
        self.scan.mark = None;
        self.too_long = false;
        self.begun = false;
        self.first = false;
        self.start_line = self.line;
        record
    }
}

/// Where in a record the scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Only here does a quote open a quoted field.
    FieldStart,
    Unquoted,
    Quoted,
    /// A quote inside quotes: the end of the field, or the first half of an escaped quote.
    QuoteInQuoted,
}

/// The state machine that finds where a record ends.
#[derive(Debug)]
struct Scan {
    /// `None`: quotes mean nothing, a record is a line.
    delimiter: Option<u8>,
    place: Place,
    /// How much of a byte order mark was seen; `None` once the input can no longer begin with one.
    mark: Option<usize>,
}

impl Scan {
    /// How many bytes of `buffer` belong to the current record, and whether it ends with them. Counts line endings
    /// in `line`.
    fn advance(&mut self, buffer: &[u8], line: &mut u64) -> (usize, bool) {
        for (index, &byte) in buffer.iter().enumerate() {
            *line += u64::from(byte == b'\n');
            if self.step(byte) {
                return (index + 1, true);
            }
        }
        (buffer.len(), false)
    }

    /// Takes one byte; true when it ends the record.
    fn step(&mut self, byte: u8) -> bool {
        let Some(delimiter) = self.delimiter else { return byte == b'\n' };
        if self.is_mark(byte) {
            return false;
        }
        self.place = match (self.place, byte) {
            (Place::Quoted, b'"') => Place::QuoteInQuoted,
            (Place::Quoted, _) | (Place::FieldStart | Place::QuoteInQuoted, b'"') => Place::Quoted,
            (_, b'\n') => return true,
            (_, byte) if byte == delimiter => Place::FieldStart,
            // After a closing quote, what is no quote, delimiter or end is kept as plain text.
            _ => Place::Unquoted,
        };
        false
    }

    /// A byte order mark in front of a quote must not hide that the quote opens a field.
    fn is_mark(&mut self, byte: u8) -> bool {
        let Some(seen) = self.mark else { return false };
        if BYTE_ORDER_MARK.get(seen) == Some(&byte) {
            self.mark = Some(seen + 1);
            return true;
        }
        if (1..BYTE_ORDER_MARK.len()).contains(&seen) {
            self.place = Place::Unquoted;
        }
        self.mark = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;

    use super::*;

    fn split(mut splitter: Splitter<impl BufRead>) -> Vec<Record> {
        std::iter::from_fn(|| splitter.next_record().unwrap()).collect()
    }

    fn check(input: &str, expected: &[(u64, &str)]) {
        for capacity in [1, 2, 3, 64] {
            let records = split(Splitter::csv(BufReader::with_capacity(capacity, input.as_bytes()), b';'));
            let found: Vec<_> =
                records.iter().map(|r| (r.line, std::str::from_utf8(&r.bytes).unwrap())).collect();
            assert_eq!(found, expected, "capacity {capacity}");
        }
    }

    #[test]
    fn records_keep_their_bytes_and_know_their_line() {
        check("", &[]);
        check("a;b\nc;d\n", &[(1, "a;b\n"), (2, "c;d\n")]);
        check("a;b\r\nc;d", &[(1, "a;b\r\n"), (2, "c;d")]);
        check("\n\n", &[(1, "\n"), (2, "\n")]);
        check("a;\"x\ny\";b\nc\n", &[(1, "a;\"x\ny\";b\n"), (3, "c\n")]);
        check("a;\"x\r\n\"\"y\"\r\nc", &[(1, "a;\"x\r\n\"\"y\"\r\n"), (3, "c")]);
        check("a;7\" wide\nc\n", &[(1, "a;7\" wide\n"), (2, "c\n")]);
        check("\"a\"b\"\nc\n", &[(1, "\"a\"b\"\n"), (2, "c\n")]);
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_a_quote() {
        check("\u{feff}\"a\nb\";c\nd\n", &[(1, "\u{feff}\"a\nb\";c\n"), (3, "d\n")]);
        check("\u{feff}a\n\u{feff}\"b\n", &[(1, "\u{feff}a\n"), (2, "\u{feff}\"b\n")]);
    }

    #[test]
    fn half_a_byte_order_mark_is_text() {
        let records = split(Splitter::csv(&b"\xEF\xBB\"a\nb\n"[..], b';'));
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn lines_know_no_quotes() {
        let records = split(Splitter::lines(&b"{\"a\":\"x\"}\n\"\n"[..]));
        assert_eq!(records.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn an_unclosed_quote_is_a_fault_of_its_first_line() {
        let records = split(Splitter::csv(&b"a\n\"b\nc\n"[..], b';'));
        assert_eq!(records[1].line, 2);
        assert_eq!(records[1].fault, Some(Fault::OpenQuote));
    }

    #[test]
    fn a_long_record_is_refused_and_the_next_one_is_whole() {
        let mut splitter = Splitter::csv(&b"abcd\nabcde\nab\n"[..], b';');
        splitter.limit = 5;
        let records = split(splitter);
        assert_eq!(records[0].fault, None);
        assert_eq!((records[1].fault, records[1].bytes.len()), (Some(Fault::TooLong), 0));
        assert_eq!((records[2].line, records[2].bytes.as_slice()), (3, &b"ab\n"[..]));
    }

    /// Hands out one byte, then says `WouldBlock`, in turns.
    struct Stutter<'a>(&'a [u8], bool);

    impl Read for Stutter<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let length = self.0.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn a_pause_in_the_middle_of_a_record_loses_nothing() {
        let mut splitter = Splitter::csv(BufReader::new(Stutter(b"a;\"b\n\"\nc", false)), b';');
        let mut records = Vec::new();
        loop {
            match splitter.next_record() {
                Ok(Some(record)) => records.push(record.bytes),
                Ok(None) => break,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(records, [&b"a;\"b\n\"\n"[..], b"c"]);
    }

    proptest! {
        #[test]
        fn the_records_of_any_bytes_are_those_bytes(input in prop::collection::vec(
            prop::sample::select(b"ab\";\r\n\xEF\xBB\xBF".to_vec()), 0..60)
        ) {
            let records = split(Splitter::csv(BufReader::with_capacity(7, input.as_slice()), b';'));
            let joined: Vec<u8> = records.iter().flat_map(|r| r.bytes.clone()).collect();
            prop_assert_eq!(joined, input);
        }
    }
}
