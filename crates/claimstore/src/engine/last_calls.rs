//! Calls to be made when the store closes.

use crate::sync::Mutex;
use std::fmt;

type Call = Box<dyn FnOnce() + Send>;

/// The calls to make when the store closes; `None` once the close has taken them.
pub(crate) struct LastCalls(Mutex<Option<Vec<Call>>>);

impl Default for LastCalls {
    fn default() -> LastCalls {
        LastCalls(Mutex::new(Some(Vec::new())))
    }
}

impl LastCalls {
    /// Keeps a call, or gives it back: the close has begun.
    pub(crate) fn add(&self, call: Call) -> Option<Call> {
        match &mut *self.0.lock() {
            Some(calls) => {
                calls.push(call);
                None
            }
            None => Some(call),
        }
    }

    /// Makes all of them, once.
    pub(crate) fn run(&self) {
        let calls = self.0.lock().take();
        for call in calls.into_iter().flatten() {
            call();
        }
    }
}

impl fmt::Debug for LastCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastCalls")
    }
}
