use super::*;
use crate::Rng;
use crate::history::{Recorder, Ticket};
use crate::model::{Failure, Response};

fn claimed(token: u64, attempt: u32) -> Answer {
    Answer::Claimed { token, attempt }
}

fn response(text: &str) -> Response {
    text.as_bytes().into()
}

fn duplicate(text: &str) -> Answer {
    Answer::Duplicate { response: response(text), failure: false }
}

fn complete(token: u64, text: &str) -> Call {
    Call::Complete { token, response: response(text) }
}

/// An operation on key 1 that took from `invoked` to `returned`.
fn op(invoked: u64, returned: u64, call: Call, answer: Answer) -> Operation {
    Operation { key: 1, call, answer, invoked, returned: Some(returned) }
}

fn pending(invoked: u64, call: Call) -> Operation {
    Operation { key: 1, call, answer: Answer::Unknown, invoked, returned: None }
}

fn good(operations: Vec<Operation>) {
    crashing(operations, &[]).unwrap();
}

/// Must be refused with `reason` in the text.
fn bad(operations: Vec<Operation>, reason: &str) {
    let text = crashing(operations, &[]).unwrap_err().to_string();
    assert!(text.contains(reason), "{text}");
}

fn crashing(operations: Vec<Operation>, crashes: &[u64]) -> Result<Checked, Violation> {
    check(&History { operations, crashes: crashes.to_vec() }, Rules::default())
}

#[test]
fn a_plain_history_is_explained() {
    good(vec![
        op(0, 1, Call::Claim, claimed(5, 1)),
        op(2, 3, Call::Claim, Answer::InProgress),
        op(4, 5, complete(5, "r"), Answer::Done),
        op(6, 7, Call::Claim, duplicate("r")),
    ]);
}

#[test]
fn overlapping_operations_may_take_place_in_any_order() {
    good(vec![
        op(0, 9, Call::Claim, Answer::InProgress),
        op(1, 2, Call::Claim, claimed(5, 1)),
        op(3, 8, complete(5, "r"), Answer::Done),
        op(4, 5, Call::Claim, duplicate("r")),
        op(6, 7, Call::Claim, duplicate("r")),
    ]);
    bad(
        vec![
            op(1, 2, Call::Claim, claimed(5, 1)),
            op(3, 8, complete(5, "r"), Answer::Done),
            op(4, 5, Call::Claim, duplicate("r")),
            op(6, 7, Call::Claim, Answer::InProgress),
        ],
        "no order",
    );
}

#[test]
fn two_winners_are_seen() {
    let twice = vec![op(0, 1, Call::Claim, claimed(5, 1)), op(2, 3, Call::Claim, claimed(6, 2))];
    bad(twice, "won while");
    let at_once = vec![op(0, 2, Call::Claim, claimed(5, 1)), op(1, 3, Call::Claim, claimed(6, 1))];
    bad(at_once, "no order");
}

#[test]
fn a_stale_settlement_that_was_accepted_is_seen() {
    bad(
        vec![
            op(0, 1, Call::Claim, claimed(5, 1)),
            op(2, 3, Call::Fail { token: 5, failure: Failure::Retry }, Answer::Done),
            op(4, 5, Call::Claim, claimed(6, 2)),
            op(6, 7, complete(5, "late"), Answer::Done),
        ],
        "no order",
    );
}

#[test]
fn a_lost_completion_is_seen() {
    bad(
        vec![
            op(0, 1, Call::Claim, claimed(5, 1)),
            op(2, 3, complete(5, "r"), Answer::Done),
            op(4, 5, Call::Claim, claimed(6, 1)),
        ],
        "no order",
    );
}

#[test]
fn a_wrong_response_is_seen() {
    bad(
        vec![
            op(0, 1, Call::Claim, claimed(5, 1)),
            op(2, 3, complete(5, "r"), Answer::Done),
            op(4, 5, Call::Claim, duplicate("s")),
        ],
        "no order",
    );
}

#[test]
fn a_reused_token_is_seen() {
    let mut again = op(4, 5, Call::Claim, claimed(5, 1));
    let first = [op(0, 1, Call::Claim, claimed(5, 1)), op(2, 3, Call::Release { token: 5 }, Answer::Done)];
    bad([&first[..], &[again.clone()]].concat(), "issued twice");
    again.key = 2;
    bad([&first[..], &[again.clone()]].concat(), "issued twice");
    again.answer = claimed(4, 1);
    bad([&first[..], &[again]].concat(), "issued after");
}

#[test]
fn a_wrong_attempt_is_seen() {
    let fail = op(2, 3, Call::Fail { token: 5, failure: Failure::Retry }, Answer::Done);
    bad(vec![op(0, 1, Call::Claim, claimed(5, 1)), fail, op(4, 5, Call::Claim, claimed(6, 1))], "no order");
}

#[test]
fn an_answer_from_nowhere_is_seen() {
    bad(vec![op(0, 1, Call::Claim, duplicate("r"))], "no order");
    bad(vec![op(0, 1, Call::Claim, Answer::InProgress)], "no order");
    bad(vec![op(0, 1, complete(5, "r"), Answer::Done)], "no order");
}

#[test]
fn pending_operations_may_take_place_or_not() {
    let start = [op(0, 1, Call::Claim, claimed(5, 1)), pending(2, complete(5, "r"))];
    good([&start[..], &[op(3, 4, Call::Claim, duplicate("r"))]].concat());
    good([&start[..], &[op(3, 4, Call::Claim, Answer::InProgress)]].concat());
    bad(
        [&start[..], &[op(3, 4, Call::Claim, duplicate("r")), op(5, 6, Call::Claim, Answer::InProgress)]]
            .concat(),
        "no order",
    );
}

