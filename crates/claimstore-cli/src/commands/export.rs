//! `claimstore export`: records as lines of JSON.

use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use claimstore::{Filter, Store};
use clap::Args;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::transfer::line::{Line, RecordLine};
use crate::transfer::rules::Rules;
use crate::writer::Patient;
use crate::{descriptors, store, target};

const WRITE_BYTES: usize = 256 << 10;

/// Writes the records of a store, keys and payloads in full, one JSON object a line, for `claimstore import`.
///
/// The rules of each namespace come before its records, and a last line with the number of records. What is held of
/// sequences, of the tables of `transact` and of the key of the fingerprints stays behind: `claimstore backup` takes
/// all. A claim that is not settled is exported as in-progress or orphaned, and imported as parked.
///
/// Exit codes: 0 all was written; 1 no such namespace; 64 usage, or standard output is closed; 65 the store is damaged; 66 no store; 74 it failed, and
/// the output is cut; 75 the store is open elsewhere; 141 the reader of the output is gone.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    store: StoreArgs,

    /// Only the records of this namespace; the default one is written "".
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Export {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        descriptors::check_output()?;
        let store = store::open_existing(&self.store)?;
        let names = match &self.namespace {
            Some(name) => vec![target::namespace(&store, name)?.name().to_owned()],
            None => store.namespaces(),
        };
        let mut out = BufWriter::with_capacity(WRITE_BYTES, Patient::stdout().context("writing the output")?);
        let written = self.write(&store, &names, &mut out);
        store.close().context("closing the store")?;
        match written {
            Err(error) if is_gone(&error) => Ok(Exit::ReaderGone),
            result => result.map(|()| Exit::Done),
        }
    }

    fn write(&self, store: &Store, names: &[String], out: &mut impl Write) -> anyhow::Result<()> {
        for name in names {
            let policy = store.namespace(name).context("opening a namespace")?.policy();
            put(out, &Line::Namespace(Rules::of(name, &policy)))?;
        }
        let filter = self.namespace.iter().fold(Filter::new(), |filter, name| filter.namespace(name));
        let mut records = 0;
        for record in store.scan(filter) {
            let record = record.context("reading the store")?;
            let history = record.history();
            put(out, &Line::Record(Box::new(RecordLine::of(&record, &history))))?;
            records += 1;
        }
        put(out, &Line::End { records })?;
        out.flush().context("writing the output")
    }
}

fn put(out: &mut impl Write, line: &Line<'_>) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from).context("writing the output")?;
    out.write_all(b"\n").context("writing the output")
}

/// Whether nobody reads the output any more.
fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
