//! A row of somebody else's table: names and values, out of JSON or delimited text.

use std::fmt;
use std::sync::Arc;

use claimstore_hash::composite;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::{Field, Syntax, fields};

/// Why a line is no row.
pub(super) const NO_OBJECT: &str = "not one JSON object, or a name stands twice";

/// A row. Names are compared without case, blanks, `_` and `-`, so `MessageId` is `message_id`.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Names are not compared alike twice.
    fields: Vec<(Arc<Name>, Value)>,
}

/// The name of a column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    plain: String,
    shown: String,
}

impl Name {
    fn new(name: &str) -> Name {
        Name { plain: normal(name), shown: name.trim().to_owned() }
    }

    /// As names are compared.
    pub(crate) fn plain(&self) -> &str {
        &self.plain
    }

    /// As it is written.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `null`, a text of blanks, a word that stands for null; in delimited text also `\N` and `NULL`.
    Null,
    /// A text, a number or a boolean, as it is written, unquoted.
    Plain(Vec<u8>),
    /// An object or array, as it is written.
    Json(String),
}

impl Row {
    /// A line of NDJSON.
    pub(crate) fn from_json(content: &[u8], nulls: &Nulls) -> Result<Row, String> {
        let Members(members) = serde_json::from_slice(content).map_err(|_| NO_OBJECT)?;
        let value = |raw: Box<RawValue>| match raw.get().as_bytes().first() {
            Some(b'n') => Value::Null,
            Some(b'{' | b'[') => Value::Json(raw.get().to_owned()),
            Some(b'"') => match serde_json::from_str::<String>(raw.get()) {
                Ok(text) => nulls.value(text.as_bytes()),
                // Half of a surrogate pair: text that nobody can mean.
                Err(_) => Value::Null,
            },
            _ => nulls.value(raw.get().as_bytes()),
        };
        Ok(Row { fields: members.into_iter().map(|(name, raw)| (Arc::new(name), value(raw))).collect() })
    }

    /// A record of delimited text under `header`, as [`header`] read it.
    pub(crate) fn from_text(
        header: &[Arc<Name>],
        content: &[u8],
        syntax: Syntax,
        nulls: &Nulls,
    ) -> Result<Row, String> {
        let values = fields(content, syntax);
        if values.len() != header.len() {
            return Err(format!("has {} fields, and the header {}", values.len(), header.len()));
        }
        let value = |field: Field<'_>| match field.written {
            br"\N" | b"NULL" => Value::Null,
            _ => nulls.value(&field.value),
        };
        let fields = header.iter().cloned().zip(values.into_iter().map(value));
        Ok(Row { fields: fields.collect() })
    }

    /// Names and values, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&Name, &Value)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    /// The value under the first of these names that there is.
    pub(crate) fn find(&self, names: &[&str]) -> Option<&Value> {
        let value = |name: &&str| {
            let name = normal(name);
            self.fields.iter().find(|(is, _)| is.plain == name).map(|(_, value)| value)
        };
        names.iter().find_map(value)
    }

    /// The first of the values under these names that is not null, as bytes.
    pub(crate) fn bytes(&self, names: &[&str]) -> Option<&[u8]> {
        names.iter().find_map(|name| self.find(&[*name])?.bytes())
    }

    /// The same, as text.
    pub(crate) fn text(&self, names: &[&str]) -> Option<&str> {
        std::str::from_utf8(self.bytes(names)?).ok()
    }

    /// A key of the values under `names`, each of which must be there: one as it is, several as a composite key.
    pub(crate) fn key(&self, names: &[String]) -> Result<Vec<u8>, String> {
        let part = |name: &String| {
            let part = self.bytes(&[name.as_str()]).filter(|part| !part.is_empty());
            part.ok_or_else(|| format!("`{name}` is missing or empty"))
        };
        let parts = names.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        match parts.as_slice() {
            [one] => Ok(one.to_vec()),
            several => composite(several).map_err(|_| "the parts of the key are too long together".into()),
        }
    }
}

/// Words that stand for null.
#[derive(Debug, Default)]
pub(crate) struct Nulls(Vec<String>);

impl Nulls {
    pub(crate) fn new(words: &[String]) -> Nulls {
        Nulls(words.iter().map(|word| word.trim().to_owned()).collect())
    }

    fn value(&self, bytes: &[u8]) -> Value {
        let text = bytes.trim_ascii();
        if text.is_empty() || self.0.iter().any(|null| null.as_bytes() == text) {
            return Value::Null;
        }
        Value::Plain(bytes.to_vec())
    }
}

impl Value {
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Null => None,
            Value::Plain(bytes) => Some(bytes),
            Value::Json(text) => Some(text.as_bytes()),
        }
    }
}

