//! `claimstore dedupe`: reads records, makes batches of them, passes these on.

mod args;
mod batch;
mod claims;
#[cfg(test)]
mod feed;
mod output;
mod progress;
mod side;

pub(crate) use args::Dedupe;

use std::io::{self, Read};

use anyhow::Context as _;

use self::batch::{Claims, Event, OnCrash, Tally};
use self::claims::StoreClaims;
use self::output::{Output, Sink, Stopped};
use self::progress::Progress;
use self::side::SideFile;
use crate::descriptors;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::key::Keyer;
use crate::record::{Head, Header, Reader, Record};
use crate::signals::Signals;
use crate::store;

/// A batch closes early at this size, so that large records do not pile up in memory.
const BATCH_BYTES: usize = 4 << 20;
/// So many records a batch has at first.
const FIRST_BATCH: usize = 64;

/// Runs the command. What became of the records is on standard error when it returns, also with an error.
pub(crate) fn run(args: &Dedupe) -> anyhow::Result<Exit> {
    let (layout, spec) = args.reading()?;
    let namespace = spec.namespace();
    let has_header = layout.header == Header::First;
    descriptors::check_output()?;
    let signals = Signals::install()?;
    let input = Input::open(args.file.as_deref(), signals.clone())?;
    let output = Output::standard(signals.clone())?;
    if input.is_file(output.file()) {
        return Err(usage("standard output is the input file: it would never end").into());
    }
    let rejects = SideFile::open("--rejects", args.rejects.as_deref(), &input, output.file())?;
    let duplicates = SideFile::open("--duplicates", args.duplicates.as_deref(), &input, output.file())?;
    if rejects.is_same(&duplicates) {
        return Err(usage("--rejects and --duplicates are one file").into());
    }
    let progress = Progress::new(input.size_bytes(), args.json);
    // The header comes first: a column it does not have is found before a store is made.
    let (mut reader, head) = Reader::open(input, layout, || Ok(signals.check()?))?;
    if has_header && head.names.is_none() {
        progress.finish(&Tally::default());
        return Ok(Exit::Done);
    }
    let keyer = spec.bind(&head, reader.syntax()).map_err(usage)?;
    let store = store::open_waiting(&args.store, &signals)?;
    let claims = StoreClaims::new(&store, &namespace, args.ttl)?;
    let mut run = Run {
        claims,
        output,
        keyer,
        on_crash: args.on_crash,
        progress,
        rejects,
        duplicates,
        batch: Batch::new(usize::try_from(args.batch)?),
        tally: Tally::default(),
    };
    let result = run.pass_all(&head, &mut reader, &signals);
    run.progress.finish(&run.tally);
    let sides = run.rejects.finish().and(run.duplicates.finish());
    drop(run.claims);
    let exit = result?;
    store.close().context("closing the store")?;
    sides.map(|()| exit)
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

/// Records with a key, waiting to be passed on together.
struct Batch {
    events: Vec<Event>,
    bytes: usize,
    /// How many there may be this time.
    limit: usize,
    most: usize,
}

impl Batch {
    fn new(most: usize) -> Batch {
        Batch { events: Vec::new(), bytes: 0, limit: FIRST_BATCH.min(most), most }
    }

    fn push(&mut self, event: Event) {
        self.bytes += event.bytes.len();
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.bytes >= BATCH_BYTES
    }

    /// The records so far. After a full batch the next one may be larger: there is more at hand than fits. After a
    /// pause of the input it begins small again, so that little is in doubt where little comes.
    fn take(&mut self) -> Vec<Event> {
        self.limit =
            if self.is_full() { (2 * self.limit).min(self.most) } else { FIRST_BATCH.min(self.most) };
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
    rejects: SideFile,
    duplicates: SideFile,
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
                    self.take(record, reader)?;
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
            self.progress.at(reader.used());
            let stopped = self.pass_batch(signals)?;
            // The last batch may have been the first with a refused record.
            let ended = if ended == Some(Exit::Done) && self.tally.refused > 0 {
                Some(Exit::SomeRefused)
            } else {
                ended
            };
            if let Some(exit) = stopped.or(ended) {
                return Ok(exit);
            }
        }
    }

    /// Puts the record into the batch, or refuses it.
    fn take<R: Read>(&mut self, record: Record, reader: &Reader<R>) -> anyhow::Result<()> {
        self.tally.read += 1;
        let line = record.line;
        match self.keyer.key(&record) {
            Ok(key) => self.batch.push(Event { key, bytes: reader.ended_line(record), line }),
            Err(refusal) => {
                self.tally.refused += 1;
                self.refuse(line, &refusal, &reader.ended_line(record))?;
            }
        }
        Ok(())
    }

    /// Tells that a record is refused, and puts it where refused ones are wanted.
    fn refuse(&mut self, line: u64, refusal: &impl std::fmt::Display, bytes: &[u8]) -> anyhow::Result<()> {
        self.progress.say(&format!("line {line}: {refusal}"));
        self.rejects.put(format!("# line {line}: {refusal}\n").as_bytes())?;
        self.rejects.put(bytes)
    }

    /// Passes the batch on; an exit code when it has to be the last one.
    fn pass_batch(&mut self, signals: &Signals) -> anyhow::Result<Option<Exit>> {
        let events = self.batch.take();
        if events.is_empty() {
            return Ok(None);
        }
        let outcome =
            batch::pass_on(&self.claims, &mut self.output, &events, self.on_crash, &mut self.tally)?;
        for (event, refusal) in &outcome.refused {
            self.refuse(event.line, refusal, &event.bytes)?;
        }
        for event in &outcome.duplicates {
            self.duplicates.put(&event.bytes)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event { key: Vec::new(), bytes: b"x\n".to_vec(), line: 1 }
    }

    /// How many records each of these batches has that is filled as far as `at_hand` says.
    fn sizes(most: usize, at_hand: &[usize]) -> Vec<usize> {
        let mut batch = Batch::new(most);
        let fill = |&count: &usize| {
            for _ in 0..count {
                if !batch.is_full() {
                    batch.push(event());
                }
            }
            batch.take().len()
        };
        at_hand.iter().map(fill).collect()
    }

    #[test]
    fn batches_grow_while_there_is_more_at_hand_and_begin_small_after_a_pause() {
        let more = usize::from(u16::MAX);
        assert_eq!(sizes(1_024, &[more; 6]), [64, 128, 256, 512, 1_024, 1_024]);
        assert_eq!(sizes(1_024, &[more, more, 3, more, more]), [64, 128, 3, 64, 128]);
        assert_eq!(sizes(100, &[more; 3]), [64, 100, 100]);
        assert_eq!(sizes(1, &[more; 3]), [1, 1, 1]);
    }

    #[test]
    fn large_records_close_a_batch_early() {
        let mut batch = Batch::new(1_024);
        batch.push(Event { bytes: vec![0; BATCH_BYTES], ..event() });
        assert!(batch.is_full());
    }
}
