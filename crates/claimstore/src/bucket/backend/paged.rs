//! A file of redb's pages, each with a checksum of ours.
//!
//! redb verifies its own checksums only when it repairs a file, and it uses a page number before it knows whether
//! there is such a page: one damaged byte could make it allocate gigabytes. So every page is verified here before
//! redb sees it.
//!
//! After the first page, which has redb's header, every [`GROUP_PAGES`] pages are preceded by a page with their
//! checksums. docs/file-format.md has the bytes. Two arguments show that this is crash-safe:
//!
//! - **Pages.** redb never overwrites a page that a durable commit can reach, and makes a page reachable only after a
//!   sync. [`Paged::sync`] writes the checksums before it syncs, so the checksums of such pages are as durable as the
//!   pages. If a page of checksums is torn, each of its sectors is the old or the new one, and both have the same
//!   checksums for every page that is reachable.
//! - **The header** is overwritten in place, and a failed write may leave half of it. So there are two copies, each
//!   with an ascending number and a checksum. The valid copy with the highest number counts, and it is overwritten
//!   last. Before a sync either copy may be the old one, as redb expects of its header; after it both are the new
//!   one, and if one is damaged, the other is used.

use crate::codec::crc32;
use crate::error::FileFault;
use crate::io::File;
use crate::sync::{Arc, Mutex};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Bytes of a page, redb's or ours.
pub(super) const PAGE_BYTES: usize = 4096;
/// Pages that one page of checksums covers.
const GROUP_PAGES: u64 = (PAGE_BYTES / SUM_BYTES) as u64;
const SUM_BYTES: usize = 4;
/// Bytes of a copy of the header.
const COPY_BYTES: usize = 512;
/// Offsets of the copies in the first page.
const COPIES: [u64; 2] = [0, 2048];
/// Bytes that redb may use at the front of a copy; redb 4.4 uses 320. The copy's number and checksum follow.
const HEADER_BYTES: usize = COPY_BYTES - SUM_BYTES - 8;
/// Pages of checksums kept in memory beyond those that must be written: one for 4 MiB of file.
const CACHED_GROUPS: usize = 256;

/// Maps the file that redb sees to the real file, which has pages of checksums in between.
pub(super) struct Paged {
    file: Arc<dyn File>,
    groups: Mutex<BTreeMap<u64, Group>>,
    /// The newest copy of the header; `None` until the header was read.
    newest: Mutex<Option<Newest>>,
}

/// A page of checksums.
struct Group {
    sums: Box<[u8; PAGE_BYTES]>,
    /// Whether they are newer than the ones in the file.
    dirty: bool,
}

/// The copy of the header that counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Newest {
    number: u64,
    place: u64,
}

/// A stretch of pages of one group.
struct Stretch {
    group: u64,
    /// Within the group.
    first: u64,
    pages: u64,
}

impl Paged {
    pub(super) fn new(file: Arc<dyn File>) -> Paged {
        Paged { file, groups: Mutex::default(), newest: Mutex::default() }
    }

    /// The name that errors give the file.
    pub(super) fn name(&self) -> Option<&str> {
        self.file.name()
    }

    /// What is at `place` of the file is not what was written there.
    fn wrong(&self, place: u64) -> io::Error {
        let error = io::Error::new(io::ErrorKind::InvalidData, "a page has the wrong checksum");
        match self.file.name() {
            Some(name) => FileFault::wrap(name, Some(place), error),
            None => error,
        }
    }

    /// Whether the file can be found again.
    pub(super) fn has_name(&self) -> io::Result<bool> {
        self.file.has_name()
    }

