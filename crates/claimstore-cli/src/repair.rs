//! Decisions about keys that stand in the way: the part that `release`, `complete`, `fail`, `requeue` and `forget`
//! share. Who decides is `claimstore-admin`, in this process or in the program that has the store open; here it is
//! asked which keys are meant, whether they are, and told what came of each.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use claimstore_admin::{
    Answer, Decision, Listing, MAX_TARGETS, RecordView, Request, Response, Seen, Show, State, Target, Verb,
    Verdict, Which,
};
use clap::Args;

use crate::confirm::ConfirmArgs;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::human::counted;
use crate::show::namespace_name;
use crate::source::{Source, unexpected};
use crate::state::state_parser;
use crate::store_args::StoreArgs;
use crate::target::given;
use crate::verdict::{Tally, Telling, short_name};

/// Most keys that are listed at a time.
const PAGE: u64 = 1_000;

/// What every decision takes.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    keys: KeysArgs,

    #[command(flatten)]
    confirm: ConfirmArgs,

    /// One JSON object a key, with names that stay; of several keys also a last one that counts.
    #[arg(long)]
    json: bool,
}

/// Which keys.
#[derive(Debug, Args)]
struct KeysArgs {
    /// The keys, their bytes as they are; or their short names, as lists show them (`3f9a2b77c0de+14B`).
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<OsString>,

    /// The keys are written in hex digits; no short names are looked for.
    #[arg(long)]
    hex: bool,

    /// All keys in a state for it, oldest claim first; the options below leave some out.
    #[arg(long, conflicts_with_all = ["keys", "hex"])]
    all: bool,

    /// The namespace of the keys. Left out, the default one; with --all, all namespaces.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Of --all only keys in this state; several times, in any of the given.
    #[arg(long, value_name = "STATE", value_parser = state_parser(), conflicts_with = "keys")]
    state: Vec<State>,

    /// Of --all only keys that begin with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, conflicts_with = "keys")]
    prefix: String,

    /// Of --all only keys whose last claim is older than this.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with = "keys")]
    older_than: Option<Duration>,

    /// Of --all only keys whose last claim is not older than this.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with = "keys")]
    newer_than: Option<Duration>,

    /// Of --all at most so many.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "keys")]
    limit: Option<u64>,
}

/// The work of a parked or orphaned key has an outcome: the part that `complete` and `fail` share.
#[derive(Debug, Args)]
pub(crate) struct OutcomeArgs {
    #[command(flatten)]
    repair: RepairArgs,

    /// The response that duplicates are given [default: empty].
    #[arg(long, value_name = "TEXT", conflicts_with = "response_file")]
    response: Option<String>,

    /// A file with that response.
    #[arg(long, value_name = "FILE")]
    response_file: Option<PathBuf>,
}

impl OutcomeArgs {
    pub(crate) fn decide(&self, verb: Verb) -> anyhow::Result<Exit> {
        let response = match (&self.response, &self.response_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => fs::read(file).with_context(|| format!("reading {}", file.display()))?,
            (None, None) => Vec::new(),
        };
        self.repair.decide(verb, &response, false)
    }
}

impl RepairArgs {
    /// Decides about the keys. `force`: also where a holder is trusted, which only `forget` can do.
    pub(crate) fn decide(&self, verb: Verb, response: &[u8], force: bool) -> anyhow::Result<Exit> {
        let targets = self.keys.targets()?;
        let source = Source::open_to_decide(&self.store)?;
        let telling = Telling {
            alone: targets.len() == 1 && !self.keys.all,
            json: self.json,
            named: self.keys.all && self.keys.namespace.is_none(),
        };
        let tally = Tally::new(verb, telling);
        let response = Response::new(response);
        let mut desk = Desk { args: self, source, verb, response, force, tally };
        let decided = if self.keys.all { desk.decide_all() } else { desk.decide_keys(&targets) };
        let Desk { source, mut tally, .. } = desk;
        // What was done is said also where the rest failed.
        let ended = tally.end(decided.is_ok());
        source.close()?;
        decided.and(ended)
    }
}

impl KeysArgs {
    fn targets(&self) -> Result<Vec<Target>, Failure> {
        let namespace = self.namespace.clone().unwrap_or_default();
        let target = |key: &OsString| {
            Ok(Target { namespace: namespace.clone(), key: given(key, self.hex)?, seen: None })
        };
        self.keys.iter().map(target).collect()
    }

    fn listing(&self, verb: Verb, force: bool, limit: u64, after: Option<String>) -> Listing {
        let which = Which::Decidable {
            verb,
            force,
            states: self.state.clone(),
            prefix: self.prefix.clone(),
            older_than_ms: self.older_than.map(duration::millis),
            newer_than_ms: self.newer_than.map(duration::millis),
        };
        let limit = u32::try_from(limit.min(PAGE)).unwrap_or(1);
        let show = Show { keys: true, payload: false };
        Listing { which, namespace: self.namespace.clone(), limit, after, show }
    }
}

/// One run of a decision.
struct Desk<'a> {
    args: &'a RepairArgs,
    source: Source,
    verb: Verb,
    response: Response,
    force: bool,
    tally: Tally,
}

