//! What goes to standard output besides records: text, tables, JSON; and lines on standard error. Names, keys and notes
//! that others stored pass here, and are made visible here: a terminal obeys none of them.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::exit::Exit;
use crate::visible::{is_hidden, visible, visible_lines};
use crate::writer::Patient;

/// Writes lines of text; a reader that is gone is an exit code, not an error.
pub(crate) fn text(text: &str) -> anyhow::Result<Exit> {
    generated(visible_lines(text).as_bytes())
}

/// Writes a text as one line, whatever is in it.
pub(crate) fn line(text: &str) -> anyhow::Result<Exit> {
    generated(format!("{}\n", visible(text)).as_bytes())
}

/// Writes what was made here and holds nothing that others stored, as it is.
pub(crate) fn generated(bytes: &[u8]) -> anyhow::Result<Exit> {
    match Patient::stdout().and_then(|mut out| out.write_all(bytes)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::ReaderGone),
        result => result.context("writing the output").map(|()| Exit::Done),
    }
}

/// Writes what clap shows instead of a run: help, version.
pub(crate) fn help(shown: &clap::Error) -> anyhow::Result<Exit> {
    let shown = shown.render();
    let is_colored =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let shown = if is_colored { shown.ansi().to_string() } else { shown.to_string() };
    generated(shown.as_bytes())
}

/// Writes one JSON object on a line of its own.
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<Exit> {
    generated((harmless(&value.to_string()) + "\n").as_bytes())
}

/// The same JSON text, with what a terminal might obey as `\u` escapes: such characters stand in strings only.
fn harmless(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len() + 1), |mut text, c| {
        if is_hidden(c) {
            let units = &mut [0; 2];
            for unit in c.encode_utf16(units).iter() {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
        text
    })
}

/// A line on standard error, under the name of the command. Whoever closed it does not want it.
pub(crate) fn say(message: &str) {
    note(&format!("claimstore: {message}"));
}

/// A line on standard error.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(line));
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

/// A row of a table: its cells, and lines that stand below it.
#[derive(Debug)]
pub(crate) struct Row<const N: usize> {
    pub(crate) cells: [String; N],
    pub(crate) below: Vec<String>,
}

impl<const N: usize> From<[String; N]> for Row<N> {
    fn from(cells: [String; N]) -> Row<N> {
        Row { cells, below: Vec::new() }
    }
}

/// Rows under a header, each column as wide as its widest cell but for the last, which is left ragged. On a terminal,
/// the widest columns give way until a line fits.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<Row<N>>) -> String {
    table_within(header, rows, width())
}

fn table_within<const N: usize>(header: [&str; N], rows: Vec<Row<N>>, width: Option<usize>) -> String {
    let visible = |cell: &String| visible(cell).into_owned();
    let shown = |row: Row<N>| Row {
        cells: row.cells.each_ref().map(visible),
        below: row.below.iter().map(visible).collect(),
    };
    let rows: Vec<_> = rows.into_iter().map(shown).collect();
    let mut widths = header.map(|name| name.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
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
    for row in &rows {
        text.push_str(&line(&row.cells));
        let below = row.below.iter().map(|line| cut(line, width.unwrap_or(usize::MAX)));
        below.for_each(|below| text.extend([below.trim_end(), "\n"]));
    }
    text
}

/// Names and values, a line each.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let line =
        |text: String, (name, value): &(&str, String)| text + &format!("{name:<10} {}\n", visible(value));
    fields.iter().fold(String::new(), line)
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
pub(crate) fn cut(text: &str, width: usize) -> String {
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

/// The same, where lines have so much room.
pub(crate) fn wrapped_within(text: &str, indent: usize, width: Option<usize>) -> String {
    let text = &*visible(text);
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
        assert_eq!(
            table_within(["ONE", "TWO"], rows.map(Row::from).into(), None),
            "ONE     TWO\na\nlonger  x\n"
        );
    }

    #[test]
    fn the_widest_columns_give_way_to_the_width() {
        let row = || ["short".to_owned(), "0123456789".repeat(3), "abcdefghij".repeat(2)];
        for (width, expected) in [
            (None, "short  012345678901234567890123456789  abcdefghijabcdefghij\n"),
            (Some(80), "short  012345678901234567890123456789  abcdefghijabcdefghij\n"),
            (Some(40), "short  0123456…23456789  abcdefg…defghij\n"),
            (Some(1), "short  012…6789  abc…ghij\n"),
        ] {
            let text = table_within(["A", "B", "C"], vec![row().into()], width);
            assert!(text.ends_with(expected), "{width:?}: {text}");
        }
    }

    #[test]
    fn a_name_makes_no_line_and_no_cell_of_its_own() {
        let rows =
            vec![Row { cells: ["a\nb".to_owned(), "\u{1b}c".to_owned()], below: vec!["  d\u{9b}\n".into()] }];
        assert_eq!(table_within(["A", "B"], rows, None), "A     B\na\\nb  \\u{1b}c\n  d\\u{9b}\\n\n");
        assert_eq!(fields(&[("key", "a\nb".into())]), "key        a\\nb\n");
        assert_eq!(wrapped_within("a\nb c", 2, Some(80)), "a\\nb c\n");
    }

    #[test]
    fn json_is_the_same_value_without_what_a_terminal_obeys() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}\u{7f}\u{202e}\u{e0041}\n\"é" });
        let text = harmless(&value.to_string());
        assert!(!text.contains(is_hidden) && text.contains("\\u009b") && text.contains('é'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn prose_is_wrapped_on_a_terminal_only() {
        let text = "one two  three four";
        assert_eq!(wrapped_within(text, 2, None), "one two  three four\n");
        assert_eq!(wrapped_within(text, 2, Some(9)), "one two\n  three\n  four\n");
        assert_eq!(wrapped_within("unbreakable", 2, Some(4)), "unbreakable\n");
    }
}
