//! The calls of a script, one by one: what each should answer, and what it did.

use super::backend::Unsettled;
use super::compare::key_bytes;
use super::model::{Expected, Known, Model, Stage};
use super::runner::{Done, ROWS, Runner, disagree};
use super::spaces::{Home, is_quota};
use super::world::MAX_RESPONSE_BYTES;
use claimstore::{Claim, ClaimRequest, Error, ErrorKind, Lease, LeaseToken, Transacted};
use claimstore_core::backend::Settlement;
use std::time::Duration;

pub(super) fn fingerprint(payload: u8) -> [u8; 32] {
    [payload; 32]
}

impl Runner {
    pub(super) fn request(&self, key: usize, ttl_ms: u64, payload: u8) -> ClaimRequest {
        let request = ClaimRequest::new(key_bytes(key, &self.model)).ttl(Duration::from_millis(ttl_ms));
        if payload == 0 { request } else { request.fingerprint(fingerprint(payload)) }
    }

    pub(super) fn claim(&mut self, key: usize, ttl: usize, payload: u8) -> Done {
        if self.model.is_open(key) {
            return Ok(());
        }
        let ttl_ms = self.model.ttl_ms(key, ttl);
        let expected = self.model.expect(key, payload);
        self.foresee(key, ttl_ms, payload, &expected);
        let (space, request) = (self.space(key)?, self.request(key, ttl_ms, payload));
        let answer = self.claim_either_way(&space, request);
        self.judge(key, &expected, answer)
    }

    /// Lets the model follow a claim whose token is not known yet.
    pub(super) fn foresee(&mut self, key: usize, ttl_ms: u64, payload: u8, expected: &Expected) {
        match expected {
            Expected::Claimed { attempt, progress, .. } => {
                self.model.claim(key, ttl_ms, payload, *attempt, progress.clone(), 0);
            }
            Expected::Parked { becomes: true } => self.model.park_orphan(key),
            _ => {}
        }
    }

    pub(super) fn judge(&mut self, key: usize, expected: &Expected, answer: Result<Claim, Error>) -> Done {
        match (expected, answer) {
            (Expected::Claimed { attempt, in_doubt, progress }, Ok(Claim::Claimed(lease))) => {
                if lease.in_doubt() != *in_doubt {
                    return disagree(format!("key {key}: in doubt: {}, expected {expected:?}", !in_doubt));
                }
                if lease.attempt() != *attempt || lease.progress().unwrap_or_default() != progress {
                    return disagree(format!("attempt {}, expected {attempt}", lease.attempt()));
                }
                self.note_token(key, lease.token())?;
                self.held.push((key, lease));
                Ok(())
            }
            (Expected::Duplicate { failure, response }, Ok(Claim::Duplicate(receipt)))
                if receipt.is_failure() == *failure && receipt.response() == response =>
            {
                Ok(())
            }
            (Expected::InProgress, Ok(Claim::InProgress(_))) => Ok(()),
            (_, Ok(answer)) => disagree(format!("key {key}: {answer:?}, expected {expected:?}")),
            (Expected::NoRoom, Err(error)) if is_quota(&error) => Ok(()),
            // A key that is named again in a batch is refused again.
            (Expected::Claimed { .. } | Expected::InProgress, Err(error))
                if Home::has_quota(key) && is_quota(&error) =>
            {
                self.model.refuse(key);
                if self.model.visible(key).is_none() { Ok(()) } else { disagree("a known key has no room") }
            }
            (_, Err(error)) => {
                let fits = matches!(
                    (expected, error.kind()),
                    (Expected::Parked { .. }, ErrorKind::Parked)
                        | (Expected::Mismatch, ErrorKind::PayloadMismatch)
                        | (Expected::TooOld, ErrorKind::TooOld)
                        | (Expected::Future, ErrorKind::FutureKey)
                );
                if fits { Ok(()) } else { refused(expected, error) }
            }
        }
    }

    pub(super) fn note_token(&mut self, key: usize, token: u64) -> Done {
        if token <= self.last_token {
            return disagree(format!("key {key}: token {token} after {}", self.last_token));
        }
        self.last_token = token;
        if let Some(known) = self.model.known.get_mut(&key) {
            known.token = token;
        }
        Ok(())
    }

