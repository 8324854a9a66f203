//! The secret of an invitation, and the hash by which a gateway remembers it.
//!
//! 160 random bits, written in base32 so that no character needs quoting in a URI or a shell. Only [`Token::reveal`]
//! shows one.

use std::{fmt, str::FromStr};

use crate::hex::{self, HexError};

/// Bytes of a token: 160 bits cannot be guessed, and are 32 base32 digits without a remainder.
const TOKEN_BYTES: usize = 20;

/// Characters of a written token, five bits each.
const TOKEN_CHARS: usize = TOKEN_BYTES * 8 / 5;

/// The digits of base32 (RFC 4648 §6), in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Keeps the hashes of tokens apart from every other use of BLAKE3 (its specification, §2.3, asks for a fixed text).
const HASH_CONTEXT: &str = "swarmwire 2026-11-20 invitation token v1";

/// A secret that lets its holder join. It has no `Display` and no equality: compare [`Token::hash`]es.
#[derive(Clone)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Makes a new one from the system's randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Takes a token as [`Token::reveal`] wrote it: exactly 32 characters, lower case.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() != TOKEN_CHARS {
            return Err(TokenError::Length(text.chars().count()));
        }
        let mut bytes = [0; TOKEN_BYTES];
        for (five, eight) in bytes.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
            let bits = eight.iter().try_fold(0, |bits, &c| Ok((bits << 5) | u64::from(digit(c)?)))?;
            five.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Ok(Self(bytes))
    }

    /// The secret as text, to be handed to the person invited or to the gateway, and to nobody else.
    pub fn reveal(&self) -> String {
        let mut text = String::with_capacity(TOKEN_CHARS);
        for five in self.0.chunks_exact(5) {
            let bits = five.iter().fold(0, |bits, &byte| (bits << 8) | u64::from(byte));
            text.extend((0..8).rev().map(|i| char::from(ALPHABET[(bits >> (5 * i) & 31) as usize])));
        }
        text
    }

    /// What a gateway stores instead of the token. A plain hash does for a secret of 160 random bits.
    pub fn hash(&self) -> TokenHash {
        TokenHash(blake3::derive_key(HASH_CONTEXT, &self.0).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn digit(ascii: u8) -> Result<u8, TokenError> {
    match ascii {
        b'a'..=b'z' => Ok(ascii - b'a'),
        b'2'..=b'7' => Ok(ascii - b'2' + 26),
        _ => Err(TokenError::Character),
    }
}

/// The hash of a token: 64 hexadecimal digits. Comparing two takes the same time wherever they differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// The hash's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, self.as_bytes())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<Self, TokenHashError> {
        Ok(Self(hex::parse(text)?.into()))
    }
}

/// Why a text is not a token. Says nothing of the text but its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has this many characters instead of 32.
    #[error("a token has 32 characters, this has {0}")]
    Length(usize),
    /// One of its characters is none of a token's.
    #[error("a token has lower-case letters and the digits 2 to 7 only")]
    Character,
}

/// Why a text is not the hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a token has 64 hexadecimal digits")]
pub struct TokenHashError;

impl From<HexError> for TokenHashError {
    fn from(_: HexError) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fingerprint::Fingerprint;

    #[test]
    fn the_text_of_a_token_is_base32() {
        // RFC 4648 §10: BASE32("fooba") = "MZXW6YTB".
        let token = Token(*b"foobafoobafoobafooba");
        assert_eq!(token.reveal(), "mzxw6ytb".repeat(4));
        assert_eq!(Token::parse(&token.reveal()).unwrap().0, token.0);
    }

    #[test]
    fn two_tokens_are_never_the_same() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.hash(), Token::parse(&one.reveal()).unwrap().hash());
    }

    #[test]
    fn what_is_no_token_says_why_and_no_more() {
        let good = "mzxw6ytb".repeat(4);
        for (text, err) in [
            (String::new(), TokenError::Length(0)),
            (good.clone() + "a", TokenError::Length(33)),
            (good.to_uppercase(), TokenError::Character),
            (good.replace('6', "1"), TokenError::Character),
            ("ß".repeat(16), TokenError::Character),
        ] {
            assert_eq!(Token::parse(&text).unwrap_err(), err, "{text}");
        }
    }

    #[test]
    fn a_hash_survives_being_written_down_and_is_not_the_token() {
        // Golden: gateways keep these on disk, so neither context nor input may change.
        let hash = Token([7; TOKEN_BYTES]).hash();
        assert_eq!(hash.to_string(), "6ebcf3ab843efd60af998363cc6cea648a677bd0a950985da4f4bb6e1e8ebdaf");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("xyz".parse::<TokenHash>(), Err(TokenHashError));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Token([7; TOKEN_BYTES])), "Token(…)");
    }

    proptest! {
        #[test]
        fn every_token_survives_being_written_down(bytes in any::<[u8; TOKEN_BYTES]>()) {
            let text = Token(bytes).reveal();
            prop_assert_eq!(text.len(), TOKEN_CHARS);
            prop_assert_eq!(Token::parse(&text).unwrap().0, bytes);
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = Token::parse(&text);
            let _ = text.parse::<TokenHash>();
            let _ = text.parse::<Fingerprint>();
        }
    }
}
