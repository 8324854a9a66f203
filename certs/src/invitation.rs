//! The line by which somebody new is let in: where the gateway is, which key it has, and a secret that works once.
//!
//! `swarm://host:port/?gateway=<fingerprint>&token=<secret>`. This reads and writes it; that a token works once, and
//! until when, is kept by the gateway, which stores the [`TokenHash`] only. No error and no `Debug` here shows a token
//! or a piece of the text that could be one.

mod token;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

pub use self::token::{Token, TokenError, TokenHash, TokenHashError};
use crate::fingerprint::{Fingerprint, FingerprintError};

/// Bytes of a host name: DNS's 255 on the wire, less the root's length byte and dot (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// An invitation as it is handed over.
#[derive(Clone, Debug)]
pub struct JoinUri {
    /// A host name or address of the gateway; an IPv6 address stands here without brackets.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// The fingerprint of its key, to be checked before anything is said to it.
    pub gateway: Fingerprint,
    /// The secret. Its `Debug` does not show it.
    pub token: Token,
}

impl JoinUri {
    /// Takes an invitation as it was typed, pasted or piped; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, JoinUriError> {
        let rest = text.trim().strip_prefix("swarm://").ok_or(JoinUriError::Scheme)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        if !path.is_empty() {
            return Err(JoinUriError::Path);
        }
        let (host, port) = parse_authority(authority)?;
        let (gateway, token) = parse_query(query)?;
        Ok(Self { host, port, gateway, token })
    }

    /// The line to hand over. Whoever reads it may join: it goes to the person invited, never into a log.
    pub fn to_string_with_secret(&self) -> String {
        let Self { host, port, gateway, token } = self;
        let authority = match host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        format!("swarm://{authority}/?gateway={gateway}&token={}", token.reveal())
    }
}

fn parse_authority(authority: &str) -> Result<(String, u16), JoinUriError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(JoinUriError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| JoinUriError::Host)?;
        let port = rest.strip_prefix(':').ok_or(JoinUriError::Port)?;
        return Ok((address.to_string(), parse_port(port)?));
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    if host.is_empty() || host.len() > HOST_BYTES_MAX || host.starts_with('-') || !host.bytes().all(is_plain)
    {
        return Err(JoinUriError::Host);
    }
    Ok((host.to_owned(), parse_port(port)?))
}

fn parse_port(text: &str) -> Result<u16, JoinUriError> {
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(JoinUriError::Port);
    }
    text.parse().ok().filter(|&port| port != 0).ok_or(JoinUriError::Port)
}

fn parse_query(query: &str) -> Result<(Fingerprint, Token), JoinUriError> {
    let (mut gateway, mut token) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "gateway" => &mut gateway,
            "token" => &mut token,
            _ => return Err(JoinUriError::UnknownKey(UnknownKey::of(pair))),
        };
        if slot.replace(value).is_some() {
            return Err(JoinUriError::DuplicateKey(if key == "token" { "token" } else { "gateway" }));
        }
    }
    let gateway = gateway.ok_or(JoinUriError::MissingKey("gateway"))?;
    let token = token.ok_or(JoinUriError::MissingKey("token"))?;
    Ok((gateway.parse().map_err(JoinUriError::Gateway)?, Token::parse(token).map_err(JoinUriError::Token)?))
}

/// A key of a query that may be shown: a garbled invitation can have its secret where a key should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey(Option<String>);

impl UnknownKey {
    /// Characters of a key that is shown: more than any real one has, and under a third of a token.
    const SHOWN_MAX: usize = 10;

    /// A short word before a `=`; a piece of a token has none behind it.
    fn of(pair: &str) -> Self {
        let is_word = |key: &str| {
            (1..=Self::SHOWN_MAX).contains(&key.len())
                && key.bytes().all(|c| c.is_ascii_alphabetic() || c == b'_')
        };
        Self(pair.split_once('=').map(|(key, _)| key).filter(|key| is_word(key)).map(str::to_owned))
    }
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(key) => write!(f, "an unknown part `{key}`"),
            None => f.write_str("a part that is neither `gateway=…` nor `token=…`"),
        }
    }
}

