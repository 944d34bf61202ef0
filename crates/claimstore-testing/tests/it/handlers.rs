//! Handlers that are right, and handlers that are wrong each in its way: the verdict must tell them apart.

use claimstore::{Claim, ClaimRequest, Error, Failure, OnOrphan, Policy, Transacted};
use claimstore_testing::{Crash, CrashPoints, Finding, FindingKind, NoVerdict, Run, Verdict, crash_points};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ORDER: &str = "order-1";

fn later() -> Error {
    Error::caller("somebody is on it")
}

/// The remote side knows idempotency keys.
fn right(run: &Run) -> Result<(), Error> {
    match run.store().claim(ORDER, DAY)? {
        Claim::Claimed(lease) => {
            let id = lease.child_key("pay");
            let receipt = run.effects().run_once(ORDER, "pay", &id, || b"receipt 17".to_vec());
            lease.complete(receipt)?;
            Ok(())
        }
        Claim::Duplicate(receipt) => {
            assert_eq!(receipt.response(), b"receipt 17");
            Ok(())
        }
        Claim::InProgress(_) => Err(later()),
    }
}

/// The remote side knows none.
fn naive(run: &Run) -> Result<(), Error> {
    match run.store().claim(ORDER, DAY)? {
        Claim::Claimed(lease) => {
            run.effects().run(ORDER, "pay", || ());
            lease.complete("paid")?;
            Ok(())
        }
        Claim::Duplicate(_) => Ok(()),
        Claim::InProgress(_) => Err(later()),
    }
}

/// It says that it is done before it is.
fn hasty(run: &Run) -> Result<(), Error> {
    match run.store().claim(ORDER, DAY)? {
        Claim::Claimed(lease) => {
            lease.complete("paid")?;
            run.effects().run(ORDER, "pay", || ());
            Ok(())
        }
        Claim::Duplicate(_) => Ok(()),
        Claim::InProgress(_) => Err(later()),
    }
}

