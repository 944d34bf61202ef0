//! Tables over every way to end, every rule, every state in which a signal may come.

use clap::ValueEnum as _;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(8);
const TOLD: Event = Event::Told { signal: 15, has_it: false };
const ENDS: [End; 4] = [End::Code(0), End::Code(1), End::Code(255), End::Signal(9)];
const DELIVERIES: [Delivery; 4] = [Delivery::Whole, Delivery::ReaderGone, Delivery::Left, Delivery::Failed];

fn machine(on_failure: OnFailure) -> Machine {
    Machine::new(Terms { lease: LEASE, wait: 10 * SECOND, on_failure })
}

/// Tells these events, all at once; what the last one leads to.
fn after(machine: &mut Machine, events: &[Event]) -> Vec<Step> {
    events.iter().map(|event| machine.on(Duration::ZERO, *event)).last().unwrap()
}

fn running() -> Machine {
    let mut machine = machine(OnFailure::Store);
    assert_eq!(after(&mut machine, &[Event::Granted]), [Step::Start]);
    assert_eq!(after(&mut machine, &[Event::Started]), []);
    machine
}

#[test]
fn every_end_under_every_rule_comes_to_one_verdict() {
    for on_failure in OnFailure::value_variants() {
        for end in ENDS {
            let expected = match (end, on_failure) {
                (End::Code(0), OnFailure::Retry | OnFailure::Store) => Verdict::Complete,
                (End::Code(_), OnFailure::Store) => Verdict::Fail,
                // The end by a signal counts as an attempt, whatever becomes of failures.
                (End::Code(_), OnFailure::Retry) | (End::Signal(_), _) => Verdict::Retry,
            };
            assert_eq!(verdict(end, *on_failure), expected, "{end:?} {on_failure:?}");
            let mut machine = machine(*on_failure);
            let output = Event::Output { is_open: false };
            let steps = after(&mut machine, &[Event::Granted, Event::Started, output, Event::Ended(end)]);
            assert_eq!(steps, [Step::Record(expected)], "{end:?} {on_failure:?}");
        }
    }
}

#[test]
fn every_delivery_has_its_exit() {
    for end in ENDS {
        for delivery in DELIVERIES {
            for told in [None, Some(15)] {
                // Output is left by a signal only.
                let of_run = match (delivery, told) {
                    (Delivery::Whole | Delivery::ReaderGone, _) | (Delivery::Left, None) => end.exit(),
                    (Delivery::Left, Some(signal)) => Exit::Signal(signal),
                    (Delivery::Failed, _) => Exit::Failed,
                };
                assert_eq!(
                    delivered(Exit::Failed, delivery, false, told),
                    Exit::Failed,
                    "not recorded: {delivery:?}"
                );
                let of_replay = if delivery == Delivery::ReaderGone { Exit::ReaderGone } else { of_run };
                assert_eq!(
                    delivered(end.exit(), delivery, false, told),
                    of_run,
                    "{end:?} {delivery:?} {told:?}"
                );
                assert_eq!(
                    delivered(end.exit(), delivery, true, told),
                    of_replay,
                    "{end:?} {delivery:?} {told:?}"
                );
            }
        }
    }
}

#[test]
fn a_signal_does_something_in_every_state() {
    let ended = Event::Ended(End::Code(0));
    let output = Event::Output { is_open: true };
    let settled = Event::Settled { is_done: true };
    for (name, before, expected) in [
        ("claiming", &[][..], &[Step::StopQueueing][..]),
        ("waiting", &[Event::Busy(SECOND)], &[Step::End(Exit::Signal(15))]),
        ("running", &[Event::Granted, Event::Started], &[Step::PassOn(15)]),
        ("draining", &[Event::Granted, Event::Started, ended], &[Step::Cut]),
        ("recording", &[Event::Granted, Event::Started, ended, output], &[Step::Say(Note::StillRecording)]),
        ("recording, again", &[Event::Granted, Event::Started, ended, output, TOLD], &[Step::StopQueueing]),
        ("passing", &[Event::Granted, Event::Started, ended, output, settled], &[Step::StopPassing]),
        ("replaying", &[Event::Known(0)], &[Step::StopPassing]),
        ("releasing", &[Event::Granted, Event::NotStarted], &[Step::StopQueueing]),
    ] {
        let mut machine = machine(OnFailure::Retry);
        if !before.is_empty() {
            after(&mut machine, before);
        }
        assert_eq!(after(&mut machine, &[TOLD]), expected, "{name}");
    }
    let mut starting = machine(OnFailure::Retry);
    assert_eq!(after(&mut starting, &[Event::Granted, TOLD]), []);
    assert_eq!(after(&mut starting, &[Event::Started]), [Step::PassOn(15)], "kept until it can be passed on");
    let mut running = running();
    assert_eq!(after(&mut running, &[Event::Told { signal: 2, has_it: true }]), [], "the command has it");
}

