//! A machine's view of its disk: what programs read, what is surely durable, and what lies between.
//!
//! The running disk and every replay of its log are the same [`Machine`] fed with the same [`Event`]s.

use super::contents::{Contents, PAGE, Page, SECTOR, SECTORS_PER_PAGE, fold};
use super::event::{Event, parent};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything a power loss could be asked about. A clone shares all bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// What programs see.
    pub(super) live: Names,
    /// What a power loss cannot take away.
    pub(super) durable: Names,
    pub(super) files: BTreeMap<u64, Inode>,
    /// Changes not yet synced, in the order they were made.
    pub(super) pending: Vec<Pending>,
    /// Bytes of files that are gone: what a new file may find in its sectors.
    pub(super) stale: Vec<Arc<Contents>>,
    next_file: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) files: Arc<BTreeMap<String, u64>>,
    pub(super) dirs: Arc<BTreeSet<String>>,
}

/// One file, under whatever name.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What reads show.
    pub(super) cache: Arc<Contents>,
    /// What a power loss leaves at least.
    pub(super) disk: Arc<Contents>,
    pub(super) settled: Arc<Settled>,
    /// Whether a failed sync left clean pages the disk may not hold.
    tainted: bool,
    /// Whether no call drops them from the cache.
    stuck: bool,
}

/// The sectors that were synced since they were allocated: these hold old or new bytes, never others.
#[derive(Debug, Clone, Default)]
pub(super) struct Settled {
    masks: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) enum Pending {
    Write(Arc<Write>),
    Size { file: u64, len: u64, allocated: bool },
    Entry(Arc<Entry>),
}

/// One write, as the sectors it left in the page cache: those, not its bytes, are what can reach the disk.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) file: u64,
    pub(super) end: u64,
    pub(super) first_page: usize,
    pub(super) patches: Vec<(Arc<Page>, u8)>,
}

/// A change of a directory. `file` says which file the name stood for, so that a change that survives
/// alone touches no other file of the same name.
#[derive(Debug)]
pub(super) enum Entry {
    Create { name: String, file: u64 },
    Rename { from: String, to: String, file: u64 },
    Remove { name: String, file: u64 },
    CreateDir { dir: String },
}

