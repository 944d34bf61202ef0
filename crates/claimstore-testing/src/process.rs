//! The process that a handler runs in: it dies at a chosen point.
//!
//! A process that was killed does nothing more. Here the thread of the handler goes on after the moment of death, since
//! nothing can end it, but what it does has no effect any more: its disk takes no operation, and the first effect or
//! [`Run::store`](crate::Run::store) unwinds it. No panic passes through the store.

use crate::disk::{Disk, Traced};
use claimstore_core::planted;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Before what a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Before the operation of the disk with this number.
    Operation(u64),
    /// Before the call to the outside with this number.
    Call(u64),
    /// It does not die by itself.
    Never,
}

/// What unwinds the thread of a process that is dead.
pub(crate) struct Died;

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    disk: Disk,
    /// How many operations the disk had seen when it began.
    began: u64,
    /// The operation of the disk at which it is dead.
    last_operation: Option<u64>,
    life: Mutex<Life>,
}

#[derive(Debug)]
struct Life {
    death: Death,
    dead: bool,
    calls: Vec<Call>,
}

/// A call to the outside.
#[derive(Debug, Clone)]
struct Call {
    /// How many operations of the disk came before.
    after: u64,
    name: String,
}

impl Process {
    /// A process that begins now on a disk on which its store is open.
    pub(crate) fn new(disk: &Disk, death: Death) -> Process {
        let began = disk.operations(crate::Operation::Any);
        let last_operation = match death {
            Death::Operation(nth) => Some(disk.stop_before(nth)),
            Death::Call(_) | Death::Never => None,
        };
        disk.begin_trace();
        let life = Mutex::new(Life { death, dead: false, calls: Vec::new() });
        Process { disk: disk.clone(), began, last_operation, life }
    }

    /// Whether the moment of its death has passed.
    pub(crate) fn is_dead(&self) -> bool {
        self.life().dead || self.last_operation.is_some_and(|at| self.disk.has_passed(at))
    }

    /// Unwinds the thread if the process is dead.
    pub(crate) fn live_on(&self) {
        let mut is_dead = self.is_dead();
        if planted::active(97) {
            is_dead = false;
        }
        if is_dead {
            resume_unwind(Box::new(Died));
        }
    }

    /// A call to the outside follows. Does not return if the process dies before it.
    pub(crate) fn call(&self, name: impl FnOnce() -> String) {
        self.live_on();
        let mut life = self.life();
        if life.death == Death::Call(life.calls.len() as u64) {
            life.dead = true;
            self.disk.stop_before(0);
            drop(life);
            resume_unwind(Box::new(Died));
        }
        let after = self.disk.operations(crate::Operation::Any) - self.began;
        life.calls.push(Call { after, name: name() });
    }

    /// Everything it did, in order. Ends the taking down.
    pub(crate) fn deeds(&self) -> Vec<Deed> {
        let operations = self.disk.end_trace();
        let calls = std::mem::take(&mut self.life().calls);
        let mut calls = calls.into_iter().peekable();
        let mut deeds = Vec::new();
        for (number, operation) in operations.into_iter().enumerate() {
            while let Some(call) = calls.next_if(|call| call.after <= number as u64) {
                deeds.push(Deed::Call(call.name));
            }
            deeds.push(Deed::Operation(operation));
        }
        deeds.extend(calls.map(|call| Deed::Call(call.name)));
        deeds
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing that a process did and that somebody could see after its death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Operation(Traced),
    Call(String),
}

impl Deed {
    /// What happened, in words.
    pub(crate) fn name(&self) -> String {
        match self {
            Deed::Operation(Traced { verb, name }) if name.is_empty() => {
                format!("{verb} the store's directory")
            }
            Deed::Operation(Traced { verb, name }) => format!("{verb} {name}"),
            Deed::Call(name) => name.clone(),
        }
    }
}

/// The death before each deed, and [`Death::Never`] for the one behind the last: all points that differ in what is left.
pub(crate) fn deaths(deeds: &[Deed]) -> Vec<Death> {
    let (mut operations, mut calls) = (0, 0);
    let mut deaths = Vec::with_capacity(deeds.len() + 1);
    for deed in deeds {
        let (count, death): (&mut u64, fn(u64) -> Death) = match deed {
            Deed::Operation(_) => (&mut operations, Death::Operation),
            Deed::Call(_) => (&mut calls, Death::Call),
        };
        deaths.push(death(*count));
        *count += 1;
    }
    deaths.push(Death::Never);
    deaths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use claimstore::io::{OpenMode, Storage};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Two operations, a call, an operation, two calls.
    fn live(process: &Process, disk: &Disk) {
        let file = disk.open("a", OpenMode::CreateNew).and_then(|file| file.sync_data().map(|()| file));
        process.call(|| "first".to_owned());
        if let Ok(file) = file {
            drop(file.write_all_at(b"x", 0));
        }
        process.call(|| "second".to_owned());
        process.call(|| "third".to_owned());
    }

    fn names(deeds: &[Deed]) -> Vec<String> {
        deeds.iter().map(Deed::name).collect()
    }

    #[test]
    fn deeds_are_told_in_their_order() {
        let disk = Disk::new();
        let process = Process::new(&disk, Death::Never);
        live(&process, &disk);
        assert_eq!(names(&process.deeds()), ["create a", "sync a", "first", "write a", "second", "third"]);
        assert!(!process.is_dead());
    }

    #[test]
    fn each_death_leaves_the_deeds_before_it_and_no_more() {
        let disk = Disk::new();
        let process = Process::new(&disk, Death::Never);
        live(&process, &disk);
        let deeds = process.deeds();
        for (number, death) in deaths(&deeds).into_iter().enumerate() {
            let disk = Disk::new();
            let process = Process::new(&disk, death);
            let ended = catch_unwind(AssertUnwindSafe(|| live(&process, &disk)));
            assert_eq!(process.is_dead(), number < deeds.len(), "{death:?}");
            assert_eq!(ended.is_err(), number < deeds.len(), "{death:?}");
            let operations = deeds[..number].iter().filter(|deed| matches!(deed, Deed::Operation(_))).count();
            let calls = deeds[..number].iter().filter(|deed| matches!(deed, Deed::Call(_))).count();
            assert_eq!(disk.events(), operations, "{death:?}");
            assert_eq!(process.life().calls.len(), calls, "{death:?}");
        }
    }

    #[test]
    fn a_sync_that_was_never_made_leaves_its_pages_dirty() {
        let disk = Disk::new();
        let file = disk.open("a", OpenMode::CreateNew).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        let process = Process::new(&disk, Death::Operation(0));
        file.sync_data().unwrap_err();
        assert!(process.is_dead());
        assert_eq!(disk.unsynced(), 2);
        assert_eq!(disk.operations(Operation::Syncs), 1);
    }
}
