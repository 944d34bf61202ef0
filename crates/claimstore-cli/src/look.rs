//! One key, looked at: the part that `get` and `explain` share.

use claimstore_admin::{Answer, RecordView, Refusal, Request};
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::show::ShowArgs;
use crate::source::{self, unexpected};
use crate::target::KeyArgs;

/// Which key, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

impl LookArgs {
    /// What the store knows of the key, and the store time it was asked at.
    pub(crate) fn record(&self, history: bool) -> anyhow::Result<(RecordView, u64)> {
        let key = self.key.given()?;
        let namespace = self.key.namespace.clone();
        let request = Request::Get { namespace, key, show: self.show.shown(), history };
        match source::ask(&self.store, &request) {
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
        let names: Vec<_> = refusal.elsewhere.iter().map(|name| name.escape_debug().to_string()).collect();
        let message = match &names[..] {
            [name] => format!("{refusal}; there is one in namespace `{name}`: pass `--namespace {name}`"),
            names => {
                format!("{refusal}; namespaces `{}` have one: pass `--namespace`", names.join("`, `"))
            }
        };
        Ok(Failure::new(Exit::NotFound, message).into())
    }
}
