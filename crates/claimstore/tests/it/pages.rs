//! The layout of a redb file, by docs/file-format.md alone: the second reading of that text, and a writer.

const PAGE: usize = 4096;
const GROUP: usize = 1024;
const COPIES: [usize; 2] = [0, 2048];

fn sum(number: u64, page: &[u8]) -> u32 {
    crc32fast::hash(&[&number.to_le_bytes(), page].concat()).max(1)
}

/// redb's own bytes. Every page must fit its sum.
pub(crate) fn unpack(file: &[u8]) -> Vec<u8> {
    let header = |at: &usize| {
        let copy = &file[*at..*at + 512];
        let good = sum(0, &copy[..508]).to_le_bytes() == copy[508..];
        good.then(|| (u64::from_le_bytes(copy[500..508].try_into().unwrap()), copy[..320].to_vec()))
    };
    let (_, mut bytes) = COPIES.iter().filter_map(header).max().unwrap();
    bytes.resize(PAGE, 0);
    let mut number = 0;
    for group in file[PAGE..].chunks(PAGE * (GROUP + 1)) {
        let (sums, pages) = group.split_at(PAGE);
        for (expected, page) in sums.chunks(4).zip(pages.chunks(PAGE)) {
            number += 1;
            let expected = u32::from_le_bytes(expected.try_into().unwrap());
            let fits = if expected == 0 {
                page.iter().all(|byte| *byte == 0)
            } else {
                expected == sum(number, page)
            };
            assert!(fits, "page {number}");
            bytes.extend_from_slice(page);
        }
    }
    bytes
}

/// The file that holds redb's `bytes`.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut copy = bytes[..320].to_vec();
    copy.resize(500, 0);
    copy.extend_from_slice(&1u64.to_le_bytes());
    copy.extend_from_slice(&sum(0, &copy).to_le_bytes());
    let mut file = vec![0; PAGE];
    COPIES.iter().for_each(|at| file[*at..*at + 512].copy_from_slice(&copy));
    let mut number = 0;
    for pages in bytes[PAGE..].chunks(PAGE * GROUP) {
        let sums = file.len();
        file.resize(sums + PAGE, 0);
        for (at, page) in pages.chunks(PAGE).enumerate() {
            number += 1;
            let place = sums + 4 * at;
            file[place..place + 4].copy_from_slice(&sum(number, page).to_le_bytes());
        }
        file.extend_from_slice(pages);
    }
    file
}
