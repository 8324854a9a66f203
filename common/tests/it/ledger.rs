//! Files that move are entered before they may be removed, on either side, and what is not entered or has changed since stays.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use swarmwire_common::{
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::{Destination, Ledger, Moved, Source},
    wire::sync::{Durability, SyncOptions},
};

use crate::{
    pair::Pair,
    sync::{options, source},
};

const LARGE: usize = 2 * 1024 * 1024 + 3;

const FILES: [&str; 3] = ["a", "sub/b", "sub/large"];

fn plant(top: &Path) {
    fs::create_dir(top.join("sub")).unwrap();
    fs::write(top.join("a"), b"alpha").unwrap();
    fs::write(top.join("sub/b"), b"").unwrap();
    fs::write(top.join("sub/large"), vec![7; LARGE]).unwrap();
}

/// Notes what is entered, and that it was in place at the one and still at the other when it was.
#[derive(Debug)]
struct Book {
    entered: Mutex<Vec<Moved>>,
    from: PathBuf,
    to: PathBuf,
    /// What happens when something is entered.
    then: fn(&Path) -> io::Result<()>,
}

impl Book {
    fn new(from: &Path, to: &Path, then: fn(&Path) -> io::Result<()>) -> Arc<Self> {
        Arc::new(Self { entered: Mutex::default(), from: from.to_owned(), to: to.to_owned(), then })
    }

    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> =
            self.entered.lock().unwrap().iter().map(|moved| moved.path.to_string()).collect();
        paths.sort();
        paths
    }
}

impl Ledger for Book {
    fn enter(&self, files: &[Moved]) -> io::Result<()> {
        for Moved { path, size, mtime, hash } in files {
            let there = fs::read(self.to.join(path.as_os_str())).unwrap();
            assert_eq!((u64::try_from(there.len()).unwrap(), blake3::hash(&there).into()), (*size, *hash));
            let modified = fs::metadata(self.from.join(path.as_os_str())).unwrap().modified().unwrap();
            assert_eq!(swarmwire_common::entry::Timestamp::from(modified), *mtime);
        }
        self.entered.lock().unwrap().extend_from_slice(files);
        (self.then)(&self.from)
    }
}

#[derive(Clone, Copy, Debug)]
enum Keeper {
    Source,
    Destination,
}

const BOTH: [Keeper; 2] = [Keeper::Source, Keeper::Destination];

