//! What a machine finds after it lost power: one of the states the fault level allows.

use super::contents::{Contents, SECTOR, SECTORS_PER_PAGE};
use super::machine::{Inode, Machine, Names, Pending, Settled, Write};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How much a crash may take away. Synced bytes and synced names survive all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The process dies; the page cache, and with it every unsynced change, lives on.
    L0,
    /// Power loss; of the unsynced changes of the whole disk, in their order, a prefix survives.
    L1,
    /// Power loss; any subset of the unsynced changes survives, writes torn at sectors of 512 bytes.
    L2,
    /// As L2; besides, a new length may survive without its bytes or the other way round, and sectors that
    /// were never synced since their allocation may hold zeros, bytes of other files, or garbage.
    L3,
}

/// One crash of many at the same point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// What may happen.
    pub level: Level,
    /// What does happen.
    pub seed: u64,
}

impl Variant {
    /// The crash that `seed` chooses among those of `level`.
    pub fn new(level: Level, seed: u64) -> Variant {
        Variant { level, seed }
    }
}

impl Machine {
    /// The machine after the crash. Except at L0 nothing is unsynced in it.
    pub(crate) fn crash(&self, variant: Variant) -> Machine {
        if variant.level == Level::L0 {
            return self.clone();
        }
        let mut rng = Rng::new(variant.seed);
        let mut remains = Remains::of(self);
        let mut chooser = Chooser::new(variant.level, self.pending.len(), &mut rng);
        for pending in &self.pending {
            let fate = chooser.next(pending, &mut rng);
            remains.take(pending, fate, &mut rng);
        }
        if variant.level == Level::L3 {
            remains.decay(self, &mut rng);
        }
        remains.into_machine(self)
    }
}

/// What becomes of one unsynced change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    /// Some of its sectors are kept. Of what has no sectors: lost.
    Torn,
}

/// Deals out fates. A coin for every change would hardly ever show the states that find bugs in long logs
/// (all but one, only one), so the first draw picks a mood.
enum Chooser {
    Prefix { kept: usize, torn_end: bool },
    AllBut(usize),
    Only(usize),
    Coins { writes_kept: u64, entries_kept: u64, torn: u64 },
}

/// Chances are in sixteenths.
const CERTAIN: u64 = 16;

impl Chooser {
    fn new(level: Level, changes: usize, rng: &mut Rng) -> Chooser {
        if level == Level::L1 {
            return Chooser::Prefix { kept: rng.index(changes + 1), torn_end: false };
        }
        match rng.below(8) {
            0 => Chooser::Prefix { kept: rng.index(changes + 1), torn_end: true },
            1 => Chooser::AllBut(rng.index(changes)),
            2 => Chooser::Only(rng.index(changes)),
            3 => Chooser::Coins { writes_kept: CERTAIN, entries_kept: 8, torn: 0 },
            4 => Chooser::Coins { writes_kept: 6, entries_kept: CERTAIN, torn: 6 },
            5 => Chooser::Coins { writes_kept: 14, entries_kept: 14, torn: 1 },
            6 => Chooser::Coins { writes_kept: 1, entries_kept: 2, torn: 2 },
            _ => Chooser::Coins { writes_kept: 6, entries_kept: 8, torn: 4 },
        }
    }

    fn next(&mut self, pending: &Pending, rng: &mut Rng) -> Fate {
        match self {
            Chooser::Prefix { kept: 0, torn_end } => {
                let torn = std::mem::take(torn_end);
                if torn { Fate::Torn } else { Fate::Lost }
            }
            Chooser::Prefix { kept, .. } => {
                *kept -= 1;
                Fate::Kept
            }
            Chooser::AllBut(ahead) => {
                if counted_down(ahead) {
                    part(rng, Fate::Lost)
                } else {
                    Fate::Kept
                }
            }
            Chooser::Only(ahead) => {
                if counted_down(ahead) {
                    part(rng, Fate::Kept)
                } else {
                    Fate::Lost
                }
            }
            Chooser::Coins { writes_kept, entries_kept, torn } => {
                let kept = if matches!(pending, Pending::Entry(_)) { entries_kept } else { writes_kept };
                let drawn = rng.below(CERTAIN);
                if drawn < *kept {
                    Fate::Kept
                } else if drawn < *kept + *torn {
                    Fate::Torn
                } else {
                    Fate::Lost
                }
            }
        }
    }
}

/// True at the one change that `ahead` changes come before.
fn counted_down(ahead: &mut usize) -> bool {
    let here = *ahead == 0;
    *ahead = ahead.checked_sub(1).unwrap_or(usize::MAX);
    here
}

fn part(rng: &mut Rng, otherwise: Fate) -> Fate {
    if rng.chance(1, 2) { Fate::Torn } else { otherwise }
}

