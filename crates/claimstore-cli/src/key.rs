//! Which part of a record names the event, and the key that stands for it in the store.

use std::fmt;

use claimstore_admin::hex;
use claimstore_hash::{composite, digest_key};

use crate::record::json::{Found, Pointer};
use crate::record::{Fault, Field, Head, Record, Syntax, field, looks_like_json};

/// Begins a key that stands for parts too long to stand in it. No composite key has a backslash before a `#`.
const DIGEST_MARK: &[u8] = br"\#";

/// How the namespaces begin in which `dedupe` keeps its keys.
pub(crate) const NAMESPACES: &str = "dedupe/";

/// What the command line says about keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySpec {
    /// The record as a whole.
    WholeRecord,
    /// Columns of delimited text, by name.
    Columns(Vec<String>),
    /// Columns of delimited text without names, from 1.
    Numbers(Vec<usize>),
    /// Values of a JSON text, each with the pointer as it was written.
    Pointers(Vec<(String, Pointer)>),
}

impl KeySpec {
    /// The namespace of the store in which keys of this kind live. Two specifications never share one, so
    /// that `--key A` and `--key B` on one store cannot take each other's events for their own. The order of
    /// the names makes no difference, neither here nor in the keys.
    pub(crate) fn namespace(&self) -> String {
        match self {
            KeySpec::WholeRecord => format!("{NAMESPACES}whole-record"),
            KeySpec::Columns(names) => format!("{NAMESPACES}columns/{}", digest_names(names)),
            KeySpec::Numbers(numbers) => {
                let names: Vec<_> = numbers.iter().map(usize::to_string).collect();
                format!("{NAMESPACES}numbers/{}", digest_names(&names))
            }
            KeySpec::Pointers(parts) => {
                let names: Vec<_> = parts.iter().map(|(name, _)| name.clone()).collect();
                format!("{NAMESPACES}pointers/{}", digest_names(&names))
            }
        }
    }

    /// Fits the specification to a stream: columns are looked up among its names.
    pub(crate) fn bind(self, head: &Head, syntax: Option<Syntax>) -> Result<Keyer, UnknownColumn> {
        let syntax = syntax.unwrap_or(Syntax::csv(b','));
        Ok(match self {
            KeySpec::WholeRecord => Keyer::WholeRecord,
            KeySpec::Pointers(mut parts) => {
                parts.sort_by(|(one, _), (other, _)| one.cmp(other));
                Keyer::Pointers(parts)
            }
            KeySpec::Columns(mut names) => {
                names.sort();
                let columns = head.names.as_deref().unwrap_or_default();
                Keyer::Columns { parts: find_columns(names, columns)?, syntax }
            }
            KeySpec::Numbers(mut numbers) => {
                numbers.sort_unstable();
                let parts = numbers.into_iter().map(|number| (number.to_string(), number - 1));
                Keyer::Columns { parts: parts.collect(), syntax }
            }
        })
    }
}

/// 32 hex digits for a set of names.
fn digest_names(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    let digest = digest_key(&names);
    hex(digest.get(..16).unwrap_or_default())
}

fn find_columns(names: Vec<String>, columns: &[Vec<u8>]) -> Result<Vec<(String, usize)>, UnknownColumn> {
    let json = columns.first().is_some_and(|first| looks_like_json(first));
    let find = |name: String| {
        let mut places = columns.iter().enumerate().filter(|(_, column)| *column == name.as_bytes());
        match (places.next(), places.next()) {
            (Some((index, _)), None) => Ok((name, index)),
            (None, _) => Err(UnknownColumn { name, twice: false, json }),
            (Some(_), Some(_)) => Err(UnknownColumn { name, twice: true, json }),
        }
    };
    names.into_iter().map(find).collect()
}

/// A column that the header does not have, or has twice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownColumn {
    name: String,
    twice: bool,
    /// The header looks like JSON.
    json: bool,
}

impl fmt::Display for UnknownColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.twice {
            return write!(f, "the header has the column `{}` twice", self.name);
        }
        let hint = if self.json {
            "it looks like JSON: --format ndjson reads that, and --key takes JSON Pointers there"
        } else {
            "is the --delimiter right?"
        };
        write!(f, "the header has no column `{}` ({hint})", self.name)
    }
}

