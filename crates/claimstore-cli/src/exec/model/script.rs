//! Scripts of calls: their actions, and the directory of the store, which can be occupied.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use claimstore::io::MemoryStorage;
use claimstore::{ManualClock, Options, Store};
use proptest::prelude::*;

use super::super::hold::Directory;
use super::super::machine::End;
use crate::signals::Signals;

pub(super) const SLOTS: usize = 3;
pub(super) const TERM: u8 = 15;

#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Somebody calls, where nobody does.
    Call {
        slot: usize,
        waits: bool,
        starts: bool,
    },
    /// One thing that this caller waits for happens.
    Work(usize),
    /// The caller dies; perhaps just after it had done something at the store.
    Kill {
        slot: usize,
        after_work: bool,
    },
    Tell {
        slot: usize,
        has_it: bool,
    },
    /// Its command ends.
    End {
        slot: usize,
        end: End,
        leaves: Leaves,
    },
    /// What the command left is closed.
    Close(usize),
    /// Somebody else opens the store, for so many sixteenths of a lease.
    Occupy(u32),
    Pass(u64),
}

/// What a command leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    Nothing,
    /// A process that has its output open.
    Process,
    /// Output that nobody reads.
    Unread,
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let slot = 0..SLOTS;
    let end = prop_oneof![Just(End::Code(0)), Just(End::Code(3)), Just(End::Signal(TERM))];
    let leaves = prop_oneof![Just(Leaves::Nothing), Just(Leaves::Process), Just(Leaves::Unread)];
    prop_oneof![
        4 => (slot.clone(), any::<bool>(), prop::bool::weighted(0.9))
            .prop_map(|(slot, waits, starts)| Action::Call { slot, waits, starts }),
        8 => slot.clone().prop_map(Action::Work),
        1 => (slot.clone(), any::<bool>()).prop_map(|(slot, after_work)| Action::Kill { slot, after_work }),
        2 => (slot.clone(), any::<bool>()).prop_map(|(slot, has_it)| Action::Tell { slot, has_it }),
        3 => (slot.clone(), end, leaves).prop_map(|(slot, end, leaves)| Action::End { slot, end, leaves }),
        1 => slot.prop_map(Action::Close),
        2 => (1..=4_u32).prop_map(Action::Occupy),
        6 => prop_oneof![1..300_u64, 1_000..9_000_u64].prop_map(Action::Pass),
    ]
}

/// The directory: in memory, and at times occupied.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) clock: ManualClock,
    pub(super) now: Cell<Duration>,
    pub(super) occupied_until: Cell<Duration>,
    /// Whether the last to ask for it is to wait.
    pub(super) queued: Cell<bool>,
}

impl Place {
    pub(super) fn is_free(&self) -> bool {
        self.now.get() >= self.occupied_until.get()
    }

    pub(super) fn open_now(&self) -> Store {
        let options = Options::new().background(false).clock(self.clock.clone());
        let options = options.max_response_bytes(4_096).max_progress_bytes(4_096);
        options.segment_bytes(64 << 10).open_on(self.storage.clone()).unwrap()
    }
}

impl Directory for Place {
    fn open(&self, wait: Duration, queue: &Signals) -> anyhow::Result<Store> {
        queue.check()?;
        if self.is_free() {
            return Ok(self.open_now());
        }
        // Whoever waits long enough is asked again when it is free, or when a signal came.
        let is_for_ever = self.occupied_until.get() == Duration::MAX;
        let left = self.occupied_until.get().saturating_sub(self.now.get());
        self.queued.set(left <= wait || is_for_ever && !wait.is_zero());
        anyhow::bail!("occupied")
    }
}
