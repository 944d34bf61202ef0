//! Serde values: written as JSON, then through the gate like any other JSON.

use std::fmt::Write;

use serde::ser::{self, Impossible, Serialize};

use crate::fingerprinter::unkeyed;
use crate::json::number;
use crate::json::parse::Node;
use crate::{Fingerprint, Fingerprinter, JsonRules, PayloadError};

impl Fingerprint {
    /// The fingerprint of a value: that of its JSON text. Without a key: see [`Fingerprinter::of`].
    ///
    /// # Errors
    ///
    /// Those of [`Fingerprinter::of`].
    ///
    /// ```
    /// use claimstore_hash::Fingerprint;
    /// use serde::Serialize;
    ///
    /// #[derive(Serialize)]
    /// struct Order { sku: String, quantity: u32 }
    ///
    /// let order = Order { sku: "A-1".into(), quantity: 2 };
    /// assert_eq!(Fingerprint::of(&order)?, Fingerprint::json(br#"{"quantity":2, "sku":"A-1"}"#)?);
    /// # Ok::<(), claimstore_hash::PayloadError>(())
    /// ```
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Fingerprint, PayloadError> {
        unkeyed().of(value)
    }
}

impl Fingerprinter {
    /// The fingerprint of a value: that which [`json`](Self::json) gives its JSON text, written as serde_json
    /// writes it.
    ///
    /// So the order of struct fields and map entries does not count, and renaming a field changes the fingerprint:
    /// fingerprint what was received, or a type made for it, rather than a type that is to be refactored. A `None`
    /// counts as `null`, unless the field is skipped.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotJson`] for a float that is not finite (serde_json would write `null`), a map key that is
    /// no text, number or bool, and a `Serialize` that fails. [`PayloadError::InexactNumber`] for an integer that
    /// JSON numbers do not hold, such as most above 2^53: give those as text. Otherwise those of
    /// [`canonical_json`](crate::canonical_json); places are those in the JSON text.
    pub fn of<T: Serialize + ?Sized>(&self, value: &T) -> Result<Fingerprint, PayloadError> {
        self.of_with(&JsonRules::new(), value)
    }

    /// The fingerprint of those fields of a value that `rules` select.
    ///
    /// # Errors
    ///
    /// Those of [`of`](Self::of).
    pub fn of_with<T: Serialize + ?Sized>(
        &self,
        rules: &JsonRules,
        value: &T,
    ) -> Result<Fingerprint, PayloadError> {
        let text = json_text(value)?;
        let document: Node<'_> = rules.read(text.as_bytes())?;
        Ok(self.document(rules, &document))
    }
}

/// The JSON text of a value, not canonical yet.
pub(crate) fn json_text<T: Serialize + ?Sized>(value: &T) -> Result<String, PayloadError> {
    let mut text = String::new();
    value.serialize(Writer { text: &mut text }).map_err(|Refused| PayloadError::NotJson)?;
    Ok(text)
}

/// The value cannot be written. Its `Serialize` may say why, with bytes of the payload: not kept.
#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not to be written as JSON")
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: std::fmt::Display>(_: T) -> Refused {
        Refused
    }
}

struct Writer<'t> {
    text: &'t mut String,
}

impl<'t> Writer<'t> {
    fn shown(self, value: impl std::fmt::Display) -> Result<(), Refused> {
        write!(self.text, "{value}").map_err(|_| Refused)
    }

