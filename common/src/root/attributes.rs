//! Owners and extended attributes of entries.
//!
//! `user.*` is everybody's. Of the others only `security.capability` and `trusted.*` are carried, and only for a process that may set
//! them; `system.*` (POSIX ACLs among them) and the labels of security modules belong to the machine on which they are.
//!
//! The kernel's calls on attributes know no directory handles, so an entry is named through that of its directory in `/proc`, where
//! nothing but the handle and one name is resolved, and no link is followed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, Gid, Uid, XattrFlags},
    io::Errno,
};

use super::{
    Dir, File,
    gate::{DiskOp, Gate},
};
use crate::{
    entry::{Owner, Xattr},
    limits::{XATTR_BYTES_MAX, XATTRS_MAX},
    path::Name,
};

/// Which extended attributes take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// `user.*`.
    #[default]
    User,
    /// Those, `trusted.*` and `security.capability`.
    All,
}

impl Namespaces {
    /// As many as this process may set.
    pub fn permitted() -> Self {
        if rustix::process::geteuid().is_root() { Self::All } else { Self::User }
    }

    /// Whether an attribute of this name takes part.
    pub fn has(self, name: &[u8]) -> bool {
        let is_privileged = || {
            name == b"security.capability"
                // What an overlay file system keeps there is about its own layers.
                || name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay.")
        };
        name.starts_with(b"user.") || self == Self::All && is_privileged()
    }
}

/// What attributes are read from and set on.
#[derive(Clone, Copy)]
enum Target<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, Name<'a>),
}

impl Dir {
    /// The extended attributes of `name` itself, sorted by name. `E2BIG` where they are more than travel.
    pub fn xattrs(&self, name: Name<'_>, namespaces: Namespaces) -> io::Result<Vec<Xattr>> {
        Target::Named(self.fd(), name).read(namespaces)
    }

    /// As [`Self::xattrs`], of the directory itself.
    pub fn xattrs_self(&self, namespaces: Namespaces) -> io::Result<Vec<Xattr>> {
        Target::Open(self.fd()).read(namespaces)
    }

    /// Whether the file `name` has neither special mode bits nor extended attributes, whatever of these is seen otherwise: not an access
    /// control list either, but the label that a security module gives to each file.
    pub fn is_plain_file(&self, name: Name<'_>) -> io::Result<bool> {
        let stat = rustix::fs::statat(self.fd(), name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let names = Target::Named(self.fd(), name).names()?;
        let mut names = names.split(|&byte| byte == 0);
        Ok(stat.st_mode & 0o7000 == 0 && names.all(|name| name.is_empty() || name == b"security.selinux"))
    }

    /// Sets the owner of `name` itself.
    pub fn set_owner(&self, name: Name<'_>, owner: Owner) -> io::Result<()> {
        self.pass(DiskOp::SetMetadata, name)?;
        let (user, group) = ids(owner)?;
        Ok(rustix::fs::chownat(self.fd(), name.as_os_str(), user, group, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets the owner of the directory itself.
    pub fn set_owner_self(&self, owner: Owner) -> io::Result<()> {
        set_owner(self.fd(), self.gate(), owner)
    }

    /// Gives `name` itself these attributes and no others of `user.*`. Whether anything was different.
    pub fn set_xattrs(&self, name: Name<'_>, wanted: &[Xattr], namespaces: Namespaces) -> io::Result<bool> {
        Target::Named(self.fd(), name).apply(self.gate(), wanted, namespaces)
    }

    /// As [`Self::set_xattrs`], on the directory itself.
    pub fn set_xattrs_self(&self, wanted: &[Xattr], namespaces: Namespaces) -> io::Result<bool> {
        Target::Open(self.fd()).apply(self.gate(), wanted, namespaces)
    }
}

impl File {
    /// Sets the owner, which takes setuid, setgid and capabilities away.
    pub fn set_owner(&self, owner: Owner) -> io::Result<()> {
        set_owner(self.fd(), self.gate(), owner)
    }

    /// Gives the file these attributes and no others of `user.*`. Whether anything was different.
    pub fn set_xattrs(&self, wanted: &[Xattr], namespaces: Namespaces) -> io::Result<bool> {
        Target::Open(self.fd()).apply(self.gate(), wanted, namespaces)
    }
}

/// Whether `has` would become different by setting `wanted`. Both are sorted by name.
pub fn xattrs_differ(has: &[Xattr], wanted: &[Xattr], namespaces: Namespaces) -> bool {
    let is_missing = |xattr: &Xattr| namespaces.has(&xattr.name) && !has.contains(xattr);
    wanted.iter().any(is_missing) || has.iter().any(|xattr| is_surplus(&xattr.name, wanted))
}

/// Whether an attribute goes. A source that may not see privileged ones does not list them, so those say nothing by being absent.
fn is_surplus(name: &[u8], wanted: &[Xattr]) -> bool {
    name.starts_with(b"user.") && !wanted.iter().any(|xattr| xattr.name == name)
}

fn set_owner(fd: BorrowedFd<'_>, gate: Option<&dyn Gate>, owner: Owner) -> io::Result<()> {
    super::dir::pass(gate, DiskOp::SetMetadata, b"")?;
    let (user, group) = ids(owner)?;
    Ok(rustix::fs::fchown(fd, user, group)?)
}

/// The largest number means "leave it as it is" to the kernel, and is nobody's.
fn ids(owner: Owner) -> io::Result<(Option<Uid>, Option<Gid>)> {
    if owner.user == u32::MAX || owner.group == u32::MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((Some(Uid::from_raw(owner.user)), Some(Gid::from_raw(owner.group))))
}

impl Target<'_> {
    fn read(self, namespaces: Namespaces) -> io::Result<Vec<Xattr>> {
        let mut xattrs = Vec::new();
        let mut bytes = 0;
        for name in self.names()?.split(|&byte| byte == 0).filter(|name| namespaces.has(name)) {
            let value = match self.value(name) {
                Ok(value) => value,
                // Removed since the names were listed.
                Err(Errno::NODATA) => continue,
                Err(err) => return Err(err.into()),
            };
            bytes += name.len() + value.len();
            if xattrs.len() == XATTRS_MAX || bytes > XATTR_BYTES_MAX {
                return Err(Errno::TOOBIG.into());
            }
            xattrs.push(Xattr { name: name.to_vec(), value });
        }
        xattrs.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(xattrs)
    }

    fn apply(self, gate: Option<&dyn Gate>, wanted: &[Xattr], namespaces: Namespaces) -> io::Result<bool> {
        let has = self.read(namespaces)?;
        if !xattrs_differ(&has, wanted, namespaces) {
            return Ok(false);
        }
        super::dir::pass(gate, DiskOp::SetXattr, b"")?;
        for xattr in has.iter().filter(|xattr| is_surplus(&xattr.name, wanted)) {
            self.remove(&xattr.name)?;
        }
        for xattr in wanted.iter().filter(|xattr| namespaces.has(&xattr.name) && !has.contains(xattr)) {
            self.set(&xattr.name, &xattr.value)?;
        }
        Ok(true)
    }

    /// The names of all attributes, each ended by a zero byte. None where the file system has no attributes.
    fn names(self) -> io::Result<Vec<u8>> {
        let mut names = Vec::with_capacity(NAMES_BYTES);
        let listed = match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, spare_capacity(&mut names)),
            Self::Named(dir, name) => rustix::fs::llistxattr(path(dir, name), spare_capacity(&mut names)),
        };
        match listed {
            Ok(_) | Err(Errno::OPNOTSUPP) => Ok(names),
            Err(Errno::RANGE) => Err(Errno::TOOBIG.into()),
            Err(err) => Err(err.into()),
        }
    }

    fn value(self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut value = Vec::with_capacity(VALUE_BYTES);
        loop {
            let read = match self {
                Self::Open(fd) => rustix::fs::fgetxattr(fd, name, spare_capacity(&mut value)),
                Self::Named(dir, entry) => {
                    rustix::fs::lgetxattr(path(dir, entry), name, spare_capacity(&mut value))
                }
            };
            match read {
                Err(Errno::RANGE) if value.capacity() < XATTR_BYTES_MAX => value.reserve(XATTR_BYTES_MAX),
                Err(Errno::RANGE) => return Err(Errno::TOOBIG),
                other => return other.map(|_| value),
            }
        }
    }

    fn set(self, name: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(dir, entry) => {
                rustix::fs::lsetxattr(path(dir, entry), name, value, XattrFlags::empty())
            }
        }?)
    }

    fn remove(self, name: &[u8]) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Named(dir, entry) => rustix::fs::lremovexattr(path(dir, entry), name),
        }?)
    }
}

