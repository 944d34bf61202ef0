//! What a claim store answers, as a state machine of one key.
//!
//! The rules are the table "What `claim` answers" of the contract under `OnOrphan::Retry`. Time passes
//! only when an operation says so ([`Call::Expire`], [`Call::FallDue`], [`Call::Lapse`]); a test that
//! records none of these must keep ttls and leases far longer than it runs.

use std::fmt;
use std::sync::Arc;

/// The result a settlement stores.
pub type Response = Arc<[u8]>;

/// One operation on a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// `claim`
    Claim,
    /// `complete`
    Complete {
        /// Of the lease.
        token: u64,
        /// Its result.
        response: Response,
    },
    /// `fail`
    Fail {
        /// Of the lease.
        token: u64,
        /// In which way.
        failure: Failure,
    },
    /// `release`
    Release {
        /// Of the lease.
        token: u64,
    },
    /// `renew`
    Renew {
        /// Of the lease.
        token: u64,
    },
    /// A lease was dropped unsettled. Promises nothing across a crash.
    Abandon {
        /// Of the lease.
        token: u64,
    },
    /// A claim whose caller never heard the answer, and which the store takes back by itself
    /// ([`Call::Withdraw`]): a future that was polled and will be dropped.
    Offer {
        /// The test's own number for it; never a token.
        offer: u64,
    },
    /// The end of an offer: as if it had never been made.
    Withdraw {
        /// Which.
        offer: u64,
    },
    /// `forget`
    Forget,
    /// `get`
    Get,
    /// The ttl of a settled record ended.
    Expire,
    /// The retry time of a failed attempt came.
    FallDue,
    /// The term of a running lease ended.
    Lapse,
    /// The store is closed: the claims in progress end with their life, and are counted.
    Close,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Claimable again at once.
    Retry,
    /// Claimable again after a while.
    RetryAfter,
    /// For good, with a response.
    Terminal(Response),
    /// Held for review.
    Park,
}

/// What an operation answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The caller holds the key now.
    Claimed {
        /// Its fencing token.
        token: u64,
        /// Counted from 1.
        attempt: u32,
    },
    /// The key is settled.
    Duplicate {
        /// The stored result.
        response: Response,
        /// Whether it failed for good.
        failure: bool,
    },
    /// Somebody else holds the key, or its retry time lies ahead.
    InProgress,
    /// The key is held for review.
    Parked,
    /// The token holds nothing any more.
    Stale,
    /// A settlement, renewal or other change took place.
    Done,
    /// What `get` showed.
    Seen(Option<Seen>),
    /// Refused without effect (`Overloaded`, `Full`, `Closed`, ..).
    Refused,
    /// No answer, or `Indeterminate`: the operation took place or did not.
    Unknown,
}

/// A record as `get` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its state.
    pub stage: SeenStage,
    /// The result, for settled records.
    pub response: Option<Response>,
    /// Which grant the last claim was.
    pub attempt: u32,
    /// How many attempts failed.
    pub failures: u32,
    /// How many attempts were lost.
    pub losses: u32,
    /// The token of the last claim, if it is shown.
    pub token: Option<u64>,
}

/// The states `get` tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeenStage {
    /// Claimed and not settled, by a living holder or an orphan.
    InProgress,
    /// Settled with a result.
    Completed,
    /// Failed for good.
    Failed,
    /// Failed or given back, and to be tried again.
    Retry,
    /// Held for review.
    Parked,
}

/// The options the answers depend on.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// After so many failures a key answers `Parked`.
    pub max_failures: u32,
    /// After so many losses a key answers `Parked`.
    pub max_losses: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { max_failures: 3, max_losses: 10 }
    }
}

/// Where one key stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The state proper.
    pub stage: Stage,
    /// Claims that were granted and not given back.
    pub attempts: u32,
    /// Attempts that failed, died, or lapsed and were taken over.
    pub failures: u32,
    /// Attempts that were dropped.
    pub losses: u32,
    /// The highest token this key is known to have been claimed with, also if given back since.
    pub last_token: u64,
}

/// The states of a key. A token of `None` was issued to somebody who never learned it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Unknown, expired, or released by its first claimer.
    Fresh,
    /// Held by a running lease.
    Held(Option<u64>),
    /// Held by a claim whose answer nobody will hear.
    Offered(u64),
    /// Held by a lease that lapsed; claimable, and its holder may still settle.
    Lapsed(Option<u64>),
    /// Left over from an earlier life: claimable.
    Orphan(Option<u64>),
    /// Dropped in this life: claimable.
    Dropped(Option<u64>),
    /// In progress when its store was closed, and counted: claimable.
    Left(Option<u64>),
    /// Failed or given back: claimable.
    Due,
    /// Failed, and not yet to be tried again.
    Waiting,
    /// Settled.
    Done {
        /// The result.
        response: Response,
        /// Whether it failed for good.
        failure: bool,
    },
    /// Held for review.
    Parked,
}

