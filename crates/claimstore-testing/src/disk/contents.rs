//! The bytes of one file, in shared pages: a clone costs one pointer a page, a write copies what it touches.

use crate::rng::mix;
use std::sync::{Arc, OnceLock};

/// What a disk writes wholly or not at all.
pub(crate) const SECTOR: usize = 512;
/// The unit of sharing. Eight sectors, so that one byte names any set of them.
pub(crate) const PAGE: usize = 4_096;
pub(crate) const SECTORS_PER_PAGE: usize = PAGE / SECTOR;
/// No simulated file grows beyond this: a store that asks for more has a bug worth an error.
pub(crate) const FILE_LIMIT: u64 = 1 << 32;

/// 4 KiB, and their digest once somebody asked for it.
#[derive(Debug)]
pub(crate) struct Page {
    bytes: [u8; PAGE],
    digest: OnceLock<u64>,
}

impl Page {
    fn zeros() -> Page {
        Page { bytes: [0; PAGE], digest: OnceLock::new() }
    }

    /// The bytes, to be changed; forgets the digest.
    fn bytes_mut(&mut self) -> &mut [u8; PAGE] {
        self.digest.take();
        &mut self.bytes
    }

    /// 0 for a page of zeros, so that a hole and written zeros look the same.
    fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            let (words, _) = self.bytes.as_chunks::<8>();
            if words.iter().all(|word| *word == [0; 8]) {
                return 0;
            }
            words.iter().fold(1, |digest, word| fold(digest, u64::from_le_bytes(*word)))
        })
    }
}

impl Clone for Page {
    fn clone(&self) -> Page {
        Page { bytes: self.bytes, digest: OnceLock::new() }
    }
}

/// Bytes of a file. Everything behind `len` reads as zero, also after the file grew over it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    /// `None` is a hole.
    pages: Vec<Option<Arc<Page>>>,
    len: u64,
}

