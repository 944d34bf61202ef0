//! [`WeakStore`]: a handle that does not keep the store open; and what a close is to take along.

use crate::engine::spaces::Space;
use crate::namespace::Namespace;
use crate::store::{Handle, Store};
use crate::sync::{Arc, Weak};
use std::fmt;
use std::path::Path;

/// A handle that does not keep the store open: for threads that serve it and must not outlive it.
///
/// ```
/// let store = claimstore::Store::in_memory()?;
/// let weak = store.downgrade();
/// assert!(weak.upgrade().is_some());
/// drop(store);
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), claimstore::Error>(())
/// ```
#[derive(Clone)]
pub struct WeakStore {
    handle: Weak<Handle>,
    space: Arc<Space>,
}

impl WeakStore {
    /// The store, unless its last handle is gone. Calls of a store that was closed by [`close`](Store::close) return
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// The returned handle keeps the store open: if it is the last one, dropping it closes the store.
    pub fn upgrade(&self) -> Option<Store> {
        let handle = self.handle.upgrade()?;
        Some(Store { default: Namespace { handle: handle.clone(), space: self.space.clone() }, handle })
    }
}

impl fmt::Debug for WeakStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakStore").finish_non_exhaustive()
    }
}

/// For programs around a store.
impl Store {
    /// A handle that does not keep the store open.
    pub fn downgrade(&self) -> WeakStore {
        WeakStore { handle: Arc::downgrade(&self.handle), space: self.default.space.clone() }
    }

    /// Has `call` made once when the store closes, on the thread that closes it: after the last commit, before
    /// the directory is free for another opening. At once if that is over.
    ///
    /// For code that serves the store to others, such as a socket in its directory. By then the store returns
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed). A call that waits for another thread must take into account
    /// that it may run on that very thread.
    pub fn on_close(&self, call: impl FnOnce() + Send + 'static) {
        self.engine().on_close(Box::new(call));
    }

    /// Whether it was opened by [`Options::read_only`](crate::Options::read_only).
    pub fn is_read_only(&self) -> bool {
        self.engine().read_only
    }

    /// The directory of the store, absolute; `None` in memory and on a storage that is no directory.
    pub fn directory(&self) -> Option<&Path> {
        self.engine().storage.directory()
    }
}

#[cfg(test)]
mod tests {
    use crate::Store;
    use crate::sync::{Arc, AtomicUsize, Ordering};

    #[test]
    fn calls_for_the_close_are_made_once_and_before_the_directory_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.directory(), Some(std::path::absolute(dir.path()).unwrap().as_path()));
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, path, clone) = (calls.clone(), dir.path().to_owned(), store.clone());
        store.on_close(move || {
            assert_eq!(Store::open(&path).unwrap_err().kind(), crate::ErrorKind::AlreadyOpen);
            counted.fetch_add(1, Ordering::SeqCst);
        });
        store.close().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let counted = calls.clone();
        clone.on_close(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(calls.load(Ordering::SeqCst), 2, "after the close: at once");
        drop(clone);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        Store::open(dir.path()).unwrap().close().unwrap();
    }

    #[test]
    fn a_dropped_store_makes_them_too() {
        let store = Store::in_memory().unwrap();
        assert_eq!(store.directory(), None);
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        store.on_close(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let weak = store.downgrade();
        drop(store);
        assert!(weak.upgrade().is_none());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
