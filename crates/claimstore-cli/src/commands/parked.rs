//! `claimstore parked`: keys held for review.

use claimstore_admin::{State, Which};
use clap::Args;

use super::list::PageArgs;
use crate::codes;
use crate::exit::Exit;

/// Lists parked keys: those held for review.
///
/// Oldest claim first. `claimstore explain` tells why one is here, and what can be done.
#[derive(Debug, Args)]
#[command(after_long_help = codes::PARKED.listed())]
pub(crate) struct Parked {
    #[command(flatten)]
    page: PageArgs,
}

impl Parked {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Records {
            states: vec![State::Parked],
            prefix: String::new(),
            older_than_ms: None,
            newer_than_ms: None,
        };
        self.page.show(which)
    }
}
