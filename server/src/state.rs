//! The state directory: what survives a restart of the gateway, and the names in it.
//!
//! It is private (0700, files 0600) and belongs to one running gateway at a time, which holds its run lock. Other
//! processes (`swarmd invite`, `clients`, `revoke`) may change the lists in it meanwhile, under the lists' own locks.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use swarmwire_certs::{
    CertificateNames, Fingerprint, Identity, PrivateDir,
    identity::IdentityError,
    private::{FileLock, PrivateError},
};
use swarmwire_common::transport::PathMemory;

use crate::store::{self, StoreError};

/// Names within the directory, beside the identity's own.
pub(crate) const CLIENTS: &str = "clients.toml";
pub(crate) const CLIENTS_LOCK: &str = "clients.lock";
pub(crate) const INVITATIONS: &str = "invitations.toml";
pub(crate) const INVITATIONS_LOCK: &str = "invitations.lock";
pub(crate) const HASHES: &str = "hashes";
const ADDRESS: &str = "gateway.toml";
const PATHS: &str = "paths";
const RUN_LOCK: &str = "run.lock";

/// An open state directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    dir: PrivateDir,
}

impl State {
    /// Opens the directory, made if it is missing. Refused when others may enter it. Blocks.
    pub fn open(path: &Path) -> Result<Self, PrivateError> {
        Ok(Self { dir: PrivateDir::open_or_create(path)? })
    }

    /// Opens a directory that must stand; otherwise as [`State::open`]. Blocks.
    pub fn open_existing(path: &Path) -> Result<Self, PrivateError> {
        Ok(Self { dir: PrivateDir::open(path)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The gateway's identity, made or renewed where that is due. Blocks.
    pub fn identity(&self, now: SystemTime) -> Result<Identity, IdentityError> {
        let host = host_name();
        let names = CertificateNames::new("swarmd");
        // A certificate cannot hold other names, and nobody of ours decides by them.
        let names = if host.is_ascii() && !host.is_empty() { names.with_host(&host) } else { names };
        Identity::open_or_create(&self.dir, &names, now)
    }

    /// The address that a gateway last listened on; `None` if none ever did. Blocks.
    pub fn address(&self) -> Result<Option<RecordedAddress>, StoreError> {
        let file: AddressFile = store::read(&self.dir, ADDRESS)?;
        let Some(record) = file.gateway else { return Ok(None) };
        let fingerprint =
            record.fingerprint.parse().map_err(|err: swarmwire_certs::fingerprint::FingerprintError| {
                StoreError::malformed(&self.dir, ADDRESS, err.to_string())
            })?;
        Ok(Some(RecordedAddress { listen: record.listen, fingerprint }))
    }

    /// The path as an argument of the commands that messages name: absolute, and quoted where a shell needs it.
    pub fn shell_path(&self) -> String {
        let path = std::path::absolute(self.path()).unwrap_or_else(|_| self.path().to_owned());
        let text = path.to_string_lossy();
        let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
        if text.chars().all(is_plain) {
            return text.into_owned();
        }
        format!("'{}'", text.replace('\'', r"'\''"))
    }

    pub(crate) fn dir(&self) -> &PrivateDir {
        &self.dir
    }

    /// Takes the directory for this process; `None` if another gateway has it.
    pub(crate) fn lock_run(&self) -> Result<Option<FileLock>, PrivateError> {
        self.dir.lock(RUN_LOCK)
    }

    /// What is remembered of the paths to controllers. Nothing, if it cannot be read: it is only a hint. Blocks.
    pub(crate) fn paths(&self) -> PathMemory {
        let text = self.dir.read(PATHS).unwrap_or_else(|err| {
            tracing::debug!(%err, "what is remembered of paths cannot be read");
            None
        });
        text.map(|text| PathMemory::parse(&text)).unwrap_or_default()
    }

    /// Remembers these paths over a restart. Blocks.
    pub(crate) fn record_paths(&self, paths: &PathMemory) -> Result<(), PrivateError> {
        self.dir.write_hint(PATHS, paths.to_text().as_bytes())
    }

    pub(crate) fn record_address(&self, address: &RecordedAddress) -> Result<(), StoreError> {
        let record = AddressRecord { listen: address.listen, fingerprint: address.fingerprint.to_string() };
        store::write(&self.dir, ADDRESS, &AddressFile { gateway: Some(record) })
    }
}

/// What a gateway tells the commands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedAddress {
    /// The address that its socket is bound to.
    pub listen: SocketAddr,
    /// Its identity.
    pub fingerprint: Fingerprint,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressFile {
    gateway: Option<AddressRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressRecord {
    listen: SocketAddr,
    fingerprint: String,
}

/// The host's own name, as `uname` has it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Where the state lies unless the operator says: below `SWARMWIRE_HOME`, or where the XDG base directory specification
/// puts state. `None` without any of the three variables that `variable` looks up.
pub fn default_path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    let swarmwire = set("SWARMWIRE_HOME").or_else(|| {
        // The specification has relative paths ignored.
        let xdg = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let state = xdg.or_else(|| Some(set("HOME")?.join(".local/state")))?;
        Some(state.join("swarmwire"))
    })?;
    Some(swarmwire.join("gateway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place_follows_the_environment() {
        for (variables, expected) in [
            (&[("SWARMWIRE_HOME", "/s"), ("HOME", "/h")][..], Some("/s/gateway")),
            (&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], Some("/x/swarmwire/gateway")),
            (&[("XDG_STATE_HOME", "x"), ("HOME", "/h")], Some("/h/.local/state/swarmwire/gateway")),
            (&[("SWARMWIRE_HOME", ""), ("HOME", "/h")], Some("/h/.local/state/swarmwire/gateway")),
            (&[], None),
        ] {
            let find = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            };
            assert_eq!(default_path(find), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn one_process_at_a_time_holds_the_directory_and_its_address_is_found_again() {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&home.path().join("state")).unwrap();
        assert_eq!(state.address().unwrap(), None);
        let lock = state.lock_run().unwrap();
        assert!(lock.is_some());
        assert!(state.lock_run().unwrap().is_none());
        let address = RecordedAddress {
            listen: "127.0.0.1:4433".parse().unwrap(),
            fingerprint: Fingerprint::from_bytes([7; 32]),
        };
        state.record_address(&address).unwrap();
        assert_eq!(state.address().unwrap(), Some(address));
    }
}
