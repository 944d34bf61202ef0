//! Reading one key: get.

use super::Engine;
use super::decide::Hold;
use super::live::{Entry, Shard};
use super::spaces::{Keyed, Space, is_reserved};
use super::write::until_current;
use crate::codec;
use crate::error::Error;
use crate::view::Record;
use std::borrow::Cow;

impl Engine {
    /// Planted bug 94: the token that a key in the live table is held under, whoever asks.
    pub(crate) fn newest_token(&self, keyed: &Keyed) -> Option<u64> {
        self.live.shard(keyed.hash).find(keyed.hash, &keyed.full).map(|entry| entry.record.token)
    }

    /// The record of a key, durable facts only.
    pub(crate) fn get(&self, space: &Space, key: &[u8]) -> Result<Option<Record>, Error> {
        let (batch, record) = self.begin_get(space, key)?;
        self.wait(batch)?;
        Ok(record)
    }

    /// The record of a key, to be told when the batch is committed.
    pub(crate) fn begin_get(&self, space: &Space, key: &[u8]) -> Result<(u64, Option<Record>), Error> {
        self.check_open()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        // A placeholder says nothing of the key: what is known of it lies in the runs.
        let find = |shard: &Shard| {
            shard.find(keyed.hash, &keyed.full).filter(|entry| !entry.marks.placeholder).cloned()
        };
        let live = find(&self.live.shard(keyed.hash));
        if let Some(entry) = live {
            return Ok((entry.batch, self.show_live(space, &keyed.full, entry)));
        }
        until_current(
            || self.look(&keyed),
            |looked| {
                let shard = self.live.shard(keyed.hash);
                if let Some(entry) = find(&shard) {
                    drop(shard);
                    return Ok(Some((entry.batch, self.show_live(space, &keyed.full, entry))));
                }
                if !looked.is_current(&self.cold) {
                    return Ok(None);
                }
                let found = looked.found.map(Cow::Owned);
                let known = found.map(|record| shard.cold_repeats.known(keyed.hash, record).into_owned());
                drop(shard);
                let show = |record| self.show(space, &keyed.full, record, Hold::Lapsed);
                Ok(Some((0, known.and_then(show))))
            },
        )
    }

    fn show_live(&self, space: &Space, full_key: &[u8], entry: Entry) -> Option<Record> {
        if entry.marks.placeholder {
            return None;
        }
        let hold = entry.hold(self.life, self.time.now_ms(), self.time.boot_ms());
        self.show(space, full_key, entry.into_known(), hold)
    }

    pub(super) fn show(
        &self,
        space: &Space,
        full_key: &[u8],
        record: codec::Record,
        hold: Hold,
    ) -> Option<Record> {
        if record.is_expired(self.time.now_ms()) || is_reserved(&space.name) {
            return None;
        }
        Record::new(&space.name, full_key.get(4..)?, record, hold)
    }
}
