//! Bugs planted on purpose, to show that the tests can see them, as in the store (`crates/claimstore-core/src/planted.rs`).
//! Only builds with `--cfg planted` have any.

#[cfg(not(planted))]
mod chosen {
    #[inline]
    pub(crate) const fn active(_bug: u32) -> bool {
        false
    }
}

#[cfg(planted)]
mod chosen {
    use std::sync::OnceLock;

    #[cfg(not(debug_assertions))]
    compile_error!("a build with planted bugs must not be a release build");

    /// Whether `CLAIMSTORE_PLANTED` names this bug.
    pub(crate) fn active(bug: u32) -> bool {
        static CHOSEN: OnceLock<u32> = OnceLock::new();
        let read = || std::env::var("CLAIMSTORE_PLANTED").ok().and_then(|bug| bug.parse().ok()).unwrap_or(0);
        *CHOSEN.get_or_init(read) == bug
    }
}

pub(crate) use chosen::active;
