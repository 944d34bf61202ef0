use super::Tally;
use crate::claim::FailureClass;
use crate::codec::{Base, Cursor, Record, State};
use crate::decide::{
    ChangeOf, Decision, Ending, Hold, Now, Wanted, claimed, decide, delayed, left_behind, orphan_settled,
    parked, requeued, settled, taken_over,
};
use crate::history::Orphaned;
use crate::policy::{OnOrphan, Policy};
use proptest::prelude::*;

const NOW_MS: u64 = 1_000_000;

fn policy() -> Policy {
    Policy { max_attempts: 2, max_losses: 3, ..Policy::new() }
}

fn wanted() -> Wanted<'static> {
    Wanted { ttl_ms: 60_000, lease_ms: 7_000, fingerprint: None, fields: b"", origin: b"", key_time_ms: None }
}

fn tally(failures: u32, losses: u32, interrupted: u32, in_doubt: bool) -> Tally {
    Tally { failures, losses, interrupted, in_doubt, counted: false }
}

/// What the record says when its bytes were written and read.
fn stored(record: &Record) -> Record {
    let mut bytes = Vec::new();
    record.encode(&Base::default(), &mut bytes);
    Record::decode(&mut Cursor::new(&bytes), &Base::default()).unwrap()
}

fn first() -> Record {
    claimed(None, None, 1, &wanted(), 1, NOW_MS)
}

fn again(earlier: &Record, cause: Option<Orphaned>) -> Record {
    stored(&claimed(Some(earlier), cause, earlier.attempt + 1, &wanted(), earlier.seq + 1, NOW_MS))
}

#[test]
fn what_ends_an_attempt_is_counted_by_its_cause() {
    for (cause, expected) in [
        (Orphaned::EarlierLife, tally(1, 0, 1, true)),
        (Orphaned::Lapsed, tally(1, 0, 1, true)),
        (Orphaned::Panicked, tally(1, 0, 1, true)),
        (Orphaned::Unknown, tally(1, 0, 1, true)),
        (Orphaned::Abandoned, tally(0, 1, 1, true)),
    ] {
        assert_eq!(again(&first(), Some(cause)).tally(), expected, "{cause:?}");
        assert_eq!(delayed(&first(), Some(cause), 9, 2, NOW_MS).tally(), expected, "{cause:?}");
        assert_eq!(parked(&first(), Some(cause), &policy(), 2, NOW_MS).tally(), expected, "{cause:?}");
        let left = stored(&left_behind(&first(), cause, 2));
        assert_eq!(left.tally(), Tally { counted: true, ..expected }, "{cause:?}");
        assert_eq!((left.state, left.left()), (State::InProgress, Some(cause)));
        // It is counted: nothing that follows counts it again.
        assert_eq!(again(&left, Some(Orphaned::EarlierLife)).tally(), expected, "{cause:?}");
        assert_eq!(delayed(&left, Some(Orphaned::EarlierLife), 9, 2, NOW_MS).tally(), expected);
    }
}

#[test]
fn an_ordinary_key_and_one_whose_holders_die_have_no_bytes_for_it() {
    let done = settled(&first(), &Ending::Complete(b"r"), &policy(), None, 2, NOW_MS);
    assert_eq!((first().extra, done.extra), (None, None));
    let second = again(&first(), Some(Orphaned::EarlierLife));
    assert_eq!(second.extra, None);
    assert_eq!(settled(&second, &Ending::Complete(b"r"), &policy(), None, 3, NOW_MS).extra, None);
    // Before there were tallies, a record looked like this.
    let earlier = Record { attempt: 2, state: State::Retry, ..first() };
    assert_eq!(earlier.tally(), tally(2, 0, 2, true));
}

#[test]
fn a_release_takes_back_its_own_attempt_and_nothing_that_was_counted_before() {
    let second = again(&first(), Some(Orphaned::Abandoned));
    let released = stored(&settled(&second, &Ending::Release, &policy(), None, 3, NOW_MS));
    assert_eq!((released.attempt, released.tally()), (1, tally(0, 1, 1, true)));
    let again = again(&released, None);
    assert_eq!((again.attempt, again.tally()), (2, tally(0, 1, 1, true)));
}

