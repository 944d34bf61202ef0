//! Claims of many keys in one call: decided one by one, queued as one frame.
//!
//! The rules are those of a single claim ([`claims`](super::claims)). What is its own is that a checkpoint may pass
//! between two items: then the rest look again, and what took effect stays.

use super::claims::{Answer, Begun, Prepared, request_bytes};
use super::commit::{Order, Waits};
use super::spaces::Space;
use super::{Class, Engine, spans};
use crate::bucket::RunSet;
use crate::claim::{Claim, ClaimRequest};
use crate::codec::Record;
use crate::error::{Error, ErrorKind};
use crate::options::MAX_BATCH_ITEMS;
use crate::sync::{Arc, MutexGuard};

/// So many answers of a batch are handed out with one reading of the clock.
const DELIVERED_AT_ONCE: usize = 64;

impl Engine {
    /// Claims a batch, on this thread.
    pub(crate) fn claim_many(
        self: &Arc<Self>,
        space: &Arc<Space>,
        requests: &[ClaimRequest],
    ) -> Result<Vec<Result<Claim, Error>>, Error> {
        spans::claim_many().run(|span| {
            span.count("items", requests.len() as u64);
            let (batch, answers) = self.begin_many(space, requests, Waits::Here)?;
            self.wait(batch)?;
            Ok(self.deliver_many(space, requests, answers))
        })
    }

    /// Turns the answers of a committed batch into what the caller gets.
    pub(crate) fn deliver_many(
        self: &Arc<Self>,
        space: &Arc<Space>,
        requests: &[ClaimRequest],
        answers: Vec<Answer>,
    ) -> Vec<Result<Claim, Error>> {
        let mut now_ms = 0;
        let items = requests.iter().zip(answers).enumerate();
        let deliver = |(place, (request, answer)): (usize, (&ClaimRequest, Answer))| {
            // Not once for all: the leases of a large batch would begin before it is handed out.
            if place.is_multiple_of(DELIVERED_AT_ONCE) {
                now_ms = self.time.moment().boot_ms;
            }
            self.deliver_at(space, &request.key, answer, now_ms)
        };
        items.map(deliver).collect()
    }

    /// Decides a batch and queues its effects as one frame. Answers the batch to wait for and an answer for
    /// each request, or no answer for any.
    pub(crate) fn begin_many(
        &self,
        space: &Space,
        requests: &[ClaimRequest],
        waits: Waits,
    ) -> Result<(u64, Vec<Answer>), Error> {
        self.check_open()?;
        if requests.len() > MAX_BATCH_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        let policy = space.policy();
        let mut prepared: Vec<Result<Prepared<'_>, Error>> =
            requests.iter().map(|request| self.prepare(space, &policy, request)).collect();
        loop {
            let generation = self.cold.generation();
            let set = self.cold.set();
            let found = self.look_cold_many(&set, &prepared)?;
            let bytes = requests.iter().zip(&prepared).zip(&found).map(|((request, item), cold)| {
                let known = item.as_ref().map_or(0, |item| self.known_bytes(&item.keyed, cold.as_ref()));
                request_bytes(request, known)
            });
            let bytes = bytes.sum();
            let mut order = self.admit(bytes, Class::Claim)?;
            // A checkpoint removes entries under shard locks, not under this one: each item checks again.
            if self.cold.generation() == generation
                && let Some(answers) =
                    self.apply_many(&mut order, space, &mut prepared, &found, generation, waits)
            {
                return Ok(answers);
            }
        }
    }

    /// The same for a batch: the runs' filters are asked for all its keys first, so that the processor waits for many
    /// of their cache lines at once.
    fn look_cold_many(
        &self,
        set: &RunSet,
        prepared: &[Result<Prepared<'_>, Error>],
    ) -> Result<Vec<Option<Record>>, Error> {
        let keys: Vec<(&[u8], u64)> =
            prepared.iter().flatten().map(|item| (&*item.keyed.full, item.keyed.hash)).collect();
        let mut maybe = set.may_hold(&keys).into_iter();
        let look = |item: &Result<Prepared<'_>, Error>| match item {
            Ok(item) if maybe.next() != Some(false) => self.look_cold(set, Some(item)),
            _ => Ok(None),
        };
        prepared.iter().map(look).collect()
    }

    /// `None`: a checkpoint passed before anything was decided; look again. Once an item took effect the
    /// rest are looked up again one by one, so that the batch stays whole.
    fn apply_many(
        &self,
        order: &mut MutexGuard<'_, Order>,
        space: &Space,
        prepared: &mut [Result<Prepared<'_>, Error>],
        found: &[Option<Record>],
        generation: u64,
        waits: Waits,
    ) -> Option<(u64, Vec<Answer>)> {
        // Read after the look-ups (hazard 19), once for all.
        let at = self.time.moment();
        let mut last_batch = 0;
        let mut answers = Vec::with_capacity(prepared.len());
        for (item, cold) in prepared.iter_mut().zip(found) {
            let answer = match item {
                Err(error) => Answer::Refused(Error::again(error)),
                Ok(item) => {
                    let begun =
                        self.decide_and_apply(order, space, item, cold.as_ref(), generation, at, waits);
                    let begun = match begun {
                        Some(begun) => Ok(begun),
                        None if answers.is_empty() => return None,
                        None => self.decide_again(order, space, item, waits),
                    };
                    begun.map_or_else(Answer::Refused, |begun| {
                        last_batch = last_batch.max(begun.batch);
                        begun.answer
                    })
                }
            };
            answers.push(answer);
        }
        Some((last_batch, answers))
    }

    /// A checkpoint passed in the middle of a batch: the rest of its items look again, with the order lock
    /// held. Rare, and bounded by the blocks of one key.
    fn decide_again(
        &self,
        order: &mut MutexGuard<'_, Order>,
        space: &Space,
        item: &mut Prepared<'_>,
        waits: Waits,
    ) -> Result<Begun, Error> {
        loop {
            let generation = self.cold.generation();
            let cold = self.look_cold(&self.cold.set(), Some(item))?;
            let at = self.time.moment();
            if let Some(begun) =
                self.decide_and_apply(order, space, item, cold.as_ref(), generation, at, waits)
            {
                return Ok(begun);
            }
        }
    }
}
