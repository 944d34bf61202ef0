//! Finds where a record of delimited text ends, however its bytes come in.

use super::line_end::line_end;
use super::syntax::Syntax;

/// One record that is being read: how far it was looked at, and what was seen. Offsets are from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    place: Place,
    /// The next byte to look at.
    at: usize,
    /// Line ends inside the record.
    pub(super) lines: u64,
    /// Fields so far, the one that is being read included.
    pub(super) fields: usize,
    /// Where the last quoted field began.
    pub(super) opened: usize,
    /// The first quote inside an unquoted field.
    pub(super) stray: Option<usize>,
    /// Whether there is a backslash that escapes something.
    pub(super) escapes: bool,
}

/// Where in a record the scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Only here does a quote open a quoted field.
    FieldStart,
    /// Behind blanks at the beginning of a field.
    Blanks,
    Unquoted,
    Quoted,
    /// A quote inside quotes: the end of the field, or the first half of an escaped quote.
    QuoteInQuoted,
}

/// What is known of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not enough: it depends on bytes that are not there yet.
    More,
    /// It has so many bytes, of which the last so many are its line end.
    Ends { length: usize, line_end: usize },
    /// Its quotes are wrong, which shows at this byte.
    Broken { at: usize, why: Broken },
    /// A line of it ends inside quotes before the byte where an earlier record broke off: so will this one.
    Doomed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    OpenQuote,
    BehindQuote,
    QuoteBehindBlanks,
}

impl Scan {
    /// A record whose first `from` bytes are a byte order mark.
    pub(super) fn new(from: usize) -> Scan {
        let place = Place::FieldStart;
        Scan { place, at: from, lines: 0, fields: 1, opened: 0, stray: None, escapes: false }
    }

    /// Looks at what there is of the record and of what follows it. `doomed` is where an earlier record broke off.
    ///
    /// A line end inside quotes leaves the scan in one state, whatever stood before it. So a record that has one before
    /// the byte at which an earlier record broke off goes the way of that one. Each line is therefore looked at twice at
    /// most: from inside the quotes of a record that breaks off, and as the beginning of a record.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        at_end: bool,
        syntax: Syntax,
        doomed: Option<usize>,
    ) -> Verdict {
        while let Some(&byte) = bytes.get(self.at) {
            let step = match self.place {
                Place::Quoted => self.step_quoted(byte, bytes, at_end, syntax, doomed),
                Place::QuoteInQuoted => self.step_behind_quote(byte, bytes, at_end, syntax),
                Place::FieldStart | Place::Blanks | Place::Unquoted => {
                    self.step_unquoted(byte, bytes, at_end, syntax)
                }
            };
            if let Some(verdict) = step {
                return verdict;
            }
        }
        match (at_end, self.place) {
            (false, _) => Verdict::More,
            (true, Place::Quoted) => Verdict::Broken { at: self.at, why: Broken::OpenQuote },
            (true, _) => Verdict::Ends { length: self.at, line_end: 0 },
        }
    }

    /// The same where a record is a line.
    pub(super) fn advance_line(&mut self, bytes: &[u8], at_end: bool) -> Verdict {
        let rest = bytes.get(self.at..).unwrap_or_default();
        if let Some(before) = memchr::memchr2(b'\r', b'\n', rest) {
            self.at += before;
            return self.end(bytes, at_end);
        }
        self.at += rest.len();
        if at_end { Verdict::Ends { length: self.at, line_end: 0 } } else { Verdict::More }
    }

    fn step_unquoted(&mut self, byte: u8, bytes: &[u8], at_end: bool, syntax: Syntax) -> Option<Verdict> {
        match byte {
            byte if byte == syntax.delimiter => self.next_field(),
            b'\r' | b'\n' => return Some(self.end(bytes, at_end)),
            b'\\' if syntax.escapes => return self.step_escape(bytes, at_end, !syntax.quotes),
            b'"' if syntax.quotes => match self.place {
                Place::FieldStart => self.enter(Place::Quoted),
                Place::Blanks => {
                    return Some(Verdict::Broken { at: self.at, why: Broken::QuoteBehindBlanks });
                }
                _ => {
                    self.stray.get_or_insert(self.at);
                    self.enter(Place::Unquoted);
                }
            },
            byte if byte.is_ascii_whitespace() && self.place != Place::Unquoted => self.enter(Place::Blanks),
            _ => {
                self.place = Place::Unquoted;
                self.at += plain(bytes.get(self.at..).unwrap_or_default(), syntax).max(1);
            }
        }
        None
    }

    fn step_quoted(
        &mut self,
        byte: u8,
        bytes: &[u8],
        at_end: bool,
        syntax: Syntax,
        doomed: Option<usize>,
    ) -> Option<Verdict> {
        match byte {
            b'"' => self.enter(Place::QuoteInQuoted),
            b'\\' if syntax.escapes => return self.step_escape(bytes, at_end, true),
            b'\r' | b'\n' => {
                let Some(length) = line_end(bytes, self.at, at_end) else { return Some(Verdict::More) };
                self.at += length;
                self.lines += 1;
                return doomed.is_some_and(|doomed| self.at <= doomed).then_some(Verdict::Doomed);
            }
            _ => self.at += plain(bytes.get(self.at..).unwrap_or_default(), syntax).max(1),
        }
        None
    }

    fn step_behind_quote(&mut self, byte: u8, bytes: &[u8], at_end: bool, syntax: Syntax) -> Option<Verdict> {
        match byte {
            b'"' => self.enter(Place::Quoted),
            b'\r' | b'\n' => return Some(self.end(bytes, at_end)),
            byte if byte == syntax.delimiter => self.next_field(),
            _ => return Some(Verdict::Broken { at: self.at, why: Broken::BehindQuote }),
        }
        None
    }

    /// Steps over a backslash and what it escapes: also a line end, where that may belong to a field.
    fn step_escape(&mut self, bytes: &[u8], at_end: bool, over_lines: bool) -> Option<Verdict> {
        let length = match bytes.get(self.at + 1) {
            None if at_end => 0,
            None => return Some(Verdict::More),
            Some(b'\r' | b'\n') if !over_lines => 0,
            Some(b'\r' | b'\n') => {
                let Some(length) = line_end(bytes, self.at + 1, at_end) else { return Some(Verdict::More) };
                self.lines += 1;
                length
            }
            Some(_) => 1,
        };
        self.escapes = true;
        self.at += 1 + length;
        if self.place != Place::Quoted {
            self.place = Place::Unquoted;
        }
        None
    }

    fn end(&self, bytes: &[u8], at_end: bool) -> Verdict {
        let ends = |line_end| Verdict::Ends { length: self.at + line_end, line_end };
        line_end(bytes, self.at, at_end).map_or(Verdict::More, ends)
    }

    fn next_field(&mut self) {
        self.fields += 1;
        self.enter(Place::FieldStart);
    }

    fn enter(&mut self, place: Place) {
        if place == Place::Quoted && self.place == Place::FieldStart {
            self.opened = self.at;
        }
        self.place = place;
        self.at += 1;
    }
}

/// How many bytes at the beginning mean nothing in any place.
fn plain(bytes: &[u8], syntax: Syntax) -> usize {
    let means = |byte: &u8| matches!(byte, b'"' | b'\r' | b'\n' | b'\\') || *byte == syntax.delimiter;
    bytes.iter().position(means).unwrap_or(bytes.len())
}
