//! `claimstore export`: records as lines of JSON.

use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use claimstore::{Filter, Store};
use claimstore_admin::{Answer, Client, Request};
use clap::Args;

use crate::exit::Exit;
use crate::source::{self, Source, unexpected};
use crate::store_args::StoreArgs;
use crate::transfer::line::{Line, RecordLine};
use crate::transfer::rules::Rules;
use crate::writer::Patient;
use crate::{codes, descriptors, target};

const WRITE_BYTES: usize = 256 << 10;

/// Writes the records of a store as lines of JSON, for `claimstore import`.
///
/// Keys and payloads in full. The rules of each namespace come before its records, and a last line with the number of records. What is held of
/// sequences, of the tables of `transact` and of the key of the fingerprints stays behind: `claimstore backup` takes
/// all. A claim that is not settled is exported as in-progress or orphaned, and imported as parked.
/// A program that has the store open goes on meanwhile; it must allow decisions, as all that is stored goes out. It ends
/// an export that is read more slowly than 256 KiB a second.
#[derive(Debug, Args)]
#[command(after_long_help = codes::EXPORT.listed())]
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
        let source = Source::open_to_export(&self.store)?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, Patient::stdout().context("writing the output")?);
        let written = match source {
            Source::Here(store) => {
                let written = self.write(&store, &mut out);
                store.close().context("closing the store")?;
                written
            }
            Source::Live(mut client) => self.pass_on(&mut client, &mut out),
        };
        match written {
            Err(error) if is_gone(&error) => Ok(Exit::ReaderGone),
            result => result.map(|()| Exit::Done),
        }
    }

    fn write(&self, store: &Store, out: &mut impl Write) -> anyhow::Result<()> {
        let names = match &self.namespace {
            Some(name) => vec![target::namespace(store, name)?.name().to_owned()],
            None => store.namespaces(),
        };
        for name in &names {
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

    /// The same lines, of the pages that the program which has the store open gives out: one page in memory, and the
    /// next is asked for when this one is written.
    fn pass_on(&self, client: &mut Client, out: &mut impl Write) -> anyhow::Result<()> {
        let mut request = Request::Export { namespace: self.namespace.clone() };
        let mut records = 0;
        loop {
            let Answer::Exported(page) = source::ask_live(client, &request)? else {
                return Err(unexpected());
            };
            for rules in &page.rules {
                put(out, &Line::Namespace(Rules::shown(rules).context("reading the rules of a namespace")?))?;
            }
            for view in &page.records {
                put(out, &Line::Record(Box::new(RecordLine::shown(view)?)))?;
            }
            records += page.records.len() as u64;
            if page.is_last {
                put(out, &Line::End { records })?;
                return out.flush().context("writing the output");
            }
            request = Request::ExportMore;
        }
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
