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
mod tests;
