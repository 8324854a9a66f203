//! Which side of a sync is meant: an argument to a place, local or at a gateway.
//!
//! `GW:PATH` and `swarm://HOST[:PORT]/PATH` are remote, everything else is local, and so is anything with a `/` before its first
//! `:`. Paths are bytes. Pure: whether a gateway is known or a file exists is asked elsewhere.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use swarmwire_client::{
    controller::RemotePath,
    gateways::{GatewayName, NameError},
};
use swarmwire_common::{
    escape::escape,
    path::{PathError, RelPath},
};

/// UDP port of a gateway whose address names none; `swarmd --listen` has the same.
const DEFAULT_PORT: u16 = 4433;

const SCHEME: &[u8] = b"swarm://";

/// Where something comes from or goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// At a gateway.
    Remote(Remote),
}

/// A path at a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) gateway: GatewayRef,
    pub(crate) path: RemotePath,
}

/// How an argument names a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GatewayRef {
    /// By the name it was joined under.
    Name(GatewayName),
    /// By the address that was pinned.
    Address { host: String, port: u16 },
}

impl fmt::Display for GatewayRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address { host, port } if host.contains(':') => write!(f, "swarm://[{host}]:{port}"),
            Self::Address { host, port } => write!(f, "swarm://{host}:{port}"),
        }
    }
}

impl Place {
    /// Takes an argument as a place.
    pub(crate) fn parse(argument: &OsStr) -> Result<Self, PlaceError> {
        let bytes = argument.as_bytes();
        if bytes.is_empty() {
            return Err(PlaceError::Empty);
        }
        if let Some(rest) = bytes.strip_prefix(SCHEME) {
            let (authority, path) = split_at_byte(rest, b'/').unwrap_or((rest, b""));
            let gateway = parse_address(authority)
                .map_err(|reason| PlaceError::Address { argument: argument.into(), reason })?;
            return Ok(Self::Remote(Remote { gateway, path: parse_path(argument, path)? }));
        }
        match split_at_byte(bytes, b':') {
            Some((name, path)) if !name.contains(&b'/') => {
                let gateway = parse_name(argument, name)?;
                Ok(Self::Remote(Remote { gateway, path: parse_path(argument, path)? }))
            }
            _ => Ok(Self::Local(argument.into())),
        }
    }
}

impl GatewayRef {
    /// Takes an argument that names a gateway alone: `GW`, `GW:`, or `swarm://HOST[:PORT]`.
    pub(crate) fn parse(argument: &OsStr) -> Result<Self, PlaceError> {
        let gateway = match Place::parse(argument) {
            Ok(Place::Remote(Remote { gateway, path })) if path.path.is_root() => Ok(gateway),
            Ok(Place::Remote(_)) | Err(PlaceError::Path { .. }) => {
                Err(PlaceError::NoPathHere { argument: argument.into() })
            }
            Ok(Place::Local(_)) => parse_name(argument, argument.as_bytes()),
            Err(err) => Err(err),
        };
        // What is said of a place may be about local paths, and nobody means one here.
        gateway.map_err(|err| match err {
            PlaceError::Empty | PlaceError::Name { .. } => PlaceError::Gateway { argument: argument.into() },
            err => err,
        })
    }
}

fn parse_name(argument: &OsStr, name: &[u8]) -> Result<GatewayRef, PlaceError> {
    let name = std::str::from_utf8(name).map_err(|_| NameError).and_then(str::parse);
    name.map(GatewayRef::Name).map_err(|_| PlaceError::Name { argument: argument.into() })
}

/// `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`.
fn parse_address(authority: &[u8]) -> Result<GatewayRef, &'static str> {
    let text = std::str::from_utf8(authority).map_err(|_| "the host is not UTF-8")?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the `]` after the IPv6 address is missing")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in brackets is no IPv6 address")?;
            if rest.is_empty() {
                (host, None)
            } else {
                (host, Some(rest.strip_prefix(':').ok_or("only `:PORT` may follow the `]`")?))
            }
        }
        None if text.matches(':').count() > 1 => return Err("an IPv6 address needs brackets"),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host_char) {
        return Err("the host is missing or has characters that no host has");
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| match port.parse() {
        Ok(0) | Err(_) => Err("the port is not a number from 1 to 65535"),
        Ok(port) => Ok(port),
    })?;
    Ok(GatewayRef::Address { host: host.to_owned(), port })
}

fn parse_path(argument: &OsStr, bytes: &[u8]) -> Result<RemotePath, PlaceError> {
    let path =
        RelPath::parse(bytes).map_err(|reason| PlaceError::Path { argument: argument.into(), reason })?;
    Ok(RemotePath { path, trailing_slash: means_contents(bytes) })
}

/// Whether a path means a directory's contents: it ends with a slash or with `.` or `..` as its last component, as in rsync.
pub(crate) fn means_contents(path: &[u8]) -> bool {
    let last = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    matches!(last, b"." | b"..") || (last.is_empty() && !path.is_empty())
}

/// Reads a directory below DST that is not DST itself.
pub(crate) fn parse_backup(text: &OsStr) -> Result<RelPath, String> {
    match RelPath::parse(text.as_bytes()) {
        Ok(path) if path.is_root() => Err("write a directory below DST".to_owned()),
        Ok(path) if path.components().any(|name| name.is_reserved()) => {
            Err("names that begin with `.swarmwire-` are reserved".to_owned())
        }
        Ok(path) => Ok(path),
        // Its own words are about a gateway's root.
        Err(PathError::Absolute) => {
            Err("the path is absolute; write a directory below DST, like `old`".to_owned())
        }
        Err(err) => Err(format!("{err}; write a directory below DST, like `old`")),
    }
}

