//! Records that came to be elsewhere: one commit for a batch, and no key that is known is touched.
//!
//! Each goes the [write path](super::write). What a verdict rests on is committed before the verdict is given.

use super::commit::Waits;
use super::decide;
use super::spaces::{Keyed, Space};
use super::write::{Change, Done, LeaseAfter, OP_BYTES, Seen, Turn, Verdict, until_current};
use super::{Class, Engine};
use crate::claim::FailureClass;
use crate::codec::{Extra, Fingerprint, Record, State};
use crate::error::{Error, ErrorKind};
use crate::history;
use crate::import::{Import, Imported};
use crate::options::{MAX_BATCH_ITEMS, MAX_ORIGIN_BYTES, MAX_TTL, MIN_TTL, millis};
use crate::planted;
use crate::policy::Policy;
use crate::sync::Arc;

/// A record ready to be written, but for its numbers.
struct Ready {
    keyed: Keyed,
    record: Record,
}

impl Engine {
    /// Writes a batch of records from elsewhere; see [`Namespace::import_many`](crate::Namespace::import_many).
    pub(crate) fn import_many(
        &self,
        space: &Arc<Space>,
        records: &[Import],
    ) -> Result<Vec<Result<Imported, Error>>, Error> {
        self.check_changes()?;
        if records.len() > MAX_BATCH_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        if self.live.bytes() >= self.limits.live_bytes {
            self.upkeep.ask();
            return Err(Error::new(
                ErrorKind::Overloaded,
                "results wait for a checkpoint; retry in a moment",
            ));
        }
        let policy = space.policy();
        let ready: Vec<Result<Ready, Error>> =
            records.iter().map(|import| self.ready(space, &policy, import)).collect();
        let bytes = ready.iter().flatten().map(Ready::bytes).sum();
        let (last_batch, verdicts) = self.write_imports(space, &policy, ready, bytes)?;
        self.wait(last_batch)?;
        Ok(verdicts)
    }

    fn write_imports(
        &self,
        space: &Space,
        policy: &Policy,
        ready: Vec<Result<Ready, Error>>,
        bytes: usize,
    ) -> Result<(u64, Vec<Result<Imported, Error>>), Error> {
        // Runs are read before the order lock is taken; what moves meanwhile is looked up again one by one.
        let looked = self.look_by(|| {
            ready.iter().map(|item| self.import_found(item.as_ref().ok())).collect::<Result<Vec<_>, _>>()
        })?;
        let mut order = self.admit(bytes, Class::Claims(1))?;
        let mut turn = Turn { order: &mut order, at: self.time.moment(), waits: Waits::Here };
        let mut last_batch = 0;
        let judge = |(item, cold): (Result<Ready, Error>, &Option<Record>)| {
            let done = self.import_one(&mut turn, space, policy, item?, looked.seen_of(cold.as_ref()))?;
            last_batch = last_batch.max(done.batch);
            Ok(done.answer)
        };
        let verdicts = ready.into_iter().zip(&looked.found).map(judge).collect();
        drop(order);
        Ok((last_batch, verdicts))
    }

    fn import_found(&self, item: Option<&Ready>) -> Result<Option<Record>, Error> {
        let Some(Ready { keyed, .. }) = item else { return Ok(None) };
        Ok(self.cold.lookup(&keyed.full, keyed.hash)?.map(|found| found.record))
    }

