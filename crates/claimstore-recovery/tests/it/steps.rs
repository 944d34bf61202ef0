//! Work in steps: recovery points, replay, changed lists, and undos that run once.

use crate::common::{Bed, DAY, HOUR, claimed, done_with, refused, request};
use claimstore::{Error, ErrorKind, Failure, Lease, Store};
use claimstore_recovery::StepList;
use claimstore_recovery::steps::{Step, StepError, Steps, UndoError};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

const NAMES: [&str; 3] = ["reserve", "charge", "ship"];

fn lease(store: &Store) -> Lease {
    claimed(store.claim_with(&request("order")))
}

fn boom() -> Box<dyn std::error::Error + Send + Sync> {
    "boom".into()
}

/// Cut after every save and inside every step: each finished step runs once, an unfinished one again under the
/// same child key.
#[test]
fn every_point_of_the_work_can_be_cut_and_taken_up() {
    for cut in 0..=NAMES.len() * 2 {
        let bed = Bed::new();
        let store = bed.open();
        let runs: RefCell<BTreeMap<String, Vec<Step>>> = RefCell::default();
        let events = Cell::new(0);
        let attempt = |lease: &mut Lease, cut: usize| -> Result<Vec<Vec<u8>>, StepError<&'static str>> {
            let mut steps = Steps::begin(lease, &NAMES).map_err(|_| StepError::Changed)?;
            let mut outputs = Vec::new();
            for name in NAMES {
                // Even points lie before the step, odd ones inside it, its effect being there.
                if events.replace(events.get() + 1) == cut {
                    return Err(StepError::Work("cut"));
                }
                outputs.push(steps.run(name, |step| {
                    runs.borrow_mut().entry(name.to_owned()).or_default().push(*step);
                    let cut_here = events.replace(events.get() + 1) == cut;
                    if cut_here { Err("cut") } else { Ok(format!("{name} done").into_bytes()) }
                })?);
            }
            Ok(outputs)
        };
        let mut first = lease(&store);
        let finished = attempt(&mut first, cut);
        drop(first.into_token());
        let store = bed.reopen(store);
        let mut second = lease(&store);
        events.set(100);
        let outputs = attempt(&mut second, usize::MAX).unwrap();
        assert_eq!(outputs, NAMES.map(|name| format!("{name} done").into_bytes()));
        second.complete("r").unwrap();
        for (at, name) in NAMES.iter().enumerate() {
            let runs = &runs.borrow()[*name];
            let interrupted = finished.is_err() && cut == 2 * at + 1;
            assert_eq!(runs.len(), if interrupted { 2 } else { 1 }, "cut {cut}, {name}");
            assert!(runs.iter().all(|step| step.key() == runs[0].key()), "the same child key");
            assert_eq!(runs.last().unwrap().is_again(), interrupted);
        }
        done_with(store);
    }
}

/// What could not be saved is not replayed: the step is in doubt, and run again under the same child key.
#[test]
fn an_output_that_cannot_be_saved_is_not_remembered() {
    let bed = Bed::new();
    let store = bed.open();
    let mut lease = lease(&store);
    let mut steps = Steps::begin(&mut lease, &NAMES).unwrap();
    let too_large = steps.run(NAMES[0], |_| Ok::<_, &str>(vec![0; 1 << 20]));
    assert!(matches!(too_large, Err(StepError::Store(error)) if error.kind() == ErrorKind::TooLarge));
    let again = Cell::new(false);
    let output = steps.run(NAMES[0], |step| {
        again.set(step.is_again());
        Ok::<_, &str>(b"small".to_vec())
    });
    assert_eq!(output.unwrap(), b"small");
    assert!(again.get(), "its effect may be there");
    lease.complete("r").unwrap();
    done_with(store);
}

#[test]
fn a_changed_list_and_a_wrong_order_are_noticed() {
    let bed = Bed::new();
    let store = bed.open();
    let mut first = lease(&store);
    let mut steps = Steps::begin(&mut first, &NAMES).unwrap();
    let nothing = |_: &Step| Ok::<_, Error>(Vec::new());
    assert!(matches!(steps.run("charge", nothing), Err(StepError::OutOfOrder)));
    assert!(matches!(steps.run("unheard of", nothing), Err(StepError::OutOfOrder)));
    steps.run("reserve", nothing).unwrap();
    assert!(matches!(steps.run("reserve", nothing), Err(StepError::OutOfOrder)));
    drop(first);
    let mut second = lease(&store);
    for changed in [&["reserve", "ship", "charge"][..], &["reserve", "charge"], &["a", "charge", "ship"]] {
        assert!(matches!(Steps::begin(&mut second, changed), Err(StepError::Changed)), "{changed:?}");
    }
    assert!(Steps::begin(&mut second, &NAMES).is_ok());
    second.save_progress("of another kind").unwrap();
    assert!(matches!(Steps::begin(&mut second, &NAMES), Err(StepError::Changed)));
    let progress = second.progress().map(StepList::decode);
    assert_eq!(progress, Some(None));
    drop(second);
    done_with(store);
}

