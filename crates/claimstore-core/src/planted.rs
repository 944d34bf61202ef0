//! Bugs planted on purpose, here and in the store, to show that the tests can see them. Only builds with `--cfg planted` have any,
//! and such a build refuses to be a release build. Which bug is chosen by the environment, so that the tests
//! themselves stay as they are.

#[cfg(not(planted))]
mod chosen {
    /// Whether this bug is planted: never.
    #[inline]
    pub const fn active(_bug: u32) -> bool {
        false
    }

    /// Does nothing.
    #[inline]
    pub fn remember_time(_read: impl FnOnce() -> u64) {}

    /// Nothing.
    #[inline]
    pub fn remembered_time(_bug: u32) -> Option<u64> {
        None
    }
}

#[cfg(planted)]
mod chosen {
    use std::cell::Cell;
    use std::sync::OnceLock;

    #[cfg(not(debug_assertions))]
    compile_error!("a build with planted bugs must not be a release build");

    thread_local! {
        static REMEMBERED_MS: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether `CLAIMSTORE_PLANTED` names this bug.
    pub fn active(bug: u32) -> bool {
        static CHOSEN: OnceLock<u32> = OnceLock::new();
        let read = || std::env::var("CLAIMSTORE_PLANTED").ok().and_then(|bug| bug.parse().ok()).unwrap_or(0);
        *CHOSEN.get_or_init(read) == bug
    }

    /// Notes what time it was when this thread's call began, for bugs that go on with an old reading.
    pub fn remember_time(read: impl FnOnce() -> u64) {
        REMEMBERED_MS.set(read());
    }

    /// The old reading, if the bug is the one that uses it.
    pub fn remembered_time(bug: u32) -> Option<u64> {
        active(bug).then(|| REMEMBERED_MS.get())
    }
}

pub use chosen::{active, remember_time, remembered_time};
