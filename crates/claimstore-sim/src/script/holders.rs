//! Who is behind the claims: what a listing of those without a holder shows, a count of all of them, and taking one over.

use super::compare::key_bytes;
use super::model::{Known, Model, Stage};
use super::runner::{Done, Runner, Stop, disagree};
use claimstore::{ErrorKind, Record, Store};
use claimstore_core::backend::Settlement;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many claims there are of each kind: with a holder, left behind, lapsed; to be retried, parked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heads {
    in_progress: u64,
    orphaned: u64,
    lapsed: u64,
    retry: u64,
    parked: u64,
}

impl Model {
    fn heads(&self) -> Heads {
        let mut heads = Heads::default();
        for known in self.known.values() {
            let count = match &known.stage {
                Stage::InProgress { .. } if self.is_trusted(known) => &mut heads.in_progress,
                Stage::InProgress { orphaned: true, .. } => &mut heads.orphaned,
                Stage::InProgress { .. } => &mut heads.lapsed,
                Stage::Retry { .. } => &mut heads.retry,
                Stage::Parked => &mut heads.parked,
                Stage::Resolved { .. } => continue,
            };
            *count += 1;
        }
        heads
    }

    /// The claims that nobody stands behind, by their keys.
    fn unheld(&self) -> BTreeMap<Vec<u8>, usize> {
        let in_progress = |known: &Known| matches!(known.stage, Stage::InProgress { .. });
        let unheld = self.known.iter().filter(|(_, known)| in_progress(known) && !self.is_trusted(known));
        unheld.map(|(key, _)| (key_bytes(*key, self), *key)).collect()
    }

    fn take_over(&mut self, key: usize, term_ms: u64) {
        let boot_ms = self.boot_ms;
        let Some(known) = self.known.get_mut(&key) else { return };
        let first = !std::mem::replace(&mut known.asked, true);
        let Stage::InProgress { lease_until_ms, orphaned, dropped, detached_until_ms, .. } = &mut known.stage
        else {
            return;
        };
        if first {
            known.asked_of_dropped = *orphaned && *dropped;
        }
        (*lease_until_ms, *orphaned, *dropped, *detached_until_ms) = (boot_ms + term_ms, false, false, 0);
    }
}

/// Compares the counts of claims, and the listing of those without a holder.
pub(super) fn compare_holders(store: &Store, model: &Model) -> Done {
    let census = store.census()?;
    let found = Heads {
        in_progress: census.in_progress,
        orphaned: census.orphaned,
        lapsed: census.lapsed,
        retry: census.retry,
        parked: census.parked,
    };
    let expected = model.heads();
    if found != expected {
        return disagree(format!("a census of {found:?}, expected {expected:?}"));
    }
    let unsettled = expected.in_progress + expected.orphaned + expected.lapsed;
    let in_progress = store.stats()?.in_progress;
    if in_progress != unsettled {
        return disagree(format!("{in_progress} claims are in progress, expected {unsettled}"));
    }
    listed(store, model).map(drop)
}

/// The records of the claims without a holder, which must be those the model knows of.
fn listed(store: &Store, model: &Model) -> Result<Vec<(usize, Record)>, Stop> {
    let mut expected = model.unheld();
    let mut listed = Vec::new();
    for record in store.unheld() {
        let record = record?;
        match expected.remove(record.key()) {
            Some(key) => listed.push((key, record)),
            None => return disagree("a claim is listed as without a holder that has one"),
        }
    }
    match expected.into_values().next() {
        Some(key) => disagree(format!("key {key} has no holder and is not listed")),
        None => Ok(listed),
    }
}

impl Runner {
    /// Takes over one of the claims without a holder.
    pub(super) fn take_over(&mut self, which: usize, term_s: u64) -> Done {
        let mut listed = listed(self.opened(), &self.model)?;
        if listed.is_empty() {
            return Ok(());
        }
        listed.sort_by_key(|(key, _)| *key);
        let (key, record) = listed.swap_remove(which % listed.len());
        self.model.take_over(key, term_s * 1_000);
        let lease = self.take_over_either_way(&record, Duration::from_secs(term_s))?;
        if lease.attempt() != record.attempt() {
            return disagree(format!("key {key}: taking over counted as attempt {}", lease.attempt()));
        }
        self.note_token(key, lease.token())?;
        self.held.push((key, lease));
        Ok(())
    }

    /// Gives a claim back; one that was taken over has no attempt that could be undone.
    pub(super) fn release(&mut self, held: usize) -> Done {
        let Some((key, lease)) = self.take_held(held) else { return Ok(()) };
        let holds = self.model.holds(key, lease.token());
        let asked = self.model.known.get(&key).is_some_and(|known| known.asked);
        if !(holds && asked) {
            if holds {
                self.model.release(key);
            }
            let verdict = self.settle_either_way(lease, Settlement::Release);
            return self.settled(key, holds, verdict);
        }
        match self.settle_either_way(lease, Settlement::Release).err() {
            Some((error, Some(lease))) if error.kind() == ErrorKind::Misuse => {
                self.held.push((key, lease));
                Ok(())
            }
            Some((error, _)) => Err(error.into()),
            None => disagree(format!("key {key}: a claim that was taken over was given back")),
        }
    }
}
