//! Calls that take long, on behalf of futures: a short queue that the upkeep thread serves.
//!
//! Every task completes: it runs, or, if the store closes first, it is dropped, and its promise returns `Closed`.

use super::Engine;
use crate::error::{Error, ErrorKind};
use crate::sync::{Arc, Mutex};
use crate::task::{TaskFuture, promise};
use std::collections::VecDeque;
use std::fmt;

/// Most calls that wait for the upkeep thread.
const MAX_TASKS: usize = 1_024;

type Task = Box<dyn FnOnce(&Engine) + Send>;

/// Calls that wait for the upkeep thread.
#[derive(Default)]
pub(crate) struct Tasks {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Task>,
    ended: bool,
}

impl Tasks {
    fn push(&self, task: Task) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        if queue.ended {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        if queue.waiting.len() >= MAX_TASKS {
            return Err(Error::new(ErrorKind::Overloaded, "too many calls wait for upkeep; retry"));
        }
        queue.waiting.push_back(task);
        Ok(())
    }

    pub(crate) fn next(&self) -> Option<Task> {
        self.queue.lock().waiting.pop_front()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.lock().waiting.is_empty()
    }

    /// No thread will serve the queue any more.
    pub(crate) fn end(&self) {
        let left = {
            let mut queue = self.queue.lock();
            queue.ended = true;
            std::mem::take(&mut queue.waiting)
        };
        // Dropped after the lock is released: their promises call wakers.
        drop(left);
    }
}

impl Engine {
    /// Has `run` called on the upkeep thread, which is started if there is none.
    pub(crate) fn run_elsewhere<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> TaskFuture<T> {
        if let Err(error) = self.check_process() {
            return TaskFuture::refused(error);
        }
        let (promise, future) = promise();
        let task: Task = Box::new(move |engine| promise.keep(run(engine)));
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
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("waiting", &self.queue.lock().waiting.len()).finish_non_exhaustive()
    }
}
