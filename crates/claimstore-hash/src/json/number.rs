//! Numbers as RFC 8785 writes them, and the gate: no number may change its value on the way.

use std::borrow::Cow;
use std::fmt::Write;

/// The treatment of a number that a double cannot represent exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Refused.
    Strict,
    /// Rounded to the nearest double, as RFC 8785 itself does. Numbers beyond the largest double are refused too.
    Rounded,
}

/// A double has at most so many significant digits in its shortest text.
const MAX_DIGITS: usize = 17;

/// Decimals of up to so many digits, of a size within [`SAFE_POINT`], are told apart by doubles: the shortest
/// text of the nearest double is the decimal's own.
const SAFE_DIGITS: usize = 15;

/// How far the decimal point may lie from the first digit for [`SAFE_DIGITS`] to hold. Doubles lose digits below
/// 10^-307 and end above 10^308.
const SAFE_POINT: i64 = 290;

/// A decimal: digits after a decimal point, which is then moved to the right by `point` places. The first and last
/// digit are not `0`. Without digits it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: [u8; MAX_DIGITS],
    count: usize,
    point: i64,
}

/// The canonical text of `literal`, which must be a number as JSON writes it. `None`: the gate refuses it.
pub(crate) fn canonical(literal: &str, gate: Gate) -> Option<Cow<'_, str>> {
    if is_plain_integer(literal) {
        return Some(Cow::Borrowed(if literal == "-0" { "0" } else { literal }));
    }
    match gate {
        Gate::Strict => exact(literal).map(Cow::Owned),
        Gate::Rounded => double(literal).map(|decimal| Cow::Owned(decimal.text())),
    }
}

/// Integers of up to 15 digits are their own canonical text.
fn is_plain_integer(literal: &str) -> bool {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    digits.len() <= SAFE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn exact(literal: &str) -> Option<String> {
    let given = Decimal::read(literal)?;
    let safe = given.count <= SAFE_DIGITS && (-SAFE_POINT..=SAFE_POINT).contains(&given.point);
    (given.count == 0 || safe || double(literal)? == given).then(|| given.text())
}

/// The decimal in the shortest text of the double nearest to `literal`; `None` if that is no finite one.
fn double(literal: &str) -> Option<Decimal> {
    shortest(literal.parse().ok()?)
}

/// The canonical text of a double.
#[cfg(feature = "serde")]
pub(crate) fn of_double(double: f64) -> Option<String> {
    shortest(double).map(|decimal| decimal.text())
}

/// The decimal in the shortest text of a double.
///
/// Of two shortest ones equally close ECMAScript takes the even one, and RFC 8785 requires that; the standard
/// library takes the one above. Rounding to as many digits breaks ties to even. That may step out of the double's
/// own range just above a power of two, where the range below is narrower; then there is no tie.
fn shortest(double: f64) -> Option<Decimal> {
    if !double.is_finite() {
        return None;
    }
    let shortest = Decimal::read(&format!("{double:e}"))?;
    let rounded = format!("{double:.*e}", shortest.count.saturating_sub(1));
    if rounded.parse() == Ok(double) { Decimal::read(&rounded) } else { Some(shortest) }
}

/// The shortest text that reads back as `single`, ties to even likewise: not the text of the double it is.
#[cfg(feature = "serde")]
pub(crate) fn of_single(single: f32) -> Option<String> {
    if !single.is_finite() {
        return None;
    }
    let shortest = Decimal::read(&format!("{single:e}"))?;
    let rounded = format!("{single:.*e}", shortest.count.saturating_sub(1));
    let decimal = if rounded.parse() == Ok(single) { Decimal::read(&rounded)? } else { shortest };
    Some(decimal.text())
}

impl Decimal {
    /// `None`: more digits than any double's text has, or an exponent beyond every double's.
    fn read(literal: &str) -> Option<Decimal> {
        let (negative, literal) = match literal.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, literal),
        };
        let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut decimal = Decimal { negative, digits: [0; MAX_DIGITS], count: 0, point: whole.len() as i64 };
        // Zeros after the last significant digit; they are added only if another digit follows.
        let mut zeros = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            match digit {
                b'0' if decimal.count == 0 => decimal.point -= 1,
                b'0' => zeros += 1,
                _ => {
                    let place = decimal.count + zeros;
                    *decimal.digits.get_mut(place)? = digit - b'0';
                    decimal.count = place + 1;
                    zeros = 0;
                }
            }
        }
        if decimal.count == 0 {
            return Some(Decimal { negative: false, point: 0, ..decimal });
        }
        decimal.point = decimal.point.checked_add(exponent.parse().ok()?)?;
        Some(decimal)
    }

    /// The text ECMAScript gives a number (ECMA-262, Number::toString, radix 10).
    fn text(&self) -> String {
        let digits = self.digits.iter().take(self.count).map(|digit| char::from(b'0' + digit));
        let mut text = String::with_capacity(self.count + 8);
        if self.negative {
            text.push('-');
        }
        match (self.count as i64, self.point) {
            (0, _) => text.push('0'),
            (count, point) if count <= point && point <= 21 => {
                text.extend(digits);
                text.extend(std::iter::repeat_n('0', (point - count) as usize));
            }
            (_, point @ 1..=21) => with_point(&mut text, digits, point as usize),
            (_, point @ -5..=0) => {
                text.push_str("0.");
                text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
                text.extend(digits);
            }
            (_, point) => {
                with_point(&mut text, digits, 1);
                let sign = if point > 0 { '+' } else { '-' };
                // Writing to a string does not fail.
                let _ = write!(text, "e{sign}{}", (point - 1).unsigned_abs());
            }
        }
        text
    }
}

