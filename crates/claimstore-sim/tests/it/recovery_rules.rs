//! The rules of recovery, for any interleaving of claims, drops, lapses, renewals, settlements, resolver answers,
//! reviews, restarts and crashes: a store on a simulated disk against a model of a few keys.
//!
//! After every step, for every key:
//! 1. The attempt number is the number of claims granted; nothing but a granted claim changes it.
//! 2. Tokens rise over all claims and take-overs, across restarts.
//! 3. A key whose lease runs is not listed, not taken over, not ended by recovery.
//! 4. A token that was superseded or settled settles, renews and saves nothing (`StaleLease`).
//! 5. `Retry`: behind the first attempt that nobody ended the next is due at once; later ones not before three quarters of
//!    their back-off and at its end at the latest, counted from when the orphan was noticed; once failures or losses are
//!    used up: parked. Each end of an attempt is counted once, whoever notices it.
//! 6. `Park`: parked at the first claim or recovery, and claimed again only after a review.
//! 7. `Fail`: failed for good at the first claim or recovery.
//! 8. `Resolve`: claims are `InProgress` until an answer was applied; each answer has its effect, once; what was
//!    asked about is not asked about again before it is due, nor more often than allowed.
//! 9. After a recovery nobody is left unheld but who waits to be asked about later.
//! 10. A restart or crash loses no key and no count, and orphans every claim in progress.
//! 11. What completed stays completed, with its first response.
//! 12. A review grants as many more failures and losses as the policy allows, and the counts go on.
//!
//! `CLAIMSTORE_RECOVERY_CASES` sets the number of cases.

mod model;
mod steps;

use crate::watch::{this_test, told};
use claimstore::{Claim, ErrorKind, Failure, Lease, Namespace, Note, OnOrphan, Policy, Record, Store};
use claimstore_recovery::{Counts, Orphan, OrphanPolicy, Recovery, Resolution, ReviewQueue};
use claimstore_sim::script::World;
use claimstore_sim::{Level, Variant};
use model::{Expected, Held, KEYS, Key, MOST, MOST_LOST, Stage, Verdict, in_range, same};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};
use steps::{Said, Step, any_step};

const DAY: Duration = Duration::from_secs(86_400);
const LEASE_MS: u64 = 10_000;
const MAX_ASKS: u32 = 2;
const AGAIN_MS: u64 = 5_000;

struct Runner {
    world: World,
    store: Store,
    rule: OnOrphan,
    keys: BTreeMap<&'static str, Key>,
    leases: Vec<(usize, Lease)>,
    /// What was listed some time ago.
    listed: BTreeMap<&'static str, Record>,
    last_token: u64,
    responses: u64,
}

impl Runner {
    fn new(seed: u64, rule: OnOrphan) -> Runner {
        let mut world = World::new(seed);
        let store = world.open().unwrap();
        let keys = KEYS.iter().map(|key| (*key, Key::default())).collect();
        let (leases, listed) = (Vec::new(), BTreeMap::new());
        let runner = Runner { world, store, rule, keys, leases, listed, last_token: 0, responses: 0 };
        // Before any claim: the rule binds claims from the first on.
        let lease = Policy::new().lease(Duration::from_millis(LEASE_MS)).max_losses(MOST_LOST);
        drop(runner.store.namespace_with("n", lease).unwrap());
        runner.recovery([Said::Unknown; 3]).run().unwrap();
        runner
    }

    fn recovery(&self, answers: [Said; 3]) -> Recovery {
        let policy = match self.rule {
            OnOrphan::Retry => OrphanPolicy::retry(),
            OnOrphan::Park => OrphanPolicy::park(),
            OnOrphan::Fail => OrphanPolicy::fail("given up"),
            _ => OrphanPolicy::resolve(),
        };
        let again = Duration::from_millis(AGAIN_MS);
        let policy = policy.max_attempts(MOST).max_asks(MAX_ASKS).ask_again(again, again);
        Recovery::new(&self.store).policy_for("n", policy).parallel(2).resolver(move |orphan: &Orphan| {
            let at = KEYS.iter().position(|key| key.as_bytes() == orphan.key()).unwrap();
            match answers[at] {
                Said::Happened => Resolution::Happened(b"found".to_vec()),
                Said::DidNotHappen => Resolution::DidNotHappen,
                Said::Unknown => Resolution::Unknown,
                Said::Failed => Resolution::Failed(b"no".to_vec()),
                Said::Panics => std::panic::resume_unwind(Box::new("the resolver's own bug")),
            }
        })
    }

