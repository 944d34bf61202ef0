//! What a store may hold on to when nobody asks it anything any more.

use claimstore::{Claim, ClaimRequest, Store};
use std::thread;
use std::time::Duration;

/// What nobody is behind any more must be gone: these are empty at rest.
const EMPTY: [&str; 6] = [
    "waiters",
    "keys waited for",
    "wakers of batches being written",
    "tasks",
    "queued batches",
    "positions held",
];
/// Retired segments that are kept to be used again.
const SPARE_SEGMENTS: u64 = 2;
/// How long upkeep that is under way may take.
const PATIENCE_MS: u32 = 3_000;

pub(crate) fn size(store: &Store, wanted: &str) -> u64 {
    let sizes = store.sizes().unwrap();
    sizes.iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("no size of {wanted}")).1
}

/// To be called when all threads and futures of a test are done.
pub(crate) fn assert_at_rest(store: &Store) {
    // A waker that came too late for its batch goes with the next one.
    let request = ClaimRequest::new("nobody else's").ttl(Duration::from_secs(60));
    let Claim::Claimed(lease) = store.claim_with(&request).unwrap() else { panic!("a key of its own") };
    lease.release().unwrap();
    // The thread of the store may be in the middle of a checkpoint, and comes to its end.
    for _ in 0..PATIENCE_MS {
        if what_is_left(store).is_none() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("nobody is about, and {:?}: {:?}", what_is_left(store), store.sizes());
}

fn what_is_left(store: &Store) -> Option<&'static str> {
    let of = |wanted: &str| size(store, wanted);
    if of("records counted against quotas") != of("records there are") {
        return Some("others count against quotas than there are");
    }
    if of("spare segments") > SPARE_SEGMENTS {
        return Some("too many spare segments");
    }
    EMPTY.into_iter().find(|name| of(name) != 0)
}