/// The names of columns.
pub(crate) fn header(names: &[Vec<u8>]) -> Result<Vec<Arc<Name>>, String> {
    let names: Vec<_> =
        names.iter().map(|name| Arc::new(Name::new(&String::from_utf8_lossy(name)))).collect();
    let is_before = |place, name: &Name| names.iter().take(place).any(|other| other.plain == name.plain);
    let twice = names.iter().enumerate().any(|(place, name)| is_before(place, name));
    if twice { Err("the header has a name twice".into()) } else { Ok(names) }
}

/// A name as names are compared.
pub(crate) fn normal(name: &str) -> String {
    let letters = name.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

/// The members of a JSON object, none twice.
struct Members(Vec<(Name, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members: Vec<(Name, Box<RawValue>)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            let name = Name::new(&name);
            if members.iter().any(|(other, _)| other.plain == name.plain) {
                return Err(A::Error::custom("a name stands twice"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_delimited_text_give_the_same_row() {
        let json = Row::from_json(
            br#"{"MessageId":"a-1","count":1.50,"gone":null,"body":{"x": 1}}"#,
            &Nulls::default(),
        )
        .unwrap();
        let names = header(&["message_id", "Count", "gone", "body"].map(Vec::from)).unwrap();
        let text = b"a-1;1.50;;\"{\"\"x\"\": 1}\"";
        let text = Row::from_text(&names, text, Syntax::csv(b';'), &Nulls::default()).unwrap();
        for row in [json, text] {
            assert_eq!(row.bytes(&["messageid"]), Some(&b"a-1"[..]));
            assert_eq!(row.text(&["nothing", "gone", "count"]), Some("1.50"));
            assert_eq!((row.find(&["gone"]), row.find(&["nothing"])), (Some(&Value::Null), None));
            assert_eq!(row.bytes(&["body"]), Some(&br#"{"x": 1}"#[..]));
        }
    }

    #[test]
    fn what_stands_for_null_is_null() {
        let nulls = Nulls::new(&["n/a".to_owned(), " - ".to_owned()]);
        let names = header(&["a"].map(Vec::from)).unwrap();
        for text in ["", "  ", "\t", r"\N", "NULL", "n/a", " n/a ", "-"] {
            let row = Row::from_text(&names, text.as_bytes(), Syntax::csv(b';'), &nulls).unwrap();
            assert_eq!(row.find(&["a"]), Some(&Value::Null), "{text}");
        }
        for text in ["null", r"\n", "N/A", "--", "0"] {
            let row = Row::from_text(&names, text.as_bytes(), Syntax::csv(b';'), &nulls).unwrap();
            assert_eq!(row.bytes(&["a"]), Some(text.as_bytes()), "{text}");
        }
        let row = Row::from_json(br#"{"a":"n/a","b":" ","c":"NULL","d":"-"}"#, &nulls).unwrap();
        let null = ["a", "b", "c", "d"].map(|name| row.bytes(&[name]).is_none());
        assert_eq!(null, [true, true, false, true]);
    }

    #[test]
    fn keys_are_one_value_or_a_composite() {
        let row = Row::from_json(br#"{"user_id":7,"key":"a|b","empty":""}"#, &Nulls::default()).unwrap();
        let key = |names: &[&str]| row.key(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(key(&["key"]).unwrap(), b"a|b");
        assert_eq!(key(&["user_id", "key"]).unwrap(), composite(&["7", "a|b"]).unwrap());
        assert_eq!(key(&["empty"]).unwrap_err(), "`empty` is missing or empty");
        assert!(key(&["nothing", "key"]).is_err());
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"a":1,"A":2}"#, r#"{"a":1} x"#] {
            assert!(Row::from_json(text.as_bytes(), &Nulls::default()).is_err(), "{text}");
        }
        assert!(header(&["a", "A"].map(Vec::from)).is_err());
        let names = header(&["a", "b"].map(Vec::from)).unwrap();
        for row in [&b"1"[..], b"1,2,3"] {
            assert!(Row::from_text(&names, row, Syntax::csv(b','), &Nulls::default()).is_err());
        }
        // An escape is read where there are escapes, and `\N` is null in either syntax.
        for (syntax, text, expected) in [
            (Syntax::copy_text(), &br"acme\\order	\N"[..], &br"acme\order"[..]),
            (Syntax::csv(b'\t'), br"acme\\order	\N", br"acme\\order"),
        ] {
            let row = Row::from_text(&names, text, syntax, &Nulls::default()).unwrap();
            assert_eq!((row.bytes(&["a"]), row.bytes(&["b"])), (Some(expected), None));
        }
    }
}
