//! What can be asked.

use crate::answer::{Refusal, RefusalKind};
use crate::decision::{Decision, Verb};
use crate::policy::PolicyChange;
use claimstore::RecordState;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The version of the protocol that this crate speaks.
pub(crate) const VERSION: u32 = 1;

/// What is told of a request that this version does not know.
const UNSUPPORTED: &str = "the program that has the store open was built with a claimstore-admin of another version, \
                           and cannot be asked this";

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// Which version of the protocol is spoken, and whether decisions are allowed.
    Hello,
    /// How many records there are, by state, and how large the store is. Reads every record.
    Stats,
    /// What the store is doing: counts, latencies, lags, ages. Cheap.
    Live,
    /// One key.
    Get {
        /// Its namespace; empty for the default one.
        #[serde(default)]
        namespace: String,
        /// The key.
        #[serde(flatten)]
        key: Key,
        /// What is shown of it.
        #[serde(default)]
        show: Show,
        /// Its history too.
        #[serde(default)]
        history: bool,
    },
    /// A page of records.
    List(Listing),
    /// The policies of all namespaces, or of one.
    Policies {
        /// Which one.
        #[serde(default)]
        namespace: Option<String>,
    },
    /// Moves what is resolved out of the journal.
    Checkpoint,
    /// Drops the time buckets that have ended.
    Prune {
        /// Only says what would go.
        #[serde(default)]
        dry_run: bool,
    },
    /// Decides about keys.
    Decide(Decision),
    /// Sets the rules of a namespace.
    SetPolicy(PolicyChange),
    /// Copies the store into a new or empty directory.
    Backup {
        /// The directory, absolute, as the program sees the file system.
        #[serde(flatten)]
        dir: Dir,
        /// Takes the key of the fingerprints along.
        #[serde(default)]
        with_key: bool,
    },
    /// Begins to read every record, with all that is stored of it. One at a time on a connection; it is over when the
    /// connection is.
    Export {
        /// Only those of this namespace.
        #[serde(default)]
        namespace: Option<String>,
    },
    /// The next records of what [`Request::Export`] began.
    ExportMore,
}

/// A directory, as text or in hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dir {
    /// UTF-8.
    #[serde(rename = "dir")]
    Text(String),
    /// Any bytes.
    #[serde(rename = "dir_hex")]
    Hex(String),
}

impl Dir {
    /// The directory at this path.
    pub fn new(path: &Path) -> Dir {
        match path.to_str() {
            Some(text) => Dir::Text(text.into()),
            None => Dir::Hex(crate::hex(path.as_os_str().as_bytes())),
        }
    }

    pub(crate) fn path(&self) -> Result<PathBuf, Refusal> {
        let usage = |message: &str| Refusal::new(RefusalKind::Usage, message);
        let path = match self {
            Dir::Text(text) => PathBuf::from(text),
            Dir::Hex(digits) => {
                let bytes =
                    from_hex(digits).ok_or_else(|| usage("dir_hex has no even number of hex digits"))?;
                PathBuf::from(OsString::from_vec(bytes))
            }
        };
        if path.is_absolute() {
            return Ok(path);
        }
        Err(usage("a directory for a backup is named by its absolute path"))
    }
}

/// A key, as text, in hex digits, or by the short name that lists show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Key {
    /// UTF-8.
    #[serde(rename = "key")]
    Text(String),
    /// Any bytes.
    #[serde(rename = "key_hex")]
    Hex(String),
    /// The short name, [`KeyLabel`](crate::KeyLabel): it is looked for among all keys of the namespace. A key that is
    /// spelt so itself is found too, and where both are there, neither is.
    #[serde(rename = "key_label")]
    Label(String),
}

/// Shows which, never the key.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Key::Text(_) => "Text(..)",
            Key::Hex(_) => "Hex(..)",
            Key::Label(_) => "Label(..)",
        })
    }
}

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: &[u8]) -> Key {
        match std::str::from_utf8(bytes) {
            Ok(text) => Key::Text(text.into()),
            Err(_) => Key::Hex(crate::hex(bytes)),
        }
    }

    /// As they stand here; [`resolve`](crate::resolve) also knows the key of a short name.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        match self {
            Key::Text(text) | Key::Label(text) => Ok(text.as_bytes().to_vec()),
            Key::Hex(digits) => from_hex(digits)
                .ok_or_else(|| Refusal::new(RefusalKind::Usage, "key_hex has no even number of hex digits")),
        }
    }
}

