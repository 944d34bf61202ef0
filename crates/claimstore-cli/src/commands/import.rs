//! `claimstore import`: records from an export, a table or Redis.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};

use crate::codes;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::record::{Format, Head, Layout, Reader, RecordArgs, looks_like_json, parse_names};
use crate::signals::Signals;
use crate::store_args::StoreArgs;
use crate::transfer::load::{Loader, Tally};
use crate::transfer::reading::{Reading, Source, Unsaid};
use crate::transfer::row::{self, Name, Nulls};
use crate::transfer::run::Run;
use crate::transfer::said::Language;
use crate::transfer::time::Times;
use crate::transfer::words::{Given, Unknown, Words};
use crate::{descriptors, duration, print, store};

/// Writes records from standard input into a store, which is made if there is none.
///
/// A key that the store knows is left as it is, so an import that was interrupted is run again from the start. A record
/// that contradicts what the store knows is refused: another fingerprint of the payload, or another result. Records keep
/// the time they have left; those that have none are left out. What was in progress where it comes from is held for
/// review (`claimstore parked`): nobody here knows what came of it.
///
/// Of tables and of Redis, each row is a JSON object on a line, or a record of delimited text under a header
/// (--format csv, tsv, copy-text; --columns names the columns where there is no header). Names of columns are compared without case, blanks and `_`. A row is done only if it says so, by a
/// word of its status, a time, or a flag; it failed only if it says so; every other row is held for review, with its
/// word in the note, and words that are not known are counted.
///
/// A row that does not say until when it is remembered is remembered for --ttl after it was done, else for the ttl of
/// the namespace: a new namespace remembers for a day, so rows that are older than that are left out without --ttl. "For
/// ever" (`infinity`, 9999-12-31) is as long as a store remembers anything, 10 years.
#[derive(Debug, Args)]
#[command(after_long_help = codes::IMPORT.listed())]
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

    /// The column that says how the work stands [default: status, state, job_status and the like].
    #[arg(long, value_name = "NAME")]
    status: Option<String>,

    /// A status, or a value of Redis, that says that the work is done, beside done, complete, completed, success,
    /// succeeded, processed, finished; several times for more. Case and blanks around a word do not count.
    #[arg(long, value_name = "WORD")]
    done: Vec<String>,

    /// The words that say that the work is done, in the place of the usual ones.
    #[arg(long, value_name = "WORD,..", value_delimiter = ',')]
    only_done: Vec<String>,

    /// A word that says that the work failed for good, beside failed, failure, error, discarded, cancelled, canceled,
    /// dead.
    #[arg(long, value_name = "WORD")]
    failed: Vec<String>,

    /// A word that says that the work goes on, beside in_progress, in-progress, in progress, inprogress, processing,
    /// pending, started, running, locked, lock. Such rows are held for review like all that are not done; their word
    /// is not counted as unknown.
    #[arg(long, value_name = "WORD")]
    in_progress: Vec<String>,

    /// A word that stands for null in any column, beside nothing, `\N` and `NULL` of delimited text and the null of
    /// JSON.
    #[arg(long, value_name = "WORD")]
    null: Vec<String>,

    /// How times are written, as strftime has it, beside the usual forms: %Y%m%d, "%d.%m.%Y %H:%M:%S"; several times
    /// for more. Without a zone it is UTC.
    #[arg(long, value_name = "FORMAT")]
    time_format: Vec<String>,

    /// What becomes of a row without any column that says how the work stands, and of a value of Redis that is no
    /// status [default: done; parked where the table is a queue, or the value looks like the token of a lock].
    #[arg(long, value_enum)]
    unsaid: Option<Unsaid>,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        self.check()?;
        descriptors::check_input()?;
        let key = parse_names("--key", &self.key)?;
        let language = self.language()?;
        let layout = self.layout()?;
        let signals = Signals::install()?;
        // The header comes first: a column it does not have is found before a store is made.
        let input = Input::standard(signals.clone())?;
        let (reader, head) = Reader::open(input, layout, || Ok(signals.check()?))?;
        let header = reader.syntax().map(|_| self.header(&head, &key)).transpose()?;
        let store = store::open_waiting(&self.store, &signals)?;
        let reading = Reading {
            source: self.from,
            key,
            ttl: self.ttl,
            nulls: Nulls::new(&self.null),
            language,
            unsaid: self.unsaid,
            now: store.store_time(),
        };
        let mut run = Run::new(self.namespace.as_deref(), reading, header, Loader::new(&store));
        let result = run.take_all(reader, &signals);
        let counted = Counted { tally: run.loader.tally, unknown: run.unknown, assumed: run.assumed };
        // Also with an error: what was written is there.
        self.tell(&counted)?;
        let closed = store.close().context("closing the store");
        let exit = result?;
        closed.map(|()| exit)
    }

    /// What only makes sense of tables.
    fn check(&self) -> Result<(), Failure> {
        let of_rows = [
            ("--format", self.format.is_some()),
            ("--delimiter", self.records.delimiter.is_some()),
            ("--columns", !self.records.columns.is_empty()),
            ("--key", !self.key.is_empty()),
            ("--ttl", self.ttl.is_some()),
            ("--status", self.status.is_some()),
            ("--done", !self.done.is_empty()),
            ("--only-done", !self.only_done.is_empty()),
            ("--failed", !self.failed.is_empty()),
            ("--in-progress", !self.in_progress.is_empty()),
            ("--null", !self.null.is_empty()),
            ("--time-format", !self.time_format.is_empty()),
            ("--unsaid", self.unsaid.is_some()),
        ];
        if let Some((name, _)) = of_rows.iter().find(|(_, given)| *given && self.from == Source::Claimstore) {
            return Err(usage(format!("{name} is for rows of a table: say --from")));
        }
        if self.unsaid.is_some() && self.from == Source::SqlIdempotencyKeys {
            return Err(usage("--unsaid: a request is done only if its row says so"));
        }
        Ok(())
    }

    /// How statuses and times are read.
    fn language(&self) -> Result<Language, Failure> {
        let words = Words::new(&Given {
            done: self.done.clone(),
            only_done: self.only_done.clone(),
            failed: self.failed.clone(),
            in_progress: self.in_progress.clone(),
        });
        let times = Times::new(&self.time_format);
        Ok(Language {
            words: words.map_err(usage)?,
            times: times.map_err(|message| usage(format!("--time-format: {message}")))?,
            status: self.status.as_deref().map(row::normal),
        })
    }

    /// How the input is written. Rows need names.
    fn layout(&self) -> Result<Layout, Failure> {
        if self.records.no_header {
            return Err(usage("--no-header: rows of a table need names: say --columns"));
        }
        self.records.layout(self.format.unwrap_or(Format::Ndjson), true)
    }

    /// The names of the columns of delimited text; those that are named are among them.
    fn header(&self, head: &Head, key: &[String]) -> Result<Vec<Arc<Name>>, Failure> {
        let data = |message: String| Failure::new(Exit::Data, message);
        let names = head.names.as_ref().ok_or_else(|| data("the input is empty: it has no header".into()))?;
        let header = row::header(names).map_err(data)?;
        let is_there = |name: &str| header.iter().any(|column| column.plain() == row::normal(name));
        match key.iter().chain(&self.status).find(|name| !is_there(name)) {
            Some(name) if names.first().is_some_and(|first| looks_like_json(first)) => Err(usage(format!(
                "there is no column `{name}`, and the header looks like JSON: --format ndjson reads that"
            ))),
            Some(name) => Err(usage(format!("there is no column `{name}`"))),
            None => Ok(header),
        }
    }

    fn tell(&self, counted: &Counted) -> anyhow::Result<Exit> {
        if self.json {
            return print::json(&counted.as_json(self.from));
        }
        print::text(&counted.as_text())
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// What became of the input.
struct Counted {
    tally: Tally,
    unknown: Unknown,
    assumed: u64,
}

impl Counted {
    fn as_json(&self, source: Source) -> Value {
        let Tally { read, imported, parked, known, expired, expired_by_ttl, refused } = self.tally;
        let mut counts: Map<String, Value> = [
            ("read", read),
            ("imported", imported),
            ("parked", parked),
            ("known", known),
            ("expired", expired),
            ("refused", refused),
        ]
        .map(|(name, count)| (name.to_owned(), count.into()))
        .into_iter()
        .collect();
        if source != Source::Claimstore {
            let words = self.unknown.counts().map(|(word, count)| (word.to_owned(), count.into()));
            counts.extend([
                ("expired_by_ttl".to_owned(), expired_by_ttl.into()),
                ("unknown_words".to_owned(), Value::Object(words.collect())),
                ("assumed_done".to_owned(), self.assumed.into()),
            ]);
        }
        Value::Object(counts)
    }

    fn as_text(&self) -> String {
        let Tally { read, imported, parked, known, expired, expired_by_ttl, refused } = self.tally;
        let mut text = format!(
            "{read} read, {imported} imported ({parked} of them parked), {known} known before, {expired} expired, \
             {refused} refused\n"
        );
        if expired_by_ttl > 0 {
            let _ = writeln!(
                text,
                "{expired_by_ttl} of the expired do not say until when they are remembered, and are older than the ttl of the \
                 namespace: --ttl TIME remembers them for longer"
            );
        }
        if !self.unknown.is_empty() {
            let words: Vec<_> =
                self.unknown.counts().map(|(word, count)| format!("{word} ({count})")).collect();
            let _ = writeln!(
                text,
                "words that are not known, their rows held for review: {}; --done WORD, --failed WORD and --in-progress WORD say \
                 what they mean",
                words.join(", ")
            );
        }
        if self.assumed > 0 {
            let _ = writeln!(
                text,
                "{} do not say how the work stands and count as done: --unsaid park holds them for review",
                self.assumed
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_summary_says_what_helps() {
        let mut counted = Counted { tally: Tally::default(), unknown: Unknown::default(), assumed: 0 };
        assert_eq!(
            counted.as_text(),
            "0 read, 0 imported (0 of them parked), 0 known before, 0 expired, 0 refused\n"
        );
        counted.tally.expired_by_ttl = 3;
        counted.unknown.count("NEW");
        counted.assumed = 7;
        let text = counted.as_text();
        for part in [
            "\n3 of the expired ",
            "--ttl TIME",
            ": new (1); --done WORD",
            "\n7 do not say ",
            "--unsaid park",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(counted.as_json(Source::Redis)["unknown_words"], json!({ "new": 1 }));
        assert_eq!(counted.as_json(Source::Claimstore).as_object().map(Map::len), Some(6));
    }
}
