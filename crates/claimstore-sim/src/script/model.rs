//! What a store should know and answer, written down a second time and as plainly as possible.

use super::spaces::{FIRST_LIMITED, FIRST_ORDERED, Home};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys a script uses: opaque ones, time-ordered ones, and those under a quota.
pub const KEYS: usize = 18;

pub(super) const LEASE_MS: u64 = 60_000;
/// At how many failures a key is parked.
pub(super) const MAX_FAILURES: u32 = 3;
pub(super) const SKEW_MS: u64 = 300_000;
pub(super) const TTLS_MS: [u64; 3] = [60_000, 3_600_000, 86_400_000];
/// The ttl of the namespace of time-ordered keys, and of every claim in it, until it is raised.
const ORDERED_TTL_MS: u64 = 3_600_000;
/// What it is raised to.
const RAISED_TTL_MS: u64 = 4 * ORDERED_TTL_MS;

/// Where a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Claimed.
    InProgress {
        /// Boot time at which the lease lapses.
        lease_until_ms: u64,
        /// Dropped, or of an earlier life.
        orphaned: bool,
        /// Dropped in this life.
        dropped: bool,
        /// Its end is counted: its store was closed.
        counted: bool,
        /// Store time until which it is detached; 0: it is not.
        detached_until_ms: u64,
        /// Progress saved so far.
        progress: Vec<u8>,
        /// Progress before this attempt.
        earlier: Vec<u8>,
        /// How long it is to be remembered.
        ttl_ms: u64,
    },
    /// Completed, or failed for good.
    Resolved {
        /// Whether it failed.
        failure: bool,
        /// What is given to duplicates.
        response: Vec<u8>,
        /// Store time at which it expires.
        until_ms: u64,
    },
    /// Waiting for its retry.
    Retry {
        /// Store time from which it may be claimed.
        until_ms: u64,
        /// Progress so far.
        progress: Vec<u8>,
    },
    /// Held for review.
    Parked,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The token of the last claim.
    pub token: u64,
    /// Which grant the last claim was.
    pub attempt: u32,
    /// What is counted of its attempts.
    pub counts: Counts,
    /// The payload it was claimed with; 0: none.
    pub payload: u8,
    /// Whether it was taken over since it was claimed: that claim can no longer be given back.
    pub asked: bool,
    /// Whether it was dropped, when it was taken over first.
    pub asked_of_dropped: bool,
    /// Where it stands.
    pub stage: Stage,
}

/// What is counted of a key's attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that failed, died, or lapsed and were taken over.
    pub failures: u32,
    /// Attempts that were dropped, or lived when the store was closed.
    pub losses: u32,
    /// Whether one of them may have had an effect.
    pub in_doubt: bool,
}

impl Counts {
    fn failed(self) -> Counts {
        Counts { failures: self.failures + 1, ..self }
    }

    fn doubted(self) -> Counts {
        Counts { in_doubt: true, ..self }
    }

    fn used_up(self, key: usize) -> bool {
        self.failures >= MAX_FAILURES || self.losses >= Home::of(key).max_losses()
    }
}

impl Known {
    /// What is counted once the attempt has ended without a word of its holder.
    pub(super) fn ended(&self) -> Counts {
        let Stage::InProgress { orphaned, dropped, counted, .. } = self.stage else { return self.counts };
        if counted {
            return self.counts;
        }
        let is_lost = if self.asked { self.asked_of_dropped } else { orphaned && dropped };
        if is_lost {
            return Counts { losses: self.counts.losses + 1, ..self.counts.doubted() };
        }
        self.counts.failed().doubted()
    }

    /// What is counted once the holder has said that it failed.
    fn failed(&self) -> Counts {
        let counts = match self.stage {
            Stage::InProgress { counted: true, .. } => self.counts,
            _ => self.counts.failed(),
        };
        if self.asked { counts.doubted() } else { counts }
    }
}

/// What a claim should be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Claimed { attempt: u32, in_doubt: bool, progress: Vec<u8> },
    Duplicate { failure: bool, response: Vec<u8> },
    InProgress,
    Parked { becomes: bool },
    Mismatch,
    TooOld,
    Future,
    NoRoom,
}

/// The whole store, as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Known keys. Expired ones stay: they matter for time-ordered keys.
    pub known: BTreeMap<usize, Known>,
    /// Rows of the caller's table: key number to the token-free content.
    pub rows: BTreeMap<usize, Vec<u8>>,
    /// Store time.
    pub store_ms: u64,
    /// Boot time.
    pub boot_ms: u64,
    /// The wall clock.
    pub wall_ms: u64,
    /// The time at which the script began: time-ordered keys are placed around it.
    pub start_ms: u64,
    /// Whether the ttl of the time-ordered keys was raised.
    pub raised: bool,
    /// Keys that were ever claimed: something of them may be left in the store.
    pub met: BTreeSet<usize>,
    /// The time of the newest time-ordered key that was ever claimed: no watermark is beyond it.
    pub newest_ms: u64,
}

