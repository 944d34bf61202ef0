//! Canonical text (RFC 8785) of a value, or of what a mask leaves of it.

use super::parse::Node;
use super::pointer::Mask;

/// The canonical text. With a mask, members that it leaves out are missing. Of elements that it leaves out the comma
/// stays, so that later elements keep their places, and the text never equals that of a whole document.
pub(crate) fn text(node: &Node<'_>, mask: Option<&Mask>) -> String {
    let mut text = String::new();
    push(&mut text, node, mask);
    text
}

/// Appends the canonical text.
pub(crate) fn push(text: &mut String, node: &Node<'_>, mask: Option<&Mask>) {
    match node {
        Node::Null => text.push_str("null"),
        Node::Bool(true) => text.push_str("true"),
        Node::Bool(false) => text.push_str("false"),
        Node::Number(number) => text.push_str(number),
        Node::Text(string) => push_string(text, string),
        Node::Array(elements) => {
            text.push('[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                let mask = mask.and_then(|mask| mask.element(place));
                if !mask.is_some_and(Mask::leaves_out_all) {
                    push(text, element, mask);
                }
            }
            text.push(']');
        }
        Node::Object(members) => {
            text.push('{');
            let mut first = true;
            for (name, value) in members {
                let mask = mask.and_then(|mask| mask.child(name));
                if mask.is_some_and(Mask::leaves_out_all) {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    text.push(',');
                }
                push_string(text, name);
                text.push(':');
                push(text, value, mask);
            }
            text.push('}');
        }
    }
}

/// RFC 8785, section 3.2.2.2: short escapes where JSON has them, `\u00xx` for other control characters, and
/// everything else as it is.
fn push_string(text: &mut String, string: &str) {
    text.push('"');
    let mut plain_from = 0;
    for (at, byte) in string.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        // Both ends are next to ASCII characters, so they are character boundaries.
        text.push_str(string.get(plain_from..at).unwrap_or_default());
        plain_from = at + 1;
        push_escape(text, byte);
    }
    text.push_str(string.get(plain_from..).unwrap_or_default());
    text.push('"');
}

fn push_escape(text: &mut String, byte: u8) {
    match byte {
        b'"' => text.push_str("\\\""),
        b'\\' => text.push_str("\\\\"),
        0x08 => text.push_str("\\b"),
        0x09 => text.push_str("\\t"),
        0x0a => text.push_str("\\n"),
        0x0c => text.push_str("\\f"),
        0x0d => text.push_str("\\r"),
        control => {
            text.push_str(if control < 0x10 { "\\u000" } else { "\\u001" });
            text.extend(char::from_digit(u32::from(control & 0xf), 16));
        }
    }
}