#[test]
fn a_crash_ends_what_was_pending_and_orphans_what_was_held() {
    let start = [op(0, 1, Call::Claim, claimed(5, 1)), pending(2, complete(5, "r"))];
    let after = |answer| crashing([&start[..], &[op(4, 5, Call::Claim, answer)]].concat(), &[3]);
    after(duplicate("r")).unwrap();
    after(claimed(9, 2)).unwrap();
    after(claimed(9, 1)).unwrap_err();
    after(Answer::InProgress).unwrap_err();
    let too_late = [op(4, 5, Call::Claim, claimed(9, 2)), op(6, 7, Call::Claim, duplicate("r"))];
    crashing([&start[..], &too_late[..]].concat(), &[3]).unwrap_err();
}

#[test]
fn a_claim_nobody_heard_of_counts_or_not() {
    let after =
        |attempt| crashing(vec![pending(0, Call::Claim), op(2, 3, Call::Claim, claimed(9, attempt))], &[1]);
    after(1).unwrap();
    after(2).unwrap();
    after(3).unwrap_err();
}

#[test]
fn refusals_have_no_effect() {
    good(vec![
        op(0, 1, Call::Claim, Answer::Refused),
        op(2, 3, Call::Claim, claimed(5, 1)),
        op(4, 5, complete(5, "r"), Answer::Refused),
        op(6, 7, Call::Claim, Answer::InProgress),
    ]);
}

/// Ticket, key, call, and the answer once the operation took place.
type UnderWay = (Ticket, u32, Call, Option<Answer>);

/// A store without faults, played by `threads` clients over `keys` keys whose calls overlap at random.
fn simulated(seed: u64, threads: usize, keys: u64, operations: usize) -> History {
    let rules = Rules::default();
    let mut rng = Rng::new(seed);
    let recorder = Recorder::new();
    let mut sessions: Vec<_> = (0..threads).map(|_| recorder.session()).collect();
    let mut under_way: Vec<Option<UnderWay>> = (0..threads).map(|_| None).collect();
    let mut held: Vec<(u32, u64)> = Vec::new();
    let mut states = vec![State::fresh(); keys as usize];
    let (mut token, mut begun) = (0, 0);
    while begun < operations {
        let thread = rng.index(threads);
        match under_way[thread].take() {
            None => {
                begun += 1;
                let (key, call) = next_call(&mut rng, keys, &mut held);
                under_way[thread] = Some((sessions[thread].invoke(key, call.clone()), key, call, None));
            }
            Some((ticket, key, call, None)) => {
                let state = &mut states[key as usize];
                token += 1;
                let answer = honest_answer(state, &call, token);
                *state = state.step(&call, &answer, rules).unwrap();
                under_way[thread] = Some((ticket, key, call, Some(answer)));
            }
            Some((ticket, key, _, Some(answer))) => {
                if let Answer::Claimed { token, .. } = answer {
                    held.push((key, token));
                }
                sessions[thread].answer(ticket, answer);
            }
        }
    }
    recorder.collect(sessions)
}

fn next_call(rng: &mut Rng, keys: u64, held: &mut Vec<(u32, u64)>) -> (u32, Call) {
    // Or all keys would end settled or parked.
    if rng.chance(1, 20) {
        return (rng.below(keys) as u32, Call::Forget);
    }
    if held.is_empty() || rng.chance(2, 3) {
        return (rng.below(keys) as u32, if rng.chance(1, 10) { Call::Get } else { Call::Claim });
    }
    let (key, token) = held.swap_remove(rng.index(held.len()));
    let call = match rng.below(6) {
        0 => Call::Fail { token, failure: Failure::Retry },
        1 => Call::Fail { token, failure: Failure::Terminal(response("t")) },
        2 => Call::Release { token },
        3 => Call::Abandon { token },
        _ => complete(token, &token.to_string()),
    };
    (key, call)
}

fn honest_answer(state: &State, call: &Call, token: u64) -> Answer {
    match call {
        Call::Claim => state.answer(token, Rules::default()),
        Call::Get => Answer::Seen(state.shown()),
        _ if state.step(call, &Answer::Done, Rules::default()).is_some() => Answer::Done,
        _ => Answer::Stale,
    }
}

#[test]
fn honest_histories_are_explained() {
    for seed in 0..200 {
        check(&simulated(seed, 6, 2, 300), Rules::default()).unwrap();
    }
}

#[test]
fn a_long_history_of_sixteen_threads_is_quick() {
    let checked = check(&simulated(1, 16, 16, 160_000), Rules::default()).unwrap();
    assert!(checked.operations > 150_000 && checked.keys == 16, "{checked:?}");
}

#[test]
fn one_changed_answer_in_a_long_history_is_seen() {
    let mut caught = 0;
    for seed in 0..100 {
        let mut history = simulated(seed, 6, 2, 300);
        let wrong = |operation: &&mut Operation| matches!(operation.answer, Answer::Duplicate { .. });
        let Some(operation) = history.operations.iter_mut().filter(wrong).nth(5) else { continue };
        operation.answer = duplicate("made up");
        check(&history, Rules::default()).unwrap_err();
        caught += 1;
    }
    assert!(caught > 50, "{caught}");
}