/// The disk while it is being decided what survived.
struct Remains {
    names: Names,
    /// Only files with unsynced changes; the others are as they were.
    files: BTreeMap<u64, Remnant>,
}

struct Remnant {
    contents: Contents,
    settled: Settled,
    /// Sectors that hold a surviving write, for [`Remains::decay`].
    survived: BTreeSet<usize>,
}

impl Remains {
    fn of(machine: &Machine) -> Remains {
        let changed = machine.pending.iter().filter_map(Pending::file);
        let remnants = changed.filter_map(|file| Some((file, Remnant::of(machine.files.get(&file)?))));
        Remains { names: machine.durable.clone(), files: remnants.collect() }
    }

    fn take(&mut self, pending: &Pending, fate: Fate, rng: &mut Rng) {
        match pending {
            Pending::Entry(entry) if fate == Fate::Kept => self.names.change(entry),
            Pending::Entry(_) => {}
            Pending::Write(write) => {
                if let Some(remnant) = self.files.get_mut(&write.file) {
                    remnant.take_write(write, fate, rng);
                }
            }
            Pending::Size { file, len, allocated } => {
                if let Some(remnant) = self.files.get_mut(file)
                    && fate == Fate::Kept
                {
                    remnant.settled.resize(remnant.contents.len(), *len, *allocated);
                    remnant.contents.set_len(*len);
                }
            }
        }
    }

    /// L3: lengths part from bytes, and what never was on the disk shows something else.
    fn decay(&mut self, before: &Machine, rng: &mut Rng) {
        let donors: Vec<&Contents> = before.files.values().map(|inode| &*inode.disk).collect();
        let donors: Vec<&Contents> =
            donors.into_iter().chain(before.stale.iter().map(|stale| &**stale)).collect();
        for (file, remnant) in &mut self.files {
            let Some(inode) = before.files.get(file) else { continue };
            remnant.decay_length(inode, rng);
            let touched = before.pending.iter().filter_map(|pending| match pending {
                Pending::Write(write) if write.file == *file => Some(&**write),
                _ => None,
            });
            let doubtful = remnant.doubtful(inode, touched);
            remnant.decay_sectors(&doubtful, &donors, rng);
        }
    }

    fn into_machine(self, before: &Machine) -> Machine {
        let mut after = before.clone();
        after.pending.clear();
        for (file, mut remnant) in self.files {
            remnant.contents.zero_behind_end();
            let bytes = Arc::new(remnant.contents);
            after.files.insert(file, Inode::fresh(bytes, Arc::new(remnant.settled)));
        }
        for inode in after.files.values_mut() {
            *inode = Inode::fresh(inode.disk.clone(), inode.settled.clone());
        }
        let names = without_lost_directories(self.names);
        after.live = names.clone();
        after.durable = names;
        after.forget_unreachable(|_| false);
        after
    }
}

impl Remnant {
    fn of(inode: &Inode) -> Remnant {
        let contents = (*inode.disk).clone();
        Remnant { contents, settled: (*inode.settled).clone(), survived: BTreeSet::new() }
    }

    fn take_write(&mut self, write: &Write, fate: Fate, rng: &mut Rng) {
        let tear = match fate {
            Fate::Lost => return,
            Fate::Kept => Tear::None,
            Fate::Torn => Tear::draw(write, rng),
        };
        let mut end = 0;
        for (page, mask, bytes) in write.parts() {
            let mask = mask & tear.mask(page, rng);
            self.contents.patch(page, bytes, mask);
            self.settled.add(page, mask);
            let sectors = (0..SECTORS_PER_PAGE).filter(|sector| mask & (1 << sector) != 0);
            self.survived.extend(sectors.map(|sector| page * SECTORS_PER_PAGE + sector));
            let behind = SECTORS_PER_PAGE - mask.leading_zeros() as usize;
            if behind > 0 {
                end = (page * SECTORS_PER_PAGE + behind) * SECTOR;
            }
        }
        let len = self.contents.len().max(write.end.min(end as u64));
        self.contents.set_len(len);
    }

    fn decay_length(&mut self, inode: &Inode, rng: &mut Rng) {
        let (safe, wanted, now) = (inode.disk.len(), inode.cache.len(), self.contents.len());
        match rng.below(4) {
            0 if now > safe => self.contents.set_len(safe),
            1 if now < wanted && now >= safe => self.contents.set_len(wanted),
            _ => {}
        }
    }