    /// The length that redb sees: whole pages.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(shown_len(self.file.len()?))
    }

    /// Fills `out`, which is whole pages or the front of the header. `InvalidData` where a page is not what was
    /// written there.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset == 0 && out.len() <= HEADER_BYTES {
            return self.read_header(out);
        }
        let mut out = out;
        for stretch in stretches(offset, out.len())? {
            let (pages, rest) = out.split_at_mut((stretch.pages as usize * PAGE_BYTES).min(out.len()));
            self.file.read_exact_at(pages, stretch.place()?)?;
            self.with_group(stretch.group, |group| {
                let mut numbered = (stretch.first..).zip(pages.chunks_exact(PAGE_BYTES));
                match numbered.find(|(at, page)| !group.vouches(*at, stretch.number(*at), page)) {
                    None => Ok(()),
                    Some((at, _)) => Err(self.wrong(stretch.place_of(at)?)),
                }
            })?;
            out = rest;
        }
        Ok(())
    }

    /// Writes whole pages or the header.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 && data.len() <= HEADER_BYTES {
            return self.write_header(data);
        }
        let mut data = data;
        for stretch in stretches(offset, data.len())? {
            let (pages, rest) = data.split_at((stretch.pages as usize * PAGE_BYTES).min(data.len()));
            self.file.write_all_at(pages, stretch.place()?)?;
            self.with_group(stretch.group, |group| {
                for (at, page) in (stretch.first..).zip(pages.chunks_exact(PAGE_BYTES)) {
                    group.set(at, sum_of(stretch.number(at), page));
                }
                Ok(())
            })?;
            data = rest;
        }
        Ok(())
    }

    /// Makes pages and checksums durable together.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut groups = self.groups.lock();
        for (number, group) in groups.iter_mut().filter(|(_, group)| group.dirty) {
            self.file.write_all_at(&*group.sums, place_of_sums(*number)?)?;
            group.dirty = false;
        }
        drop(groups);
        self.file.sync_data()
    }

    /// Cuts or grows the file to whole pages. New pages read as zero.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let pages = whole_pages(len)?;
        self.file.set_len(stored_len(pages)?)?;
        // A page that is cut off and added again later counts as never written: its checksum becomes 0.
        let (group, first) = group_of(pages.max(1));
        self.groups.lock().retain(|number, _| *number <= group);
        if first == 0 {
            self.groups.lock().remove(&group);
            return Ok(());
        }
        self.with_group(group, |group| {
            for at in first..GROUP_PAGES {
                if group.sum(at) != 0 {
                    group.set(at, 0);
                }
            }
            Ok(())
        })
    }

    fn read_header(&self, out: &mut [u8]) -> io::Result<()> {
        let mut known = self.newest.lock();
        let (newest, header) = self.newest_header()?.ok_or_else(|| self.wrong(0))?;
        *known = Some(newest);
        out.copy_from_slice(header.get(..out.len()).unwrap_or_default());
        Ok(())
    }

    fn write_header(&self, data: &[u8]) -> io::Result<()> {
        let mut known = self.newest.lock();
        let newest = match *known {
            Some(newest) => newest,
            None => self.newest_header()?.map_or(Newest { number: 0, place: 0 }, |(newest, _)| newest),
        };
        let number = newest.number.saturating_add(1);
        let mut copy = data.to_vec();
        copy.resize(HEADER_BYTES, 0);
        copy.extend_from_slice(&number.to_le_bytes());
        let sum = sum_of(0, &copy);
        copy.extend_from_slice(&sum.to_le_bytes());
        // The older copy first, so that one of the two is valid at every moment.
        let others = COPIES.into_iter().filter(|place| *place != newest.place);
        for place in others.chain([newest.place]) {
            self.file.write_all_at(&copy, place)?;
        }
        *known = Some(Newest { number, ..newest });
        Ok(())
    }

    /// The valid copy of the header with the highest number; `None` if the file never had one, or both are damaged.
    fn newest_header(&self) -> io::Result<Option<(Newest, [u8; HEADER_BYTES])>> {
        let mut found = None;
        for place in COPIES {
            let mut copy = [0; COPY_BYTES];
            match self.file.read_exact_at(&mut copy, place) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                read => read?,
            }
            let checked = checked_header(&copy).map(|(number, header)| (Newest { number, place }, header));
            found = found.max(checked);
        }
        Ok(found)
    }

    /// Calls `act` with the checksums of a group, from memory or from the file.
    fn with_group<T>(&self, number: u64, act: impl FnOnce(&mut Group) -> io::Result<T>) -> io::Result<T> {
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get_mut(&number) {
            return act(group);
        }
        if groups.len() >= CACHED_GROUPS {
            let clean = groups.iter().find(|(_, group)| !group.dirty).map(|(number, _)| *number);
            clean.and_then(|number| groups.remove(&number));
        }
        let mut sums = Box::new([0; PAGE_BYTES]);
        match self.file.read_exact_at(&mut *sums, place_of_sums(number)?) {
            // The file is about to grow to here.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => sums.fill(0),
            read => read?,
        }
        act(groups.entry(number).or_insert(Group { sums, dirty: false }))
    }
}

