//! Where answers come from: a store that nobody else has open, or the program that has it open.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context as _;
use claimstore::{Options, Store};
use claimstore_admin::{
    Answer, AskError, Client, Listing, Live, RecordView, RefusalKind, Request, Served, answer,
};

use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::store;
use crate::store_args::StoreArgs;

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

/// Asks the program that has a store open.
pub(crate) fn ask_live(client: &mut Client, request: &Request) -> anyhow::Result<Answer> {
    match client.ask(request) {
        Err(AskError::Refused(refusal)) => Err(refusal.into()),
        answered => answered.context("asking the program that has the store open"),
    }
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

    /// The same, to decide something. The program that has the store open must allow that; where it does not, the store
    /// is waited for as long as the user said.
    pub(crate) fn open_to_decide(args: &StoreArgs) -> anyhow::Result<Source> {
        Source::open_allowed(args, &Options::new().background(false))
    }

    /// The same, to read all that is stored: here it is only looked at.
    pub(crate) fn open_to_export(args: &StoreArgs) -> anyhow::Result<Source> {
        Source::open_allowed(args, &store::to_look(&args.store))
    }

    fn open_allowed(args: &StoreArgs, options: &Options) -> anyhow::Result<Source> {
        store::check_is_store(&args.store)?;
        let reason = RefCell::new("serves no socket to ask");
        let connect = || connect_to_decide(&args.store).map_err(|why| reason.replace(why)).ok();
        match store::open_unless(options, args, &Signals::default(), connect) {
            Ok(Ok(store)) => Ok(Source::Here(store)),
            Ok(Err(client)) => Ok(Source::Live(client)),
            Err(error) if store::is_open_elsewhere(&error) => {
                let (dir, why) = (args.store.display(), reason.into_inner());
                let message = format!("the store {dir} is open in another process, which {why}; {HELP}");
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
            Source::Live(client) => ask_live(client, request),
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

/// What helps where a program allows no decisions.
const HELP: &str = "call `serve_admin()?.allow_decisions()` in that program, or stop it";

/// Connects to a program that lets its store be decided about; else what is to be said of it.
fn connect_to_decide(dir: &Path) -> Result<Client, &'static str> {
    let mut client = Client::connect(dir).map_err(|_| "serves no socket to ask")?;
    match client.ask(&Request::Hello) {
        Ok(Answer::Hello { decisions: true, .. }) => Ok(client),
        Ok(_) => Err("serves it to look at, and allows no decisions"),
        Err(AskError::Refused(refusal)) => Err(match refusal.kind {
            RefusalKind::Busy => "has no place left on its socket",
            RefusalKind::Denied => "serves its socket to another user",
            // What a program says that was built before there were decisions.
            _ => "was built with a claimstore-admin of another version, that knows no decisions",
        }),
        Err(AskError::Lost(_)) => Err("gives no answer on its socket"),
    }
}

/// Records in order, and the cursor of those behind them, if there are any.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<RecordView>,
    pub(crate) next: Option<String>,
    pub(crate) store_time_ms: u64,
}
