//! Calls a resolver with a time limit. Panics are caught; blocked calls are abandoned.

use crate::resolver::{AsyncResolver, Orphan, Resolution, ResolveFuture, Resolver};
use crate::time::Deadline;
use claimstore_core::planted;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Either form of resolver.
#[derive(Clone)]
pub(crate) enum Asked {
    Blocking(Arc<dyn Resolver>),
    Async(Arc<dyn AsyncResolver>),
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Resolution(Resolution),
    Panicked,
    TimedOut,
    /// Too many calls are blocked already: no call was made.
    NotAsked,
}

/// The number of abandoned calls that have not returned, over all threads of a recovery.
#[derive(Debug)]
pub(crate) struct LeftBehind {
    now: AtomicUsize,
    most: usize,
}

impl LeftBehind {
    pub(crate) fn new(most: usize) -> Arc<LeftBehind> {
        Arc::new(LeftBehind { now: AtomicUsize::new(0), most })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.now.load(Ordering::Acquire) >= self.most
    }
}

/// Makes the calls of one thread of a recovery, on a second thread that is replaced if a call does not return.
#[derive(Debug)]
pub(crate) struct Asker {
    left_behind: Arc<LeftBehind>,
    line: Option<Line>,
}

/// The channels to the calling thread.
#[derive(Debug)]
struct Line {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    /// Decides which came first: the answer of the thread, or the time-out of its asker.
    call: Arc<Mutex<Call>>,
}

struct Question {
    resolver: Asked,
    orphan: Orphan,
    limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Awaited,
    LeftBehind,
}

impl Asker {
    pub(crate) fn new(left_behind: &Arc<LeftBehind>) -> Asker {
        Asker { left_behind: left_behind.clone(), line: None }
    }

    /// The answer of `resolver` about `orphan`, if it comes within `limit`.
    pub(crate) fn ask(&mut self, resolver: &Asked, orphan: Orphan, limit: Duration) -> Answer {
        if self.left_behind.is_full() {
            return Answer::NotAsked;
        }
        if self.line.is_none() {
            self.line = Line::start(&self.left_behind);
        }
        let Some(line) = &self.line else { return Answer::NotAsked };
        if line.questions.send(Question { resolver: resolver.clone(), orphan, limit }).is_err() {
            self.line = None;
            return Answer::NotAsked;
        }
        // An async call ends by itself at the limit, unless its poll blocks; so give it a second more.
        let patience =
            if matches!(resolver, Asked::Async(_)) { limit + Duration::from_secs(1) } else { limit };
        match line.answers.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => self.leave_behind(),
            Err(RecvTimeoutError::Disconnected) => {
                self.line = None;
                Answer::Panicked
            }
        }
    }

    fn leave_behind(&mut self) -> Answer {
        let Some(line) = self.line.take() else { return Answer::TimedOut };
        let mut call = line.call.lock().unwrap_or_else(PoisonError::into_inner);
        // Second look, under the lock: the answer may have come at the last moment. Then the thread is not blocked,
        // and ends when the line is dropped.
        if let Ok(answer) = line.answers.try_recv() {
            return answer;
        }
        *call = Call::LeftBehind;
        self.left_behind.now.fetch_add(1, Ordering::AcqRel);
        Answer::TimedOut
    }
}

impl Line {
    fn start(left_behind: &Arc<LeftBehind>) -> Option<Line> {
        let (questions, incoming) = channel::<Question>();
        let (outgoing, answers) = channel();
        let call = Arc::new(Mutex::new(Call::Awaited));
        let (of_thread, left_behind) = (call.clone(), left_behind.clone());
        let serve = move || {
            for question in incoming {
                let answer = catch_unwind(AssertUnwindSafe(|| question.answer())).unwrap_or(Answer::Panicked);
                let call = of_thread.lock().unwrap_or_else(PoisonError::into_inner);
                if *call == Call::LeftBehind {
                    if planted::active(68) {
                        return;
                    }
                    left_behind.now.fetch_sub(1, Ordering::AcqRel);
                    return;
                }
                // Sent under the lock: an asker that abandons the call under this lock knows that no answer was sent.
                if outgoing.send(answer).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("claimstore-resolver".to_owned()).spawn(serve);
        thread.ok().map(|_| Line { questions, answers, call })
    }
}

impl Question {
    fn answer(self) -> Answer {
        match self.resolver {
            Asked::Blocking(resolver) => Answer::Resolution(resolver.resolve(&self.orphan)),
            Asked::Async(resolver) => block_on(resolver.resolve(self.orphan), self.limit)
                .map_or(Answer::TimedOut, Answer::Resolution),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` on this thread until it is ready; `None` when `limit` is over first.
fn block_on(mut future: ResolveFuture, limit: Duration) -> Option<Resolution> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let deadline = Deadline::after(limit);
    loop {
        if let Poll::Ready(resolution) = future.as_mut().poll(&mut cx) {
            return Some(resolution);
        }
        let left = deadline.left()?;
        thread::park_timeout(left);
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Asked::Blocking(_) => "Blocking",
            Asked::Async(_) => "Async",
        })
    }
}
