//! Dumps of whole databases: text that looks like an input and is none.

/// What to do with such an input, by its beginning; nothing where it is no dump.
pub(crate) fn hint(beginning: &[u8]) -> Option<&'static str> {
    let text = beginning.trim_ascii_start();
    let starts =
        |with: &str| text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()));
    // pg_dump begins with a line that is an empty comment.
    let is_comment = text.trim_ascii_end() == b"--";
    let is_copy = starts("COPY ") && text.trim_ascii_end().ends_with(b"FROM stdin;");
    if starts("PGDMP")
        || starts("--\n-- PostgreSQL")
        || starts("-- PostgreSQL database")
        || starts("SET statement_timeout")
        || is_copy
        || is_comment
    {
        return Some(
            "the input is a dump by pg_dump: export the table itself, psql -c \"\\copy TABLE to stdout csv header\", and \
             import it with --format csv",
        );
    }
    if starts("-- MySQL dump") || starts("-- MariaDB dump") || starts("/*!999999") {
        return Some(
            "the input is a dump of statements: export the table itself, mysql --batch -e \"select * from TABLE\", and \
             import it with --format tsv",
        );
    }
    // Statements are no rows, whoever wrote them.
    if starts("INSERT INTO ") || starts("PRAGMA foreign_keys") || starts("CREATE TABLE ") {
        return Some(
            "the input is a dump of statements, not of rows: export the table itself as delimited text with a header \
             (--format csv) or as a JSON object a line",
        );
    }
    if starts("REDIS0") {
        return Some(
            "the input is a snapshot of Redis (RDB): read its keys by a script, as the README of the command shows",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(beginning: &str, expected: &str) {
        let hint = hint(beginning.as_bytes());
        assert!(hint.is_some_and(|hint| hint.contains(expected)), "{beginning}: {hint:?}");
    }

    #[test]
    fn dumps_are_told_from_rows() {
        check("--", "pg_dump");
        check("PGDMP\u{1}\u{e}", "pg_dump");
        check("-- PostgreSQL database dump", "pg_dump");
        check("COPY public.idempotency_keys (id, key) FROM stdin;", "pg_dump");
        check("-- MySQL dump 10.13  Distrib 8.0.36", "--format tsv");
        check("insert into `inbox` values (1,'a');", "statements");
        check("PRAGMA foreign_keys=OFF;", "statements");
        check("REDIS0011", "RDB");
        for rows in
            ["id,key", "copy,from", "{\"key\":1}", "", "\"--\",a", "insert,into", "id\tCOPY x FROM stdin;"]
        {
            assert_eq!(hint(rows.as_bytes()), None, "{rows}");
        }
    }
}
