//! Lines as text: what a terminal or a stream of events would take for something else is escaped.

use std::borrow::Cow;

/// A line, or several, as text. What isn't UTF-8, and control characters but for newlines, become `\xNN` (`\u{…}` where
/// it takes more), a carriage return `\r`, a tab `\t`: hostile names can move no cursor and break no framing.
pub fn printable(bytes: &[u8]) -> Cow<'_, str> {
    if bytes
        .iter()
        .all(|&byte| matches!(byte, b' '..=b'~' | b'\n'))
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push('\n'),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_ascii_control() => push_byte(&mut text, c as u8),
                c if c.is_control() || is_unseen(c) => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        let invalid = chunk.invalid().iter();
        invalid.for_each(|byte| push_byte(&mut text, *byte));
    }
    Cow::Owned(text)
}

fn push_byte(text: &mut String, byte: u8) {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    text.extend(['\\', 'x', digit(byte >> 4), digit(byte & 15)]);
}

/// What changes the direction of text or ends a line for some readers.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_escaped() {
        for (bytes, text) in [
            (&b"a.b 1 2\n"[..], "a.b 1 2\n"),
            (b"a\r\n", "a\\r\n"),
            (b"a\tb\x1b[2J\0\x7f", "a\\tb\\x1b[2J\\x00\\x7f"),
            ("é\u{85}\u{202e}".as_bytes(), "é\\u{85}\\u{202e}"),
            (b"\xff\xc3", "\\xff\\xc3"),
            (b"", ""),
        ] {
            assert_eq!(printable(bytes), text, "{bytes:?}");
        }
    }
}