impl Contents {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf`; answers false, and fills nothing, when the file ends before.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> bool {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return false;
        }
        let mut at = offset as usize;
        let mut rest = buf;
        while !rest.is_empty() {
            let within = at % PAGE;
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE - within));
            let page = self.page(at / PAGE);
            match page.and_then(|page| page.bytes.get(within..within + now.len())) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
            at += now.len();
            rest = later;
        }
        true
    }

    /// Writes `data`, growing the file if need be.
    pub(crate) fn write(&mut self, data: &[u8], offset: u64) {
        let mut at = offset as usize;
        let mut rest = data;
        while !rest.is_empty() {
            let within = at % PAGE;
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            if let Some(target) = self.page_mut(at / PAGE).get_mut(within..within + now.len()) {
                target.copy_from_slice(now);
            }
            at += now.len();
            rest = later;
        }
        self.len = self.len.max(at as u64);
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.pages.truncate((len as usize).div_ceil(PAGE));
        self.zero_behind_end();
    }

    /// The page at `index`; `None` in a hole and behind the end.
    pub(crate) fn page(&self, index: usize) -> Option<&Arc<Page>> {
        self.pages.get(index)?.as_ref()
    }

    /// Copies the sectors of `page` that `mask` names. Does not change the length.
    pub(crate) fn patch(&mut self, index: usize, page: &Arc<Page>, mask: u8) {
        if mask == u8::MAX {
            *self.slot(index) = Some(page.clone());
        } else if mask != 0 {
            let target = self.page_mut(index);
            let (to, _) = target.as_chunks_mut::<SECTOR>();
            let (from, _) = page.bytes.as_chunks::<SECTOR>();
            for (number, (to, from)) in to.iter_mut().zip(from).enumerate() {
                if mask & (1 << number) != 0 {
                    *to = *from;
                }
            }
        }
    }

    /// Overwrites one sector. Does not change the length.
    pub(crate) fn put_sector(&mut self, sector: usize, bytes: &[u8; SECTOR]) {
        let (to, _) = self.page_mut(sector / SECTORS_PER_PAGE).as_chunks_mut::<SECTOR>();
        if let Some(to) = to.get_mut(sector % SECTORS_PER_PAGE) {
            *to = *bytes;
        }
    }

    /// One sector; zeros in a hole.
    pub(crate) fn sector(&self, sector: usize) -> [u8; SECTOR] {
        let page = self.page(sector / SECTORS_PER_PAGE);
        let bytes = page.and_then(|page| page.bytes.as_chunks::<SECTOR>().0.get(sector % SECTORS_PER_PAGE));
        bytes.copied().unwrap_or([0; SECTOR])
    }

    /// Restores the invariant after [`patch`](Contents::patch) and [`put_sector`](Contents::put_sector).
    pub(crate) fn zero_behind_end(&mut self) {
        let (last, within) = (self.len as usize / PAGE, self.len as usize % PAGE);
        self.pages.truncate((self.len as usize).div_ceil(PAGE));
        let tail = self.page(last).and_then(|page| page.bytes.get(within..));
        if tail.is_some_and(|tail| tail.iter().any(|byte| *byte != 0))
            && let Some(tail) = self.page_mut(last).get_mut(within..)
        {
            tail.fill(0);
        }
    }

    /// 64 bits that differ, but for chance, where length or bytes differ.
    pub(crate) fn digest(&self) -> u64 {
        let pages = self.pages.iter().enumerate();
        pages.fold(fold(2, self.len), |digest, (index, page)| {
            match page.as_ref().map_or(0, |page| page.digest()) {
                0 => digest,
                page => fold(fold(digest, index as u64), page),
            }
        })
    }

    fn slot(&mut self, index: usize) -> &mut Option<Arc<Page>> {
        if self.pages.len() <= index {
            self.pages.resize(index + 1, None);
        }
        #[expect(clippy::indexing_slicing, reason = "the line above made the slot")]
        &mut self.pages[index]
    }

    fn page_mut(&mut self, index: usize) -> &mut [u8; PAGE] {
        let page = self.slot(index).get_or_insert_with(|| Arc::new(Page::zeros()));
        Arc::make_mut(page).bytes_mut()
    }
}

/// Takes one more word into a digest.
pub(crate) fn fold(digest: u64, word: u64) -> u64 {
    mix(digest.rotate_left(23) ^ word.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x632B_E59B_D9B4_E019)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(contents: &Contents) -> Vec<u8> {
        let mut bytes = vec![7; contents.len() as usize];
        assert!(contents.read(&mut bytes, 0));
        bytes
    }

    #[test]
    fn agrees_with_a_plain_vector() {
        let mut rng = crate::Rng::new(3);
        let (mut contents, mut plain) = (Contents::default(), Vec::new());
        for _ in 0..2_000 {
            let (at, len) = (rng.index(20_000), rng.index(9_000));
            if rng.chance(1, 4) {
                contents.set_len(at as u64);
                plain.resize(at, 0);
            } else {
                let mut data = vec![0; len + 1];
                rng.fill(&mut data);
                contents.write(&data, at as u64);
                plain.resize(plain.len().max(at + data.len()), 0);
                plain[at..at + data.len()].copy_from_slice(&data);
            }
            assert_eq!(bytes_of(&contents), plain);
        }
    }

    #[test]
    fn a_clone_does_not_follow() {
        let mut first = Contents::default();
        first.write(b"one", 4_095);
        let second = first.clone();
        let digest = second.digest();
        first.write(b"two", 4_095);
        assert_eq!(bytes_of(&second)[4_095..], *b"one");
        assert_eq!(second.digest(), digest);
        assert_ne!(first.digest(), digest);
    }

    #[test]
    fn holes_and_zeros_have_one_digest() {
        let (mut hole, mut zeros) = (Contents::default(), Contents::default());
        hole.set_len(8_192);
        zeros.write(&[0; 8_192], 0);
        assert_eq!(hole.digest(), zeros.digest());
        zeros.set_len(8_191);
        assert_ne!(hole.digest(), zeros.digest());
    }

    #[test]
    fn reading_behind_the_end_is_refused() {
        let mut contents = Contents::default();
        contents.write(b"abc", 0);
        assert!(!contents.read(&mut [0; 2], 2));
        assert!(!contents.read(&mut [0; 1], u64::MAX));
        assert!(contents.read(&mut [], 3));
    }
}