    fn namespace(&self) -> Namespace {
        self.store.namespace("n").unwrap()
    }

    fn now_ms(&self) -> u64 {
        self.store.store_time().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn run(&mut self, steps: &[Step]) -> Verdict {
        for (at, step) in steps.iter().enumerate() {
            let done = self.step(step).and_then(|()| self.check());
            done.map_err(|what| format!("step {at}, {step:?}: {what}"))?;
        }
        self.store.verify().map(drop).map_err(|error| error.to_string())
    }

    fn step(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Claim { key } => self.claim(KEYS[*key]),
            Step::Drop { lease } => self.end(*lease, |runner, held| {
                let name = KEYS[held.0];
                if let Some(claim) = runner.current(name, held.1.token()) {
                    claim.until_ms = 0;
                    claim.is_lost = true;
                }
                drop(held.1);
                Ok(())
            }),
            Step::Complete { lease } => self.end(*lease, Runner::complete),
            Step::FailRetry { lease } => self.end(*lease, Runner::fail_retry),
            Step::Renew { lease } => self.with(*lease, |runner, (key, lease)| {
                let renewed = lease.renew(Duration::from_millis(LEASE_MS)).map_err(|error| error.kind());
                let until_ms = runner.now_ms() + LEASE_MS;
                let claim = runner.current(KEYS[*key], lease.token());
                same!(renewed, if claim.is_some() { Ok(()) } else { Err(ErrorKind::StaleLease) }, "renewal");
                if let Some(claim) = claim {
                    claim.until_ms = until_ms;
                }
                Ok(())
            }),
            Step::Save { lease } => self.with(*lease, |runner, (key, lease)| {
                let saved = lease.save_progress("so far").map_err(|error| error.kind());
                let current = runner.current(KEYS[*key], lease.token()).is_some();
                same!(saved, if current { Ok(()) } else { Err(ErrorKind::StaleLease) }, "progress");
                Ok(())
            }),
            Step::Advance { ms } => {
                self.world.clock.advance(Duration::from_millis(*ms));
                Ok(())
            }
            Step::Recover { answers } => self.recover(*answers),
            Step::TakeOver { key } => self.take_over(KEYS[*key]),
            Step::List => {
                for record in self.store.unheld().map(Result::unwrap) {
                    let key = KEYS.into_iter().find(|key| key.as_bytes() == record.key()).unwrap();
                    self.listed.insert(key, record);
                }
                Ok(())
            }
            Step::Late { key, take_over } => self.late(KEYS[*key], *take_over),
            Step::Requeue { key } => self.requeue(KEYS[*key]),
            Step::Checkpoint => self.store.checkpoint().map_err(|error| error.to_string()),
            Step::Restart { crash } => self.restart(*crash),
        }
    }

    fn with(
        &mut self,
        lease: usize,
        act: impl FnOnce(&mut Runner, &mut (usize, Lease)) -> Verdict,
    ) -> Verdict {
        if self.leases.is_empty() {
            return Ok(());
        }
        let at = lease % self.leases.len();
        let mut held = self.leases.remove(at);
        let done = act(self, &mut held);
        self.leases.insert(at, held);
        done
    }

    fn end(&mut self, lease: usize, act: impl FnOnce(&mut Runner, (usize, Lease)) -> Verdict) -> Verdict {
        if self.leases.is_empty() {
            return Ok(());
        }
        let held = self.leases.remove(lease % self.leases.len());
        act(self, held)
    }

    /// The claim of `key`, if it is in progress under this token.
    fn current(&mut self, key: &str, token: u64) -> Option<&mut Held> {
        match &mut self.keys.get_mut(key)?.stage {
            Stage::Held(held) if held.token == token => Some(held),
            _ => None,
        }
    }

    fn key(&mut self, key: &'static str) -> &mut Key {
        self.keys.get_mut(key).unwrap()
    }

