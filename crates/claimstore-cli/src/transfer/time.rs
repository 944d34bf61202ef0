//! Times as databases write them.
//!
//! A number is a time only where it has one reading. Seconds, milliseconds, microseconds and nanoseconds since 1970 of
//! the years 2000 to 2099 are four ranges that do not meet, so a number in none of them is none: `20261128` is a date
//! without its hyphens, `1` is a flag, and neither is a time of 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};

/// 2000-01-01 and 2100-01-01 in seconds since 1970. Nothing that such a table tells of was done before the first; what
/// lies after the second stands for no end.
const FIRST_S: i128 = 946_684_800;
const LAST_S: i128 = 4_102_444_800;
/// The year 9999 in seconds since 1970: how tables write "for ever" as a number.
const YEAR_9999_S: (i128, i128) = (253_370_764_800, 253_402_300_800);
/// The beginning of the year 1: what a time is in Go and .NET that nobody set.
const YEAR_1_S: i128 = -62_135_596_800;

/// What a column of times says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// No time: nothing, 0, or the beginning of the calendar.
    Never,
    At(SystemTime),
    /// `infinity`, 9999-12-31, any time from 2100 on.
    ForEver,
}

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTime {
    Unreadable,
    Number,
    TooEarly,
}

impl NoTime {
    /// What is said of the column.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            NoTime::Unreadable => {
                "is no time that can be read: --time-format says how it is written, --null which word stands for none"
            }
            NoTime::Number => {
                "is no time: the number is none in seconds, milliseconds, microseconds or nanoseconds since 1970 of the \
                 years 2000 to 2099; --time-format says how it is written"
            }
            NoTime::TooEarly => {
                "is no time of such a table: it lies before 2000; --null names a word that stands for none"
            }
        }
    }
}

/// Reads times.
#[derive(Debug, Default)]
pub(crate) struct Times {
    formats: Vec<String>,
}

impl Times {
    /// Reads times in these formats too, before the usual ones.
    pub(crate) fn new(formats: &[String]) -> Result<Times, String> {
        match formats.iter().find(|format| !is_format(format)) {
            Some(format) => {
                Err(format!("`{format}` is no format that gives a date, such as %Y%m%d or %d.%m.%Y %H:%M:%S"))
            }
            None => Ok(Times { formats: formats.to_vec() }),
        }
    }

    /// What the text says. Without a zone it is UTC.
    pub(crate) fn read(&self, text: &str) -> Result<When, NoTime> {
        let text = text.trim();
        if text.is_empty() || text.eq_ignore_ascii_case("null") {
            return Ok(When::Never);
        }
        if let Some(read) = self.formats.iter().find_map(|format| formatted(format, text)) {
            return read;
        }
        if text.eq_ignore_ascii_case("infinity") || text.eq_ignore_ascii_case("+infinity") {
            return Ok(When::ForEver);
        }
        match Number::parse(text) {
            Some(number) => number.when(),
            None => written(text),
        }
    }
}

/// Whether it gives a date back, and the hour of the day if it has one: `%I` without `%p` does not.
fn is_format(format: &str) -> bool {
    // 2026-11-28 22:33:44, its hour, and its day, in seconds since 1970.
    const SAMPLE: (i64, u64, u64) = (1_795_905_224, 1_795_903_200, 1_795_824_000);
    let Ok(stamp) = Timestamp::from_second(SAMPLE.0) else { return false };
    let Ok(text) = strtime::format(format, &stamp.to_zoned(TimeZone::UTC)) else { return false };
    let Some(Ok(When::At(read))) = formatted(format, &text) else { return false };
    let second = read.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    second == SAMPLE.2 || (SAMPLE.1..SAMPLE.1 + 3_600).contains(&second)
}

/// The time in a format of the user's; nothing where the text is not written in it.
fn formatted(format: &str, text: &str) -> Option<Result<When, NoTime>> {
    let parts = BrokenDownTime::parse(format, text).ok()?;
    if let Some(stamp) = parts.timestamp() {
        return Some(of_stamp(stamp));
    }
    if parts.iana_time_zone().is_some() {
        return None;
    }
    let time = if parts.hour().is_none() { Time::midnight() } else { parts.to_time().ok()? };
    let civil = DateTime::from_parts(parts.to_date().ok()?, time);
    Some(of_civil(civil, parts.offset().unwrap_or(Offset::UTC)))
}

