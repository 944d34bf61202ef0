use super::*;
use crate::model::{Failure, Response, SeenStage};

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

fn response(text: &str) -> Response {
    text.as_bytes().into()
}

/// A reopened store that shows given states.
#[derive(Clone)]
struct Shown {
    states: BTreeMap<Vec<u8>, State>,
    next_token: u64,
}

impl Probe for Shown {
    fn get(&mut self, key: &[u8]) -> Result<Option<Seen>, String> {
        Ok(self.states.get(key).and_then(State::shown))
    }

    fn claim(&mut self, key: &[u8]) -> Result<Answer, String> {
        let state = self.states.get(key).cloned().unwrap_or_else(State::fresh);
        self.next_token += 1;
        Ok(state.answer(self.next_token, Rules::default()))
    }

    fn keys(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        let held = self.states.iter().filter(|(_, state)| state.stage != Stage::Fresh);
        Ok(Some(held.map(|(key, _)| key.clone()).collect()))
    }
}

/// A script of operations that take ten events each; the n-th begins at 10 n.
struct Script {
    oracle: Oracle,
    events: usize,
}

impl Script {
    fn new() -> Script {
        Script { oracle: Oracle::new(Rules::default()), events: 0 }
    }

    fn run(mut self, key: &[u8], call: Call, answer: Answer) -> Script {
        let step = self.oracle.begin(self.events, key, call);
        self.events += 10;
        self.oracle.acknowledge(step, self.events - 1, answer).unwrap();
        self
    }

    fn claim(self, key: &[u8], token: u64) -> Script {
        self.run(key, Call::Claim, Answer::Claimed { token, attempt: 1 })
    }

    fn complete(self, key: &[u8], token: u64, text: &str) -> Script {
        self.run(key, Call::Complete { token, response: response(text) }, Answer::Done)
    }

    /// What an honest store shows that recovered the first `steps` steps.
    fn recovered(&self, steps: usize) -> Shown {
        let states = KEYS.iter().map(|key| (key.to_vec(), self.oracle.recovered(key, steps)));
        Shown { states: states.collect(), next_token: 1_000 }
    }

    fn check(&self, events: usize, steps: usize) -> Result<Oracle, Violation> {
        self.oracle.check(events, &mut self.recovered(steps))
    }
}

fn three_steps() -> Script {
    Script::new().claim(b"a", 5).complete(b"a", 5, "r").claim(b"b", 6)
}

#[test]
fn acknowledged_survives_under_way_may_the_rest_cannot() {
    let script = three_steps();
    let allowed = |events| (0..=3).filter(|steps| script.check(events, *steps).is_ok()).collect::<Vec<_>>();
    assert_eq!(allowed(5), [0, 1]);
    assert_eq!(allowed(9), [1]);
    assert_eq!(allowed(10), [1, 2]);
    assert_eq!(allowed(18), [1, 2]);
    assert_eq!(allowed(19), [2]);
    assert_eq!(allowed(25), [2, 3]);
    assert_eq!(allowed(1_000), [3]);
}

#[test]
fn a_recovered_set_must_be_a_prefix_as_a_whole() {
    let mut script = Script::new();
    let first = script.oracle.begin(0, b"a", Call::Claim);
    script.oracle.acknowledge_unsynced(first, Answer::Claimed { token: 5, attempt: 1 }).unwrap();
    let second = script.oracle.begin(1, b"b", Call::Claim);
    script.oracle.acknowledge_unsynced(second, Answer::Claimed { token: 6, attempt: 1 }).unwrap();
    for steps in 0..=2 {
        script.check(2, steps).unwrap();
    }
    let mut only_second = script.recovered(2);
    only_second.states.remove(&b"a"[..]);
    script.oracle.check(2, &mut only_second).unwrap_err();
}

#[test]
fn a_batch_survives_wholly_or_not_at_all() {
    let mut script = Script::new();
    let items = KEYS.iter().map(|key| (*key, Call::Claim));
    for (index, step) in script.oracle.begin_batch(0, items).into_iter().enumerate() {
        let answer = Answer::Claimed { token: 5 + index as u64, attempt: 1 };
        script.oracle.acknowledge(step, 9, answer).unwrap();
    }
    let allowed: Vec<_> = (0..=3).filter(|steps| script.check(5, *steps).is_ok()).collect();
    assert_eq!(allowed, [0, 3]);
    assert!(script.check(9, 3).is_ok() && script.check(9, 0).is_err());
}

/// A store after `three_steps`, changed in one key, must be refused.
fn check_refused(key: &[u8], change: impl Fn(&mut State)) {
    let script = three_steps();
    let mut shown = script.recovered(3);
    change(shown.states.entry(key.to_vec()).or_insert_with(State::fresh));
    script.oracle.check(script.events, &mut shown).unwrap_err();
}

