//! `claimstore dedupe`: reads records, makes batches of them, passes these on.

use std::io::{self, BufRead, BufReader};

use anyhow::Context as _;

use crate::args::{Dedupe, Format, OnCrash};
use crate::batch::{self, Claims, Event, Tally};
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::key::Keyer;
use crate::output::{Output, Sink, Stopped};
use crate::progress::Progress;
use crate::record::{Record, Splitter};
use crate::signals::Signals;
use crate::store::{self, StoreClaims};

/// A batch closes early at this size, so that large records do not pile up in memory.
const BATCH_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 64 << 10;

/// Runs the command. What became of the records is on standard error when it returns, also with an error.
pub(crate) fn run(args: &Dedupe) -> anyhow::Result<Exit> {
    let spec = args.key_spec()?;
    let namespace = spec.namespace();
    let signals = Signals::install()?;
    let input = Input::standard(signals.clone())?;
    let progress = Progress::new(input.size_bytes());
    let mut splitter = splitter(args, BufReader::with_capacity(READ_BYTES, input));
    // The header comes first: a column it does not have is found before a store is made.
    let header = match args.format {
        Format::Csv => read_header(&mut splitter, &signals)?,
        Format::Ndjson => None,
    };
    let keyer = match (args.format, &header) {
        (Format::Csv, None) => {
            progress.finish(&Tally::default());
            return Ok(Exit::Done);
        }
        _ => spec.bind(header.as_ref(), args.delimiter()).map_err(usage)?,
    };
    let store = store::open_waiting(&args.store, &signals)?;
    let claims = StoreClaims::new(&store, &namespace, args.ttl)?;
    let output = Output::standard(signals.clone())?;
    let batch = Batch::new(usize::try_from(args.batch)?);
    let mut run =
        Run { claims, output, keyer, on_crash: args.on_crash, progress, batch, tally: Tally::default() };
    let result = run.pass_all(header, &mut splitter, &signals);
    run.progress.finish(&run.tally);
    drop(run);
    let exit = result?;
    store.close().context("closing the store")?;
    Ok(exit)
}

fn splitter<R: BufRead>(args: &Dedupe, input: R) -> Splitter<R> {
    match args.format {
        Format::Csv => Splitter::csv(input, args.delimiter()),
        Format::Ndjson => Splitter::lines(input),
    }
}

/// The first record of delimited text; `None` for an empty input.
pub(crate) fn read_header<R: BufRead>(
    splitter: &mut Splitter<R>,
    signals: &Signals,
) -> anyhow::Result<Option<Record>> {
    loop {
        match splitter.next_record() {
            Ok(Some(Record { fault: Some(_), .. })) => {
                let message =
                    "the header never ends: a quote in it is not closed, or it is longer than 16 MiB";
                return Err(Failure::new(Exit::Data, message).into());
            }
            Ok(header) => return Ok(header),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => signals.check()?,
            Err(error) => return Err(error).context("reading the input"),
        }
    }
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

/// Records with a key, waiting to be passed on together.
struct Batch {
    events: Vec<Event>,
    bytes: usize,
    limit: usize,
}

impl Batch {
    fn new(limit: usize) -> Batch {
        Batch { events: Vec::new(), bytes: 0, limit }
    }

    fn push(&mut self, event: Event) {
        self.bytes += event.bytes.len();
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.bytes >= BATCH_BYTES
    }

    fn take(&mut self) -> Vec<Event> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}

/// One run over one input.
struct Run<C, S> {
    claims: C,
    output: S,
    keyer: Keyer,
    on_crash: OnCrash,
    progress: Progress,
    batch: Batch,
    tally: Tally,
}

impl<C: Claims, S: Sink> Run<C, S> {
    fn pass_all<R: BufRead>(
        &mut self,
        header: Option<Record>,
        splitter: &mut Splitter<R>,
        signals: &Signals,
    ) -> anyhow::Result<Exit> {
        if let Some(header) = header {
            self.progress.read(header.bytes.len());
            let written = self.output.write(&[&header.bytes]);
            if let Some(exit) = ended_by(written.stopped, signals)? {
                return Ok(exit);
            }
        }
        loop {
            let ended = match splitter.next_record() {
                Ok(Some(record)) => {
                    self.take(record);
                    if !self.batch.is_full() {
                        continue;
                    }
                    None
                }
                Ok(None) if self.tally.refused > 0 => Some(Exit::SomeRefused),
                Ok(None) => Some(Exit::Done),
                // The input pauses, or a signal came: what was read goes on its way now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => signals.caught().map(Exit::Signal),
                Err(error) => {
                    self.pass_batch(signals)?;
                    return Err(error).context("reading the input");
                }
            };
            if let Some(exit) = self.pass_batch(signals)?.or(ended) {
                return Ok(exit);
            }
        }
    }

    /// Puts the record into the batch, or refuses it.
    fn take(&mut self, record: Record) {
        self.tally.read += 1;
        self.progress.read(record.bytes.len());
        match self.keyer.key(&record) {
            Ok(key) => self.batch.push(Event { key, bytes: record.bytes, line: record.line }),
            Err(refusal) => {
                self.tally.refused += 1;
                self.progress.say(&format!("line {}: {refusal}", record.line));
            }
        }
    }

    /// Passes the batch on; an exit code when it has to be the last one.
    fn pass_batch(&mut self, signals: &Signals) -> anyhow::Result<Option<Exit>> {
        let events = self.batch.take();
        if events.is_empty() {
            return Ok(None);
        }
        let outcome =
            batch::pass_on(&self.claims, &mut self.output, &events, self.on_crash, &mut self.tally)?;
        for (line, refusal) in outcome.refused {
            self.progress.say(&format!("line {line}: {refusal}"));
        }
        self.progress.show(&self.tally);
        ended_by(outcome.stopped, signals)
    }
}

fn ended_by(stopped: Option<Stopped>, signals: &Signals) -> anyhow::Result<Option<Exit>> {
    match stopped {
        None => Ok(None),
        Some(Stopped::ReaderGone) => Ok(Some(Exit::ReaderGone)),
        Some(Stopped::Signal) => Ok(signals.caught().map(Exit::Signal)),
        Some(Stopped::Failed(error)) => Err(error).context("writing the output"),
    }
}
