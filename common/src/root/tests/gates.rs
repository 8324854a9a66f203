//! Every change names itself to the gate before it happens, and does not happen when the gate refuses.

use std::{
    io,
    sync::{Arc, Mutex},
};

use rustix::io::Errno;

use super::{Place, assert_fails, name, path};
use crate::{
    entry::Metadata,
    root::{
        Root,
        gate::{DiskOp, Gate},
        staging::{Staging, clean},
    },
};

/// Writes down what passes, and refuses the call at one position.
#[derive(Debug, Default)]
struct Watch {
    refused: Option<usize>,
    seen: Mutex<Vec<(DiskOp, String)>>,
}

impl Gate for Watch {
    fn pass(&self, op: DiskOp, name: &[u8]) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.push((op, String::from_utf8(name.to_vec()).unwrap()));
        if self.refused == Some(seen.len() - 1) { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// One of every call that changes the disk, through handles got in every way.
fn work(root: &Root) -> io::Result<()> {
    let dir = root.create_dir_all(&path("a/b"))?;
    let file = dir.create_file(name("f"))?;
    file.write_at(0, b"x")?;
    file.set_metadata(Metadata::default())?;
    file.sync()?;
    dir.try_clone()?.create_symlink(name("l"), b"t")?;
    dir.set_link_mtime(name("l"), Metadata::default().mtime)?;
    dir.rename(name("f"), &root.dir(&path("a"))?, name("g"))?;
    dir.sync_file_system()?;
    dir.sync()?;
    dir.set_metadata(Metadata { mode: 0o755, ..Metadata::default() })?;
    dir.remove_file(name("l"))?;
    root.dir(&path("a"))?.remove_dir(name("b"))
}

const CALLS: [(DiskOp, &str); 14] = [
    (DiskOp::CreateDir, "a"),
    (DiskOp::CreateDir, "b"),
    (DiskOp::CreateFile, "f"),
    (DiskOp::Write, ""),
    (DiskOp::SetMetadata, ""),
    (DiskOp::SyncFile, ""),
    (DiskOp::CreateSymlink, "l"),
    (DiskOp::SetMetadata, "l"),
    (DiskOp::Rename, "g"),
    (DiskOp::SyncFileSystem, ""),
    (DiskOp::SyncDir, ""),
    (DiskOp::SetMetadata, ""),
    (DiskOp::Remove, "l"),
    (DiskOp::Remove, "b"),
];

/// Runs [`work`] with the call at `refused` failing; gives the result and what the gate saw.
fn watched(place: &Place, refused: Option<usize>) -> (io::Result<()>, Vec<(DiskOp, String)>) {
    let watch = Arc::new(Watch { refused, ..Watch::default() });
    let root = Root::open_gated(&place.inside(""), Some(watch.clone())).unwrap();
    let result = work(&root);
    let seen = std::mem::take(&mut *watch.seen.lock().unwrap());
    (result, seen)
}

fn calls(count: usize) -> Vec<(DiskOp, String)> {
    CALLS[..count].iter().map(|&(op, name)| (op, name.to_owned())).collect()
}

#[test]
fn every_change_is_seen_in_its_order() {
    let (result, seen) = watched(&Place::new(), None);
    result.unwrap();
    assert_eq!(seen, calls(CALLS.len()));
}

#[test]
fn a_refused_call_fails_with_the_gates_error_and_nothing_follows() {
    for refused in 0..CALLS.len() {
        let (result, seen) = watched(&Place::new(), Some(refused));
        assert_fails(result, Errno::NOSPC);
        assert_eq!(seen, calls(refused + 1));
    }
}

#[test]
fn a_refused_call_changes_nothing() {
    let refuse_all = |refused| Some(Arc::new(Watch { refused, ..Watch::default() }) as Arc<dyn Gate>);
    let place = Place::new();
    let open = || Root::open_gated(&place.inside(""), refuse_all(Some(0))).unwrap();
    std::fs::write(place.inside("f"), "kept").unwrap();
    assert_fails(open().top().create_file(name("new")).map(drop), Errno::NOSPC);
    assert_fails(open().top().create_dir(name("new"), 0o700), Errno::NOSPC);
    assert_fails(open().top().create_symlink(name("new"), b"t"), Errno::NOSPC);
    assert_fails(open().top().rename(name("f"), place.top(), name("new")), Errno::NOSPC);
    assert_fails(open().top().remove_file(name("f")), Errno::NOSPC);
    assert_eq!(super::names_at(&place.inside("")), ["f"]);
    assert_eq!(std::fs::read(place.inside("f")).unwrap(), b"kept");
}

#[test]
fn a_staging_place_that_cannot_be_removed_is_cleaned_later() {
    let place = Place::new();
    let create = |refused| {
        let watch = Arc::new(Watch { refused: Some(refused), ..Watch::default() });
        let root = Root::open_gated(&place.inside(""), Some(watch)).unwrap();
        Staging::create(root.top(), u64::MAX, || 1).map(drop)
    };
    assert_fails(create(0), Errno::NOSPC);
    assert!(super::names_at(&place.inside("")).is_empty());

    create(1).unwrap();
    assert_eq!(super::names_at(&place.inside("")), [".swarmwire-0000000000000001"]);
    assert_eq!(clean(place.top()).unwrap(), 1);
    assert!(super::names_at(&place.inside("")).is_empty());
}
