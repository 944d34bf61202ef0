//! Times as databases write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Whole numbers from here on are milliseconds since 1970, below it seconds: the one is of 1973 and later, the other
/// of before 5138.
const FIRST_MS: u64 = 100_000_000_000;

/// Reads RFC 3339, the same with a blank for the `T`, without a zone (then UTC), or a date alone; seconds or
/// milliseconds since 1970. Times before 1970 are 1970.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u64>() {
        let ms = if number < FIRST_MS { number * 1_000 } else { number };
        return Some(UNIX_EPOCH + Duration::from_millis(ms.min(1 << 52)));
    }
    let stamp = text.parse::<Timestamp>().ok().or_else(|| in_utc(text))?;
    Some(UNIX_EPOCH + Duration::from_millis(u64::try_from(stamp.as_millisecond()).unwrap_or(0)))
}

fn in_utc(text: &str) -> Option<Timestamp> {
    let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(DateTime::from))?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_databases_write_is_read() {
        let at = |ms| Some(UNIX_EPOCH + Duration::from_millis(ms));
        for (text, ms) in [
            ("2026-11-21T12:00:00Z", 1_795_262_400_000),
            ("2026-11-21 12:00:00+00", 1_795_262_400_000),
            ("2026-11-21 14:00:00.25+02", 1_795_262_400_250),
            ("2026-11-21 12:00:00", 1_795_262_400_000),
            ("2026-11-21 12:00:00.123456", 1_795_262_400_123),
            ("2026-11-21", 1_795_219_200_000),
            ("1795262400", 1_795_262_400_000),
            ("1795262400250", 1_795_262_400_250),
            ("1969-12-31T00:00:00Z", 0),
        ] {
            assert_eq!(parse(text), at(ms), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in ["", "yesterday", "21.11.2026", "2026-13-01", "-5", "1.5"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
