use super::*;
use crate::codec::State;
use crate::engine::decide::Hold;
use crate::engine::entry::{ENTRY_BYTES, EXTRA_BYTES};

const LIFE: u64 = 3;
const NOW_MS: u64 = 1_000;
const BOOT_MS: u64 = 50;

fn entry(state: State, until_ms: u64, marks: Marks) -> Entry {
    let mut record = Record::erased((LIFE << crate::engine::life::SEQ_BITS) + 7);
    (record.state, record.until_ms, record.token) = (state, until_ms, record.seq);
    Entry { marks, ..Entry::new(record, 0, BOOT_MS + 20) }
}

fn hold(entry: &Entry) -> Hold {
    entry.hold(LIFE, NOW_MS, BOOT_MS)
}

#[test]
fn a_holder_is_trusted_to_the_last_millisecond_of_its_lease() {
    let entry = entry(State::InProgress, 0, Marks::default());
    assert_eq!(hold(&entry), Hold::Running { remaining_ms: 20 });
    assert_eq!(entry.hold(LIFE, NOW_MS, BOOT_MS + 19), Hold::Running { remaining_ms: 1 });
    assert_eq!(entry.hold(LIFE, NOW_MS, BOOT_MS + 20), Hold::Lapsed);
    assert_eq!(entry.hold(LIFE, NOW_MS, BOOT_MS + 21), Hold::Lapsed);
}

#[test]
fn a_claim_of_an_earlier_life_or_a_dropped_lease_is_an_orphan_at_once() {
    let entry = entry(State::InProgress, 0, Marks::default());
    assert_eq!(entry.hold(LIFE + 1, NOW_MS, BOOT_MS), Hold::Orphaned);
    let abandoned = Entry { marks: Marks { abandoned: true, ..Marks::default() }, ..entry };
    assert_eq!(hold(&abandoned), Hold::Dropped);
    let panicked = Entry { marks: Marks { panicked: true, ..abandoned.marks }, ..abandoned };
    assert_eq!(hold(&panicked), Hold::Panicked);
}

/// Whose bytes say that nobody holds it is an orphan in the life it was left in, too, and whatever its lease.
#[test]
fn a_claim_that_was_left_for_good_is_an_orphan() {
    let mut entry = entry(State::InProgress, 0, Marks::default());
    entry.record.extra.get_or_insert_default().left = Some(2);
    assert_eq!(hold(&entry), Hold::Orphaned);
}

#[test]
fn a_detached_claim_is_trusted_by_store_time_across_lives() {
    let abandoned = Marks { abandoned: true, ..Marks::default() };
    let detached = entry(State::InProgress, NOW_MS + 2, abandoned);
    assert_eq!(detached.hold(LIFE + 1, NOW_MS, BOOT_MS + 99), Hold::Running { remaining_ms: 2 });
    assert_eq!(detached.hold(LIFE + 1, NOW_MS + 1, BOOT_MS), Hold::Running { remaining_ms: 1 });
    assert_eq!(detached.hold(LIFE + 1, NOW_MS + 2, BOOT_MS), Hold::Dropped);
    // Elsewhere the number means something else.
    let retry = entry(State::Retry, NOW_MS + 2, abandoned);
    assert_eq!(hold(&retry), Hold::Dropped);
}

#[test]
fn nobody_takes_a_key_whose_answer_is_on_its_way_or_that_is_reserved() {
    let undelivered = Marks { undelivered: true, abandoned: true, ..Marks::default() };
    let on_its_way = entry(State::InProgress, 0, undelivered);
    assert_eq!(on_its_way.hold(LIFE, NOW_MS, BOOT_MS + 99), Hold::Running { remaining_ms: 1 });
    let reserved = Entry { marks: Marks { reserved: true, ..undelivered }, ..on_its_way };
    assert_eq!(hold(&reserved), Hold::Reserved);
}

#[test]
fn counts_follow_what_is_in_the_table() {
    let live = Live::new();
    let put = |hash, key: &[u8], state| {
        let entry = entry(state, 0, Marks::default());
        live.put(&mut live.shard(hash), hash, key, entry).map(|old| old.record.state)
    };
    assert_eq!(put(1, b"one", State::InProgress), None);
    let (one, none) = (live.bytes(), live.resolved_bytes());
    assert!(one >= ENTRY_BYTES + 3);
    assert_eq!((live.in_progress(), none), (1, 0));
    assert_eq!(put(2, b"two", State::Completed), None);
    assert_eq!((live.in_progress(), live.bytes(), live.resolved_bytes()), (1, 2 * one, one));
    assert_eq!(put(1, b"one", State::Completed), Some(State::InProgress));
    assert_eq!((live.in_progress(), live.bytes(), live.resolved_bytes()), (0, 2 * one, 2 * one));
    // Two keys of one hash are two keys.
    assert_eq!(put(1, b"uno", State::InProgress), None);
    assert!(live.shard(1).find(1, b"one").is_some_and(|entry| entry.record.state == State::Completed));
    let removed = live.remove(&mut live.shard(1), 1, b"uno").map(|entry| entry.record.state);
    assert_eq!(removed, Some(State::InProgress));
    assert!(live.remove(&mut live.shard(1), 1, b"uno").is_none());
    assert!(live.remove(&mut live.shard(1), 1, b"one").is_some());
    assert!(live.remove(&mut live.shard(2), 2, b"two").is_some());
    assert_eq!((live.in_progress(), live.bytes(), live.resolved_bytes()), (0, 0, 0));
}

#[test]
fn a_slot_has_three_cache_lines_and_the_first_says_whose_it_is() {
    use std::mem::offset_of;
    assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (192, 64));
    assert!(offset_of!(Slot, entry) + offset_of!(Entry, record) + offset_of!(Record, token) + 8 <= 64);
}

