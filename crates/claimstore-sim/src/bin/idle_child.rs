//! A store that nobody asks anything, in a process of its own: how much processor time it uses.
//!
//! `idle_child SITUATION` brings a store into the situation, waits for five times 200 ms at most, and prints the least
//! processor time that one of these took, in microseconds. Upkeep that was due goes by; who spins, spins in all of them.
//! Without an argument it prints the names of the situations.

use claimstore::{ClaimRequest, Durability, Lease, Options, Store};
use rustix::time::{ClockId, clock_gettime};
use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const WINDOW: Duration = Duration::from_millis(200);
const WINDOWS: usize = 5;
/// Less than this is rest.
const REST_US: u64 = 5_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// What is kept while the store idles.
type Kept = Box<dyn Any>;
type BringAbout = fn(&Store) -> Result<Kept, Box<dyn Error>>;

/// Every way to leave a store alone that has a thread waiting for something.
const SITUATIONS: [(&str, BringAbout); 8] = [
    ("nothing-was-asked", |_| Ok(Box::new(()))),
    ("after-claims", |store| {
        for key in 0..200 {
            claim(store, &format!("k{key}"))?.complete("r")?;
        }
        store.checkpoint()?;
        Ok(Box::new(()))
    }),
    ("after-futures", |store| {
        for key in 0..50 {
            let request = ClaimRequest::new(format!("k{key}"));
            let lease = block_on(store.claim_async(&request))?.claimed().ok_or("a fresh key")?;
            block_on(lease.complete_async("r"))?;
        }
        Ok(Box::new(()))
    }),
    ("a-future-waits", |store| {
        let holder = claim(store, "k")?;
        let mut waiting = Box::pin(store.claim_or_wait_async(&ClaimRequest::new("k"), HOUR));
        let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return Err("the key is held".into());
        }
        Ok(Box::new((holder, waiting)))
    }),
    ("a-thread-waits", |store| {
        let holder = claim(store, "k")?;
        let waiting = store.clone();
        let waiter = thread::Builder::new()
            .spawn(move || drop(waiting.claim_or_wait(&ClaimRequest::new("k").lease(HOUR), HOUR)))?;
        Ok(Box::new((holder, waiter)))
    }),
    ("orphans-are-watched", |store| {
        let watch = store.watch_orphans()?;
        let holder = claim(store, "k")?;
        thread::Builder::new().spawn(move || {
            loop {
                watch.look();
                watch.sleep(HOUR);
            }
        })?;
        Ok(Box::new(holder))
    }),
    ("a-task-was-done", |store| {
        block_on(store.checkpoint_async())?;
        Ok(Box::new(()))
    }),
    ("an-interval-of-20-ms", |store| {
        claim(store, "k")?.complete("r")?;
        Ok(Box::new(()))
    }),
];

fn main() -> Result<(), Box<dyn Error>> {
    let Some(wanted) = std::env::args().nth(1) else {
        SITUATIONS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    let (name, bring_about) =
        SITUATIONS.into_iter().find(|(name, _)| *name == wanted).ok_or("no such situation")?;
    let durability = if name.contains("interval") {
        Durability::Interval(Duration::from_millis(20))
    } else {
        Durability::Sync
    };
    let options = Options::new().durability(durability).segment_bytes(1 << 20).max_response_bytes(1 << 10);
    let store = options.max_progress_bytes(1 << 10).in_memory()?;
    let kept = bring_about(&store)?;
    let (_told, never) = channel::<()>();
    let mut least_us = u64::MAX;
    for _ in 0..WINDOWS {
        // Not a nap that a waker of before could cut short.
        least_us = least_us.min(used_us(|| assert!(never.recv_timeout(WINDOW).is_err())));
        if least_us < REST_US {
            break;
        }
    }
    println!("{least_us}");
    // Who waits in here is not waited for.
    std::mem::forget(kept);
    std::process::exit(0);
}

fn claim(store: &Store, key: &str) -> Result<Lease, Box<dyn Error>> {
    let claimed = store.claim_with(&ClaimRequest::new(key).lease(HOUR))?.claimed();
    claimed.ok_or_else(|| "a fresh key".into())
}

/// Processor time of this process, all threads together, while `wait` runs.
fn used_us(wait: impl FnOnce()) -> u64 {
    let now_us = || {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
    };
    let before_us = now_us();
    wait();
    now_us() - before_us
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
