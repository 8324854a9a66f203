//! Names from a peer or a disk, made fit for a terminal.
//!
//! Control characters, terminal escapes, direction overrides and bytes that are not UTF-8 are shown as `\x1b`-style
//! escapes and a backslash as `\\`, so that what is printed is unambiguous and does nothing to the terminal. Printable text passes as it is.

use std::borrow::Cow;

/// Shows `bytes` as one line of harmless text.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_plain) => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.utf8_chunks().fold(String::new(), |mut out, chunk| {
            chunk.valid().chars().for_each(|c| push_char(&mut out, c));
            chunk.invalid().iter().for_each(|&b| push_byte(&mut out, b));
            out
        })),
    }
}

/// As [`escape`], for text that is known to be UTF-8.
pub fn escape_str(text: &str) -> Cow<'_, str> {
    escape(text.as_bytes())
}

/// As [`escape_str`], line by line: what a program says of its failure. Further lines are indented, so that none looks like one of ours.
pub fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().map(escape_str).collect();
    lines.join("\n  ")
}

/// JSON without white space that is the same to a parser, and harmless on a terminal: what [`escape`] would not let pass is written as `\u202e`.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    // A backslash begins an escape there, and nothing else that is not plain stands outside of a text.
    let passes = |c: char| c == '\\' || is_plain(c);
    if json.chars().all(passes) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if passes(c) {
            out.push(c);
        } else {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
        out
    }))
}

fn push_char(out: &mut String, c: char) {
    if is_plain(c) {
        out.push(c);
    } else if c == '\\' {
        out.push_str("\\\\");
    } else {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| push_byte(out, b));
    }
}

fn push_byte(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// Neither a control, nor invisible, nor able to reorder what stands around it (Unicode TR 36 §3.6).
fn is_plain(c: char) -> bool {
    !c.is_control()
        && c != '\\'
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::{escape, escape_json};

    #[test]
    fn nothing_that_could_move_a_cursor_passes() {
        for (raw, shown) in [
            (&b"app.log"[..], "app.log"),
            ("größe 大".as_bytes(), "größe 大"),
            (b"\x1b[2Jgone", "\\x1b[2Jgone"),
            (b"two\nlines", "two\\x0alines"),
            (b"not\xffutf8", "not\\xffutf8"),
            (b"back\\slash", "back\\\\slash"),
            ("\u{202e}fdp".as_bytes(), "\\xe2\\x80\\xaefdp"),
            ("\u{61c}1".as_bytes(), "\\xd8\\x9c1"),
            ("\u{9b}2J".as_bytes(), "\\xc2\\x9b2J"),
        ] {
            assert_eq!(escape(raw), shown);
        }
    }
    #[test]
    fn json_stays_the_same_to_a_parser() {
        for (raw, shown) in [
            (r#"{"path":"größe\\n\n大"}"#, r#"{"path":"größe\\n\n大"}"#),
            ("[\"\u{9b}2J\u{202e}\u{7f}\u{e0041}\"]", r#"["\u009b2J\u202e\u007f\udb40\udc41"]"#),
        ] {
            assert_eq!(escape_json(raw), shown);
            let parsed = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
            assert_eq!(parsed(raw), parsed(shown));
        }
    }
}