impl Machine {
    /// The number of the file called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<u64> {
        self.live.files.get(name).copied()
    }

    /// Whether `dir` is there; the root always is.
    pub(crate) fn has_dir(&self, dir: &str) -> bool {
        dir.is_empty() || self.live.dirs.contains(dir)
    }

    /// The names directly inside `dir`.
    pub(crate) fn list(&self, dir: &str) -> Vec<String> {
        let names = self.live.files.keys().chain(self.live.dirs.iter());
        let inside = names.filter(|name| parent(name) == dir);
        inside.filter_map(|name| name.rsplit('/').next()).map(str::to_owned).collect()
    }

    /// How many names a file has.
    pub(crate) fn links(&self, file: u64) -> u64 {
        self.live.files.values().filter(|named| **named == file).count() as u64
    }

    /// A name of a file, if it has one.
    pub(crate) fn name_of(&self, file: u64) -> Option<&str> {
        self.live.files.iter().find(|(_, named)| **named == file).map(|(name, _)| &**name)
    }

    /// The bytes of all files that have a name or are `in_use`: their lengths, holes included.
    pub(crate) fn used_bytes(&self, in_use: impl Fn(u64) -> bool) -> u64 {
        let named: BTreeSet<u64> = self.live.files.values().copied().collect();
        let there = self.files.iter().filter(|(file, _)| named.contains(file) || in_use(**file));
        there.map(|(_, inode)| inode.cache.len()).sum()
    }

    /// What reads of a file show.
    pub(crate) fn contents(&self, file: u64) -> Option<&Contents> {
        self.files.get(&file).map(|inode| &*inode.cache)
    }

    /// The number of changes a power loss could still take away.
    pub(crate) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Lets one event happen. Events about missing files change nothing: the disk refused them before.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Create { name } => self.create(name),
            Event::Write { file, offset, data } => self.write(*file, *offset, data),
            Event::SetLen { file, len } => self.resize(*file, *len, false),
            Event::Allocate { file, len } => {
                let now = self.contents(*file).map_or(0, Contents::len);
                self.resize(*file, now.max(*len), true);
            }
            Event::SyncFile { file } => self.sync_file(*file),
            Event::SyncFailed { file, seed, stuck } => self.fail_sync(*file, *seed, *stuck),
            Event::Rename { from, to } => {
                if let Some(file) = self.find(from) {
                    self.change_entry(Entry::Rename { from: from.clone(), to: to.clone(), file });
                }
            }
            Event::Remove { name } => {
                if let Some(file) = self.find(name) {
                    self.change_entry(Entry::Remove { name: name.clone(), file });
                }
            }
            Event::CreateDir { dir } => self.change_entry(Entry::CreateDir { dir: dir.clone() }),
            Event::SyncDir { dir } => self.sync_dir(dir),
            Event::DropCache { file } => self.drop_cache(*file),
        }
    }

    /// Forgets files that nobody can reach any more and `in_use` does not hold open.
    pub(crate) fn forget_unreachable(&mut self, in_use: impl Fn(u64) -> bool) {
        let named: BTreeSet<u64> =
            self.live.files.values().chain(self.durable.files.values()).copied().collect();
        let waiting = |file| self.pending.iter().any(|pending| pending.names(file));
        let gone: Vec<u64> = self.files.keys().copied().filter(|file| !named.contains(file)).collect();
        let gone: Vec<u64> = gone.into_iter().filter(|file| !in_use(*file) && !waiting(*file)).collect();
        for file in gone {
            self.pending.retain(|pending| pending.file() != Some(file));
            self.stale.extend(self.files.remove(&file).map(|inode| inode.disk));
        }
        self.stale.drain(..self.stale.len().saturating_sub(STALE_FILES));
    }

    /// Changes a file's bytes wherever they are kept.
    pub(crate) fn damage(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let Some(inode) = self.find(name).and_then(|file| self.files.get_mut(&file)) else { return };
        let mut bytes = vec![0; inode.cache.len() as usize];
        inode.cache.read(&mut bytes, 0);
        change(&mut bytes);
        let mut contents = Contents::default();
        contents.write(&bytes, 0);
        contents.set_len(bytes.len() as u64);
        *inode = Inode::fresh(Arc::new(contents), inode.settled.clone());
    }

    /// 64 bits that differ, but for chance, where names or bytes that programs can read differ.
    pub(crate) fn digest(&self) -> u64 {
        let dirs = self.live.dirs.iter().fold(3, |digest, dir| fold_name(digest, dir));
        self.live.files.iter().fold(dirs, |digest, (name, file)| {
            fold(fold_name(digest, name), self.contents(*file).map_or(0, Contents::digest))
        })
    }

    fn create(&mut self, name: &str) {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, Inode::default());
        self.change_entry(Entry::Create { name: name.to_owned(), file });
    }

    fn write(&mut self, file: u64, offset: u64, data: &[u8]) {
        let Some(inode) = self.files.get_mut(&file) else { return };
        if data.is_empty() {
            return;
        }
        let cache = Arc::make_mut(&mut inode.cache);
        cache.write(data, offset);
        let end = offset + data.len() as u64;
        let first_sector = offset as usize / SECTOR;
        let last_sector = (end as usize - 1) / SECTOR;
        let first_page = first_sector / SECTORS_PER_PAGE;
        let pages = first_page..=last_sector / SECTORS_PER_PAGE;
        let patches = pages.filter_map(|index| {
            Some((cache.page(index)?.clone(), mask_of(index, first_sector, last_sector)))
        });
        let write = Write { file, end, first_page, patches: patches.collect() };
        self.pending.push(Pending::Write(Arc::new(write)));
    }

    fn resize(&mut self, file: u64, len: u64, allocated: bool) {
        let Some(inode) = self.files.get_mut(&file) else { return };
        Arc::make_mut(&mut inode.cache).set_len(len);
        self.pending.push(Pending::Size { file, len, allocated });
    }

    fn sync_file(&mut self, file: u64) {
        let Some(inode) = self.files.get_mut(&file) else { return };
        self.pending.retain(|pending| {
            let synced = pending.file() == Some(file);
            if synced {
                inode.persist(pending);
            }
            !synced
        });
    }

    /// The kernel's way with a sync that failed: every dirty page counts as clean from now on, whether it
    /// reached the disk or not. The length is metadata: it stays dirty, or reached the disk.
    fn fail_sync(&mut self, file: u64, seed: u64, stuck: bool) {
        let Some(inode) = self.files.get_mut(&file) else { return };
        let mut rng = Rng::new(seed);
        let len = inode.cache.len();
        let size_arrived = rng.chance(1, 2);
        if size_arrived {
            inode.persist(&Pending::Size { file, len, allocated: false });
        }
        let all_lost = rng.chance(1, 4);
        self.pending.retain(|pending| {
            let Pending::Write(write) = pending else { return pending.file() != Some(file) };
            if write.file == file && !all_lost {
                inode.persist_in_part(write, &mut rng);
            }
            write.file != file
        });
        inode.tainted = true;
        inode.stuck |= stuck;
        if !size_arrived && inode.disk.len() != len {
            self.pending.push(Pending::Size { file, len, allocated: false });
        }
    }

    fn drop_cache(&mut self, file: u64) {
        let Some(inode) = self.files.get_mut(&file) else { return };
        if !inode.tainted || inode.stuck {
            return;
        }
        let mut shown = (*inode.disk).clone();
        for pending in &self.pending {
            match pending {
                // Dirty pages stay: only clean ones leave the cache.
                Pending::Write(write) if write.file == file => write.show_in(&mut shown),
                Pending::Size { file: sized, len, .. } if *sized == file => shown.set_len(*len),
                _ => {}
            }
        }
        shown.set_len(inode.cache.len());
        inode.cache = Arc::new(shown);
    }

    fn change_entry(&mut self, entry: Entry) {
        self.live.change(&entry);
        self.pending.push(Pending::Entry(Arc::new(entry)));
    }

    fn sync_dir(&mut self, dir: &str) {
        let durable = &mut self.durable;
        self.pending.retain(|pending| match pending {
            Pending::Entry(entry) if entry.directory() == dir => {
                durable.change(entry);
                false
            }
            _ => true,
        });
    }
}

