//! Rows as a run accepts them: a record in one of several forms.

use crate::codec::{Base, Numbers, RawRecord, Record};

/// A record on its way into a run.
pub(crate) trait Row {
    /// Its numbers.
    fn numbers(&self) -> Numbers;
    /// Bytes of its body.
    fn body_bytes(&self) -> usize;
    /// Bytes of everything in it that varies in length, roughly.
    fn loose_bytes(&self) -> usize;
    /// Appends its bytes, with distances from `base`.
    fn encode(&self, base: &Base, out: &mut Vec<u8>);
}

impl Row for Record {
    fn numbers(&self) -> Numbers {
        self.numbers()
    }

    fn body_bytes(&self) -> usize {
        self.body.len()
    }

    fn loose_bytes(&self) -> usize {
        self.loose_bytes()
    }

    fn encode(&self, base: &Base, out: &mut Vec<u8>) {
        self.encode(base, out);
    }
}

/// From another run.
impl Row for RawRecord<'_> {
    fn numbers(&self) -> Numbers {
        self.numbers
    }

    fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    fn loose_bytes(&self) -> usize {
        self.loose_bytes()
    }

    fn encode(&self, base: &Base, out: &mut Vec<u8>) {
        self.encode(base, out);
    }
}

/// A record whose body is stored separately.
pub(crate) struct Apart<'a> {
    /// Without a body.
    pub(crate) record: &'a Record,
    pub(crate) body: &'a [u8],
}

impl Row for Apart<'_> {
    fn numbers(&self) -> Numbers {
        self.record.numbers()
    }

    fn body_bytes(&self) -> usize {
        self.body.len()
    }

    fn loose_bytes(&self) -> usize {
        self.record.loose_bytes() + self.body.len()
    }

    fn encode(&self, base: &Base, out: &mut Vec<u8>) {
        self.record.encode_with(self.body, base, out);
    }
}
