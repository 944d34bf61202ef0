//! What must hold for any bytes that are read as records. A fuzz target and a property test come in here.

use super::cursor::{Cursor, Malformed};
use super::raw::RawRecord;
use super::record::{Base, Record};

/// Records up to this size are also read from every part of their bytes.
const CUT_BYTES: usize = 128;

/// Reads a base, then records until one is refused. Each is written and read again.
///
/// # Panics
///
/// When a record does not read back, which is a bug of this module.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the tests of this module call it too"))]
pub fn decode_any(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let Ok(base) = base(&mut cursor) else { return };
    let mut rest = cursor.rest();
    while let Ok(record) = Record::decode(&mut cursor, &base) {
        let own = rest.get(..rest.len() - cursor.remaining()).unwrap_or_default();
        carry(own, &base, &record);
        rest = cursor.rest();
        let mut bytes = Vec::new();
        record.encode(&base, &mut bytes);
        let mut again = Cursor::new(&bytes);
        assert_eq!(Record::decode(&mut again, &base).as_ref(), Ok(&record), "reads back");
        assert_eq!(again.remaining(), 0, "{record:?} leaves bytes behind");
        for cut in 0..bytes.len().min(CUT_BYTES) {
            let part = Cursor::new(bytes.get(..cut).unwrap_or_default());
            assert!(Record::decode(&mut { part }, &base).is_err(), "{record:?} in {cut} of its bytes");
        }
    }
}

/// Carries a record to another base without making one of its bytes.
fn carry(bytes: &[u8], base: &Base, record: &Record) {
    let raw = RawRecord::read(bytes, base).expect("what reads as a record passes as one");
    assert_eq!((raw.numbers, raw.body_bytes), (record.numbers(), record.body.len()));
    let to = Base { seq: !base.seq, time_ms: base.time_ms / 2, ttl_ms: base.ttl_ms ^ 0xff };
    let mut carried = Vec::new();
    raw.encode(&to, &mut carried);
    let mut cursor = Cursor::new(&carried);
    assert_eq!(Record::decode(&mut cursor, &to).as_ref(), Ok(record), "carried");
    assert_eq!(cursor.remaining(), 0, "{record:?} carries bytes along");
}

fn base(cursor: &mut Cursor<'_>) -> Result<Base, Malformed> {
    let seq = cursor.varint("base sequence")?;
    let time_ms = cursor.varint("base time")?;
    let ttl_ms = cursor.varint("base ttl")?;
    Ok(Base { seq, time_ms, ttl_ms })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::any_record;
    use super::{Base, decode_any};
    use crate::codec::put_varint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn damaged_records_read_back_or_are_refused(
            records in prop::collection::vec(any_record(), 1..4),
            base: (u64, u64, u64),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = Vec::new();
            [base.0, base.1, base.2].into_iter().for_each(|number| put_varint(number, &mut bytes));
            let base = Base { seq: base.0, time_ms: base.1, ttl_ms: base.2 };
            records.iter().for_each(|record| record.encode(&base, &mut bytes));
            for (at, mask) in damage {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            decode_any(&bytes);
        }
    }
}