    /// Claims a batch; if `refused`, each key stands behind an item that is no key.
    pub(super) fn claim_many(&mut self, keys: &[usize], refused: bool) -> Done {
        let keys = Home::only_of_first(keys);
        let keys: Vec<usize> = keys.into_iter().filter(|key| !self.model.is_open(*key)).collect();
        let mut expected = Vec::new();
        for &key in &keys {
            let answer = self.model.expect(key, 0);
            self.foresee(key, self.model.ttl_ms(key, 1), 0, &answer);
            expected.push(answer);
        }
        let mut requests = Vec::new();
        for &key in &keys {
            requests.extend(refused.then(|| ClaimRequest::new("")));
            requests.push(self.request(key, self.model.ttl_ms(key, 1), 0));
        }
        let Some(&first) = keys.first() else { return Ok(()) };
        let mut answers = self.space(first)?.claim_many(&requests)?;
        if refused {
            let is_refused = |answer: &Result<Claim, Error>| matches!(answer, Err(error) if error.kind() == ErrorKind::InvalidKey);
            if answers.len() != requests.len() || !answers.iter().step_by(2).all(is_refused) {
                return disagree("an item that is no key was not refused as one");
            }
            answers = answers.into_iter().skip(1).step_by(2).collect();
        }
        for ((key, expected), answer) in keys.into_iter().zip(&expected).zip(answers) {
            self.judge(key, expected, answer)?;
        }
        Ok(())
    }

    pub(super) fn take_held(&mut self, held: usize) -> Option<(usize, Lease)> {
        if self.held.is_empty() { None } else { Some(self.held.swap_remove(held % self.held.len())) }
    }

    pub(super) fn settle(
        &mut self,
        held: usize,
        follow: impl FnOnce(&mut Model, usize),
        settlement: Settlement,
    ) -> Done {
        let Some((key, lease)) = self.take_held(held) else { return Ok(()) };
        let holds = self.model.holds(key, lease.token());
        if holds {
            follow(&mut self.model, key);
        }
        let verdict = self.settle_either_way(lease, settlement);
        self.settled(key, holds, verdict)
    }

    /// How a settlement ended that should have come about if the lease `holds`.
    pub(super) fn settled(&mut self, key: usize, holds: bool, verdict: Result<(), Unsettled>) -> Done {
        match verdict {
            Ok(()) if holds => Ok(()),
            Ok(()) => disagree(format!("key {key}: a stale lease was settled")),
            Err(error) => self.unsettled(key, holds, error),
        }
    }

    /// A settlement that did not come about: the lease is kept where it is still worth something.
    fn unsettled(&mut self, key: usize, holds: bool, (error, lease): Unsettled) -> Done {
        let stale = error.kind() == ErrorKind::StaleLease;
        if stale && !holds {
            return Ok(());
        }
        self.held.extend(lease.map(|lease| (key, lease)));
        if stale { disagree(format!("key {key}: a live lease was refused")) } else { Err(error.into()) }
    }

    /// Completes all that is held; if `too_large`, the last with a response that is refused.
    pub(super) fn complete_many(&mut self, too_large: bool) -> Done {
        let held = std::mem::take(&mut self.held);
        let mut expected = Vec::new();
        for (at, (key, lease)) in held.iter().enumerate() {
            let refused = too_large && at + 1 == held.len();
            let holds = self.model.holds(*key, lease.token());
            expected.push((*key, holds, refused));
            if holds && !refused {
                self.model.resolve(*key, false, b"many".to_vec());
            }
        }
        let response =
            |refused: &bool| if *refused { vec![b'x'; MAX_RESPONSE_BYTES + 1] } else { b"many".to_vec() };
        let items = held.into_iter().zip(&expected);
        let items = items.map(|((_, lease), (_, _, refused))| (lease, response(refused))).collect();
        let verdicts = match self.opened().complete_many(items) {
            Ok(verdicts) => verdicts,
            Err(refused) => {
                let (error, items) = refused.into_parts();
                let leases = items.into_iter().map(|(lease, _)| lease);
                self.held.extend(expected.iter().map(|(key, ..)| *key).zip(leases));
                return Err(error.into());
            }
        };
        for ((key, holds, refused), verdict) in expected.into_iter().zip(verdicts) {
            match verdict {
                Ok(()) if holds && !refused => {}
                Err(error) if refused && error.kind() == ErrorKind::TooLarge => {
                    self.held.extend(error.into_parts().1.map(|lease| (key, lease)));
                }
                Err(error) if !holds && error.kind() == ErrorKind::StaleLease => {}
                other => return disagree(format!("key {key}: {other:?}, holds: {holds}")),
            }
        }
        Ok(())
    }