    /// The sectors whose bytes nothing vouches for: new to the file and not written.
    fn doubtful<'a>(&self, before: &Inode, writes: impl Iterator<Item = &'a Write>) -> Vec<usize> {
        let end = (self.contents.len() as usize).div_ceil(SECTOR);
        let old_end = (before.disk.len() as usize).div_ceil(SECTOR);
        let mut doubtful: BTreeSet<usize> = (old_end..end).collect();
        for (page, mask, _) in writes.flat_map(Write::parts) {
            let sectors = (0..SECTORS_PER_PAGE).filter(|sector| mask & (1 << sector) != 0);
            doubtful.extend(sectors.map(|sector| page * SECTORS_PER_PAGE + sector));
        }
        let unknown =
            |sector: &usize| *sector < end && !self.settled.has(*sector) && !self.survived.contains(sector);
        doubtful.into_iter().filter(unknown).collect()
    }

    /// Fills doubtful sectors. Neighbours mostly share their kind, and stale bytes keep their order, so that
    /// whole frames of an older file can appear.
    fn decay_sectors(&mut self, doubtful: &[usize], donors: &[&Contents], rng: &mut Rng) {
        let mut kind = Rot::draw(donors, rng);
        let mut last = None;
        for sector in doubtful {
            if last.is_some_and(|last| last + 1 != *sector) || rng.chance(1, 8) {
                kind = Rot::draw(donors, rng);
            }
            last = Some(*sector);
            if let Some(bytes) = kind.sector(*sector, rng) {
                self.contents.put_sector(*sector, &bytes);
            }
            self.settled.add(sector / SECTORS_PER_PAGE, 1 << (sector % SECTORS_PER_PAGE));
        }
        self.contents.zero_behind_end();
    }
}

/// Which sectors of a torn write arrive.
enum Tear {
    None,
    Before { page: usize, sector: usize },
    From { page: usize, sector: usize },
    Coins,
}

impl Tear {
    fn draw(write: &Write, rng: &mut Rng) -> Tear {
        let page = write.first_page + rng.index(write.patches.len());
        let sector = rng.index(SECTORS_PER_PAGE);
        match rng.below(3) {
            0 => Tear::Before { page, sector },
            1 => Tear::From { page, sector },
            _ => Tear::Coins,
        }
    }

    fn mask(&self, at: usize, rng: &mut Rng) -> u8 {
        match *self {
            Tear::None => u8::MAX,
            Tear::Coins => rng.next_u64() as u8,
            Tear::Before { page, sector } => !Tear::from_mask(at, page, sector),
            Tear::From { page, sector } => Tear::from_mask(at, page, sector),
        }
    }

    fn from_mask(at: usize, page: usize, sector: usize) -> u8 {
        match at.cmp(&page) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => u8::MAX << sector,
            std::cmp::Ordering::Greater => u8::MAX,
        }
    }
}

/// What a sector shows that was allocated and never synced.
enum Rot<'a> {
    AsIs,
    Zeros,
    Garbage,
    /// Sectors of another file, or of another place of this one, displaced by `shift`.
    Stale {
        donor: &'a Contents,
        shift: usize,
    },
}

impl<'a> Rot<'a> {
    fn draw(donors: &[&'a Contents], rng: &mut Rng) -> Rot<'a> {
        match (rng.below(6), donors.get(rng.index(donors.len()))) {
            (0 | 1, _) => Rot::Zeros,
            (2, _) => Rot::Garbage,
            (3, Some(donor)) => Rot::Stale { donor, shift: 0 },
            (4, Some(donor)) => Rot::Stale { donor, shift: rng.index(donor.len() as usize / SECTOR + 1) },
            _ => Rot::AsIs,
        }
    }

    fn sector(&self, sector: usize, rng: &mut Rng) -> Option<[u8; SECTOR]> {
        match self {
            Rot::AsIs => None,
            Rot::Zeros => Some([0; SECTOR]),
            Rot::Garbage => {
                let mut bytes = [0; SECTOR];
                rng.fill(&mut bytes);
                Some(bytes)
            }
            Rot::Stale { donor, shift } => {
                let sectors = (donor.len() as usize).div_ceil(SECTOR).max(1);
                Some(donor.sector((sector + shift) % sectors))
            }
        }
    }
}

/// A directory whose own entry was lost takes its files along.
fn without_lost_directories(mut names: Names) -> Names {
    let mut dirs = BTreeSet::new();
    // Sorted: a directory comes before what lies in it.
    for dir in names.dirs.iter() {
        if is_reachable(&dirs, dir) {
            dirs.insert(dir.clone());
        }
    }
    if names.files.keys().any(|name| !is_reachable(&dirs, name)) {
        Arc::make_mut(&mut names.files).retain(|name, _| is_reachable(&dirs, name));
    }
    names.dirs = Arc::new(dirs);
    names
}

fn is_reachable(dirs: &BTreeSet<String>, name: &str) -> bool {
    let parent = super::event::parent(name);
    parent.is_empty() || dirs.contains(parent)
}
