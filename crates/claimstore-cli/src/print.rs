//! What goes to standard output besides records: text, tables, JSON.

use std::io::{self, Write as _};

use anyhow::Context as _;

use crate::exit::Exit;

/// Writes `text`; a reader that is gone is an exit code, not an error.
pub(crate) fn text(text: &str) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::ReaderGone),
        result => result.context("writing the output").map(|()| Exit::Done),
    }
}

/// Writes one JSON object on a line of its own.
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<Exit> {
    text(&format!("{value}\n"))
}

/// Rows under a header, each column as wide as its widest cell but for the last, which is left ragged.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|name| name.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let joined = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", joined.trim_end())
    };
    let mut text = line(&header.map(str::to_owned));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_lines_end_without_blanks() {
        let rows = [["a".to_owned(), String::new()], ["longer".to_owned(), "x".to_owned()]];
        assert_eq!(table(["ONE", "TWO"], &rows), "ONE     TWO\na\nlonger  x\n");
    }
}
