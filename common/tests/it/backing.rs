//! `--backup-dir`: what is replaced or removed is kept, and at no moment is a file without one of its versions.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::{Arc, Mutex},
};

use rustix::io::Errno;
use swarmwire_common::{
    filter::Selection,
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Outcome, Source},
    wire::{
        extra::Preserve,
        sync::{Deletion, Durability, Listed, Selection as Selecting, SyncOptions},
    },
};

use crate::{
    mirroring::{deleting, names},
    pair::Pair,
    sync::{options, source},
};

const DIR: &str = "keep/old";

fn dir() -> RelPath {
    RelPath::parse(DIR.as_bytes()).unwrap()
}

fn place(path: &Path, gate: Option<Arc<dyn Gate>>) -> Destination {
    let root = Arc::new(Root::open_gated(path, gate).unwrap());
    Destination::open(root, RelPath::root(), true, true).unwrap().backing_up(dir())
}

/// The content of every file and the target of every link below `top`, by path. Of what moves meanwhile it has one place or none.
fn files(top: &Path) -> BTreeMap<String, String> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![top.to_owned()]);
    while let Some(path) = waiting.pop() {
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if let Ok(target) = fs::read_link(&path) {
            found.insert(name, format!("-> {}", target.display()));
        } else if let Ok(entries) = fs::read_dir(&path) {
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(content) = fs::read_to_string(&path) {
            found.insert(name, content);
        }
    }
    found
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, content)| (String::from(*name), String::from(*content))).collect()
}

/// What the source has: one file the same, one other, a link, and a file and a directory that have changed places.
fn plant(top: &Path, version: &str) {
    fs::create_dir_all(top.join("app")).unwrap();
    fs::write(top.join("app/log"), version).unwrap();
    symlink(version, top.join("link")).unwrap();
    fs::create_dir(top.join("swapped")).unwrap();
    fs::write(top.join("swapped/inner"), version).unwrap();
}

/// What the destination has.
fn clutter(top: &Path) {
    fs::create_dir_all(top.join("app/gone/empty")).unwrap();
    fs::write(top.join("app/log"), "before").unwrap();
    fs::write(top.join("app/gone/file"), "gone").unwrap();
    fs::set_permissions(top.join("app/gone"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("before", top.join("link")).unwrap();
    fs::write(top.join("swapped"), "a file before").unwrap();
}

fn kept() -> BTreeMap<String, String> {
    map(&[
        ("app/gone/file", "gone"),
        ("app/log", "before"),
        ("link", "-> before"),
        ("swapped", "a file before"),
    ])
}

async fn sync(pair: &Pair, from: &Path, to: Destination, options: SyncOptions) -> [Outcome; 2] {
    pair.sync(source(from, None).backing_up(dir()), to, options).await
}

#[tokio::test]
async fn what_is_replaced_or_removed_is_kept_under_its_path() {
    let pair = Pair::connect().await;
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path(), "after");
        clutter(to.path());
        let options = SyncOptions { delete: Deletion::All, ..options(durability) };
        let outcomes = sync(&pair, from.path(), place(to.path(), None), options).await;
        assert!(outcomes.iter().all(|outcome| outcome.error.is_none() && names(outcome).is_empty()));
        let backup = to.path().join(DIR);
        assert_eq!(files(&backup), kept(), "{durability:?}");
        assert!(backup.join("app/gone/empty").is_dir());
        assert_eq!(fs::metadata(backup.join("app/gone")).unwrap().mode() & 0o777, 0o700);
        for name in ["app/log", "swapped/inner"] {
            assert_eq!(fs::read_to_string(to.path().join(name)).unwrap(), "after");
        }
        // Nothing changes, and the backup is neither removed nor backed up.
        let outcomes = sync(&pair, from.path(), place(to.path(), None), options).await;
        assert_eq!((outcomes[0].report.entries_deleted, files(&backup)), (0, kept()));

        // An older backup of the same name goes, whatever it is.
        fs::remove_file(from.path().join("app/log")).unwrap();
        fs::remove_dir_all(from.path().join("swapped")).unwrap();
        fs::write(from.path().join("swapped"), "third").unwrap();
        sync(&pair, from.path(), place(to.path(), None), options).await;
        sync(&pair, from.path(), place(to.path(), None), options).await;
        let mut expected = kept();
        expected.remove("swapped");
        expected.extend(map(&[("app/log", "after"), ("swapped/inner", "after")]));
        assert_eq!(files(&backup), expected);
        fs::write(from.path().join("swapped"), "the fourth").unwrap();
        sync(&pair, from.path(), place(to.path(), None), options).await;
        expected.remove("swapped/inner");
        expected.extend(map(&[("swapped", "third")]));
        assert_eq!(files(&backup), expected);
    }
}