/// How many lost files' bytes are kept to appear as garbage.
const STALE_FILES: usize = 8;

impl Names {
    /// Lets a directory change happen, as far as its file still has the name.
    pub(super) fn change(&mut self, entry: &Entry) {
        match entry {
            Entry::Create { name, file } => {
                Arc::make_mut(&mut self.files).insert(name.clone(), *file);
            }
            Entry::Rename { from, to, file } => {
                let files = Arc::make_mut(&mut self.files);
                if files.get(from) == Some(file) {
                    files.remove(from);
                }
                files.insert(to.clone(), *file);
            }
            Entry::Remove { name, file } => {
                if self.files.get(name) == Some(file) {
                    Arc::make_mut(&mut self.files).remove(name);
                }
            }
            Entry::CreateDir { dir } => {
                Arc::make_mut(&mut self.dirs).insert(dir.clone());
            }
        }
    }
}

impl Inode {
    /// A file whose cache and disk agree.
    pub(super) fn fresh(bytes: Arc<Contents>, settled: Arc<Settled>) -> Inode {
        Inode { cache: bytes.clone(), disk: bytes, settled, tainted: false, stuck: false }
    }

    fn persist(&mut self, pending: &Pending) {
        let disk = Arc::make_mut(&mut self.disk);
        match pending {
            Pending::Write(write) => {
                write.show_in(disk);
                let settled = Arc::make_mut(&mut self.settled);
                for (page, mask, _) in write.parts() {
                    settled.add(page, mask);
                }
            }
            Pending::Size { len, allocated, .. } => {
                let settled = Arc::make_mut(&mut self.settled);
                settled.resize(disk.len(), *len, *allocated);
                disk.set_len(*len);
            }
            Pending::Entry(_) => {}
        }
    }

