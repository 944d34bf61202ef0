//! Handlers that give futures, over the store and over any backend.

use claimstore::{Claim, ClaimRequest, Error};
use claimstore_testing::{CrashPoints, FindingKind, Run, crash_points_async};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn an_asynchronous_handler_is_judged_alike() {
    let right = async |run: Run| -> Result<(), Error> {
        match run.store().claim_async(&ClaimRequest::new("a").ttl(DAY)).await? {
            Claim::Claimed(lease) => {
                let id = lease.child_key("pay");
                run.effects().run_once("a", "pay", &id, Vec::new);
                lease.complete_async("").await?;
                Ok(())
            }
            Claim::Duplicate(_) => Ok(()),
            Claim::InProgress(_) => Err(Error::caller("later")),
        }
    };
    let verdict = crash_points_async(right).unwrap();
    assert!(verdict.points() > 5 && verdict.findings().is_empty() && verdict.missed() == 0, "{verdict}");
    verdict.assert_effects_at_most_once();
    verdict.assert_nothing_lost();
}

#[test]
fn over_any_backend_too() {
    let handler = |settles_first: bool| {
        move |run: Run| async move {
            let effect = async || run.effects().run_async("a", "pay", async {}).await;
            match run.claims().claim("a", DAY).await? {
                claimstore_core::Claim::Claimed(lease) if settles_first => {
                    lease.complete("").await?;
                    effect().await;
                    Ok::<(), Error>(())
                }
                claimstore_core::Claim::Claimed(lease) => {
                    effect().await;
                    lease.complete("").await?;
                    Ok(())
                }
                claimstore_core::Claim::Duplicate(_) => Ok(()),
                claimstore_core::Claim::InProgress(_) => Err(Error::caller("later")),
            }
        }
    };
    let naive = CrashPoints::new().run_async(handler(false)).unwrap();
    assert!(naive.findings().iter().all(|finding| finding.kind() == FindingKind::Twice), "{naive}");
    assert_eq!(naive.times("a", "pay"), Some((1, 2)), "{naive}");
    let hasty = CrashPoints::new().run_async(handler(true)).unwrap();
    assert!(hasty.findings().iter().all(|finding| finding.kind() == FindingKind::Lost), "{hasty}");
    assert_eq!(hasty.times("a", "pay"), Some((0, 1)), "{hasty}");
}
