//! Small TOML files in the state directory: read whole, replaced whole.
//!
//! Who changes a file holds its lock from the reading to the writing, so that the gateway and `swarmd invite` or `revoke`
//! beside it do not undo each other. Calls block on the disk.

use serde::{Serialize, de::DeserializeOwned};
use swarmwire_certs::{PrivateDir, private::PrivateError};

/// Reads the file `name`; the default value if there is none.
pub(crate) fn read<T: DeserializeOwned + Default>(dir: &PrivateDir, name: &str) -> Result<T, StoreError> {
    decode(dir, name, dir.read(name)?.as_deref())
}

/// What `bytes` of the file `name` say; the default value without any.
pub(crate) fn decode<T: DeserializeOwned + Default>(
    dir: &PrivateDir,
    name: &str,
    bytes: Option<&[u8]>,
) -> Result<T, StoreError> {
    let Some(bytes) = bytes else { return Ok(T::default()) };
    let malformed = |reason: String| StoreError::malformed(dir, name, reason);
    let text = str::from_utf8(bytes).map_err(|err| malformed(err.to_string()))?;
    // `message` leaves out the excerpt that the full text shows, so that no line of a state file reaches a log.
    toml::from_str(text).map_err(|err| malformed(err.message().to_owned()))
}

/// Replaces the file `name`, under a heading that says whose it is.
pub(crate) fn write<T: Serialize>(dir: &PrivateDir, name: &str, value: &T) -> Result<(), StoreError> {
    let body = toml::to_string(value).map_err(|err| StoreError::malformed(dir, name, err.to_string()))?;
    Ok(dir.write(name, format!("# Written by swarmd.\n\n{body}").as_bytes())?)
}

/// Why a file of the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the file's permissions.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The file holds something else.
    #[error(
        "{path} cannot be read as what swarmd writes there: {reason}; mend it, restore it or move it away"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that TOML cannot hold.
    #[error(
        "the path prefix `{0}` is not UTF-8, which the state files cannot hold; grant a directory above it"
    )]
    NotText(String),
    /// No client has such a fingerprint.
    #[error("no client has a fingerprint that begins with {0}; `swarmd clients` lists them")]
    NoSuchClient(String),
    /// Several clients have such a fingerprint.
    #[error("{count} clients have a fingerprint that begins with {prefix}; give more digits")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// How many match.
        count: usize,
    },
    /// Not the beginning of a fingerprint.
    #[error("{0:?} is not a fingerprint: give at least 8 of its 64 hexadecimal digits")]
    BadFingerprint(String),
}

impl StoreError {
    pub(crate) fn malformed(dir: &PrivateDir, name: &str, reason: String) -> Self {
        Self::Malformed { path: dir.path().join(name).display().to_string(), reason }
    }
}