#[tokio::test]
async fn the_backup_directory_is_no_part_of_the_tree_at_either_side() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path(), "after");
    fs::create_dir_all(from.path().join(DIR)).unwrap();
    fs::write(from.path().join(DIR).join("own"), "of the source").unwrap();
    fs::write(from.path().join("keep/other"), "listed").unwrap();
    let [sent, _] = sync(&pair, from.path(), place(to.path(), None), deleting(Deletion::All)).await;
    assert!(sent.error.is_none() && names(&sent).is_empty(), "{sent:?}");
    assert!(to.path().join("keep/other").exists() && !to.path().join(DIR).exists());
    // A source that does list it is told that it has no place here.
    let source_ = source(from.path(), None);
    let [sent, _] = pair.sync(source_, place(to.path(), None), deleting(Deletion::All)).await;
    assert_eq!(
        names(&sent),
        [
            (DIR.to_owned(), "its place is that of the backup directory"),
            (format!("{DIR}/own"), "its directory is not in place"),
        ]
    );
}

#[tokio::test]
async fn a_place_where_nothing_can_be_kept_is_refused_and_nothing_is_touched() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path(), "after");
    clutter(to.path());
    let before = files(to.path());
    let open = |path: &str, is_directory, dir: &str| {
        let root = Arc::new(Root::open(to.path()).unwrap());
        let path = RelPath::parse(path.as_bytes()).unwrap();
        let destination = Destination::open(root, path, is_directory, true).unwrap();
        destination.backing_up(RelPath::parse(dir.as_bytes()).unwrap())
    };
    let file = || {
        let root = Arc::new(Root::open(from.path()).unwrap());
        Source::open(root, RelPath::parse(b"app/log").unwrap(), None).unwrap()
    };
    for (source_, destination, part) in [
        (source(from.path(), Some("app")), open("", true, "app"), "its own backup directory"),
        (source(from.path(), None), open("", true, ".swarmwire-1"), "a reserved name"),
        (file(), open("app/log", false, "old"), "is not a directory"),
    ] {
        let [_, received] = pair.sync(source_, destination, deleting(Deletion::All)).await;
        assert!(received.error.unwrap().to_string().contains(part), "{part}");
    }
    assert_eq!(files(to.path()), before);
    // Where links lead away from it, nothing is replaced, and it says why.
    symlink("/tmp", to.path().join("keep")).unwrap();
    let [sent, _] = sync(&pair, from.path(), place(to.path(), None), options(Durability::Batch)).await;
    assert!(
        names(&sent).iter().any(|(name, why)| name == "app/log" && why.contains("symbolic link")),
        "{sent:?}"
    );
    assert_eq!(fs::read_to_string(to.path().join("app/log")).unwrap(), "before");
}

/// Fails changes, and looks after every file before each.
#[derive(Debug)]
struct Watch {
    to: std::path::PathBuf,
    failing: std::ops::Range<usize>,
    seen: Mutex<usize>,
}

impl Watch {
    /// Whoever looks finds the old version under its name or in the backup, and under its name one of the two.
    fn look(&self) {
        let (now, backup) = (files(&self.to), files(&self.to.join(DIR)));
        for (name, before) in kept() {
            let is_there = now.get(&name) == Some(&before);
            assert!(is_there || backup.get(&name) == Some(&before), "{name} is lost: {now:?}");
        }
        for (name, after) in [("app/log", "after"), ("link", "-> after")] {
            let version = now.get(name).unwrap();
            assert!(*version == after || Some(version) == kept().get(name), "{name} is {version}");
        }
    }
}