    fn complete(&mut self, (key, lease): (usize, Lease)) -> Verdict {
        self.responses += 1;
        let response = self.responses.to_string().into_bytes();
        let current = self.current(KEYS[key], lease.token()).is_some();
        let completed = lease.complete(&response).map_err(|error| error.kind());
        same!(completed, if current { Ok(()) } else { Err(ErrorKind::StaleLease) }, "completion");
        if current {
            self.key(KEYS[key]).stage = Stage::Done { response, failure: false };
        }
        Ok(())
    }

    fn fail_retry(&mut self, (key, lease): (usize, Lease)) -> Verdict {
        let now_ms = self.now_ms();
        let current = self.current(KEYS[key], lease.token()).is_some();
        let failed = lease.fail(Failure::retry().because("an error")).map_err(|error| error.kind());
        same!(failed, if current { Ok(()) } else { Err(ErrorKind::StaleLease) }, "failure");
        if current {
            let key = self.key(KEYS[key]);
            key.failures += 1;
            let used_up = key.is_used_up();
            key.stage = if used_up { Stage::Parked } else { Stage::Retry { due_ms: now_ms } };
        }
        Ok(())
    }

    fn claim(&mut self, name: &'static str) -> Verdict {
        let now_ms = self.now_ms();
        let answer = self.namespace().claim(name, DAY);
        let (rule, last_token) = (self.rule, self.last_token);
        let key = self.key(name);
        let expected = key.claim(rule, now_ms);
        match (expected, answer) {
            (Expected::Claimed, Ok(Claim::Claimed(lease))) => {
                same!(lease.attempt(), key.attempt, "attempt");
                let token = lease.token();
                if token <= last_token {
                    return Err(format!("token {token} after {last_token}"));
                }
                key.stage = Stage::Held(Held {
                    token,
                    work: token,
                    until_ms: now_ms + LEASE_MS,
                    asks: 0,
                    asked_at_ms: 0,
                    is_ours: true,
                    is_lost: false,
                    counted: false,
                });
                self.last_token = token;
                let at = KEYS.iter().position(|key| *key == name).unwrap();
                self.leases.push((at, lease));
                Ok(())
            }
            (Expected::BackOff(full_ms), Ok(Claim::InProgress(holder))) => {
                let wait_ms = holder.retry_after().as_millis() as u64;
                key.stage = Stage::Retry { due_ms: now_ms + wait_ms };
                in_range(wait_ms, full_ms)
            }
            (Expected::InProgress(None), Ok(Claim::InProgress(_))) => Ok(()),
            (Expected::InProgress(Some(left_ms)), Ok(Claim::InProgress(holder))) => {
                same!(holder.retry_after(), Duration::from_millis(left_ms), "time left");
                Ok(())
            }
            (Expected::Parked, Err(error)) if error.kind() == ErrorKind::Parked => Ok(()),
            (Expected::Duplicate, Ok(Claim::Duplicate(receipt))) => {
                let done =
                    Stage::Done { response: receipt.response().to_vec(), failure: receipt.is_failure() };
                same!(done, key.stage, "duplicate");
                same!(receipt.attempts(), key.attempt, "attempts");
                Ok(())
            }
            (expected, answer) => Err(format!("answered {answer:?}, expected {expected:?}")),
        }
    }