impl Model {
    /// The key's own time, for a time-ordered key.
    pub(super) fn key_time_ms(&self, key: usize) -> Option<u64> {
        // One from before, two from about now, one from the future.
        let offsets: [i64; FIRST_LIMITED - FIRST_ORDERED] = [-1_800_000, 0, 60_000, 1_200_000];
        let offset = offsets.get(key.checked_sub(FIRST_ORDERED)?)?;
        Some(self.start_ms.saturating_add_signed(*offset))
    }

    /// The ttl of the namespace of time-ordered keys.
    pub(super) fn ordered_ttl_ms(&self) -> u64 {
        if self.raised { RAISED_TTL_MS } else { ORDERED_TTL_MS }
    }

    /// The ttl a key is claimed with.
    pub(super) fn ttl_ms(&self, key: usize, ttl: usize) -> u64 {
        if Home::of(key) == Home::Ordered { self.ordered_ttl_ms() } else { TTLS_MS[ttl % TTLS_MS.len()] }
    }

    /// Whether it takes the watermark to say if an unknown key is too old. Where that stands depends on which
    /// runs were pruned, which is no promise: either answer is right.
    pub(super) fn is_open(&self, key: usize) -> bool {
        let before = |time_ms| time_ms <= self.newest_ms;
        self.raised && !self.known.contains_key(&key) && self.key_time_ms(key).is_some_and(before)
    }

    /// What is known and not expired.
    pub fn visible(&self, key: usize) -> Option<&Known> {
        self.known.get(&key).filter(|known| match known.stage {
            Stage::Resolved { until_ms, .. } => until_ms > self.store_ms,
            _ => true,
        })
    }

    /// How long it is to the millisecond before the next end of anything: there nothing may have changed yet.
    /// From there it is one millisecond to the end itself.
    pub(super) fn to_the_edge_ms(&self) -> u64 {
        let ends = self.known.values().map(|known| match known.stage {
            Stage::Resolved { until_ms, .. } | Stage::Retry { until_ms, .. } => {
                until_ms.saturating_sub(self.store_ms)
            }
            Stage::InProgress { detached_until_ms, .. } if detached_until_ms > self.store_ms => {
                detached_until_ms - self.store_ms
            }
            Stage::InProgress { lease_until_ms, .. } => lease_until_ms.saturating_sub(self.boot_ms),
            Stage::Parked => 0,
        });
        ends.filter(|end| *end > 0).min().map_or(1, |end| (end - 1).max(1))
    }

    pub(super) fn expect(&self, key: usize, payload: u8) -> Expected {
        let Some(known) = self.visible(key) else { return self.expect_unknown(key) };
        if known.payload != 0 && payload != 0 && known.payload != payload {
            return Expected::Mismatch;
        }
        match &known.stage {
            Stage::Resolved { failure, response, .. } => {
                Expected::Duplicate { failure: *failure, response: response.clone() }
            }
            Stage::Parked => Expected::Parked { becomes: false },
            Stage::Retry { until_ms, .. } if *until_ms > self.store_ms => Expected::InProgress,
            Stage::InProgress { .. } if self.is_trusted(known) => Expected::InProgress,
            Stage::Retry { progress, .. } | Stage::InProgress { progress, .. } => {
                next_attempt(key, known, progress)
            }
        }
    }

    fn expect_unknown(&self, key: usize) -> Expected {
        if let Some(time_ms) = self.key_time_ms(key) {
            // Known but not visible: it resolved and expired. Never again.
            if self.known.contains_key(&key) || time_ms < self.store_ms.saturating_sub(self.ordered_ttl_ms())
            {
                return Expected::TooOld;
            }
            if time_ms > self.wall_ms + SKEW_MS {
                return Expected::Future;
            }
        }
        if self.is_at_quota(key) {
            return Expected::NoRoom;
        }
        Expected::Claimed { attempt: 1, in_doubt: false, progress: Vec::new() }
    }

    /// Whether the holder of a claim in progress is trusted now.
    pub(super) fn is_trusted(&self, known: &Known) -> bool {
        match known.stage {
            Stage::InProgress { lease_until_ms, orphaned, detached_until_ms, .. } => {
                detached_until_ms > self.store_ms || (!orphaned && lease_until_ms > self.boot_ms)
            }
            _ => false,
        }
    }

