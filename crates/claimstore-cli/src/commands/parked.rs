//! `claimstore parked`: keys held for review.

use claimstore_admin::{State, Which};
use clap::Args;

use super::list::{self, PageArgs};
use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::ShowArgs;

/// Lists keys held for review, oldest claim first. `claimstore explain` tells why one is here.
///
/// Exit codes: 0 listed, also when there are none; 1 no such namespace; 64 usage; 65 the store is damaged; 66 no
/// store; 74 reading failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Parked {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl Parked {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Records {
            states: vec![State::Parked],
            prefix: String::new(),
            older_than_ms: None,
            newer_than_ms: None,
        };
        list::show(&self.store, &self.page.listing(which, self.show), self.show)
    }
}
