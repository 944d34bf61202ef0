//! Applies decisions. The only place that does so, for a live store and for one that is opened for it.
//!
//! Each decision is fenced by the store. A review names the parked version that it is about, an orphan is ended only
//! while it has no holder, and a key is forgotten only in the version that was shown. The store compares these under
//! the locks that grant, renew and settle claims, so the first one wins and the second one is refused. A decision
//! that is not reported as made may be repeated: nothing here is done in part, with one exception. An orphan may be
//! parked when the rest of its decision fails, and then it can be decided about again.

use crate::answer::find::{namespace, resolve, unknown};
use crate::wire::{Decision, Key, MAX_TARGETS, Refusal, RefusalKind, Seen, State, Target, Verb, Verdict};
use crate::{KeyLabel, key_label};
use claimstore::{Error, ErrorKind, Failure, Namespace, Note, Record, RecordState, Review, Store};

/// Decides about each target. If the store is closed or poisoned meanwhile, later targets are not tried.
pub(crate) fn decide(store: &Store, decision: &Decision) -> Result<Vec<Verdict>, Refusal> {
    if decision.targets.len() > MAX_TARGETS {
        return Err(Refusal::new(RefusalKind::Usage, "a decision is about at most 100 keys"));
    }
    let plan = Plan::of(decision)?;
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(decision.targets.len());
    let mut ended: Option<Refusal> = None;
    for target in &decision.targets {
        let verdict = match &ended {
            Some(refusal) => refused(target, refusal.clone()),
            None => match resolve(store, &target.namespace, &target.key) {
                Ok(key) => plan.decide(store, target, &key),
                Err(refusal) => refused(target, refusal),
            },
        };
        ended = ended.or_else(|| verdict.refused.clone().filter(|refusal| refusal.kind.ends_all()));
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// The verdict about a key that was not looked up, named as in the request.
fn refused(target: &Target, refusal: Refusal) -> Verdict {
    let label = match &target.key {
        Key::Label(text) => KeyLabel::parse(text),
        key => key.bytes().ok().map(key_label),
    };
    let (key_hash, key_bytes) = label.as_ref().map(parts).unwrap_or_default();
    Verdict { namespace: target.namespace.clone(), key_hash, key_bytes, seen: None, refused: Some(refusal) }
}

/// A decision in types of the store.
struct Plan {
    verb: Verb,
    review: Review,
    note: Note,
    force: bool,
    dry_run: bool,
}

impl Plan {
    fn of(decision: &Decision) -> Result<Plan, Refusal> {
        let response = decision.response.bytes()?;
        let review = match decision.verb {
            Verb::Requeue | Verb::Release => Review::Requeue,
            Verb::Complete => Review::Complete(response),
            Verb::Fail => Review::Fail(response),
            Verb::Forget => Review::Forget,
        };
        let note = Note::new(&decision.by, &decision.why);
        let Decision { verb, force, dry_run, .. } = *decision;
        Ok(Plan { verb, review, note, force, dry_run })
    }

    fn decide(&self, store: &Store, target: &Target, key: &[u8]) -> Verdict {
        let (seen, refused) = match find(store, target, key) {
            Err(refusal) => (None, Some(refusal)),
            Ok((space, record)) => {
                let refused = self.decide_about(store, &space, target, &record).err();
                (Some(seen(&record)), refused)
            }
        };
        let (key_hash, key_bytes) = parts(&key_label(key));
        Verdict { namespace: target.namespace.clone(), key_hash, key_bytes, seen, refused }
    }

    fn decide_about(
        &self,
        store: &Store,
        space: &Namespace,
        target: &Target,
        record: &Record,
    ) -> Result<(), Refusal> {
        let mut is_as_seen = target.seen.as_ref().is_none_or(|was| *was == seen(record));
        if crate::planted::active(58) {
            // Planted bug 58: takes the present version instead of the one that was seen.
            is_as_seen = true;
        }
        if !is_as_seen {
            return Err(changed(record));
        }
        if !self.verb.takes(record.state().into()) {
            let (name, state) = (key_name(record), State::from(record.state()).name());
            let message = format!("the key {name} is {state}, not {}", self.verb.needs());
            return Err(Refusal::new(RefusalKind::WrongState, message));
        }
        if self.dry_run {
            return Ok(());
        }
        if self.verb == Verb::Forget {
            return self.forget(store, space, record);
        }
        let parked = self.park(store, space, record)?;
        if crate::planted::active(57) {
            // Planted bug 57: reports success while the decision is only queued.
            drop(store.review_async(&parked, self.review.clone(), self.note.clone()));
            return Ok(());
        }
        store.review(&parked, &self.review, &self.note).map_err(|error| stale_is(error, changed(record)))
    }

    /// Parks an orphan, so that the decision itself is a review, which stores who decided and why. A crash in between
    /// leaves the key parked.
    fn park(&self, store: &Store, space: &Namespace, record: &Record) -> Result<Record, Refusal> {
        if record.state() == RecordState::Parked {
            return Ok(record.clone());
        }
        let parking = Failure::park(self.note.why());
        for verdict in store.fail_orphans(&[(record.clone(), parking)])? {
            verdict.map_err(|error| stale_is(error, self.held_or_changed(space, record)))?;
        }
        // Another decision may have come in between: then it is another claim, or another state.
        let parked = space
            .get(record.key())?
            .filter(|parked| parked.state() == RecordState::Parked && parked.token() == record.token());
        parked.ok_or_else(|| changed(record))
    }

    fn forget(&self, store: &Store, space: &Namespace, record: &Record) -> Result<(), Refusal> {
        if self.force {
            return store.forget_shown(record).map_err(|error| stale_is(error, changed(record)));
        }
        store.forget_unheld(record).map_err(|error| stale_is(error, self.held_or_changed(space, record)))
    }

    /// Explains a refusal of the store: the record has changed since it was seen, or it has a holder.
    fn held_or_changed(&self, space: &Namespace, record: &Record) -> Refusal {
        let is_same = |now: &Record| seen(now) == seen(record) && now.state() == RecordState::InProgress;
        if !matches!(space.get(record.key()), Ok(Some(now)) if is_same(&now)) {
            return changed(record);
        }
        let hint = if self.verb == Verb::Forget { "; --force takes it from the holder" } else { "" };
        let name = key_name(record);
        let message = format!("the key {name} is in progress, and its holder is still trusted with it{hint}");
        Refusal::new(RefusalKind::Held, message)
    }
}

fn find(store: &Store, target: &Target, key: &[u8]) -> Result<(Namespace, Record), Refusal> {
    let space = namespace(store, &target.namespace)?;
    let record = space.get(key)?.ok_or_else(|| unknown(store, &target.namespace, key))?;
    Ok((space, record))
}

fn seen(record: &Record) -> Seen {
    Seen { token: record.token().to_string(), state: record.state().into() }
}

fn key_name(record: &Record) -> KeyLabel {
    key_label(record.key())
}

/// The digits of the digest, and the length.
fn parts(label: &KeyLabel) -> (String, usize) {
    (label.hash().to_owned(), label.key_bytes())
}

/// Another decision or claim came first: the record is not the one that was seen.
fn changed(record: &Record) -> Refusal {
    let message = format!("the key {} changed meanwhile; look at it again", key_name(record));
    Refusal::new(RefusalKind::Busy, message)
}

/// `StaleLease` means that the store compared and found another version; other errors are passed on.
fn stale_is(error: Error, refusal: Refusal) -> Refusal {
    if error.kind() == ErrorKind::StaleLease { refusal } else { error.into() }
}
