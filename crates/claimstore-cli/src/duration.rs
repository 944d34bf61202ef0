//! Durations as people type them: `35d`, `90m`, `1h30m`, `500ms`.

use std::fmt::Write as _;
use std::time::Duration;

const MS: u64 = 1;
const SECOND: u64 = 1_000 * MS;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// Reads whole numbers with a unit (`ms`, `s`, `m`, `h`, `d`, `w`), one or several in a row, added up.
///
/// A bare number is refused: whether `35` means seconds or days is not for us to guess.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a duration looks like 35d, 90m or 1h30m".into());
    }
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        rest = after;
        let number: u64 = number.parse().map_err(|_| format!("no whole number in front of `{unit}`"))?;
        total_ms = number
            .checked_mul(unit_ms(unit)?)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or("the duration is too long")?;
    }
    Ok(Duration::from_millis(total_ms))
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long a key may be remembered: what the store accepts, said before the store is touched.
pub(crate) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse(text)?;
    let longest = Duration::from_millis(3_650 * DAY);
    if ttl < Duration::from_secs(1) || ttl > longest {
        return Err("a ttl is between 1s and 3650d".into());
    }
    Ok(ttl)
}

/// The two largest units of a duration, as [`parse`] reads them: `3d4h`, `12s`, `0ms`.
pub(crate) fn format(duration: Duration) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (MS, "ms")];
    let mut rest = millis(duration);
    let mut text = String::new();
    // From the first unit that fits, and the one below it.
    let first = units.iter().position(|(ms, _)| rest >= *ms).unwrap_or(units.len() - 1);
    for (ms, name) in units.iter().skip(first).take(2) {
        if rest >= *ms || text.is_empty() {
            let _ = write!(text, "{}{name}", rest / ms);
        }
        rest %= ms;
    }
    text
}

/// How long a holder may be trusted, said before the store is touched.
pub(crate) fn parse_lease(text: &str) -> Result<Duration, String> {
    let lease = parse(text)?;
    if lease.is_zero() || lease > Duration::from_millis(366 * DAY) {
        return Err("a lease is between 1ms and 366d".into());
    }
    Ok(lease)
}

fn unit_ms(unit: &str) -> Result<u64, String> {
    match unit {
        "ms" => Ok(MS),
        "s" => Ok(SECOND),
        "m" => Ok(MINUTE),
        "h" => Ok(HOUR),
        "d" => Ok(DAY),
        "w" => Ok(WEEK),
        "" => Err("a number needs a unit: ms, s, m, h, d or w".into()),
        other => Err(format!("`{other}` is not a unit: use ms, s, m, h, d or w")),
    }
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_type() {
        for (text, ms) in [
            ("35d", 35 * DAY),
            ("2w", 14 * DAY),
            ("90m", 90 * MINUTE),
            ("1h30m", 90 * MINUTE),
            ("500ms", 500),
            ("0s", 0),
            (" 10s ", 10_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for text in ["", "35", "d", "3.5d", "35 d", "-1d", "1y", "99999999999999999999d", "9999999999999999w"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_the_two_largest_units() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (90 * SECOND, "1m30s"),
            (3 * DAY + 5 * MINUTE, "3d"),
            (3 * DAY + 4 * HOUR + MINUTE, "3d4h"),
        ] {
            assert_eq!(format(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_ttl_has_the_bounds_of_the_store() {
        for (text, accepted) in [("1s", true), ("3650d", true), ("999ms", false), ("3651d", false)] {
            assert_eq!(parse_ttl(text).is_ok(), accepted, "{text}");
        }
    }
}
