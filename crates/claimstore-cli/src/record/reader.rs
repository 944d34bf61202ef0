//! Reads records one after the other, without changing a byte.

use std::io::{self, Read};

use super::fault::{At, Fault, Measure, RECORD_BYTES};
use super::fields::escape_fault;
use super::line_end::{count_lines, first_line};
use super::raw::{BYTE_ORDER_MARK, Record};
use super::scan::{Broken, Scan, Verdict};
use super::syntax::{Layout, Syntax};
use super::window::Window;
use crate::planted;

/// A resumable reader: an error of the input (`WouldBlock` among them) loses nothing, the next call goes on where it
/// stood.
///
/// Every byte behind the head is in exactly one record or on a blank line, in order. Where the quotes of a record are
/// wrong, its first line alone is refused, and the line behind it begins the next record: one quote too many takes no
/// other event along.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    pub(super) window: Window<R>,
    pub(super) layout: Layout,
    scan: Scan,
    /// The line that the window begins on.
    pub(super) line: u64,
    /// Bytes of a byte order mark that the window begins with.
    pub(super) mark: usize,
    /// The number of fields that records have, and who says so.
    pub(super) width: Option<(usize, Measure)>,
    /// The line end that was seen first.
    pub(super) line_end: Option<Vec<u8>>,
    /// What becomes of records that lie behind the beginning of one whose quotes are wrong.
    doom: Option<Doom>,
    /// The rest of the line belongs to a record that was refused as too long.
    in_long_line: bool,
    /// The end mark came by.
    ended: bool,
    limit: usize,
}