    fn list(self, open: &str, close: &'static str) -> List<'t> {
        self.text.push_str(open);
        List { text: self.text, close, first: true }
    }

    /// `{"variant":` followed by whatever is in it.
    fn variant(self, variant: &str, open: &str, close: &'static str) -> List<'t> {
        self.text.push('{');
        push_string(self.text, variant);
        self.text.push(':');
        self.list(open, close)
    }
}

/// The contents between brackets.
struct List<'t> {
    text: &'t mut String,
    close: &'static str,
    first: bool,
}

impl List<'_> {
    fn next(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.text.push(',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.next();
        value.serialize(Writer { text: self.text })
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refused> {
        self.next();
        push_string(self.text, name);
        self.text.push(':');
        value.serialize(Writer { text: self.text })
    }

    fn close(self) {
        self.text.push_str(self.close);
    }
}

fn push_string(text: &mut String, string: &str) {
    crate::json::write::push(text, &Node::Text(string.into()), None);
}

macro_rules! shown {
    ($($method:ident: $type:ty),+) => {
        $(fn $method(self, value: $type) -> Result<(), Refused> {
            self.shown(value)
        })+
    };
}

impl<'t> ser::Serializer for Writer<'t> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = List<'t>;
    type SerializeTuple = List<'t>;
    type SerializeTupleStruct = List<'t>;
    type SerializeTupleVariant = List<'t>;
    type SerializeMap = List<'t>;
    type SerializeStruct = List<'t>;
    type SerializeStructVariant = List<'t>;

    shown! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128
    }

