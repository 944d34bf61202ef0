//! Form-encoded bodies: `application/x-www-form-urlencoded` as the URL Standard reads it, but strict.

use std::borrow::Cow;

use crate::fingerprinter::{Form, unkeyed};
use crate::mac::{Mac, Tag};
use crate::{Fingerprint, Fingerprinter, PayloadError};

/// Which fields of a form count: all but those excluded.
///
/// The choice is part of the fingerprint's context: under other rules, fingerprints are
/// [`Match::Unknown`](crate::Match::Unknown), not different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormRules {
    /// Sorted, without repeats.
    exclude: Vec<Vec<u8>>,
}

impl FormRules {
    /// Every field counts.
    pub fn new() -> FormRules {
        FormRules::default()
    }

    /// Fields named `name` (decoded, case kept) do not count.
    #[must_use]
    pub fn exclude(mut self, name: impl AsRef<[u8]>) -> FormRules {
        let name = name.as_ref();
        if let Err(place) = self.exclude.binary_search_by(|other| (**other).cmp(name)) {
            self.exclude.insert(place, name.to_vec());
        }
        self
    }

    pub(crate) fn describe(&self, mac: &mut Mac) {
        self.exclude.iter().for_each(|name| mac.part(Tag::Exclude, name));
    }

    /// The fields, for the list of parts.
    pub(crate) fn write(&self, mac: &mut Mac, form: &[u8]) -> Result<(), PayloadError> {
        for (name, value) in fields(form)? {
            if !self.exclude.iter().any(|excluded| **excluded == *name) {
                mac.part(Tag::Name, &name);
                mac.part(Tag::Value, &value);
            }
        }
        Ok(())
    }
}

impl Fingerprint {
    /// The fingerprint of a form-encoded body. Without a key: see [`Fingerprinter::form`].
    ///
    /// # Errors
    ///
    /// [`PayloadError::PercentEncoding`].
    pub fn form(body: &[u8]) -> Result<Fingerprint, PayloadError> {
        unkeyed().form(&FormRules::new(), body)
    }
}

impl Fingerprinter {
    /// The fingerprint of a form-encoded body.
    ///
    /// Names and values are decoded, so `%2F`, `%2f` and `/` are the same, and `+` is a space. The order of fields
    /// does not count, but the order of several values of one name does. `a` is `a=`, and empty stretches between
    /// `&` are nothing, as the URL Standard has it. What it would let pass, a `%` that escapes nothing, is refused.
    ///
    /// # Errors
    ///
    /// [`PayloadError::PercentEncoding`].
    ///
    /// ```
    /// use claimstore_hash::{FormRules, Fingerprinter};
    ///
    /// let fingerprinter = Fingerprinter::with_key([7; 32]);
    /// let rules = FormRules::new().exclude("sent_at");
    /// assert_eq!(
    ///     fingerprinter.form(&rules, b"amount=100&note=a+b&sent_at=1")?,
    ///     fingerprinter.form(&rules, b"note=a%20b&amount=100")?,
    /// );
    /// # Ok::<(), claimstore_hash::PayloadError>(())
    /// ```
    pub fn form(&self, rules: &FormRules, body: &[u8]) -> Result<Fingerprint, PayloadError> {
        let mut mac = self.start(Form::UrlEncoded);
        rules.write(&mut mac, body)?;
        let context = self.context(Form::UrlEncoded, |mac| rules.describe(mac));
        Ok(self.fingerprint(Form::UrlEncoded, context, mac))
    }
}

type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Names and values, decoded, sorted by name; values of one name in their order.
fn fields(form: &[u8]) -> Result<Vec<Field<'_>>, PayloadError> {
    let mut fields = Vec::new();
    let mut at = 0;
    for field in form.split(|&byte| byte == b'&') {
        if !field.is_empty() {
            let middle = field.iter().position(|&byte| byte == b'=').unwrap_or(field.len());
            let (name, value) = field.split_at(middle);
            let value = value.strip_prefix(b"=").unwrap_or_default();
            fields.push((decoded(name, at)?, decoded(value, at + middle + 1)?));
        }
        at += field.len() + 1;
    }
    fields.sort_by(|(one, _): &Field<'_>, (other, _)| one.cmp(other));
    Ok(fields)
}

/// `offset`: where the text begins in the whole, for errors.
fn decoded(text: &[u8], offset: usize) -> Result<Cow<'_, [u8]>, PayloadError> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => escaped(&mut bytes).ok_or(PayloadError::PercentEncoding { at: offset + at })?,
            same => same,
        });
    }
    Ok(Cow::Owned(plain))
}

