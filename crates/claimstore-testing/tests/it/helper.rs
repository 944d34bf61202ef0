//! The helper itself: its worlds, its clock, its seeds, its errors.

use claimstore::{Claim, Error, Import};
use claimstore_testing::{CrashPoints, Effects, NoVerdict, Run, crash_points, small_options};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A server of the test's own, which answers late once.
struct Server {
    effects: Effects,
    asked: AtomicU32,
}

impl Server {
    fn pay(&self, id: &[u8]) -> Option<Vec<u8>> {
        let receipt = self.effects.run_once("a", "pay", id, || b"receipt".to_vec());
        let is_first = self.asked.fetch_add(1, Ordering::Relaxed) == 0;
        (!is_first).then_some(receipt)
    }
}

#[test]
fn a_world_of_ones_own_outlives_the_processes_and_is_new_for_every_crash() {
    let verdict = CrashPoints::new()
        .world(|effects| Server { effects: effects.clone(), asked: AtomicU32::new(0) })
        .run(|run: &Run<Server>| -> Result<(), Error> {
            match run.store().claim("a", DAY)? {
                Claim::Claimed(lease) => {
                    let id = lease.child_key("pay");
                    let Some(receipt) = run.world().pay(&id) else {
                        return Err(Error::caller("the server timed out"));
                    };
                    lease.complete(receipt)?;
                    Ok(())
                }
                Claim::Duplicate(_) => Ok(()),
                Claim::InProgress(_) => Err(Error::caller("later")),
            }
        })
        .unwrap();
    verdict.assert_effects_at_most_once();
    verdict.assert_nothing_lost();
    assert_eq!(verdict.times("a", "pay"), Some((1, 1)));
}

#[test]
fn a_crash_point_of_ones_own_is_one() {
    let handler = |points: bool| {
        move |run: &Run| -> Result<(), Error> {
            if let Claim::Claimed(lease) = run.store().claim("a", DAY)? {
                if points {
                    run.crash_point("before the file is written");
                }
                run.effects().run("a", "pay", || ());
                lease.complete("")?;
            }
            Ok(())
        }
    };
    let (without, with) = (crash_points(handler(false)).unwrap(), crash_points(handler(true)).unwrap());
    assert_eq!(with.points(), without.points() + 1);
}

#[test]
fn a_seed_repeats_its_verdict() {
    let run = |seed| {
        let verdict = CrashPoints::new().seed(seed).run(|run: &Run| -> Result<(), Error> {
            if let Claim::Claimed(lease) = run.store().claim("a", DAY)? {
                run.effects().run("a", "pay", || ());
                lease.complete("")?;
            }
            Ok(())
        });
        verdict.unwrap().to_string()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// A claim that somebody else in the process holds for a minute: three deliveries, half a minute apart, are just enough.
#[test]
fn the_clock_moves_between_deliveries() {
    let waits = |run: &Run| -> Result<(), Error> {
        match run.store().claim("a", DAY)? {
            Claim::Claimed(lease) if lease.attempt() == 1 => {
                let _held = lease.into_token();
                Err(Error::caller("handed on"))
            }
            Claim::Claimed(lease) => {
                run.effects().run_once("a", "pay", b"id", || vec![run.delivery() as u8]);
                lease.complete("")?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(Error::caller("later")),
        }
    };
    let crash_points = || CrashPoints::new().power_losses(0).wait(Duration::from_secs(30));
    crash_points().deliveries(3).run(waits).unwrap().assert_nothing_lost();
    let too_few = crash_points().deliveries(2).run(waits).unwrap_err();
    assert!(matches!(&too_few, NoVerdict::Handler(_)), "{too_few}");
}

/// What is prepared and left as it is is no finding.
#[test]
fn records_that_are_there_already_are_nobodys_fault() {
    let verdict = CrashPoints::new()
        .prepare(|store| {
            let rows =
                [Import::completed("old", "posted"), Import::parked("doubtful", "in progress at the move")];
            store.namespace("")?.import_many(&rows).map(drop)?;
            let _held = store.claim("held", DAY)?.claimed().map(claimstore::Lease::into_token);
            Ok(())
        })
        .run(|run: &Run| -> Result<(), Error> {
            if let Claim::Claimed(lease) = run.store().claim("a", DAY)? {
                let id = lease.child_key("pay");
                run.effects().run_once("a", "pay", &id, Vec::new);
                lease.complete("")?;
            }
            Ok(())
        });
    let verdict = verdict.unwrap();
    assert!(verdict.findings().is_empty(), "{verdict}");
    verdict.assert_effects_at_most_once();
}

#[test]
fn a_store_that_cannot_be_opened_or_prepared_is_told() {
    let options = small_options().segment_bytes(1);
    let idle = |_: &Run| -> Result<(), Error> { Ok(()) };
    let none = CrashPoints::new().options(options).run(idle).unwrap_err();
    assert!(matches!(none, NoVerdict::Store(_)), "{none}");
    let none = CrashPoints::new().prepare(|_| Err(Error::caller("no"))).run(idle).unwrap_err();
    assert!(matches!(none, NoVerdict::Store(_)), "{none}");
}

/// A handler that is not the same in every run.
#[test]
fn points_that_are_not_reached_again_are_told() {
    let runs = AtomicU32::new(0);
    let verdict = crash_points(|run: &Run| -> Result<(), Error> {
        if let Claim::Claimed(lease) = run.store().claim("a", DAY)? {
            let id = lease.child_key("pay");
            run.effects().run_once("a", "pay", &id, Vec::new);
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                run.crash_point("only once");
                run.crash_point("and again");
            }
            lease.complete("")?;
        }
        Ok(())
    });
    let verdict = verdict.unwrap();
    assert!(verdict.missed() > 0, "{verdict}");
    assert!(verdict.to_string().contains("NOT THE SAME IN EVERY RUN"), "{verdict}");
}
