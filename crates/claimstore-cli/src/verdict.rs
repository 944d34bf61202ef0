//! What came of decisions: told key by key, and counted.

use std::collections::BTreeMap;

use claimstore_admin::{Refusal, RefusalKind, Verb, Verdict};
use serde_json::{Value, json};

use crate::exit::{self, Exit};
use crate::human::counted;
use crate::print;
use crate::show::namespace_name;

/// How it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telling {
    /// One key alone is told in one line, and why it is refused is the error of the command.
    pub(crate) alone: bool,
    pub(crate) json: bool,
    /// Whether keys of several namespaces are told.
    pub(crate) named: bool,
}

/// Told so far.
pub(crate) struct Tally {
    verb: Verb,
    telling: Telling,
    done: u64,
    refused: BTreeMap<RefusalKind, u64>,
    /// Why the one key, or the rest of them, was refused.
    ended: Option<Refusal>,
    /// Nobody reads the output any more.
    deaf: bool,
}

impl Tally {
    pub(crate) fn new(verb: Verb, telling: Telling) -> Tally {
        Tally { verb, telling, done: 0, refused: BTreeMap::new(), ended: None, deaf: false }
    }

    /// Whether there is no use in going on.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf || self.ended.is_some()
    }

    pub(crate) fn done(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.done += 1;
        let word = done_word(self.verb);
        if self.telling.json {
            return self.put(&object(verdict, &word.into()));
        }
        let line = format!("{} {word}{}", name(verdict), self.place(verdict));
        self.deaf |= print::line(&line)? == Exit::ReaderGone;
        Ok(())
    }

    pub(crate) fn refuse(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        let Some(refusal) = &verdict.refused else { return Ok(()) };
        if self.ended.is_some() {
            return Ok(());
        }
        if self.telling.alone || refusal.kind.ends_all() {
            self.ended = Some(refusal.clone());
            return Ok(());
        }
        *self.refused.entry(refusal.kind).or_default() += 1;
        if self.telling.json {
            let mut object = object(verdict, &Value::Null);
            if let Some(members) = object.as_object_mut() {
                members.insert("refused".into(), refusal.kind.name().into());
                members.insert("message".into(), refusal.message.clone().into());
            }
            return self.put(&object);
        }
        print::say(&format!("{}{}", refusal.message, self.place(verdict)));
        Ok(())
    }

    fn put(&mut self, object: &Value) -> anyhow::Result<()> {
        self.deaf |= print::json(object)? == Exit::ReaderGone;
        Ok(())
    }

    fn place(&self, verdict: &Verdict) -> String {
        if !self.telling.named {
            return String::new();
        }
        format!(" in namespace {}", namespace_name(&verdict.namespace))
    }

    /// Tells how many there were, and how the command ends: with the largest of the exit codes that the keys would have
    /// had each alone.
    ///
    /// `is_whole`: all keys were gone through; else it is summed up only if there is something to tell.
    pub(crate) fn end(&mut self, is_whole: bool) -> anyhow::Result<Exit> {
        let is_told = self.done > 0 || !self.refused.is_empty();
        if !self.telling.alone && (is_whole || is_told) {
            self.sum_up()?;
        }
        if let Some(refusal) = self.ended.take() {
            return Err(refusal.into());
        }
        if self.deaf {
            return Ok(Exit::ReaderGone);
        }
        let codes = self.refused.keys().map(|kind| exit::of_refusal(*kind));
        Ok(codes.max_by_key(|exit| exit.code()).unwrap_or(Exit::Done))
    }

    fn sum_up(&mut self) -> anyhow::Result<()> {
        if self.telling.json {
            let refused: BTreeMap<_, _> =
                self.refused.iter().map(|(kind, count)| (kind.name(), count)).collect();
            return self.put(&json!({ "summary": { "done": self.done, "refused": refused } }));
        }
        let refused: u64 = self.refused.values().sum();
        let rest = if refused == 0 { String::new() } else { format!(", {refused} refused") };
        print::note(&format!("{} {}{rest}", counted(self.done, "key"), done_word(self.verb)));
        Ok(())
    }
}

/// What is said of a decision that was made.
fn done_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Requeue => "requeued",
        Verb::Release => "released",
        Verb::Complete => "completed",
        Verb::Fail => "failed",
        Verb::Forget => "forgotten",
    }
}

/// A key by its hash and its length.
pub(crate) fn short_name(key_hash: &str, key_bytes: usize) -> String {
    format!("{key_hash}+{key_bytes}B")
}

fn name(verdict: &Verdict) -> String {
    short_name(&verdict.key_hash, verdict.key_bytes)
}

fn object(verdict: &Verdict, done: &Value) -> Value {
    json!({
        "key_hash": verdict.key_hash,
        "key_bytes": verdict.key_bytes,
        "namespace": verdict.namespace,
        "done": done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Telling = Telling { alone: false, json: false, named: false };

    fn verdict(kind: Option<RefusalKind>) -> Verdict {
        let refused = kind.map(|kind| Refusal { kind, message: "no".into(), elsewhere: Vec::new() });
        Verdict { namespace: String::new(), key_hash: "0".into(), key_bytes: 1, seen: None, refused }
    }

    /// Over every mixture of what can be refused to one key, and what cannot.
    #[test]
    fn the_largest_code_of_its_keys_is_that_of_the_command() {
        use RefusalKind::{Busy, Held, NotFound, Usage, WrongState};
        let of_keys = [NotFound, WrongState, Usage, Held, Busy];
        for chosen in 0..1_u32 << of_keys.len() {
            let mut tally = Tally::new(Verb::Requeue, TOLD);
            let refused = of_keys.iter().enumerate().filter(|(at, _)| chosen & 1 << at != 0);
            let kinds: Vec<_> = refused.map(|(_, kind)| *kind).collect();
            for kind in &kinds {
                tally.refuse(&verdict(Some(*kind))).unwrap();
            }
            let expected = kinds.iter().map(|kind| exit::of_refusal(*kind).code()).max().unwrap_or(0);
            assert_eq!(tally.end(true).unwrap().code(), expected, "{kinds:?}");
        }
    }

    #[test]
    fn what_ends_the_store_ends_the_command() {
        for kind in [RefusalKind::Damaged, RefusalKind::Closed, RefusalKind::Failed] {
            let mut tally = Tally::new(Verb::Requeue, TOLD);
            tally.refuse(&verdict(Some(RefusalKind::NotFound))).unwrap();
            assert!(!tally.is_deaf());
            tally.refuse(&verdict(Some(kind))).unwrap();
            assert!(tally.is_deaf());
            assert_eq!(exit::of_error(&tally.end(true).unwrap_err()), exit::of_refusal(kind));
        }
    }
}
