//! Bugs planted on purpose, as in `claimstore` itself: only builds with `--cfg planted` have any, and such a build
//! refuses to be a release build.

#[cfg(not(planted))]
#[inline]
pub(crate) const fn active(_bug: u32) -> bool {
    false
}

#[cfg(all(planted, not(debug_assertions)))]
compile_error!("a build with planted bugs must not be a release build");

/// Whether `CLAIMSTORE_PLANTED` names this bug.
#[cfg(planted)]
pub(crate) fn active(bug: u32) -> bool {
    static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var("CLAIMSTORE_PLANTED").ok().and_then(|bug| bug.parse().ok()).unwrap_or(0);
    *CHOSEN.get_or_init(read) == bug
}