impl Desk<'_> {
    fn decide_keys(&mut self, targets: &[Target]) -> anyhow::Result<()> {
        if self.args.confirm.is_given() {
            return self.decide(targets);
        }
        let able = self.ask_about(targets)?;
        self.decide(&able)
    }

    /// Asks about those of the keys that can be decided about, and answers those. What is refused is told.
    fn ask_about(&mut self, targets: &[Target]) -> anyhow::Result<Vec<Target>> {
        let mut able = Vec::new();
        let mut last = None;
        for part in targets.chunks(MAX_TARGETS) {
            for (target, verdict) in part.iter().zip(self.ask(part, true)?) {
                if verdict.refused.is_some() {
                    self.tally.refuse(&verdict)?;
                    continue;
                }
                able.push(Target { seen: verdict.seen.clone(), ..target.clone() });
                last = Some(verdict);
            }
        }
        let verb = phrase(self.verb);
        match (last, able.len()) {
            (None, _) => {}
            (Some(Verdict { seen: Some(seen), key_hash, key_bytes, .. }), 1) => {
                let (key, state) = (short_name(&key_hash, key_bytes), seen.state.name());
                self.args.confirm.ask(&format!("{verb} the key {key}, which is {state}"))?;
            }
            (Some(_), count) => {
                self.args
                    .confirm
                    .ask_about(&format!("{verb} {}", counted(count as u64, "key")), count as u64)?;
            }
        }
        Ok(able)
    }

    /// Decides about what the filters leave, page by page. Cursors go by the time of the claim, which a decision leaves
    /// as it is; a key that is claimed from now on is another matter, and not decided about.
    fn decide_all(&mut self) -> anyhow::Result<()> {
        let most = self.args.keys.limit.unwrap_or(u64::MAX);
        let (mut left, mut until_ms) = (most, None);
        if !self.args.confirm.is_given() {
            let (count, asked_ms) = self.count(most)?;
            if count == 0 {
                return Ok(());
            }
            self.ask_about_all(count)?;
            (left, until_ms) = (count, Some(asked_ms));
        }
        let mut after = None;
        loop {
            let (records, next, now_ms) = self.page(left, after)?;
            let until_ms = *until_ms.get_or_insert(now_ms);
            let targets: Vec<Target> = records.iter().filter_map(|view| target(view, until_ms)).collect();
            self.decide(&targets)?;
            left -= (targets.len() as u64).min(left);
            if next.is_none() || left == 0 || self.tally.is_deaf() {
                return Ok(());
            }
            after = next;
        }
    }

    fn ask_about_all(&self, count: u64) -> anyhow::Result<()> {
        let place = match &self.args.keys.namespace {
            Some(name) => format!("in namespace {}", namespace_name(name)),
            None => "in all namespaces".into(),
        };
        let question = format!("{} {} {place}", phrase(self.verb), counted(count, "key"));
        self.args.confirm.ask_about(&question, count)
    }

    /// How many keys the filters leave, `most` at most, and the store time of the question.
    fn count(&mut self, most: u64) -> anyhow::Result<(u64, u64)> {
        let (mut count, mut after, mut until_ms) = (0, None, None);
        loop {
            let (records, next, now_ms) = self.page(most - count, after)?;
            let until_ms = *until_ms.get_or_insert(now_ms);
            count += records.iter().filter(|view| target(view, until_ms).is_some()).count() as u64;
            if next.is_none() || count >= most {
                return Ok((count, until_ms));
            }
            after = next;
        }
    }

    /// A page of keys, the cursor of those after it, and the store time of the answer.
    fn page(
        &mut self,
        most: u64,
        after: Option<String>,
    ) -> anyhow::Result<(Vec<RecordView>, Option<String>, u64)> {
        let listing = self.args.keys.listing(self.verb, self.force, most, after);
        match self.source.ask(&Request::List(listing))? {
            Answer::Records { records, next, store_time_ms } => Ok((records, next, store_time_ms)),
            _ => Err(unexpected()),
        }
    }

    /// Decides, and tells what came of it. Ends where what was refused to one key would be refused to all.
    fn decide(&mut self, targets: &[Target]) -> anyhow::Result<()> {
        for part in targets.chunks(MAX_TARGETS) {
            for verdict in self.ask(part, false)? {
                match &verdict.refused {
                    None => self.tally.done(&verdict)?,
                    Some(_) => self.tally.refuse(&verdict)?,
                }
            }
            if self.tally.is_deaf() {
                break;
            }
        }
        Ok(())
    }

    fn ask(&mut self, targets: &[Target], dry_run: bool) -> anyhow::Result<Vec<Verdict>> {
        let request = Request::Decide(Decision {
            verb: self.verb,
            targets: targets.to_vec(),
            by: self.args.confirm.by(),
            why: self.args.confirm.why().to_owned(),
            response: self.response.clone(),
            force: self.force,
            dry_run,
        });
        match self.source.ask(&request)? {
            Answer::Decided { verdicts } if verdicts.len() == targets.len() => Ok(verdicts),
            _ => Err(unexpected()),
        }
    }
}

/// The key of a listed record, if it was claimed until then.
fn target(view: &RecordView, until_ms: u64) -> Option<Target> {
    let key = claimstore_admin::Key::new(&view.key()?);
    let seen = Some(Seen { token: view.token.clone(), state: view.state });
    let target = Target { namespace: view.namespace.clone(), key, seen };
    (view.claimed_at_ms <= until_ms).then_some(target)
}

/// The decision in a question.
fn phrase(verb: Verb) -> &'static str {
    match verb {
        Verb::Requeue => "requeue",
        Verb::Release => "release",
        Verb::Complete => "complete",
        Verb::Fail => "fail",
        Verb::Forget => "forget, so that its work may be done again,",
    }
}
