//! Decisions about single keys, and their verdicts.

use crate::hex::{from_hex, hex};
use crate::wire::key::Key;
use crate::wire::refusal::{Refusal, RefusalKind};
use crate::wire::state::State;
use serde::{Deserialize, Serialize};

/// Most keys of one request.
pub const MAX_TARGETS: usize = 100;

/// The kind of a decision about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// A parked key may be claimed again, at once, for as many more attempts as the policy allows.
    Requeue,
    /// The same for a claim that has lost its holder.
    Release,
    /// The work of a parked key, or of a claim without a holder, is done.
    Complete,
    /// The same work has failed for good.
    Fail,
    /// The key becomes unknown, in whatever state it is.
    Forget,
}

impl Verb {
    /// The states from which it may start. Whether a claim in progress has a holder is checked by the store.
    pub fn takes(self, state: State) -> bool {
        match state {
            State::Parked => self != Verb::Release,
            State::Orphaned | State::InProgress => self != Verb::Requeue,
            State::Completed | State::Failed | State::Retry => self == Verb::Forget,
        }
    }

    /// The states from which it may start, in words.
    pub fn needs(self) -> &'static str {
        match self {
            Verb::Requeue => "parked",
            Verb::Release => "orphaned",
            Verb::Complete | Verb::Fail => "parked or orphaned",
            Verb::Forget => "known",
        }
    }
}

/// A decision, and the keys it is about.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The kind of the decision.
    pub verb: Verb,
    /// The keys: at most [`MAX_TARGETS`].
    pub targets: Vec<Target>,
    /// The person who decides: kept in the history of the key, up to 64 bytes.
    #[serde(default)]
    pub by: String,
    /// The reason: kept in the history of the key, up to 256 bytes.
    #[serde(default)]
    pub why: String,
    /// The response for duplicates, for [`Verb::Complete`] and [`Verb::Fail`].
    #[serde(flatten)]
    pub response: Response,
    /// For [`Verb::Forget`]: also a key whose holder's lease runs; its work may then be done twice.
    #[serde(default)]
    pub force: bool,
    /// Changes nothing: each verdict says whether the key is in a state for the decision.
    #[serde(default)]
    pub dry_run: bool,
}

/// A response, as text or in hex digits; empty if there is neither.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_hex: Option<String>,
}

impl Response {
    /// The response of these bytes.
    pub fn new(bytes: &[u8]) -> Response {
        // A control character takes six bytes as JSON text, but only two as hex digits.
        let is_plain = !bytes.iter().any(u8::is_ascii_control);
        match std::str::from_utf8(bytes) {
            Ok("") => Response::default(),
            Ok(text) if is_plain => Response { response: Some(text.into()), response_hex: None },
            _ => Response { response: None, response_hex: Some(hex(bytes)) },
        }
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        match (&self.response, &self.response_hex) {
            (Some(_), Some(_)) => {
                Err(Refusal::new(RefusalKind::Usage, "`response` and `response_hex` are both there"))
            }
            (Some(text), None) => Ok(text.as_bytes().to_vec()),
            (None, Some(digits)) => from_hex(digits).ok_or_else(|| {
                Refusal::new(RefusalKind::Usage, "response_hex has no even number of hex digits")
            }),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// Without the contents.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_there = self.response.is_some() || self.response_hex.is_some();
        f.write_str(if is_there { "Response(..)" } else { "Response()" })
    }
}

/// Without keys, response and reason.
impl std::fmt::Debug for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decision")
            .field("verb", &self.verb)
            .field("targets", &self.targets.len())
            .field("force", &self.force)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// One key, and the version of it that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its namespace; empty for the default one.
    #[serde(default)]
    pub namespace: String,
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// The version that a listing or a dry run showed. If given, the decision is about this version only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// Token and state of a key when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The token of the last claim.
    pub token: String,
    /// The state.
    pub state: State,
}

/// The result of a decision about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The namespace of the key.
    pub namespace: String,
    /// The first 12 hex digits of its digest.
    pub key_hash: String,
    /// Its length.
    pub key_bytes: usize,
    /// The version before the decision, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Why nothing was decided. `None`: it is decided and durable; of a dry run, it may be tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_starts_from_its_states_alone() {
        let check = |verb: Verb, expected: &str| {
            let taken = State::ALL.into_iter().filter(|state| verb.takes(*state));
            assert_eq!(taken.map(State::name).collect::<Vec<_>>().join(" "), expected, "{verb:?}");
        };
        check(Verb::Requeue, "parked");
        check(Verb::Release, "in-progress orphaned");
        check(Verb::Complete, "in-progress orphaned parked");
        check(Verb::Fail, "in-progress orphaned parked");
        check(Verb::Forget, "in-progress orphaned retry parked completed failed");
    }

    #[test]
    fn a_response_is_any_bytes_and_none_is_more_than_twice_as_long_on_its_way() {
        for bytes in [&b""[..], b"done", b"\xff\x00", b"\x01\x02", "\u{7f}\u{e9}".as_bytes(), b"a\nb"] {
            let response = Response::new(bytes);
            let text = serde_json::to_string(&response).unwrap();
            assert!(text.len() <= 2 * bytes.len() + 20, "{text}");
            let read: Response = serde_json::from_str(&text).unwrap();
            assert_eq!(read.bytes().unwrap(), bytes);
        }
        let both: Response = serde_json::from_str(r#"{"response":"a","response_hex":"00"}"#).unwrap();
        assert_eq!(both.bytes().unwrap_err().kind, RefusalKind::Usage);
    }
}