impl fmt::Debug for Paged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Group {
    fn sum(&self, at: u64) -> u32 {
        let sums = self.sums.as_chunks::<SUM_BYTES>().0;
        sums.get(at as usize).map_or(0, |sum| u32::from_le_bytes(*sum))
    }

    fn set(&mut self, at: u64, sum: u32) {
        if let Some(place) = self.sums.as_chunks_mut::<SUM_BYTES>().0.get_mut(at as usize) {
            *place = sum.to_le_bytes();
            self.dirty = true;
        }
    }

    /// Whether `page` has its last written contents, or was never written and is zeros.
    fn vouches(&self, at: u64, number: u64, page: &[u8]) -> bool {
        match self.sum(at) {
            0 => page.iter().all(|byte| *byte == 0),
            sum => sum == sum_of(number, page),
        }
    }
}

impl Stretch {
    /// The number of a page, counted as redb counts.
    fn number(&self, at: u64) -> u64 {
        1 + self.group * GROUP_PAGES + at
    }

    /// Offset of the first page in the file.
    fn place(&self) -> io::Result<u64> {
        self.place_of(self.first)
    }

    /// Offset of a page of the group in the file.
    fn place_of(&self, at: u64) -> io::Result<u64> {
        let sums = place_of_sums(self.group)?;
        sums.checked_add((1 + at) * PAGE_BYTES as u64).ok_or_else(beyond)
    }
}

/// The checksum of a page. It covers the page's number, so that a page in the wrong place is detected. Never 0, which
/// means that the page was not written.
fn sum_of(number: u64, page: &[u8]) -> u32 {
    crc32(&[&number.to_le_bytes(), page]).max(1)
}

/// Number and contents of a copy of the header, if its checksum is right.
fn checked_header(copy: &[u8; COPY_BYTES]) -> Option<(u64, [u8; HEADER_BYTES])> {
    let (covered, sum) = copy.split_last_chunk()?;
    let (header, number) = covered.split_last_chunk()?;
    let good = sum_of(0, covered) == u32::from_le_bytes(*sum);
    Some((u64::from_le_bytes(*number), header.try_into().ok()?)).filter(|_| good)
}

/// Group, and place within it, of a page after the header.
fn group_of(page: u64) -> (u64, u64) {
    ((page - 1) / GROUP_PAGES, (page - 1) % GROUP_PAGES)
}

fn place_of_sums(group: u64) -> io::Result<u64> {
    let pages = group.checked_mul(GROUP_PAGES + 1).and_then(|pages| pages.checked_add(1));
    pages.and_then(|pages| pages.checked_mul(PAGE_BYTES as u64)).ok_or_else(beyond)
}

/// The pages of `length` bytes at `offset`, group by group.
fn stretches(offset: u64, length: usize) -> io::Result<impl Iterator<Item = Stretch>> {
    let (first, pages) = (whole_pages(offset)?, whole_pages(length as u64)?);
    let end = first.checked_add(pages).ok_or_else(beyond)?;
    if first == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut next = first;
    Ok(std::iter::from_fn(move || {
        let (group, first) = group_of(next);
        let pages = (GROUP_PAGES - first).min(end - next);
        next += pages;
        (pages > 0).then_some(Stretch { group, first, pages })
    }))
}

