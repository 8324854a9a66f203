//! The gateways that this machine has joined: a name, an address and a pinned key each, in `gateways.toml`.
//!
//! The file is only ever replaced whole, under a lock, so that two `swarm join` at the same time lose nothing. A file that
//! cannot be read is an error and never an empty list: pins are not forgotten in silence.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use swarmwire_certs::{Fingerprint, PrivateDir, fingerprint::FingerprintError, private::PrivateError};

use crate::controller::Target;

/// The list's file in the state directory.
const FILE: &str = "gateways.toml";

/// Held while the list is changed.
const LOCK_FILE: &str = "gateways.lock";

/// Bytes of a gateway's name. Chosen, not measured: the longest DNS name has 253.
const NAME_BYTES_MAX: usize = 253;

/// What a gateway is called here: `[A-Za-z0-9._-]+`, not beginning with `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayName(String);

impl GatewayName {
    /// A name made of `host`: characters that a name cannot have become `-`.
    pub fn from_host(host: &str) -> Self {
        let plain: String = host.chars().map(|c| if is_name_char(c) { c } else { '-' }).collect();
        let plain = plain.trim_matches('-');
        let plain = plain.get(..NAME_BYTES_MAX).unwrap_or(plain);
        Self(if plain.is_empty() { "gateway" } else { plain }.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GatewayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_name = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && !text.starts_with('-')
            && text.chars().all(is_name_char);
        if is_name { Ok(Self(text.to_owned())) } else { Err(NameError) }
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// The text is no name of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gateway's name consists of letters, digits, `.`, `_` and `-` and does not begin with `-`")]
pub struct NameError;

/// The joined gateways, as they stood when they were read.
#[derive(Clone, Debug)]
pub struct Gateways {
    dir: PrivateDir,
    known: BTreeMap<GatewayName, Target>,
}

impl Gateways {
    pub(crate) fn open(dir: &PrivateDir) -> Result<Self, GatewaysError> {
        Ok(Self { dir: dir.clone(), known: read(dir)? })
    }

    /// Stores `target` under `name`, replacing an older address of the same gateway.
    pub fn store(&mut self, name: &GatewayName, target: &Target) -> Result<(), GatewaysError> {
        let _lock = self.dir.lock_blocking(LOCK_FILE)?;
        self.known = read(&self.dir)?;
        self.check_free(name, target.gateway)?;
        self.known.insert(name.clone(), target.clone());
        self.dir.write(FILE, to_toml(&self.known).as_bytes())?;
        Ok(())
    }

    /// Whether `name` may stand for the gateway with the key `gateway`: it is free or does so already.
    pub fn check_free(&self, name: &GatewayName, gateway: Fingerprint) -> Result<(), GatewaysError> {
        match self.known.get(name) {
            Some(other) if other.gateway != gateway => {
                Err(GatewaysError::NameTaken { name: name.clone(), other: other.gateway })
            }
            _ => Ok(()),
        }
    }

    /// The gateway called `name`.
    pub fn get(&self, name: &GatewayName) -> Option<&Target> {
        self.known.get(name)
    }

    /// The gateway at an address, and what it is called. Host names compare without case (RFC 4343).
    pub fn find_address(&self, host: &str, port: u16) -> Option<(&GatewayName, &Target)> {
        self.known.iter().find(|(_, target)| target.port == port && target.host.eq_ignore_ascii_case(host))
    }

    /// The gateway with a key, and what it is called.
    pub fn find_key(&self, gateway: Fingerprint) -> Option<(&GatewayName, &Target)> {
        self.known.iter().find(|(_, target)| target.gateway == gateway)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&GatewayName, &Target)> {
        self.known.iter()
    }
}

/// The file as it stands.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default)]
    gateways: BTreeMap<String, StoredGateway>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredGateway {
    host: String,
    port: u16,
    fingerprint: String,
}

fn read(dir: &PrivateDir) -> Result<BTreeMap<GatewayName, Target>, GatewaysError> {
    let Some(bytes) = dir.read(FILE)? else { return Ok(BTreeMap::new()) };
    parse(&bytes).map_err(|reason| GatewaysError::Malformed { path: dir.path().join(FILE), reason })
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<GatewayName, Target>, String> {
    let text = std::str::from_utf8(bytes).map_err(|err| err.to_string())?;
    let stored: Stored = toml::from_str(text).map_err(|err| err.message().to_owned())?;
    let target = |(name, gateway): (String, StoredGateway)| {
        let parsed: GatewayName = name.parse().map_err(|err: NameError| format!("`{name}`: {err}"))?;
        let key = gateway.fingerprint.parse().map_err(|err: FingerprintError| format!("`{name}`: {err}"))?;
        Ok((parsed, Target { host: gateway.host, port: gateway.port, gateway: key }))
    };
    stored.gateways.into_iter().map(target).collect()
}

fn to_toml(known: &BTreeMap<GatewayName, Target>) -> String {
    let stored = |(name, target): (&GatewayName, &Target)| {
        let gateway = StoredGateway {
            host: target.host.clone(),
            port: target.port,
            fingerprint: target.gateway.to_string(),
        };
        (name.as_str().to_owned(), gateway)
    };
    let stored = Stored { gateways: known.iter().map(stored).collect() };
    toml::to_string(&stored).expect("tables of strings and small integers are always TOML")
}

/// Why the list of gateways cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum GatewaysError {
    /// The file or its directory cannot be used.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The file is not what we wrote.
    #[error("{} is damaged: {reason}; correct it, or remove it and join the gateways again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name stands for another key.
    #[error(
        "the name `{name}` stands for another gateway already, with the key {other}; choose one with --name"
    )]
    NameTaken {
        /// The name.
        name: GatewayName,
        /// The key of the gateway that has it.
        other: Fingerprint,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, key: u8) -> Target {
        Target { host: host.to_owned(), port: 4433, gateway: Fingerprint::from_bytes([key; 32]) }
    }

    fn name(text: &str) -> GatewayName {
        text.parse().unwrap()
    }

    fn empty() -> (tempfile::TempDir, PrivateDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open_or_create(temp.path().join("home")).unwrap();
        (temp, dir)
    }

    #[test]
    fn what_is_stored_is_found_again_by_name_address_and_key() {
        let (_temp, dir) = empty();
        Gateways::open(&dir).unwrap().store(&name("web.1"), &target("Host", 1)).unwrap();
        let found = Gateways::open(&dir).unwrap();
        assert_eq!(found.get(&name("web.1")), Some(&target("Host", 1)));
        assert_eq!(found.find_address("hOST", 4433), Some((&name("web.1"), &target("Host", 1))));
        assert_eq!(found.find_address("host", 4434), None);
        assert!(found.find_key(Fingerprint::from_bytes([1; 32])).is_some());
    }

    #[test]
    fn a_name_never_changes_its_key_but_may_change_its_address() {
        let (_temp, dir) = empty();
        let mut gateways = Gateways::open(&dir).unwrap();
        gateways.store(&name("web"), &target("a", 1)).unwrap();
        gateways.store(&name("web"), &target("b", 1)).unwrap();
        let refused = gateways.store(&name("web"), &target("c", 2)).unwrap_err();
        assert!(matches!(refused, GatewaysError::NameTaken { .. }));
        assert_eq!(Gateways::open(&dir).unwrap().get(&name("web")), Some(&target("b", 1)));
    }

    #[test]
    fn two_writers_lose_nothing_of_each_other() {
        let (_temp, dir) = empty();
        let (mut one, mut two) = (Gateways::open(&dir).unwrap(), Gateways::open(&dir).unwrap());
        one.store(&name("one"), &target("a", 1)).unwrap();
        two.store(&name("two"), &target("b", 2)).unwrap();
        assert_eq!(Gateways::open(&dir).unwrap().iter().count(), 2);
    }

    #[test]
    fn a_damaged_list_is_an_error_and_stays_as_it_is() {
        for content in [
            "nonsense",
            "[gateways.a]\nhost='h'\nport=1\nfingerprint='short'",
            "[gateways.a]\nhost='h'\nport=70000\nfingerprint=''",
            "extra = 1",
            "[gateways.'a/b']\nhost='h'\nport=1\nfingerprint=''",
        ] {
            let (_temp, dir) = empty();
            dir.write(FILE, content.as_bytes()).unwrap();
            assert!(matches!(Gateways::open(&dir), Err(GatewaysError::Malformed { .. })), "{content}");
            assert_eq!(dir.read(FILE).unwrap().unwrap(), content.as_bytes());
        }
    }

    #[test]
    fn any_host_makes_a_name_that_can_be_typed() {
        for (host, expected) in
            [("web1.example", "web1.example"), ("fe80::1", "fe80--1"), ("::", "gateway"), ("größe", "gr--e")]
        {
            assert_eq!(GatewayName::from_host(host).as_str(), expected);
        }
        for bad in ["", "-a", "a b", "a/b", "a:b", "größe"] {
            assert_eq!(bad.parse::<GatewayName>(), Err(NameError), "{bad:?}");
        }
    }
}