    fn persist_in_part(&mut self, write: &Write, rng: &mut Rng) {
        let disk = Arc::make_mut(&mut self.disk);
        let settled = Arc::make_mut(&mut self.settled);
        for (page, mask, bytes) in write.parts() {
            let arrived = mask & rng.next_u64() as u8;
            disk.patch(page, bytes, arrived);
            settled.add(page, arrived);
        }
        disk.zero_behind_end();
    }
}

impl Settled {
    pub(super) fn has(&self, sector: usize) -> bool {
        let mask = self.masks.get(sector / SECTORS_PER_PAGE).copied().unwrap_or(0);
        mask & (1 << (sector % SECTORS_PER_PAGE)) != 0
    }

    pub(super) fn add(&mut self, page: usize, mask: u8) {
        if self.masks.len() <= page {
            self.masks.resize(page + 1, 0);
        }
        if let Some(settled) = self.masks.get_mut(page) {
            *settled |= mask;
        }
    }

    /// A cut frees sectors; an allocation settles what it adds; a grown hole has no sectors yet.
    pub(super) fn resize(&mut self, old: u64, new: u64, allocated: bool) {
        let (old, new) = (old as usize, new as usize);
        if new < old {
            let keep = new.div_ceil(SECTOR);
            self.masks.truncate(new.div_ceil(PAGE));
            if let Some(last) = self.masks.get_mut(keep / SECTORS_PER_PAGE) {
                *last &= ((1u16 << (keep % SECTORS_PER_PAGE)) - 1) as u8;
            }
        } else if allocated && new > 0 {
            let (first, last) = (0, (new - 1) / SECTOR);
            for page in 0..=last / SECTORS_PER_PAGE {
                self.add(page, mask_of(page, first, last));
            }
        }
    }
}

impl Pending {
    /// The file whose bytes or length this is about.
    pub(super) fn file(&self) -> Option<u64> {
        match self {
            Pending::Write(write) => Some(write.file),
            Pending::Size { file, .. } => Some(*file),
            Pending::Entry(_) => None,
        }
    }

    /// Whether this is a directory change that could still bring `file` back.
    fn names(&self, wanted: u64) -> bool {
        let Pending::Entry(entry) = self else { return false };
        match &**entry {
            Entry::Create { file, .. } | Entry::Rename { file, .. } | Entry::Remove { file, .. } => {
                *file == wanted
            }
            Entry::CreateDir { .. } => false,
        }
    }
}

impl Write {
    /// The pages this write touched: index, the set of its sectors, bytes.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, u8, &Arc<Page>)> {
        self.patches.iter().enumerate().map(|(index, (page, mask))| (self.first_page + index, *mask, page))
    }

    fn show_in(&self, contents: &mut Contents) {
        for (page, mask, bytes) in self.parts() {
            contents.patch(page, bytes, mask);
        }
        let len = contents.len().max(self.end);
        contents.set_len(len);
    }
}

impl Entry {
    /// The directory whose sync makes this durable. A file system moves a name between two directories in
    /// one step, so the new one stands for both.
    fn directory(&self) -> &str {
        match self {
            Entry::Create { name, .. } | Entry::Remove { name, .. } => parent(name),
            Entry::Rename { to, .. } => parent(to),
            Entry::CreateDir { dir } => parent(dir),
        }
    }
}

/// The sectors of page `page` that lie in `first..=last`.
pub(super) fn mask_of(page: usize, first: usize, last: usize) -> u8 {
    let inside = |sector: &usize| (first..=last).contains(sector);
    let sectors = page * SECTORS_PER_PAGE..(page + 1) * SECTORS_PER_PAGE;
    sectors.filter(inside).fold(0, |mask, sector| mask | 1 << (sector % SECTORS_PER_PAGE))
}

fn fold_name(digest: u64, name: &str) -> u64 {
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let digest = words.iter().fold(digest, |digest, word| fold(digest, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(1, |word, byte| word << 8 | u64::from(*byte));
    fold(digest, rest)
}