fn kinds(verdict: &Verdict) -> Vec<FindingKind> {
    let mut kinds: Vec<FindingKind> = verdict.findings().iter().map(Finding::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn check(verdict: &Verdict, times: (u64, u64), expected: &[FindingKind]) {
    assert_eq!(verdict.times(ORDER, "pay"), Some(times), "{verdict}");
    assert_eq!(kinds(verdict), expected, "{verdict}");
    assert_eq!(verdict.missed(), 0, "{verdict}");
    assert!(verdict.points() > 5, "{verdict}");
    assert_eq!(verdict.crashes(), verdict.points() * 4, "{verdict}");
}

#[test]
fn a_right_handler_is_clean() {
    let verdict = crash_points(right).unwrap();
    check(&verdict, (1, 1), &[]);
    verdict.assert_effects_at_most_once();
    verdict.assert_nothing_lost();
    verdict.assert_nothing_in_review();
    assert!(verdict.to_string().contains("every effect ran as often as without a crash"));
}

#[test]
fn an_effect_before_its_settlement_runs_twice() {
    let verdict = crash_points(naive).unwrap();
    check(&verdict, (1, 2), &[FindingKind::Twice]);
    verdict.assert_nothing_lost();
    assert!(verdict.twice().all(|finding| finding.times() == 2 && finding.due() == 1));
    let shown = verdict.to_string();
    assert!(shown.contains("order-1  pay       1  1..2  twice"), "{shown}");
    assert!(shown.contains("TWICE: pay for order-1 ran 2 times, due 1"), "{shown}");
    assert!(shown.contains("process died after \"pay for order-1\", before \"write journal/"), "{shown}");
    assert!(shown.contains("the claim was durable, the settlement was not"), "{shown}");
}

#[test]
#[should_panic(expected = "an effect ran more than once")]
fn what_runs_twice_fails_the_assertion() {
    crash_points(naive).unwrap().assert_effects_at_most_once();
}

#[test]
fn a_settlement_before_its_effect_loses_it() {
    let verdict = crash_points(hasty).unwrap();
    check(&verdict, (0, 1), &[FindingKind::Lost]);
    verdict.assert_effects_at_most_once();
    let died = verdict.lost().find(|finding| finding.crash() == Crash::OfProcess).unwrap();
    assert_eq!((died.key(), died.step(), died.times()), (ORDER.as_bytes(), "pay", 0));
    let shown = verdict.to_string();
    assert!(shown.contains("before \"pay for order-1\"; the key was completed"), "{shown}");
}

#[test]
#[should_panic(expected = "an effect was lost")]
fn what_is_lost_fails_the_assertion() {
    crash_points(hasty).unwrap().assert_nothing_lost();
}

/// With the death of the process alone there is one point where the effect is doubled: right behind it. After that the
/// settlement is in the page cache, and stays.
#[test]
fn the_point_right_behind_an_effect_is_tried() {
    let verdict = CrashPoints::new().power_losses(0).run(naive).unwrap();
    let places: Vec<&str> = verdict.twice().map(Finding::after).collect();
    assert_eq!(places, ["pay for order-1"], "{verdict}");
}

/// Nothing that a dead process goes on to do has an effect.
#[test]
fn a_handler_that_ignores_errors_does_nothing_once_it_is_dead() {
    let careless = |run: &Run| -> Result<(), Error> {
        if let Ok(Claim::Claimed(lease)) = run.store().claim(ORDER, DAY) {
            let effects = run.effects();
            // It may be refused, and is then as if it had not been said.
            drop(lease.complete("paid"));
            effects.run(ORDER, "pay", || ());
        }
        Ok(())
    };
    let verdict = crash_points(careless).unwrap();
    assert_eq!(verdict.times(ORDER, "pay"), Some((0, 1)), "{verdict}");
    // The page cache keeps a settlement whose sync was never made: the effect was not done, and never will be.
    let in_the_midst = verdict.lost().filter(|finding| finding.before().starts_with("sync journal"));
    assert!(in_the_midst.count() > 0, "{verdict}");
}

#[test]
fn a_message_that_is_acknowledged_while_somebody_holds_it_is_lost() {
    let forgetful = |run: &Run| -> Result<(), Error> {
        // Without `InProgress`: after a crash under this policy the key stays in progress.
        if let Claim::Claimed(lease) = run.store().namespace("orders")?.claim_default(ORDER)? {
            run.effects().run(ORDER, "pay", || ());
            lease.complete("paid")?;
        }
        Ok(())
    };
    let verdict = CrashPoints::new()
        .prepare(|store| store.namespace_with("orders", Policy::new().on_orphan(OnOrphan::Resolve)).map(drop))
        .run(forgetful)
        .unwrap();
    assert!(verdict.lost().next().is_some(), "{verdict}");
    verdict.assert_effects_at_most_once();
}

#[test]
fn a_key_in_review_is_neither_lost_nor_done_twice() {
    let careful = |run: &Run| -> Result<(), Error> {
        match run.store().namespace("orders")?.claim_default(ORDER)? {
            Claim::Claimed(lease) => {
                run.effects().run(ORDER, "pay", || ());
                lease.complete("paid")?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(later()),
        }
    };
    let crash_points = CrashPoints::new()
        .prepare(|store| store.namespace_with("orders", Policy::new().on_orphan(OnOrphan::Park)).map(drop));
    let verdict = crash_points.run(careful).unwrap();
    assert_eq!(kinds(&verdict), [FindingKind::InReview], "{verdict}");
    assert_eq!(verdict.times(ORDER, "pay"), Some((0, 1)));
    verdict.assert_effects_at_most_once();
    verdict.assert_nothing_lost();
    assert!(verdict.to_string().contains("IN REVIEW: order-1"), "{verdict}");
}

#[test]
fn a_key_that_nobody_settles_is_unfinished() {
    let stuck = |run: &Run| -> Result<(), Error> {
        match run.store().namespace("orders")?.claim_default(ORDER)? {
            Claim::Claimed(lease) => {
                run.effects().run(ORDER, "pay", || ());
                lease.complete("paid")?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(later()),
        }
    };
    // Nobody resolves.
    let verdict = CrashPoints::new()
        .deliveries(2)
        .prepare(|store| store.namespace_with("orders", Policy::new().on_orphan(OnOrphan::Resolve)).map(drop))
        .run(stuck)
        .unwrap();
    assert_eq!(kinds(&verdict), [FindingKind::Unfinished], "{verdict}");
}

/// The effect is a row, in the commit of the claim.
#[test]
fn rows_of_one_commit_are_neither_doubled_nor_lost() {
    let transacts = |run: &Run| -> Result<(), Error> {
        let ran = run.store().transact(&ClaimRequest::new(ORDER), |transaction| {
            let mut rows = transaction.table("rows")?;
            let times = rows.get(ORDER)?.map_or(0, |row| row[0]);
            rows.insert(ORDER, [times + 1])?;
            Ok(b"posted".to_vec())
        })?;
        if matches!(ran, Transacted::InProgress(_)) { Err(later()) } else { Ok(()) }
    };
    let settles_with = |run: &Run| -> Result<(), Error> {
        match run.store().claim(ORDER, DAY)? {
            Claim::Claimed(lease) => {
                lease.complete_in(|transaction| {
                    let mut rows = transaction.table("rows")?;
                    let times = rows.get(ORDER)?.map_or(0, |row| row[0]);
                    rows.insert(ORDER, [times + 1])?;
                    Ok(b"posted".to_vec())
                })?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(later()),
        }
    };
    let rows = CrashPoints::new().observe(|run: &Run| {
        let times = run.store().table("rows")?.get(ORDER)?.map_or(0, |row| u64::from(row[0]));
        run.effects().found(ORDER, "pay", times);
        Ok(())
    });
    check(&rows.run(transacts).unwrap(), (1, 1), &[]);
    check(&rows.run(settles_with).unwrap(), (1, 1), &[]);
}

/// A row of its own commit is doubled: the control for [`rows_of_one_commit_are_neither_doubled_nor_lost`].
#[test]
fn rows_of_another_commit_are_doubled() {
    let apart = |run: &Run| -> Result<(), Error> {
        match run.store().claim(ORDER, DAY)? {
            Claim::Claimed(lease) => {
                // The key of the row's claim is another one in every attempt.
                let row = format!("row of attempt {}", lease.attempt());
                let ran = run.store().transact(&ClaimRequest::new(&row), |transaction| {
                    let mut rows = transaction.table("rows")?;
                    let times = rows.get(ORDER)?.map_or(0, |row| row[0]);
                    rows.insert(ORDER, [times + 1])?;
                    Ok(Vec::new())
                })?;
                assert!(!matches!(ran, Transacted::InProgress(_)));
                lease.complete("posted")?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(later()),
        }
    };
    let rows = CrashPoints::new().observe(|run: &Run| {
        let times = run.store().table("rows")?.get(ORDER)?.map_or(0, |row| u64::from(row[0]));
        run.effects().found(ORDER, "pay", times);
        Ok(())
    });
    check(&rows.run(apart).unwrap(), (1, 2), &[FindingKind::Twice]);
}

/// A failure that is to be tried again, and an error that stays.
#[test]
fn deliveries_before_the_crash_count_as_without_one() {
    let slow_to_start = |run: &Run| -> Result<(), Error> {
        match run.store().claim(ORDER, DAY)? {
            Claim::Claimed(lease) if lease.attempt() == 1 => {
                lease.fail(Failure::retry())?;
                Err(Error::caller("the remote side was away"))
            }
            Claim::Claimed(lease) => {
                let id = lease.child_key("pay");
                run.effects().run_once(ORDER, "pay", &id, Vec::new);
                lease.complete("paid")?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(later()),
        }
    };
    check(&crash_points(slow_to_start).unwrap(), (1, 1), &[]);
}

/// Who looks before a second attempt but not before a third is caught by a second crash only.
#[test]
fn code_for_a_second_attempt_is_crashed_by_a_second_crash() {
    let looks_once = |run: &Run| -> Result<(), Error> {
        match run.store().claim(ORDER, DAY)? {
            Claim::Claimed(lease) => {
                let is_done = run.effects().times(ORDER, "pay") > 0;
                if lease.attempt() != 2 || !is_done {
                    run.effects().run(ORDER, "pay", || ());
                }
                lease.complete("paid")?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(later()),
        }
    };
    check(&crash_points(looks_once).unwrap(), (1, 1), &[]);
    let verdict = CrashPoints::new().in_a_row(2).run(looks_once).unwrap();
    assert_eq!(kinds(&verdict), [FindingKind::Twice], "{verdict}");
    assert!(verdict.crashes() > verdict.points() * 4 * 5, "{verdict}");
    assert!(verdict.to_string().contains("; then process died after"), "{verdict}");
    let right = CrashPoints::new().in_a_row(2).run(right).unwrap();
    assert!(right.findings().is_empty() && right.missed() == 0, "{right}");
}

#[test]
fn a_second_delivery_that_works_again_is_noticed_without_a_crash() {
    let no_claim = |run: &Run| -> Result<(), Error> {
        run.effects().run(ORDER, "pay", || ());
        Ok(())
    };
    let verdict = crash_points(no_claim).unwrap();
    let first = verdict.twice().next().unwrap();
    assert_eq!((first.crash(), first.times()), (Crash::None, 2));
    assert!(first.to_string().ends_with("no crash; the message was delivered once more"), "{first}");
}

#[test]
fn a_handler_that_never_succeeds_has_no_verdict() {
    let fails = |_: &Run| -> Result<(), Error> { Err(Error::caller("no network")) };
    let none = crash_points(fails).unwrap_err();
    assert!(matches!(&none, NoVerdict::Handler(_)), "{none}");
    assert!(std::error::Error::source(&none).is_some());
}

#[test]
fn a_handler_that_panics_has_no_verdict() {
    let panics = |run: &Run| -> Result<(), Error> {
        assert!(run.delivery() > 1, "the first delivery is not wanted");
        Ok(())
    };
    match crash_points(panics).unwrap_err() {
        NoVerdict::Panicked { at, message } => {
            assert_eq!(message, "the first delivery is not wanted");
            assert!(at.starts_with("delivery 1"), "{at}");
        }
        other => panic!("{other}"),
    }
}

#[test]
#[should_panic(expected = "no effect was seen")]
fn a_verdict_about_nothing_is_no_success() {
    let idle = |_: &Run| -> Result<(), Error> { Ok(()) };
    crash_points(idle).unwrap().assert_nothing_lost();
}
