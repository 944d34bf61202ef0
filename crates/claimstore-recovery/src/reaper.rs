//! [`Reaper`]: the thread that recovers while the store runs.

use crate::event::{Counts, Events};
use crate::pass::Rules;
use claimstore_core::backend::OrphanWatch;
use claimstore_core::{Error, ErrorKind};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long it sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);
/// How long it waits after a pass that failed, or left orphans because of errors.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Recovers abandoned and lapsed claims until it is stopped. Dropping it stops it.
///
/// It holds the store open. It ends by itself when the store is closed, or poisoned.
#[must_use = "dropping it stops it"]
pub struct Reaper {
    stop: Arc<AtomicBool>,
    watch: Arc<dyn OrphanWatch>,
    events: Events,
    thread: Option<JoinHandle<()>>,
    /// The process of the thread: a child of `fork()` does not have it.
    process: u32,
}

impl Reaper {
    pub(crate) fn start(
        rules: Rules,
        watch: Box<dyn OrphanWatch>,
        stop: Arc<AtomicBool>,
    ) -> Result<Reaper, Error> {
        let (watch, events) = (Arc::<dyn OrphanWatch>::from(watch), rules.events.clone());
        let of_thread = watch.clone();
        let thread = Builder::new()
            .name("claimstore-reaper".to_owned())
            .spawn(move || reap(&rules, &*of_thread))
            .map_err(Error::caller)?;
        Ok(Reaper { stop, watch, events, thread: Some(thread), process: std::process::id() })
    }

    /// The counts so far, of this reaper and of all others that share its [`Events`].
    pub fn counts(&self) -> Counts {
        self.events.counts()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.is_here() && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it and waits for its end. Resolver calls that are running are finished first, within the time limit of
    /// their policy; other orphans stay as they are. Does nothing in a child of `fork()`.
    pub fn stop(mut self) {
        self.end();
    }

    fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    fn end(&mut self) {
        if !self.is_here() {
            // Neither joined nor dropped: the handle belongs to the parent.
            std::mem::forget(self.thread.take());
            return;
        }
        self.stop.store(true, Ordering::Release);
        self.watch.wake();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.end();
    }
}

fn reap(rules: &Rules, watch: &dyn OrphanWatch) {
    let stopped = || rules.stop.load(Ordering::Acquire);
    loop {
        // Before the pass: a claim that becomes an orphan during the pass ends the sleep below.
        watch.look();
        if stopped() {
            return;
        }
        let errors = rules.events.counts().errors;
        let pass = catch_unwind(AssertUnwindSafe(|| rules.pass(&mut || {})));
        let mut sleep = match pass {
            Ok(Ok(due)) => due.map_or(IDLE, |due| {
                due.duration_since(rules.claims.backend().now())
                    .unwrap_or_default()
                    .max(Duration::from_millis(1))
            }),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Poisoned) => return,
            // Any other error or a panic: try again with the next pass.
            Ok(Err(_)) | Err(_) => AFTER_ERROR,
        };
        if rules.events.counts().errors > errors {
            sleep = sleep.min(AFTER_ERROR);
        }
        if stopped() {
            return;
        }
        watch.sleep(sleep);
    }
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").field("running", &self.is_running()).finish_non_exhaustive()
    }
}
