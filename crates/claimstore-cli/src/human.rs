//! Numbers, sizes and times as people read them. What scripts read (`--json`) has none of this.

use std::time::Duration;

use crate::duration;

/// A count, of at most four digits and a unit: `912k`.
pub(crate) fn count(number: u64) -> String {
    scaled(number, 1_000, &["", "k", "M", "G", "T", "P", "E"])
}

/// A number of things: `1 key`, `2 keys`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// A size: `77.0 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1_024, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// Three digits or so, and a unit.
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut unit = 1;
    let mut names = units.iter();
    let mut name = names.next();
    while number / unit >= step {
        let Some(next) = names.next() else { break };
        (unit, name) = (unit * step, Some(next));
    }
    let name = name.copied().unwrap_or_default();
    if unit == 1 || number / unit >= 100 {
        return format!("{}{name}", number / unit);
    }
    // Ten times the largest unit still has room.
    format!("{}.{}{name}", number / unit, number % unit * 10 / unit)
}

/// A limit, where the largest number stands for none.
pub(crate) fn limit(number: u32) -> String {
    if number == u32::MAX { "no limit".into() } else { number.to_string() }
}

/// How long something takes, or took: `3d4h`.
pub(crate) fn span(ms: u64) -> String {
    duration::format(Duration::from_millis(ms))
}

/// A time, in UTC, to the second.
pub(crate) fn utc(at_ms: u64) -> String {
    let second =
        i64::try_from(at_ms / 1_000).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map_or_else(|| "beyond all calendars".into(), |second| second.to_string())
}

/// How long before `now_ms` it was: `3d4h`; nothing if it is ahead.
pub(crate) fn age(now_ms: u64, then_ms: u64) -> String {
    span(now_ms.saturating_sub(then_ms))
}

/// A time with its distance from now.
pub(crate) fn when(now_ms: u64, at_ms: u64) -> String {
    if at_ms > now_ms {
        return format!("{} (in {})", utc(at_ms), age(at_ms, now_ms));
    }
    format!("{} ({} ago)", utc(at_ms), age(now_ms, at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0, 999, 1_024, 1_536, 10_240, 102_400, 1 << 20, u64::MAX].map(bytes);
        assert_eq!(shown.join(", "), "0 B, 999 B, 1.0 KiB, 1.5 KiB, 10.0 KiB, 100 KiB, 1.0 MiB, 15.9 EiB");
        let shown = [0, 999, 1_250, 912_000, 1_250_000, u64::MAX].map(count);
        assert_eq!(shown.join(", "), "0, 999, 1.2k, 912k, 1.2M, 18.4E");
    }

    #[test]
    fn times_are_utc_and_to_the_second() {
        assert_eq!(utc(1_500), "1970-01-01T00:00:01Z");
        assert_eq!(utc(u64::MAX), "beyond all calendars");
        assert_eq!(when(0, 90_000), "1970-01-01T00:01:30Z (in 1m30s)");
        assert_eq!(when(3_600_000, 0), "1970-01-01T00:00:00Z (1h ago)");
    }

    #[test]
    fn one_thing_is_no_several() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "key")), ["0 keys", "1 key", "2 keys"]);
    }
}