    fn recover(&mut self, answers: [Said; 3]) -> Verdict {
        let now_ms = self.now_ms();
        let report = self.recovery(answers).run().map_err(|error| error.to_string())?;
        let mut expected = Counts::default();
        for (name, said) in KEYS.into_iter().zip(answers) {
            let (rule, namespace) = (self.rule, self.namespace());
            let key = self.key(name);
            let Some(mut held) = key.orphan(now_ms).cloned() else { continue };
            expected.found += 1;
            let record = namespace.get(name).unwrap().unwrap();
            if rule != OnOrphan::Resolve || held.asks >= MAX_ASKS {
                key.count_end();
            }
            let stage = match rule {
                OnOrphan::Park => Stage::Parked,
                OnOrphan::Fail => Stage::Done { response: b"given up".to_vec(), failure: true },
                OnOrphan::Retry => key.retried(&record, now_ms)?,
                _ if held.asks >= MAX_ASKS => Stage::Parked,
                _ if held.asks > 0 && now_ms < held.asked_at_ms + AGAIN_MS => {
                    expected.waiting += 1;
                    continue;
                }
                _ => {
                    expected.asked += 1;
                    (held.asks, held.asked_at_ms) = (held.asks + 1, now_ms);
                    match said {
                        Said::Happened => Stage::Done { response: b"found".to_vec(), failure: false },
                        Said::Failed => Stage::Done { response: b"no".to_vec(), failure: true },
                        Said::DidNotHappen => {
                            key.count_none();
                            key.retried(&record, now_ms)?
                        }
                        Said::Unknown if held.asks < MAX_ASKS => {
                            expected.waiting += 1;
                            (held.token, held.until_ms) = (record.token(), 0);
                            key.stage = Stage::Held(held);
                            continue;
                        }
                        Said::Panics => {
                            expected.panicked += 1;
                            key.count_end();
                            Stage::Parked
                        }
                        Said::Unknown => {
                            key.count_end();
                            Stage::Parked
                        }
                    }
                }
            };
            match &stage {
                Stage::Parked => expected.parked += 1,
                Stage::Retry { .. } => expected.retried += 1,
                Stage::Done { failure: true, .. } => expected.failed += 1,
                _ => expected.completed += 1,
            }
            key.stage = stage;
        }
        same!(report.counts, expected, "counts");
        self.note_tokens()
    }

    fn take_over(&mut self, name: &'static str) -> Verdict {
        let now_ms = self.now_ms();
        let listed = self.store.unheld().map(Result::unwrap).find(|record| record.key() == name.as_bytes());
        let key = self.keys.get_mut(name).unwrap();
        let orphan = key.orphan(now_ms).cloned();
        same!(listed.is_some(), orphan.is_some(), "listed");
        if let (Some(listed), Some(mut held)) = (listed, orphan) {
            let lease = self.store.take_over(&listed, Duration::from_millis(LEASE_MS)).unwrap();
            held = Held {
                token: lease.token(),
                until_ms: now_ms + LEASE_MS,
                asks: held.asks + 1,
                asked_at_ms: now_ms,
                ..held
            };
            key.stage = Stage::Held(held);
            drop(lease.into_token());
            let again = self.store.take_over(&listed, DAY).map_err(|error| error.kind()).err();
            same!(again, Some(ErrorKind::StaleLease), "a second take-over");
        }
        self.note_tokens()
    }

    /// What was listed counts only while it is still so: under that token, with nobody behind it.
    fn late(&mut self, name: &'static str, take_over: bool) -> Verdict {
        let now_ms = self.now_ms();
        let Some(listed) = self.listed.get(name).cloned() else { return Ok(()) };
        let key = self.keys.get_mut(name).unwrap();
        let orphan = key.orphan(now_ms).filter(|held| held.token == listed.token()).cloned();
        let expected = if orphan.is_some() { None } else { Some(ErrorKind::StaleLease) };
        if take_over {
            let taken = self.store.take_over(&listed, Duration::from_millis(LEASE_MS));
            same!(taken.as_ref().err().map(claimstore::Error::kind), expected, "a late take-over");
            if let (Ok(lease), Some(held)) = (taken, orphan) {
                let (token, until_ms, asks) = (lease.token(), now_ms + LEASE_MS, held.asks + 1);
                key.stage = Stage::Held(Held { token, until_ms, asks, asked_at_ms: now_ms, ..held });
                drop(lease.into_token());
            }
        } else {
            let verdicts = self.store.fail_orphans(&[(listed, Failure::park("late"))]);
            let verdict =
                verdicts.map_err(|error| error.to_string())?.remove(0).map_err(|error| error.kind());
            same!(verdict.err(), expected, "a late end");
            if orphan.is_some() {
                key.count_end();
                key.stage = Stage::Parked;
            }
        }
        self.note_tokens()
    }