/// The byte of the next two hexadecimal digits.
pub(crate) fn escaped(bytes: &mut impl Iterator<Item = (usize, u8)>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?.1).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high << 4 | low).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Match;

    #[test]
    fn which_forms_are_the_same() {
        let check = |one: &str, other: &str, expected| {
            let maker = Fingerprinter::with_key([1; 32]);
            let rules = FormRules::new().exclude("t").exclude("a b").exclude("t");
            let made = [one, other].map(|form| maker.form(&rules, form.as_bytes()).unwrap());
            assert_eq!(made[0].compare(&made[1]), expected, "{one} {other}");
        };
        check("a=1&b=2", "b=2&a=1", Match::Same);
        check("a=%2f%2F", "a=//", Match::Same);
        check("a=x+y", "a=x%20y", Match::Same);
        check("%61=1", "a=1", Match::Same);
        check("a&b", "b=&a=", Match::Same);
        check("&a=1&&", "a=1", Match::Same);
        check("a=1&t=5", "a=1&t=6&t=7", Match::Same);
        check("a=1&a+b=5", "a=1", Match::Same);
        check("", "t=1", Match::Same);
        check("a=%FF", "a=%ff", Match::Same);
        check("a=1&a=2", "a=2&a=1", Match::Different);
        check("a=1&b=2", "a=1&b=2&c", Match::Different);
        check("a=x%2By", "a=x+y", Match::Different);
        check("a=1", "a=01", Match::Different);
        check("a=1", "A=1", Match::Different);
        check("a=b=c", "a=b&c", Match::Different);
        check("a=b=c", "a=b%3Dc", Match::Same);
        check("a=1&b=", "a=1", Match::Different);
        check("a=%FF", "a=%FE", Match::Different);
        check("ab=c", "a=bc", Match::Different);
        check("a=b&c=d", "a=b%26c%3Dd", Match::Different);
        check("=", "", Match::Different);
    }

    #[test]
    fn stray_percent_signs_are_refused_where_they_stand() {
        let check = |form: &str, at| {
            assert_eq!(
                Fingerprint::form(form.as_bytes()),
                Err(PayloadError::PercentEncoding { at }),
                "{form}"
            );
        };
        check("%", 0);
        check("a=%", 2);
        check("a=1&b=%2", 6);
        check("a=%zz", 2);
        check("a%=1", 1);
        check("a=%+1", 2);
        check("a=%2%31", 2);
    }

    #[test]
    fn forms_are_not_compared_with_bytes_or_other_rules() {
        let maker = Fingerprinter::with_key([1; 32]);
        let plain = maker.form(&FormRules::new(), b"a=1").unwrap();
        let excluding = maker.form(&FormRules::new().exclude("b"), b"a=1").unwrap();
        assert_eq!(plain.compare(&excluding), Match::Unknown);
        assert_eq!(plain.compare(&maker.raw(b"a=1")), Match::Unknown);
    }

    fn encoded(text: &[u8], mode: u64) -> String {
        let one = |(at, &byte): (usize, &u8)| match (byte, mode >> (at % 60) & 1) {
            (b' ', 0) => "+".to_owned(),
            (byte, 0) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            (byte, _) => format!("%{byte:02x}"),
        };
        text.iter().enumerate().map(one).collect()
    }

    proptest! {
        #[test]
        fn spelling_does_not_count_and_fields_do(
            one in prop::collection::btree_map("[ab=&+%]{0,2}", "[ab=&+% \u{e9}]{0,3}", 0..4),
            other in prop::collection::btree_map("[ab=&+%]{0,2}", "[ab=&+% \u{e9}]{0,3}", 0..4),
            mode: u64,
        ) {
            let spell = |fields: &std::collections::BTreeMap<String, String>, mode: u64| {
                let mut fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}={}", encoded(name.as_bytes(), mode), encoded(value.as_bytes(), !mode)))
                    .collect();
                if mode.is_multiple_of(2) { fields.reverse(); }
                fields.join("&")
            };
            let made = |fields, mode| Fingerprint::form(spell(fields, mode).as_bytes()).unwrap();
            prop_assert_eq!(made(&one, mode), made(&one, !mode));
            let expected = if one == other { Match::Same } else { Match::Different };
            prop_assert_eq!(made(&one, mode).compare(&made(&other, mode)), expected);
        }
    }
}
