//! One key, looked at: the part that `get` and `explain` share.

use std::ffi::OsStr;

use claimstore_admin::{Answer, RecordView, Refusal, Request};
use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::print;
use crate::shell;
use crate::show::ShowArgs;
use crate::source::{Source, unexpected};
use crate::store_args::StoreArgs;
use crate::target::KeyArgs;

/// Which key, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

impl LookArgs {
    /// What the store knows of the key, and the store time it was asked at.
    pub(crate) fn record(&self) -> anyhow::Result<(RecordView, u64)> {
        let mut source = Source::open(&self.store)?;
        let found = self.ask(&mut source, false)?;
        source.close()?;
        Ok(found)
    }

    /// The same, of a store that is asked more than this.
    pub(crate) fn ask(&self, source: &mut Source, history: bool) -> anyhow::Result<(RecordView, u64)> {
        let key = self.key.given()?;
        let namespace = self.key.namespace.clone();
        let request = Request::Get { namespace, key, show: self.show.shown(), history };
        match source.ask(&request) {
            Ok(Answer::Record { record, store_time_ms }) => Ok((*record, store_time_ms)),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(self.with_hint(error)?),
        }
    }

    /// Says where the key is, if it is not there because nobody said where. A failure to say it is an error too.
    fn with_hint(&self, error: anyhow::Error) -> anyhow::Result<anyhow::Error> {
        let Some(refusal) = error.downcast_ref::<Refusal>().filter(|refusal| !refusal.elsewhere.is_empty())
        else {
            return Ok(error);
        };
        if self.show.json {
            print::json(&json!({ "found": false, "elsewhere": refusal.elsewhere }))?;
        }
        let message = match &refusal.elsewhere[..] {
            [name] => {
                let word = shell::quoted(OsStr::new(name));
                format!("{refusal}; there is one in namespace `{name}`: pass `--namespace {word}`")
            }
            names => {
                format!("{refusal}; namespaces `{}` have one: pass `--namespace`", names.join("`, `"))
            }
        };
        Ok(Failure::new(Exit::NotFound, message).into())
    }
}
