//! `claimstore explain`: one key, how it came to be as it is, what the rules make of it, and what can be done.

use std::ffi::OsStr;
use std::fmt::Write as _;

use claimstore_admin::{Answer, PolicyView, RecordView, Request, State, TallyView};
use clap::Args;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::human::{limit, span, utc};
use crate::look::LookArgs;
use crate::source::{Source, unexpected};
use crate::verdict::short_name;
use crate::{codes, print, shell, show};

/// Shows one key: its history, the rules for it, and what can be done.
///
/// The history has the last 16 entries. The lines at the end can be pasted into a shell; each decision asks first.
#[derive(Debug, Args)]
#[command(after_long_help = codes::EXPLAIN.listed())]
pub(crate) struct Explain {
    #[command(flatten)]
    look: LookArgs,
}

impl Explain {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let mut source = Source::open(&self.look.store)?;
        let (record, now) = self.look.ask(&mut source, true)?;
        let rules = rules(&mut source, &record.namespace)?;
        source.close()?;
        let explained =
            Explained { record: &record, rules: &rules, now, store: self.look.store.store.as_os_str() };
        if self.look.show.json { print::json(&explained.json()?) } else { print::text(&explained.text()) }
    }
}

fn rules(source: &mut Source, namespace: &str) -> anyhow::Result<PolicyView> {
    let request = Request::Policies { namespace: Some(namespace.to_owned()) };
    let Answer::Policies { policies } = source.ask(&request)? else { return Err(unexpected()) };
    policies.into_iter().next().ok_or_else(unexpected)
}

/// A record, and the rules of its namespace.
struct Explained<'a> {
    record: &'a RecordView,
    rules: &'a PolicyView,
    now: u64,
    store: &'a OsStr,
}