/// Bytes for the names of an entry's attributes: as many as Linux lists (`XATTR_LIST_MAX`).
const NAMES_BYTES: usize = 64 * 1024;

/// Bytes for a value, before more are tried.
const VALUE_BYTES: usize = 256;

fn path(dir: BorrowedFd<'_>, name: Name<'_>) -> OsString {
    let mut path = OsString::from(format!("/proc/self/fd/{}/", dir.as_raw_fd()));
    path.push(OsStr::from_bytes(name.as_bytes()));
    path
}

#[cfg(test)]
mod tests {
    use super::{Namespaces, Xattr, xattrs_differ};

    #[test]
    fn only_what_may_be_carried_takes_part() {
        for (name, user, all) in [
            ("user.a", true, true),
            ("trusted.a", false, true),
            ("trusted.overlay.opaque", false, false),
            ("security.capability", false, true),
            ("security.selinux", false, false),
            ("system.posix_acl_access", false, false),
            ("user", false, false),
            ("", false, false),
        ] {
            assert_eq!(Namespaces::User.has(name.as_bytes()), user, "{name}");
            assert_eq!(Namespaces::All.has(name.as_bytes()), all, "{name}");
        }
    }

    #[test]
    fn attributes_differ_where_setting_them_would_change_something() {
        let xattr = |name: &str, value: &str| Xattr { name: name.into(), value: value.into() };
        let (a, b, trusted) = (xattr("user.a", "1"), xattr("user.a", "2"), xattr("trusted.a", "1"));
        for (has, wanted, user, all) in [
            (vec![], vec![], false, false),
            (vec![], vec![a.clone()], true, true),
            (vec![a.clone()], vec![b], true, true),
            (vec![a.clone()], vec![], true, true),
            (vec![a.clone()], vec![a], false, false),
            (vec![], vec![trusted.clone()], false, true),
            (vec![trusted.clone()], vec![], false, false),
            (vec![trusted.clone()], vec![trusted], false, false),
        ] {
            assert_eq!(xattrs_differ(&has, &wanted, Namespaces::User), user, "{has:?} {wanted:?}");
            assert_eq!(xattrs_differ(&has, &wanted, Namespaces::All), all, "{has:?} {wanted:?}");
        }
    }
}
