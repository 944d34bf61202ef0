//! A storage on top of another one that is only read: all changes stay in memory.
//!
//! Invariant: no call here changes the storage below. Files are opened with [`OpenMode::ReadOnly`], and of the other
//! calls only `list`, `size`, `free_bytes` and [`File::drop_cache`] are passed on, which change no byte, no length
//! and no name. So an opening can replay a journal, cut a torn tail and let redb repair its file, as every opening
//! does, while the directory stays unchanged.

use super::storage::{File, LockGuard, OpenMode, Storage};
use crate::planted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit of changes: a page of the file below, or its changed copy.
const PAGE_BYTES: u64 = 4_096;

/// A read-only storage with changes in memory laid over it. They are gone with the last handle.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Arc<dyn Storage>,
    names: Mutex<Names>,
}

/// Where names differ from those below.
#[derive(Debug, Default)]
struct Names {
    /// Files that were opened or created here; `None` hides a file below.
    files: BTreeMap<String, Option<Arc<OverlayFile>>>,
    dirs: BTreeSet<String>,
}

impl Overlay {
    pub(crate) fn over(below: Arc<dyn Storage>) -> Overlay {
        Overlay { below, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a name. All handles of one file share its changes.
    fn find(&self, names: &mut Names, name: &str) -> io::Result<Arc<OverlayFile>> {
        match names.files.get(name) {
            Some(Some(file)) => Ok(file.clone()),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => {
                let file = Arc::new(OverlayFile::over(self.below.open(name, OpenMode::ReadOnly)?)?);
                names.files.insert(name.to_owned(), Some(file.clone()));
                Ok(file)
            }
        }
    }
}

impl Storage for Overlay {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut names = self.names();
        let found = self.find(&mut names, name);
        match (found, mode) {
            (Ok(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Err(error), OpenMode::CreateNew) if error.kind() == io::ErrorKind::NotFound => {
                let file = Arc::new(OverlayFile::default());
                names.files.insert(name.to_owned(), Some(file.clone()));
                Ok(file)
            }
            (found, _) => Ok(found?),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.names();
        let mut found: BTreeSet<String> = match self.below.list(dir) {
            Ok(below) => below.into_iter().collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && names.dirs.contains(dir) => {
                BTreeSet::new()
            }
            Err(error) => return Err(error),
        };
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inside =
            |name: &str| Some(name.strip_prefix(&prefix)?.to_owned()).filter(|name| !name.contains('/'));
        for (name, file) in &names.files {
            match (inside(name), file) {
                (Some(name), Some(_)) => drop(found.insert(name)),
                (Some(name), None) => drop(found.remove(&name)),
                (None, _) => {}
            }
        }
        found.extend(names.dirs.iter().filter_map(|name| inside(name)));
        Ok(found.into_iter().collect())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.names().dirs.insert(dir.to_owned());
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names();
        let file = self.find(&mut names, from)?;
        names.files.insert(from.to_owned(), None);
        names.files.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut names = self.names();
        self.find(&mut names, name)?;
        names.files.insert(name.to_owned(), None);
        Ok(())
    }

    /// Nothing has to be made durable, but a missing directory is an error here too.
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.list(dir).map(drop)
    }

    fn lock(&self, _name: &str) -> io::Result<LockGuard> {
        Ok(Box::new(()))
    }

    fn directory(&self) -> Option<&Path> {
        self.below.directory()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.below.free_bytes()
    }
}

/// A file below, as long as it is needed, and the changed pages.
#[derive(Default)]
struct OverlayFile {
    below: Option<Arc<dyn File>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    len: u64,
    /// Bytes of the file below from here on are hidden: it was cut there once.
    below_len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl OverlayFile {
    fn over(below: Arc<dyn File>) -> io::Result<OverlayFile> {
        let len = below.len()?;
        let state = Mutex::new(State { len, below_len: len, pages: BTreeMap::new() });
        Ok(OverlayFile { below: Some(below), state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `out` with the bytes of the file below at `offset`, and with zeros after its end.
    fn read_below(&self, below_len: u64, out: &mut [u8], offset: u64) -> io::Result<()> {
        let there = below_len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (shown, rest) = out.split_at_mut(there);
        rest.fill(0);
        match &self.below {
            Some(below) if !shown.is_empty() => below.read_exact_at(shown, offset),
            _ => Ok(()),
        }
    }

    /// The present contents of a page.
    fn page<'s>(&self, state: &'s mut State, number: u64) -> io::Result<&'s mut [u8]> {
        if !state.pages.contains_key(&number) {
            let mut page = vec![0; PAGE_BYTES as usize];
            self.read_below(state.below_len, &mut page, number * PAGE_BYTES)?;
            state.pages.insert(number, page.into());
        }
        state.pages.get_mut(&number).map(|page| &mut **page).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Splits `offset..offset + len` at page boundaries. Each piece: the page's number, the offset in the page, the
/// offset in the whole range, and the length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES) as usize;
        let piece = (PAGE_BYTES as usize - within).min(len - done);
        let from = done;
        done += piece;
        (piece > 0).then_some((at / PAGE_BYTES, within, from, piece))
    })
}

fn end_of(offset: u64, len: usize) -> io::Result<u64> {
    offset.checked_add(len as u64).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

impl File for OverlayFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state();
        if end_of(offset, buf.len())? > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // In one call: most files are not written to at all.
        self.read_below(state.below_len, buf, offset)?;
        for (number, within, from, piece) in pieces(offset, buf.len()) {
            if let (Some(page), Some(out)) = (state.pages.get(&number), buf.get_mut(from..from + piece)) {
                out.copy_from_slice(page.get(within..within + piece).unwrap_or_default());
            }
        }
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let end = end_of(offset, data.len())?;
        if planted::active(51) {
            // Past the overlay.
            if let Some(below) = &self.below {
                return below.write_all_at(data, offset);
            }
        }
        let mut state = self.state();
        for (number, within, from, piece) in pieces(offset, data.len()) {
            let page = self.page(&mut state, number)?;
            if let (Some(to), Some(from)) =
                (page.get_mut(within..within + piece), data.get(from..from + piece))
            {
                to.copy_from_slice(from);
            }
        }
        state.len = state.len.max(end);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        if len < state.len {
            state.below_len = state.below_len.min(len);
            // Bytes that are cut off and grown again are zero, also within a page.
            state.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(page) = state.pages.get_mut(&(len / PAGE_BYTES)) {
                page.get_mut((len % PAGE_BYTES) as usize..).unwrap_or_default().fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.len = state.len.max(len);
        Ok(())
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    /// Passed on: after a failed sync, reads must return the contents of the disk.
    fn drop_cache(&self) -> io::Result<()> {
        self.below.as_ref().map_or(Ok(()), |below| below.drop_cache())
    }
}

impl fmt::Debug for OverlayFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayFile").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Overlay;
    use crate::io::{File, MemoryStorage, OpenMode, Storage};
    use proptest::prelude::*;
    use std::io;
    use std::sync::Arc;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
        Allocate(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = 0u64..20_000;
        prop_oneof![
            (at.clone(), prop::collection::vec(any::<u8>(), 0..9_000))
                .prop_map(|(at, data)| Step::Write(at, data)),
            at.clone().prop_map(Step::SetLen),
            at.prop_map(Step::Allocate),
        ]
    }

    fn whole(file: &Arc<dyn File>) -> Vec<u8> {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn below(bytes: &[u8]) -> Arc<dyn Storage> {
        let storage = MemoryStorage::new();
        storage.create_dir("dir").unwrap();
        for name in ["one", "dir/two"] {
            storage.open(name, OpenMode::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
        }
        Arc::new(storage)
    }

    proptest! {
        #[test]
        fn it_shows_what_a_file_would_and_leaves_the_one_below(
            bytes in prop::collection::vec(any::<u8>(), 0..15_000),
            steps in prop::collection::vec(step(), 1..12),
            cuts in prop::collection::vec((0u64..20_000, 0usize..9_000), 4),
        ) {
            let base = below(&bytes);
            let model: Arc<dyn File> = MemoryStorage::new().open("one", OpenMode::CreateNew).unwrap();
            model.write_all_at(&bytes, 0).unwrap();
            let overlay = Overlay::over(base.clone());
            let file = overlay.open("one", OpenMode::Existing).unwrap();
            for step in steps {
                for file in [&file, &model] {
                    match &step {
                        Step::Write(at, data) => file.write_all_at(data, *at).unwrap(),
                        Step::SetLen(len) => file.set_len(*len).unwrap(),
                        Step::Allocate(len) => file.allocate(*len).unwrap(),
                    }
                }
                prop_assert_eq!(file.len().unwrap(), model.len().unwrap());
            }
            prop_assert!(whole(&file) == whole(&model));
            prop_assert!(whole(&overlay.open("one", OpenMode::Direct).unwrap()) == whole(&model), "handles share it");
            for (at, len) in cuts {
                let (mut one, mut other) = (vec![1; len], vec![2; len]);
                let (read, expected) = (file.read_exact_at(&mut one, at), model.read_exact_at(&mut other, at));
                prop_assert_eq!(read.is_ok(), expected.is_ok());
                prop_assert!(read.is_err() || one == other);
            }
            prop_assert!(whole(&base.open("one", OpenMode::Existing).unwrap()) == bytes);
        }
    }

    #[test]
    fn names_change_above_only() {
        let base = below(b"bytes");
        let overlay = Overlay::over(base.clone());
        let missing = |done: io::Result<()>| assert_eq!(done.unwrap_err().kind(), io::ErrorKind::NotFound);
        let sorted = |dir: &str| {
            let mut names = overlay.list(dir).unwrap();
            names.sort();
            names
        };
        assert_eq!(sorted(""), ["dir", "one"]);
        let again = overlay.open("one", OpenMode::CreateNew).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        overlay.open("dir/new", OpenMode::CreateNew).unwrap();
        overlay.rename("one", "dir/one").unwrap();
        overlay.remove("dir/two").unwrap();
        missing(overlay.remove("dir/two"));
        missing(overlay.open("one", OpenMode::Existing).map(drop));
        assert_eq!(sorted("dir"), ["new", "one"]);
        assert_eq!(sorted(""), ["dir"]);
        assert_eq!(whole(&overlay.open("dir/one", OpenMode::Existing).unwrap()), b"bytes");
        assert!(whole(&overlay.open("one", OpenMode::CreateNew).unwrap()).is_empty());
        missing(overlay.sync_dir("other"));
        missing(overlay.list("other").map(drop));
        overlay.create_dir("other").unwrap();
        overlay.sync_dir("other").unwrap();
        assert_eq!(overlay.size("one").unwrap(), 0);
        let mut names = base.list("").unwrap();
        names.sort();
        assert_eq!(
            (names, base.list("dir").unwrap()),
            (vec!["dir".into(), "one".into()], vec!["two".into()])
        );
    }
}