impl State {
    /// A key nobody ever claimed.
    pub fn fresh() -> State {
        State { stage: Stage::Fresh, attempts: 0, failures: 0, losses: 0, last_token: 0 }
    }

    /// Where the key stands after `call` answered `answer`; `None` if it could not have answered that. For
    /// [`Answer::Unknown`]: where it stands if the operation took place.
    pub fn step(&self, call: &Call, answer: &Answer, rules: Rules) -> Option<State> {
        match call {
            Call::Claim => self.claim(answer, rules),
            Call::Complete { token, response } => self.settle(
                *token,
                answer,
                self.at(Stage::Done { response: response.clone(), failure: false }),
            ),
            Call::Fail { token, failure } => {
                let failures = self.failures + u32::from(failure.counts());
                self.settle(*token, answer, State { failures, ..self.at(failure.stage()) })
            }
            Call::Release { token } => self.settle(*token, answer, self.released()),
            Call::Renew { token } => self.settle(*token, answer, self.at(Stage::Held(Some(*token)))),
            Call::Abandon { token } if self.holds(*token) => Some(self.at(Stage::Dropped(Some(*token)))),
            Call::Offer { offer } if self.is_free(rules) => {
                let ended = self.ended();
                Some(State { attempts: self.attempts + 1, ..ended.at(Stage::Offered(*offer)) })
            }
            Call::Offer { .. } if self.is_claimable() => Some(self.ended().at(Stage::Parked)),
            Call::Withdraw { offer } if self.stage == Stage::Offered(*offer) => Some(self.released()),
            Call::Abandon { .. } | Call::Offer { .. } | Call::Withdraw { .. } => Some(self.clone()),
            Call::Forget => Some(self.forgotten()),
            Call::Get => match answer {
                Answer::Seen(seen) => self.shows(seen.as_ref(), rules).then(|| self.clone()),
                _ => Some(self.clone()),
            },
            Call::Expire => match self.stage {
                Stage::Done { .. } => Some(self.forgotten()),
                _ => None,
            },
            Call::FallDue => matches!(self.stage, Stage::Waiting).then(|| self.at(Stage::Due)),
            Call::Close => Some(self.closed()),
            Call::Lapse => match self.stage {
                Stage::Held(token) => Some(self.at(Stage::Lapsed(token))),
                _ => None,
            },
        }
    }

    /// Where the key stands in the next life of the store.
    #[must_use]
    pub fn crashed(&self) -> State {
        match self.stage {
            Stage::Held(token) | Stage::Lapsed(token) | Stage::Dropped(token) => {
                self.at(Stage::Orphan(token))
            }
            Stage::Offered(_) => self.at(Stage::Orphan(None)),
            _ => self.clone(),
        }
    }

    /// Where the key stands once its store was closed.
    fn closed(&self) -> State {
        let token = match self.stage {
            Stage::Held(token) | Stage::Lapsed(token) | Stage::Dropped(token) => token,
            Stage::Offered(_) => None,
            _ => return self.clone(),
        };
        State { losses: self.losses + 1, ..self.at(Stage::Left(token)) }
    }

    /// Whether `get` may show `seen` in this state.
    pub fn shows(&self, seen: Option<&Seen>, rules: Rules) -> bool {
        let Some(seen) = seen else { return self.stage == Stage::Fresh };
        let parked = self.ended();
        let mut counts = self;
        let stage = match (&self.stage, seen.stage) {
            (Stage::Offered(_), SeenStage::InProgress) => self.token_agrees(None, seen),
            (
                Stage::Held(token)
                | Stage::Lapsed(token)
                | Stage::Orphan(token)
                | Stage::Dropped(token)
                | Stage::Left(token),
                SeenStage::InProgress,
            ) => self.token_agrees(*token, seen),
            (_, SeenStage::Parked) if self.is_claimable() || self.stage == Stage::Waiting => {
                counts = &parked;
                parked.is_used_up(rules)
            }
            (Stage::Due | Stage::Waiting, SeenStage::Retry) | (Stage::Parked, SeenStage::Parked) => true,
            (Stage::Done { response, failure }, SeenStage::Completed | SeenStage::Failed) => {
                *failure == (seen.stage == SeenStage::Failed) && seen.response.as_ref() == Some(response)
            }
            _ => false,
        };
        let counted = (counts.failures, counts.losses) == (seen.failures, seen.losses);
        stage && counted && seen.attempt == self.attempts
    }