/// A date as ISO 8601 and databases write it, with a time of day and a zone or without.
fn written(text: &str) -> Result<When, NoTime> {
    if text.starts_with("0000-00-00") {
        return Ok(When::Never);
    }
    // Go appends the reading of a clock.
    let text = text.split_once(" m=").map_or(text, |(text, _)| text);
    let (civil, offset) = parts(text).ok_or(NoTime::Unreadable)?;
    of_civil(civil, offset)
}

fn parts(text: &str) -> Option<(DateTime, Offset)> {
    let (day, rest) = text.split_at_checked("2026-11-28".len())?;
    let digit_or_hyphen = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    if !day.bytes().enumerate().all(digit_or_hyphen) {
        return None;
    }
    let day = day.parse().ok()?;
    if rest.is_empty() {
        return Some((DateTime::from_parts(day, Time::midnight()), Offset::UTC));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ','));
    let (time, zone) = rest.split_at(end.unwrap_or(rest.len()));
    let time: Time = time.replace(',', ".").parse().ok()?;
    Some((DateTime::from_parts(day, time), offset(zone.trim())?))
}

/// `Z`, `UTC`, `+02`, `+0200`, `+02:00`; behind an offset also a name, which says no more: `+0000 UTC`, `+0100 CET`.
fn offset(zone: &str) -> Option<Offset> {
    if ["", "z", "utc", "gmt"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return Some(Offset::UTC);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = zone.get(1..)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(rest.len());
    let (digits, name) = rest.split_at(end);
    let name = name.trim();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphabetic()) && name.len() <= 5;
    if !is_name && !name.starts_with(['+', '-', '[']) {
        return None;
    }
    Offset::from_seconds(sign * seconds(digits)?).ok()
}

/// The digits of an offset: hours, then minutes and seconds, with colons between all or none.
fn seconds(digits: &str) -> Option<i32> {
    let plain: String = match digits.split(':').collect::<Vec<_>>().as_slice() {
        [all] => (*all).to_owned(),
        parts if parts.iter().all(|part| part.len() == 2) => parts.concat(),
        _ => return None,
    };
    let two = |from: usize| plain.get(from..from + 2)?.parse::<i32>().ok();
    let (hours, minutes, seconds) = match plain.len() {
        2 => (two(0)?, 0, 0),
        4 => (two(0)?, two(2)?, 0),
        6 => (two(0)?, two(2)?, two(4)?),
        _ => return None,
    };
    (minutes < 60 && seconds < 60).then_some(hours * 3_600 + minutes * 60 + seconds)
}

fn of_civil(civil: DateTime, offset: Offset) -> Result<When, NoTime> {
    match civil.year() {
        ..=1 => Ok(When::Never),
        // The last of its days are beyond what a time stamp can say.
        9_999.. => Ok(When::ForEver),
        _ => of_stamp(offset.to_timestamp(civil).map_err(|_| NoTime::Unreadable)?),
    }
}

fn of_stamp(stamp: Timestamp) -> Result<When, NoTime> {
    of_nanos(stamp.as_nanosecond()).unwrap_or(Err(NoTime::TooEarly))
}

/// The time so many nanoseconds after 1970; nothing where it lies before 2000 and does not stand for none.
fn of_nanos(nanos: i128) -> Option<Result<When, NoTime>> {
    const S: i128 = 1_000_000_000;
    match nanos {
        0 => Some(Ok(When::Never)),
        _ if nanos < FIRST_S * S => None,
        _ if nanos >= LAST_S * S => Some(Ok(When::ForEver)),
        _ => Some(
            u64::try_from(nanos / 1_000_000)
                .map_or(Err(NoTime::Number), |ms| Ok(When::At(UNIX_EPOCH + Duration::from_millis(ms)))),
        ),
    }
}

/// A decimal number, in billionths.
struct Number(i128);