/// The digits, with a point after the first `whole` of them if more follow.
fn with_point(text: &mut String, digits: impl Iterator<Item = char>, whole: usize) {
    for (place, digit) in digits.enumerate() {
        if place == whole {
            text.push('.');
        }
        text.push(digit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 8785, appendix B: every number of the table.
    #[test]
    fn the_numbers_of_rfc_8785_appendix_b() {
        let table: [(u64, &str); 24] = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, expected) in table {
            let double = f64::from_bits(bits);
            for literal in [format!("{double}"), format!("{double:e}"), format!("{double:.400e}")] {
                assert_eq!(canonical(&literal, Gate::Rounded).unwrap(), expected, "{bits:016x}");
            }
            // The canonical text itself passes the gate, being its own value.
            assert_eq!(canonical(expected, Gate::Strict).unwrap(), expected, "{bits:016x}");
        }
        for refused in ["1e309", "-1e309", "1e99999999999999999999"] {
            assert_eq!(canonical(refused, Gate::Rounded), None);
        }
    }

    #[test]
    fn what_the_gate_lets_through() {
        let check = |literal: &str, expected: &str| {
            assert_eq!(canonical(literal, Gate::Strict).as_deref(), Some(expected), "{literal}");
        };
        check("0", "0");
        check("-0", "0");
        check("-0.000e-5", "0");
        check("0e999999999999999999999999", "0");
        check("10", "10");
        check("1.0", "1");
        check("1e2", "100");
        check("100E-2", "1");
        check("4.50", "4.5");
        check("0.1", "0.1");
        check("19.99", "19.99");
        check("1E30", "1e+30");
        check("2e-3", "0.002");
        check("0.000000000000000000000000001", "1e-27");
        check("123456789012345", "123456789012345");
        check("1234567890123456", "1234567890123456");
        check("9007199254740991", "9007199254740991");
        check("9007199254740992", "9007199254740992");
        check("9007199254740992.000", "9007199254740992");
        check("9007199254740994", "9007199254740994");
        check("100000000000000000", "100000000000000000");
        check("999999999999999000000", "999999999999999000000");
        check("1e21", "1e+21");
        check("5e-324", "5e-324");
        check("1.7976931348623157e308", "1.7976931348623157e+308");
        check("-0.0000012", "-0.0000012");
        check("-0.00000012", "-1.2e-7");
    }

    #[test]
    fn what_the_gate_refuses() {
        let check = |literal: &str| assert_eq!(canonical(literal, Gate::Strict), None, "{literal}");
        check("9007199254740993");
        check("-9007199254740993");
        check("9007199254740993.0");
        check("9.007199254740993e15");
        check("9007199254740993000e-3");
        check("123456789012345678");
        check("999999999999999999");
        check("1234567890123456.78");
        check("1234567890.12345678");
        check("0.123456789012345678");
        check("0.1000000000000000055511151231257827");
        check("333333333.33333329");
        check("18446744073709551615");
        check("295147905179352825856");
        check("1e400");
        check("1e-400");
        check("2e-324");
        check("5.0000000000000001e-324");
        check("1e99999999999999999999");
    }

    /// The value as an integer and a power of ten, trailing zeros gone: another way to the same question.
    fn value(literal: &str) -> (i128, i32) {
        let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: i128 = format!("{whole}{fraction}").parse().unwrap();
        let mut exponent = exponent.parse::<i32>().unwrap() - fraction.len() as i32;
        while digits != 0 && digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        (digits, if digits == 0 { 0 } else { exponent })
    }

    fn literals() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?(0|[1-9][0-9]{0,19})",
            r"-?(0|[1-9][0-9]{0,9})\.[0-9]{1,12}",
            r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,14})?[eE][+-]?[0-9]{1,3}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_passes_keeps_its_value_and_what_does_not_would_change(literal in literals()) {
            let rounded = canonical(&literal, Gate::Rounded);
            match canonical(&literal, Gate::Strict) {
                Some(text) => {
                    prop_assert_eq!(value(&text), value(&literal));
                    prop_assert_eq!(rounded, Some(text));
                }
                None => prop_assert!(rounded.is_none_or(|text| value(&text) != value(&literal))),
            }
        }

        #[test]
        fn every_double_passes_in_its_canonical_text(bits: u64) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            let text = canonical(&format!("{double:e}"), Gate::Rounded).unwrap().into_owned();
            prop_assert!(text.parse::<f64>().unwrap().total_cmp(&(double + 0.0)).is_eq());
            for gate in [Gate::Strict, Gate::Rounded] {
                prop_assert_eq!(canonical(&text, gate).unwrap(), text.as_str());
            }
            prop_assert_eq!(serde_json_canonicalizer::to_string(&double).unwrap(), text);
        }
    }
}