fn ends(
    keeper: Keeper,
    (from, to): (&Path, &Path),
    book: &Arc<Book>,
    gate: Option<Arc<dyn Gate>>,
) -> (Source, Destination) {
    let root = Arc::new(Root::open_gated(to, gate).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
    let ledger = Arc::clone(book);
    match keeper {
        Keeper::Source => (source(from, None).accounting(ledger), destination),
        Keeper::Destination => (source(from, None), destination.accounting(ledger)),
    }
}

fn moving(durability: Durability) -> SyncOptions {
    SyncOptions { remove_source: true, ..options(durability) }
}

#[tokio::test]
async fn each_file_is_entered_once_before_it_goes() {
    let pair = Pair::connect().await;
    for keeper in BOTH {
        for durability in [Durability::Batch, Durability::File] {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(from.path());
            // One of them is there already.
            fs::write(to.path().join("a"), b"alpha").unwrap();
            let book = Book::new(from.path(), to.path(), |_| Ok(()));
            let (source, destination) = ends(keeper, (from.path(), to.path()), &book, None);
            let outcomes = pair.sync(source, destination, moving(durability)).await;
            for outcome in &outcomes {
                assert!(outcome.error.is_none() && outcome.report.files_removed == 3, "{outcome:?}");
            }
            assert_eq!(book.paths(), FILES, "{keeper:?}");
            assert!(FILES.iter().all(|name| !from.path().join(name).exists()));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_entered_is_not_removed() {
    let pair = Pair::connect().await;
    for keeper in BOTH {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path());
        let book = Book::new(from.path(), to.path(), |_| Err(io::ErrorKind::StorageFull.into()));
        let (source, destination) = ends(keeper, (from.path(), to.path()), &book, None);
        let [sent, received] = pair.sync(source, destination, moving(Durability::Batch)).await;
        let keeping = if let Keeper::Source = keeper { &sent } else { &received };
        let told = keeping.error.as_ref().unwrap().to_string();
        assert!(told.contains("the journal cannot be written: no storage space"), "{told}");
        assert!(FILES.iter().all(|name| from.path().join(name).exists()), "{keeper:?}");
    }
}

/// Story: a program writes to a file after it was transferred, in the moment before it is removed.
#[tokio::test]
async fn a_file_that_is_modified_between_transfer_and_removal_stays() {
    let pair = Pair::connect().await;
    for keeper in BOTH {
        for then in [
            (|from| fs::write(from.join("a"), b"alph4")) as fn(&Path) -> io::Result<()>,
            |from| fs::File::options().append(true).open(from.join("a")).and_then(|file| file.set_len(6)),
            |from| {
                fs::write(from.join("new"), b"alpha")
                    .and_then(|()| fs::rename(from.join("new"), from.join("a")))
            },
        ] {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(from.path());
            let book = Book::new(from.path(), to.path(), then);
            let (source, destination) = ends(keeper, (from.path(), to.path()), &book, None);
            let [sent, received] = pair.sync(source, destination, moving(Durability::Batch)).await;
            for outcome in [&sent, &received] {
                assert!(outcome.error.is_none(), "{outcome:?}");
                assert_eq!((outcome.report.files_removed, outcome.report.failed.len()), (2, 1));
                assert_eq!(outcome.report.failed[0].path.to_string(), "a");
                assert!(outcome.report.failed[0].reason.contains("has changed"), "{outcome:?}");
            }
            assert!(from.path().join("a").exists() && fs::read(to.path().join("a")).unwrap() == b"alpha");
        }
    }
}

/// A file that somebody takes away at the destination before it is vouched for is kept at the source.
#[tokio::test]
async fn what_is_not_in_place_any_more_is_not_vouched_for() {
    #[derive(Debug)]
    struct Thief(PathBuf);
    impl Gate for Thief {
        fn pass(&self, op: DiskOp, _: &[u8]) -> io::Result<()> {
            // After the renames.
            if op == DiskOp::SyncDir {
                let _ = fs::remove_file(self.0.join("a"));
            }
            Ok(())
        }
    }
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    let book = Book::new(from.path(), to.path(), |_| Ok(()));
    let thief: Arc<dyn Gate> = Arc::new(Thief(to.path().to_owned()));
    let (source, destination) = ends(Keeper::Destination, (from.path(), to.path()), &book, Some(thief));
    let [sent, received] = pair.sync(source, destination, moving(Durability::Batch)).await;
    assert!(received.report.failed[0].reason.contains("not in place any more"), "{received:?}");
    assert_eq!(sent.report.files_removed, 2);
    assert!(from.path().join("a").exists() && !from.path().join("sub/b").exists());
}

/// Story: somebody renamed the directory that files were moved to, in the moment in which they had got there. They were neither removed nor named, and
/// counted as moved.
#[tokio::test]
async fn what_is_in_a_directory_that_is_gone_stays_by_name() {
    /// Takes the directory away when files have got their names in it.
    #[derive(Debug)]
    struct Mover(PathBuf);
    impl Gate for Mover {
        fn pass(&self, op: DiskOp, _: &[u8]) -> io::Result<()> {
            if op == DiskOp::SyncDir && self.0.join("in/a").exists() {
                fs::rename(self.0.join("in"), self.0.join("elsewhere"))?;
            }
            Ok(())
        }
    }
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), b"alpha").unwrap();
    fs::create_dir(to.path().join("in")).unwrap();
    let root = Root::open_gated(to.path(), Some(Arc::new(Mover(to.path().to_owned())))).unwrap();
    let path = RelPath::parse(b"in").unwrap();
    let destination = Destination::open(Arc::new(root), path, true, true).unwrap();
    let [sent, received] = pair.sync(source(from.path(), None), destination, moving(Durability::Batch)).await;
    let told: Vec<_> =
        received.report.failed.iter().filter(|failure| failure.path.to_string() == "a").collect();
    assert!(
        matches!(&told[..], [one] if one.reason.contains("stays at the source: the directory is gone")),
        "{received:?}"
    );
    assert_eq!((sent.report.files_removed, received.report.files_removed), (0, 0), "{sent:?}");
    assert!(from.path().join("a").exists() && to.path().join("elsewhere/a").exists());
}

#[tokio::test]
async fn a_directory_of_which_some_is_taken_keeps_its_own_mode() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    fs::set_permissions(from.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(from.path().join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(to.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let root = Arc::new(Root::open(to.path()).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap().keeping_top();
    let [_, received] = pair.sync(source(from.path(), None), destination, options(Durability::Batch)).await;
    assert!(received.error.is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(to.path()), mode(&to.path().join("sub"))), (0o700, 0o750));
}