    fn import_one(
        &self,
        turn: &mut Turn<'_>,
        space: &Space,
        policy: &Policy,
        Ready { keyed, mut record }: Ready,
        seen: Seen<'_>,
    ) -> Result<Done<Imported>, Error> {
        let change = Change { space, keyed: &keyed, added: record.loose_bytes(), carries: 0 };
        let mut attempt = |seen: Seen<'_>| {
            let (keyed, record) = (&keyed, &mut record);
            turn.at = self.time.moment();
            self.write_in_turn(turn, &change, seen, move |standing| {
                standing.check_unreserved()?;
                let verdict = judge(standing.record(), record, standing.at.store_ms);
                if verdict != Imported::Stored {
                    return Ok(Verdict::stands(verdict));
                }
                if standing.record().is_none() {
                    Engine::check_quota(space, policy, keyed.full.len())?;
                }
                Ok(Verdict::write(LeaseAfter::Ended, move |_, seq| {
                    // A token of its own, above all that were given; this one is given to nobody.
                    (record.seq, record.token) = (seq, seq);
                    Ok((std::mem::replace(record, Record::erased(seq)), verdict))
                }))
            })
        };
        match attempt(seen)? {
            Some(done) => Ok(done),
            None => until_current(|| self.look(&keyed), |looked| attempt(looked.seen())),
        }
    }

    /// Checks an import against limits and policy, and fills in what it leaves open.
    fn ready(&self, space: &Space, policy: &Policy, import: &Import) -> Result<Ready, Error> {
        let keyed = self.keyed(space, policy, &import.key)?;
        let misuse = |message| Err(Error::new(ErrorKind::Misuse, message));
        self.check_sizes(import)?;
        if import.attempt == 0 {
            return misuse("an attempt must be at least 1");
        }
        // Its prune would raise the watermark over keys that are still to come.
        if keyed.time_ms.is_some_and(|time| time > self.time.wall_ms().saturating_add(policy.skew_ms())) {
            return Err(Error::new(ErrorKind::FutureKey, "the key lies too far in the future"));
        }
        let Times { claimed_at_ms, settled_at_ms, until_ms, ttl_ms } =
            times(import, policy, keyed.time_ms, self.time.now_ms())?;
        let lease_ms = if import.state.expires() { 0 } else { policy.lease_ms() };
        let fingerprint = import.fingerprint.as_ref();
        let fingerprint = fingerprint
            .map(|given| Box::new(Fingerprint { scheme: given.scheme(), digest: given.to_bytes() }));
        let record = Record {
            seq: 0,
            token: 0,
            attempt: import.attempt,
            state: import.state,
            claimed_at_ms,
            settled_at_ms,
            until_ms,
            ttl_ms,
            lease_ms,
            fingerprint,
            body: import.body.clone(),
            extra: extra(import),
        };
        let record = record.with_tally(import.counts.tally(import.state, import.attempt));
        Ok(Ready { keyed, record })
    }

    fn check_sizes(&self, import: &Import) -> Result<(), Error> {
        let too_large = |message| Err(Error::new(ErrorKind::TooLarge, message));
        let class = FailureClass::Park { note: import.note.clone() };
        self.check_ending(&decide::Ending::Fail(&class))?;
        if import.state.expires() {
            self.check_ending(&decide::Ending::Complete(&import.body))?;
        } else if import.body.len() > self.limits.progress_bytes {
            return too_large("the progress is too large");
        }
        if import.origin.len() > MAX_ORIGIN_BYTES {
            return too_large("an origin must have at most 4,096 bytes");
        }
        Ok(())
    }
}

impl Ready {
    fn bytes(&self) -> usize {
        OP_BYTES + self.keyed.full.len() + self.record.loose_bytes()
    }
}

/// The times of a record; what is not said is filled in.
#[expect(clippy::struct_field_names, reason = "the unit ends a name")]
struct Times {
    claimed_at_ms: u64,
    settled_at_ms: u64,
    until_ms: u64,
    ttl_ms: u64,
}

