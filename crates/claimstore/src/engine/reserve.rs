//! Space kept back, so that a prune can commit on a full disk.

use crate::bucket::CATALOG;
use crate::io::{OpenMode, Storage};
use crate::sync::Arc;

const RESERVE_FILE: &str = "reserve";
/// Half of an empty catalogue.
const LEAST_BYTES: u64 = 512 << 10;
const MOST_BYTES: u64 = 1 << 20;

/// How much is kept back for one catalogue commit. At the most it writes anew all that the catalogue has, into pages
/// that are free: so at most half of the file, unless it grows.
fn reserve_bytes(catalogue_bytes: u64) -> u64 {
    (catalogue_bytes / 2).clamp(LEAST_BYTES, MOST_BYTES)
}

/// Gives the reserved space back to the file system. False: there was none.
pub(crate) fn release(storage: &Arc<dyn Storage>) -> bool {
    storage.remove(RESERVE_FILE).is_ok()
}

/// Sets space aside again, or more of it where the catalogue has grown. Best effort: without it a prune on a full disk
/// may have to wait for space. What is set aside already stays.
pub(crate) fn restore(storage: &Arc<dyn Storage>) {
    let wanted = reserve_bytes(storage.size(CATALOG).unwrap_or_default());
    let has = storage.size(RESERVE_FILE).unwrap_or_default();
    if has >= wanted {
        return;
    }
    let file = storage
        .open(RESERVE_FILE, OpenMode::Existing)
        .or_else(|_| storage.open(RESERVE_FILE, OpenMode::CreateNew));
    let reserved = file.and_then(|file| {
        file.allocate(wanted)?;
        file.sync_data()
    });
    if reserved.is_err() && has == 0 {
        drop(storage.remove(RESERVE_FILE));
    }
}

#[cfg(test)]
mod tests {
    use super::{CATALOG, RESERVE_FILE, release, restore};
    use crate::io::{MemoryStorage, OpenMode, Storage};
    use crate::sync::Arc;

    #[test]
    fn it_grows_with_the_catalogue_up_to_its_bound() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let catalogue = storage.open(CATALOG, OpenMode::CreateNew).unwrap();
        for (catalogue_kib, reserve_kib) in [(0, 512), (1_024, 512), (1_600, 800), (900, 800), (9_000, 1_024)]
        {
            catalogue.set_len(catalogue_kib << 10).unwrap();
            restore(&storage);
            assert_eq!(storage.size(RESERVE_FILE).unwrap(), reserve_kib << 10, "{catalogue_kib} KiB");
        }
        assert!(release(&storage) && !release(&storage));
        restore(&storage);
        assert_eq!(storage.size(RESERVE_FILE).unwrap(), 1 << 20);
    }
}