#[test]
fn wrong_recoveries_are_refused() {
    let done = |text: &str, failure| Stage::Done { response: response(text), failure };
    check_refused(b"a", |state| *state = State::fresh());
    check_refused(b"a", |state| state.stage = Stage::Orphan(Some(5)));
    check_refused(b"a", |state| state.stage = done("other", false));
    check_refused(b"a", |state| state.stage = done("r", true));
    check_refused(b"b", |state| *state = State::fresh());
    check_refused(b"b", |state| state.stage = done("r", false));
    check_refused(b"b", |state| state.stage = Stage::Orphan(Some(7)));
    check_refused(b"b", |state| state.stage = Stage::Due);
    check_refused(b"b", |state| state.attempts = 2);
    check_refused(b"never", |state| state.stage = Stage::Parked);
}

#[test]
fn the_next_life_counts_on() {
    let script = three_steps();
    let mut next = script.check(script.events, 3).unwrap();
    next.claim_all(|| 0, &mut script.recovered(3)).unwrap();
    assert_eq!(next.state(b"b").attempts, 2);
    assert_eq!(next.state(b"b").stage, Stage::Held(Some(1_002)));
    assert!(matches!(next.state(b"a").stage, Stage::Done { .. }));
}

#[test]
fn an_old_token_is_refused_in_the_next_life() {
    let script = three_steps();
    let mut next = script.check(script.events, 3).unwrap();
    let mut shown = script.recovered(3);
    // The claim of "b" draws the second token.
    shown.next_token = 4;
    assert!(next.claim_all(|| 0, &mut shown).unwrap_err().to_string().contains("token 6"));
}

#[test]
fn a_token_given_back_or_lost_is_burnt_all_the_same() {
    let script = Script::new().claim(b"a", 5).run(b"a", Call::Release { token: 5 }, Answer::Done);
    let mut next = script.check(100, 2).unwrap();
    let mut shown = script.recovered(2);
    shown.next_token = 4;
    next.claim_all(|| 0, &mut shown).unwrap_err();
    let lost = script.check(5, 0).unwrap();
    assert_eq!(lost.token_floor, 5);
}

#[test]
fn an_operation_without_an_answer_may_have_taken_place() {
    let mut script = Script::new().claim(b"a", 5);
    let _ = script.oracle.begin(10, b"a", Call::Complete { token: 5, response: response("r") });
    for steps in [1, 2] {
        script.check(1_000, steps).unwrap();
    }
    script.check(1_000, 0).unwrap_err();
}

#[test]
fn an_indeterminate_claim_shows_a_token_nobody_knew() {
    let mut script = Script::new().claim(b"a", 5);
    let step = script.oracle.begin(10, b"b", Call::Claim);
    script.oracle.acknowledge(step, 19, Answer::Unknown).unwrap();
    for steps in [1, 2] {
        script.check(1_000, steps).unwrap();
    }
    let mut shown = script.recovered(2);
    shown.states.get_mut(&b"b"[..]).unwrap().stage = Stage::Orphan(Some(6));
    script.oracle.check(1_000, &mut shown).unwrap();
}

#[test]
fn wrong_answers_are_refused_without_a_crash() {
    let mut oracle = three_steps().oracle;
    let step = oracle.begin(30, b"a", Call::Claim);
    oracle.acknowledge(step, 39, Answer::Claimed { token: 7, attempt: 1 }).unwrap_err();
    let mut oracle = three_steps().oracle;
    let step = oracle.begin(30, b"c", Call::Claim);
    oracle.acknowledge(step, 39, Answer::Claimed { token: 6, attempt: 1 }).unwrap_err();
}

#[test]
fn a_refusal_leaves_no_trace() {
    let script = three_steps().run(b"c", Call::Claim, Answer::Refused);
    script.check(1_000, 3).unwrap();
    assert_eq!(script.oracle.state(b"c"), State::fresh());
}

#[test]
fn a_phantom_key_is_refused() {
    let script = three_steps();
    let mut shown = script.recovered(3);
    let phantom = State { stage: Stage::Orphan(Some(1)), attempts: 1, last_token: 1 };
    shown.states.insert(b"phantom".to_vec(), phantom);
    assert!(script.oracle.check(1_000, &mut shown).unwrap_err().to_string().contains("phantom"));
}

#[test]
fn exhausted_retries_may_show_as_parked() {
    let mut script = Script::new();
    for attempt in 1..=3 {
        let token = u64::from(attempt);
        script = script.run(b"a", Call::Claim, Answer::Claimed { token, attempt });
        script = script.run(b"a", Call::Fail { token, failure: Failure::Retry }, Answer::Done);
    }
    let state = script.oracle.state(b"a");
    let parked = Seen { stage: SeenStage::Parked, response: None, attempt: 3, token: None };
    assert!(state.shows(Some(&parked), Rules::default()));
}
