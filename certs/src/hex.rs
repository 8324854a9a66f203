//! 32 bytes as 64 hexadecimal digits and back: the text of fingerprints and token hashes.
//!
//! Writes lower case, reads both cases, and takes nothing but exactly 64 digits.

use std::fmt;

/// Writes `bytes` in lower case.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8; 32]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads 64 digits.
pub(crate) fn parse(text: &str) -> Result<[u8; 32], HexError> {
    if text.len() != 64 {
        return Err(HexError::Length(text.chars().count()));
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Ok(bytes)
}

fn digit(ascii: u8) -> Result<u8, HexError> {
    match ascii {
        b'0'..=b'9' => Ok(ascii - b'0'),
        b'a'..=b'f' => Ok(ascii - b'a' + 10),
        b'A'..=b'F' => Ok(ascii - b'A' + 10),
        _ => Err(HexError::Digit),
    }
}

/// Why a text is not 32 bytes in hexadecimal; its users say it in their own words.
#[derive(Clone, Copy)]
pub(crate) enum HexError {
    /// The number of characters, where 64 are wanted.
    Length(usize),
    /// A character other than `0-9`, `a-f` and `A-F`.
    Digit,
}