    pub(super) fn abandon(&mut self, held: usize) {
        let Some((key, lease)) = self.take_held(held) else { return };
        let keeps_term = Home::of(key).keeps_term();
        if self.model.holds(key, lease.token())
            && let Some(Known {
                asked,
                stage: Stage::InProgress { orphaned, dropped, detached_until_ms: 0, .. },
                ..
            }) = self.model.known.get_mut(&key)
            && (*asked || !keeps_term)
        {
            (*orphaned, *dropped) = (true, true);
        }
        drop(lease);
    }

    pub(super) fn renew(&mut self, held: usize, term_s: u64) -> Done {
        if self.held.is_empty() {
            return Ok(());
        }
        let (key, token) = {
            let (key, lease) = &self.held[held % self.held.len()];
            (*key, lease.token())
        };
        let holds = self.model.holds(key, token);
        let (boot_ms, store_ms) = (self.model.boot_ms, self.model.store_ms);
        if holds
            && let Some(Known { stage: Stage::InProgress { lease_until_ms, detached_until_ms, .. }, .. }) =
                self.model.known.get_mut(&key)
        {
            if *detached_until_ms == 0 {
                *lease_until_ms = boot_ms + term_s * 1_000;
            } else {
                *detached_until_ms = store_ms + term_s * 1_000;
            }
        }
        let (_, lease) = &self.held[held % self.held.len()];
        expect_held(holds, lease.renew(Duration::from_secs(term_s)))
    }

    pub(super) fn progress(&mut self, held: usize, len: usize) -> Done {
        if self.held.is_empty() {
            return Ok(());
        }
        let at = held % self.held.len();
        let (key, token) = (self.held[at].0, self.held[at].1.token());
        let holds = self.model.holds(key, token);
        let saved = vec![b'p'; len];
        if holds
            && let Some(Known { stage: Stage::InProgress { progress, .. }, .. }) =
                self.model.known.get_mut(&key)
        {
            progress.clone_from(&saved);
        }
        expect_held(holds, self.held[at].1.save_progress(&saved))
    }

    /// The same progress again and again: fills segments, and every prefix of it looks the same.
    pub(super) fn labour(&mut self, held: usize, times: usize) -> Done {
        for _ in 0..times {
            self.progress(held, 1_000)?;
        }
        Ok(())
    }

    pub(super) fn hand_over(&mut self, held: usize) -> Done {
        let Some((key, lease)) = self.take_held(held) else { return Ok(()) };
        let holds = self.model.holds(key, lease.token());
        let bytes = lease.into_token().to_bytes();
        self.forge(key, &bytes)?;
        let token = LeaseToken::from_bytes(&bytes)?;
        match self.opened().resume(token) {
            Ok(lease) if holds => {
                // A claim of an earlier life is an orphan for good, once it is no longer detached.
                if lease.token() >> 40 == self.last_life
                    && let Some(Known { stage: Stage::InProgress { orphaned, dropped, .. }, .. }) =
                        self.model.known.get_mut(&key)
                {
                    (*orphaned, *dropped) = (false, false);
                }
                self.held.push((key, lease));
                Ok(())
            }
            Err(error) if !holds && error.kind() == ErrorKind::StaleLease => Ok(()),
            other => disagree(format!("key {key}: resumed {other:?}, holds: {holds}")),
        }
    }

