//! `claimstore policy`: the rules of a namespace, shown and set.

use std::time::Duration;

use anyhow::Context as _;
use claimstore::{OnOrphan, Policy as Rules, Store};
use claimstore_admin::{Answer, PolicyView, Request};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::show::namespace_name;
use crate::source::{self, unexpected};
use crate::{duration, print, store, target};

/// Shows the rules of all namespaces, or of one; sets those that are given, for later claims.
///
/// A program that opens a namespace with a policy of its own sets it again.
///
/// Exit codes: 0 done; 1 no such namespace; 64 usage; 65 the store is damaged; 66 no store; 74 it failed; 75 the
/// store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(flatten)]
    store: StoreArgs,

    /// The namespace; the default one is written "". Needed to set anything.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Make the namespace if there is none of this name.
    #[arg(long, requires = "namespace")]
    create: bool,

    #[command(flatten)]
    changes: Changes,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

/// What is to be set.
#[derive(Debug, Args)]
struct Changes {
    /// How long keys are remembered after they resolved.
    #[arg(long, value_name = "TIME", value_parser = duration::parse_ttl, requires = "namespace")]
    ttl: Option<Duration>,

    /// How long a holder is trusted without renewing.
    #[arg(long, value_name = "TIME", value_parser = duration::parse_lease, requires = "namespace")]
    lease: Option<Duration>,

    /// How many claims may be made of a key before it is parked.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), requires = "namespace")]
    attempts: Option<u32>,

    /// What becomes of claims that nobody stands behind.
    #[arg(long, value_enum, value_name = "RULE", requires = "namespace")]
    on_orphan: Option<OrphanRule>,

    /// Most records and most bytes of keys and bodies, `RECORDS,BYTES`, or `none`.
    #[arg(long, value_name = "QUOTA", value_parser = Quota::parse, requires = "namespace")]
    quota: Option<Quota>,

    /// Under which name what becomes of claims is counted: 1 to 64 letters, digits, `_`, `-` or `.`. It goes to wherever
    /// metrics go, so say what kind of work it is, never whose.
    #[arg(long, value_name = "WORD", requires = "namespace")]
    metrics_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrphanRule {
    /// The next claim takes it over.
    Retry,
    /// It is held for review.
    Park,
    /// It has failed for good.
    Fail,
    /// It stays in progress until a resolver ends it.
    Resolve,
}

impl From<OrphanRule> for OnOrphan {
    fn from(rule: OrphanRule) -> OnOrphan {
        match rule {
            OrphanRule::Retry => OnOrphan::Retry,
            OrphanRule::Park => OnOrphan::Park,
            OrphanRule::Fail => OnOrphan::Fail,
            OrphanRule::Resolve => OnOrphan::Resolve,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quota {
    None,
    AtMost { records: u64, bytes: u64 },
}

impl Quota {
    fn parse(text: &str) -> Result<Quota, String> {
        if text == "none" {
            return Ok(Quota::None);
        }
        let both = text.split_once(',').and_then(|(records, bytes)| {
            Some(Quota::AtMost { records: records.parse().ok()?, bytes: bytes.parse().ok()? })
        });
        both.ok_or_else(|| "a quota looks like 1000000,500000000, or is `none`".into())
    }
}

impl Changes {
    fn any(&self) -> bool {
        let Changes { ttl, lease, attempts, on_orphan, quota, metrics_name } = self;
        let limits = attempts.is_some() || quota.is_some();
        limits || ttl.is_some() || lease.is_some() || on_orphan.is_some() || metrics_name.is_some()
    }

    fn apply(&self, rules: Rules) -> Rules {
        let rules = self.ttl.into_iter().fold(rules, Rules::ttl);
        let rules = self.lease.into_iter().fold(rules, Rules::lease);
        let rules = self.attempts.into_iter().fold(rules, Rules::max_attempts);
        let rules = self.on_orphan.into_iter().fold(rules, |rules, rule| rules.on_orphan(rule.into()));
        let rules = self.metrics_name.iter().fold(rules, |rules, name| rules.metrics_name(name));
        match self.quota {
            None => rules,
            Some(Quota::None) => rules.no_quota(),
            Some(Quota::AtMost { records, bytes }) => rules.quota(records, bytes),
        }
    }
}

impl Policy {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        if let Some(name) = &self.namespace
            && (self.create || self.changes.any())
        {
            // Through the socket nothing is changed: this needs the store to itself.
            let store = store::open_existing(&self.store)?;
            self.set(&store, name)?;
            store.close().context("closing the store")?;
        }
        let request = Request::Policies { namespace: self.namespace.clone() };
        let Answer::Policies { policies } = source::ask(&self.store, &request)? else {
            return Err(unexpected());
        };
        if self.json {
            return print::json(&json!({ "policies": policies }));
        }
        print::text(&table(&policies))
    }

    /// Sets what is to be set.
    fn set(&self, store: &Store, name: &str) -> anyhow::Result<()> {
        let namespace = if self.create {
            if name.len() > 512 {
                return Err(Failure::new(Exit::Usage, "a namespace's name has at most 512 bytes").into());
            }
            store.namespace(name).context("making the namespace")?
        } else {
            target::namespace(store, name)?
        };
        if self.changes.any() {
            let rules = self.changes.apply(namespace.policy());
            store.namespace_with(name, rules).context("setting the policy")?;
        }
        Ok(())
    }
}

fn table(policies: &[PolicyView]) -> String {
    let row = |rules: &PolicyView| {
        let quota = rules.quota.as_ref();
        [
            duration::format(Duration::from_millis(rules.ttl_ms)),
            duration::format(Duration::from_millis(rules.lease_ms)),
            rules.max_attempts.to_string(),
            rules.on_orphan.clone(),
            quota.map_or_else(|| "none".into(), |quota| format!("{},{}", quota.records, quota.bytes)),
            namespace_name(&rules.namespace).to_owned(),
        ]
    };
    let rows: Vec<_> = policies.iter().map(row).collect();
    print::table(["TTL", "LEASE", "ATTEMPTS", "ON-ORPHAN", "QUOTA", "NAMESPACE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_two_numbers_or_none() {
        assert_eq!(Quota::parse("none"), Ok(Quota::None));
        assert_eq!(Quota::parse("7,9"), Ok(Quota::AtMost { records: 7, bytes: 9 }));
        for wrong in ["", "7", "7,", ",9", "7,9,1", "-7,9", "none,9"] {
            assert!(Quota::parse(wrong).is_err(), "{wrong}");
        }
    }
}
