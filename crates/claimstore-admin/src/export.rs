//! Export of complete records, page by page.

use crate::answer::{Refusal, namespace};
use crate::ask::Show;
use crate::view::{PolicyView, RecordView, hex};
use claimstore::{Filter, Record, Records, Store};
use serde::{Deserialize, Serialize};

/// Most records of a page.
const MAX_RECORDS: usize = 1_000;
/// About the most bytes of a page; it has at least one record.
const MAX_BYTES: usize = 4 << 20;

/// A page of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The rules of every namespace that is exported; on the first page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RulesView>,
    /// Records, in no particular order.
    pub records: Vec<ExportView>,
    /// Whether these were the last.
    pub is_last: bool,
}

/// The rules of a namespace, with the bytes of its rule of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesView {
    /// As they are shown.
    pub policy: PolicyView,
    /// The rule of the keys: `KeySpec::to_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_rule_hex: Option<String>,
}

/// A complete record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportView {
    /// The record with its key, stored data and history.
    pub record: RecordView,
    /// How long it is remembered once it is settled.
    pub ttl_ms: u64,
    /// The fingerprint of its payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<FingerprintView>,
}

/// A fingerprint. With the fingerprint key, payloads can be guessed from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintView {
    /// As `claimstore_hash::Fingerprint` numbers them.
    pub scheme: u8,
    /// The digest.
    pub digest_hex: String,
    /// The digests of the payload's fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields_hex: Option<String>,
}

/// Without the digests.
impl std::fmt::Debug for FingerprintView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FingerprintView").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

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
        let names = match only {
            Some(name) => vec![namespace(store, name)?.name().to_owned()],
            None => store.namespaces(),
        };
        let rules = names.iter().map(|name| {
            let policy = store.namespace(name)?.policy();
            let key_rule_hex = policy.key_rule().map(|rule| hex(&rule.to_bytes()));
            Ok(RulesView { policy: PolicyView::new(name, &policy), key_rule_hex })
        });
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

impl ExportView {
    fn new(record: &Record) -> ExportView {
        let show = Show { keys: true, payload: true };
        ExportView {
            record: RecordView::new(record, show).with_history(record, show),
            ttl_ms: u64::try_from(record.ttl().as_millis()).unwrap_or(u64::MAX),
            fingerprint: record.fingerprint().map(|fingerprint| FingerprintView {
                scheme: fingerprint.scheme(),
                digest_hex: hex(&fingerprint.to_bytes()),
                fields_hex: record.fields().map(|fields| hex(&fields.to_bytes())),
            }),
        }
    }

    /// About how many bytes it takes in an answer.
    fn size(&self) -> usize {
        let fields = self.fingerprint.as_ref().and_then(|fingerprint| fingerprint.fields_hex.as_ref());
        // An entry of the history takes 200 bytes beside its note and its name, which take 320 at most.
        let history = self.record.history.as_ref().map_or(0, |history| history.len() * 800);
        self.record.size() + history + fields.map_or(0, String::len) + 200
    }
}
