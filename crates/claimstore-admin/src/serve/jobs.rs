//! Requests that exclude the store's upkeep run on a thread of their own: a backup may take minutes, and other
//! requests are answered meanwhile. The thread starts with the first job and ends after the last.

use crate::answer::{Served, answer};
use crate::serve::bell::Bell;
use crate::serve::guest::GuestId;
use crate::serve::lock::lock;
use crate::wire::{Answer, Refusal, RefusalKind, Request};
use claimstore::WeakStore;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// Waiting jobs, and the answers of finished ones. Each connection has at most one, so both lists are short.
#[derive(Debug)]
pub(crate) struct Jobs {
    state: Mutex<State>,
    /// Rung when a job is done.
    bell: Arc<Bell>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(GuestId, Request)>,
    done: Vec<(GuestId, Answer)>,
    /// Whether the thread will look at the waiting jobs again. It clears this under the lock before it ends. So a new
    /// job is either found by this thread, or starts another one.
    is_working: bool,
    thread: Option<JoinHandle<()>>,
}

impl Jobs {
    pub(crate) fn new(bell: Arc<Bell>) -> Jobs {
        Jobs { state: Mutex::default(), bell }
    }

    /// Queues `request`, and starts the thread if there is none.
    pub(crate) fn begin(
        self: &Arc<Jobs>,
        store: &WeakStore,
        id: GuestId,
        request: Request,
    ) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.is_working {
            // The previous thread, if any, takes no further job.
            let (jobs, store) = (self.clone(), store.clone());
            let work = move || while jobs.work(&store) {};
            let thread = Builder::new().name("claimstore-admin-job".into()).spawn(work)?;
            state.thread = Some(thread);
            state.is_working = true;
        }
        state.waiting.push_back((id, request));
        Ok(())
    }

    /// Removes and returns the answers of finished jobs.
    pub(crate) fn take_done(&self) -> Vec<(GuestId, Answer)> {
        std::mem::take(&mut lock(&self.state).done)
    }

    pub(crate) fn take_thread(&self) -> Option<JoinHandle<()>> {
        lock(&self.state).thread.take()
    }

    /// Runs one job. `false` if there is none, or the service ends.
    fn work(&self, store: &WeakStore) -> bool {
        let mut state = lock(&self.state);
        let next = if self.bell.is_ending() { None } else { state.waiting.pop_front() };
        let Some((id, request)) = next else {
            state.is_working = false;
            return false;
        };
        drop(state);
        let answered = store
            .upgrade()
            .ok_or_else(|| Refusal::new(RefusalKind::Closed, "the store was closed"))
            .and_then(|store| answer(&store, &request, Served::Live));
        let answer = answered.unwrap_or_else(Answer::Refused);
        lock(&self.state).done.push((id, answer));
        self.bell.ring();
        true
    }
}
