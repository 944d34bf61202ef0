use proptest::prelude::*;

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "as it is read")]
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
    for text in
        ["1999-12-31T23:59:59.999Z", "1900-01-01", "1970-01-01 00:00:01", "0002-01-01", "1753-01-01 00:00:00"]
    {
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
    for format in ["", "%", "%!", "no date", "%H:%M", "%Q", "%Y", "%m-%d", "%Y-%m-%d %Q", "%Y-%m-%d %I:%M"] {
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
