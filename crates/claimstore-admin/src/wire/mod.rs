//! The data of the protocol: requests, answers and their parts. The types know their JSON form, and how they are made from
//! the types of the store.

mod answer;
mod decision;
mod export;
mod key;
mod listing;
mod numbers;
mod policy;
mod record;
mod refusal;
mod request;
mod state;

pub use answer::Answer;
pub use decision::{Decision, MAX_TARGETS, Response, Seen, Target, Verb, Verdict};
pub use export::{ExportView, FingerprintView, Page, RulesView};
pub use key::Key;
pub use listing::{Listing, Which};
pub use numbers::{BucketView, CensusView, Live, Numbers, OutcomesView, QuantilesView};
pub use policy::{BackoffView, OrphanRule, PolicyChange, PolicyView, QuotaView};
pub use record::{PastView, RecordView, Show, TallyView, cause_name, happened_name};
pub use refusal::{Refusal, RefusalKind};
pub(crate) use request::VERSION;
pub use request::{Dir, Request};
pub use state::State;
