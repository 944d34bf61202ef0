//! `claimstore dedupe`: reads records, makes batches of them, passes these on.

use std::io::{self, Read};

use anyhow::Context as _;

use crate::args::{Dedupe, OnCrash};
use crate::batch::{self, Claims, Event, Tally};
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::key::Keyer;
use crate::output::{Output, Sink, Stopped};
use crate::progress::Progress;
use crate::record::{Head, Header, Reader, Record};
use crate::signals::Signals;
use crate::store::{self, StoreClaims};

/// A batch closes early at this size, so that large records do not pile up in memory.
const BATCH_BYTES: usize = 4 << 20;

/// Runs the command. What became of the records is on standard error when it returns, also with an error.
pub(crate) fn run(args: &Dedupe) -> anyhow::Result<Exit> {
    let (layout, spec) = args.reading()?;
    let namespace = spec.namespace();
    let has_header = layout.header == Header::First;
    let signals = Signals::install()?;
    let input = Input::standard(signals.clone())?;
    let progress = Progress::new(input.size_bytes());
    // The header comes first: a column it does not have is found before a store is made.
    let (mut reader, head) = Reader::open(input, layout, || Ok(signals.check()?))?;
    if has_header && head.names.is_none() {
        progress.finish(&Tally::default());
        return Ok(Exit::Done);
    }
    let keyer = spec.bind(&head, reader.syntax()).map_err(usage)?;
    let store = store::open_waiting(&args.store, &signals)?;
    let claims = StoreClaims::new(&store, &namespace, args.ttl)?;
    let output = Output::standard(signals.clone())?;
    let batch = Batch::new(usize::try_from(args.batch)?);
    let mut run =
        Run { claims, output, keyer, on_crash: args.on_crash, progress, batch, tally: Tally::default() };
    let result = run.pass_all(&head, &mut reader, &signals);
    run.progress.finish(&run.tally);
    drop(run);
    let exit = result?;
    store.close().context("closing the store")?;
    Ok(exit)
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
    fn pass_all<R: Read>(
        &mut self,
        head: &Head,
        reader: &mut Reader<R>,
        signals: &Signals,
    ) -> anyhow::Result<Exit> {
        if !head.bytes.is_empty() {
            let written = self.output.write(&[&head.bytes]);
            if let Some(exit) = ended_by(written.stopped, signals)? {
                return Ok(exit);
            }
        }
        loop {
            let ended = match reader.next_record() {
                Ok(Some(record)) => {
                    self.take(record, reader);
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
    fn take<R: Read>(&mut self, record: Record, reader: &Reader<R>) {
        self.tally.read += 1;
        self.progress.at(reader.used());
        match self.keyer.key(&record) {
            Ok(key) => {
                let line = record.line;
                self.batch.push(Event { key, bytes: reader.ended_line(record), line });
            }
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
