//! Listings of the embedded store, a page at a time.

use super::{Embedded, blocks_here, closed};
use crate::Record;
use crate::engine::Engine;
use crate::error::Error;
use crate::sync::{Arc, Mutex, Weak};
use claimstore_core::Pending;
use claimstore_core::backend::Pages;
use std::fmt;

/// Most records of a page, and about as many bytes of keys and bodies.
const PAGE_RECORDS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// Pages of a listing: read on the upkeep thread, or by the thread that waits for one.
struct Listing<I> {
    engine: Weak<Engine>,
    /// Locked while a page is read, so that the next one waits for it. `None` after the end or an error.
    records: Arc<Mutex<Option<I>>>,
}

impl Embedded {
    pub(super) fn pages<I>(&self, list: impl FnOnce(&Arc<Engine>) -> I) -> Box<dyn Pages>
    where
        I: Iterator<Item = Result<Record, Error>> + Send + 'static,
    {
        let records = self.engine().ok().map(|engine| list(&engine));
        Box::new(Listing { engine: self.engine.clone(), records: Arc::new(Mutex::new(records)) })
    }
}

impl<I: Iterator<Item = Result<Record, Error>> + Send + 'static> Pages for Listing<I> {
    fn next_page(&mut self) -> Pending<Vec<Record>> {
        let Some(engine) = self.engine.upgrade() else { return Pending::done(Err(closed())) };
        let records = self.records.clone();
        let read = move |engine: &Engine| {
            engine.check_open()?;
            let mut records = records.lock();
            let page = records.as_mut().map_or(Ok(Vec::new()), page);
            if page.as_ref().is_ok_and(Vec::is_empty) || page.is_err() {
                *records = None;
            }
            page
        };
        Pending::new(async move {
            if blocks_here(&engine) { read(&engine) } else { engine.run_elsewhere(read).await }
        })
    }
}

fn page(records: &mut impl Iterator<Item = Result<Record, Error>>) -> Result<Vec<Record>, Error> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while page.len() < PAGE_RECORDS && bytes < PAGE_BYTES {
        let Some(record) = records.next().transpose()? else { break };
        bytes += record.key().len() + record.version().body.len();
        page.push(record);
    }
    Ok(page)
}

impl<I> fmt::Debug for Listing<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}
