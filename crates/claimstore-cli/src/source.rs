//! Where answers come from: a store that nobody else has open, or the program that has it open.

use anyhow::Context as _;
use claimstore::Store;
use claimstore_admin::{Answer, AskError, Client, Listing, Live, RecordView, Request, Served, answer};

use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::store;

/// Who answers.
#[derive(Debug)]
pub(crate) enum Source {
    /// This process, which has the store to itself.
    Here(Store),
    /// The program that has it open, through the socket it serves.
    Live(Client),
}

/// Asks one question of the store at `args`.
pub(crate) fn ask(args: &StoreArgs, request: &Request) -> anyhow::Result<Answer> {
    let mut source = Source::open(args)?;
    let answer = source.ask(request)?;
    source.close()?;
    Ok(answer)
}

/// An answer to another question: the program is of a version that this one does not know.
pub(crate) fn unexpected() -> anyhow::Error {
    Failure::new(Exit::Failed, "the program that has the store open answered something else").into()
}

impl Source {
    /// Opens the store, or connects to the program that has it open. Where that serves no socket, waits for the store
    /// as long as the user said.
    pub(crate) fn open(args: &StoreArgs) -> anyhow::Result<Source> {
        store::check_is_store(&args.store)?;
        let options = store::to_look(&args.store);
        let connect = || Client::connect(&args.store).ok();
        let opened = store::open_unless(&options, args, &Signals::default(), connect);
        match opened {
            Ok(Ok(store)) => Ok(Source::Here(store)),
            Ok(Err(client)) => Ok(Source::Live(client)),
            Err(error) if store::is_open_elsewhere(&error) => {
                let message = format!(
                    "the store {} is open in another process, which serves no socket to ask (`serve_admin`)",
                    args.store.display()
                );
                Err(Failure::new(Exit::Busy, message).into())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Source::Live(_))
    }

    /// What the store is doing.
    pub(crate) fn live(&mut self) -> anyhow::Result<Live> {
        match self.ask(&Request::Live)? {
            Answer::Live { live } => Ok(*live),
            _ => Err(unexpected()),
        }
    }

    /// Asks a question.
    pub(crate) fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        match self {
            Source::Here(store) => Ok(answer(store, request, Served::Briefly)?),
            Source::Live(client) => match client.ask(request) {
                Err(AskError::Refused(refusal)) => Err(refusal.into()),
                answered => answered.context("asking the program that has the store open"),
            },
        }
    }

    /// A page of records, from as many answers as it takes.
    pub(crate) fn list(&mut self, listing: &Listing) -> anyhow::Result<Page> {
        let mut page = Page::default();
        let (mut left, mut after) = (listing.limit, listing.after.clone());
        loop {
            let part = Listing { limit: left, after: after.clone(), ..listing.clone() };
            let Answer::Records { records, next, store_time_ms } = self.ask(&Request::List(part))? else {
                return Err(unexpected());
            };
            left = left.saturating_sub(u32::try_from(records.len())?);
            let came = !records.is_empty();
            page.records.extend(records);
            (page.next, page.store_time_ms) = (next, store_time_ms);
            if left == 0 || page.next.is_none() || !came {
                return Ok(page);
            }
            after.clone_from(&page.next);
        }
    }

    pub(crate) fn close(self) -> anyhow::Result<()> {
        match self {
            Source::Here(store) => store.close().context("closing the store"),
            Source::Live(_) => Ok(()),
        }
    }
}

/// Records in order, and the cursor of those behind them, if there are any.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<RecordView>,
    pub(crate) next: Option<String>,
    pub(crate) store_time_ms: u64,
}