impl std::error::Error for UnknownColumn {}

/// Makes the key of each record of one stream.
#[derive(Debug)]
pub(crate) enum Keyer {
    /// A digest of the record.
    WholeRecord,
    /// Column names with their places in the header.
    Columns {
        /// Name and place, sorted by name, or by number.
        parts: Vec<(String, usize)>,
        syntax: Syntax,
    },
    /// Pointers with their texts, sorted by text.
    Pointers(Vec<(String, Pointer)>),
}

impl Keyer {
    /// The key of the event, or why the record has none.
    pub(crate) fn key(&self, record: &Record) -> Result<Vec<u8>, Refusal> {
        if let Some(fault) = record.fault {
            return Err(Refusal::Fault(fault));
        }
        match self {
            Keyer::WholeRecord => Ok(digest_key(&[record.content()]).to_vec()),
            Keyer::Columns { parts, syntax } => column_key(parts, record.content(), *syntax),
            Keyer::Pointers(parts) => pointer_key(parts, record.content()),
        }
    }
}

fn column_key(parts: &[(String, usize)], content: &[u8], syntax: Syntax) -> Result<Vec<u8>, Refusal> {
    let part = |(name, place): &(String, usize)| match field(content, syntax, *place) {
        None => Err(Refusal::Missing(name.clone())),
        Some(field) if field.value.is_empty() || field.is_null(syntax) => Err(Refusal::Empty(name.clone())),
        Some(field) => Ok(field),
    };
    let parts = parts.iter().map(part).collect::<Result<Vec<Field<'_>>, _>>()?;
    Ok(compose(&parts.iter().map(|part| part.value.as_ref()).collect::<Vec<_>>()))
}

