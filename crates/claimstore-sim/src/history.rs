//! What the threads of a test saw, stamped by one counter.

use crate::model::{Answer, Call};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One operation, from its call to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Which key, by the test's own numbering.
    pub key: u32,
    /// What was asked.
    pub call: Call,
    /// What came back.
    pub answer: Answer,
    /// The stamp before the call.
    pub invoked: u64,
    /// The stamp after the answer; `None` if there was none.
    pub returned: Option<u64>,
}

/// Everything that was seen, over all keys.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In no particular order.
    pub operations: Vec<Operation>,
    /// The stamps of crashes: whatever was under way took place before, or never.
    pub crashes: Vec<u64>,
}

/// Hands out stamps. Clones share the counter.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    stamps: Arc<AtomicU64>,
    crashes: Arc<Mutex<Vec<u64>>>,
}

impl Recorder {
    /// A recorder whose first stamp is 0.
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// The notebook of one thread.
    pub fn session(&self) -> Session {
        Session { recorder: self.clone(), operations: Vec::new() }
    }

    /// Notes that the store crashed, once nothing of the old life can answer any more and before anything
    /// of the new one is asked.
    pub fn crashed(&self) {
        let stamp = self.stamp();
        self.crashes.lock().unwrap_or_else(PoisonError::into_inner).push(stamp);
    }

    /// Puts the notebooks together.
    pub fn collect(&self, sessions: impl IntoIterator<Item = Session>) -> History {
        let operations = sessions.into_iter().flat_map(|session| session.operations).collect();
        let crashes = self.crashes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        History { operations, crashes }
    }

    /// Sequentially consistent: an answer seen before a call in real time has the lower stamp.
    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::SeqCst)
    }
}

/// The operations of one thread.
#[derive(Debug)]
pub struct Session {
    recorder: Recorder,
    operations: Vec<Operation>,
}

/// An operation whose answer is awaited.
#[derive(Debug)]
#[must_use = "an operation without an answer counts as under way until the next crash"]
pub struct Ticket(usize);

impl Session {
    /// Notes a call, just before it is made.
    pub fn invoke(&mut self, key: u32, call: Call) -> Ticket {
        let invoked = self.recorder.stamp();
        self.operations.push(Operation { key, call, answer: Answer::Unknown, invoked, returned: None });
        Ticket(self.operations.len() - 1)
    }

    /// Notes its answer, just after it came.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good for one answer")]
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let returned = self.recorder.stamp();
        if let Some(operation) = self.operations.get_mut(ticket.0) {
            operation.answer = answer;
            operation.returned = Some(returned);
        }
    }

    /// Makes a call and notes it; `run` gives the answer and whatever the caller needs of it.
    pub fn call<T>(&mut self, key: u32, call: Call, run: impl FnOnce() -> (Answer, T)) -> T {
        let ticket = self.invoke(key, call);
        let (answer, value) = run();
        self.answer(ticket, answer);
        value
    }
}
