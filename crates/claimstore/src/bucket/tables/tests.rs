use super::super::backend::testing::{LossyStorage, blames_bytes, sweep};
use super::format::{MAX_KEY, MAX_VALUE};
use super::rows::{Bounds, Row};
use super::*;
use crate::bucket::backend::CommitFailed;

const ID: [u8; 16] = [7; 16];
const CACHE: usize = 1 << 20;
const ALL: Bounds<'static> = (Bound::Unbounded, Bound::Unbounded);

fn new() -> (Arc<LossyStorage>, Arc<Tables>) {
    let storage = Arc::new(LossyStorage::default());
    let tables = open(&storage).unwrap();
    (storage, tables)
}

fn open(storage: &Arc<LossyStorage>) -> Result<Arc<Tables>, Error> {
    Tables::open_or_create(&(storage.clone() as Arc<dyn Storage>), ID, CACHE).map(Arc::new)
}

type Claim = (Vec<u8>, u64, Vec<u8>);

fn claims(tables: &Tables) -> Result<Vec<Claim>, Error> {
    let mut found = Vec::new();
    tables.claims(&mut |key, seq, record| {
        found.push((key.to_vec(), seq, record.to_vec()));
        Ok(())
    })?;
    Ok(found)
}

fn rows(tables: &Arc<Tables>, name: &str) -> Result<Vec<Row>, Error> {
    tables.read_table(name)?.map_or(Ok(Vec::new()), |table| table.range(ALL.0, ALL.1).collect())
}

/// One `transact` of key `n`: a row in each of two tables, and the claim.
fn transact(tables: &Tables, n: u8, seq: u64) -> Result<(), CommitFailed> {
    let write = || {
        let mut write = tables.begin()?;
        let mut orders = write.table("orders")?;
        let mut totals = write.table("totals")?;
        orders.insert(&[n], &[n; 100])?;
        totals.insert(b"last", &[n])?;
        drop((orders, totals));
        write.put_claim(&[n; 12], seq, &[n; 30])?;
        Ok(write)
    };
    write().map_err(CommitFailed::Absent)?.commit()
}

#[test]
fn rows_of_two_tables_and_the_claim_commit_together() {
    let (storage, tables) = new();
    transact(&tables, 1, 10).unwrap();
    transact(&tables, 2, 20).unwrap();
    for _ in 0..2 {
        let tables = open(&LossyStorage::of(FILE, &storage.durable(FILE))).unwrap();
        assert_eq!(rows(&tables, "orders").unwrap(), [(vec![1], vec![1; 100]), (vec![2], vec![2; 100])]);
        assert_eq!(tables.read_table("totals").unwrap().unwrap().get(b"last").unwrap(), Some(vec![2]));
        assert_eq!(
            claims(&tables).unwrap(),
            [(vec![1; 12], 10, vec![1; 30]), (vec![2; 12], 20, vec![2; 30])]
        );
        tables.shut();
    }
    assert!(tables.read_table("unknown").unwrap().is_none());
}

#[test]
fn a_transaction_sees_its_own_rows() {
    let (_storage, tables) = new();
    let write = tables.begin().unwrap();
    let mut table = write.table("t").unwrap();
    assert_eq!(table.insert(b"a", b"1").unwrap(), None);
    assert_eq!(table.insert(b"a", b"2").unwrap(), Some(b"1".to_vec()));
    assert_eq!(table.insert(b"", b"").unwrap(), None);
    assert_eq!(table.get(b"a").unwrap(), Some(b"2".to_vec()));
    assert_eq!(table.range(ALL.0, ALL.1).count(), 2);
    assert_eq!(table.remove(b"a").unwrap(), Some(b"2".to_vec()));
    assert_eq!(table.remove(b"a").unwrap(), None);
    assert_eq!(write.table("t").unwrap_err().kind(), ErrorKind::Misuse, "open already");
    assert!(tables.read_table("t").unwrap().is_none(), "not committed");
}