#[test]
fn a_resolver_turns_a_death_into_a_loss_without_doubt_and_counts_it_once() {
    let none = FailureClass::DidNotHappen { because: Box::default() };
    let taken = taken_over(&first(), Orphaned::EarlierLife, 2, NOW_MS);
    assert_eq!(taken.tally(), tally(0, 0, 0, false), "taking over counts nothing");
    let retried = stored(&settled(&taken, &Ending::Fail(&none), &policy(), None, 3, NOW_MS));
    assert_eq!((retried.state, retried.tally()), (State::Retry, tally(0, 1, 1, false)));
    // What a close has counted stays what it is.
    let left = left_behind(&first(), Orphaned::Panicked, 2);
    let taken = stored(&taken_over(&left, Orphaned::EarlierLife, 3, NOW_MS));
    assert_eq!((taken.left(), taken.asked().unwrap().cause), (None, Orphaned::Panicked.code()));
    let retried = settled(&taken, &Ending::Fail(&none), &policy(), None, 4, NOW_MS);
    assert_eq!(retried.tally(), tally(1, 0, 1, false));
}

#[test]
fn what_nobody_knows_is_one_failure_and_goes_by_the_rule_for_orphans() {
    let unknown = FailureClass::Unknown { because: Box::default() };
    let end = |on_orphan| {
        let policy = Policy { on_orphan, ..policy() };
        stored(&settled(&first(), &Ending::Fail(&unknown), &policy, None, 2, NOW_MS))
    };
    let retry = end(OnOrphan::Retry);
    assert_eq!((retry.state, retry.until_ms, retry.tally()), (State::Retry, NOW_MS, tally(1, 0, 1, true)));
    let parked = end(OnOrphan::Park);
    assert_eq!((parked.state, parked.tally()), (State::Parked, tally(1, 0, 1, true)));
    let failed = end(OnOrphan::Fail);
    assert_eq!((failed.state, failed.tally()), (State::Failed, tally(1, 0, 1, false)));
    let left = end(OnOrphan::Resolve);
    assert_eq!((left.state, left.left()), (State::InProgress, Some(Orphaned::Unknown)));
    assert_eq!(left.tally(), Tally { counted: true, ..tally(1, 0, 1, true) });
    let second = again(&first(), Some(Orphaned::EarlierLife));
    let last = settled(&second, &Ending::Fail(&unknown), &policy(), None, 3, NOW_MS);
    assert_eq!((last.state, last.tally().failures), (State::Parked, 2));
}

#[test]
fn the_first_interruption_is_retried_at_once_whatever_failed_before() {
    let policy = Policy { max_attempts: 9, ..policy() }
        .orphan_backoff(std::time::Duration::from_secs(4), std::time::Duration::from_secs(8));
    let wait = |record: &Record, hold| match decide(Some((record, hold)), &wanted(), &policy, 0, now()) {
        Decision::Claim { .. } => 0,
        Decision::Delay { after_ms } => after_ms,
        other => panic!("{other:?}"),
    };
    let retry = FailureClass::Retry { after_ms: 0, because: Box::default() };
    let failed = settled(&first(), &Ending::Fail(&retry), &policy, None, 2, NOW_MS);
    let second = again(&failed, None);
    assert_eq!(second.tally(), tally(1, 0, 0, false));
    assert_eq!(wait(&second, Hold::Orphaned), 0, "it failed, and was not interrupted");
    let third = again(&second, Some(Orphaned::EarlierLife));
    assert!((3_000..=4_000).contains(&wait(&third, Hold::Dropped)));
}

#[test]
fn a_review_gives_both_allowances_again() {
    let mut record = Record { attempt: 5, state: State::Parked, ..first() }.with_tally(tally(2, 3, 5, true));
    record = requeued(&record, &policy(), 9, NOW_MS);
    assert_eq!(record.tally(), tally(2, 3, 5, true), "the counts go on");
    let used_up = |failures, losses| tally(failures, losses, 0, false).used_up(&record, &policy());
    assert_eq!((used_up(3, 5), used_up(4, 5)), (None, Some(&b"attempts used up"[..])));
    assert_eq!(used_up(3, 6), Some(&b"losses used up"[..]));
}

