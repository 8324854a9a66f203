//! Where this machine keeps what it is as a controller: its identity, the gateways that it has joined, and what the paths to them are like.
//!
//! One private directory (0700, files 0600, refused when wider): `$SWARMWIRE_HOME`, else `$XDG_CONFIG_HOME/swarmwire`, else
//! `~/.config/swarmwire`. Calls block on the disk.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::SystemTime,
};

use swarmwire_certs::{
    CertificateNames, Identity, PrivateDir,
    identity::{IdentityError, KEY_FILE},
    private::PrivateError,
};
use swarmwire_common::transport::PathMemory;

use crate::gateways::{Gateways, GatewaysError};

/// The controller's state directory.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PrivateDir,
}

impl Home {
    /// Opens the directory at `path`, or makes it.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        Ok(Self { dir: PrivateDir::open_or_create(path)? })
    }

    /// Opens the directory that the environment names.
    pub fn from_environment() -> Result<Self, HomeError> {
        Self::open(&locate(|name| std::env::var_os(name)).ok_or(HomeError::Nowhere)?)
    }

    /// The identity of this machine; made if there is none, renewed if it is near its end.
    pub fn identity(&self, now: SystemTime) -> Result<Identity, HomeError> {
        Ok(Identity::open_or_create(&self.dir, &CertificateNames::new(COMMON_NAME), now)?)
    }

    /// Whether this machine has an identity yet.
    pub fn has_identity(&self) -> Result<bool, HomeError> {
        Ok(self.dir.read(KEY_FILE)?.is_some())
    }

    /// What is remembered of the paths to gateways. Nothing, if it cannot be read: it is only a hint.
    pub fn paths(&self) -> PathMemory {
        let text = self.dir.read(PATHS_FILE).unwrap_or_else(|err| {
            tracing::debug!(%err, "what is remembered of paths cannot be read");
            None
        });
        text.map(|text| PathMemory::parse(&text)).unwrap_or_default()
    }

    /// Remembers these paths. Of processes that do so at the same time one wins.
    pub fn remember_paths(&self, paths: &PathMemory) -> Result<(), HomeError> {
        Ok(self.dir.write_hint(PATHS_FILE, paths.to_text().as_bytes())?)
    }

    /// Where the journals of offloads are kept (`crate::offload`).
    pub fn offloads(&self) -> Result<PrivateDir, HomeError> {
        Ok(PrivateDir::open_or_create(self.dir.path().join(OFFLOADS_DIR))?)
    }

    /// The gateways that this machine has joined.
    pub fn gateways(&self) -> Result<Gateways, GatewaysError> {
        Gateways::open(&self.dir)
    }
}

/// The file of [`Home::paths`], whose format is told there where it is parsed.
const PATHS_FILE: &str = "paths";

/// The directory of [`Home::offloads`].
const OFFLOADS_DIR: &str = "offload";

/// Subject of the controller's certificate. Nobody decides anything by it; it names the kind of thing in a packet dump.
const COMMON_NAME: &str = "swarmwire controller";

/// The directory that the environment means. An empty variable counts as unset, and a relative `XDG_CONFIG_HOME` too
/// (XDG Base Directory Specification 0.8).
fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| path_in(&variable, name);
    if let Some(home) = path("SWARMWIRE_HOME") {
        return Some(home);
    }
    let config = path("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| path("HOME").map(|home| home.join(".config")))?;
    Some(config.join("swarmwire"))
}

/// Where the hashes of this machine's files are remembered (`swarmwire_common::hashes`): `$SWARMWIRE_HOME/hashes`, else
/// `$XDG_CACHE_HOME/swarmwire/hashes`, else `~/.cache/swarmwire/hashes`. None where no variable says so.
pub fn hashes_path() -> Option<PathBuf> {
    locate_hashes(|name| std::env::var_os(name))
}

fn locate_hashes(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = path_in(&variable, "SWARMWIRE_HOME");
    let cache = || {
        let cache = path_in(&variable, "XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let cache = cache.or_else(|| path_in(&variable, "HOME").map(|home| home.join(".cache")))?;
        Some(cache.join("swarmwire"))
    };
    home.or_else(cache).map(|dir| dir.join("hashes"))
}

fn path_in(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Why there is no usable state directory.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No variable says where.
    #[error("there is no place for this machine's key: set SWARMWIRE_HOME or HOME")]
    Nowhere,
    /// The directory or a file in it cannot be used.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The key or its certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use swarmwire_certs::Fingerprint;
    use swarmwire_common::transport::SeenPath;

    use super::*;

    #[test]
    fn paths_are_remembered_and_one_that_cannot_be_read_is_missed_by_nobody() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::open(&temp.path().join("home")).unwrap();
        assert!(home.paths().is_empty());
        let (gateway, address) = (Fingerprint::from_bytes([7; 32]), IpAddr::from([192, 0, 2, 1]));
        let (round_trip, now) = (Duration::from_millis(100), SystemTime::UNIX_EPOCH);
        let path = SeenPath { rate_bytes: 125_000_000, round_trip, is_limit: true };
        let mut paths = PathMemory::default();
        paths.note(gateway, address, &path, now);
        home.remember_paths(&paths).unwrap();
        assert_eq!(home.paths().get(gateway, address, now), Some(path));
        home.dir.write(PATHS_FILE, b"\xff nonsense").unwrap();
        assert!(home.paths().is_empty());
        std::fs::remove_file(temp.path().join("home").join(PATHS_FILE)).unwrap();
        std::fs::create_dir(temp.path().join("home").join(PATHS_FILE)).unwrap();
        assert!(home.paths().is_empty());
    }

    #[test]
    fn the_environment_says_where_in_a_fixed_order() {
        for (variables, expected) in [
            (&[("SWARMWIRE_HOME", "/s"), ("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")][..], Some("/s")),
            (&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")], Some("/x/swarmwire")),
            (&[("SWARMWIRE_HOME", ""), ("HOME", "/h")], Some("/h/.config/swarmwire")),
            (&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")], Some("/h/.config/swarmwire")),
            (&[], None),
        ] {
            assert_eq!(locate(among(variables)), expected.map(PathBuf::from), "{variables:?}");
        }
        for (variables, expected) in [
            (&[("SWARMWIRE_HOME", "/s"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], Some("/s/hashes")),
            (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/swarmwire/hashes")),
            (&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")], Some("/h/.cache/swarmwire/hashes")),
            (&[], None),
        ] {
            assert_eq!(locate_hashes(among(variables)), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    fn among<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }
}
