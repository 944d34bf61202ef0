//! `claimstore import`: records from an export, from tables of a database, from Redis.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::Context as _;
use claimstore::RecordState;
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::record::{Format, Head, Layout, Reader, Record, RecordArgs, Syntax, parse_names};
use crate::signals::Signals;
use crate::transfer::foreign::{IN_PROGRESS, Reading, Source};
use crate::transfer::line::Line;
use crate::transfer::load::{Loader, Tally};
use crate::transfer::row::{self, Row};
use crate::{descriptors, duration, print, store};

/// Writes records from standard input into a store, which is made if there is none.
///
/// A key that the store knows is left as it is, so an import that was interrupted is run again from the start. A record
/// that contradicts what the store knows is refused: another fingerprint of the payload, or another result. Records keep
/// the time they have left; those that have none are left out. What was in progress where it comes from is held for
/// review (`claimstore parked`): nobody here knows what came of it.
///
/// Of tables and of Redis, each row is a JSON object on a line, or a record of delimited text under a header
/// (--format csv). Names of columns are compared without case and `_`.
///
/// Exit codes: 0 all done; 3 some lines refused, each named on standard error; 64 usage; 65 the header cannot be read, or
/// the store is damaged; 74 input or store failed; 75 the store is open elsewhere; 130, 143 SIGINT, SIGTERM, after what
/// was read is written.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    store: StoreArgs,

    /// The namespace the keys go into; of an export in the place of their own [default: their own; of others: ""].
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Where the records come from.
    #[arg(long, value_enum, default_value_t = Source::Claimstore)]
    from: Source,

    /// How rows of a table are written [default: ndjson].
    #[arg(long, value_enum)]
    format: Option<Format>,

    #[command(flatten)]
    records: RecordArgs,

    /// The columns that make the key, with commas between them [default: by --from].
    #[arg(long, value_name = "NAME,..")]
    key: Vec<String>,

    /// How long a row without an end of its own is remembered, from when it was done [default: the policy's ttl].
    #[arg(long, value_name = "TIME", value_parser = duration::parse_ttl)]
    ttl: Option<Duration>,

    /// A status, or a value of Redis, that says that the work is not done; several times for more. In the place of:
    /// in_progress, in-progress, inprogress, processing, pending, started, running, locked, lock.
    #[arg(long, value_name = "WORD")]
    in_progress: Vec<String>,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.check()?;
        descriptors::check_input()?;
        let signals = Signals::install()?;
        let key = parse_names("--key", &self.key)?;
        let layout = self.layout()?;
        // The header comes first: a column it does not have is found before a store is made.
        let input = Input::standard(signals.clone())?;
        let (reader, head) = Reader::open(input, layout, || Ok(signals.check()?))?;
        let header = reader.syntax().map(|_| header(&head, &key)).transpose()?;
        let store = store::open_waiting(&self.store, &signals)?;
        let now = store.store_time();
        let reading = Reading { source: self.from, key, ttl: self.ttl, in_progress: self.words(), now };
        let mut run = Run { import: self, reading, header, loader: Loader::new(&store), ended: false };
        let result = run.take_all(reader, &signals);
        let (tally, ended) = (run.loader.tally, run.ended);
        drop(run);
        if self.from == Source::Claimstore && !ended && tally.read > 0 {
            say("the input has no last line of an export: it may be cut");
        }
        // Also with an error: what was written is there.
        self.tell(&tally)?;
        let closed = store.close().context("closing the store");
        let exit = result?;
        closed.map(|()| exit)
    }

    /// The words that say that work is not done.
    fn words(&self) -> Vec<String> {
        if self.in_progress.is_empty() {
            return IN_PROGRESS.map(str::to_owned).into();
        }
        self.in_progress.iter().map(|word| word.to_lowercase()).collect()
    }

    /// How the input is written. Rows need names.
    fn layout(&self) -> Result<Layout, Failure> {
        if self.records.no_header {
            return Err(Failure::new(Exit::Usage, "--no-header: rows of a table need names: say --columns"));
        }
        self.records.layout(self.format.unwrap_or(Format::Ndjson), true)
    }

    /// What only makes sense of tables.
    fn check(&self) -> Result<(), Failure> {
        let of_rows = [
            ("--format", self.format.is_some()),
            ("--delimiter", self.records.delimiter.is_some()),
            ("--columns", !self.records.columns.is_empty()),
            ("--key", !self.key.is_empty()),
            ("--ttl", self.ttl.is_some()),
            ("--in-progress", !self.in_progress.is_empty()),
        ];
        let usage = |message: String| Err(Failure::new(Exit::Usage, message));
        if let Some((name, _)) = of_rows.iter().find(|(_, given)| *given && self.from == Source::Claimstore) {
            return usage(format!("{name} is for rows of a table: say --from"));
        }
        Ok(())
    }

    fn tell(&self, tally: &Tally) -> anyhow::Result<Exit> {
        let Tally { read, imported, parked, known, expired, refused } = tally;
        if self.json {
            return print::json(&json!({
                "read": read,
                "imported": imported,
                "parked": parked,
                "known": known,
                "expired": expired,
                "refused": refused,
            }));
        }
        print::text(&format!(
            "{read} read, {imported} imported ({parked} of them parked), {known} known before, {expired} expired, \
             {refused} refused\n"
        ))
    }
}