/// The bytes of hex digits; `None` for an odd number of them, or for anything else.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(pair).collect()
}

/// What is shown of records beyond their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Show {
    /// Keys in full, beside their hash.
    pub keys: bool,
    /// What programs stored: responses, progress, origins and notes.
    pub payload: bool,
}

/// A page of records, oldest claim first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which records.
    #[serde(flatten)]
    pub which: Which,
    /// Only of this namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Most records of the page; at most 1,000 come at once.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// The cursor that the page before ended with.
    #[serde(default)]
    pub after: Option<String>,
    /// What is shown of them.
    #[serde(default)]
    pub show: Show,
}

/// Shows the shape, never the prefix.
impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing")
            .field("limit", &self.limit)
            .field("show", &self.show)
            .finish_non_exhaustive()
    }
}

/// Shows the kind, never the prefix.
impl std::fmt::Debug for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Which::Records { .. } => "Records",
            Which::Unheld => "Unheld",
            Which::Stuck { .. } => "Stuck",
            Which::Decidable { .. } => "Decidable",
        })
    }
}

fn default_limit() -> u32 {
    100
}

/// Which records a listing shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "kebab-case")]
pub enum Which {
    /// Those that fit.
    Records {
        /// In any of these states; empty: in any at all.
        #[serde(default)]
        states: Vec<State>,
        /// With keys that begin with this.
        #[serde(default)]
        prefix: String,
        /// Whose last claim is older than this.
        #[serde(default)]
        older_than_ms: Option<u64>,
        /// Whose last claim is not older than this.
        #[serde(default)]
        newer_than_ms: Option<u64>,
    },
    /// Claims that nobody stands behind.
    Unheld,
    /// Claims in progress or orphaned for this long, and retries that long due.
    Stuck {
        /// For how long.
        older_than_ms: u64,
    },
    /// Those that a decision may be made about: of claims in progress only those that nobody is trusted with.
    Decidable {
        /// Which decision.
        verb: Verb,
        /// Those that a holder is trusted with too, where the decision can be forced.
        #[serde(default)]
        force: bool,
        /// Of these only those in any of these states.
        #[serde(default)]
        states: Vec<State>,
        /// As above.
        #[serde(default)]
        prefix: String,
        /// As above.
        #[serde(default)]
        older_than_ms: Option<u64>,
        /// As above.
        #[serde(default)]
        newer_than_ms: Option<u64>,
    },
}

/// The states of records, by the names that answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Somebody holds the claim, or may.
    InProgress,
    /// Nobody holds the claim any more.
    Orphaned,
    /// Done.
    Completed,
    /// Failed for good.
    Failed,
    /// May be claimed again, now or later.
    Retry,
    /// Held for review.
    Parked,
}

impl From<State> for RecordState {
    fn from(state: State) -> RecordState {
        match state {
            State::InProgress => RecordState::InProgress,
            State::Orphaned => RecordState::Orphaned,
            State::Completed => RecordState::Completed,
            State::Failed => RecordState::Failed,
            State::Retry => RecordState::Retry,
            State::Parked => RecordState::Parked,
        }
    }
}

impl From<RecordState> for State {
    fn from(state: RecordState) -> State {
        match state {
            RecordState::Orphaned => State::Orphaned,
            RecordState::Completed => State::Completed,
            RecordState::Failed => State::Failed,
            RecordState::Retry => State::Retry,
            RecordState::Parked => State::Parked,
            // A state of a later version is one that is not over.
            _ => State::InProgress,
        }
    }
}

impl State {
    /// All of them: those that are not over first.
    pub const ALL: [State; 6] =
        [State::InProgress, State::Orphaned, State::Retry, State::Parked, State::Completed, State::Failed];