/// Three steps, the last of which fails; what was done is undone, last first, each once, however often the
/// undoing is cut short.
#[test]
fn undos_run_once_over_any_number_of_attempts() {
    let bed = Bed::new();
    let mut store = bed.open();
    let (charged, refunded, freed) = (Cell::new(0), Cell::new(0), Cell::new(0));
    for attempt in 1..=3 {
        let undos = store.namespace("undos").unwrap();
        let mut lease = lease(&store);
        assert_eq!(lease.attempt(), attempt);
        let order = RefCell::new(Vec::new());
        let mut steps = Steps::begin(&mut lease, &NAMES).unwrap();
        assert_eq!(steps.is_undoing(), attempt > 1);
        let work = |count: &Cell<u32>| {
            count.set(count.get() + 1);
            Ok::<_, &str>(b"out".to_vec())
        };
        let reserved = steps.run_with_undo(
            "reserve",
            |_| Ok::<_, &str>(b"shelf".to_vec()),
            |output| {
                assert_eq!(output, Some(&b"shelf"[..]));
                order.borrow_mut().push("reserve");
                // The process dies in the middle of the first undoing, and the second one fails.
                if attempt < 3 {
                    return Err(boom());
                }
                freed.set(freed.get() + 1);
                Ok(Vec::new())
            },
        );
        assert_eq!(reserved.unwrap(), b"shelf");
        steps
            .run_with_undo(
                "charge",
                |_| work(&charged),
                |output| {
                    assert_eq!(output, Some(&b"out"[..]));
                    order.borrow_mut().push("charge");
                    refunded.set(refunded.get() + 1);
                    Ok(Vec::new())
                },
            )
            .unwrap();
        let shipped = steps.run("ship", |_| Err::<Vec<u8>, _>("no truck"));
        let undoing = matches!(shipped, Err(StepError::Undoing));
        assert_eq!(undoing, attempt > 1, "no later attempt goes on with what is being undone");
        let undone = steps.undo_all(&undos, DAY);
        match attempt {
            1 => assert_eq!(*order.borrow(), ["charge", "reserve"], "the last one first"),
            _ => assert_eq!(*order.borrow(), ["reserve"], "the charge was undone before"),
        }
        if attempt < 3 {
            assert!(matches!(undone, Err(UndoError::Failed(step, _)) if step == "reserve"));
            drop(lease.into_token());
            store = bed.reopen(store);
        } else {
            assert_eq!(undone.unwrap(), 1);
            lease.fail(Failure::terminal("cancelled")).unwrap();
        }
    }
    assert_eq!((charged.get(), refunded.get(), freed.get()), (1, 1, 1));
    done_with(store);
}

/// A step that was begun and not seen to end may have had its effect: it is undone too, and told so.
#[test]
fn a_step_in_doubt_is_undone_without_an_output() {
    let bed = Bed::new();
    let store = bed.open();
    let undos = store.namespace("undos").unwrap();
    let mut first = lease(&store);
    let seen = RefCell::new(Vec::new());
    let mut steps = Steps::begin(&mut first, &NAMES).unwrap();
    let reserved = steps.run_with_undo(
        "reserve",
        |_| Err::<Vec<u8>, _>("connection reset"),
        |output| {
            seen.borrow_mut().push(output.map(<[u8]>::to_vec));
            Ok(Vec::new())
        },
    );
    assert!(matches!(reserved, Err(StepError::Work("connection reset"))));
    assert_eq!(steps.undo_all(&undos, DAY).unwrap(), 1);
    assert_eq!(*seen.borrow(), [None]);
    let list = StepList::decode(first.progress().unwrap()).unwrap();
    assert!(list.is_undoing());
    assert_eq!(list.in_doubt(), Some("reserve"));
    first.fail(Failure::terminal("cancelled")).unwrap();
    done_with(store);
}

/// Two that undo the same work: one does, the other is told; and a holder that was overtaken cannot begin.
#[test]
fn an_undo_that_somebody_else_does_is_left_to_them() {
    let bed = Bed::new();
    let store = bed.open();
    let undos = store.namespace("undos").unwrap();
    let mut first = claimed(store.claim_with(&request("order").lease(HOUR)));
    let other = claimed(undos.claim(first.child_key("undo/reserve"), DAY));
    let mut steps = Steps::begin(&mut first, &NAMES).unwrap();
    steps.run_with_undo("reserve", |_| Ok::<_, Error>(Vec::new()), |_| panic!("not mine to run")).unwrap();
    assert!(matches!(steps.undo_all(&undos, DAY), Err(UndoError::InProgress(step)) if step == "reserve"));
    other.complete("undone").unwrap();

    bed.clock.advance(HOUR);
    drop(claimed(store.claim_with(&request("order"))));
    let steps = Steps::begin(&mut first, &NAMES).unwrap();
    match steps.undo_all(&undos, DAY) {
        Err(UndoError::Store(error)) => assert_eq!(error.kind(), ErrorKind::StaleLease),
        other => panic!("{other:?}"),
    }
    assert_eq!(refused(first.save_progress("x")), ErrorKind::StaleLease);
    done_with(store);
}