impl Number {
    /// Reads digits with a point or a comma and an exponent: `1795262400`, `1795262400,25`, `1.7952624e9`.
    fn parse(text: &str) -> Option<Number> {
        let (sign, text) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, part) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
            return None;
        }
        let digits = format!("{whole}{part}");
        // How many of the digits are billionths and more.
        let kept = i32::try_from(whole.len()).ok()?.saturating_add(exponent).saturating_add(9);
        let significant = digits.trim_start_matches('0');
        // Less than a billionth is not zero.
        let least = i128::from(!significant.is_empty());
        Some(Number(sign * leading(significant, kept, digits.len()).max(least)))
    }

    fn when(&self) -> Result<When, NoTime> {
        const BILLION: i128 = 1_000_000_000;
        if self.0 == 0 {
            return Ok(When::Never);
        }
        for unit_ns in [BILLION, 1_000_000, 1_000, 1] {
            let nanos = self.0.saturating_mul(unit_ns) / BILLION;
            if nanos == YEAR_1_S * BILLION {
                return Ok(When::Never);
            }
            if (FIRST_S * BILLION..LAST_S * BILLION).contains(&nanos) {
                return of_nanos(nanos).unwrap_or(Err(NoTime::Number));
            }
            if (YEAR_9999_S.0 * BILLION..YEAR_9999_S.1 * BILLION).contains(&nanos) {
                return Ok(When::ForEver);
            }
        }
        Err(NoTime::Number)
    }
}