    /// The one word for the state, in answers, exports, options and tables alike.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What the word means.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The table of words.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            State::InProgress => ("in-progress", "somebody holds the claim, or may"),
            State::Orphaned => ("orphaned", "the holder of the claim is gone"),
            State::Retry => ("retry", "not done: the key may be claimed again, now or later"),
            State::Parked => ("parked", "held for review: claims are refused until somebody decides"),
            State::Completed => ("completed", "done"),
            State::Failed => ("failed", "failed for good"),
        }
    }
}

/// What a line must have before the rest of it is believed.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
    #[serde(default)]
    ask: Option<String>,
}

/// What this version can be asked, as `ask` names it.
const ASKS: [&str; 13] = [
    "hello",
    "stats",
    "live",
    "get",
    "list",
    "policies",
    "checkpoint",
    "prune",
    "decide",
    "set-policy",
    "backup",
    "export",
    "export-more",
];

#[derive(Serialize)]
struct Sent<'a> {
    v: u32,
    #[serde(flatten)]
    request: &'a Request,
}

impl Request {
    /// The line that asks it, with its line feed.
    pub(crate) fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(&Sent { v: VERSION, request: self })?;
        line.push(b'\n');
        Ok(line)
    }

    /// What a line asks. The message of a refusal never quotes it: a key may be in it.
    pub(crate) fn from_line(line: &[u8]) -> Result<Request, Refusal> {
        let usage = |message: &str| Refusal::new(RefusalKind::Usage, message);
        let Versioned { v, ask } = serde_json::from_slice(line)
            .map_err(|_| usage("a request is one JSON object on a line, with its version `v`"))?;
        if v != VERSION {
            return Err(Refusal::new(RefusalKind::Version, "this store speaks version 1 of the protocol"));
        }
        let ask = ask.ok_or_else(|| usage("a request says in `ask` what is asked"))?;
        if !ASKS.contains(&ask.as_str()) {
            return Err(Refusal::new(RefusalKind::Unsupported, UNSUPPORTED));
        }
        serde_json::from_slice(line)
            .map_err(|_| usage("the parts of this request are wrong; see `claimstore-admin`"))
    }

    /// Whether it is one that a program must allow.
    pub(crate) fn needs_permission(&self) -> bool {
        match self {
            Request::Decide(_)
            | Request::SetPolicy(_)
            | Request::Backup { .. }
            | Request::Export { .. }
            | Request::ExportMore => true,
            Request::Hello
            | Request::Stats
            | Request::Live
            | Request::Get { .. }
            | Request::List(_)
            | Request::Policies { .. }
            | Request::Checkpoint
            | Request::Prune { .. } => false,
        }
    }

    /// Whether it takes turns with the upkeep of the store, and may have to wait for it.
    pub(crate) fn is_upkeep(&self) -> bool {
        matches!(
            self,
            Request::SetPolicy(_) | Request::Backup { .. } | Request::Checkpoint | Request::Prune { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Response, Seen, Target};

    #[test]
    fn requests_round_trip_as_lines() {
        let mut asked = std::collections::BTreeSet::new();
        let listing = Listing {
            which: Which::Records {
                states: vec![State::InProgress, State::Parked],
                prefix: "a\"b".into(),
                older_than_ms: Some(5),
                newer_than_ms: None,
            },
            namespace: Some("shop".into()),
            limit: 7,
            after: Some("5-00".into()),
            show: Show { keys: true, payload: false },
        };
        let decidable = Which::Decidable {
            verb: Verb::Forget,
            force: true,
            states: vec![State::Retry],
            prefix: "p".into(),
            older_than_ms: None,
            newer_than_ms: Some(1),
        };
        let get = |key| Request::Get { namespace: "n".into(), key, show: Show::default(), history: true };
        for request in [
            Request::Stats,
            Request::Live,
            get(Key::new(b"text")),
            get(Key::new(b"\xff\x00")),
            get(Key::Label("3f9a2b77c0de+14B".into())),
            Request::List(listing.clone()),
            Request::List(Listing { which: Which::Unheld, ..listing.clone() }),
            Request::List(Listing { which: Which::Stuck { older_than_ms: 9 }, ..listing.clone() }),
            Request::List(Listing { which: decidable, ..listing }),
            Request::Policies { namespace: None },
            Request::Checkpoint,
            Request::Prune { dry_run: true },
            Request::Hello,
            decide(&["a", "b"], b"done"),
            decide(&[], b"\xff"),
            Request::SetPolicy(PolicyChange { ttl_ms: Some(7), ..PolicyChange::of("shop") }),
            Request::Backup { dir: Dir::new(Path::new("/backup/a")), with_key: true },
            Request::Backup {
                dir: Dir::new(Path::new(std::ffi::OsStr::from_bytes(b"/\xff"))),
                with_key: false,
            },
            Request::Export { namespace: Some("shop".into()) },
            Request::ExportMore,
        ] {
            let line = request.to_line().unwrap();
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            assert_eq!(Request::from_line(&line).unwrap(), request);
            let Versioned { ask, .. } = serde_json::from_slice(&line).unwrap();
            asked.insert(ask.unwrap());
        }
        let known: std::collections::BTreeSet<String> = ASKS.map(str::to_owned).into();
        assert_eq!(asked, known, "every request is known by its name");
    }

    fn decide(keys: &[&str], response: &[u8]) -> Request {
        let seen = Some(Seen { token: "7".into(), state: State::Parked });
        let target = |key: &&str| Target {
            namespace: "shop".into(),
            key: Key::new(key.as_bytes()),
            seen: seen.clone(),
        };
        Request::Decide(Decision {
            verb: Verb::Complete,
            targets: keys.iter().map(target).collect(),
            by: "ada".into(),
            why: "found".into(),
            response: Response::new(response),
            force: false,
            dry_run: true,
        })
    }

    #[test]
    fn a_directory_is_absolute() {
        for (dir, is_right) in [
            (Dir::Text("/a".into()), true),
            (Dir::Text("a".into()), false),
            (Dir::Text(String::new()), false),
            (Dir::Hex("2f61".into()), true),
            (Dir::Hex("61".into()), false),
            (Dir::Hex("2".into()), false),
        ] {
            assert_eq!(dir.path().is_ok(), is_right, "{dir:?}");
        }
    }

    #[test]
    fn a_state_has_one_word() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(
                (State::named(state.name()), State::from(RecordState::from(state))),
                (Some(state), state)
            );
        }
        assert_eq!(State::named("done"), None);
    }

    #[test]
    fn what_may_be_left_out_has_its_default() {
        let line = br#"{"v":1,"ask":"list","which":"unheld","later":"ignored"}"#;
        let Request::List(listing) = Request::from_line(line).unwrap() else { panic!() };
        assert_eq!((listing.limit, listing.after, listing.show), (100, None, Show::default()));
        let line = br#"{"v":1,"ask":"get","key":"k"}"#;
        assert!(matches!(Request::from_line(line), Ok(Request::Get { history: false, .. })));
    }

    #[test]
    fn nonsense_is_refused_without_being_quoted() {
        for (line, kind) in [
            (&b""[..], RefusalKind::Usage),
            (b"canary", RefusalKind::Usage),
            (b"{}", RefusalKind::Usage),
            (br#"{"v":2,"ask":"stats"}"#, RefusalKind::Version),
            (br#"{"v":1}"#, RefusalKind::Usage),
            (br#"{"v":1,"ask":7}"#, RefusalKind::Usage),
            (br#"{"v":1,"ask":"canary"}"#, RefusalKind::Unsupported),
            (br#"{"v":1,"ask":"decide","verb":"canary","targets":[]}"#, RefusalKind::Usage),
            (
                br#"{"v":1,"ask":"decide","verb":"forget","targets":[{"namespace":"canary"}]}"#,
                RefusalKind::Usage,
            ),
            (br#"{"v":1,"ask":"get"}"#, RefusalKind::Usage),
            (br#"{"v":1,"ask":"list","which":"records","states":["canary"]}"#, RefusalKind::Usage),
            (b"\xff\xfe", RefusalKind::Usage),
        ] {
            let refusal = Request::from_line(line).unwrap_err();
            assert_eq!(refusal.kind, kind);
            assert!(!refusal.message.contains("canary"));
        }
    }

    #[test]
    fn hex_digits_are_bytes_and_nothing_else_is() {
        assert_eq!(from_hex("00fFa1"), Some(vec![0, 0xff, 0xa1]));
        for wrong in ["0", "0g", "+1", "0x01", "é"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
