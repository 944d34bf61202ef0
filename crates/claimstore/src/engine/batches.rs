//! Claims of many keys in one call: decided one by one, queued as one frame.
//!
//! The rules are those of a single claim ([`claims`](super::claims)), with one addition: a checkpoint may happen
//! between two items. Then the items that took effect stay, and the remaining ones are looked up again.

use super::claims::{Answer, Begun, Granted, Prepared, Seen, carried_bytes, request_bytes};
use super::commit::{Order, Waits};
use super::live::Shard;
use super::spaces::{Keyed, Space};
use super::{Class, Engine, spans};
use crate::bucket::RunSet;
use crate::claim::{Claim, ClaimRequest};
use crate::codec::Record;
use crate::error::{Error, ErrorKind};
use crate::options::MAX_BATCH_ITEMS;
use crate::sync::{Arc, MutexGuard};

/// Leases of a batch that are started with one clock reading.
const STARTED_AT_ONCE: usize = 64;

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

    /// Turns the answers of a committed batch into the results for the caller.
    pub(crate) fn deliver_many(
        self: &Arc<Self>,
        space: &Arc<Space>,
        requests: &[ClaimRequest],
        answers: Vec<Answer>,
    ) -> Vec<Result<Claim, Error>> {
        answers.chunks(STARTED_AT_ONCE).for_each(|answers| self.start_leases(answers));
        let items = requests.iter().zip(answers);
        items.map(|(request, answer)| self.hand_out(space, &request.key, answer)).collect()
    }

    /// Starts the leases of the granted claims among these answers. The clock is read once per call, not once per
    /// batch: a large batch takes so long that its later leases would be short.
    fn start_leases(&self, answers: &[Answer]) {
        let granted: Vec<&Granted> = answers.iter().filter_map(Answer::granted).collect();
        let hashes: Vec<u64> = granted.iter().map(|granted| granted.keyed.hash).collect();
        let now_ms = self.time.moment().boot_ms;
        let at = |place: usize| granted.get(place).map_or(0, |granted| granted.at);
        let start = |shard: &mut Shard, place: usize| {
            if let Some(granted) = granted.get(place) {
                self.start_lease(shard, granted, now_ms);
            }
        };
        self.live.visit_together(&hashes, |shard, place| shard.bring_near(at(place)), start);
    }

    /// Bytes that new versions may carry over from the newest records of these keys. Also a prefetch: the live
    /// table's entries of the keys are in the cache afterwards.
    pub(crate) fn known_bytes_of(&self, items: &[(&Keyed, Option<&Record>)]) -> usize {
        let hashes: Vec<u64> = items.iter().map(|(keyed, _)| keyed.hash).collect();
        let found = |shard: &Shard, place: usize| {
            let (keyed, cold) = items.get(place)?;
            Some(carried_bytes(shard.find(keyed.hash, &keyed.full), *cold))
        };
        let bring_near = |shard: &Shard, place: usize| found(shard, place).unwrap_or(0) as u64;
        let mut bytes = 0;
        self.live
            .visit_together(&hashes, bring_near, |shard, place| bytes += found(shard, place).unwrap_or(0));
        bytes
    }

    /// Decides a batch of requests and queues their effects as one frame. Returns the journal batch to wait for, and
    /// one answer per request. An error means that no request took effect.
    pub(crate) fn begin_many(
        &self,
        space: &Space,
        requests: &[ClaimRequest],
        waits: Waits,
    ) -> Result<(u64, Vec<Answer>), Error> {
        self.check_changes()?;
        if requests.len() > MAX_BATCH_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        let policy = space.policy();
        let mut prepared: Vec<Result<Prepared<'_>, Error>> =
            requests.iter().map(|request| self.prepare(space, &policy, request)).collect();
        loop {
            // Hazard 1: the generation is read before the runs, and compared under the locks.
            let generation = self.cold.generation();
            let set = self.cold.set();
            let found = self.look_cold_many(&set, &prepared)?;
            let keyed = prepared.iter().zip(&found).filter_map(|(item, cold)| {
                let item = item.as_ref().ok()?;
                Some((&item.keyed, cold.as_ref()))
            });
            let known = self.known_bytes_of(&keyed.collect::<Vec<_>>());
            let asked: usize = requests.iter().map(|request| request_bytes(request, 0)).sum();
            let bytes = asked + known;
            let mut order = self.admit(bytes, Class::Claim)?;
            // Only a shortcut. A checkpoint removes entries under shard locks, not under the order lock, so each item
            // compares the generation again under its shard lock.
            if self.cold.generation() == generation
                && let Some(answers) =
                    self.apply_many(&mut order, space, &mut prepared, &found, generation, waits)
            {
                return Ok(answers);
            }
        }
    }

    /// Looks all keys of a batch up in the runs. First it asks the filters for all keys, so that their cache misses
    /// overlap.
    fn look_cold_many(
        &self,
        set: &RunSet,
        prepared: &[Result<Prepared<'_>, Error>],
    ) -> Result<Vec<Option<Record>>, Error> {
        let keys: Vec<(&[u8], u64)> =
            prepared.iter().flatten().map(|item| (&*item.keyed.full, item.keyed.hash)).collect();
        let mut among = set.may_hold(&keys).into_iter();
        let look = |item: &Result<Prepared<'_>, Error>| {
            // Refused items are not in `keys`, and so have no element in `among`.
            let Ok(Prepared { keyed, .. }) = item else { return Ok(None) };
            let found = match among.next() {
                Some(among) if among.is_none() => None,
                Some(among) => set.lookup_among(&keyed.full, keyed.hash, among, &self.cold.cache)?,
                None => set.lookup(&keyed.full, keyed.hash, &self.cold.cache)?,
            };
            Ok(found.map(|found| found.record))
        };
        prepared.iter().map(look).collect()
    }

    /// Decides and applies a batch. `None`: a checkpoint happened before any item was decided, so repeat the whole
    /// batch. Once an item took effect, the remaining ones are looked up again one by one instead: a repetition would
    /// apply it twice.
    fn apply_many(
        &self,
        order: &mut MutexGuard<'_, Order>,
        space: &Space,
        prepared: &mut [Result<Prepared<'_>, Error>],
        found: &[Option<Record>],
        generation: u64,
        waits: Waits,
    ) -> Option<(u64, Vec<Answer>)> {
        // Read after the look-ups (hazard 19), once for all items.
        let at = self.time.moment();
        let mut last_batch = 0;
        let refused = |item: &Result<Prepared<'_>, Error>| {
            item.as_ref().err().map(|error| Answer::Refused(Error::again(error)))
        };
        let mut answers: Vec<Option<Answer>> = prepared.iter().map(refused).collect();
        // The items that are not refused yet, and the places for their answers, in the same order.
        let mut items: Vec<(&mut Prepared<'_>, &Option<Record>)> = prepared
            .iter_mut()
            .zip(found)
            .filter_map(|(item, cold)| Some((item.as_mut().ok()?, cold)))
            .collect();
        let hashes: Vec<u64> = items.iter().map(|(item, _)| item.keyed.hash).collect();
        let mut open: Vec<&mut Option<Answer>> =
            answers.iter_mut().filter(|answer| answer.is_none()).collect();
        let decide = |shard: &mut Shard, place: usize| {
            let (Some((item, cold)), Some(answer)) = (items.get_mut(place), open.get_mut(place)) else {
                return;
            };
            let seen = Seen { cold: cold.as_ref(), generation };
            let begun = self.decide_and_apply(order, shard, space, item, seen, at, waits);
            last_batch = last_batch.max(begun.as_ref().map_or(0, |begun| begun.batch));
            **answer = begun.map(|begun| begun.answer);
        };
        self.live.visit_together(&hashes, |shard, _| shard.bring_blank_near(), decide);
        // Without an answer: a checkpoint happened since the item was looked up.
        if !open.is_empty() && open.iter().all(|answer| answer.is_none()) {
            return None;
        }
        for ((item, _), answer) in items.into_iter().zip(open).filter(|(_, answer)| answer.is_none()) {
            let begun = self.decide_again(order, space, item, waits);
            last_batch = last_batch.max(begun.as_ref().map_or(0, |begun| begun.batch));
            *answer = Some(begun.map_or_else(Answer::Refused, |begun| begun.answer));
        }
        debug_assert!(answers.iter().all(Option::is_some), "an answer for each item");
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        space.counters.claimed(&answers);
        Some((last_batch, answers))
    }

    /// A checkpoint happened in the middle of a batch: looks one remaining item up again, under the order lock. This
    /// is the one case in which blocks are read under that lock. It is rare, and bounded by the blocks of one key.
    fn decide_again(
        &self,
        order: &mut MutexGuard<'_, Order>,
        space: &Space,
        item: &mut Prepared<'_>,
        waits: Waits,
    ) -> Result<Begun, Error> {
        loop {
            let generation = self.cold.generation();
            let Keyed { full, hash, .. } = &item.keyed;
            let cold = self.cold.lookup(full, *hash)?.map(|found| found.record);
            let at = self.time.moment();
            let seen = Seen { cold: cold.as_ref(), generation };
            let mut shard = self.live.shard(item.keyed.hash);
            if let Some(begun) = self.decide_and_apply(order, &mut shard, space, item, seen, at, waits) {
                return Ok(begun);
            }
        }
    }
}