#[test]
fn every_answer_to_a_claim_that_a_signal_overtook_runs_nothing() {
    for (answer, expected) in [
        (Event::Granted, Step::Release),
        (Event::Busy(SECOND), Step::End(Exit::Signal(15))),
        (Event::Known(0), Step::End(Exit::Signal(15))),
        (Event::Refused, Step::Fail),
    ] {
        let mut machine = machine(OnFailure::Retry);
        assert_eq!(after(&mut machine, &[TOLD, answer]), [expected], "{answer:?}");
    }
    let mut machine = machine(OnFailure::Retry);
    let released = after(&mut machine, &[TOLD, Event::Granted, Event::Settled { is_done: true }]);
    assert_eq!(released, [Step::End(Exit::Signal(15))]);
}

/// Half of the lease is left when a renewal is asked for, and three eighths when it is tried again.
#[test]
fn renewals_are_asked_for_long_before_the_lease_is_over() {
    let mut machine = running();
    let mut renewed = Duration::ZERO;
    for answer in [Event::Renewed, Event::NotRenewed, Event::NotRenewed, Event::Renewed] {
        let due = machine.due().unwrap();
        assert!(due + LEASE / 8 * 2 <= renewed + LEASE, "{renewed:?} {due:?}");
        assert_eq!(machine.on(due.mul_f32(0.99), Event::Due), []);
        assert_eq!(machine.on(due, Event::Due), [Step::Renew]);
        assert_eq!((machine.due(), machine.on(due, Event::Due)), (None, Vec::new()), "one at a time");
        assert_eq!(machine.on(due, answer), []);
        if answer == Event::Renewed {
            renewed = due;
        }
    }
    let due = machine.due().unwrap();
    assert_eq!(machine.on(due, Event::Due), [Step::Renew]);
    assert_eq!(machine.on(due, Event::TakenOver), [Step::Say(Note::TakenOver)]);
    assert_eq!(machine.due(), None, "there is nothing left to renew");
}

#[test]
fn a_renewal_in_the_queue_gives_way_to_the_record() {
    let mut machine = running();
    let due = machine.due().unwrap();
    machine.on(due, Event::Due);
    machine.on(due, Event::Output { is_open: false });
    let steps = machine.on(due, Event::Ended(End::Code(0)));
    assert_eq!(steps, [Step::StopQueueing, Step::Record(Verdict::Complete)]);
    for late in [Event::Renewed, Event::NotRenewed, Event::TakenOver] {
        assert_eq!(machine.on(due, late), [], "{late:?}");
    }
}

#[test]
fn a_busy_command_is_looked_at_again_until_the_wait_is_over() {
    let mut machine = machine(OnFailure::Retry);
    let (mut now, mut looks) = (Duration::ZERO, 0);
    loop {
        match machine.on(now, Event::Busy(SECOND))[..] {
            [] => {}
            [Step::GiveUp(retry_after)] => {
                assert_eq!((now, retry_after), (10 * SECOND, SECOND));
                break;
            }
            ref steps => panic!("{steps:?}"),
        }
        let pause = machine.due().unwrap().saturating_sub(now);
        assert!(
            pause >= LOOK_AGAIN.0.min((10 * SECOND).saturating_sub(now)) && pause <= LOOK_AGAIN.1,
            "{pause:?}"
        );
        now += pause;
        assert_eq!(machine.on(now, Event::Due), [Step::Claim]);
        looks += 1;
    }
    assert!((5..=20).contains(&looks), "{looks}");
}

#[test]
fn the_wait_for_what_was_left_depends_on_whether_a_signal_came() {
    let ended = Event::Ended(End::Code(3));
    let output = Event::Output { is_open: true };
    let settled = Event::Settled { is_done: true };
    for (name, events, expected) in [
        ("no signal", &[ended, output, settled][..], Step::Say(Note::LeftOpen)),
        ("while it ran", &[TOLD, ended, output, settled], Step::StopReading),
        (
            "the command had it",
            &[Event::Told { signal: 2, has_it: true }, ended, output, settled],
            Step::StopReading,
        ),
        ("after the end", &[ended, TOLD, output, settled], Step::StopPassing),
        ("while recording", &[ended, output, TOLD, settled], Step::StopPassing),
    ] {
        let mut machine = running();
        assert_eq!(after(&mut machine, events), [expected], "{name}");
        assert_eq!(after(&mut machine, &[Event::Delivered(Delivery::Whole)]), [Step::End(Exit::Command(3))]);
    }
}