fn times(import: &Import, policy: &Policy, key_time_ms: Option<u64>, now_ms: u64) -> Result<Times, Error> {
    let settled_at_ms = import.settled_at_ms.unwrap_or(now_ms).min(now_ms);
    let claimed_at_ms = import.claimed_at_ms.unwrap_or(settled_at_ms).min(settled_at_ms);
    let mut settled_at_ms = settled_at_ms;
    if planted::active(82) {
        settled_at_ms = now_ms;
    }
    let mut ttl_ms = import.ttl_ms.unwrap_or(policy.ttl_ms());
    if ttl_ms < millis(MIN_TTL) || ttl_ms > millis(MAX_TTL) {
        return Err(Error::new(ErrorKind::Misuse, "a ttl must lie between 1 second and 10 years"));
    }
    if !import.state.expires() {
        ttl_ms = ttl_ms.max(key_time_ms.map_or(0, |_| policy.ttl_ms()));
        return Ok(Times { claimed_at_ms, settled_at_ms, until_ms: import.until_ms.unwrap_or(0), ttl_ms });
    }
    let mut until_ms = import.until_ms.unwrap_or_else(|| settled_at_ms.saturating_add(ttl_ms));
    if until_ms > now_ms.saturating_add(millis(MAX_TTL)) {
        return Err(Error::new(ErrorKind::Misuse, "a key is remembered for at most 10 years"));
    }
    if let Some(key_time_ms) = key_time_ms {
        // As when such a key is settled here: it is not forgotten before it is too old.
        ttl_ms = ttl_ms.max(policy.ttl_ms());
        until_ms = until_ms.max(key_time_ms.saturating_add(policy.ttl_ms()));
    }
    Ok(Times { claimed_at_ms, settled_at_ms, until_ms, ttl_ms })
}

/// What becomes of `import` beside what is known of the key.
fn judge(known: Option<&Record>, import: &Record, now_ms: u64) -> Imported {
    let mut known = known.filter(|known| known.state != State::Erased && !known.is_expired(now_ms));
    if planted::active(32) {
        known = known.filter(|known| known.state != State::InProgress);
    }
    let Some(known) = known else {
        return if import.is_expired(now_ms) { Imported::Expired } else { Imported::Stored };
    };
    let compared = decide::compare(known.fingerprint.as_deref(), import.fingerprint.as_deref());
    let both_resolved = known.state.expires() && import.state.expires();
    let other_result = known.state != import.state || known.body != import.body;
    if compared == Some(false) || (both_resolved && other_result) {
        Imported::Differs
    } else {
        Imported::Known
    }
}

fn extra(import: &Import) -> Option<Box<Extra>> {
    let fields = if import.fingerprint.is_some() { import.fields.clone() } else { Box::default() };
    let mut granted = import.granted;
    if planted::active(81) {
        granted = 0;
    }
    let extra = Extra {
        origin: import.origin.clone(),
        note: import.note.clone(),
        fields,
        history: history::write(&import.history),
        granted,
        granted_losses: import.granted_losses,
        repeats: import.repeats,
        ..Extra::default()
    };
    if extra == Extra::default() { None } else { Some(Box::new(extra)) }
}

#[cfg(test)]
mod tests {
    use super::{Extra, Fingerprint, Imported, Record, State, judge};
    use crate::{Happened, Import, Orphaned, Past, Policy, Store};
    use claimstore_core::tally::Tally;
    use claimstore_hash::{Fingerprinter, JsonRules};
    use std::time::{Duration, UNIX_EPOCH};

    fn record(state: State, body: &str, fingerprint: Option<u8>) -> Record {
        let mut record = Record::erased(1);
        (record.state, record.until_ms, record.body) = (state, 100, body.as_bytes().into());
        record.fingerprint = fingerprint.map(|byte| Box::new(Fingerprint { scheme: 0, digest: [byte; 32] }));
        record
    }

    fn check(known: Option<&Record>, import: &Record, now_ms: u64, expected: Imported) {
        assert_eq!(judge(known, import, now_ms), expected);
    }

    #[test]
    fn unknown_keys_are_stored_until_their_end() {
        let import = record(State::Completed, "r", None);
        check(None, &import, 99, Imported::Stored);
        check(None, &import, 100, Imported::Expired);
        check(Some(&Record::erased(1)), &import, 99, Imported::Stored);
        check(Some(&Record { until_ms: 50, ..import.clone() }), &import, 50, Imported::Stored);
        check(None, &record(State::Parked, "", None), 1_000, Imported::Stored);
    }