    pub(super) fn claim(
        &mut self,
        key: usize,
        ttl_ms: u64,
        payload: u8,
        attempt: u32,
        progress: Vec<u8>,
        token: u64,
    ) {
        self.newest_ms = self.newest_ms.max(self.key_time_ms(key).unwrap_or(0));
        let before = self.visible(key).map_or(0, |known| known.payload);
        let counts = self.visible(key).filter(|_| attempt > 1).map(Known::ended).unwrap_or_default();
        let stage = Stage::InProgress {
            lease_until_ms: self.boot_ms + LEASE_MS,
            orphaned: false,
            dropped: false,
            counted: false,
            detached_until_ms: 0,
            earlier: progress.clone(),
            progress,
            ttl_ms,
        };
        let payload = if attempt > 1 && before != 0 { before } else { payload };
        self.met.insert(key);
        let (asked, asked_of_dropped) = (false, false);
        self.known.insert(key, Known { token, attempt, counts, payload, asked, asked_of_dropped, stage });
    }

    /// Whether `token` may settle `key`.
    pub(super) fn holds(&self, key: usize, token: u64) -> bool {
        self.known
            .get(&key)
            .is_some_and(|known| known.token == token && matches!(known.stage, Stage::InProgress { .. }))
    }

    pub(super) fn resolve(&mut self, key: usize, failure: bool, response: Vec<u8>) {
        let (store_ms, key_time_ms, least_ms) = (self.store_ms, self.key_time_ms(key), self.ordered_ttl_ms());
        let Some(known) = self.known.get_mut(&key) else { return };
        let Stage::InProgress { ttl_ms, .. } = known.stage else { return };
        let until_ms = (store_ms + ttl_ms).max(key_time_ms.map_or(0, |time_ms| time_ms + least_ms));
        known.stage = Stage::Resolved { failure, response, until_ms };
        known.counts.in_doubt = false;
    }

    pub(super) fn retry(&mut self, key: usize, after_ms: u64) {
        self.count(key, Known::failed);
        self.wait(key, after_ms);
    }

    /// Its holder does not know: by the rule for orphans, of which none waits here.
    pub(super) fn unknown(&mut self, key: usize) {
        self.count(key, |known| if known.asked { known.ended() } else { known.failed().doubted() });
        self.wait(key, 0);
    }

    fn count(&mut self, key: usize, counts: impl Fn(&Known) -> Counts) {
        if let Some(known) = self.known.get_mut(&key) {
            known.counts = counts(known);
        }
    }

    fn wait(&mut self, key: usize, after_ms: u64) {
        let until_ms = self.store_ms + after_ms;
        let Some(known) = self.known.get_mut(&key) else { return };
        let Stage::InProgress { progress, .. } = &known.stage else { return };
        known.stage = if known.counts.used_up(key) {
            Stage::Parked
        } else {
            Stage::Retry { until_ms, progress: progress.clone() }
        };
    }

    /// Parked by its holder.
    pub(super) fn park(&mut self, key: usize) {
        self.count(key, |known| if known.asked { known.ended() } else { known.counts });
        if let Some(known) = self.known.get_mut(&key) {
            known.stage = Stage::Parked;
        }
    }

    /// Parked by a claim.
    pub(super) fn park_orphan(&mut self, key: usize) {
        self.count(key, Known::ended);
        if let Some(known) = self.known.get_mut(&key) {
            known.stage = Stage::Parked;
        }
    }

    pub(super) fn release(&mut self, key: usize) {
        let Some(known) = self.known.get_mut(&key) else { return };
        let Stage::InProgress { earlier, .. } = &known.stage else { return };
        if known.attempt == 1 {
            self.known.remove(&key);
        } else {
            known.stage = Stage::Retry { until_ms: 0, progress: earlier.clone() };
            known.attempt -= 1;
        }
    }

    /// A clean end of a life: it counts the claims that end with it.
    #[must_use]
    pub fn closed(mut self, life: u64) -> Model {
        for known in self.known.values_mut() {
            let counts = Counts { losses: known.counts.losses + 1, ..known.counts.doubted() };
            let ours = known.token >> 40 == life && !known.asked;
            if let Stage::InProgress { counted, detached_until_ms: 0, .. } = &mut known.stage
                && ours
                && !*counted
            {
                *counted = true;
                known.counts = counts;
            }
        }
        self
    }

    /// Another life: nobody of the old one holds anything, but for what was detached.
    pub fn new_life(&mut self) {
        for known in self.known.values_mut() {
            if let Stage::InProgress { orphaned, dropped, .. } = &mut known.stage {
                (*orphaned, *dropped) = (true, false);
            }
        }
    }
}

fn next_attempt(key: usize, known: &Known, progress: &[u8]) -> Expected {
    let counts = known.ended();
    if counts.used_up(key) {
        return Expected::Parked { becomes: true };
    }
    let (attempt, in_doubt) = (known.attempt + 1, counts.in_doubt);
    Expected::Claimed { attempt, in_doubt, progress: progress.to_vec() }
}