impl Explained<'_> {
    fn text(&self) -> String {
        let mut text = show::lines(self.record, self.now);
        text += &print::fields(&[
            ("failures", self.failures()),
            ("losses", self.losses()),
            ("in doubt", self.in_doubt().to_owned()),
            ("rules", self.rules()),
            ("store time", utc(self.now)),
        ]);
        text = text + "\n" + &print::wrapped(&self.meaning(), 0);
        let history = self.record.history.as_deref().unwrap_or_default();
        if !history.is_empty() {
            text.push_str("\nhistory, oldest first:\n");
            history.iter().for_each(|past| text.push_str(&print::wrapped(&show::past_line(past), 4)));
        }
        for (why, verb) in next(self.record.state) {
            if let Some(warning) = self.warning(verb) {
                text = text + "\n" + &print::wrapped(&format!("Warning: {warning}."), 0);
            }
            // Not wrapped: it is to be pasted.
            let _ = write!(text, "\n{why}:\n    {}\n", self.command(verb));
        }
        text
    }

    fn json(&self) -> serde_json::Result<Value> {
        let mut object = serde_json::to_value(self.record)?;
        if let Some(members) = object.as_object_mut() {
            let step = |(why, verb): &(&str, &str)| {
                let (command, warning) = (self.command(verb), self.warning(verb));
                json!({ "why": why, "command": command, "warning": warning })
            };
            let next: Vec<_> = next(self.record.state).iter().map(step).collect();
            members.insert("meaning".into(), self.meaning().into());
            members.insert("store_time_ms".into(), self.now.into());
            members.insert("failures_left".into(), self.failures_left().into());
            members.insert("losses_left".into(), self.losses_left().into());
            members.insert("rules".into(), serde_json::to_value(self.rules)?);
            members.insert("next".into(), next.into());
        }
        Ok(object)
    }

    /// What is counted of the attempts: with the present one, where nobody stands behind it.
    fn tally(&self) -> TallyView {
        let RecordView { failures, losses, interrupted, in_doubt, once_ended, .. } = *self.record;
        // A program of an earlier version does not tell what an orphan's end will count as; and whoever took a claim over
        // is only finding out.
        let in_doubt = in_doubt || self.record.state == State::Orphaned || self.is_asked_about();
        once_ended.unwrap_or(TallyView { failures, losses, interrupted, in_doubt })
    }

    /// Whether somebody holds the claim to find out what became of it.
    fn is_asked_about(&self) -> bool {
        self.record.state == State::InProgress && self.record.asked > 0
    }

    fn failures(&self) -> String {
        let (count, before) = (self.tally().failures, self.record.failures);
        counted(count, self.most_failures()) + with_this(count, before)
    }

    fn losses(&self) -> String {
        let (count, before) = (self.tally().losses, self.record.losses);
        counted(count, self.most_losses()) + with_this(count, before)
    }

    fn in_doubt(&self) -> &'static str {
        match (self.record.in_doubt, self.tally().in_doubt) {
            (true, _) => "yes",
            (false, true) => "yes (this attempt)",
            (false, false) => "no",
        }
    }

    /// What is to be said before this subcommand is offered.
    fn warning(&self, verb: &str) -> Option<&'static str> {
        let again = matches!(verb, "requeue" | "release");
        (again && self.tally().in_doubt)
            .then_some("the work may have been done: find out before it is done again")
    }

    /// At how many failures the key is parked: what the policy allows, or a reviewer beyond it.
    fn most_failures(&self) -> u32 {
        self.rules.max_attempts.max(self.record.attempts_granted)
    }

    /// The same of losses.
    fn most_losses(&self) -> u32 {
        self.rules.max_losses.max(self.record.losses_granted)
    }

    fn failures_left(&self) -> u32 {
        self.most_failures().saturating_sub(self.tally().failures)
    }

    fn losses_left(&self) -> u32 {
        self.most_losses().saturating_sub(self.tally().losses)
    }

    fn rules(&self) -> String {
        let rules = self.rules;
        let backoff = rules.orphan_backoff.as_ref();
        let backoff = backoff.map(|of| format!(" after {} to {}", span(of.first_ms), span(of.most_ms)));
        let (ttl, lease, on_orphan) = (span(rules.ttl_ms), span(rules.lease_ms), &rules.on_orphan);
        let (attempts, losses) = (limit(rules.max_attempts), limit(rules.max_losses));
        let (backoff, on_drop) = (backoff.unwrap_or_default(), &rules.on_drop);
        let bounds = format!("failures {attempts}, losses {losses}");
        format!("ttl {ttl}, lease {lease}, {bounds}, on-orphan {on_orphan}{backoff}, on-drop {on_drop}")
    }

    /// What the state means for whoever claims the key next.
    fn meaning(&self) -> String {
        let state = self.record.state;
        let what = match state {
            State::Completed => {
                format!("A claim is answered Duplicate, with the stored response, {}", self.expiry())
            }
            State::Failed => format!("A claim is answered Duplicate, as a failure, {}", self.expiry()),
            State::Parked => "Until then nothing happens by itself".to_owned(),
            State::Retry => match self.record.retry_at_ms.filter(|at| *at > self.now) {
                Some(at) => format!("A claim from {} on {}", utc(at), self.next_attempt(false)),
                None => format!("The next claim {}", self.next_attempt(false)),
            },
            State::Orphaned => format!("The next claim {}", self.by_rule()),
            State::InProgress if self.record.once_ended.is_some() => {
                format!("Its lease is over, and the next claim {}", self.by_rule())
            }
            State::InProgress => format!(
                "Claims are answered InProgress {}. After that the next claim {}",
                match self.record.detached_until_ms {
                    Some(at) => format!("until the holder settles it, and until {} at the latest", utc(at)),
                    None => "until the holder settles it, or its lease is over".to_owned(),
                },
                self.by_rule()
            ),
        };
        format!("{}: {}. {what}.", state.name(), state.meaning())
    }

    fn expiry(&self) -> String {
        self.record.expires_at_ms.map_or_else(|| "for ever".into(), |at| format!("until {}", utc(at)))
    }

    /// What the next claim is granted as. `ends`: it ends an attempt, which counts then.
    fn next_attempt(&self, ends: bool) -> String {
        if self.failures_left() == 0 {
            return "parks the key, as its failures are used up".to_owned();
        }
        if self.losses_left() == 0 {
            return "parks the key, as its losses are used up".to_owned();
        }
        let granted = format!("is granted, as attempt {}", self.record.attempt.saturating_add(1));
        match (ends, self.failures_left(), self.losses_left()) {
            (true, 1, _) => format!("{granted}, or parks the key if the present one ends as a failure"),
            (true, _, 1) => format!("{granted}, or parks the key if the present one ends as a loss"),
            _ => granted,
        }
    }

    /// Whether the next claim of an orphan makes it wait first: not after its first interruption, and not where it is parked.
    fn waits(&self) -> bool {
        let interrupted = match self.record.once_ended {
            Some(tally) => tally.interrupted,
            None => self.record.interrupted.saturating_add(1),
        };
        self.rules.orphan_backoff.is_some()
            && interrupted > 1
            && self.failures_left() > 0
            && self.losses_left() > 0
    }

    /// What the rule for orphans makes of the next claim.
    fn by_rule(&self) -> String {
        let ends = self.record.once_ended.is_none();
        let effect = match self.rules.on_orphan.as_str() {
            "park" => "parks the key".to_owned(),
            "fail" => "makes the key failed".to_owned(),
            "resolve" => "is answered InProgress until a resolver ends it".to_owned(),
            _ if self.waits() => format!("makes the key wait, and a later one {}", self.next_attempt(ends)),
            _ => self.next_attempt(ends),
        };
        format!("{effect} (on-orphan {})", self.rules.on_orphan)
    }

    /// A command line about this key. The key stands in it by its short name, which gives no key away.
    fn command(&self, verb: &str) -> String {
        let RecordView { key_hash, key_bytes, namespace, .. } = self.record;
        shell::about_key(verb, &short_name(key_hash, *key_bytes), namespace, self.store)
    }
}