impl Gate for Watch {
    fn pass(&self, _op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        // A panic on a thread of the engine would be taken for a defect of that.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.look())).is_err() {
            std::process::abort();
        }
        *seen += 1;
        if self.failing.contains(&(*seen - 1)) { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn wherever_it_fails_or_dies_there_is_always_one_of_both_versions() {
    let pair = Pair::connect().await;
    let from = tempfile::tempdir().unwrap();
    plant(from.path(), "after");
    let watched = async |failing: std::ops::Range<usize>, to: &Path| {
        let gate = Arc::new(Watch { to: to.to_owned(), failing, seen: Mutex::default() });
        sync(&pair, from.path(), place(to, Some(gate.clone())), deleting(Deletion::All)).await;
        gate.look();
        *gate.seen.lock().unwrap()
    };
    let count = {
        let to = tempfile::tempdir().unwrap();
        clutter(to.path());
        watched(0..0, to.path()).await
    };
    for fault in 0..count {
        for failing in [fault..fault + 1, fault..usize::MAX] {
            let to = tempfile::tempdir().unwrap();
            clutter(to.path());
            watched(failing.clone(), to.path()).await;
            let [again, _] = sync(&pair, from.path(), place(to.path(), None), deleting(Deletion::All)).await;
            assert!(again.error.is_none() && names(&again).is_empty(), "{failing:?} {again:?}");
            assert_eq!(files(&to.path().join(DIR)), kept(), "{failing:?}");
            assert_eq!(fs::read_to_string(to.path().join("app/log")).unwrap(), "after");
        }
    }
}

/// Story: another name of a file took the place of what was there, and that was gone.
#[tokio::test]
async fn what_another_name_of_a_file_replaces_is_kept() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), "of two names").unwrap();
    fs::hard_link(from.path().join("a"), from.path().join("b")).unwrap();
    for name in ["a", "b"] {
        fs::write(to.path().join(name), format!("{name} before")).unwrap();
    }
    let preserve = Preserve { hard_links: true, ..Preserve::default() };
    let options = SyncOptions { preserve, ..options(Durability::Batch) };
    let outcomes = sync(&pair, from.path(), place(to.path(), None), options).await;
    assert!(outcomes.iter().all(|outcome| outcome.error.is_none() && names(outcome).is_empty()));
    assert_eq!(files(&to.path().join(DIR)), map(&[("a", "a before"), ("b", "b before")]));
    let inode = |name: &str| fs::metadata(to.path().join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
}

/// Story: the directory in which old versions were to be kept was removed itself, which failed once they were in it.
#[tokio::test]
async fn directories_above_the_backup_stay() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(to.path().join("keep")).unwrap();
    fs::write(to.path().join("keep/file"), "gone").unwrap();
    let [sent, _] = sync(&pair, from.path(), place(to.path(), None), deleting(Deletion::All)).await;
    assert!(sent.error.is_none() && names(&sent).is_empty(), "{sent:?}");
    assert_eq!(sent.report.entries_deleted, 1);
    assert_eq!(files(to.path()), map(&[("keep/old/keep/file", "gone")]));
}

/// Story: paths of a list that were in the backup directory were called missing.
#[tokio::test]
async fn a_list_may_name_what_is_in_the_backup() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path(), "after");
    fs::create_dir_all(from.path().join(DIR)).unwrap();
    fs::write(from.path().join(DIR).join("own"), "of the source").unwrap();
    let listed = |paths: &[&str]| {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let asked = Selecting { listed: Listed::Paths(paths), ..Selecting::default() };
        Arc::new(Selection::from_wire(asked).unwrap())
    };
    for (paths, missing) in [
        (&["app/log", DIR, "keep/old/own", "keep/old/nothing"][..], &[][..]),
        (&["keep/older", "keep"], &["keep/older"]),
    ] {
        let source = source(from.path(), None).backing_up(dir()).selecting(listed(paths)).unwrap();
        let place = place(to.path(), None).selecting(listed(paths));
        let [sent, _] = pair.sync(source, place, options(Durability::Batch)).await;
        let named = names(&sent);
        let named: Vec<_> = named.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((sent.error.is_none(), named.as_slice()), (true, missing), "{paths:?}");
    }
    assert!(to.path().join("app/log").exists() && !to.path().join(DIR).exists());
}