    /// What `get` shows in this state, where the rules leave no choice.
    pub fn shown(&self) -> Option<Seen> {
        let (stage, response, token) = match &self.stage {
            Stage::Fresh => return None,
            Stage::Held(token)
            | Stage::Lapsed(token)
            | Stage::Orphan(token)
            | Stage::Dropped(token)
            | Stage::Left(token) => (SeenStage::InProgress, None, *token),
            Stage::Offered(_) => (SeenStage::InProgress, None, None),
            Stage::Due | Stage::Waiting => (SeenStage::Retry, None, None),
            Stage::Done { response, failure: false } => (SeenStage::Completed, Some(response.clone()), None),
            Stage::Done { response, failure: true } => (SeenStage::Failed, Some(response.clone()), None),
            Stage::Parked => (SeenStage::Parked, None, None),
        };
        let State { attempts: attempt, failures, losses, .. } = *self;
        Some(Seen { stage, response, attempt, failures, losses, token })
    }

    /// What a claim with the next token answers in this state.
    pub fn answer(&self, token: u64, rules: Rules) -> Answer {
        match &self.stage {
            Stage::Held(_) | Stage::Offered(_) | Stage::Waiting => Answer::InProgress,
            Stage::Parked => Answer::Parked,
            Stage::Done { response, failure } => {
                Answer::Duplicate { response: response.clone(), failure: *failure }
            }
            _ if self.ended().is_used_up(rules) => Answer::Parked,
            _ => Answer::Claimed { token, attempt: self.attempts + 1 },
        }
    }

    fn claim(&self, answer: &Answer, rules: Rules) -> Option<State> {
        let ended = self.ended();
        let exhausted = ended.is_used_up(rules);
        let free = self.is_claimable();
        let stands = || Some(self.clone());
        match answer {
            Answer::Claimed { token, attempt } => {
                let allowed = free && !exhausted && *attempt == self.attempts + 1 && *token > self.last_token;
                allowed.then(|| ended.held(Some(*token)))
            }
            Answer::Unknown if exhausted => free.then(|| ended.at(Stage::Parked)),
            Answer::Unknown => free.then(|| ended.held(None)),
            Answer::InProgress
                if matches!(self.stage, Stage::Held(_) | Stage::Offered(_) | Stage::Waiting) =>
            {
                stands()
            }
            Answer::Parked => match self.stage {
                Stage::Parked => stands(),
                // Whoever hears this acts on it, so the holder that lapsed is out.
                Stage::Lapsed(_) | Stage::Orphan(_) | Stage::Dropped(_) | Stage::Left(_) if exhausted => {
                    Some(ended.at(Stage::Parked))
                }
                Stage::Due | Stage::Waiting if exhausted => stands(),
                _ => None,
            },
            Answer::Duplicate { response, failure } => {
                let stored = Stage::Done { response: response.clone(), failure: *failure };
                if self.stage == stored { stands() } else { None }
            }
            _ => None,
        }
    }

    /// The same with the end of an attempt counted that nobody settled, if it is at its end.
    fn ended(&self) -> State {
        match self.stage {
            Stage::Lapsed(_) | Stage::Orphan(_) => State { failures: self.failures + 1, ..self.clone() },
            Stage::Dropped(_) => State { losses: self.losses + 1, ..self.clone() },
            _ => self.clone(),
        }
    }

    fn is_used_up(&self, rules: Rules) -> bool {
        self.failures >= rules.max_failures || self.losses >= rules.max_losses
    }

    /// Unknown again.
    fn forgotten(&self) -> State {
        State { last_token: self.last_token, ..State::fresh() }
    }

    /// Whether nobody holds the key.
    fn is_claimable(&self) -> bool {
        matches!(
            self.stage,
            Stage::Fresh
                | Stage::Lapsed(_)
                | Stage::Orphan(_)
                | Stage::Dropped(_)
                | Stage::Left(_)
                | Stage::Due
        )
    }

    /// Whether a claim would be granted.
    fn is_free(&self, rules: Rules) -> bool {
        self.is_claimable() && !self.ended().is_used_up(rules)
    }

    /// A settlement takes place for the current holder and is stale for everybody else.
    fn settle(&self, token: u64, answer: &Answer, after: State) -> Option<State> {
        let holds = self.holds(token);
        match answer {
            Answer::Done | Answer::Unknown => holds.then_some(after),
            Answer::Stale => (!holds).then(|| self.clone()),
            _ => None,
        }
    }

