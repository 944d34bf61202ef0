//! What stands before the records: byte order mark, lines to be skipped, comments, `sep=;`, the header.

use std::io::{self, Read};

use anyhow::Context as _;

use super::fault::Measure;
use super::fields::fields;
use super::foreign;
use super::line_end::first_line;
use super::raw::{Record, looks_like_json};
use super::reader::Reader;
use super::syntax::{Basis, Header, Layout, Syntax};
use crate::exit::{Exit, Failure};
use crate::planted;

/// What stands before the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Every byte of it that is to be passed on, with a line end behind it.
    pub(crate) bytes: Vec<u8>,
    /// The names of the columns, as the header or the user has them; none where columns have numbers, and where the
    /// input ends before a header.
    pub(crate) names: Option<Vec<Vec<u8>>>,
}

const LOOKS_LIKE_JSON: &str = "the header looks like JSON: --format ndjson reads one JSON text a line, and --key takes JSON \
                               Pointers there (/id); --format csv reads the line as a header all the same";

impl<R: Read> Reader<R> {
    /// Reads the head. While nothing comes, `on_pause` is asked whether to go on.
    ///
    /// # Errors
    ///
    /// An input that is no text of records (UTF-16, an archive, SQL), and a header that cannot be read, or looks like
    /// JSON where that is refused: exit code 65.
    pub(crate) fn open(
        input: R,
        layout: Layout,
        mut on_pause: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<(Reader<R>, Head)> {
        let mut reader = Reader::new(input, layout);
        while !foreign::enough(reader.window.bytes()) && !reader.window.at_end() {
            waiting(&mut on_pause, || reader.window.fill())?;
        }
        if let Some(refusal) = foreign::refusal(reader.window.bytes()) {
            return Err(unreadable(refusal));
        }
        reader.note_mark();
        let mut head = Head { bytes: reader.preamble(&mut on_pause)?, names: None };
        match reader.layout.header.clone() {
            Header::None => {}
            Header::Given(names) => {
                reader.width = Some((names.len(), Measure::Given));
                head.names = Some(names.into_iter().map(String::into_bytes).collect());
            }
            Header::First => reader.header(&mut head, &mut on_pause)?,
        }
        Ok((reader, head))
    }

    /// Takes the lines before the header that are none of it, and returns those of them that are not blank.
    fn preamble(&mut self, on_pause: &mut impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<u8>> {
        let mut taken = Vec::new();
        while let Some((length, line_end)) = self.line_ahead(on_pause)? {
            let bytes = self.window.bytes();
            let content = bytes.get(self.mark..length).unwrap_or_default();
            let sep = self.layout.syntax.filter(|_| self.line == 1).and_then(|_| sep(content));
            let is_comment = self.layout.comment.as_ref().is_some_and(|prefix| content.starts_with(prefix));
            let is_blank = match self.layout.syntax {
                None => content.iter().all(u8::is_ascii_whitespace),
                Some(syntax) => content.iter().all(|byte| syntax.is_blank(*byte)),
            };
            if let Some(sep) = sep {
                self.obey(sep)?;
            } else if self.line > self.layout.skip_lines && !is_comment && !is_blank {
                break;
            }
            if length + line_end == 0 {
                break;
            }
            let is_kept = !is_blank || self.line <= self.layout.skip_lines;
            let line = self.take_line(length, line_end);
            if is_kept {
                taken.extend(self.ended_line(line));
            }
        }
        Ok(taken)
    }

    /// The next line: how long it is, and its end. Nothing where it is longer than a record may be, which is for the
    /// reader of records to tell.
    fn line_ahead(
        &mut self,
        on_pause: &mut impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<(usize, usize)>> {
        loop {
            let bytes = self.window.bytes();
            let line = first_line(bytes, 0, self.window.at_end());
            if line.is_some() || bytes.len() > super::fault::RECORD_BYTES {
                return Ok(line);
            }
            waiting(on_pause, || self.window.fill())?;
        }
    }

    /// A first line has said what the delimiter is.
    fn obey(&mut self, sep: u8) -> anyhow::Result<()> {
        let Some(syntax) = &mut self.layout.syntax else { return Ok(()) };
        if self.layout.sep_decides {
            syntax.delimiter = sep;
        } else if syntax.delimiter != sep {
            let message = "the first line of the input says another delimiter (`sep=`) than the command line";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        Ok(())
    }

    fn header(
        &mut self,
        head: &mut Head,
        on_pause: &mut impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // Taken for a header, the first event would be passed on at every run.
        let ahead = self.window.bytes().get(self.mark..).unwrap_or_default();
        if self.layout.basis == Basis::Assumed && looks_like_json(ahead) {
            return Err(unreadable(format!("line {}: {LOOKS_LIKE_JSON}", self.line)));
        }
        let Some(record) = waiting(on_pause, || self.next_piece())? else { return Ok(()) };
        if let Some(fault) = record.fault {
            return Err(unreadable(format!("the header, on line {}, cannot be read: {fault}", record.line)));
        }
        let syntax = self.layout.syntax.unwrap_or(Syntax::csv(b','));
        let names: Vec<_> =
            fields(record.content(), syntax).into_iter().map(|field| field.value.into_owned()).collect();
        self.width = Some((names.len(), Measure::Header));
        head.names = Some(names);
        head.bytes.extend(self.ended_line(record));
        Ok(())
    }

    /// The bytes of a record, with a line end behind it.
    pub(crate) fn ended_line(&self, record: Record) -> Vec<u8> {
        if planted::active(49) {
            return record.bytes;
        }
        let has_line_end = record.has_line_end();
        let mut bytes = record.bytes;
        if !has_line_end {
            bytes.extend_from_slice(self.line_end());
        }
        bytes
    }
}

/// Does what may have to wait for the input.
fn waiting<T>(
    on_pause: &mut impl FnMut() -> anyhow::Result<()>,
    mut act: impl FnMut() -> io::Result<T>,
) -> anyhow::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => on_pause()?,
            result => return result.context("reading the input"),
        }
    }
}

/// The delimiter that a line `sep=;` names, as spreadsheets read it.
fn sep(line: &[u8]) -> Option<u8> {
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter]
            if delimiter.is_ascii() && *delimiter != b'"' =>
        {
            Some(*delimiter)
        }
        _ => None,
    }
}

fn unreadable(message: String) -> anyhow::Error {
    Failure::new(Exit::Data, message).into()
}
