//! What a handler is given.

use crate::effects::Effects;
use crate::process::Process;
use claimstore::{Claims, ManualClock, Store};
use std::fmt;
use std::sync::Arc;

/// One delivery of the message to the handler, in a process that may die. Clones are the same delivery.
///
/// When the process has died, calls of the store fail, and [`store`](Run::store), [`effects`](Run::effects) and
/// [`crash_point`](Run::crash_point) do not return: they unwind the handler. So a handler ends soon, and nothing that it
/// does meanwhile has an effect. It must not catch panics, and threads that it starts must end before it returns.
pub struct Run<W = ()> {
    store: Store,
    effects: Effects,
    process: Arc<Process>,
    clock: ManualClock,
    world: Arc<W>,
    delivery: u32,
}

impl<W> Run<W> {
    pub(crate) fn new(
        store: &Store,
        effects: &Effects,
        process: &Arc<Process>,
        clock: &ManualClock,
        world: &Arc<W>,
    ) -> Run<W> {
        Run {
            store: store.clone(),
            effects: effects.clone(),
            process: process.clone(),
            clock: clock.clone(),
            world: world.clone(),
            delivery: 1,
        }
    }

    pub(crate) fn delivered(&self, delivery: u32) -> Run<W> {
        Run { delivery, ..self.clone() }
    }

    /// Whether the moment of its process's death has passed.
    pub(crate) fn is_dead(&self) -> bool {
        self.process.is_dead()
    }

    /// The store that the handler is to use.
    pub fn store(&self) -> &Store {
        self.process.live_on();
        &self.store
    }

    /// Its default namespace, for handlers that work with any backend.
    pub fn claims(&self) -> Claims {
        self.store().into()
    }

    /// The world outside of the store.
    pub fn effects(&self) -> &Effects {
        self.process.live_on();
        &self.effects
    }

    /// The clock of the store. It moves between deliveries, and when the handler moves it.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// What [`CrashPoints::world`](crate::CrashPoints::world) made; one for all processes of a crash.
    pub fn world(&self) -> &W {
        &self.world
    }

    /// Which delivery of the message this is within this process, from 1.
    pub fn delivery(&self) -> u32 {
        self.delivery
    }

    /// A point where the process may die that is neither an operation of the disk nor an effect: for work that leaves
    /// something outside of the store and is not run by [`Effects`].
    pub fn crash_point(&self, name: &str) {
        self.process.call(|| name.to_owned());
    }
}

impl<W> Clone for Run<W> {
    fn clone(&self) -> Run<W> {
        Run {
            store: self.store.clone(),
            effects: self.effects.clone(),
            process: self.process.clone(),
            clock: self.clock.clone(),
            world: self.world.clone(),
            delivery: self.delivery,
        }
    }
}

impl<W> fmt::Debug for Run<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}