/// The number that the first `kept` of `length` digits make, of which zeros in front are left out of `digits`; zeros
/// follow where there are fewer. Too many are as good as the most that there can be.
fn leading(digits: &str, kept: i32, length: usize) -> i128 {
    let zeros = i32::try_from(length - digits.len()).unwrap_or(i32::MAX);
    let Ok(kept) = usize::try_from(kept.saturating_sub(zeros)) else { return 0 };
    if digits.is_empty() {
        return 0;
    }
    // More than any time has, and few enough to be multiplied.
    if kept > 29 {
        return i128::MAX;
    }
    let digits = digits.bytes().chain(std::iter::repeat(b'0')).take(kept);
    digits.fold(0, |number, digit| number * 10 + i128::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Result<When, NoTime> {
        Ok(When::At(UNIX_EPOCH + Duration::from_millis(ms)))
    }

    fn check(text: &str, expected: Result<When, NoTime>) {
        assert_eq!(Times::default().read(text), expected, "{text}");
    }

    fn check_format(format: &str, text: &str, expected: Result<When, NoTime>) {
        assert_eq!(Times::new(&[format.to_owned()]).unwrap().read(text), expected, "{format}: {text}");
    }

    #[test]
    fn what_databases_write_is_read() {
        for (text, ms) in [
            ("2026-11-21T12:00:00Z", 1_795_262_400_000),
            ("2026-11-21t12:00:00z", 1_795_262_400_000),
            ("2026-11-21 12:00:00+00", 1_795_262_400_000),
            ("2026-11-21 12:00:00+00:00", 1_795_262_400_000),
            ("2026-11-21 12:00:00 +00:00", 1_795_262_400_000),
            ("2026-11-21 12:00:00 UTC", 1_795_262_400_000),
            ("2026-11-21 12:00:00 utc", 1_795_262_400_000),
            ("2026-11-21 12:00:00 GMT", 1_795_262_400_000),
            ("2026-11-21 12:00:00Z", 1_795_262_400_000),
            ("2026-11-21 12:00:00 Z", 1_795_262_400_000),
            ("2026-11-21 12:00:00 +0000 UTC", 1_795_262_400_000),
            ("2026-11-21 13:00:00.25 +0100 CET", 1_795_262_400_250),
            ("2026-11-21 15:00:00 +0300 +03", 1_795_262_400_000),
            ("2026-11-21 12:00:00.25 +0000 UTC m=+0.012345678", 1_795_262_400_250),
            ("2026-11-21 14:00:00.25+02", 1_795_262_400_250),
            ("2026-11-21 06:30:00-05:30", 1_795_262_400_000),
            ("2026-11-21T13:00:00+01:00[Europe/Berlin]", 1_795_262_400_000),
            ("2026-11-21 12:00:00.2500000 +00:00", 1_795_262_400_250),
            ("2026-11-21 12:00:00,250", 1_795_262_400_250),
            ("2026-11-21 12:00:00", 1_795_262_400_000),
            ("2026-11-21 12:00:00.123456", 1_795_262_400_123),
            ("2026-11-21T12:00:00.123456789Z", 1_795_262_400_123),
            ("2026-11-21 12:00", 1_795_262_400_000),
            ("2026-11-21", 1_795_219_200_000),
            ("  2026-11-21\t", 1_795_219_200_000),
            ("1795262400", 1_795_262_400_000),
            ("1795262400250", 1_795_262_400_250),
            ("1795262400250999", 1_795_262_400_250),
            ("1795262400250999999", 1_795_262_400_250),
            ("1795262400.25", 1_795_262_400_250),
            ("1795262400,25", 1_795_262_400_250),
            ("1795262400.250999", 1_795_262_400_250),
            ("1795262400250.75", 1_795_262_400_250),
            ("1.7952624e9", 1_795_262_400_000),
            ("1.79526240025E+09", 1_795_262_400_250),
            ("1.79526240025e12", 1_795_262_400_250),
            ("17952624000.0e-1", 1_795_262_400_000),
            ("01795262400", 1_795_262_400_000),
            ("2000-01-01", 946_684_800_000),
            ("2099-12-31T23:59:59.999Z", 4_102_444_799_999),
        ] {
            check(text, at(ms));
        }
    }

    #[test]
    fn what_stands_for_no_time_is_none() {
        for text in [
            "",
            " ",
            "NULL",
            "null",
            "0",
            "0.0",
            "0e9",
            "000",
            "-0",
            "0001-01-01",
            "0001-01-01T00:00:00Z",
            "0001-01-01 00:00:00 +0000 UTC",
            "0001-01-01T00:00:00-05:00",
            "0000-00-00 00:00:00",
            "0000-00-00",
            "1970-01-01T00:00:00Z",
            "1970-01-01 01:00:00+01",
            "-62135596800",
            "-62135596800000",
        ] {
            check(text, Ok(When::Never));
        }
    }

    #[test]
    fn what_has_no_end_is_for_ever() {
        for text in [
            "infinity",
            "Infinity",
            "+infinity",
            "9999-12-31",
            "9999-12-31 23:59:59.9999999",
            "9999-12-31T23:59:59Z",
            "9999-01-01 00:00:00+14",
            "2999-12-31",
            "2100-01-01",
            "253402300799",
            "253402300799999",
            "253402300799999999",
        ] {
            check(text, Ok(When::ForEver));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for text in [
            "yesterday",
            "21.11.2026",
            "11/21/2026",
            "2026-13-01",
            "2026-02-30",
            "2026-11-21 25:00:00",
            "-infinity",
            "2026-11-21 12:00:00 CET",
            "2026-11-21 12:00:00+1",
            "2026-11-21 12:00:00+01:0",
            "2026-11-21 12:00:00+99",
            "2026-11-21 12:00:00 +0000 UTC and more",
            "2026-11-21x",
            "2026-11-21T",
            "20261121T120000Z",
            "1.2.3",
            "1e",
            "e9",
            ".",
            "1,795,262,400",
            "294276-12-31",
            "0044-03-15 BC",
            "true",
            "é026-11-21",
            "2026-11-2é",
        ] {
            check(text, Err(NoTime::Unreadable));
        }
        for text in [
            "1",
            "-5",
            "1.5",
            "20261128",
            "20261128.0",
            "202611281015",
            "20261128101500",
            "20261128101500123",
            "46354.5",
            "946684799",
            "4102444800",
            "4102444800000",
            "1e30",
            "1e999999999",
            "1e-999999999",
            "99999999999999999999999999999999999999999",
            "639000000000000000",
        ] {
            check(text, Err(NoTime::Number));
        }
        for text in [
            "1999-12-31T23:59:59.999Z",
            "1900-01-01",
            "1970-01-01 00:00:01",
            "0002-01-01",
            "1753-01-01 00:00:00",
        ] {
            check(text, Err(NoTime::TooEarly));
        }
    }

    #[test]
    fn a_format_says_how_times_are_written() {
        check_format("%Y%m%d", "20261121", at(1_795_219_200_000));
        check_format("%d.%m.%Y %H:%M:%S", "21.11.2026 12:00:00", at(1_795_262_400_000));
        check_format("%d-%b-%y %I.%M.%S%.f %p", "21-NOV-26 12.00.00.250000 PM", at(1_795_262_400_250));
        check_format("%d/%b/%Y:%H:%M:%S %z", "21/Nov/2026:14:00:00 +0200", at(1_795_262_400_000));
        check_format("%Y%m%d", "99991231", Ok(When::ForEver));
        check_format("%Y%m%d", "00010101", Ok(When::Never));
        check_format("%Y%m%d", "18991231", Err(NoTime::TooEarly));
        // The usual forms go on beside it.
        check_format("%Y%m%d", "2026-11-21 12:00:00+00", at(1_795_262_400_000));
        check_format("%Y%m%d", "1795262400", at(1_795_262_400_000));
        check_format("%Y%m%d", "infinity", Ok(When::ForEver));
        check_format("%Y%m%d", "0", Ok(When::Never));
        for format in
            ["", "%", "%!", "no date", "%H:%M", "%Q", "%Y", "%m-%d", "%Y-%m-%d %Q", "%Y-%m-%d %I:%M"]
        {
            assert!(Times::new(&[format.to_owned()]).is_err(), "{format}");
        }
    }

    /// Days since 1970 of a date, counted year by year and month by month.
    fn days(year: u64, month: usize, day: u64) -> u64 {
        let is_leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let years = (1970..year).map(|year| 365 + u64::from(is_leap(year)));
        let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        years.sum::<u64>() + lengths[..month - 1].iter().sum::<u64>() + day - 1
    }

    proptest! {
        #[test]
        fn a_time_is_read_back_from_every_form(
            year in 2000_u64..2100, month in 1_usize..=12, day in 1_u64..=28,
            hour in 0_u64..24, minute in 0_u64..60, second in 0_u64..60, ms in 0_u64..1_000,
            offset_minutes in -14_i64 * 60..=14 * 60,
        ) {
            let local_ms = (((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms;
            let date = format!("{year:04}-{month:02}-{day:02}");
            let clock = format!("{hour:02}:{minute:02}:{second:02}.{ms:03}");
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
            let shifted = i64::try_from(local_ms).unwrap() - offset_minutes * 60_000;
            for between in ["T", " ", "t"] {
                for zone in ["", "Z", " UTC", "+00", "+00:00", " +00:00", "+0000", " +0000 UTC", " GMT", "-00:00"] {
                    check(&format!("{date}{between}{clock}{zone}"), at(local_ms));
                    check(&format!("{date}{between}{}{zone}", clock.replace('.', ",")), at(local_ms));
                }
                for zone in [
                    format!("{sign}{hours:02}:{minutes:02}"),
                    format!(" {sign}{hours:02}{minutes:02}"),
                    format!(" {sign}{hours:02}{minutes:02} XYZ"),
                ] {
                    let expected = match u64::try_from(shifted) {
                        Ok(ms) if ms >= 4_102_444_800_000 => Ok(When::ForEver),
                        Ok(ms) if ms >= 946_684_800_000 => at(ms),
                        _ => Err(NoTime::TooEarly),
                    };
                    check(&format!("{date}{between}{clock}{zone}"), expected);
                }
            }
            let (s, fraction) = (local_ms / 1_000, local_ms % 1_000);
            for number in [
                format!("{s}.{fraction:03}"), format!("{s},{fraction:03}"), format!("{local_ms}"),
                format!("{local_ms}000"), format!("{local_ms}999999"), format!("{local_ms}e-3"), format!("{s}.{fraction:03}e0"),
            ] {
                check(&number, at(local_ms));
            }
        }

        #[test]
        fn no_text_is_a_panic_and_none_lies_outside_of_its_years(text in "[-+0-9eE.,:TZ m=UTC]{0,24}|.{0,24}") {
            if let Ok(When::At(time)) = Times::default().read(&text) {
                let s = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
                prop_assert!((946_684_800..4_102_444_800).contains(&s), "{}", text);
            }
        }
    }
}