fn whole_pages(bytes: u64) -> io::Result<u64> {
    if bytes.is_multiple_of(PAGE_BYTES as u64) {
        Ok(bytes / PAGE_BYTES as u64)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The length of the real file for this many pages of redb's.
fn stored_len(pages: u64) -> io::Result<u64> {
    let groups = pages.saturating_sub(1).div_ceil(GROUP_PAGES);
    pages.checked_add(groups).and_then(|pages| pages.checked_mul(PAGE_BYTES as u64)).ok_or_else(beyond)
}

/// The length that redb sees of a real file with this length. A partial page counts, and cannot be read.
fn shown_len(stored: u64) -> u64 {
    let pages = stored.div_ceil(PAGE_BYTES as u64);
    let behind = pages.saturating_sub(1);
    let (groups, rest) = (behind / (GROUP_PAGES + 1), behind % (GROUP_PAGES + 1));
    (pages.min(1) + groups * GROUP_PAGES + rest.saturating_sub(1)) * PAGE_BYTES as u64
}

/// Beyond every file leads only a damaged page number.
fn beyond() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

#[cfg(test)]
mod tests {
    use super::{Arc, COPIES, File, GROUP_PAGES, PAGE_BYTES, Paged, shown_len, stored_len};
    use crate::io::{MemoryStorage, OpenMode, Storage};
    use crate::sync::{AtomicUsize, Ordering};
    use proptest::prelude::*;
    use std::io;

    fn file() -> Arc<dyn File> {
        MemoryStorage::new().open("pages", OpenMode::CreateNew).unwrap()
    }

    fn page(byte: u8) -> Vec<u8> {
        vec![byte; PAGE_BYTES]
    }

    /// What a fresh handle reads, as after a crash that lost nothing.
    fn read(file: &Arc<dyn File>, page: u64, pages: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0xee; pages * PAGE_BYTES];
        Paged::new(file.clone()).read(page * PAGE_BYTES as u64, &mut out).map(|()| out)
    }

    #[test]
    fn pages_and_header_come_back_across_groups() {
        let (file, last) = (file(), 2 * GROUP_PAGES);
        let paged = Paged::new(file.clone());
        paged.set_len((last + 1) * PAGE_BYTES as u64).unwrap();
        let (left, right) = (GROUP_PAGES - 1, GROUP_PAGES + 2);
        let written: Vec<u8> = (left..=right).flat_map(|number| page(number as u8)).collect();
        paged.write(left * PAGE_BYTES as u64, &written).unwrap();
        paged.write(0, &[7; 320]).unwrap();
        paged.sync().unwrap();
        assert_eq!(read(&file, left, 4).unwrap(), written);
        assert_eq!(read(&file, last, 1).unwrap(), page(0), "never written");
        let mut header = [0; 320];
        Paged::new(file.clone()).read(0, &mut header).unwrap();
        assert_eq!(header, [7; 320]);
        assert_eq!(read(&file, last + 1, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    fn read_header(file: &Arc<dyn File>) -> io::Result<[u8; 320]> {
        let mut header = [0; 320];
        Paged::new(file.clone()).read(0, &mut header).map(|()| header)
    }

    fn flip(file: &Arc<dyn File>, at: usize, mask: u8) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ mask], at as u64).unwrap();
    }

    #[test]
    fn every_flipped_byte_of_a_written_page_or_its_checksum_is_noticed() {
        let file = file();
        let paged = Paged::new(file.clone());
        paged.set_len(3 * PAGE_BYTES as u64).unwrap();
        paged.write(PAGE_BYTES as u64, &page(1)).unwrap();
        paged.sync().unwrap();
        let (sums, data) = (PAGE_BYTES, 2 * PAGE_BYTES);
        let places = (sums..sums + 4).chain(data..data + PAGE_BYTES);
        for (at, mask) in places.flat_map(|at| [(at, 0x01), (at, 0x80), (at, 0xff)]) {
            flip(&file, at, mask);
            assert_eq!(read(&file, 1, 1).unwrap_err().kind(), io::ErrorKind::InvalidData, "{at} ^ {mask:#x}");
            flip(&file, at, mask);
        }
    }

    #[test]
    fn a_damaged_copy_of_the_header_is_repaired_from_the_other() {
        let file = file();
        let paged = Paged::new(file.clone());
        for round in 1..=3u8 {
            paged.write(0, &[round; 320]).unwrap();
        }
        paged.sync().unwrap();
        for (at, mask) in
            COPIES.into_iter().flat_map(|at| (at..at + 512).map(|at| (at as usize, 1 << (at % 8))))
        {
            flip(&file, at, mask);
            assert_eq!(read_header(&file).unwrap(), [3; 320], "{at} ^ {mask:#x}");
            flip(&file, at, mask);
        }
        flip(&file, 9, 1);
        flip(&file, 2048 + 9, 1);
        assert_eq!(read_header(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// A device that takes so many bytes of headers and then fails.
    #[derive(Debug)]
    struct Failing(Arc<dyn File>, AtomicUsize);

    impl File for Failing {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_exact_at(buf, offset)
        }
        fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
            let left = self.1.load(Ordering::Relaxed);
            self.1.store(left.saturating_sub(data.len()), Ordering::Relaxed);
            self.0.write_all_at(&data[..left.min(data.len())], offset)?;
            if left < data.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn allocate(&self, len: u64) -> io::Result<()> {
            self.0.allocate(len)
        }
        fn start_writeback(&self, _offset: u64, _len: u64) {}
        fn drop_cache(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes fail half-way, one after the other: some header that was written is always there.
    #[test]
    fn a_torn_header_is_the_old_or_the_new_one_also_when_the_next_is_torn() {
        for (first, second) in
            (0..=1024).step_by(31).flat_map(|a| (0..=1024).step_by(61).map(move |b| (a, b)))
        {
            let file = file();
            Paged::new(file.clone()).write(0, &[1; 320]).unwrap();
            let mut allowed = vec![1];
            for (round, bytes) in [(2, first), (3, second)] {
                let failing: Arc<dyn File> = Arc::new(Failing(file.clone(), AtomicUsize::new(bytes)));
                let written = Paged::new(failing).write(0, &[round; 320]);
                allowed = if written.is_ok() { vec![round] } else { [allowed, vec![round]].concat() };
                let found = read_header(&file).unwrap();
                assert!(
                    allowed.contains(&found[0]) && found == [found[0]; 320],
                    "{first}, {second}: {found:?}"
                );
                allowed = vec![found[0]];
            }
        }
    }

    #[test]
    fn a_page_in_the_place_of_another_is_noticed() {
        let file = file();
        let paged = Paged::new(file.clone());
        paged.write(PAGE_BYTES as u64, &[page(1), page(1)].concat()).unwrap();
        paged.sync().unwrap();
        let mut sums = [0; 8];
        file.read_exact_at(&mut sums, PAGE_BYTES as u64).unwrap();
        assert_ne!(sums[..4], sums[4..], "the same bytes at another place have another checksum");
    }

    #[test]
    fn what_is_cut_off_and_grown_again_is_zero() {
        let file = file();
        let paged = Paged::new(file.clone());
        paged.write(PAGE_BYTES as u64, &page(1).repeat(GROUP_PAGES as usize + 3)).unwrap();
        paged.sync().unwrap();
        for left in [GROUP_PAGES + 2, GROUP_PAGES + 1, 3, 1] {
            paged.set_len(left * PAGE_BYTES as u64).unwrap();
            paged.set_len((GROUP_PAGES + 4) * PAGE_BYTES as u64).unwrap();
            paged.sync().unwrap();
            for number in [left, left + 1, GROUP_PAGES, GROUP_PAGES + 1, GROUP_PAGES + 3] {
                if number >= left {
                    assert_eq!(read(&file, number, 1).unwrap(), page(0), "{number} after {left}");
                }
            }
            if left > 1 {
                assert_eq!(read(&file, left - 1, 1).unwrap(), page(1));
            }
        }
    }

    proptest! {
        #[test]
        fn lengths_go_there_and_back(pages in 0u64..10 * GROUP_PAGES, cut in 0u64..PAGE_BYTES as u64) {
            let stored = stored_len(pages).unwrap();
            prop_assert_eq!(shown_len(stored), pages * PAGE_BYTES as u64);
            // A cut file never looks longer, nor empty.
            let shown = shown_len(stored.saturating_sub(cut));
            prop_assert!(shown <= pages * PAGE_BYTES as u64 && (pages == 0 || shown > 0));
        }

        #[test]
        fn any_offset_is_an_answer(offset: u64, length in 0usize..3 * PAGE_BYTES) {
            let paged = Paged::new(file());
            let _ = paged.read(offset, &mut vec![0; length]);
            let whole = offset - offset % PAGE_BYTES as u64;
            prop_assert!(paged.read(whole.max(PAGE_BYTES as u64), &mut page(0)).is_err());
        }
    }
}
