//! What goes to standard output besides records: text, tables, JSON.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::exit::Exit;
use crate::writer::Patient;

/// Writes `text`, all of it; a reader that is gone is an exit code, not an error.
pub(crate) fn text(text: &str) -> anyhow::Result<Exit> {
    match Patient::stdout().and_then(|mut out| out.write_all(text.as_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::ReaderGone),
        result => result.context("writing the output").map(|()| Exit::Done),
    }
}

/// Writes what clap shows instead of a run: help, version.
pub(crate) fn help(shown: &clap::Error) -> anyhow::Result<Exit> {
    let shown = shown.render();
    let is_colored =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    text(&if is_colored { shown.ansi().to_string() } else { shown.to_string() })
}

/// Writes one JSON object on a line of its own.
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<Exit> {
    text(&format!("{value}\n"))
}

/// Columns are not cut below this.
const NARROWEST: usize = 8;

/// How wide the terminal is that standard output goes to. What goes elsewhere is never cut.
pub(crate) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(out).ok().map(|size| usize::from(size.ws_col));
    columns.filter(|columns| *columns > 0)
}

/// Rows under a header, each column as wide as its widest cell but for the last, which is left ragged. On a terminal,
/// the widest columns give way until a line fits.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    table_within(header, rows, width())
}

fn table_within<const N: usize>(header: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let mut widths = header.map(|name| name.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(width) = width {
        shrink(&mut widths, width.saturating_sub(2 * (N - 1)));
    }
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{:width$}", cut(cell, width)));
        let joined = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", joined.trim_end())
    };
    let mut text = line(&header.map(str::to_owned));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// Makes columns fit `most` together, the widest first.
fn shrink(widths: &mut [usize], most: usize) {
    while widths.iter().sum::<usize>() > most {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

/// Beginning and end of a text, where there is no room for all of it.
fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let (kept, tail) = (width.saturating_sub(1), width / 2);
    let head = text.chars().take(kept - tail.min(kept));
    head.chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

/// Words on lines that fit a terminal, those after the first behind `indent` blanks.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    wrapped_within(text, indent, width())
}

fn wrapped_within(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return format!("{text}\n") };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(" ".repeat(indent) + word),
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_lines_end_without_blanks() {
        let rows = [["a".to_owned(), String::new()], ["longer".to_owned(), "x".to_owned()]];
        assert_eq!(table_within(["ONE", "TWO"], &rows, None), "ONE     TWO\na\nlonger  x\n");
    }

    #[test]
    fn the_widest_columns_give_way_to_the_width() {
        let rows = [["short".to_owned(), "0123456789".repeat(3), "abcdefghij".repeat(2)]];
        for (width, expected) in [
            (None, "short  012345678901234567890123456789  abcdefghijabcdefghij\n"),
            (Some(80), "short  012345678901234567890123456789  abcdefghijabcdefghij\n"),
            (Some(40), "short  0123456…23456789  abcdefg…defghij\n"),
            (Some(1), "short  012…6789  abc…ghij\n"),
        ] {
            let text = table_within(["A", "B", "C"], &rows, width);
            assert!(text.ends_with(expected), "{width:?}: {text}");
        }
    }

    #[test]
    fn prose_is_wrapped_on_a_terminal_only() {
        let text = "one two  three four";
        assert_eq!(wrapped_within(text, 2, None), "one two  three four\n");
        assert_eq!(wrapped_within(text, 2, Some(9)), "one two\n  three\n  four\n");
        assert_eq!(wrapped_within("unbreakable", 2, Some(4)), "unbreakable\n");
    }
}
