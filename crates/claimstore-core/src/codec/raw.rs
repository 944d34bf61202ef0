//! Records that only pass through: their numbers are read, and the rest is carried as it stands.

use super::cursor::{Cursor, Malformed};
use super::numbers::{HAS_EXTRA, HAS_FINGERPRINT, Numbers};
use super::record::{Base, State};

/// The scheme and the digest.
const FINGERPRINT_BYTES: usize = 33;

/// A record as its bytes, with the numbers read: for what moves records from one container to another, as a merge does.
#[derive(Clone, Copy)]
pub struct RawRecord<'a> {
    /// The parts of a fixed size.
    pub numbers: Numbers,
    has: u8,
    /// Everything after the numbers, extensions of a later version included.
    rest: &'a [u8],
    /// The length of the body.
    pub body_bytes: usize,
}

impl<'a> RawRecord<'a> {
    /// Reads the numbers of the record that `bytes` are, and checks the lengths of the rest.
    pub fn read(bytes: &'a [u8], base: &Base) -> Result<RawRecord<'a>, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let (numbers, has) = Numbers::decode(&mut cursor, base)?;
        let rest = cursor.rest();
        let mut body_bytes = 0;
        if numbers.state != State::Erased {
            if has & HAS_FINGERPRINT != 0 {
                cursor.take(FINGERPRINT_BYTES, "fingerprint digest")?;
            }
            if has & HAS_EXTRA != 0 {
                for _ in 0..cursor.varint("extension count")? {
                    cursor.u16("extension tag")?;
                    cursor.bytes("extension")?;
                }
            }
            body_bytes = cursor.bytes("record body")?.len();
        }
        cursor.finish("record length")?;
        Ok(RawRecord { numbers, has, rest, body_bytes })
    }

    /// Appends the record's bytes, as [`Record::encode`](super::Record::encode) does.
    #[inline]
    pub fn encode(&self, base: &Base, out: &mut Vec<u8>) {
        self.numbers.encode(self.has, base, out);
        out.extend_from_slice(self.rest);
    }

    /// Bytes of everything that varies in length.
    #[inline]
    pub fn loose_bytes(&self) -> usize {
        self.rest.len()
    }
}

/// Shows numbers and sizes, never content.
impl std::fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRecord")
            .field("numbers", &self.numbers)
            .field("loose_bytes", &self.loose_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::any_record;
    use super::super::{Cursor, Record};
    use super::{Base, RawRecord};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_that_passes_through_is_the_record(record in any_record(), from: [u64; 3], to: [u64; 3]) {
            let base = |[seq, time_ms, ttl_ms]: [u64; 3]| Base { seq, time_ms, ttl_ms };
            let (from, to) = (base(from), base(to));
            let (mut bytes, mut carried, mut written) = (Vec::new(), Vec::new(), Vec::new());
            record.encode(&from, &mut bytes);
            let raw = RawRecord::read(&bytes, &from).unwrap();
            prop_assert_eq!(raw.numbers, record.numbers());
            prop_assert_eq!(raw.body_bytes, record.body.len());
            prop_assert!(raw.loose_bytes() >= record.body.len());
            raw.encode(&to, &mut carried);
            record.encode(&to, &mut written);
            prop_assert_eq!(&carried, &written);
            prop_assert_eq!(Record::decode(&mut Cursor::new(&carried), &to), Ok(record));
        }

        #[test]
        fn cut_records_are_refused_and_no_bytes_panic(record in any_record(), noise: Vec<u8>, cut: prop::sample::Index) {
            let base = Base::default();
            let mut bytes = Vec::new();
            record.encode(&base, &mut bytes);
            prop_assert!(RawRecord::read(&bytes[..cut.index(bytes.len())], &base).is_err());
            bytes.push(0);
            prop_assert!(RawRecord::read(&bytes, &base).is_err());
            let _ = RawRecord::read(&noise, &base);
        }
    }
}
