//! `disk-usage`: how full the file system of a path is, as df says. Needs `list`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarmwire_common::root::{EntryType, Space};

use super::{Context, Failure, granted, json, not_there};
use crate::grants::Operation;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    path: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Usage {
    total: u64,
    used: u64,
    /// What programs without privileges may still use.
    free: u64,
    percent: u64,
}

pub(super) fn run(context: &Context, asked: &Asked) -> Result<Bytes, Failure> {
    let path = granted(context, &Operation::List, asked.path.as_deref())?;
    let root = &context.session.gateway.root;
    let space = || {
        let is_directory = root.stat(&path)?.entry_type == EntryType::Directory;
        let place =
            path.split_last().filter(|_| !is_directory).map_or_else(|| path.clone(), |(parent, _)| parent);
        root.dir(&place)?.space()
    };
    Ok(json(&Usage::of(space().map_err(|err| not_there(&path, &err))?)))
}

impl Usage {
    /// What is reserved for root is neither used nor free; percents are of the other two, and rounded up.
    fn of(space: Space) -> Self {
        let Space { total, used, available: free, .. } = space;
        let of = u128::from(used) + u128::from(free);
        let percent = if of == 0 { 0 } else { (u128::from(used) * 100).div_ceil(of) };
        Self { total, used, free, percent: u64::try_from(percent).expect("100 at most") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_those_of_df() {
        for (total, used, available, percent) in [
            (0, 0, 0, 0),
            (1000, 0, 950, 0),
            (1000, 1, 949, 1),
            (1000, 475, 475, 50),
            (1000, 476, 474, 51),
            (1000, 1000, 0, 100),
            (u64::MAX, u64::MAX, 0, 100),
        ] {
            let space = Space { total, used, available, block: 1 };
            assert_eq!(Usage::of(space), Usage { total, used, free: available, percent });
        }
    }
}