#[test]
fn names_and_rows_have_limits_and_never_meet_ours() {
    let (_storage, tables) = new();
    let write = tables.begin().unwrap();
    for name in ["", &"x".repeat(256)] {
        assert_eq!(write.table(name).unwrap_err().kind(), ErrorKind::Misuse);
    }
    let mut table = write.table("claims").unwrap();
    assert_eq!(table.insert(&vec![0; MAX_KEY + 1], b"").unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(table.insert(b"", &vec![0; MAX_VALUE + 1]).unwrap_err().kind(), ErrorKind::TooLarge);
    table.insert(b"k", b"v").unwrap();
    drop(table);
    write.commit().unwrap();
    assert_eq!(claims(&tables).unwrap(), []);
}

#[test]
fn an_abandoned_transaction_leaves_nothing() {
    let (storage, tables) = new();
    transact(&tables, 1, 10).unwrap();
    let mut write = tables.begin().unwrap();
    write.table("orders").unwrap().insert(b"x", b"y").unwrap();
    write.put_claim(b"k", 30, b"r").unwrap();
    write.abort();
    drop(tables.begin().unwrap());
    assert_eq!(rows(&tables, "orders").unwrap().len(), 1);
    assert_eq!(tables.claim(b"k").unwrap(), None);
    tables.shut();
    assert_eq!(claims(&open(&storage).unwrap()).unwrap().len(), 1);
}

#[test]
fn ranges_are_read_in_pages_and_within_their_bounds() {
    let (_storage, tables) = new();
    let write = tables.begin().unwrap();
    let mut table = write.table("t").unwrap();
    for n in 0..2_500u32 {
        table.insert(&n.to_be_bytes(), &n.to_le_bytes()).unwrap();
    }
    assert_eq!(table.range(ALL.0, ALL.1).count(), 2_500);
    drop(table);
    write.commit().unwrap();
    let table = tables.read_table("t").unwrap().unwrap();
    let (low, high) = (999u32.to_be_bytes(), 2_001u32.to_be_bytes());
    let count = |start, end| table.range(start, end).map(Result::unwrap).count();
    assert_eq!(count(Bound::Included(&low), Bound::Included(&high)), 1_003);
    assert_eq!(count(Bound::Excluded(&low), Bound::Excluded(&high)), 1_001);
    assert_eq!(count(Bound::Included(&high), Bound::Included(&low)), 0);
    assert_eq!(count(Bound::Excluded(&low), Bound::Excluded(&low)), 0);
    assert_eq!(count(Bound::Included(&low), Bound::Included(&low)), 1);
    assert_eq!(count(Bound::Excluded(&low), Bound::Unbounded), 1_500);
}

#[test]
fn a_claim_row_goes_only_if_it_is_not_newer() {
    let (storage, tables) = new();
    transact(&tables, 1, 10).unwrap();
    transact(&tables, 2, 20).unwrap();
    transact(&tables, 1, 30).unwrap();
    tables.remove_claims(&[(vec![1; 12], 10), (vec![2; 12], 20), (vec![3; 12], 99)]).unwrap();
    tables.remove_claims(&[]).unwrap();
    let tables = open(&LossyStorage::of(FILE, &storage.durable(FILE))).unwrap();
    assert_eq!(claims(&tables).unwrap(), [(vec![1; 12], 30, vec![1; 30])]);
}

#[test]
fn readers_go_on_while_a_writer_is_at_work() {
    let (_storage, tables) = new();
    transact(&tables, 1, 10).unwrap();
    let mut write = tables.begin().unwrap();
    write.put_claim(b"k", 30, b"r").unwrap();
    assert_eq!(claims(&tables).unwrap().len(), 1);
    write.commit().unwrap();
    assert_eq!(claims(&tables).unwrap().len(), 2);
}

/// Every operation of a `transact` fails once, with several choices of what reached the device.
#[test]
fn after_a_failed_commit_all_of_it_or_nothing_is_there() {
    let (storage, tables) = new();
    transact(&tables, 1, 10).unwrap();
    tables.shut();
    let image = storage.durable(FILE);
    let (mut absent, mut there) = (0, 0);
    for point in 0.. {
        let mut came = false;
        for seed in 1..12 {
            let storage = LossyStorage::of(FILE, &image);
            let tables = open(&storage).unwrap();
            storage.fail_after(point, seed);
            let outcome = transact(&tables, 2, 20);
            came |= !storage.disarm();
            let found = tables.claim(&[2; 12]).unwrap();
            assert!(matches!(&found, None | Some((20, _))));
            assert_eq!(rows(&tables, "orders").unwrap().len(), 1 + usize::from(found.is_some()));
            match outcome {
                Ok(()) => assert!(found.is_some()),
                Err(CommitFailed::Absent(error)) => {
                    assert!(!blames_bytes(&error), "point {point}: {error:?}");
                    assert!(found.is_none());
                }
                Err(CommitFailed::Unknown(error)) => {
                    assert!(!blames_bytes(&error), "point {point}: {error:?}");
                    *(if found.is_some() { &mut there } else { &mut absent }) += 1;
                }
            }
            transact(&tables, 3, 40).unwrap();
            tables.shut();
            assert_eq!(claims(&open(&storage).unwrap()).unwrap().len(), 2 + usize::from(found.is_some()));
        }
        if !came {
            break;
        }
    }
    assert!(absent > 0 && there > 0, "both outcomes were met: {absent}, {there}");
}

/// What a disk did not give once it may give the next time: no later call suffers.
#[test]
fn a_failed_read_fails_one_call() {
    let (storage, tables) = new();
    for n in 1..=100 {
        transact(&tables, n, u64::from(n) * 10).unwrap();
    }
    tables.shut();
    let image = storage.durable(FILE);
    let storage = LossyStorage::of(FILE, &image);
    // Without a cache, so that the file is asked.
    let tables = Arc::new(Tables::open_or_create(&(storage.clone() as Arc<dyn Storage>), ID, 0).unwrap());
    storage.fail_a_read();
    let failed = rows(&tables, "orders").unwrap_err();
    assert!(!blames_bytes(&failed), "{failed:?}");
    assert_eq!(rows(&tables, "orders").unwrap().len(), 100);
    assert_eq!(claims(&tables).unwrap().len(), 100);
    transact(&tables, 101, 2_000).unwrap();
    tables.shut();
    assert_eq!(claims(&open(&storage).unwrap()).unwrap().len(), 101);
}

fn everything(storage: &Arc<dyn Storage>) -> Result<bool, Error> {
    let tables = Arc::new(Tables::open_or_create(storage, ID, CACHE)?);
    let totals = rows(&tables, "totals")?;
    Ok(claims(&tables)?.len() == 40
        && rows(&tables, "orders")?.len() == 40
        && totals == [(b"last".to_vec(), vec![40])])
}

#[test]
fn a_changed_byte_is_refused_or_has_no_effect() {
    let (storage, tables) = new();
    for n in 1..=40 {
        transact(&tables, n, n.into()).unwrap();
    }
    let crashed = storage.durable(FILE);
    tables.shut();
    let closed = sweep(FILE, &storage.durable(FILE), &everything);
    assert!(closed.other.is_empty(), "{:?}", closed.other);
    assert!(closed.refused > 0 && closed.right > 0);
    let crashed = sweep(FILE, &crashed, &everything);
    assert!(crashed.other.is_empty(), "{:?}", crashed.other);
}

#[test]
fn the_tables_of_another_store_are_refused() {
    let (storage, tables) = new();
    tables.shut();
    let storage = storage as Arc<dyn Storage>;
    let refused = Tables::open_or_create(&storage, [8; 16], CACHE);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_panic_between_the_calls_leaves_nothing_and_harms_nobody() {
    let (_storage, tables) = new();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let write = tables.begin().unwrap();
        let mut table = write.table("orders").unwrap();
        table.insert(b"k", b"v").unwrap();
        std::panic::resume_unwind(Box::new("the caller's own"));
    }));
    assert!(outcome.is_err());
    transact(&tables, 1, 10).unwrap();
    assert_eq!(rows(&tables, "orders").unwrap().len(), 1);
}
