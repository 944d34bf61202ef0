//! The store's own threads: one for upkeep and long calls, one that leads commits for futures.

use super::commit::Leads;
use super::tasks::Task;
use super::{Engine, observe};
use crate::error::Error;
use crate::options::Durability;
use crate::planted;
use crate::sync::{Arc, Ordering};
use crate::task::{TaskFuture, promise};
use std::task::Waker;
use std::time::Duration;

/// How often upkeep looks around when nobody asks.
const TICK: Duration = Duration::from_millis(250);

impl Engine {
    /// Starts the upkeep thread, and under an interval durability the service thread that syncs.
    pub(crate) fn start_threads(self: &Arc<Self>) -> Result<(), Error> {
        let engine = Arc::downgrade(self);
        self.time.on_move(Arc::new(move || {
            if let Some(engine) = engine.upgrade() {
                engine.waiters.ring_all();
                engine.lapses.ring();
                engine.nudge_service();
                engine.upkeep.ask();
            }
        }));
        if matches!(self.durability, Durability::Interval(_)) && !self.read_only {
            self.serve_futures()?;
        }
        if self.background {
            self.serve_tasks()?;
        }
        Ok(())
    }

    /// Makes sure that there is an upkeep thread.
    pub(crate) fn serve_tasks(self: &Arc<Self>) -> Result<(), Error> {
        self.check_process()?;
        let engine = self.clone();
        self.threads.start_once(&self.threads.working, "claimstore-upkeep", move || engine.run_upkeep())
    }

    /// Makes sure that somebody leads commits for futures.
    pub(crate) fn serve_futures(self: &Arc<Self>) -> Result<(), Error> {
        if self.threads.serving.load(Ordering::Acquire) {
            return Ok(());
        }
        self.check_process()?;
        let engine = self.clone();
        // The interval runs from here on, however late the thread comes to run.
        let began_ms = self.time.boot_ms();
        let body = move || engine.run_service(began_ms);
        self.threads.start_once(&self.threads.serving, "claimstore-commit", body)
    }

    /// Wakes `waker` at about `due_boot_ms`; [`serve_futures`](Engine::serve_futures) must have been called.
    pub(crate) fn wake_at(&self, due_boot_ms: u64, waker: &Waker) {
        self.timers.wake_at(due_boot_ms, waker);
        self.nudge_service();
    }

    /// Has `run` called on the upkeep thread, which is started if there is none.
    pub(crate) fn run_elsewhere<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> TaskFuture<T> {
        if let Err(error) = self.check_process() {
            return TaskFuture::refused(error);
        }
        let (promise, future) = promise();
        let task: Task<Engine> = Box::new(move |engine| promise.keep(run(engine)));
        // Start the thread first: if that fails, the task is refused, and must not be in the queue.
        let started = if self.is_closed() { Ok(()) } else { self.serve_tasks() };
        match started.and_then(|()| self.upkeep.tasks.push(task)) {
            Ok(()) => {
                self.upkeep.ask();
                future
            }
            Err(error) => TaskFuture::refused(error),
        }
    }

    pub(crate) fn stop_threads(&self) {
        self.threads.stop();
        self.upkeep.ring();
        self.commit.service.signal_all();
        self.threads.join();
        self.timers.wake_all();
    }

    /// Leads commits that nobody waits for on a thread of his own, syncs at intervals, wakes timers.
    fn run_service(&self, began_ms: u64) {
        let mut synced_at_ms = began_ms;
        while !self.threads.is_stopping() {
            let woken = || self.commit.service_wanted.load(Ordering::Acquire) || self.threads.is_stopping();
            match self.next_wake() {
                Some(limit) => drop(self.commit.service.wait_for(limit, woken)),
                None => self.commit.service.wait_until(woken),
            }
            self.commit.service_wanted.store(false, Ordering::Release);
            if planted::active(78) {
                // As if it had not been taken back.
                self.commit.service_wanted.store(true, Ordering::Release);
            }
            // One batch at a time, so that neither a sync nor a timer waits for a queue that never empties.
            if !self.commit.is_queue_empty() && self.commit.try_lead(self) {
                self.nudge_service();
            }
            self.sync_when_due(&mut synced_at_ms);
            self.timers.wake_due(self.time.boot_ms());
        }
    }

    fn sync_when_due(&self, synced_at_ms: &mut u64) {
        let Durability::Interval(every) = self.durability else { return };
        let boot_ms = self.time.boot_ms();
        if boot_ms.saturating_sub(*synced_at_ms) >= every.as_millis() as u64 {
            *synced_at_ms = boot_ms;
            // An error has poisoned the store, and says so to every caller.
            drop(self.commit.sync(self));
        }
    }

    fn next_wake(&self) -> Option<Duration> {
        let interval = if let Durability::Interval(every) = self.durability { Some(every) } else { None };
        let timer = self.timers.next_due_ms().map(|due_boot_ms| {
            Duration::from_millis(due_boot_ms.saturating_sub(self.time.boot_ms()).clamp(1, 60_000))
        });
        [interval, timer].into_iter().flatten().min()
    }

    /// Runs tasks, and upkeep between them unless it was turned off.
    fn run_upkeep(self: &Arc<Self>) {
        // A failure is told once, not with each try.
        let mut told = None;
        while !self.threads.is_stopping() {
            #[cfg(feature = "metrics")]
            self.publish_when_due();
            self.look_at_outcomes();
            self.upkeep.begin_looking();
            let task = self.upkeep.tasks.next();
            let worked = task.is_some();
            if let Some(task) = task {
                task(self);
            }
            let slice = if self.background { self.upkeep() } else { Ok(false) };
            if slice.is_ok() {
                told = None;
            }
            let is_over = || self.threads.is_stopping();
            match slice {
                Ok(true) => {}
                Ok(false) if worked => {}
                Ok(false) if self.background => self.upkeep.sleep(Some(TICK), is_over),
                Ok(false) => self.upkeep.sleep(None, is_over),
                Err(error) => {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    if told != Some(error.kind()) {
                        told = Some(error.kind());
                        observe::upkeep_failed(error.kind());
                    }
                    self.upkeep.sleep_over_failure(TICK, is_over);
                }
            }
        }
    }
}