    /// Whether a settlement with `token` is still good.
    fn holds(&self, token: u64) -> bool {
        matches!(self.stage, Stage::Held(Some(holder)) | Stage::Lapsed(Some(holder)) if holder == token)
    }

    fn held(&self, token: Option<u64>) -> State {
        let last_token = token.unwrap_or(self.last_token);
        State { attempts: self.attempts + 1, last_token, ..self.at(Stage::Held(token)) }
    }

    /// As if the last claim had not been made, but for its token.
    fn released(&self) -> State {
        let attempts = self.attempts.saturating_sub(1);
        if attempts == 0 {
            return self.forgotten();
        }
        State { attempts, ..self.at(Stage::Due) }
    }

    fn at(&self, stage: Stage) -> State {
        let State { attempts, failures, losses, last_token, .. } = *self;
        State { stage, attempts, failures, losses, last_token }
    }

    fn token_agrees(&self, token: Option<u64>, seen: &Seen) -> bool {
        match (token, seen.token) {
            (_, None) => true,
            (Some(token), Some(shown)) => token == shown,
            (None, Some(shown)) => shown > self.last_token,
        }
    }
}

impl Failure {
    /// Whether it is one in the numbers of the key.
    fn counts(&self) -> bool {
        matches!(self, Failure::Retry | Failure::RetryAfter)
    }

    fn stage(&self) -> Stage {
        match self {
            Failure::Retry => Stage::Due,
            Failure::RetryAfter => Stage::Waiting,
            Failure::Terminal(response) => Stage::Done { response: response.clone(), failure: true },
            Failure::Park => Stage::Parked,
        }
    }
}

/// A promise that was not kept, told for a person to read.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    what: String,
}

