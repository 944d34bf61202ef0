//! What takes turns with the upkeep of a store, on a thread of its own: a backup may take minutes, and others are
//! answered meanwhile. The thread begins with the first job and ends with the last.

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

/// Jobs that wait, and answers to those that are done. Each connection has one at most, so both are short.
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
    /// Whether the thread will look at what waits once more. It says so under the lock before it ends, so a job is
    /// either seen by it or begins another.
    is_working: bool,
    thread: Option<JoinHandle<()>>,
}

impl Jobs {
    pub(crate) fn new(bell: Arc<Bell>) -> Jobs {
        Jobs { state: Mutex::default(), bell }
    }

    /// Has `request` answered by and by.
    pub(crate) fn begin(
        self: &Arc<Jobs>,
        store: &WeakStore,
        id: GuestId,
        request: Request,
    ) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.is_working {
            // The one before has said that it is over.
            let (jobs, store) = (self.clone(), store.clone());
            let work = move || while jobs.work(&store) {};
            let thread = Builder::new().name("claimstore-admin-job".into()).spawn(work)?;
            state.thread = Some(thread);
            state.is_working = true;
        }
        state.waiting.push_back((id, request));
        Ok(())
    }

    /// Answers to jobs that are done.
    pub(crate) fn take_done(&self) -> Vec<(GuestId, Answer)> {
        std::mem::take(&mut lock(&self.state).done)
    }

    pub(crate) fn take_thread(&self) -> Option<JoinHandle<()>> {
        lock(&self.state).thread.take()
    }

    /// Does one job. False when there is none, or the service ends.
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
