//! The whole store against the model: steps from bytes, on a simulated disk that loses power, or one of whose
//! operations fails on a countdown.

#![no_main]

use claimstore_sim::script::{Runner, Step, World, decode_steps, survive};
use claimstore_sim::{Fault, FaultKind, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[how, low, high], steps)) = input.split_first_chunk() else { return };
    let mut steps = decode_steps(steps);
    let countdown = u16::from_le_bytes([low, high % 4]).into();
    let done = match fault(how, countdown) {
        None => run(&steps),
        Some(fault) => {
            // Power fails in there as it is.
            steps.retain(|step| !matches!(step, Step::Crash { .. }));
            survive(&World::new(0), &steps, countdown, fault).map(drop)
        }
    };
    if let Err(stop) = done {
        panic!("{how} {countdown} {steps:?}: {stop:?}");
    }
});

fn run(steps: &[Step]) -> Result<(), claimstore_sim::script::Stop> {
    let mut runner = Runner::new(0)?;
    runner.world.disk.stop_recording();
    runner.run(steps)
}

/// None in one of four: then the disk is well, and scripts may crash.
fn fault(how: u8, seed: u64) -> Option<Fault> {
    let target = [Target::Writes, Target::Syncs, Target::DirOps];
    let target = *target.get(usize::from(how % 4))?;
    let kind = [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite][usize::from(how / 4 % 3)];
    Some(Fault { kind, target, sticky: how >= 128, seed })
}