    fn requeue(&mut self, name: &'static str) -> Verdict {
        let queue = ReviewQueue::new(&self.store);
        let parked = queue.get("n", name).map_err(|error| error.to_string())?;
        let key = self.key(name);
        same!(parked.is_some(), key.stage == Stage::Parked, "parked");
        if let Some(parked) = parked {
            let granted = |count: u32, most: u32| if count == 0 { 0 } else { count + most };
            key.granted = (granted(key.failures, MOST), granted(key.losses, MOST_LOST));
            key.stage = Stage::Retry { due_ms: 0 };
            queue.requeue(&parked, &Note::new("test", "again")).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn restart(&mut self, crash: bool) -> Verdict {
        let before = self.store.clone();
        if crash {
            let seed = self.last_token ^ self.responses;
            let disk = self.world.disk.power_loss(Variant::new(Level::L2, seed));
            disk.stop_recording();
            self.world = self.world.with_disk(disk);
        } else {
            self.leases.clear();
            before.clone().close().map_err(|error| error.to_string())?;
        }
        self.store = self.world.open().map_err(|error| error.to_string())?;
        self.leases.clear();
        for key in self.keys.values_mut() {
            let Stage::Held(held) = &mut key.stage else { continue };
            let is_left = !crash && held.is_ours && held.asks == 0;
            held.until_ms = 0;
            held.is_ours = false;
            if held.asks == 0 {
                held.is_lost = is_left;
            }
            if is_left {
                key.count_end();
            }
        }
        Ok(())
    }

    fn note_tokens(&mut self) -> Verdict {
        for record in self.store.unheld().chain(self.store.scan(claimstore::Filter::new())) {
            self.last_token = self.last_token.max(record.map_err(|error| error.to_string())?.token());
        }
        Ok(())
    }

    /// The store says of every key what the model does.
    fn check(&mut self) -> Verdict {
        let now_ms = self.now_ms();
        let mut unheld: BTreeMap<Vec<u8>, Record> = BTreeMap::new();
        for record in self.store.unheld() {
            let record = record.map_err(|error| error.to_string())?;
            unheld.insert(record.key().to_vec(), record);
        }
        let namespace = self.namespace();
        for (name, key) in &self.keys {
            let record = namespace.get(name).map_err(|error| error.to_string())?;
            let listed = unheld.remove(name.as_bytes());
            match key.orphan(now_ms) {
                Some(held) => {
                    let listed = listed.ok_or_else(|| format!("{name} is not listed"))?;
                    same!((listed.token(), listed.work_token()), (held.token, held.work), "tokens of {name}");
                    same!((listed.attempt(), listed.asked()), (key.attempt, held.asks), "counts of {name}");
                }
                None => same!(listed.is_some(), false, "{name} is listed"),
            }
            key.check(record.as_ref()).map_err(|what| format!("{name}: {what}"))?;
        }
        same!(unheld.len(), 0, "others are listed");
        Ok(())
    }
}

fn cases() -> u32 {
    std::env::var("CLAIMSTORE_RECOVERY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

fn follows(seed: u64, rule: OnOrphan, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut runner = Runner::new(seed, rule);
    runner.world.disk.stop_recording();
    this_test();
    runner.run(steps).map_err(TestCaseError::fail)
}

fn keeps_its_rules(name: &str, rule: OnOrphan) {
    let config = ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() };
    let (interleavings, done) = (Cell::new(0), Cell::new(0));
    proptest!(config, |(seed: u64, steps in prop::collection::vec(any_step(), 1..=80))| {
        interleavings.set(interleavings.get() + 1);
        done.set(done.get() + steps.len());
        follows(seed, rule, &steps)?;
    });
    let (interleavings, done) = (interleavings.get(), done.get());
    told(format_args!(
        "recovery rules, {name}: {interleavings} interleavings of {done} steps together, all kept"
    ));
}

#[test]
fn retry_keeps_its_rules() {
    this_test();
    keeps_its_rules("retry", OnOrphan::Retry);
}

#[test]
fn park_keeps_its_rules() {
    this_test();
    keeps_its_rules("park", OnOrphan::Park);
}

#[test]
fn fail_keeps_its_rules() {
    this_test();
    keeps_its_rules("fail", OnOrphan::Fail);
}

#[test]
fn resolve_keeps_its_rules() {
    this_test();
    keeps_its_rules("resolve", OnOrphan::Resolve);
}