    /// In the digits of an `f32`: 0.1 is `0.1`, as serde_json has it.
    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        self.shown(number::of_single(value).ok_or(Refused)?)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        self.shown(number::of_double(value).ok_or(Refused)?)
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        push_string(self.text, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refused> {
        let mut list = self.list("[", "]");
        value.iter().try_for_each(|byte| list.element(byte))?;
        list.close();
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.shown("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.shown("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        self.shown("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Refused> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        let mut list = self.list("{", "}");
        list.member(variant, value)?;
        list.close();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'t>, Refused> {
        Ok(self.list("[", "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'t>, Refused> {
        Ok(self.list("[", "]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'t>, Refused> {
        Ok(self.list("[", "]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'t>, Refused> {
        Ok(self.variant(variant, "[", "]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<List<'t>, Refused> {
        Ok(self.list("{", "}"))
    }

    /// Refuses the wrappers by which serde_json passes numbers and texts of its own through Serde: taken for
    /// structs, they would give the same document another fingerprint.
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<List<'t>, Refused> {
        if name.starts_with("$serde_json::private::") {
            return Err(Refused);
        }
        Ok(self.list("{", "}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'t>, Refused> {
        Ok(self.variant(variant, "{", "}}"))
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident),+) => {
        $(impl ser::$trait for List<'_> {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.element(value)
            }

            fn end(self) -> Result<(), Refused> {
                self.close();
                Ok(())
            }
        })+
    };
}

macro_rules! members {
    ($($trait:ident),+) => {
        $(impl ser::$trait for List<'_> {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                self.member(name, value)
            }

            fn end(self) -> Result<(), Refused> {
                self.close();
                Ok(())
            }
        })+
    };
}

elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);
members!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for List<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.next();
        key.serialize(NameWriter { text: self.text })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.text.push(':');
        value.serialize(Writer { text: self.text })
    }

    fn end(self) -> Result<(), Refused> {
        self.close();
        Ok(())
    }
}

/// Writes a map's key, in quotes whatever it is.
struct NameWriter<'t> {
    text: &'t mut String,
}

macro_rules! quoted {
    ($($method:ident: $type:ty),+) => {
        $(fn $method(self, value: $type) -> Result<(), Refused> {
            write!(self.text, "\"{value}\"").map_err(|_| Refused)
        })+
    };
}

macro_rules! refused {
    ($($method:ident($($argument:ty),*) -> $result:ty),+) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Refused> {
            Err(Refused)
        })+
    };
}

type Never = Impossible<(), Refused>;

impl ser::Serializer for NameWriter<'_> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    quoted! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        push_string(self.text, value);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Refused> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Refused> {
        Err(Refused)
    }

    refused! {
        serialize_f32(f32) -> (), serialize_f64(f64) -> (), serialize_bytes(&[u8]) -> (), serialize_none() -> (),
        serialize_unit() -> (), serialize_unit_struct(&'static str) -> (),
        serialize_seq(Option<usize>) -> Never, serialize_tuple(usize) -> Never,
        serialize_tuple_struct(&'static str, usize) -> Never,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never,
        serialize_map(Option<usize>) -> Never, serialize_struct(&'static str, usize) -> Never,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Wrapped(u8);

    #[derive(Serialize)]
    struct Pair(u8, &'static str);

    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    enum Kind {
        Plain,
        One(u8),
        Two(u8, u8),
        Named { a: u8 },
    }

    #[derive(Serialize)]
    struct Everything<'a> {
        zulu: Option<u8>,
        alpha: Option<Box<Everything<'a>>>,
        kinds: [Kind; 4],
        text: &'a str,
        letter: char,
        float: f64,
        small: f32,
        unit: (),
        empty: Unit,
        wrapped: Wrapped,
        pair: Pair,
        map: BTreeMap<i16, bool>,
    }

    fn everything(text: &str) -> Everything<'_> {
        Everything {
            zulu: None,
            alpha: None,
            kinds: [Kind::Plain, Kind::One(1), Kind::Two(1, 2), Kind::Named { a: 1 }],
            text,
            letter: '"',
            float: 1e-9,
            small: 0.1,
            unit: (),
            empty: Unit,
            wrapped: Wrapped(7),
            pair: Pair(1, "x"),
            map: BTreeMap::from([(-1, true), (20, false)]),
        }
    }

    #[test]
    fn values_are_what_serde_json_writes() {
        let mut value = everything("a\"\\\u{1}é");
        value.alpha = Some(Box::new(everything("")));
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(Fingerprint::of(&value), Fingerprint::json(text.as_bytes()));
        let rules = JsonRules::new().exclude("/text").unwrap();
        let maker = Fingerprinter::with_key([1; 32]);
        assert_eq!(maker.of_with(&rules, &everything("a")), maker.of_with(&rules, &everything("b")));
        assert_ne!(maker.of(&everything("a")), maker.of(&everything("b")));
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        let not_json = Err(PayloadError::NotJson);
        assert_eq!(Fingerprint::of(&f64::NAN), not_json);
        assert_eq!(Fingerprint::of(&[1.0, f64::INFINITY]), not_json);
        assert_eq!(Fingerprint::of(&f32::NEG_INFINITY), not_json);
        assert_eq!(Fingerprint::of(&BTreeMap::from([((1, 2), 3)])), not_json);
        assert_eq!(Fingerprint::of(&BTreeMap::from([(Kind::One(1), 3)])), not_json);
        assert_eq!(Fingerprint::of(&BTreeMap::from([(None::<u8>, 3)])), not_json);
        let inexact = |value: u64| Fingerprint::of(&value) == Err(PayloadError::InexactNumber { at: 0 });
        assert!(inexact((1 << 53) + 1) && inexact(u64::MAX) && !inexact(1 << 53));
        assert!(Fingerprint::of(&10_i128.pow(18)).is_ok());
    }

    #[test]
    fn a_map_with_one_name_in_two_types_is_refused() {
        struct Twice;
        impl Serialize for Twice {
            fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([("1", 1), ("1", 2)])
            }
        }
        assert_eq!(Fingerprint::of(&Twice), Err(PayloadError::DuplicateMember { at: 0 }));
    }

    proptest! {
        #[test]
        fn floats_are_what_serde_json_writes_and_a_double_reads(value: f64, small: f32) {
            prop_assume!(value.is_finite() && small.is_finite());
            let text = serde_json_canonicalizer::to_string(&value).unwrap();
            prop_assert_eq!(Fingerprint::of(&value), Fingerprint::json(text.as_bytes()));
            let text = serde_json::to_string(&small).unwrap();
            prop_assert_eq!(Fingerprint::of(&small), Fingerprint::json(text.as_bytes()));
        }
    }
}
