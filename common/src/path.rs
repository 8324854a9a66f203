//! Validated names and relative paths: bytes, as POSIX has them, never text.
//!
//! A `Name` is one component and a `RelPath` a sequence of them; neither can hold `..`, `.`, an empty component, NUL, a
//! leading `/` or anything longer than the kernel takes. Code that holds one need not check it again. What a path leads
//! to is another question, answered by `root`.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt};

use crate::{escape::escape, limits};

/// Prefix of the names that Swarmwire keeps for its staging places. They are never listed and never accepted.
pub const RESERVED_PREFIX: &[u8] = b".swarmwire-";

/// One component of a path: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Takes `bytes` as a component, or says why it is none.
    pub fn new(bytes: &'a [u8]) -> Result<Self, PathError> {
        match bytes {
            b"" => Err(PathError::EmptyComponent),
            b"." | b".." => Err(PathError::DotComponent),
            _ if bytes.len() > limits::NAME_BYTES_MAX => Err(PathError::ComponentTooLong),
            _ if bytes.contains(&0) => Err(PathError::Nul),
            _ if bytes.contains(&b'/') => Err(PathError::Slash),
            _ => Ok(Self(bytes)),
        }
    }

    /// The component's bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The component as the operating system wants it.
    pub fn as_os_str(self) -> &'a OsStr {
        OsStr::from_bytes(self.0)
    }

    /// Whether the name is one that Swarmwire keeps for itself.
    pub fn is_reserved(self) -> bool {
        self.0.starts_with(RESERVED_PREFIX)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(self.0))
    }
}

/// A path below some root: components joined by single slashes; empty for the root itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes a canonical path from a peer: exactly the components, no slash at either end.
    pub fn from_wire(bytes: Vec<u8>) -> Result<Self, PathError> {
        if bytes.len() > limits::PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        if !bytes.is_empty() {
            bytes.split(|&b| b == b'/').try_for_each(|c| Name::new(c).map(drop))?;
        }
        Ok(Self(bytes))
    }

    /// Takes a path as somebody typed it: doubled and trailing slashes and `.` components are dropped, an absolute path
    /// and `..` are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        let mut path = Self::root();
        for component in bytes.split(|&b| b == b'/').filter(|c| !c.is_empty() && *c != b".") {
            path = path.join(Name::new(component)?)?;
        }
        Ok(path)
    }

    /// This path with one more component.
    pub fn join(&self, name: Name<'_>) -> Result<Self, PathError> {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.0.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.0);
        if bytes.len() > limits::PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        Ok(Self(bytes))
    }

    /// The path without its last component, and that component; `None` for the root.
    pub fn split_last(&self) -> Option<(Self, Name<'_>)> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|&b| b == b'/') {
            Some(at) => (Self(self.0[..at].to_vec()), Name(&self.0[at + 1..])),
            None => (Self::root(), Name(&self.0)),
        })
    }

    /// The components from the top down.
    pub fn components(&self) -> impl Iterator<Item = Name<'_>> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty()).map(Name)
    }

    /// Whether this path is `prefix` or lies below it, component by component.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        prefix.0.is_empty()
            || (self.0.starts_with(&prefix.0) && matches!(self.0.get(prefix.0.len()), None | Some(b'/')))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path's bytes, as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the operating system wants it; empty for the root.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl fmt::Display for RelPath {
    /// Escaped, so that a peer's bytes may reach a terminal; `.` for the root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { ".".into() } else { escape(&self.0) }.as_ref())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

/// Why some bytes are not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A leading slash.
    #[error("the path is absolute; paths are relative to the gateway's root")]
    Absolute,
    /// `.` or `..` as a component.
    #[error("the path has a `.` or `..` component")]
    DotComponent,
    /// Two slashes in a row, or one at an end.
    #[error("the path has an empty component")]
    EmptyComponent,
    /// More than `NAME_BYTES_MAX` bytes between slashes.
    #[error("a component of the path is longer than 255 bytes")]
    ComponentTooLong,
    /// More than `PATH_BYTES_MAX` bytes.
    #[error("the path is longer than 4095 bytes")]
    TooLong,
    /// A zero byte.
    #[error("the path has a zero byte")]
    Nul,
    /// A slash within a single name.
    #[error("the name has a slash")]
    Slash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_is_normalised_and_cannot_climb() {
        for (typed, expected) in [
            ("", Ok("")),
            ("logs", Ok("logs")),
            ("logs/", Ok("logs")),
            ("./logs//app/", Ok("logs/app")),
            ("/etc", Err(PathError::Absolute)),
            ("a/../b", Err(PathError::DotComponent)),
            ("..", Err(PathError::DotComponent)),
            ("a\0b", Err(PathError::Nul)),
        ] {
            let parsed = RelPath::parse(typed.as_bytes());
            assert_eq!(
                parsed.as_ref().map(RelPath::as_bytes),
                expected.as_ref().map(|e| e.as_bytes()),
                "{typed:?}"
            );
        }
    }

    #[test]
    fn the_wire_carries_only_canonical_paths() {
        for bad in ["/a", "a/", "a//b", "a/./b", "a/../b", "."] {
            assert!(RelPath::from_wire(bad.into()).is_err(), "{bad:?}");
        }
        assert!(RelPath::from_wire(vec![b'a'; 256]).is_err());
        assert!(RelPath::from_wire(b"a/b\xff c".to_vec()).is_ok());
    }

    #[test]
    fn a_prefix_covers_whole_components_only() {
        let path = |text: &str| RelPath::parse(text.as_bytes()).unwrap();
        assert!(path("logs/app").starts_with(&path("logs")));
        assert!(path("logs").starts_with(&path("logs")));
        assert!(path("logs").starts_with(&path("")));
        assert!(!path("logs2").starts_with(&path("logs")));
        assert!(!path("log").starts_with(&path("logs")));
    }

    #[test]
    fn a_path_comes_apart_as_it_was_joined() {
        let path = RelPath::parse(b"a/b/c").unwrap();
        let (parent, name) = path.split_last().unwrap();
        assert_eq!((parent.as_bytes(), name.as_bytes()), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(parent.join(name).unwrap(), path);
        assert!(RelPath::root().split_last().is_none());
    }
}