    #[test]
    fn known_keys_stand_and_contradictions_are_told() {
        let done = |body, fingerprint| record(State::Completed, body, fingerprint);
        for (known, import, expected) in [
            (done("r", None), done("r", None), Imported::Known),
            (done("r", Some(1)), done("r", None), Imported::Known),
            (done("r", Some(1)), done("r", Some(2)), Imported::Differs),
            (done("r", None), done("other", None), Imported::Differs),
            (done("r", None), record(State::Failed, "r", None), Imported::Differs),
            (done("r", None), record(State::Parked, "", None), Imported::Known),
            (record(State::InProgress, "", None), done("r", None), Imported::Known),
            (record(State::InProgress, "", Some(1)), done("r", Some(2)), Imported::Differs),
        ] {
            check(Some(&known), &import, 0, expected);
        }
    }

    /// Every field of a record is compared with what was imported; one that is new does not compile before it is.
    #[test]
    fn every_field_of_an_import_is_in_the_record() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let maker = Fingerprinter::with_key([7; 32]);
        let (fingerprint, digests) = maker.json_with_fields(&JsonRules::new(), b"{\"id\":7}").unwrap();
        let past =
            Past::new(Happened::Orphaned(Orphaned::Lapsed), 2, at(400)).with_token(9).with_note("by", "why");
        let store = Store::in_memory().unwrap();
        let space = store.namespace_with("n", Policy::daily()).unwrap();
        for import in [
            Import::completed("completed", "body").expires_at(at(1_900_000_000_000)),
            Import::failed("failed", "body").expires_at(at(1_900_000_000_000)),
            Import::retry("retry", at(600)).progress("body"),
            Import::parked("parked", "note").progress("body"),
        ] {
            let import = import
                .claimed_at(at(300))
                .settled_at(at(500))
                .ttl(Duration::from_millis(7_000))
                .attempt(3)
                .attempts_granted(4)
                .failures(1)
                .losses(2)
                .interrupted(9)
                .in_doubt(false)
                .losses_granted(8)
                .replays(5)
                .mismatches(6)
                .fingerprint(fingerprint)
                .fields(&digests)
                .origin("origin")
                .history(vec![past.clone()]);
            assert_eq!(
                space.import_many(std::slice::from_ref(&import)).unwrap().remove(0).unwrap(),
                Imported::Stored
            );
            let shown = space.get(&import.key).unwrap().unwrap();
            assert_eq!((shown.replays(), shown.mismatches()), (5, 6));
            let Import { key, state: to_be, until_ms: end_ms, note: words, body: bytes, .. } = import;
            let Record {
                seq,
                token,
                attempt,
                state,
                claimed_at_ms,
                settled_at_ms,
                until_ms,
                ttl_ms,
                lease_ms: _,
                fingerprint: stored,
                body,
                extra,
            } = shown.version().clone();
            assert!(token == seq && state == to_be && *shown.key() == *key);
            assert_eq!((attempt, claimed_at_ms, settled_at_ms, ttl_ms), (3, 300, 500, 7_000));
            assert_eq!((until_ms, &body), (end_ms.unwrap_or(0), &bytes));
            assert!(stored.is_some_and(|stored| stored.digest == fingerprint.to_bytes()));
            let Extra {
                origin,
                earlier_progress,
                note,
                fields,
                history,
                asked,
                granted,
                repeats: _,
                tally,
                left,
                granted_losses,
                calls,
                unknown,
            } = *extra.unwrap();
            let expected = Tally { failures: 1, losses: 2, interrupted: 9, ..Tally::default() };
            assert_eq!((tally, granted_losses), (Some(expected), 8));
            assert!(left.is_none() && calls.is_empty(), "they are of attempts that go on");
            assert_eq!((&*origin, &note, &*fields), (&b"origin"[..], &words, &*digests.to_bytes()));
            assert!(crate::history::read(&history) == [past.clone()], "the history is another");
            assert_eq!((granted, earlier_progress, asked, unknown.len()), (4, None, None, 0));
        }
    }
}
