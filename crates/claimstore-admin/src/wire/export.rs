//! Exported records and rules, with everything that is stored of them.

use crate::hex::hex;
use crate::millis::millis;
use crate::wire::policy::PolicyView;
use crate::wire::record::{RecordView, Show};
use claimstore::{Policy, Record};
use serde::{Deserialize, Serialize};

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

impl RulesView {
    /// The rules of the namespace `name`.
    pub(crate) fn new(name: &str, policy: &Policy) -> RulesView {
        let key_rule_hex = policy.key_rule().map(|rule| hex(&rule.to_bytes()));
        RulesView { policy: PolicyView::new(name, policy), key_rule_hex }
    }
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

impl ExportView {
    pub(crate) fn new(record: &Record) -> ExportView {
        let show = Show { keys: true, payload: true };
        ExportView {
            record: RecordView::new(record, show).with_history(record, show),
            ttl_ms: millis(record.ttl()),
            fingerprint: record.fingerprint().map(|fingerprint| FingerprintView {
                scheme: fingerprint.scheme(),
                digest_hex: hex(&fingerprint.to_bytes()),
                fields_hex: record.fields().map(|fields| hex(&fields.to_bytes())),
            }),
        }
    }

    /// About how many bytes it takes in an answer.
    pub(crate) fn size(&self) -> usize {
        let fields = self.fingerprint.as_ref().and_then(|fingerprint| fingerprint.fields_hex.as_ref());
        // An entry of the history takes 200 bytes beside its note and its name, which take 320 at most.
        let history = self.record.history.as_ref().map_or(0, |history| history.len() * 800);
        self.record.size() + history + fields.map_or(0, String::len) + 200
    }
}