/// A count under its bound.
fn counted(count: u32, most: u32) -> String {
    match most {
        u32::MAX => format!("{count}, no limit"),
        most => format!("{count} of {most}, {} left", most.saturating_sub(count)),
    }
}

/// Said of a count that has the present attempt in it, which was not counted `before`.
fn with_this(count: u32, before: u32) -> &'static str {
    if count > before { ", this attempt counted" } else { "" }
}

/// What can be done about a key in this state: when, and the subcommand.
fn next(state: State) -> &'static [(&'static str, &'static str)] {
    match state {
        State::Parked => &[
            ("to let the work be done again", "requeue"),
            ("if the work is known to be done", "complete"),
            ("if the work is not to be done any more", "fail"),
        ],
        State::Orphaned => &[
            ("to let the work be done again at once", "release"),
            ("if the work is known to be done", "complete"),
            ("if the work is not to be done any more", "fail"),
        ],
        State::InProgress => &[("to look again later", "explain")],
        State::Retry => &[("to look again after the next claim", "explain")],
        State::Completed | State::Failed => {
            &[("to let the work be done again, and lose what is stored", "forget")]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use claimstore::{ClaimRequest, Failure, Namespace, OnOrphan, Policy, Store};
    use claimstore_admin::{Key, Served, Show, answer};

    use super::*;

    /// What is said of the key `k` after `work`, under a policy.
    fn explained<T>(
        policy: Policy,
        work: impl FnOnce(&Namespace) -> T,
        say: impl Fn(&Explained<'_>) -> String,
    ) -> String {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let space = store.namespace_with("it's", policy).unwrap();
        let kept = work(&space);
        let get = Request::Get {
            namespace: "it's".into(),
            key: Key::new(b"k"),
            show: Show::default(),
            history: true,
        };
        let Ok(Answer::Record { record, store_time_ms: now }) = answer(&store, &get, Served::Briefly) else {
            panic!()
        };
        let rules = PolicyView::new("it's", &space.policy());
        let said = say(&Explained { record: &record, rules: &rules, now, store: OsStr::new("/a b") });
        drop(kept);
        store.close().unwrap();
        said
    }

    fn claim(space: &Namespace) -> claimstore::Lease {
        space.claim_with(&ClaimRequest::new("k")).unwrap().claimed().unwrap()
    }

    #[test]
    fn the_rule_that_applies_is_told() {
        let (retry, park) = (Policy::daily().max_attempts(2), Policy::daily().on_orphan(OnOrphan::Park));
        let meaning = |of: &Explained<'_>| of.meaning();
        let orphan = |space: &Namespace| drop(claim(space));
        let said = explained(retry.clone(), orphan, meaning);
        assert!(said.ends_with("The next claim is granted, as attempt 2 (on-orphan retry)."), "{said}");
        let said = explained(park, orphan, meaning);
        assert!(said.ends_with("The next claim parks the key (on-orphan park)."), "{said}");
        // A dropped lease is a loss, and no failure.
        let said = explained(retry.clone().max_attempts(1), orphan, meaning);
        assert!(said.ends_with("The next claim is granted, as attempt 2 (on-orphan retry)."), "{said}");
        let lost = |space: &Namespace| (drop(claim(space)), drop(claim(space)));
        let said = explained(retry.clone().max_losses(2), lost, meaning);
        let parks = "The next claim parks the key, as its losses are used up (on-orphan retry).";
        assert!(said.ends_with(parks), "{said}");
        // Of a holder that is trusted, nobody knows.
        let said = explained(retry.clone().max_attempts(1), claim, meaning);
        assert!(said.contains("or parks the key if the present one ends as a failure"), "{said}");
        let held = |space: &Namespace| (drop(claim(space)), claim(space));
        let said = explained(retry.clone().max_losses(2), held, meaning);
        assert!(said.contains("or parks the key if the present one ends as a loss"), "{said}");
        let said = explained(retry.clone(), claim, meaning);
        assert!(
            said.starts_with("in-progress: ") && said.contains("or its lease is over. After that the next"),
            "{said}"
        );
        let failed = |space: &Namespace| claim(space).fail(Failure::retry()).unwrap();
        let said = explained(retry, failed, meaning);
        assert!(said.ends_with("The next claim is granted, as attempt 2."), "{said}");
    }

    #[test]
    fn what_is_left_counts_what_a_reviewer_granted() {
        let failures = |of: &Explained<'_>| of.failures();
        let work = |space: &Namespace| claim(space).fail(Failure::retry()).unwrap();
        assert_eq!(explained(Policy::daily().max_attempts(3), work, failures), "1 of 3, 2 left");
        let granted = |of: &Explained<'_>| {
            let record = RecordView { attempts_granted: 7, failures: 4, ..of.record.clone() };
            failures(&Explained { record: &record, ..*of })
        };
        assert_eq!(explained(Policy::daily().max_attempts(3), work, granted), "4 of 7, 3 left");
        assert_eq!(explained(Policy::daily().max_attempts(u32::MAX), work, failures), "1, no limit");
        let lost = |space: &Namespace| (drop(claim(space)), claim(space));
        let losses = |of: &Explained<'_>| of.losses();
        assert_eq!(explained(Policy::daily(), lost, losses), "1 of 10, 9 left");
    }

    /// The next lease of each of these is in doubt.
    #[test]
    fn an_orphan_is_told_as_it_stands_once_its_end_is_counted() {
        let policy = Policy::daily().max_attempts(1);
        let text = |of: &Explained<'_>| of.text();
        let dropped = explained(policy.clone(), |space| drop(claim(space)), text);
        assert!(dropped.contains("losses     1 of 10, 9 left, this attempt counted\n"), "{dropped}");
        let lapse = |space: &Namespace| {
            let lease = space.claim_with(&ClaimRequest::new("k").lease(Duration::from_millis(1)));
            #[expect(clippy::disallowed_methods, reason = "the lease is to lapse")]
            std::thread::sleep(Duration::from_millis(20));
            lease
        };
        let lapsed = explained(policy, lapse, text);
        assert!(lapsed.contains("failures   1 of 1, 0 left, this attempt counted\n"), "{lapsed}");
        assert!(lapsed.contains("next claim parks the key, as its failures are used up"), "{lapsed}");
        for said in [&dropped, &lapsed] {
            assert!(said.contains("in doubt   yes (this attempt)\n"), "{said}");
        }
        let warning =
            "\nWarning: the work may have been done: find out before it is done again.\n\nto let the work";
        assert!(dropped.contains(warning), "{dropped}");
        let json = |of: &Explained<'_>| of.json().unwrap().to_string();
        let said = explained(Policy::daily(), |space| drop(claim(space)), json);
        let said: Value = serde_json::from_str(&said).unwrap();
        let expected = json!({ "failures": 0, "losses": 1, "interrupted": 1, "in_doubt": true });
        assert_eq!((&said["once_ended"], &said["losses_left"]), (&expected, &json!(9)));
        assert!(said["next"][0]["warning"].is_string() && said["next"][1]["warning"].is_null(), "{said}");
        let parked = |space: &Namespace| claim(space).fail(Failure::park("")).unwrap();
        assert!(!explained(Policy::daily(), parked, text).contains("Warning"));
    }

    #[test]
    fn a_line_to_paste_names_key_namespace_and_store() {
        let work = |space: &Namespace| claim(space).fail(Failure::park("")).unwrap();
        let said = explained(Policy::daily(), work, |of| of.command("requeue"));
        let label = claimstore_admin::key_label("k");
        assert_eq!(said, format!("claimstore requeue {label} --namespace \"it's\" --store '/a b'"));
    }
}