#[test]
fn what_a_record_carries_counts() {
    let plain = entry(State::Completed, 0, Marks::default());
    let mut heavy = plain.clone();
    heavy.record.body = vec![0; 100].into();
    assert_eq!(heavy.bytes(b"key"), plain.bytes(b"key") + 100);
    heavy.record.extra.get_or_insert_default().note = vec![0; 50].into();
    assert_eq!(heavy.bytes(b"key"), plain.bytes(b"key") + 150 + EXTRA_BYTES);
    assert_eq!(heavy.bytes(b"longer"), heavy.bytes(b"key") + 3);
}

#[test]
fn a_shard_that_was_full_gives_its_room_back() {
    let live = Live::new();
    let keys: Vec<Vec<u8>> = (0..1_000_u64).map(|n| n.to_le_bytes().to_vec()).collect();
    let hash_of = |key: &[u8]| u64::from(key[0]) << 8 | u64::from(key[1]);
    let mut shard = live.shard(0);
    for key in &keys {
        live.put(&mut shard, hash_of(key), key, entry(State::Completed, 0, Marks::default()));
    }
    shard.shrink();
    assert!(shard.slots.capacity() >= 1_000);
    for key in &keys[10..] {
        live.remove(&mut shard, hash_of(key), key);
    }
    shard.shrink();
    assert!(shard.slots.capacity() <= 64);
    assert_eq!(shard.iter().count(), 10);
    assert!(keys[..10].iter().all(|key| shard.find(hash_of(key), key).is_some()));
}

/// A shard with `entries` entries, which are then removed one by one until `few` says that few enough are left.
fn drained(entries: u64, few: fn(usize, usize) -> bool) -> Shard {
    let (live, mut shard) = (Live::new(), Shard::default());
    let hashes = || (0..entries).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for hash in hashes() {
        live.put(&mut shard, hash, &hash.to_le_bytes(), entry(State::Completed, 0, Marks::default()));
    }
    for hash in hashes() {
        if few(shard.slots.len(), shard.slots.capacity()) {
            break;
        }
        live.remove(&mut shard, hash, &hash.to_le_bytes());
    }
    shard
}

#[test]
fn a_shard_shrinks_below_an_eighth_of_its_room_and_keeps_room_for_as_many_again() {
    let check = |mut shard: Shard, shrinks: bool| {
        let (len, room) = (shard.slots.len(), shard.slots.capacity());
        shard.shrink();
        assert_eq!(shard.slots.len(), len);
        assert_eq!(shard.slots.capacity() < room, shrinks, "{len} of {room}");
        assert!(!shrinks || shard.slots.capacity() >= 2 * len, "{len} of {room}");
    };
    check(drained(900, |len, room| len == room / 8), false);
    check(drained(900, |len, room| len < room / 8), true);
    check(drained(900, |len, room| len < room / 15), true);
    // Small ones stay as they are.
    check(drained(40, |len, _| len == 1), false);
}

#[test]
fn every_entry_is_met_once_in_the_shard_that_its_hash_names() {
    let live = Live::new();
    let hashes: Vec<u64> = (0..2 * SHARDS as u64).map(|n| (n << 40) + n * 7).collect();
    for &hash in &hashes {
        let entry = entry(State::Completed, hash, Marks::default());
        live.put(&mut live.shard(hash), hash, &hash.to_le_bytes(), entry);
    }
    // One shard after the other, two entries in each; there is none after the last.
    let mut copied: Vec<_> = (0..=SHARDS)
        .flat_map(|shard| {
            let copy = live.entries(shard);
            assert_eq!(copy.len(), if shard < SHARDS { 2 } else { 0 });
            copy.into_iter().map(|(hash, key, entry)| (hash, key.to_vec(), entry.record.until_ms))
        })
        .collect();
    copied.sort_unstable();
    let expected: Vec<_> = hashes.iter().map(|&hash| (hash, hash.to_le_bytes().to_vec(), hash)).collect();
    assert_eq!(copied, expected);
    let mut visited = Vec::new();
    (0..=SHARDS).for_each(|shard| live.one_shard(shard, |_, entry| visited.push(entry.record.until_ms)));
    let mut changed = Vec::new();
    live.each_shard(|shard| changed.extend(shard.iter().map(|(hash, _, _)| hash)));
    assert_eq!((visited.len(), changed), (hashes.len(), visited.clone()));
    visited.sort_unstable();
    assert_eq!(visited, hashes);
    let (first, same, next) = (hashes[0], hashes[SHARDS], hashes[1]);
    assert!(share_a_shard(first, same) && !share_a_shard(first, next));
}

#[test]
fn marks_and_terms_change_in_place() {
    let live = Live::new();
    live.put(&mut live.shard(1), 1, b"one", entry(State::InProgress, 0, Marks::default()));
    assert!(live.shard(1).find_mut(1, b"uno").is_none());
    live.shard(1).find_mut(1, b"one").unwrap().lease_until_ms = 77;
    assert_eq!(live.shard(1).find(1, b"one").unwrap().lease_until_ms, 77);
    let token = live.shard(1).find(1, b"one").unwrap().record.token;
    live.shard(1).find_claim(0, 1, token).unwrap().marks.leased = true;
    assert!(live.shard(1).find(1, b"one").unwrap().marks.leased);
    for at in [0, 1, usize::MAX] {
        assert!(live.shard(1).find_claim(at, 1, token).is_some_and(|entry| entry.marks.leased));
        assert!(live.shard(1).find_claim(at, 1, token + 1).is_none());
    }
}
