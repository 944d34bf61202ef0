//! Copying rows out of redb a page at a time.

use super::super::backend::{Fault, unseal};
use crate::error::Error;
use redb::ReadableTable;
use std::fmt;
use std::ops::Bound;
use std::vec;

/// The most rows and bytes of one page. A read transaction keeps redb from reusing pages, so it ends after each page.
const PAGE_ROWS: usize = 1_000;
const PAGE_BYTES: usize = 1 << 20;
pub(super) type Row = (Vec<u8>, Vec<u8>);
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Copies one page of the rows between two bounds.
type Load<'t> = dyn Fn(Bounds<'_>) -> Result<Page, Error> + Send + Sync + 't;

/// Rows in key order. Ends after an error.
pub(crate) struct Rows<'t> {
    page: vec::IntoIter<Row>,
    /// Where the next page starts; `None` when there is none.
    next: Option<Bound<Vec<u8>>>,
    end: Bound<Vec<u8>>,
    load: Box<Load<'t>>,
}

impl<'t> Rows<'t> {
    pub(super) fn new(
        (start, end): Bounds<'_>,
        load: impl Fn(Bounds<'_>) -> Result<Page, Error> + Send + Sync + 't,
    ) -> Rows<'t> {
        let (next, end) = (Some(start.map(<[u8]>::to_vec)), end.map(<[u8]>::to_vec));
        Rows { page: Vec::new().into_iter(), next, end, load: Box::new(load) }
    }

    fn turn_page(&mut self) -> Result<Option<Row>, Error> {
        let Some(start) = self.next.take() else { return Ok(None) };
        let page = (self.load)((slice(&start), slice(&self.end)))?;
        if let (true, Some((last, _))) = (page.more, page.rows.last()) {
            self.next = Some(Bound::Excluded(last.clone()));
        }
        self.page = page.rows.into_iter();
        Ok(self.page.next())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.page.next() {
            Some(row) => Some(Ok(row)),
            None => self.turn_page().transpose(),
        }
    }
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Page {
    rows: Vec<Row>,
    more: bool,
}

/// One page of a table, every row proved.
pub(super) fn page<T>(table: &T, name: &str, bounds: Bounds<'_>) -> Result<Page, Fault>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let mut page = Page::default();
    if is_empty(&bounds) {
        return Ok(page);
    }
    let mut bytes = 0usize;
    for entry in table.range::<&[u8]>(bounds)? {
        if page.rows.len() >= PAGE_ROWS || bytes >= PAGE_BYTES {
            page.more = true;
            break;
        }
        let (key, value) = entry?;
        let row = unseal(name, key.value(), value.value())?.to_vec();
        bytes = bytes.saturating_add(key.value().len()).saturating_add(row.len());
        page.rows.push((key.value().to_vec(), row));
    }
    Ok(page)
}

/// Whether no key can lie between the bounds.
fn is_empty(bounds: &Bounds<'_>) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        _ => false,
    }
}

fn slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
