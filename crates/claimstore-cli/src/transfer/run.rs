//! One run of `claimstore import`: an input, record by record, into a store.

use std::io::{self, Read};
use std::sync::Arc;

use anyhow::Context as _;

use super::foreign;
use super::line::Line;
use super::load::Loader;
use super::reading::{NO_KEY, Reading, Source};
use super::row::{NO_OBJECT, Name, Row};
use super::words::Unknown;
use crate::exit::Exit;
use crate::print;
use crate::record::{Reader, Record, Syntax};
use crate::signals::Signals;

/// One run over one input.
pub(crate) struct Run<'a> {
    /// Where the records go; none: of an export each into its own.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) reading: Reading,
    /// The names of the columns of delimited text.
    pub(crate) header: Option<Vec<Arc<Name>>>,
    pub(crate) loader: Loader<'a>,
    /// Words of a status that are not known.
    pub(crate) unknown: Unknown,
    /// Rows and values that say nothing and were taken for done.
    pub(crate) assumed: u64,
    /// Lines that are no JSON objects.
    no_objects: u64,
    /// Rows of which no column names the key.
    no_keys: u64,
    export: Export,
}

/// Where a run is in an export.
#[derive(Debug, Default)]
struct Export {
    /// A line of it came by.
    begun: bool,
    /// Its last line came by, and nothing after it.
    ended: bool,
    /// Records since the last line of the export before: exports may follow each other.
    records: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        namespace: Option<&'a str>,
        reading: Reading,
        header: Option<Vec<Arc<Name>>>,
        loader: Loader<'a>,
    ) -> Run<'a> {
        let (unknown, export) = (Unknown::default(), Export::default());
        Run { namespace, reading, header, loader, unknown, assumed: 0, no_objects: 0, no_keys: 0, export }
    }

    /// Takes all that is left of the input. What was read is written, also with an error.
    pub(crate) fn take_all<R: Read>(
        &mut self,
        mut reader: Reader<R>,
        signals: &Signals,
    ) -> anyhow::Result<Exit> {
        let syntax = reader.syntax();
        loop {
            let ended = match reader.next_record() {
                Ok(Some(record)) => {
                    if let Err(error) = self.take(&record, syntax) {
                        self.write()?;
                        return Err(error);
                    }
                    if !self.loader.is_full() {
                        continue;
                    }
                    None
                }
                Ok(None) => Some(Exit::Done),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match signals.caught() {
                    None => continue,
                    Some(signal) => Some(Exit::Signal(signal)),
                },
                Err(error) => {
                    self.write()?;
                    return Err(error).context("reading the input");
                }
            };
            self.write()?;
            match ended {
                Some(Exit::Done) => return Ok(self.end()),
                Some(exit) => return Ok(exit),
                None => {}
            }
        }
    }

    /// The end of the input.
    fn end(&self) -> Exit {
        let tally = self.loader.tally;
        if self.reading.source == Source::Claimstore && !self.export.ended {
            let found = if self.export.begun { "is cut: it has no" } else { "is empty: an export has a" };
            print::say(&format!(
                "the input {found} last line with the number of its records; export and import again"
            ));
            return Exit::Data;
        }
        if tally.read == 0 && self.reading.source != Source::Claimstore {
            print::say("the input has no rows: nothing was imported");
        }
        if let Some(advice) = self.advice() {
            print::say(advice);
        }
        if tally.refused > 0 { Exit::SomeRefused } else { Exit::Done }
    }

    /// What helps where the whole input was refused for one reason.
    fn advice(&self) -> Option<&'static str> {
        match self.loader.tally.read {
            0 => None,
            read if read == self.no_objects => Some(
                "no line is a JSON object: if the input is delimited text, say --format csv, --format tsv or --format copy-text",
            ),
            read if read == self.no_keys && self.header.is_some() => Some(
                "no column of the header names the key: if the first line is a row, name the columns with --columns NAME,..; \
                 else say with --key which of them is the key",
            ),
            _ => None,
        }
    }

    /// Takes one record of the input.
    fn take(&mut self, record: &Record, syntax: Option<Syntax>) -> anyhow::Result<()> {
        self.export.begun = true;
        let taken = match record.fault {
            Some(fault) => {
                self.loader.tally.read += 1;
                self.export.records += 1;
                Err(fault.to_string())
            }
            None if self.reading.source == Source::Claimstore => self.take_line(record)?,
            None => self.take_row(record, syntax),
        };
        if let Err(reason) = taken {
            self.loader.tally.refused += 1;
            self.no_objects += u64::from(reason == NO_OBJECT);
            self.no_keys += u64::from(reason == NO_KEY);
            tell_refused(record.line, &reason);
        }
        Ok(())
    }

    /// A line of an export.
    fn take_line(&mut self, record: &Record) -> anyhow::Result<Result<(), String>> {
        let content = record.content();
        self.export.ended = false;
        let Ok(line) = serde_json::from_slice::<Line<'_>>(content) else {
            self.loader.tally.read += 1;
            self.export.records += 1;
            return Ok(Err("not a line of an export".into()));
        };
        match line {
            Line::Namespace(rules) if self.namespace.is_none() => {
                // Records before this line are of namespaces before it, and there already.
                Ok(self.loader.prepare(&rules)?.map_or(Ok(()), Err))
            }
            Line::Namespace(_) => Ok(Ok(())),
            Line::Record(line) => {
                self.loader.tally.read += 1;
                self.export.records += 1;
                let namespace = self.namespace.unwrap_or(&line.namespace);
                let import = match line.import() {
                    Ok(import) => import,
                    Err(reason) => return Ok(Err(reason)),
                };
                self.loader.add(namespace, import, true, record.line, content.len());
                Ok(Ok(()))
            }
            Line::End { records } => {
                let read = std::mem::take(&mut self.export.records);
                self.export.ended = true;
                let told = format!("the export had {records} records, and {read} came before this line");
                Ok(if records == read { Ok(()) } else { Err(told) })
            }
        }
    }

    /// A row of a table.
    fn take_row(&mut self, record: &Record, syntax: Option<Syntax>) -> Result<(), String> {
        self.loader.tally.read += 1;
        let content = record.content();
        let row = match (&self.header, syntax) {
            (Some(header), Some(syntax)) => Row::from_text(header, content, syntax, &self.reading.nulls)?,
            _ => Row::from_json(content, &self.reading.nulls)?,
        };
        let Some(taken) = foreign::record(&self.reading, &row)? else {
            self.loader.tally.expired += 1;
            return Ok(());
        };
        taken.count_unknown(&mut self.unknown);
        self.assumed += u64::from(taken.is_assumed);
        let namespace = self.namespace.unwrap_or_default();
        self.loader.add(namespace, taken.import, taken.has_end, record.line, content.len());
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        for (line, reason) in self.loader.write()? {
            tell_refused(line, &reason);
        }
        Ok(())
    }
}

fn tell_refused(line: u64, reason: &str) {
    print::say(&format!("line {line}: {reason}"));
}
