//! Space kept back, so that a prune can commit on a full disk.

use crate::io::{OpenMode, Storage};
use crate::sync::Arc;

/// Space kept back for the catalogue commit of a prune on a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
const RESERVE_FILE: &str = "reserve";

/// Gives the reserved space back to the file system. False: there was none.
pub(crate) fn release(storage: &Arc<dyn Storage>) -> bool {
    storage.remove(RESERVE_FILE).is_ok()
}

/// Sets space aside again. Best effort: without it a prune on a full disk may have to wait for space.
pub(crate) fn restore(storage: &Arc<dyn Storage>) {
    // That of an earlier life goes on.
    if storage.size(RESERVE_FILE).is_ok_and(|bytes| bytes >= RESERVE_BYTES) {
        return;
    }
    drop(storage.remove(RESERVE_FILE));
    let reserved = storage.open(RESERVE_FILE, OpenMode::CreateNew).and_then(|file| {
        file.allocate(RESERVE_BYTES)?;
        file.sync_data()
    });
    if reserved.is_err() {
        drop(storage.remove(RESERVE_FILE));
    }
}
