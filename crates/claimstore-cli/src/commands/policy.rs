//! `claimstore policy`: the rules of a namespace, shown and set.

use std::time::Duration;

use claimstore_admin::{Answer, PolicyChange, PolicyView, QuotaView, Request};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::codes;
use crate::exit::{self, Exit};
use crate::human::{bytes, limit, span};
use crate::show::namespace_name;
use crate::source::{self, Source, unexpected};
use crate::store_args::StoreArgs;
use crate::{duration, print};

/// Shows the rules of namespaces, and sets those that are given.
///
/// What is set holds for later claims. --if-absent sets nothing in a namespace that is there already: a script can
/// prepare a store over and over, and what somebody set by hand since then stays.
///
/// A program that opens a namespace with a policy of its own sets it again.
#[derive(Debug, Args)]
#[command(after_long_help = codes::POLICY.listed())]
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

    /// At how many failures a key is parked.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), requires = "namespace")]
    attempts: Option<u32>,

    /// At how many losses a key is parked: leases that were dropped, orphans that did not happen.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), requires = "namespace")]
    losses: Option<u32>,

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

impl From<OrphanRule> for claimstore_admin::OrphanRule {
    fn from(rule: OrphanRule) -> claimstore_admin::OrphanRule {
        match rule {
            OrphanRule::Retry => claimstore_admin::OrphanRule::Retry,
            OrphanRule::Park => claimstore_admin::OrphanRule::Park,
            OrphanRule::Fail => claimstore_admin::OrphanRule::Fail,
            OrphanRule::Resolve => claimstore_admin::OrphanRule::Resolve,
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
        let Changes { ttl, lease, attempts, losses, on_orphan, quota, metrics_name } = self;
        let limits = attempts.is_some() || losses.is_some() || quota.is_some();
        limits || ttl.is_some() || lease.is_some() || on_orphan.is_some() || metrics_name.is_some()
    }

    fn of(&self, namespace: &str) -> PolicyChange {
        let quota = match self.quota {
            Some(Quota::AtMost { records, bytes }) => Some(QuotaView { records, bytes }),
            Some(Quota::None) | None => None,
        };
        PolicyChange {
            ttl_ms: self.ttl.map(duration::millis),
            lease_ms: self.lease.map(duration::millis),
            max_attempts: self.attempts,
            max_losses: self.losses,
            on_orphan: self.on_orphan.map(Into::into),
            quota,
            no_quota: self.quota == Some(Quota::None),
            metrics_name: self.metrics_name.clone(),
            ..PolicyChange::of(namespace)
        }
    }
}

impl Policy {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let (policies, made) = match &self.namespace {
            Some(name) if self.create || self.if_absent || self.changes.any() => self.set(name)?,
            namespace => (self.look(namespace.clone())?, false),
        };
        if self.json {
            let mut object = json!({ "policies": policies });
            if let Some(members) = object.as_object_mut().filter(|_| self.if_absent) {
                members.insert("made".into(), made.into());
            }
            return print::json(&object);
        }
        print::text(&table(&policies))
    }

    fn look(&self, namespace: Option<String>) -> anyhow::Result<Vec<PolicyView>> {
        match source::ask(&self.store, &Request::Policies { namespace })? {
            Answer::Policies { policies } => Ok(policies),
            _ => Err(unexpected()),
        }
    }

    /// Sets what is to be set, and says whether the namespace was made.
    fn set(&self, name: &str) -> anyhow::Result<(Vec<PolicyView>, bool)> {
        let mut source = if self.if_absent { Source::open(&self.store)? } else { self.open()? };
        if self.if_absent && source.is_live() {
            // To see that nothing is to be made, nobody must allow anything.
            match source.ask(&Request::Policies { namespace: Some(name.to_owned()) }) {
                Ok(Answer::Policies { policies }) => return Ok((policies, false)),
                Err(error) if exit::of_error(&error) != Exit::NotFound => return Err(error),
                _ => source = self.open()?,
            }
        }
        let (create, if_absent) = (self.create, self.if_absent);
        let change = PolicyChange { create, if_absent, ..self.changes.of(name) };
        let Answer::PolicySet { policy, made } = source.ask(&Request::SetPolicy(change))? else {
            return Err(unexpected());
        };
        source.close()?;
        Ok((vec![policy], made))
    }

    fn open(&self) -> anyhow::Result<Source> {
        Source::open_to_decide(&self.store)
    }
}

fn table(policies: &[PolicyView]) -> String {
    let row = |rules: &PolicyView| {
        let quota = rules.quota.as_ref();
        [
            span(rules.ttl_ms),
            span(rules.lease_ms),
            limit(rules.max_attempts),
            limit(rules.max_losses),
            rules.on_orphan.clone(),
            quota.map_or_else(|| "none".into(), |quota| quota.records.to_string()),
            quota.map_or_else(|| "none".into(), |quota| bytes(quota.bytes)),
            namespace_name(&rules.namespace).to_owned(),
        ]
        .into()
    };
    let rows = policies.iter().map(row).collect();
    let header =
        ["TTL", "LEASE", "FAILURES", "LOSSES", "ON-ORPHAN", "MOST RECORDS", "MOST BYTES", "NAMESPACE"];
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
