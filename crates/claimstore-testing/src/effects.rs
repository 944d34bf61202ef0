//! What a handler did to the world outside of the store.

use crate::process::Process;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The world outside of the store: a ledger of what a handler did there. Clones are handles of one ledger.
///
/// A handler does each effect through it, so that it is counted, and so that the process can die right before and right
/// after it. The ledger outlives the process; nothing that a dead process asks for happens.
///
/// [`run`](Effects::run) is a remote side that does what it is told, as often as it is told.
/// [`run_once`](Effects::run_once) is one that knows idempotency keys. A world of your own (a fake server, a file) does
/// its work inside the closures of these, or keeps a clone of the ledger
/// ([`CrashPoints::world`](crate::CrashPoints::world)).
///
/// ```
/// use claimstore_testing::Effects;
///
/// let effects = Effects::default();
/// effects.run("order-1", "mail", || ());
/// effects.run("order-1", "mail", || ());
/// assert_eq!(effects.times("order-1", "mail"), 2);
///
/// let first = effects.run_once("order-1", "pay", b"idempotency key", || b"receipt 1".to_vec());
/// let again = effects.run_once("order-1", "pay", b"idempotency key", || b"receipt 2".to_vec());
/// assert_eq!((first.as_slice(), again.as_slice()), (&b"receipt 1"[..], &b"receipt 1"[..]));
/// assert_eq!(effects.times("order-1", "pay"), 1);
/// ```
#[derive(Clone, Default)]
pub struct Effects {
    shared: Arc<Mutex<Shared>>,
}

/// A key, and what is done for it.
pub(crate) type Effect = (Vec<u8>, String);

#[derive(Default)]
struct Shared {
    times: BTreeMap<Effect, u64>,
    /// What the remote side said, by idempotency key.
    remembered: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The process that the handler runs in now.
    process: Option<Arc<Process>>,
}

impl Effects {
    /// Does `work`, and counts it as one more time that `step` was done for `key`.
    ///
    /// The process may die before it or after it, not within.
    pub fn run<T>(&self, key: impl AsRef<[u8]>, step: &str, work: impl FnOnce() -> T) -> T {
        self.begin(key.as_ref(), step);
        let done = work();
        self.count(key.as_ref(), step);
        done
    }

    /// Like [`run`](Effects::run) for work that is a future. Counted when the future has given its result.
    ///
    /// ```
    /// # use claimstore_testing::{Effects, crash_points_async};
    /// # use claimstore::{Claim, Error};
    /// # use std::time::Duration;
    /// let verdict = crash_points_async(async |run| {
    ///     let effects = run.effects();
    ///     effects.run_async("order-1", "pay", async { /* an HTTP request */ }).await;
    ///     Ok::<(), Error>(())
    /// });
    /// // There is no claim around it.
    /// assert!(verdict.unwrap().twice().next().is_some());
    /// ```
    pub async fn run_async<T>(&self, key: impl AsRef<[u8]>, step: &str, work: impl Future<Output = T>) -> T {
        self.begin(key.as_ref(), step);
        let done = work.await;
        self.count(key.as_ref(), step);
        done
    }

    /// Does `work` on a remote side that knows idempotency keys: it does it the first time that it sees
    /// `idempotency_key`, and gives the same response again after that. Every call is a point where the process may die.
    pub fn run_once(
        &self,
        key: impl AsRef<[u8]>,
        step: &str,
        idempotency_key: &[u8],
        work: impl FnOnce() -> Vec<u8>,
    ) -> Vec<u8> {
        self.begin(key.as_ref(), step);
        if let Some(response) = self.shared().remembered.get(idempotency_key) {
            return response.clone();
        }
        let response = work();
        self.shared().remembered.insert(idempotency_key.to_vec(), response.clone());
        self.count(key.as_ref(), step);
        response
    }

    /// Says how often an effect is there, for effects that can be counted where they are: rows of a table, lines of a
    /// file. To be called from [`CrashPoints::observe`](crate::CrashPoints::observe). Replaces the count so far.
    ///
    /// ```
    /// let effects = claimstore_testing::Effects::default();
    /// effects.found("order-1", "row", 1);
    /// assert_eq!(effects.times("order-1", "row"), 1);
    /// ```
    pub fn found(&self, key: impl AsRef<[u8]>, step: &str, times: u64) {
        self.shared().times.insert((key.as_ref().to_vec(), step.to_owned()), times);
    }

    /// How often `step` was done for `key` so far.
    pub fn times(&self, key: impl AsRef<[u8]>, step: &str) -> u64 {
        let effect = (key.as_ref().to_vec(), step.to_owned());
        self.shared().times.get(&effect).copied().unwrap_or(0)
    }

    /// How often everything was done.
    pub(crate) fn counts(&self) -> BTreeMap<Effect, u64> {
        self.shared().times.clone()
    }

    /// The process that effects belong to from now on.
    pub(crate) fn of(&self, process: &Arc<Process>) {
        self.shared().process = Some(process.clone());
    }

    /// The process of now, if it runs in one.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.shared().process.clone()
    }

    fn begin(&self, key: &[u8], step: &str) {
        // Not under the lock: it may unwind.
        if let Some(process) = self.process() {
            process.call(|| format!("{step} for {}", key.escape_ascii()));
        }
    }

    fn count(&self, key: &[u8], step: &str) {
        *self.shared().times.entry((key.to_vec(), step.to_owned())).or_default() += 1;
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows how many effects there are, never of which keys.
impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").field("effects", &self.shared().times.len()).finish_non_exhaustive()
    }
}
