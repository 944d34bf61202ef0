//! The quality of keys: problems that a window of claims reveals.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use crate::{Fingerprint, composite_parts};

/// Watches keys and fingerprints go by and tells when keys look like a mistake.
///
/// Keeps nothing of a key or payload but hashes under a key of its own, for the last so many claims. Costs a few
/// hash look-ups for each claim; watch a sample where that is too much.
///
/// ```
/// use claimstore_hash::{Doubt, Fingerprint, KeyQuality};
///
/// let mut quality = KeyQuality::new(1_000);
/// let payload = Fingerprint::raw("one and the same order");
/// for attempt in ["6f9619ff", "8b86d011", "b42d00cf", "c964ff00"] {
///     quality.observe(attempt, Some(&payload)); // an id made afresh for each retry
/// }
/// let findings = quality.findings();
/// assert_eq!(findings[0].doubt, Doubt::FreshKeys);
/// assert_eq!((findings[0].seen, findings[0].of), (3, 4));
/// ```
///
/// A finding is a hint, not a proof: two orders of the same goods have the same payload and rightly two keys.
pub struct KeyQuality {
    window: usize,
    seen: VecDeque<Seen>,
    /// The number of the next claim.
    next: u64,
    /// The last claim with a fingerprint.
    last: HashMap<[u8; 32], u64>,
    hasher: RandomState,
}

/// A possible problem with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doubt {
    /// One payload comes under many keys that have nothing in common: a random id is made afresh for each retry.
    /// Mint it once and keep it with the event.
    FreshKeys,
    /// One payload comes under composite keys that differ in one part: something in the key changes from retry to
    /// retry, such as an attempt number, a status or a time.
    ChangingPart {
        /// Which part, counted from 0.
        index: usize,
    },
    /// Keys, or a part of them, are timestamps: two events of one moment are one, and a retry is another.
    Timestamp,
    /// Keys, or a part of them, are e-mail addresses: people change them, and the event becomes another.
    Changeable,
}

/// A doubt, and how often it arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The possible problem.
    pub doubt: Doubt,
    /// In how many claims of the window.
    pub seen: usize,
    /// How many claims the window holds.
    pub of: usize,
}

struct Seen {
    number: u64,
    key: u64,
    fingerprint: Option<[u8; 32]>,
    parts: Vec<u64>,
    /// A doubt from this claim's key alone.
    look: Option<Doubt>,
    /// A doubt from this claim together with an earlier one of the same payload.
    repeat: Option<Doubt>,
}

/// The most parts of a composite key that are examined.
const MAX_PARTS: usize = 8;

/// A doubt is told when it arose so often...
const MIN_SEEN: usize = 3;
/// ...and in one claim of so many.
const ONE_IN: usize = 20;

impl KeyQuality {
    /// Looks back over the last `window` claims, at least one. A claim takes up to about 200 bytes.
    pub fn new(window: usize) -> KeyQuality {
        KeyQuality {
            window: window.max(1),
            seen: VecDeque::new(),
            next: 0,
            last: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Takes note of a claim: its key as claimed, and its payload's fingerprint if it has one.
    pub fn observe(&mut self, key: impl AsRef<[u8]>, fingerprint: Option<&Fingerprint>) {
        let key = key.as_ref();
        let parts = composite_parts(key).unwrap_or_default();
        let number = self.next;
        let mut seen = Seen {
            number,
            key: self.hasher.hash_one(key),
            fingerprint: fingerprint.map(|fingerprint| fingerprint.to_bytes()),
            parts: parts.iter().take(MAX_PARTS).map(|part| self.hasher.hash_one(part)).collect(),
            look: parts.iter().take(MAX_PARTS).find_map(|part| look(part)),
            repeat: None,
        };
        if let Some(fingerprint) = seen.fingerprint
            && let Some(earlier) = self.last.insert(fingerprint, number).and_then(|number| self.find(number))
        {
            seen.repeat = seen.against(earlier);
        }
        self.next += 1;
        self.seen.push_back(seen);
        if self.seen.len() > self.window {
            self.forget_first();
        }
    }

    /// The doubts that arose in at least three claims of the window and in at least one of twenty, most frequent
    /// first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut counts: HashMap<Doubt, usize> = HashMap::new();
        for doubt in self.seen.iter().flat_map(|seen| [seen.look, seen.repeat]).flatten() {
            *counts.entry(doubt).or_default() += 1;
        }
        let of = self.seen.len();
        let mut findings: Vec<Finding> = counts
            .into_iter()
            .filter(|&(_, seen)| seen >= MIN_SEEN && seen * ONE_IN >= of)
            .map(|(doubt, seen)| Finding { doubt, seen, of })
            .collect();
        findings.sort_by_key(|finding| (std::cmp::Reverse(finding.seen), finding.doubt.rank()));
        findings
    }

    fn find(&self, number: u64) -> Option<&Seen> {
        let first = self.seen.front()?.number;
        self.seen.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    fn forget_first(&mut self) {
        let Some(first) = self.seen.pop_front() else { return };
        if let Some(fingerprint) = first.fingerprint
            && self.last.get(&fingerprint) == Some(&first.number)
        {
            self.last.remove(&fingerprint);
        }
    }
}

impl fmt::Debug for KeyQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyQuality")
            .field("window", &self.window)
            .field("seen", &self.seen.len())
            .finish_non_exhaustive()
    }
}

