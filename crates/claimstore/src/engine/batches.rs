//! Claims of many keys in one call: decided one by one, queued as one frame.
//!
//! Each goes the [write path](super::write) of a single claim, under locks that are held for several. What is its own
//! is that a checkpoint may pass between two items: then the rest look again, and what took effect stays.

use super::claims::{Answer, Begun, Granted, Prepared, Told, request_bytes};
use super::commit::Waits;
use super::live::Shard;
use super::spaces::Space;
use super::write::{Looked, Turn, until_current_of};
use super::{Class, Engine, spans};
use crate::bucket::RunSet;
use crate::claim::ClaimRequest;
use crate::codec::Record;
use crate::error::{Error, ErrorKind};
use crate::options::MAX_BATCH_ITEMS;

/// Leases of a batch that are started with one clock reading.
const STARTED_AT_ONCE: usize = 64;

impl Engine {
    /// Claims a batch, on this thread.
    pub(crate) fn claim_many(&self, space: &Space, requests: &[ClaimRequest]) -> Result<Vec<Told>, Error> {
        spans::claim_many().run(|span| {
            span.count("items", requests.len() as u64);
            let (batch, answers) = self.begin_many(space, requests, Waits::Here)?;
            self.wait(batch)?;
            self.deliver_many(space, &answers);
            Ok(answers)
        })
    }

    /// What comes before the answers of a committed batch are told: leases start, and answers are counted.
    pub(crate) fn deliver_many(&self, space: &Space, answers: &[Told]) {
        for answers in answers.chunks(STARTED_AT_ONCE) {
            self.start_leases(answers);
            answers.iter().for_each(|answer| Self::count_told(space, answer));
        }
    }

    /// Starts the leases of the granted claims among these answers. The clock is read once per call, not once per
    /// batch: a large batch takes so long that its later leases would be short.
    fn start_leases(&self, answers: &[Told]) {
        let granted: Vec<&Granted> = answers.iter().flatten().filter_map(Answer::granted).collect();
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

    /// Decides a batch of requests and queues their effects as one frame. Returns the journal batch to wait for, and
    /// one answer per request. An error means that no request took effect.
    pub(crate) fn begin_many(
        &self,
        space: &Space,
        requests: &[ClaimRequest],
        waits: Waits,
    ) -> Result<(u64, Vec<Told>), Error> {
        self.check_changes()?;
        if requests.len() > MAX_BATCH_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        let policy = space.policy();
        let mut prepared: Vec<Result<Prepared<'_>, Error>> =
            requests.iter().map(|request| self.prepare(space, &policy, request)).collect();
        let look = |prepared: &Vec<_>| self.look_by(|| self.look_cold_many(&self.cold.set(), prepared));
        until_current_of(&mut prepared, look, |prepared, looked| {
            let keyed = prepared.iter().zip(&looked.found).filter_map(|(item, cold)| {
                let item = item.as_ref().ok()?;
                Some((&item.keyed, cold.as_ref()))
            });
            let known = self.known_bytes_of(&keyed.collect::<Vec<_>>());
            let asked: usize = requests.iter().map(|request| request_bytes(request, 0)).sum();
            let mut order = self.admit(asked + known, Class::Claims(requests.len()))?;
            // Only a shortcut. A checkpoint removes entries under shard locks, not under the order lock, so each item
            // compares the generation again under its shard lock.
            if !looked.is_current(&self.cold) {
                return Ok(None);
            }
            let mut turn = Turn { order: &mut order, at: self.time.moment(), waits };
            Ok(self.apply_many(&mut turn, space, prepared, &looked))
        })
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
        turn: &mut Turn<'_>,
        space: &Space,
        prepared: &mut [Result<Prepared<'_>, Error>],
        looked: &Looked<Vec<Option<Record>>>,
    ) -> Option<(u64, Vec<Told>)> {
        let mut last_batch = 0;
        let refused =
            |item: &Result<Prepared<'_>, Error>| item.as_ref().err().map(|error| Err(Error::again(error)));
        let mut answers: Vec<Option<Told>> = prepared.iter().map(refused).collect();
        // The items that are not refused yet, and the places for their answers, in the same order.
        let mut items: Vec<(&mut Prepared<'_>, Option<&Record>)> = prepared
            .iter_mut()
            .zip(&looked.found)
            .filter_map(|(item, cold)| Some((item.as_mut().ok()?, cold.as_ref())))
            .collect();
        let hashes: Vec<u64> = items.iter().map(|(item, _)| item.keyed.hash).collect();
        let mut open: Vec<&mut Option<Told>> = answers.iter_mut().filter(|answer| answer.is_none()).collect();
        let decide = |shard: &mut Shard, place: usize| {
            let (Some((item, cold)), Some(answer)) = (items.get_mut(place), open.get_mut(place)) else {
                return;
            };
            let begun = self.claim_under(turn, shard, space, item, looked.seen_of(*cold));
            last_batch = last_batch.max(begun.as_ref().map_or(0, |begun| begun.batch));
            **answer = begun.map(|begun| begun.answer);
        };
        self.live.visit_together(&hashes, |shard, _| shard.bring_blank_near(), decide);
        // Without an answer: a checkpoint happened since the item was looked up.
        if !open.is_empty() && open.iter().all(|answer| answer.is_none()) {
            return None;
        }
        for ((item, _), answer) in items.into_iter().zip(open).filter(|(_, answer)| answer.is_none()) {
            let begun = self.claim_again(turn, space, item);
            last_batch = last_batch.max(begun.as_ref().map_or(0, |begun| begun.batch));
            *answer = Some(begun.and_then(|begun| begun.answer));
        }
        debug_assert!(answers.iter().all(Option::is_some), "an answer for each item");
        let answers: Vec<Told> = answers.into_iter().flatten().collect();
        space.counters.claimed(&answers);
        Some((last_batch, answers))
    }

    /// A checkpoint happened in the middle of a batch: looks one remaining item up again, under the order lock. This
    /// is the one case in which blocks are read under that lock. It is rare, and bounded by the blocks of one key.
    fn claim_again(
        &self,
        turn: &mut Turn<'_>,
        space: &Space,
        item: &mut Prepared<'_>,
    ) -> Result<Begun, Error> {
        until_current_of(
            item,
            |item| self.look(&item.keyed),
            |item, looked| {
                turn.at = self.time.moment();
                Ok(self.claim_in_turn(turn, space, item, looked.seen()))
            },
        )
    }
}