fn pointer_key(parts: &[(String, Pointer)], content: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = std::str::from_utf8(content).map_err(|_| Refusal::NotJson)?;
    let value = |(name, pointer): &(String, Pointer)| match pointer.find(text) {
        Err(_) => Err(Refusal::NotJson),
        Ok(Found::Missing) => Err(Refusal::Missing(name.clone())),
        Ok(Found::Value(value)) => scalar(name, value),
    };
    let values = parts.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(compose(&values.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// A JSON value as a key part: a string in its shortest JSON form, a numeral or boolean by its letters, so that
/// `000123` and `1.0` stay what they are, and the string `"1"` is not the number `1`.
fn scalar(name: &str, value: &str) -> Result<Vec<u8>, Refusal> {
    match value.as_bytes().first() {
        None | Some(b'n') => Err(Refusal::Empty(name.into())),
        Some(b'{' | b'[') => Err(Refusal::NotScalar(name.into())),
        Some(b'"') => {
            let text: String = serde_json::from_str(value).map_err(|_| Refusal::NotJson)?;
            if text.is_empty() {
                return Err(Refusal::Empty(name.into()));
            }
            serde_json::to_vec(&text).map_err(|_| Refusal::NotJson)
        }
        Some(_) => Ok(value.into()),
    }
}

/// One key of several values, no two lists of values alike: readable if it fits.
fn compose(values: &[&[u8]]) -> Vec<u8> {
    composite(values).unwrap_or_else(|_| [DIGEST_MARK, &digest_key(values)].concat())
}

/// Why a record is not passed on. Names are of columns and pointers; values never appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The record has no such part.
    Missing(String),
    /// The part is there and empty (or null).
    Empty(String),
    /// The part is an object or array.
    NotScalar(String),
    /// The line is not one JSON text, or ambiguous.
    NotJson,
    /// The record cannot be trusted to be one.
    Fault(Fault),
    /// The store refuses the key.
    Store(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Missing(name) => write!(f, "key part `{name}` is missing"),
            Refusal::Empty(name) => write!(f, "key part `{name}` is empty"),
            Refusal::NotScalar(name) => write!(f, "key part `{name}` is an object or array"),
            Refusal::NotJson => f.write_str("not one JSON text, or a member name stands twice"),
            Refusal::Fault(fault) => fault.fmt(f),
            Refusal::Store(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: &str) -> Record {
        Record::of(bytes)
    }

    fn columns(names: &[&str]) -> KeySpec {
        KeySpec::Columns(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn pointers(names: &[&str]) -> KeySpec {
        KeySpec::Pointers(names.iter().map(|&n| (n.to_owned(), Pointer::parse(n).unwrap())).collect())
    }

    const SYNTAX: Option<Syntax> = Some(Syntax::csv(b';'));

    fn head(names: &str) -> Head {
        let names = names.split(';').map(|name| name.as_bytes().to_vec());
        Head { bytes: Vec::new(), names: Some(names.collect()) }
    }

    fn csv_key(names: &[&str], row: &str) -> Result<Vec<u8>, Refusal> {
        columns(names).bind(&head("No;Stock Code;Text"), SYNTAX).unwrap().key(&record(row))
    }

    fn json_key(names: &[&str], line: &str) -> Result<Vec<u8>, Refusal> {
        pointers(names).bind(&Head::default(), None).unwrap().key(&record(line))
    }

    #[test]
    fn a_column_key_is_the_values_however_they_are_quoted() {
        assert_eq!(
            csv_key(&["No", "Stock Code"], "1;2;x\n"),
            csv_key(&["No", "Stock Code"], "\"1\";2;y\r\n")
        );
        assert_eq!(csv_key(&["No", "Stock Code"], "1;2;x"), csv_key(&["Stock Code", "No"], "1;2;x"));
        assert_ne!(csv_key(&["No", "Stock Code"], "1;23;x"), csv_key(&["No", "Stock Code"], "12;3;x"));
        assert_ne!(csv_key(&["No"], "0001;2;x"), csv_key(&["No"], "1;2;x"));
    }

    #[test]
    fn a_row_without_a_part_is_refused_by_name() {
        assert_eq!(csv_key(&["No"], ";2;x"), Err(Refusal::Empty("No".into())));
        assert_eq!(csv_key(&["No"], "\"\";2;x"), Err(Refusal::Empty("No".into())));
        assert_eq!(csv_key(&["Text"], "1;2"), Err(Refusal::Missing("Text".into())));
        assert_eq!(csv_key(&["No"], "\n"), Err(Refusal::Empty("No".into())));
    }

    #[test]
    fn columns_by_number_are_keys_whatever_their_order() {
        let key = |numbers: &[usize], row: &str| {
            KeySpec::Numbers(numbers.into()).bind(&Head::default(), SYNTAX).unwrap().key(&record(row))
        };
        assert_eq!(key(&[10, 2], "1;b;;;;;;;;j"), Ok(b"b|j".to_vec()));
        assert_eq!(key(&[2, 10], "1;b;;;;;;;;j"), Ok(b"b|j".to_vec()));
        assert_eq!(key(&[4], "1;b;c"), Err(Refusal::Missing("4".into())));
    }

    #[test]
    fn copy_text_keys_are_what_the_database_holds_and_null_is_none() {
        let keyer = columns(&["id"]).bind(&head("id"), Some(Syntax::copy_text())).unwrap();
        let value = composite(&[&b"acme\\order\t7"[..]]).unwrap();
        assert_eq!(keyer.key(&record("acme\\\\order\\t7")), Ok(value));
        assert_eq!(keyer.key(&record(r"\N")), Err(Refusal::Empty("id".into())));
    }

    #[test]
    fn long_values_are_hashed_and_stay_apart() {
        let (one, other) = ("1".repeat(5_000), "1".repeat(5_001));
        let key = csv_key(&["No"], &one).unwrap();
        assert_eq!(key.len(), 34);
        assert_ne!(key, csv_key(&["No"], &other).unwrap());
        for length in 1_000..1_030 {
            assert!(csv_key(&["No"], &"x".repeat(length)).unwrap().len() <= 1_024);
        }
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        for (one, other) in [("1;23", "12;3"), ("1|;2", "1;|2"), ("1\\;2", "1;\\2"), ("1\\|2;3", "1\\;2|3")] {
            assert_ne!(csv_key(&["No", "Stock Code"], one), csv_key(&["No", "Stock Code"], other));
        }
        assert_eq!(csv_key(&["No", "Stock Code"], "000123;a|b;x"), Ok(br"000123|a\|b".to_vec()));
    }

    #[test]
    fn a_json_key_is_typed_and_literal() {
        assert_eq!(json_key(&["/a"], r#"{"a":"1"}"#), json_key(&["/a"], r#"{"b":2, "a": "\u0031"}"#));
        let distinct = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":"01"}"#,
            r#"{"a":true}"#,
            r#"{"a":"true"}"#,
        ];
        let keys: std::collections::HashSet<_> =
            distinct.iter().map(|line| json_key(&["/a"], line).unwrap()).collect();
        assert_eq!(keys.len(), distinct.len());
    }

    #[test]
    fn a_json_text_without_a_part_is_refused() {
        for (line, refusal) in [
            (r#"{"b":1}"#, Refusal::Missing("/a".into())),
            (r#"{"a":null}"#, Refusal::Empty("/a".into())),
            (r#"{"a":""}"#, Refusal::Empty("/a".into())),
            (r#"{"a":[1]}"#, Refusal::NotScalar("/a".into())),
            (r#"{"a":{}}"#, Refusal::NotScalar("/a".into())),
            (r#"{"a":"\ud800"}"#, Refusal::NotJson),
            (r#"{"a":1"#, Refusal::NotJson),
            ("", Refusal::NotJson),
        ] {
            assert_eq!(json_key(&["/a"], line), Err(refusal), "{line}");
        }
    }

    #[test]
    fn whole_records_are_told_apart_by_content_alone() {
        let keyer = KeySpec::WholeRecord.bind(&Head::default(), SYNTAX).unwrap();
        let key = |text: &str| keyer.key(&record(text)).unwrap();
        assert_eq!(key("a;;b\n"), key("a;;b\r\n"));
        assert_eq!(key("a;;b\n"), key("a;;b"));
        assert_ne!(key("a;;b\n"), key("a;b;\n"));
        assert_eq!(key(""), key("\n"));
        assert_eq!(key("a").len(), 32);
    }

    #[test]
    fn specifications_never_share_a_namespace() {
        let all = [
            KeySpec::WholeRecord,
            columns(&["a"]),
            columns(&["b"]),
            columns(&["a", "b"]),
            columns(&["ab"]),
            columns(&["/a"]),
            columns(&["1"]),
            KeySpec::Numbers(vec![1]),
            KeySpec::Numbers(vec![2]),
            KeySpec::Numbers(vec![1, 2]),
            KeySpec::Numbers(vec![12]),
            pointers(&["/a"]),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().map(KeySpec::namespace).collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(columns(&["a", "b"]).namespace(), columns(&["b", "a"]).namespace());
        let numbers = |numbers: &[usize]| KeySpec::Numbers(numbers.into());
        assert_eq!(numbers(&[1, 2]).namespace(), numbers(&[2, 1]).namespace());
    }

    #[test]
    fn an_ambiguous_or_unknown_column_is_no_key() {
        for (name, twice) in [("a", true), ("c", false)] {
            let refused = columns(&[name]).bind(&head("a;b;a"), SYNTAX).unwrap_err();
            assert_eq!(refused, UnknownColumn { name: name.into(), twice, json: false });
        }
    }

    /// Stores in the field hold these bytes: another key would pass every event a second time.
    #[test]
    fn keys_stay_what_they_are() {
        let whole =
            KeySpec::WholeRecord.bind(&Head::default(), SYNTAX).unwrap().key(&record("a;b\n")).unwrap();
        assert_eq!(hex(&whole), "6c935037734d67fe733a330966238707b562a41fe6828b94263c1e1bd32caf4e");
        let long = csv_key(&["No"], &"1".repeat(2_000)).unwrap();
        assert_eq!(
            hex(long.strip_prefix(DIGEST_MARK).unwrap()),
            "5265e73f417ac01ade82f7bf317f68ccdfd2e59047b8871cad348ea4ef9bb019"
        );
        assert_eq!(csv_key(&["No", "Text"], "1;2;x"), Ok(b"1|x".to_vec()));
        assert_eq!(json_key(&["/a", "/b"], r#"{"a":1,"b":"x"}"#), Ok(br#"1|"x""#.to_vec()));
        assert_eq!(columns(&["No", "Text"]).namespace(), "dedupe/columns/6d59820f1152bba2d438b58207cd9bc6");
    }
}
