//! In the midst of upkeep, and of a look at the runs: the script goes on while a call is stopped between two operations
//! of the disk, and every answer is as the model says.
//!
//! `CLAIMSTORE_MIDST` says how many scripts, `CLAIMSTORE_SEED` from which seed on.

use crate::watch::{Watchdog, begun, scale, told};
use claimstore_sim::script::{Midst, Runner, guarded};

#[test]
fn whatever_happens_in_the_midst_of_a_call_is_answered_rightly() {
    begun();
    let scripts: u64 = scale("CLAIMSTORE_MIDST", 60);
    let first: u64 = scale("CLAIMSTORE_SEED", 1);
    let mut all = Midst::default();
    for seed in first..first + scripts {
        let _watchdog = Watchdog::new(format!("midst, CLAIMSTORE_SEED={seed}"), 60);
        let midst = guarded(|| Runner::in_the_midst(seed));
        let Midst { calls, stops, steps } =
            midst.unwrap_or_else(|what| panic!("CLAIMSTORE_SEED={seed}: {what}"));
        (all.calls, all.stops, all.steps) = (all.calls + calls, all.stops + stops, all.steps + steps);
    }
    let Midst { calls, stops, steps } = all;
    told(format_args!(
        "midst: {scripts} scripts, {calls} calls stopped {stops} times, {steps} steps meanwhile"
    ));
    assert!(steps as u64 > scripts, "hardly a call was stopped");
}
