//! Three handlers of one message, each crashed at every point: `cargo run -p claimstore-testing --example handler`.
//!
//! The first is right. The second pays before it says so, with a remote side that knows no idempotency keys. The third
//! says so before it pays.
#![forbid(unsafe_code)]

use claimstore::{Claim, Error};
use claimstore_testing::{NoVerdict, Run, crash_points};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ORDER: &str = "order-1";

fn right(run: &Run) -> Result<(), Error> {
    match run.store().claim(ORDER, DAY)? {
        Claim::Claimed(lease) => {
            let id = lease.child_key("pay");
            let receipt = run.effects().run_once(ORDER, "pay", &id, || b"receipt 17".to_vec());
            lease.complete(receipt)?;
            Ok(())
        }
        Claim::Duplicate(_) => Ok(()),
        Claim::InProgress(_) => Err(Error::caller("deliver it again later")),
    }
}

fn naive(run: &Run) -> Result<(), Error> {
    match run.store().claim(ORDER, DAY)? {
        Claim::Claimed(lease) => {
            let receipt = run.effects().run(ORDER, "pay", || b"receipt 17".to_vec());
            lease.complete(receipt)?;
            Ok(())
        }
        Claim::Duplicate(_) => Ok(()),
        Claim::InProgress(_) => Err(Error::caller("deliver it again later")),
    }
}

fn hasty(run: &Run) -> Result<(), Error> {
    match run.store().claim(ORDER, DAY)? {
        Claim::Claimed(lease) => {
            lease.complete("paid")?;
            run.effects().run(ORDER, "pay", || ());
            Ok(())
        }
        Claim::Duplicate(_) => Ok(()),
        Claim::InProgress(_) => Err(Error::caller("deliver it again later")),
    }
}

fn main() -> Result<(), NoVerdict> {
    println!("pays with the child key, then completes\n\n{}", crash_points(right)?);
    println!("pays without a key, then completes\n\n{}", crash_points(naive)?);
    println!("completes, then pays\n\n{}", crash_points(hasty)?);
    Ok(())
}
