//! Refusals: why a request got no answer.

use claimstore::ErrorKind;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// Why a request got no answer. The message has no key and no payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What can be done about it.
    pub kind: RefusalKind,
    /// For people.
    pub message: String,
    /// If the key is not in the default namespace: up to three other namespaces that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
}

/// What can be done about a [`Refusal`]. One that is not known here reads as [`RefusalKind::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", from = "String")]
#[non_exhaustive]
pub enum RefusalKind {
    /// The key or the namespace is not there.
    NotFound,
    /// The key is there, in a state in which this cannot be decided.
    WrongState,
    /// A holder is trusted with the key.
    Held,
    /// The program allows no decisions, or not to this user.
    Denied,
    /// The program cannot be asked this: it is of another version.
    Unsupported,
    /// The directory for a copy is not empty.
    Occupied,
    /// The request makes no sense.
    Usage,
    /// The request is of another version of the protocol.
    Version,
    /// It may succeed later.
    Busy,
    /// The store is damaged, or of a later version.
    Damaged,
    /// The store closed meanwhile.
    Closed,
    /// Something else failed.
    Failed,
}

impl RefusalKind {
    const ALL: [RefusalKind; 12] = [
        RefusalKind::NotFound,
        RefusalKind::WrongState,
        RefusalKind::Held,
        RefusalKind::Denied,
        RefusalKind::Unsupported,
        RefusalKind::Occupied,
        RefusalKind::Usage,
        RefusalKind::Version,
        RefusalKind::Busy,
        RefusalKind::Damaged,
        RefusalKind::Closed,
        RefusalKind::Failed,
    ];

    /// The name, as in answers.
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::NotFound => "not-found",
            RefusalKind::WrongState => "wrong-state",
            RefusalKind::Held => "held",
            RefusalKind::Denied => "denied",
            RefusalKind::Unsupported => "unsupported",
            RefusalKind::Occupied => "occupied",
            RefusalKind::Usage => "usage",
            RefusalKind::Version => "version",
            RefusalKind::Busy => "busy",
            RefusalKind::Damaged => "damaged",
            RefusalKind::Closed => "closed",
            RefusalKind::Failed => "failed",
        }
    }

    /// Whether this refusal would apply to every other key too.
    pub fn ends_all(self) -> bool {
        matches!(self, RefusalKind::Damaged | RefusalKind::Closed | RefusalKind::Failed)
    }
}

impl From<String> for RefusalKind {
    fn from(name: String) -> RefusalKind {
        let known = RefusalKind::ALL.into_iter().find(|kind| kind.name() == name);
        known.unwrap_or(RefusalKind::Failed)
    }
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl Into<String>) -> Refusal {
        Refusal { kind, message: message.into(), elsewhere: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<claimstore::Error> for Refusal {
    fn from(error: claimstore::Error) -> Refusal {
        let kind = match error.kind() {
            ErrorKind::Overloaded | ErrorKind::AlreadyOpen => RefusalKind::Busy,
            ErrorKind::Corrupt | ErrorKind::TooNew => RefusalKind::Damaged,
            ErrorKind::Misuse | ErrorKind::InvalidKey | ErrorKind::InvalidToken | ErrorKind::TooLarge => {
                RefusalKind::Usage
            }
            ErrorKind::Closed => RefusalKind::Closed,
            _ => RefusalKind::Failed,
        };
        // With all causes: the error of the operating system is the helpful part.
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            let _ = write!(message, ": {error}");
            cause = error.source();
        }
        Refusal::new(kind, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_refusals_have_one_name_each_and_later_ones_can_be_read() {
        for kind in RefusalKind::ALL {
            let written = serde_json::to_string(&kind).unwrap();
            assert_eq!(written, format!("\"{}\"", kind.name()));
            assert_eq!(serde_json::from_str::<RefusalKind>(&written).unwrap(), kind);
        }
        assert_eq!(serde_json::from_str::<RefusalKind>("\"later\"").unwrap(), RefusalKind::Failed);
    }
}