#[test]
fn marks_of_calls_outlive_progress_and_release_and_end_with_the_key() {
    let mut held = first();
    held.extra.get_or_insert_default().calls = b"sent"[..].into();
    let calls = |record: &Record| record.extra.as_ref().map(|extra| extra.calls.to_vec()).unwrap_or_default();
    let mut saved = stored(&held);
    saved.body = b"half"[..].into();
    saved.extra.get_or_insert_default().earlier_progress = Some(Box::default());
    assert_eq!(calls(&stored(&saved)), b"sent");
    let released = stored(&settled(&saved, &Ending::Release, &policy(), None, 2, NOW_MS));
    assert_eq!((released.state, released.attempt, released.body.len()), (State::Retry, 0, 0));
    assert_eq!((calls(&released), released.tally()), (b"sent".to_vec(), Tally::default()));
    let next = decide(Some((&released, Hold::Orphaned)), &wanted(), &policy(), 0, now());
    assert_eq!(next, Decision::Claim { attempt: 1 });
    let once_more = again(&released, None);
    assert_eq!((once_more.attempt, calls(&once_more)), (1, b"sent".to_vec()));
    let second = again(&once_more, Some(Orphaned::EarlierLife));
    assert_eq!(calls(&second), b"sent");
    assert_eq!(calls(&settled(&second, &Ending::Complete(b"r"), &policy(), None, 9, NOW_MS)), b"");
}

// ---- any life of a key -------------------------------------------------------------------------------------

fn now() -> Now {
    Now { store_ms: NOW_MS, wall_ms: NOW_MS }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Dies,
    Lapses,
    IsDropped,
    Panics,
    Closes,
    Fails,
    DoesNotKnow,
    Releases,
    Parks,
    /// A resolver is asked; it says that nothing happened, or nothing.
    DidNotHappen,
    NotAnswered,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    use Event::{
        Closes, DidNotHappen, Dies, DoesNotKnow, Fails, IsDropped, Lapses, NotAnswered, Panics, Parks,
        Releases,
    };
    let all = [
        Dies,
        Lapses,
        IsDropped,
        Panics,
        Closes,
        Fails,
        DoesNotKnow,
        Releases,
        Parks,
        DidNotHappen,
        NotAnswered,
    ];
    prop::collection::vec(prop::sample::select(all.to_vec()), 1..40)
}

/// What should be counted, in the plainest way: what became of each attempt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    attempt: u32,
    failures: u32,
    losses: u32,
    in_doubt: bool,
    /// What a reviewer allowed.
    most: (u32, u32),
    parked_by_holder: bool,
}

impl Kept {
    fn fails(&mut self) {
        self.failures += 1;
        self.in_doubt = true;
    }

    fn is_lost(&mut self) {
        self.losses += 1;
        self.in_doubt = true;
    }

    fn is_used_up(&self) -> bool {
        self.failures >= self.most.0.max(2) || self.losses >= self.most.1.max(3)
    }
}

/// One attempt of the key, from its claim to what ended it. Answers the newest version, and why nobody holds it.
fn live_through(event: Event, held: Record, kept: &mut Kept) -> (Record, Hold) {
    let (policy, seq) = (policy(), held.seq + 1);
    let end = |class: &FailureClass| settled(&held, &Ending::Fail(class), &policy, None, seq, NOW_MS);
    let over = |record: Record| (record, Hold::Orphaned);
    match event {
        Event::Dies => {
            kept.fails();
            (held, Hold::Orphaned)
        }
        Event::Lapses => {
            kept.fails();
            (held, Hold::Lapsed)
        }
        Event::Panics => {
            kept.fails();
            (held, Hold::Panicked)
        }
        Event::IsDropped => {
            kept.is_lost();
            (held, Hold::Dropped)
        }
        Event::Closes => {
            kept.is_lost();
            over(left_behind(&held, Orphaned::Abandoned, seq))
        }
        Event::Fails => {
            kept.failures += 1;
            over(end(&FailureClass::Retry { after_ms: 0, because: Box::default() }))
        }
        Event::DoesNotKnow => {
            kept.fails();
            over(end(&FailureClass::Unknown { because: Box::default() }))
        }
        Event::Parks => {
            kept.parked_by_holder = true;
            over(end(&FailureClass::Park { note: Box::default() }))
        }
        Event::Releases => {
            kept.attempt -= 1;
            over(settled(&held, &Ending::Release, &policy, None, seq, NOW_MS))
        }
        Event::DidNotHappen => {
            kept.losses += 1;
            kept.in_doubt = false;
            let asked = taken_over(&held, Orphaned::EarlierLife, seq, NOW_MS);
            let none = FailureClass::DidNotHappen { because: Box::default() };
            over(settled(&asked, &Ending::Fail(&none), &policy, None, seq + 1, NOW_MS))
        }
        Event::NotAnswered => {
            kept.fails();
            // Who asked died as well: that counts nothing more.
            over(taken_over(&held, Orphaned::Lapsed, seq, NOW_MS))
        }
    }
}