impl Seen {
    /// The doubt that two claims of one payload raise.
    fn against(&self, earlier: &Seen) -> Option<Doubt> {
        if self.key == earlier.key {
            return None;
        }
        if self.parts.len() != earlier.parts.len() || self.parts.len() < 2 {
            return Some(Doubt::FreshKeys);
        }
        let pairs = self.parts.iter().zip(&earlier.parts).enumerate();
        let mut other = pairs.filter(|(_, (one, other))| one != other).map(|(index, _)| index);
        match (other.next(), other.next()) {
            (Some(index), None) => Some(Doubt::ChangingPart { index }),
            _ => Some(Doubt::FreshKeys),
        }
    }
}

impl Doubt {
    fn rank(self) -> usize {
        match self {
            Doubt::FreshKeys => 0,
            Doubt::ChangingPart { index } => 1 + index,
            Doubt::Timestamp => 1 + MAX_PARTS,
            Doubt::Changeable => 2 + MAX_PARTS,
        }
    }
}

/// A doubt from a part's text alone.
fn look(part: &[u8]) -> Option<Doubt> {
    let text = std::str::from_utf8(part).ok()?;
    if is_epoch(text) || is_date_time(text) {
        return Some(Doubt::Timestamp);
    }
    let (name, host) = text.split_once('@')?;
    let address = !name.is_empty() && host.contains('.') && !text.contains([' ', '/', ':']);
    address.then_some(Doubt::Changeable)
}

/// Milliseconds or microseconds since 1970, between 2001 and 2100. Seconds have ten digits, as many as document
/// numbers have: not told apart, so not doubted.
fn is_epoch(text: &str) -> bool {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Ok(number) = text.parse::<u64>() else { return false };
    match text.len() {
        13 => (978_307_200_000..4_102_444_800_000).contains(&number),
        16 => (978_307_200_000_000..4_102_444_800_000_000).contains(&number),
        _ => false,
    }
}

/// `2026-11-21T13:44`, or with a space for the `T`, and whatever follows.
fn is_date_time(text: &str) -> bool {
    let digits = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    let shape: Vec<u8> = text.bytes().take(16).map(digits).collect();
    matches!(shape.as_slice(), b"0000-00-00T00:00" | b"0000-00-00 00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings<F: Into<Option<Fingerprint>>>(
        claims: impl IntoIterator<Item = (String, F)>,
    ) -> Vec<(Doubt, usize)> {
        let mut quality = KeyQuality::new(100);
        claims.into_iter().for_each(|(key, fingerprint)| quality.observe(key, fingerprint.into().as_ref()));
        quality.findings().iter().map(|finding| (finding.doubt, finding.seen)).collect()
    }

    fn payload(number: u32) -> Fingerprint {
        Fingerprint::raw(number.to_le_bytes())
    }

    #[test]
    fn good_keys_raise_no_doubt() {
        assert_eq!(findings((0..100).map(|order| (format!("erp|order|{order:010}"), payload(order)))), []);
        assert_eq!(
            findings((0..100).map(|order| (format!("erp|order|{}", order / 3), payload(order / 3)))),
            []
        );
        assert_eq!(findings((0..100).map(|order| (format!("order-{order}"), None::<Fingerprint>))), []);
        // Ten digits are as likely a document number as a time.
        assert_eq!(
            findings((0..100).map(|order| (format!("{}", 1_800_000_000 + order), payload(order)))),
            []
        );
        assert_eq!(findings::<Fingerprint>([]), []);
    }

    #[test]
    fn a_fresh_id_for_each_retry_is_noticed() {
        let id = |retry: u32| crate::hex::hex(&retry.to_le_bytes());
        assert_eq!(findings((0..40).map(|retry| (id(retry), payload(retry / 2)))), [(Doubt::FreshKeys, 20)]);
        // One in fifty is not a pattern.
        assert_eq!(findings((0..100).map(|retry| (id(retry), payload(retry.max(2))))), []);
    }

    #[test]
    fn a_part_that_changes_is_noticed_and_named() {
        let key = |retry: u32| format!("erp|{}|try-{retry}", retry / 4);
        let expected = [(Doubt::ChangingPart { index: 2 }, 30)];
        assert_eq!(findings((0..40).map(|retry| (key(retry), payload(retry / 4)))), expected);
    }

    #[test]
    fn timestamps_and_addresses_are_noticed() {
        let check = |make: &dyn Fn(u32) -> String, expected: &[(Doubt, usize)]| {
            assert_eq!(findings((0..10).map(|at| (make(at), payload(at)))), expected, "{}", make(0));
        };
        let (time, mail) = ([(Doubt::Timestamp, 10)], [(Doubt::Changeable, 10)]);
        check(&|at| (1_763_732_640_000_u64 + u64::from(at)).to_string(), &time);
        check(&|at| (1_763_732_640_000_000_u64 + u64::from(at)).to_string(), &time);
        check(&|at| format!("2026-11-21T13:44:{at:02}Z"), &time);
        check(&|at| format!("order|2026-11-21 13:44:{at:02}"), &time);
        check(&|at| format!("customer|jo{at}@shop.example"), &mail);
        check(&|at| format!("2026-11-{:02}", at + 1), &[]);
        check(&|at| format!("{at}@queue"), &[]);
        check(&|at| format!("ssh://git@host.example/{at}"), &[]);
        check(&|at| format!("{at:013}"), &[]);
    }

    #[test]
    fn the_window_is_bounded_and_moves_on() {
        let mut quality = KeyQuality::new(10);
        for retry in 0..10_u32 {
            quality.observe(retry.to_le_bytes(), Some(&payload(7)));
        }
        assert_eq!(quality.findings().len(), 1);
        for order in 0..10_000_u32 {
            quality.observe(format!("order-{order}"), Some(&payload(order + 8)));
        }
        assert_eq!(quality.findings(), []);
        assert_eq!((quality.seen.len(), quality.last.len()), (10, 10));
        assert_eq!(format!("{quality:?}"), "KeyQuality { window: 10, seen: 10, .. }");
    }
}
