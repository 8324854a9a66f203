//! What holds the wire still: its bytes, its properties, and the document that describes it.
//!
//! `golden` pins the bytes of every message and variant, `properties` asks what must hold for all of them (with values from
//! `strategies`), `document` holds WIRE.md against the code. A change that breaks `golden` breaks every peer in the field.

mod document;
mod golden;
mod properties;
pub(crate) mod strategies;

/// Reads bytes written as hex digits with spaces, and a comment from `#` to the end of the line.
fn from_hex(text: &str) -> Vec<u8> {
    let digits: String =
        text.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace()).collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in {text}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Writes bytes as hex digits, to be compared and read.
fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}