proptest! {
    /// A key is parked only by its holder and when a number is at its bound; the attempt rises at every grant but after a
    /// release; and each end of an attempt is counted once, through any versions and bytes.
    #[test]
    fn a_key_is_parked_only_when_the_rule_says_so(events in events()) {
        let mut kept = Kept::default();
        let mut newest: Option<(Record, Hold)> = None;
        for event in events {
            let known = newest.as_ref().map(|(record, hold)| (record, *hold));
            match decide(known, &wanted(), &policy(), 0, now()) {
                Decision::Claim { attempt } => {
                    prop_assert!(!kept.is_used_up() && !kept.parked_by_holder, "{kept:?}");
                    kept.attempt += 1;
                    prop_assert_eq!(attempt, kept.attempt);
                    let (earlier, cause) = match &newest {
                        Some((record, hold)) => (Some(record), hold.orphaned()),
                        None => (None, None),
                    };
                    let seq = earlier.map_or(1, |record| record.seq + 1);
                    let record = stored(&claimed(earlier, cause, attempt, &wanted(), seq, NOW_MS));
                    let Tally { failures, losses, in_doubt, counted, .. } = record.tally();
                    prop_assert_eq!((failures, losses, in_doubt), (kept.failures, kept.losses, kept.in_doubt));
                    prop_assert!(!counted && losses + failures < attempt);
                    let (record, hold) = live_through(event, record, &mut kept);
                    newest = Some((stored(&record), hold));
                    if kept.attempt == 0 {
                        kept = Kept::default();
                    }
                }
                Decision::Park => {
                    prop_assert!(kept.is_used_up(), "{kept:?}");
                    let (record, hold) = newest.take().unwrap();
                    let seq = record.seq + 1;
                    newest = Some((parked(&record, hold.orphaned(), &policy(), seq, NOW_MS), Hold::Orphaned));
                }
                Decision::Refuse(_) => {
                    prop_assert!(kept.is_used_up() || kept.parked_by_holder, "{kept:?}");
                    let (record, _) = newest.take().unwrap();
                    prop_assert_eq!(record.state, State::Parked);
                    let Tally { failures, losses, .. } = record.tally();
                    prop_assert_eq!((failures, losses), (kept.failures, kept.losses));
                    let again = stored(&requeued(&record, &policy(), record.seq + 1, NOW_MS));
                    kept.most = (kept.failures + 2, kept.losses + 3);
                    kept.parked_by_holder = false;
                    newest = Some((again, Hold::Orphaned));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// Whoever ends an orphan counts as the claim does that takes it over.
    #[test]
    fn it_is_all_the_same_who_ends_an_orphan(cause in 0..5_usize, attempt in 1..4_u32, left: bool) {
        let cause = [
            Orphaned::EarlierLife,
            Orphaned::Abandoned,
            Orphaned::Lapsed,
            Orphaned::Panicked,
            Orphaned::Unknown,
        ][cause];
        let mut orphan = Record { attempt, ..first() };
        if left {
            orphan = left_behind(&orphan, cause, 2);
        }
        let policy = Policy { max_attempts: 9, ..policy() };
        let expected = again(&orphan, Some(cause)).tally();
        let change = ChangeOf { policy: &policy, key_time_ms: None, seq: 3, now_ms: NOW_MS };
        for class in [
            FailureClass::Retry { after_ms: 5, because: Box::default() },
            FailureClass::Unknown { because: Box::default() },
            FailureClass::Park { note: Box::default() },
        ] {
            let ended = orphan_settled(&orphan, cause, &Ending::Fail(&class), &change);
            prop_assert_eq!(ended.tally(), expected);
        }
        let asked = taken_over(&orphan, cause, 3, NOW_MS);
        let parked = FailureClass::Park { note: Box::default() };
        prop_assert_eq!(settled(&asked, &Ending::Fail(&parked), &policy, None, 4, NOW_MS).tally(), expected);
        let terminal = FailureClass::Terminal { response: Box::default() };
        let failed = orphan_settled(&orphan, cause, &Ending::Fail(&terminal), &change).tally();
        prop_assert_eq!(failed, expected.settled());
    }
}