fn split_at_byte(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Why an argument is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the path is empty; write `.` for the current directory")]
    Empty,
    #[error(
        "`{}` does not begin with a gateway's name: {NameError}; a local path with a `:` is written `./…`",
        escape(argument.as_bytes())
    )]
    Name { argument: OsString },
    #[error("`{}` is no gateway: {NameError}", escape(argument.as_bytes()))]
    Gateway { argument: OsString },
    #[error("`{}` is not swarm://HOST[:PORT]/PATH: {reason}", escape(argument.as_bytes()))]
    Address { argument: OsString, reason: &'static str },
    #[error("`{}` cannot be used: {reason}{}", escape(argument.as_bytes()), remedy(*reason))]
    Path { argument: OsString, reason: PathError },
    #[error("`{}` has a path, where only a gateway is wanted", escape(argument.as_bytes()))]
    NoPathHere { argument: OsString },
}

fn remedy(reason: PathError) -> &'static str {
    match reason {
        PathError::Absolute => "; leave the leading `/` away",
        PathError::DotComponent => "; write the path from the gateway's root down",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(gateway: GatewayRef, path: &[u8], trailing_slash: bool) -> Place {
        let path = RelPath::from_wire(path.to_vec()).unwrap();
        Place::Remote(Remote { gateway, path: RemotePath { path, trailing_slash } })
    }

    fn name(text: &str) -> GatewayRef {
        GatewayRef::Name(text.parse().unwrap())
    }

    fn address(host: &str, port: u16) -> GatewayRef {
        GatewayRef::Address { host: host.to_owned(), port }
    }

    #[test]
    fn every_argument_is_one_kind_of_place() {
        for (argument, expected) in [
            ("logs", Place::Local("logs".into())),
            ("./a:b", Place::Local("./a:b".into())),
            ("/abs/a:b/", Place::Local("/abs/a:b/".into())),
            ("dir/x:y", Place::Local("dir/x:y".into())),
            ("~", Place::Local("~".into())),
            ("gw:", remote(name("gw"), b"", false)),
            ("gw:logs", remote(name("gw"), b"logs", false)),
            ("gw:logs/", remote(name("gw"), b"logs", true)),
            ("gw:logs/.", remote(name("gw"), b"logs", true)),
            ("gw:./logs//app", remote(name("gw"), b"logs/app", false)),
            ("gw:a:b", remote(name("gw"), b"a:b", false)),
            ("swarm:x", remote(name("swarm"), b"x", false)),
            ("swarm://host", remote(address("host", 4433), b"", false)),
            ("swarm://host:1/a/", remote(address("host", 1), b"a", true)),
            ("swarm://[::1]:5/a", remote(address("::1", 5), b"a", false)),
            ("swarm://[::1]/", remote(address("::1", 4433), b"", false)),
        ] {
            assert_eq!(Place::parse(OsStr::new(argument)), Ok(expected), "{argument}");
        }
    }

    #[test]
    fn a_bad_argument_is_named_and_says_what_is_wrong() {
        for (argument, part) in [
            ("", "is empty"),
            (":x", "`:x` does not begin with a gateway's name"),
            ("a b:x", "`a b:x` does not begin"),
            ("gw:/etc", "`gw:/etc` cannot be used: the path is absolute"),
            ("gw:a/../b", "`gw:a/../b` cannot be used: the path has a `.` or `..` component"),
            ("gw:..", "component"),
            ("swarm:///x", "the host is missing"),
            ("swarm://h:0/x", "the port"),
            ("swarm://h:99999/x", "the port"),
            ("swarm://::1/x", "brackets"),
            ("swarm://[::1/x", "`]`"),
            ("swarm://[h]/x", "no IPv6 address"),
            ("swarm://h//etc", "absolute"),
            ("swarm://user@h/x", "the host"),
        ] {
            let told = Place::parse(OsStr::new(argument)).unwrap_err().to_string();
            assert!(told.contains(part), "{argument:?}: {told}");
        }
    }

    #[test]
    fn a_backup_directory_is_below_the_destination() {
        let told = |text: &str| parse_backup(OsStr::new(text));
        assert_eq!(told("old/a").unwrap().as_bytes(), b"old/a");
        for text in ["/tmp", "../old", ".", ""] {
            let err = told(text).unwrap_err();
            assert!(err.contains("below DST") && !err.contains("gateway"), "{text}: {err}");
        }
        assert!(told(".swarmwire-x").unwrap_err().contains("reserved"));
    }

    #[test]
    fn paths_are_bytes() {
        let raw = b"gw:a\xff/";
        assert_eq!(Place::parse(OsStr::from_bytes(raw)), Ok(remote(name("gw"), b"a\xff", true)));
        let raw = b"g\xffw:a";
        assert!(Place::parse(OsStr::from_bytes(raw)).unwrap_err().to_string().contains("`g\\xffw:a`"));
    }

    #[test]
    fn a_gateway_alone_has_no_path() {
        assert_eq!(GatewayRef::parse(OsStr::new("gw")), Ok(name("gw")));
        assert_eq!(GatewayRef::parse(OsStr::new("gw:")), Ok(name("gw")));
        assert_eq!(GatewayRef::parse(OsStr::new("swarm://h:7")), Ok(address("h", 7)));
        for bad in ["gw:x", "gw:/x", "gw:..", "swarm://h/x"] {
            let told = GatewayRef::parse(OsStr::new(bad)).unwrap_err();
            assert!(matches!(told, PlaceError::NoPathHere { .. }), "{bad}: {told}");
        }
        for bad in ["./gw", "", ":", "a b", "a b:x"] {
            let told = GatewayRef::parse(OsStr::new(bad)).unwrap_err();
            assert!(matches!(told, PlaceError::Gateway { .. }), "{bad}: {told}");
        }
    }
}
