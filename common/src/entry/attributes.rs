//! What of an entry is kept only where a sync asks for it: owner and extended attributes.

use serde::{Deserialize, Serialize};

use crate::limits;

/// Whose an entry is, by number: names mean nothing on another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// An extended attribute (xattr(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Xattr {
    /// With its namespace: `user.comment`.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// Those of one entry, as far as they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Its extended attributes, sorted by name; none where they could not be read, and are left as they are.
    pub xattrs: Option<Vec<Xattr>>,
}

impl Attributes {
    /// Whether nothing is told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of all names and values.
    pub fn xattr_bytes(&self) -> usize {
        self.xattrs.iter().flatten().map(|xattr| xattr.name.len() + xattr.value.len()).sum()
    }

    /// Whether the extended attributes are as many, as long and as sorted as an honest peer's.
    pub fn is_within_bounds(&self) -> bool {
        let xattrs = self.xattrs.as_deref().unwrap_or_default();
        let is_name = |name: &[u8]| (1..=limits::NAME_BYTES_MAX).contains(&name.len()) && !name.contains(&0);
        xattrs.len() <= limits::XATTRS_MAX
            && self.xattr_bytes() <= limits::XATTR_BYTES_MAX
            && xattrs.iter().all(|xattr| is_name(&xattr.name))
            && xattrs.is_sorted_by(|left, right| left.name < right.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Attributes, Xattr};
    use crate::limits::{XATTR_BYTES_MAX, XATTRS_MAX};

    #[test]
    fn what_no_honest_peer_tells_is_out_of_bounds() {
        let xattr = |name: &str, bytes: usize| Xattr { name: name.into(), value: vec![1; bytes] };
        let many = |count: usize| (0..count).map(|at| xattr(&format!("user.{at:04}"), 0)).collect();
        for (xattrs, is_within) in [
            (vec![], true),
            (vec![xattr("user.a", 0), xattr("user.b", 5)], true),
            (vec![xattr("user.a", XATTR_BYTES_MAX - 6)], true),
            (vec![xattr("user.a", XATTR_BYTES_MAX - 5)], false),
            (vec![xattr("", 1)], false),
            (vec![xattr("user.\0", 1)], false),
            (vec![xattr(&"u".repeat(256), 1)], false),
            (vec![xattr("user.b", 0), xattr("user.a", 5)], false),
            (vec![xattr("user.a", 0), xattr("user.a", 5)], false),
            (many(XATTRS_MAX), true),
            (many(XATTRS_MAX + 1), false),
        ] {
            let shown = format!("{:?}", xattrs.iter().take(3).map(|xattr| &xattr.name).collect::<Vec<_>>());
            let attributes = Attributes { owner: None, xattrs: Some(xattrs) };
            assert_eq!(attributes.is_within_bounds(), is_within, "{shown}");
        }
    }
}
