//! `claimstore policy`: the rules of a namespace, shown and set.

use std::time::Duration;

use anyhow::Context as _;
use claimstore::{OnOrphan, Policy as Rules, Store};
use claimstore_admin::{Answer, PolicyView, Request};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::codes;
use crate::exit::{self, Exit, Failure};
use crate::human::{bytes, limit, span};
use crate::show::namespace_name;
use crate::source::{Source, unexpected};
use crate::store_args::StoreArgs;
use crate::{duration, print, store, target};

/// Shows the rules of namespaces, and sets those that are given.
///
/// What is set holds for later claims. --if-absent sets nothing in a namespace that is there already: a script can
/// prepare a store over and over, and what somebody set by hand since then stays.
///
/// A program that opens a namespace with a policy of its own sets it again.
#[derive(Debug, Args)]
#[command(after_long_help = codes::with_store(&[(0, "done"), (1, "there is no such namespace"), (75, codes::UNSERVED)]))]
pub(crate) struct Policy {
    #[command(flatten)]
    store: StoreArgs,

    /// The namespace; the default one is written "". Needed to set anything.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Make the namespace if there is none of this name.
    #[arg(long, requires = "namespace")]
    create: bool,

    /// Make the namespace with what is given; set nothing if it is there already.
    #[arg(long, requires = "namespace", conflicts_with = "create")]
    if_absent: bool,

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
        let mut source = match &self.namespace {
            // Through the socket nothing is changed: this needs the store to itself.
            Some(name) if self.create || (self.changes.any() && !self.if_absent) => {
                let store = store::open_existing(&self.store)?;
                self.set(&store, name)?;
                Source::Here(store)
            }
            _ => Source::open(&self.store)?,
        };
        let made = self.if_absent && self.make_if_absent(&mut source)?;
        let request = Request::Policies { namespace: self.namespace.clone() };
        let Answer::Policies { policies } = source.ask(&request)? else {
            return Err(unexpected());
        };
        source.close()?;
        if self.json {
            let mut object = json!({ "policies": policies });
            if let Some(members) = object.as_object_mut().filter(|_| self.if_absent) {
                members.insert("made".into(), made.into());
            }
            return print::json(&object);
        }
        print::text(&table(&policies))
    }

    /// Makes the namespace, unless it is there, and says whether it did. Name and rules are written at once: a crash
    /// leaves no namespace with other rules, which the next run would take for one that is there already.
    fn make_if_absent(&self, source: &mut Source) -> anyhow::Result<bool> {
        let Some(name) = &self.namespace else { return Ok(false) };
        match source {
            Source::Here(store) if !store.namespaces().contains(name) => {
                check_length(name)?;
                store
                    .namespace_with(name, self.changes.apply(Rules::new()))
                    .context("making the namespace")?;
                Ok(true)
            }
            Source::Here(_) => Ok(false),
            Source::Live(_) => match source.ask(&Request::Policies { namespace: Some(name.clone()) }) {
                Err(error) if exit::of_error(&error) == Exit::NotFound => {
                    Err(Failure::new(Exit::Busy, ALONE).into())
                }
                answered => answered.map(|_| false),
            },
        }
    }

    /// Sets what is to be set.
    fn set(&self, store: &Store, name: &str) -> anyhow::Result<()> {
        let namespace = if self.create {
            check_length(name)?;
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

const ALONE: &str =
    "the namespace is not there, and to make it the store is needed alone: a program has it open";

fn check_length(name: &str) -> Result<(), Failure> {
    if name.len() > 512 {
        return Err(Failure::new(Exit::Usage, "a namespace's name has at most 512 bytes"));
    }
    Ok(())
}

fn table(policies: &[PolicyView]) -> String {
    let row = |rules: &PolicyView| {
        let quota = rules.quota.as_ref();
        [
            span(rules.ttl_ms),
            span(rules.lease_ms),
            limit(rules.max_attempts),
            rules.on_orphan.clone(),
            quota.map_or_else(|| "none".into(), |quota| quota.records.to_string()),
            quota.map_or_else(|| "none".into(), |quota| bytes(quota.bytes)),
            namespace_name(&rules.namespace).to_owned(),
        ]
        .into()
    };
    let rows = policies.iter().map(row).collect();
    let header = ["TTL", "LEASE", "ATTEMPTS", "ON-ORPHAN", "MOST RECORDS", "MOST BYTES", "NAMESPACE"];
    print::table(header, rows)
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
