//! One thread that keeps thousands of asynchronous claims in flight.

use crate::Result;
use crate::executor::block_on;
use crate::summary::rate;
use crate::time::Stopwatch;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;

/// A burst of calls in flight ends after this many claims; see [`crate::drive`].
const BURST_CLAIMS: usize = 400_000;

const BURST_TIME: Duration = Duration::from_secs(1);

/// Claims a second over `duration` of measured time, with `in_flight` of what `call` answers in flight on this thread.
///
/// What they are ready with is kept until the burst is over, and then given to `after`, which is not measured.
pub fn measure<F, T>(
    in_flight: u64,
    duration: Duration,
    call: impl Fn() -> F,
    mut after: impl FnMut(Vec<T>) -> Result<()>,
) -> Result<f64>
where
    F: Future<Output = Result<T>>,
{
    let (mut claims, mut elapsed) = (0, Duration::ZERO);
    while elapsed < duration {
        let limit = BURST_TIME.min(duration.saturating_sub(elapsed));
        let (more, time, kept) = block_on(burst(in_flight, limit, &call))?;
        claims += more;
        elapsed += time;
        after(kept)?;
    }
    Ok(rate(claims, elapsed.as_secs_f64()))
}

async fn burst<F, T>(
    in_flight: u64,
    limit: Duration,
    call: &impl Fn() -> F,
) -> Result<(u64, Duration, Vec<T>)>
where
    F: Future<Output = Result<T>>,
{
    let watch = Stopwatch::start();
    let mut calls: FuturesUnordered<_> = (0..in_flight).map(|_| call()).collect();
    let (mut kept, mut counted) = (Vec::new(), None);
    while let Some(answer) = calls.next().await {
        kept.push(answer?);
        let time = watch.elapsed();
        if time < limit && kept.len() < BURST_CLAIMS {
            calls.push(call());
        } else {
            // What is still in flight is awaited, but neither it nor its time counts.
            counted.get_or_insert((kept.len() as u64, time));
        }
    }
    let (claims, time) = counted.unwrap_or_default();
    Ok((claims, time, kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn everything_that_was_called_is_kept() {
        let (called, kept) = (Cell::new(0), Cell::new(0));
        let call = || {
            called.set(called.get() + 1);
            std::future::ready(Ok(()))
        };
        let rate = measure(64, Duration::from_millis(5), call, |burst: Vec<()>| {
            kept.set(kept.get() + burst.len());
            Ok(())
        });
        assert!(rate.unwrap() > 0.0);
        assert_eq!(called.get(), kept.get());
        assert!(kept.get() >= 64);
    }
}
