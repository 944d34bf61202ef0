//! Text that others stored, made harmless for a terminal: what would move the cursor, change its colours, turn the
//! direction of writing or not be seen at all is shown as an escape.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// What is not seen, or changes how what follows is seen, beside the control characters: the format characters (Cf) and
/// the separators of lines and paragraphs of Unicode 16, and what else it calls default ignorable.
const HIDDEN: [RangeInclusive<char>; 29] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
    // Private use: nobody knows what a terminal shows for it.
    '\u{e000}'..='\u{f8ff}',
    '\u{f0000}'..='\u{ffffd}',
    '\u{100000}'..='\u{10fffd}',
    '\u{fdd0}'..='\u{fdef}',
];

/// Whether a character must not go to a terminal as it is.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control() || (!c.is_ascii() && HIDDEN.iter().any(|range| range.contains(&c)))
}

/// A text on one line, with an escape (`\u{1b}`, `\n`) in the place of each hidden character. Applied again, it changes
/// nothing.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The same, of a text of several lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let must_go = |c: char| is_hidden(c) && !keep(c);
    if !text.contains(must_go) {
        return Cow::Borrowed(text);
    }
    let escape = |mut shown: String, c: char| {
        match c {
            c if !must_go(c) => shown.push(c),
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c => shown.extend(c.escape_unicode()),
        }
        shown
    };
    Cow::Owned(text.chars().fold(String::with_capacity(text.len() + 8), escape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped_and_the_rest_stays() {
        for (text, shown) in [
            ("order-7", "order-7"),
            ("Zürich/注文 ✓ \\u{1b} 'x'", "Zürich/注文 ✓ \\u{1b} 'x'"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            (
                "x\u{202e}y\u{2066}z\u{200b}\u{feff}\u{2029}",
                "x\\u{202e}y\\u{2066}z\\u{200b}\\u{feff}\\u{2029}",
            ),
            ("\u{e0041}\u{ad}\u{3164}\u{f8ff}", "\\u{e0041}\\u{ad}\\u{3164}\\u{f8ff}"),
        ] {
            assert_eq!(visible(text), shown);
            assert_eq!(visible(&visible(text)), shown, "the second time nothing changes");
            assert!(!visible(text).contains(is_hidden));
        }
        assert_eq!(visible_lines("a\nb\u{1b}\r\n"), "a\nb\\u{1b}\\r\n");
    }

    /// The table is about what this language, too, holds for not printable.
    #[test]
    fn every_control_and_format_character_of_the_basic_plane_is_hidden() {
        for c in ('\0'..='\u{9f}').filter(|c| c.is_control()) {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in ('\u{2000}'..='\u{206f}').chain('\u{fff0}'..='\u{fffb}') {
            let printable =
                c.escape_debug().count() == 1 || (c.is_whitespace() && !"\u{2028}\u{2029}".contains(c));
            assert_eq!(is_hidden(c), !printable, "{:x}", u32::from(c));
        }
    }
}
