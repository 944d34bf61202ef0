//! Listings: filters and pages.

use crate::wire::decision::Verb;
use crate::wire::record::Show;
use crate::wire::state::State;
use serde::{Deserialize, Serialize};

/// A page of records, oldest claim first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which records.
    #[serde(flatten)]
    pub which: Which,
    /// Only of this namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Most records of the page; at most 1,000 come at once.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// The cursor that the page before ended with.
    #[serde(default)]
    pub after: Option<String>,
    /// What is shown of them.
    #[serde(default)]
    pub show: Show,
}

/// Shows the shape, never the prefix.
impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing")
            .field("limit", &self.limit)
            .field("show", &self.show)
            .finish_non_exhaustive()
    }
}

/// Shows the kind, never the prefix.
impl std::fmt::Debug for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Which::Records { .. } => "Records",
            Which::Unheld => "Unheld",
            Which::Stuck { .. } => "Stuck",
            Which::Decidable { .. } => "Decidable",
        })
    }
}

fn default_limit() -> u32 {
    100
}

/// Which records a listing shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "kebab-case")]
pub enum Which {
    /// Those that fit.
    Records {
        /// In any of these states; empty: in any at all.
        #[serde(default)]
        states: Vec<State>,
        /// With keys that begin with this.
        #[serde(default)]
        prefix: String,
        /// Whose last claim is older than this.
        #[serde(default)]
        older_than_ms: Option<u64>,
        /// Whose last claim is not older than this.
        #[serde(default)]
        newer_than_ms: Option<u64>,
    },
    /// Claims that nobody stands behind.
    Unheld,
    /// Claims in progress or orphaned for this long, and retries that long due.
    Stuck {
        /// For how long.
        older_than_ms: u64,
    },
    /// Those that a decision may be made about: of claims in progress only those that nobody is trusted with.
    Decidable {
        /// Which decision.
        verb: Verb,
        /// Those that a holder is trusted with too, where the decision can be forced.
        #[serde(default)]
        force: bool,
        /// Of these only those in any of these states.
        #[serde(default)]
        states: Vec<State>,
        /// As above.
        #[serde(default)]
        prefix: String,
        /// As above.
        #[serde(default)]
        older_than_ms: Option<u64>,
        /// As above.
        #[serde(default)]
        newer_than_ms: Option<u64>,
    },
}