/// The names of the columns of delimited text; those of `key` are among them.
fn header(head: &Head, key: &[String]) -> anyhow::Result<Vec<String>> {
    let names = head.names.as_deref().unwrap_or_default();
    let names = row::header(names).map_err(|message| Failure::new(Exit::Data, message))?;
    match key.iter().find(|name| !names.contains(&row::normal(name))) {
        Some(name) => Err(Failure::new(Exit::Usage, format!("the header has no column `{name}`")).into()),
        None => Ok(names),
    }
}

/// One run over one input.
struct Run<'a> {
    import: &'a Import,
    reading: Reading,
    /// Of delimited text.
    header: Option<Vec<String>>,
    loader: Loader<'a>,
    /// The last line of an export came by.
    ended: bool,
}

impl Run<'_> {
    fn take_all<R: Read>(&mut self, mut reader: Reader<R>, signals: &Signals) -> anyhow::Result<Exit> {
        let syntax = reader.syntax();
        loop {
            let ended = match reader.next_record() {
                Ok(Some(record)) => {
                    self.take(&record, syntax)?;
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
                Some(Exit::Done) if self.loader.tally.refused > 0 => return Ok(Exit::SomeRefused),
                Some(exit) => return Ok(exit),
                None => {}
            }
        }
    }

    /// Takes one record of the input.
    fn take(&mut self, record: &Record, syntax: Option<Syntax>) -> anyhow::Result<()> {
        let taken = match record.fault {
            Some(fault) => {
                self.loader.tally.read += 1;
                Err(fault.to_string())
            }
            None if self.import.from == Source::Claimstore => self.take_line(record)?,
            None => self.take_row(record, syntax),
        };
        if let Err(reason) = taken {
            self.loader.tally.refused += 1;
            tell_refused(record.line, &reason);
        }
        Ok(())
    }

    /// A line of an export.
    fn take_line(&mut self, record: &Record) -> anyhow::Result<Result<(), String>> {
        let content = record.content();
        let Ok(line) = serde_json::from_slice::<Line<'_>>(content) else {
            self.loader.tally.read += 1;
            return Ok(Err("not a line of an export".into()));
        };
        match line {
            Line::Namespace(rules) if self.import.namespace.is_none() => {
                // Records before this line are of namespaces before it, and there already.
                Ok(self.loader.prepare(&rules)?.map_or(Ok(()), Err))
            }
            Line::Namespace(_) => Ok(Ok(())),
            Line::Record(line) => {
                self.loader.tally.read += 1;
                let namespace = self.import.namespace.as_deref().unwrap_or(&line.namespace);
                let import = match line.import() {
                    Ok(import) => import,
                    Err(reason) => return Ok(Err(reason)),
                };
                self.loader.add(namespace, import, line.is_unsettled(), record.line, content.len());
                Ok(Ok(()))
            }
            Line::End { records } => {
                self.ended = true;
                let read = self.loader.tally.read;
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
            (Some(header), Some(syntax)) => Row::from_text(header, content, syntax)?,
            _ => Row::from_json(content)?,
        };
        match self.reading.record(&row)? {
            None => self.loader.tally.expired += 1,
            Some(import) => {
                let namespace = self.import.namespace.as_deref().unwrap_or_default();
                let parked = import.state() == RecordState::Parked;
                self.loader.add(namespace, import, parked, record.line, content.len());
            }
        }
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
    say(&format!("line {line}: {reason}"));
}

/// A line on standard error. Whoever closed it does not want it.
fn say(message: &str) {
    crate::print::say(message);
}