impl Violation {
    pub(crate) fn new(what: String) -> Violation {
        Violation { what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The text itself, so that `unwrap` in a test shows it with its line breaks.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(token: u64, attempt: u32) -> (Call, Answer) {
        (Call::Claim, Answer::Claimed { token, attempt })
    }

    fn fail(token: u64, failure: Failure) -> (Call, Answer) {
        (Call::Fail { token, failure }, Answer::Done)
    }

    fn complete(token: u64, answer: Answer) -> (Call, Answer) {
        (Call::Complete { token, response: Arc::from(*b"r") }, answer)
    }

    fn duplicate(response: &[u8], failure: bool) -> (Call, Answer) {
        (Call::Claim, Answer::Duplicate { response: response.into(), failure })
    }

    /// Whether a fresh key can go through all of `steps`.
    fn allowed(steps: &[(Call, Answer)]) -> bool {
        let walked = steps
            .iter()
            .try_fold(State::fresh(), |state, (call, answer)| state.step(call, answer, Rules::default()));
        walked.is_some()
    }

    fn check(steps: &[(Call, Answer)], expected: bool) {
        assert_eq!(allowed(steps), expected, "{steps:?}");
        let before = steps.split_last().map_or(&[][..], |(_, before)| before);
        assert!(allowed(before), "the last step is the one in question: {steps:?}");
    }

    #[test]
    fn the_table_of_answers() {
        let in_progress = || (Call::Claim, Answer::InProgress);
        let parked = || (Call::Claim, Answer::Parked);
        check(&[claimed(1, 1)], true);
        check(&[claimed(1, 2)], false);
        check(&[in_progress()], false);
        check(&[claimed(1, 1), in_progress()], true);
        check(&[claimed(1, 1), claimed(2, 2)], false);
        check(&[claimed(1, 1), complete(1, Answer::Done), duplicate(b"r", false)], true);
        check(&[claimed(1, 1), complete(1, Answer::Done), duplicate(b"s", false)], false);
        check(&[claimed(1, 1), complete(1, Answer::Done), duplicate(b"r", true)], false);
        check(&[claimed(1, 1), complete(1, Answer::Done), claimed(2, 1)], false);
        check(&[claimed(1, 1), complete(1, Answer::Stale)], false);
        check(&[claimed(1, 1), complete(2, Answer::Stale)], true);
        check(&[claimed(1, 1), complete(1, Answer::Done), complete(1, Answer::Done)], false);
        check(&[claimed(1, 1), fail(1, Failure::Retry), claimed(2, 2)], true);
        check(&[claimed(1, 1), fail(1, Failure::Retry), claimed(2, 1)], false);
        check(&[claimed(2, 1), fail(2, Failure::Retry), claimed(2, 2)], false);
        check(&[claimed(1, 1), fail(1, Failure::RetryAfter), in_progress()], true);
        check(&[claimed(1, 1), fail(1, Failure::RetryAfter), claimed(2, 2)], false);
        check(
            &[claimed(1, 1), fail(1, Failure::RetryAfter), (Call::FallDue, Answer::Done), claimed(2, 2)],
            true,
        );
        check(&[claimed(1, 1), fail(1, Failure::Terminal(Arc::from(*b"t"))), duplicate(b"t", true)], true);
        check(&[claimed(1, 1), fail(1, Failure::Park), parked()], true);
        check(&[claimed(1, 1), fail(1, Failure::Park), claimed(2, 2)], false);
    }

    #[test]
    fn attempts_run_out() {
        let mut steps = Vec::new();
        for attempt in 1..=3 {
            steps.extend([claimed(attempt, attempt as u32), fail(attempt, Failure::Retry)]);
        }
        check(&[steps.clone(), vec![(Call::Claim, Answer::Parked)]].concat(), true);
        check(&[steps, vec![claimed(4, 4)]].concat(), false);
    }

    #[test]
    fn a_release_undoes_one_attempt_and_burns_its_token() {
        let release = |token| (Call::Release { token }, Answer::Done);
        check(&[claimed(1, 1), release(1), claimed(2, 1)], true);
        check(&[claimed(1, 1), release(1), claimed(1, 1)], false);
        check(&[claimed(1, 1), fail(1, Failure::Retry), claimed(2, 2), release(2), claimed(3, 2)], true);
        check(&[claimed(1, 1), fail(1, Failure::Retry), claimed(2, 2), release(2), claimed(3, 3)], false);
    }

    #[test]
    fn an_offer_holds_the_key_until_it_is_withdrawn() {
        let offer = |offer| (Call::Offer { offer }, Answer::Done);
        let withdraw = |offer| (Call::Withdraw { offer }, Answer::Done);
        check(&[offer(1), (Call::Claim, Answer::InProgress)], true);
        check(&[offer(1), claimed(5, 1)], false);
        check(&[offer(1), withdraw(1), claimed(5, 1)], true);
        check(&[offer(1), offer(2), withdraw(2), claimed(5, 1)], false);
        check(&[claimed(5, 1), offer(1), withdraw(1), claimed(6, 2)], false);
    }

    #[test]
    fn a_lapsed_lease_settles_until_somebody_took_over() {
        let lapse = || (Call::Lapse, Answer::Done);
        check(&[claimed(1, 1), lapse(), complete(1, Answer::Done)], true);
        check(&[claimed(1, 1), lapse(), claimed(2, 2), complete(1, Answer::Stale)], true);
        check(&[claimed(1, 1), lapse(), claimed(2, 2), complete(1, Answer::Done)], false);
    }

    #[test]
    fn a_drop_is_a_loss_a_death_is_a_failure_and_a_close_counts_for_good() {
        let drop = |token| (Call::Abandon { token }, Answer::Done);
        let seen = |attempt, failures, losses| {
            let (stage, response, token) = (SeenStage::InProgress, None, None);
            (Call::Get, Answer::Seen(Some(Seen { stage, response, attempt, failures, losses, token })))
        };
        check(&[claimed(1, 1), drop(1), seen(1, 0, 0)], true);
        check(&[claimed(1, 1), drop(1), seen(1, 0, 1)], false);
        check(&[claimed(1, 1), drop(1), claimed(2, 2), seen(2, 0, 1)], true);
        check(&[claimed(1, 1), drop(1), claimed(2, 2), seen(2, 1, 0)], false);
        let mut steps = Vec::new();
        for token in 1..=10 {
            steps.extend([claimed(token, token as u32), drop(token)]);
        }
        check(&[steps, vec![(Call::Claim, Answer::Parked)]].concat(), true);
        let close = || (Call::Close, Answer::Done);
        check(&[claimed(1, 1), close(), seen(1, 0, 1)], true);
        check(&[claimed(1, 1), close(), close(), seen(1, 0, 2)], false);
        check(&[claimed(1, 1), close(), claimed(2, 2), seen(2, 0, 1)], true);
        check(&[claimed(1, 1), close(), complete(1, Answer::Done)], false);
    }

    #[test]
    fn a_crash_makes_orphans_with_their_attempts() {
        let held =
            State::fresh().step(&Call::Claim, &Answer::Claimed { token: 5, attempt: 1 }, Rules::default());
        let orphan = held.expect("allowed").crashed();
        assert_eq!(orphan.stage, Stage::Orphan(Some(5)));
        let next = orphan.step(&Call::Claim, &Answer::Claimed { token: 9, attempt: 2 }, Rules::default());
        assert!(next.is_some());
    }
}
