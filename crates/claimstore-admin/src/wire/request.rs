//! What can be asked.

use crate::hex::{from_hex, hex};
use crate::wire::decision::Decision;
use crate::wire::key::Key;
use crate::wire::listing::Listing;
use crate::wire::policy::PolicyChange;
use crate::wire::record::Show;
use crate::wire::refusal::{Refusal, RefusalKind};
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
            None => Dir::Hex(hex(path.as_os_str().as_bytes())),
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
    use crate::wire::decision::{Response, Seen, Target, Verb};
    use crate::wire::listing::Which;
    use crate::wire::state::State;

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
}
