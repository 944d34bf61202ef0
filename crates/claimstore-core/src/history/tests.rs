use super::{ENTRY_BYTES, Happened, MAX_ENTRIES, Orphaned, Past, read, remember};
use crate::codec::Record;
use proptest::prelude::*;

fn attempt(number: u32) -> Record {
    let mut record = Record::erased(u64::MAX);
    (record.attempt, record.token, record.claimed_at_ms) = (number, u64::from(number) << 40, 7);
    record
}

#[test]
fn the_newest_entries_are_kept_in_order() {
    let mut record = attempt(1);
    for number in 1..=40 {
        let of = attempt(number);
        remember(&mut record, &of, Happened::Failed, 9, b"", format!("error {number}").as_bytes());
    }
    let entries = read(&record.extra.unwrap().history);
    let attempts: Vec<u32> = entries.iter().map(super::Past::attempt).collect();
    assert_eq!(attempts, (41 - MAX_ENTRIES as u32..=40).collect::<Vec<_>>());
    assert_eq!(entries.last().unwrap().note(), b"error 40");
    assert_eq!(entries.last().unwrap().token(), 40 << 40);
}

#[test]
fn long_notes_and_names_are_cut_and_an_entry_stays_in_its_room() {
    let mut record = attempt(u32::MAX);
    record.claimed_at_ms = u64::MAX;
    let of = record.clone();
    let parked = Happened::Orphaned(Orphaned::Lapsed);
    remember(&mut record, &of, parked, u64::MAX, &[b'n'; 999], &[b'x'; 999]);
    let history = record.extra.unwrap().history;
    assert!(history.len() <= ENTRY_BYTES + super::MAX_BY_BYTES + super::MAX_NOTE_BYTES);
    let entries = read(&history);
    assert_eq!((entries[0].by().len(), entries[0].note().len()), (64, 256));
    assert_eq!(entries[0].what(), parked);
}

/// An export writes an entry by what it shows, and an import makes one by the builders. A field that is new here does
/// not compile before it is shown and can be set, and then has to go into the line of an export too.
#[test]
fn an_entry_can_be_made_of_what_it_shows() {
    let entry = Past {
        what: Happened::Orphaned(Orphaned::Lapsed),
        attempt: 3,
        token: 5,
        claimed_at_ms: 7,
        at_ms: 11,
        by: (*b"by").into(),
        note: (*b"note").into(),
    };
    let made = Past::new(entry.what(), entry.attempt(), entry.at())
        .with_token(entry.token())
        .with_claimed_at(entry.claimed_at())
        .with_note(entry.by(), entry.note());
    assert!(made == entry, "an entry is not made again");
    let Past { what, attempt, token, claimed_at_ms, at_ms, by, note } = made;
    assert_eq!(what, Happened::Orphaned(Orphaned::Lapsed));
    assert_eq!((attempt, token, claimed_at_ms, at_ms), (3, 5, 7, 11));
    assert_eq!((&*by, &*note), (&b"by"[..], &b"note"[..]));
    // What is written is what is read.
    assert!(read(&super::write(std::slice::from_ref(&entry))) == [entry], "an entry is not read again");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_and_can_be_added_to(noise: Vec<u8>) {
        drop(read(&noise));
        let mut record = attempt(3);
        record.extra.get_or_insert_default().history = noise.into();
        let of = attempt(3);
        remember(&mut record, &of, Happened::Parked, 1, b"by", b"note");
        let entries = read(&record.extra.unwrap().history);
        prop_assert_eq!(entries.last().unwrap().what(), Happened::Parked);
        prop_assert!(entries.len() <= MAX_ENTRIES);
    }
}