    /// A token with one bit changed is refused, as what it is.
    fn forge(&mut self, key: usize, bytes: &[u8]) -> Done {
        let mut forged = bytes.to_vec();
        let bit = self.model.store_ms as usize % (forged.len() * 8);
        if let Some(byte) = forged.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        match LeaseToken::from_bytes(&forged).and_then(|token| self.opened().resume(token)) {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidToken | ErrorKind::Misuse) => Ok(()),
            other => disagree(format!("key {key}: a token with bit {bit} changed: {other:?}")),
        }
    }

    pub(super) fn detach(&mut self, held: usize, term_s: u64) -> Done {
        let Some((key, lease)) = self.take_held(held) else { return Ok(()) };
        let holds = self.model.holds(key, lease.token());
        let until_ms = self.model.store_ms + term_s * 1_000;
        if holds
            && let Some(Known { stage: Stage::InProgress { detached_until_ms, .. }, .. }) =
                self.model.known.get_mut(&key)
        {
            *detached_until_ms = until_ms;
        }
        match lease.detach(Duration::from_secs(term_s)) {
            Ok(token) if holds => {
                self.tokens.push((key, token));
                Ok(())
            }
            Ok(_) => disagree(format!("key {key}: a stale lease was detached")),
            Err(error) => self.unsettled(key, holds, error.into_parts()),
        }
    }

    pub(super) fn resume(&mut self, token: usize) -> Done {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let (key, token) = self.tokens.swap_remove(token % self.tokens.len());
        let number = token.token();
        let holds = self.model.holds(key, number);
        let leased = self.held.iter().any(|(_, lease)| lease.token() == number);
        match self.opened().resume(token) {
            Ok(lease) if holds && !leased => {
                self.held.push((key, lease));
                Ok(())
            }
            Err(error) if !holds && error.kind() == ErrorKind::StaleLease => Ok(()),
            Err(error) if holds && leased && error.kind() == ErrorKind::Misuse => Ok(()),
            other => disagree(format!("key {key}: resumed {other:?}, holds: {holds}")),
        }
    }

    pub(super) fn transact(&mut self, key: usize, fail: bool) -> Done {
        if self.model.is_open(key) {
            return Ok(());
        }
        let expected = self.model.expect(key, 0);
        let ttl_ms = self.model.ttl_ms(key, 1);
        let response = format!("tx-{key}").into_bytes();
        let before = self.model.clone();
        match &expected {
            Expected::Claimed { .. } if fail => {}
            Expected::Claimed { .. } => {
                self.foresee(key, ttl_ms, 0, &expected);
                self.model.resolve(key, false, response.clone());
                self.model.rows.insert(key, response.clone());
            }
            other => self.foresee(key, ttl_ms, 0, other),
        }
        let request = self.request(key, ttl_ms, 0);
        let answer = self.space(key)?.transact(&request, |tx| {
            tx.table(ROWS)?.insert([key as u8], &response)?;
            if fail { Err(Error::caller("as told")) } else { Ok(response.clone()) }
        });
        match (&expected, answer) {
            (Expected::Claimed { .. }, Err(error)) if fail && error.kind() == ErrorKind::Caller => Ok(()),
            (Expected::Claimed { .. }, Err(error)) if Home::has_quota(key) && is_quota(&error) => {
                self.model = before;
                Ok(())
            }
            (Expected::Claimed { .. }, Ok(Transacted::Done(_))) if !fail => {
                let token =
                    self.space(key)?.get(key_bytes(key, &self.model))?.map_or(0, |record| record.token());
                self.note_token(key, token)
            }
            (Expected::Duplicate { failure, response }, Ok(Transacted::Duplicate(receipt)))
                if receipt.is_failure() == *failure && receipt.response() == response =>
            {
                Ok(())
            }
            (Expected::InProgress, Ok(Transacted::InProgress(_))) => Ok(()),
            (_, Ok(answer)) => disagree(format!("key {key}: transact {answer:?}, expected {expected:?}")),
            (_, Err(error)) => self.judge(key, &expected, Err(error)),
        }
    }

    pub(super) fn complete_in(&mut self, held: usize) -> Done {
        let Some((key, lease)) = self.take_held(held) else { return Ok(()) };
        let holds = self.model.holds(key, lease.token());
        let response = format!("in-{key}").into_bytes();
        if holds {
            self.model.resolve(key, false, response.clone());
            self.model.rows.insert(key, response.clone());
        }
        let answer = lease.complete_in(|tx| {
            tx.table(ROWS)?.insert([key as u8], &response)?;
            Ok(response.clone())
        });
        match answer {
            Ok(_) if holds => Ok(()),
            Ok(_) => disagree(format!("key {key}: a stale lease was completed")),
            Err(error) => self.unsettled(key, holds, error.into_parts()),
        }
    }

    pub(super) fn forget(&mut self, key: usize) -> Done {
        let space = self.space(key)?;
        let bytes = key_bytes(key, &self.model);
        self.model.known.remove(&key);
        space.forget(bytes)?;
        Ok(())
    }
}

fn refused(expected: &Expected, error: Error) -> Done {
    match error.kind() {
        ErrorKind::Indeterminate
        | ErrorKind::Poisoned
        | ErrorKind::Full
        | ErrorKind::Io
        | ErrorKind::Overloaded
        | ErrorKind::Corrupt => Err(error.into()),
        kind => disagree(format!("{kind:?}, expected {expected:?}")),
    }
}

fn expect_held(holds: bool, answer: Result<(), Error>) -> Done {
    match answer {
        Ok(()) if holds => Ok(()),
        Ok(()) => disagree("a stale lease was accepted"),
        Err(error) if !holds && error.kind() == ErrorKind::StaleLease => Ok(()),
        Err(error) if error.kind() == ErrorKind::StaleLease => disagree("a live lease was refused"),
        Err(error) => Err(error.into()),
    }
}
