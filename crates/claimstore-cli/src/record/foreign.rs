//! Inputs that are no text of records, told by how they begin.

/// Why an input that begins with these bytes, and its first lines, cannot be read.
pub(super) fn refusal(bytes: &[u8]) -> Option<String> {
    encoding(bytes).or_else(|| archive(bytes)).or_else(|| dump(bytes))
}

/// How many bytes have to be there before [`refusal`] can tell, so that it need not be asked again.
pub(super) fn enough(bytes: &[u8]) -> bool {
    match bytes {
        [] | [_] => false,
        // A byte order mark, or the beginning of an archive.
        [0xEF | b'P' | 0x28, ..] if bytes.len() < 5 => false,
        _ => !may_be_dump(bytes),
    }
}

/// Two bytes a character: one of the first two is zero, as neither delimited text nor JSON begins with a zero byte.
fn encoding(bytes: &[u8]) -> Option<String> {
    let (encoding, name) = match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => ("UTF-32", "UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => ("UTF-16", "UTF-16"),
        [0, 0, 0, _, ..] => ("UTF-32BE", "UTF-32, big end first"),
        [_, 0, 0, 0, ..] => ("UTF-32LE", "UTF-32, little end first"),
        [0, ..] => ("UTF-16BE", "UTF-16, big end first"),
        [_, 0, ..] => ("UTF-16LE", "UTF-16, little end first"),
        _ => return None,
    };
    Some(format!(
        "the input is {name}, and is read as UTF-8 only: convert it first, with `iconv -f {encoding} -t UTF-8`"
    ))
}

fn archive(bytes: &[u8]) -> Option<String> {
    let (what, instead) = match bytes {
        [0x1F, 0x8B, ..] => ("compressed with gzip", "`gunzip -c`"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => ("compressed with zstd", "`zstd -dc`"),
        [b'P', b'K', 3, 4, ..] => {
            ("a zip archive, as .xlsx files are", "`unzip -p`, or save the sheet as CSV")
        }
        [b'P', b'G', b'D', b'M', b'P', ..] => ("an archive of pg_dump", ROWS_OF_POSTGRES),
        _ => return None,
    };
    Some(format!("the input is {what}: convert it first, with {instead}"))
}

const ROWS_OF_POSTGRES: &str = "`psql -c \"\\copy TABLE to stdout csv header\"`";

/// SQL as dumps have it: tables lie between statements there, several in one file.
fn dump(bytes: &[u8]) -> Option<String> {
    for line in first_lines(bytes) {
        let begins = |with: &str| {
            line.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
        };
        let is_copy = line.starts_with(b"COPY ") && line.ends_with(b" FROM stdin;");
        if line == b"-- PostgreSQL database dump" || is_copy {
            return Some(format!(
                "the input is SQL, as pg_dump writes it: take the rows of the one table, with {ROWS_OF_POSTGRES}"
            ));
        }
        if begins("-- MySQL dump ")
            || begins("-- MariaDB dump ")
            || begins("/*M!999999\\- enable the sandbox")
        {
            return Some(
                "the input is SQL, as mysqldump writes it: take the rows of the one table, with `SELECT .. INTO OUTFILE` or \
                 `mysql --batch`, and read them with --format copy-text"
                    .into(),
            );
        }
    }
    None
}

/// Whether the input begins as a dump does, and more of it would tell.
fn may_be_dump(bytes: &[u8]) -> bool {
    let lines = memchr::memchr_iter(b'\n', bytes).count();
    [("--", LINES), ("/*M!999999", 1), ("COPY ", 1)].iter().any(|(begin, needed)| {
        let length = bytes.len().min(begin.len());
        bytes.get(..length) == begin.as_bytes().get(..length) && lines < *needed
    })
}

/// The first lines of a dump tell what it is.
const LINES: usize = 3;

fn first_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').take(LINES);
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], word: Option<&str>) {
        let refusal = refusal(bytes);
        match word {
            None => assert_eq!(refusal, None, "{bytes:?}"),
            Some(word) => {
                assert!(refusal.as_ref().is_some_and(|r| r.contains(word)), "{bytes:?}: {refusal:?}");
            }
        }
    }

    fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn wide_characters_are_known_by_the_first_two_bytes() {
        check(&utf16("\u{feff}id,v\n", u16::to_le_bytes), Some("-f UTF-16 "));
        check(&utf16("\u{feff}id,v\n", u16::to_be_bytes), Some("-f UTF-16 "));
        check(&utf16("id,v\n", u16::to_le_bytes), Some("-f UTF-16LE "));
        check(&utf16("id,v\n", u16::to_be_bytes), Some("-f UTF-16BE "));
        check(&utf16("{\"id\":1}", u16::to_le_bytes), Some("-f UTF-16LE "));
        check(b"\xFF\xFE", Some("UTF-16"));
        check(b"\xFF\xFE\0\0i\0\0\0", Some("-f UTF-32 "));
        check(b"i\0\0\0d\0\0\0", Some("-f UTF-32LE "));
        check(b"\0\0\0i\0\0\0d", Some("-f UTF-32BE "));
        check("\u{feff}id,v\n".as_bytes(), None);
        check(b"\xFF,\xFE", None);
        check(b"", None);
        check(b"i", None);
    }

    #[test]
    fn archives_are_known() {
        check(b"\x1F\x8B\x08", Some("gunzip"));
        check(b"PK\x03\x04\x14", Some("CSV"));
        check(b"PGDMP\x01", Some("\\copy"));
        check(b"\x28\xB5\x2F\xFD", Some("zstd"));
        check(b"PK,name\n", None);
    }

    #[test]
    fn dumps_are_known_by_their_first_lines() {
        check(b"--\n-- PostgreSQL database dump\n--\n\n", Some("\\copy"));
        check(b"--\r\n-- PostgreSQL database dump\r\n--\r\n", Some("\\copy"));
        check(b"COPY public.orders (id, v) FROM stdin;\n1\ta\n", Some("\\copy"));
        check(b"-- MySQL dump 10.13  Distrib 8.0.36\n--\n", Some("OUTFILE"));
        check(b"/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19\n", Some("OUTFILE"));
        check(b"--,v\n1,a\n", None);
        check(b"COPY,v\n1,a\n", None);
    }

    #[test]
    fn no_more_is_waited_for_than_it_takes_to_tell() {
        for bytes in [&b""[..], b"i", b"PK", b"\xEF\xBB", b"--", b"--\n-- Po"] {
            assert!(!enough(bytes), "{bytes:?}");
        }
        for bytes in [&b"1\n"[..], b"id", b"PK,na", b"\xFF\xFE", b"\xEF\xBB\xBFid", b"--\n--\n--\n--\n"] {
            assert!(enough(bytes), "{bytes:?}");
        }
    }
}
