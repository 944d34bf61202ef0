//! Requests that exclude the store's upkeep run on a thread of their own: a backup may take minutes, and other
//! requests are answered meanwhile. The thread starts with the first job and ends after the last.

use crate::answer::{Answer, Refusal, RefusalKind, Served, answer};
use crate::ask::Request;
use crate::serve::{Service, lock};
use claimstore::WeakStore;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// The connection of a job.
pub(crate) type GuestId = u64;

/// Waiting jobs, and the answers of finished ones. Each connection has at most one, so both lists are short.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    state: Mutex<State>,
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
    /// Queues `request`, and starts the thread if there is none.
    pub(crate) fn begin(
        service: &Arc<Service>,
        store: &WeakStore,
        id: GuestId,
        request: Request,
    ) -> io::Result<()> {
        let mut state = lock(&service.jobs.state);
        if !state.is_working {
            // The previous thread, if any, takes no further job.
            let (worker, store) = (service.clone(), store.clone());
            let work = move || while Jobs::work(&worker, &store) {};
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
    fn work(service: &Service, store: &WeakStore) -> bool {
        let mut state = lock(&service.jobs.state);
        let next = if service.is_ending() { None } else { state.waiting.pop_front() };
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
        lock(&service.jobs.state).done.push((id, answer));
        service.ring();
        true
    }
}