/// A record broke off at a byte, counted from the beginning of the input.
#[derive(Debug, Clone, Copy)]
struct Doom {
    until: u64,
    why: Broken,
    at: At,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R, layout: Layout) -> Reader<R> {
        Reader {
            window: Window::new(input),
            layout,
            scan: Scan::new(0),
            line: 1,
            mark: 0,
            width: None,
            line_end: None,
            doom: None,
            in_long_line: false,
            ended: false,
            limit: RECORD_BYTES,
        }
    }

    /// How fields are written; nothing where a record is a line.
    pub(crate) fn syntax(&self) -> Option<Syntax> {
        self.layout.syntax
    }

    /// How many bytes of the input were used up.
    pub(crate) fn used(&self) -> u64 {
        self.window.used()
    }

    /// The line end of this input: that of its first line.
    pub(crate) fn line_end(&self) -> &[u8] {
        self.line_end.as_deref().unwrap_or(b"\n")
    }

    /// The next record, or `None` at the end of the input. Blank lines are none.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.in_long_line {
                self.skip_long_line()?;
            }
            let Some(record) = self.next_piece()? else { return Ok(None) };
            if record.fault.is_none() && self.is_blank(&record) {
                continue;
            }
            if self.layout.end_mark && record.content() == br"\." {
                self.ended = true;
                continue;
            }
            return Ok(Some(self.measured(record)));
        }
    }

    /// The next record, which may be a blank line.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.window.bytes().is_empty() && self.window.at_end() {
                return Ok(None);
            }
            match self.look() {
                Verdict::Ends { length, line_end } => return Ok(Some(self.cut(length, line_end))),
                Verdict::Broken { at, why } => return self.cut_broken(at, why).map(Some),
                Verdict::Doomed => return self.cut_doomed().map(Some),
                Verdict::More if self.window.bytes().len() >= self.limit => return self.cut_long().map(Some),
                Verdict::More => self.window.fill()?,
            }
        }
    }

    /// Looks at as much of the window as a record may have, so that the answer does not depend on how it came.
    fn look(&mut self) -> Verdict {
        let bytes = self.window.bytes();
        let (bytes, at_end) = match bytes.get(..self.limit) {
            Some(first) if bytes.len() > self.limit => (first, false),
            _ => (bytes, self.window.at_end()),
        };
        match self.layout.syntax {
            None => self.scan.advance_line(bytes, at_end),
            Some(syntax) => {
                let doomed = self.doom.and_then(|doom| doom.until.checked_sub(self.window.used()));
                let doomed = doomed.and_then(|doomed| usize::try_from(doomed).ok());
                self.scan.advance(bytes, at_end, syntax, doomed)
            }
        }
    }

    /// A record that ends well, as far as quotes go.
    fn cut(&mut self, length: usize, line_end: usize) -> Record {
        let bytes = self.window.bytes();
        let content = bytes.get(..length - line_end).unwrap_or_default();
        let is_doubtful = self.doom.is_some_and(|doom| self.window.used() < doom.until);
        let escape = || {
            let (syntax, content) = (self.layout.syntax?, content.get(self.mark..)?);
            escape_fault(content, syntax).map(|at| self.mark + at)
        };
        let fault = match self.scan.stray {
            Some(stray) if is_doubtful => Some(Fault::StrayQuote(self.place(stray))),
            _ if self.scan.escapes => escape().map(|at| Fault::Escape(self.place(at))),
            _ => None,
        };
        let lines = self.scan.lines + u64::from(line_end > 0);
        self.record(length, line_end, lines, fault)
    }

    /// The first line of a record whose quotes are wrong, which shows at `at`.
    fn cut_broken(&mut self, at: usize, why: Broken) -> io::Result<Record> {
        let doom = Doom { until: self.window.used() + at as u64, why, at: self.place(at) };
        if self.doom.is_none_or(|known| known.until < doom.until) {
            self.doom = Some(doom);
        }
        self.cut_first_line(doom)
    }

    /// The same of one that goes the way of an earlier one.
    fn cut_doomed(&mut self) -> io::Result<Record> {
        let doom = self.doom.unwrap_or(Doom { until: 0, why: Broken::OpenQuote, at: self.place(0) });
        self.cut_first_line(doom)
    }

    fn cut_first_line(&mut self, doom: Doom) -> io::Result<Record> {
        let fault = match doom.why {
            Broken::OpenQuote => Fault::OpenQuote(self.place(self.scan.opened)),
            Broken::BehindQuote => Fault::BehindQuote(doom.at),
            Broken::QuoteBehindBlanks => Fault::QuoteBehindBlanks(doom.at),
        };
        loop {
            // With a limit, so that it does not depend on how the bytes came either.
            let bytes = self.window.bytes();
            let bytes = bytes.get(..self.limit).unwrap_or(bytes);
            let at_end = self.window.at_end() && bytes.len() == self.window.bytes().len();
            if let Some((length, line_end)) = first_line(bytes, 0, at_end) {
                let lines = u64::from(line_end > 0);
                return Ok(self.record(length + line_end, line_end, lines, Some(fault)));
            }
            if bytes.len() >= self.limit {
                return Ok(self.cut_long_line());
            }
            self.window.fill()?;
        }
    }

    /// A record that is too long. One of several lines has a quote that takes them along, and is refused for that.
    fn cut_long(&mut self) -> io::Result<Record> {
        let has_quotes = self.layout.syntax.is_some_and(|syntax| syntax.quotes);
        if self.scan.lines > 0 && has_quotes {
            return self.cut_broken(self.limit, Broken::OpenQuote);
        }
        Ok(self.cut_long_line())
    }

    fn cut_long_line(&mut self) -> Record {
        self.in_long_line = true;
        Record { bytes: Vec::new(), ..self.record(self.limit, 0, 0, Some(Fault::TooLong)) }
    }

    fn record(&mut self, length: usize, line_end: usize, lines: u64, fault: Option<Fault>) -> Record {
        let (mark, line, fields) = (self.mark, self.line, self.scan.fields);
        let bytes = self.window.take(length);
        if line_end > 0 && self.line_end.is_none() {
            self.line_end = bytes.get(length - line_end..).map(<[u8]>::to_vec);
        }
        self.line += lines;
        self.mark = 0;
        self.scan = Scan::new(0);
        Record { bytes, line, fault, mark, line_end, fields }
    }

    fn skip_long_line(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.window.bytes();
            if let Some((length, line_end)) = first_line(bytes, 0, self.window.at_end()) {
                self.window.skip(length + line_end);
                self.line += u64::from(line_end > 0);
                self.in_long_line = false;
                return Ok(());
            }
            // A return at the end may begin a longer line end.
            let length = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            self.window.skip(length);
            self.window.fill()?;
        }
    }

    /// The record, refused if it has another number of fields than all have, or stands behind the end.
    fn measured(&mut self, record: Record) -> Record {
        if planted::active(45) {
            return record;
        }
        let fault = match record.fault {
            Some(fault) => Some(fault),
            None if self.ended => Some(Fault::BehindEnd),
            None if self.layout.any_width => None,
            None => {
                let fields = record.fields;
                let (expected, measure) = *self.width.get_or_insert((fields, Measure::FirstRecord));
                let lines = self.line - record.line + u64::from(record.line_end == 0);
                (fields != expected).then_some(Fault::Width { fields, expected, measure, lines })
            }
        };
        Record { fault, ..record }
    }

    fn is_blank(&self, record: &Record) -> bool {
        let is_blank = |byte: &u8| match self.layout.syntax {
            None => byte.is_ascii_whitespace(),
            Some(syntax) => syntax.is_blank(*byte),
        };
        record.content().iter().all(is_blank)
    }

    /// Where a byte of the record that the window begins with stands in the input.
    fn place(&self, at: usize) -> At {
        let bytes = self.window.bytes();
        let before = bytes.get(self.mark.min(at)..at).unwrap_or_default();
        let (lines, begun) = count_lines(before);
        let characters = begun.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        At { line: self.line + lines, column: 1 + characters as u64 }
    }

    #[cfg(test)]
    pub(super) fn limited(self, limit: usize) -> Reader<R> {
        Reader { limit, ..self }
    }

    /// Takes note of a byte order mark, which is in front of the first line only.
    pub(super) fn note_mark(&mut self) {
        if self.window.bytes().starts_with(BYTE_ORDER_MARK) {
            self.mark = BYTE_ORDER_MARK.len();
            self.scan = Scan::new(self.mark);
        }
    }

    /// Takes a line away that is no record.
    pub(super) fn take_line(&mut self, length: usize, line_end: usize) -> Record {
        self.record(length + line_end, line_end, u64::from(line_end > 0), None)
    }
}
