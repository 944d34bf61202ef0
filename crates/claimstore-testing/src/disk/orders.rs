//! What a test tells a disk to do.

use super::{Disk, Fault, FaultKind, Level, Operation, Variant, Which};
use claimstore::io::Storage;
use std::sync::Arc;

/// Filling up, failing, crashing.
impl Disk {
    /// The disk as [`Options::open_on`](claimstore::Options::open_on) takes it.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// From now on only `bytes_left` more bytes fit. A write beyond them stores what fits, as a kernel does, and fails
    /// with `ENOSPC`.
    ///
    /// Lengths of files are counted, holes included. Overwriting takes no room; cutting and removing a file gives its
    /// room back. The limit stays through a crash, until [`free_up`](Disk::free_up).
    ///
    /// ```
    /// use claimstore::{Claim, ErrorKind};
    /// use claimstore_testing::{Disk, small_options};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), claimstore::Error> {
    /// const DAY: Duration = Duration::from_secs(86_400);
    /// let disk = Disk::new();
    /// let store = small_options().open_on(disk.storage())?;
    /// disk.fill_up(64 << 10);
    /// let mut done = Vec::new();
    /// let refused = loop {
    ///     let key = format!("order-{}", done.len());
    ///     match store.claim(&key, DAY) {
    ///         // The claim was granted, but there may be no room for its response.
    ///         Ok(Claim::Claimed(lease)) => match lease.complete(vec![7; 100_000]) {
    ///             Ok(()) => done.push(key),
    ///             Err(refused) => break refused.kind(),
    ///         },
    ///         Ok(_) => unreachable!("the keys are new"),
    ///         Err(refused) => break refused.kind(),
    ///     }
    /// };
    /// assert_eq!(refused, ErrorKind::Full);
    ///
    /// // Nothing that was acknowledged is lost, and with room again it goes on.
    /// disk.free_up();
    /// for key in &done {
    ///     assert!(matches!(store.claim(key, DAY)?, Claim::Duplicate(_)));
    /// }
    /// store.claim("another", DAY)?.claimed().unwrap().complete("posted")?;
    /// # Ok(()) }
    /// ```
    pub fn fill_up(&self, bytes_left: u64) {
        let mut state = self.state();
        state.limit = Some(state.used_bytes().saturating_add(bytes_left));
    }

    /// There is room again.
    pub fn free_up(&self) {
        self.state().limit = None;
    }

    /// Makes one operation fail with `EIO`: the one that `which` names by its number, counted from now (0 is the next), or
    /// the next one on a path. [`Operation::Any`] counts all but reads.
    ///
    /// A write that fails had no effect. A sync that fails leaves the file's pages *clean*, as Linux does: reads still
    /// show them, a later sync says Ok, and the disk holds some of their sectors. [`fail_at`](Disk::fail_at) knows other
    /// ways to fail.
    ///
    /// ```
    /// use claimstore::ErrorKind;
    /// use claimstore_testing::{Disk, Operation, small_options};
    ///
    /// # fn main() -> Result<(), claimstore::Error> {
    /// let disk = Disk::new();
    /// let store = small_options().open_on(disk.storage())?;
    /// disk.fail(Operation::Writes, "journal");
    /// let refused = store.claim_with(&claimstore::ClaimRequest::new("order-1")).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Indeterminate);
    /// # Ok(()) }
    /// ```
    pub fn fail(&self, operation: Operation, which: impl Into<Which>) {
        self.order(Fault::once(FaultKind::Io, operation), which.into());
    }

    /// Like [`fail`](Disk::fail), and every later operation of the kind (on that path) fails too, until
    /// [`clear_faults`](Disk::clear_faults) or a crash.
    ///
    /// ```
    /// use claimstore_testing::{Disk, Operation, small_options};
    ///
    /// # fn main() -> Result<(), claimstore::Error> {
    /// let disk = Disk::new();
    /// disk.fail_for_good(Operation::DirOps, 5);
    /// small_options().open_on(disk.storage()).unwrap_err();
    /// disk.clear_faults();
    /// small_options().open_on(disk.storage())?;
    /// # Ok(()) }
    /// ```
    pub fn fail_for_good(&self, operation: Operation, which: impl Into<Which>) {
        self.order(Fault::sticky(FaultKind::Io, operation), which.into());
    }

    /// The process dies now. The disk as the next process finds it: with everything that was written, synced or not.
    ///
    /// On this disk nothing works any more, so a store that is still open on it can only be dropped. No order to fail
    /// goes over to the new one.
    ///
    /// ```
    /// use claimstore::{Claim, RecordState};
    /// use claimstore_testing::{Disk, small_options};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), claimstore::Error> {
    /// let disk = Disk::new();
    /// let store = small_options().open_on(disk.storage())?;
    /// let _lease = store.claim("order-1", Duration::from_secs(86_400))?.claimed().unwrap();
    ///
    /// let disk = disk.crash();
    /// let store = small_options().open_on(disk.storage())?;
    /// assert_eq!(store.get("order-1")?.unwrap().state(), RecordState::Orphaned);
    /// # Ok(()) }
    /// ```
    #[must_use = "the store is to be opened on the disk that is returned"]
    pub fn crash(&self) -> Disk {
        self.stop(Variant::new(Level::L0, 0))
    }

    /// Power is lost now. The disk as the machine finds it when it starts again: with everything that was synced, and
    /// of the rest what `seed` chooses. Any of those writes may be missing or torn at sectors of 512 bytes, and a later
    /// one may be there without an earlier one; files may have a length without the bytes, and hold old bytes of others.
    ///
    /// As after a [`crash`](Disk::crash), nothing works on this disk any more. The clock of the machine may be started
    /// anew by [`ManualClock::reboot`](claimstore::ManualClock::reboot). Try some seeds: each is another power loss.
    ///
    /// ```
    /// use claimstore::Claim;
    /// use claimstore_testing::{Disk, small_options};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), claimstore::Error> {
    /// for seed in 0..20 {
    ///     let disk = Disk::new();
    ///     let store = small_options().open_on(disk.storage())?;
    ///     store.claim("order-1", Duration::from_secs(86_400))?.claimed().unwrap().complete("posted")?;
    ///
    ///     let disk = disk.lose_power(seed);
    ///     let store = small_options().open_on(disk.storage())?;
    ///     assert!(matches!(store.claim("order-1", Duration::from_secs(86_400))?, Claim::Duplicate(_)));
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use = "the store is to be opened on the disk that is returned"]
    pub fn lose_power(&self, seed: u64) -> Disk {
        self.stop(Variant::new(Level::L3, seed))
    }

    fn stop(&self, variant: Variant) -> Disk {
        let mut state = self.state();
        let after = self.after(state.machine.crash(variant), state.lying, state.limit);
        state.unplug();
        after
    }

    fn order(&self, fault: Fault, which: Which) {
        let mut state = self.state();
        match which {
            Which::Nth(nth) => {
                let at = state.faults.count(fault.target).saturating_add(nth);
                state.faults.order(at, fault);
            }
            Which::Path(path) => state.faults.order_on(path, fault),
        }
    }
}
