//! Export of complete records, page by page.

use crate::answer::find::names;
use crate::wire::{ExportView, Page, Refusal, RulesView};
use claimstore::{Filter, Records, Store};

/// Most records of a page.
const MAX_RECORDS: usize = 1_000;
/// About the most bytes of a page; it has at least one record.
const MAX_BYTES: usize = 4 << 20;

/// A running export. It needs memory for one page, however many records there are. While it exists, files that a
/// merge or a prune has replaced stay on the disk.
#[derive(Debug)]
pub struct Export {
    rules: Vec<RulesView>,
    records: Records,
    /// The record that did not fit on the page before.
    next: Option<ExportView>,
}

impl Export {
    /// Begins to export all namespaces, or one.
    pub fn new(store: &Store, only: Option<&str>) -> Result<Export, Refusal> {
        let names = names(store, only)?;
        let rules = names.iter().map(|name| Ok(RulesView::new(name, &store.namespace(name)?.policy())));
        let rules = rules.collect::<Result<_, claimstore::Error>>()?;
        let filter = only.iter().fold(Filter::new(), |filter, name| filter.namespace(name));
        Ok(Export { rules, records: store.scan(filter), next: None })
    }

    /// The next page. After the last one there are none.
    pub fn page(&mut self) -> Result<Page, Refusal> {
        let mut page = Page { rules: std::mem::take(&mut self.rules), records: Vec::new(), is_last: false };
        let mut bytes = 0;
        while page.records.len() < MAX_RECORDS {
            let Some(record) = self.take()? else {
                page.is_last = true;
                break;
            };
            bytes += record.size();
            if bytes > MAX_BYTES && !page.records.is_empty() {
                self.next = Some(record);
                break;
            }
            page.records.push(record);
        }
        Ok(page)
    }

    fn take(&mut self) -> Result<Option<ExportView>, Refusal> {
        if let Some(record) = self.next.take() {
            return Ok(Some(record));
        }
        Ok(self.records.next().transpose()?.map(|record| ExportView::new(&record)))
    }
}
