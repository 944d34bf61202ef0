//! A row of somebody else's table: names and values, out of JSON or delimited text.

use std::fmt;

use claimstore_hash::composite;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::{Field, Syntax, fields};

/// A row. Names are compared without case, `_` and `-`, so `MessageId` is `message_id`.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Names as [`normal`] writes them, none twice.
    fields: Vec<(String, Value)>,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `null`; in delimited text nothing, or `\N`.
    Null,
    /// A text, a number or a boolean, as it is written, unquoted.
    Plain(Vec<u8>),
    /// An object or array, as it is written.
    Json(String),
}

impl Row {
    /// A line of NDJSON.
    pub(crate) fn from_json(content: &[u8]) -> Result<Row, String> {
        let Members(members) =
            serde_json::from_slice(content).map_err(|_| "not one JSON object, or a name stands twice")?;
        let value = |raw: Box<RawValue>| match raw.get().as_bytes().first() {
            Some(b'n') => Value::Null,
            Some(b'{' | b'[') => Value::Json(raw.get().to_owned()),
            Some(b'"') => match serde_json::from_str::<String>(raw.get()) {
                Ok(text) => Value::Plain(text.into_bytes()),
                Err(_) => Value::Null,
            },
            _ => Value::Plain(raw.get().into()),
        };
        Ok(Row { fields: members.into_iter().map(|(name, raw)| (name, value(raw))).collect() })
    }

    /// A record of delimited text under `header`, as [`header`] read it.
    pub(crate) fn from_text(header: &[String], content: &[u8], syntax: Syntax) -> Result<Row, String> {
        let values = fields(content, syntax);
        if values.len() != header.len() {
            return Err(format!("has {} fields, and the header {}", values.len(), header.len()));
        }
        let value = |field: Field<'_>| match field.written {
            br"\N" => Value::Null,
            _ if field.value.is_empty() && !syntax.escapes => Value::Null,
            _ => Value::Plain(field.value.into_owned()),
        };
        let fields = header.iter().cloned().zip(values.into_iter().map(value));
        Ok(Row { fields: fields.collect() })
    }

    /// The value under the first of these names that there is.
    pub(crate) fn find(&self, names: &[&str]) -> Option<&Value> {
        let value = |name: &&str| {
            let name = normal(name);
            self.fields.iter().find(|(is, _)| *is == name).map(|(_, value)| value)
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

impl Value {
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Null => None,
            Value::Plain(bytes) => Some(bytes),
            Value::Json(text) => Some(text.as_bytes()),
        }
    }
}

/// The names of columns, as names are compared.
pub(crate) fn header(names: &[Vec<u8>]) -> Result<Vec<String>, String> {
    let names: Vec<String> = names.iter().map(|name| normal(&String::from_utf8_lossy(name))).collect();
    let twice =
        names.iter().enumerate().any(|(place, name)| names.iter().take(place).any(|other| other == name));
    if twice { Err("the header has a name twice".into()) } else { Ok(names) }
}

/// A name as names are compared.
pub(crate) fn normal(name: &str) -> String {
    let letters = name.trim().chars().filter(|letter| !matches!(letter, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

/// The members of a JSON object, none twice.
struct Members(Vec<(String, Box<RawValue>)>);

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
        let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            let name = normal(&name);
            if members.iter().any(|(other, _)| *other == name) {
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
        let json =
            Row::from_json(br#"{"MessageId":"a-1","count":1.50,"gone":null,"body":{"x": 1}}"#).unwrap();
        let names = header(&["message_id", "Count", "gone", "body"].map(Vec::from)).unwrap();
        let text = Row::from_text(&names, b"a-1;1.50;;\"{\"\"x\"\": 1}\"", Syntax::csv(b';')).unwrap();
        for row in [json, text] {
            assert_eq!(row.bytes(&["messageid"]), Some(&b"a-1"[..]));
            assert_eq!(row.text(&["nothing", "gone", "count"]), Some("1.50"));
            assert_eq!((row.find(&["gone"]), row.find(&["nothing"])), (Some(&Value::Null), None));
            assert_eq!(row.bytes(&["body"]), Some(&br#"{"x": 1}"#[..]));
        }
    }

    #[test]
    fn keys_are_one_value_or_a_composite() {
        let row = Row::from_json(br#"{"user_id":7,"key":"a|b","empty":""}"#).unwrap();
        let key = |names: &[&str]| row.key(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(key(&["key"]).unwrap(), b"a|b");
        assert_eq!(key(&["user_id", "key"]).unwrap(), composite(&["7", "a|b"]).unwrap());
        assert_eq!(key(&["empty"]).unwrap_err(), "`empty` is missing or empty");
        assert!(key(&["nothing", "key"]).is_err());
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"a":1,"A":2}"#, r#"{"a":1} x"#] {
            assert!(Row::from_json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(header(&["a", "A"].map(Vec::from)).is_err());
        let names = header(&["a", "b"].map(Vec::from)).unwrap();
        for row in [&b"1"[..], b"1,2,3"] {
            assert!(Row::from_text(&names, row, Syntax::csv(b',')).is_err());
        }
    }
}