/// Why a text is not an invitation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinUriError {
    /// It does not begin with `swarm://`.
    #[error("an invitation begins with swarm://")]
    Scheme,
    /// There is no host, or it cannot be one.
    #[error(
        "the invitation's host is missing or malformed (a name, an IPv4 address, or an IPv6 address in brackets)"
    )]
    Host,
    /// There is no port, or it cannot be one.
    #[error("the invitation's port is missing or malformed (swarm://host:port/…, 1 to 65535)")]
    Port,
    /// Something stands between the port and the `?`.
    #[error("the invitation has a path: after the port comes /?gateway=…")]
    Path,
    /// A part that is needed is not there; an unquoted `&` in a shell cuts the token off.
    #[error("the invitation lacks `{0}=…` (quote it, so that the shell does not cut it at the `&`)")]
    MissingKey(&'static str),
    /// A part stands there twice.
    #[error("the invitation has `{0}=…` twice")]
    DuplicateKey(&'static str),
    /// A part that is not known stands there.
    #[error("the invitation has {0}")]
    UnknownKey(UnknownKey),
    /// What `gateway=` says is not a fingerprint.
    #[error("the invitation's `gateway` is no fingerprint")]
    Gateway(#[source] FingerprintError),
    /// What `token=` says is not a token.
    #[error("the invitation's `token` is malformed")]
    Token(#[source] TokenError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GATEWAY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz234567";

    fn uri(authority: &str) -> String {
        format!("swarm://{authority}/?gateway={GATEWAY}&token={TOKEN}")
    }

    #[test]
    fn an_invitation_survives_being_written_down() {
        for (authority, host, port) in [
            ("gw.example:4433", "gw.example", 4433),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
            ("my_host-2:4433", "my_host-2", 4433),
        ] {
            let parsed = JoinUri::parse(&uri(authority)).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port));
            assert_eq!(parsed.gateway.to_string(), GATEWAY);
            assert_eq!(parsed.token.reveal(), TOKEN);
            assert_eq!(parsed.to_string_with_secret(), uri(authority));
        }
    }

    #[test]
    fn white_space_a_missing_slash_and_the_other_order_do_no_harm() {
        for text in
            [format!(" {}\n", uri("gw:4433")), format!("swarm://gw:4433?token={TOKEN}&gateway={GATEWAY}")]
        {
            assert_eq!(JoinUri::parse(&text).unwrap().to_string_with_secret(), uri("gw:4433"));
        }
    }

    #[test]
    fn what_is_no_invitation_says_why() {
        use JoinUriError as E;
        let both = format!("gateway={GATEWAY}&token={TOKEN}");
        for (text, expected) in [
            (String::new(), E::Scheme),
            (format!("https://gw:4433/?{both}"), E::Scheme),
            (format!("swarm://:4433/?{both}"), E::Host),
            (format!("swarm://g w:4433/?{both}"), E::Host),
            (format!("swarm://{TOKEN}@gw:4433/?{both}"), E::Host),
            (format!("swarm://-oProxy:4433/?{both}"), E::Host),
            (format!("swarm://[::1:4433/?{both}"), E::Host),
            (format!("swarm://[gw]:4433/?{both}"), E::Host),
            (format!("swarm://{}:4433/?{both}", "a".repeat(254)), E::Host),
            (format!("swarm://gw/?{both}"), E::Port),
            (format!("swarm://gw:/?{both}"), E::Port),
            (format!("swarm://gw:0/?{both}"), E::Port),
            (format!("swarm://gw:+1/?{both}"), E::Port),
            (format!("swarm://gw:65536/?{both}"), E::Port),
            (format!("swarm://::1:4433/?{both}"), E::Host),
            (format!("swarm://[::1]/?{both}"), E::Port),
            (format!("swarm://gw:4433/logs?{both}"), E::Path),
            ("swarm://gw:4433/".to_owned(), E::MissingKey("gateway")),
            (format!("swarm://gw:4433/?token={TOKEN}"), E::MissingKey("gateway")),
            (format!("swarm://gw:4433/?gateway={GATEWAY}"), E::MissingKey("token")),
            (format!("swarm://gw:4433/?{both}&token={TOKEN}"), E::DuplicateKey("token")),
            (format!("swarm://gw:4433/?gateway={GATEWAY}&{both}"), E::DuplicateKey("gateway")),
            (format!("swarm://gw:4433/?{both}&name=x"), E::UnknownKey(UnknownKey(Some("name".into())))),
            (format!("swarm://gw:4433/?gateway={GATEWAY}&{TOKEN}"), E::UnknownKey(UnknownKey(None))),
            (format!("swarm://gw:4433/?gateway=ab&token={TOKEN}"), E::Gateway(FingerprintError::Length(2))),
            (format!("swarm://gw:4433/?gateway={GATEWAY}&token"), E::Token(TokenError::Length(0))),
            (format!("swarm://gw:4433/?{both}x"), E::Token(TokenError::Length(33))),
            (format!("swarm://gw:4433/?{both}").replace("abc", "ab1"), E::Token(TokenError::Character)),
        ] {
            let err = JoinUri::parse(&text).unwrap_err();
            assert_eq!(err, expected, "{text}");
            for shown in [format!("{err}"), format!("{err:?}")] {
                assert!(!shown.contains(TOKEN), "{shown}");
            }
        }
    }

    #[test]
    fn a_host_keeps_its_port_and_a_bare_ipv6_address_is_not_guessed_at() {
        assert_eq!(JoinUri::parse(&uri("2001:db8::1")).unwrap_err(), JoinUriError::Port);
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", JoinUri::parse(&uri("gw:4433")).unwrap());
        assert!(shown.contains(GATEWAY) && shown.contains("Token(…)") && !shown.contains(TOKEN), "{shown}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = JoinUri::parse(&text);
        }

        #[test]
        fn parsing_a_damaged_invitation_never_panics_nor_shows_the_token(
            at in 0..160usize,
            replacement in any::<char>(),
        ) {
            let mut chars: Vec<char> = uri("[::1]:4433").chars().collect();
            let at = at % chars.len();
            chars[at] = replacement;
            if let Err(err) = JoinUri::parse(&chars.into_iter().collect::<String>()) {
                let shown = format!("{err} {err:?}");
                prop_assert!(!shown.contains(&TOKEN[..16]), "{}", shown);
            }
        }

        #[test]
        fn whatever_is_read_is_written_the_same(host in "[a-z0-9][a-z0-9.-]{0,20}", port in 1..=u16::MAX) {
            let text = uri(&format!("{host}:{port}"));
            prop_assert_eq!(JoinUri::parse(&text).unwrap().to_string_with_secret(), text);
        }
    }
}
