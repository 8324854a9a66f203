//! What is here already is not sent: each kind of change, the tree that comes of it, and the most content that it may cost.

use std::{
    fs::{self, File, FileTimes, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use swarmwire_common::{
    path::RelPath,
    root::{
        Root,
        gate::{DiskOp, Gate},
    },
    sync::Destination,
    wire::sync::{Durability, SyncOptions},
};

use crate::{
    pair::Pair,
    sync::{assert_contains, destination, options, source},
};

/// Content without repetition, the same for the same seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut content);
    content
}

const MIB: usize = 1024 * 1024;

/// Two logs of a few megabytes, one of a few hundred kilobytes, small files, and a directory of some.
fn plant(top: &Path) {
    fs::create_dir_all(top.join("service/deep")).unwrap();
    fs::write(top.join("app.log"), noise(1, 5 * MIB + 123)).unwrap();
    fs::write(top.join("app.log.1"), noise(2, 3 * MIB)).unwrap();
    fs::write(top.join("web.log"), noise(3, 300_000)).unwrap();
    for number in 0..50 {
        fs::write(top.join(format!("service/{number}.log")), noise(100 + number, 20_000)).unwrap();
        fs::write(top.join(format!("service/deep/{number}.log")), noise(200 + number, 5_000)).unwrap();
    }
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn touch(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(7);
    file.set_times(FileTimes::new().set_modified(later)).unwrap();
}

/// Syncs `from` to `to`, asserts that all of it is there, and gives the content bytes that it took.
pub(crate) async fn sync(pair: &Pair, from: &Path, to: &Path, options: SyncOptions) -> u64 {
    let [sent, received] = pair.sync(source(from, None), destination(to, ""), options).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert_eq!(received.report.entries_failed, 0, "{:?}", received.report.failed);
    assert_contains(to, from);
    let names = fs::read_dir(to).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(".swarmwire-")));
    sent.report.bytes_sent
}

/// What happens to a tree, and the content bytes that the next sync may take.
struct Change {
    name: &'static str,
    act: fn(&Path),
    most: u64,
}

/// Bytes that the chunks around an edit may have: three of the largest with an average of 8 KiB.
const AROUND: u64 = 3 * 32 * 1024;

const CHANGES: &[Change] = &[
    Change { name: "nothing", act: |_| {}, most: 0 },
    Change {
        name: "append",
        act: |top| {
            append(&top.join("app.log"), &noise(10, 2_000));
            append(&top.join("web.log"), &noise(11, 1_000));
            append(&top.join("service/7.log"), &noise(12, 500));
        },
        most: 3_500,
    },
    Change {
        name: "touch",
        act: |top| {
            for name in ["app.log", "web.log", "service/1.log", "service/deep/1.log"] {
                touch(&top.join(name));
            }
        },
        most: 0,
    },
    Change {
        name: "edit in the middle",
        act: |top| {
            let file = File::options().write(true).open(top.join("app.log")).unwrap();
            file.write_all_at(&noise(13, 1_000), 2_500_000).unwrap();
            let file = File::options().write(true).open(top.join("web.log")).unwrap();
            file.write_all_at(&noise(14, 10), 150_000).unwrap();
        },
        most: 1_010 + 2 * AROUND,
    },
    Change {
        name: "append, and an edit that a sample does not show",
        act: |top| {
            let file = File::options().write(true).open(top.join("web.log")).unwrap();
            file.write_all_at(&noise(22, 10), 150_000).unwrap();
            append(&top.join("web.log"), &noise(23, 1_000));
        },
        // What was appended is sent in vain first.
        most: 2 * 1_000 + AROUND,
    },
    Change {
        name: "another name, and an edit that neither time nor sample show",
        act: |top| {
            let file = File::options().write(true).open(top.join("web.log")).unwrap();
            let before = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(&noise(24, 10), 150_000).unwrap();
            file.set_times(FileTimes::new().set_modified(before)).unwrap();
            fs::rename(top.join("web.log"), top.join("service/moved.log")).unwrap();
        },
        most: AROUND,
    },
    Change {
        name: "insert at the front",
        act: |top| {
            let path = top.join("app.log");
            let content = [b"a new first line\n", &fs::read(&path).unwrap()[..]].concat();
            fs::write(&path, content).unwrap();
        },
        most: AROUND,
    },
    Change {
        name: "cut off at the end",
        act: |top| File::options().write(true).open(top.join("app.log")).unwrap().set_len(4_000_000).unwrap(),
        most: 32 * 1024,
    },
    Change {
        name: "rotation by renaming",
        act: |top| {
            fs::rename(top.join("app.log.1"), top.join("app.log.2")).unwrap();
            fs::rename(top.join("app.log"), top.join("app.log.1")).unwrap();
            fs::write(top.join("app.log"), noise(15, 3_000)).unwrap();
        },
        most: 3_000,
    },
    Change {
        name: "rotation by renaming, of a log that has grown",
        act: |top| {
            append(&top.join("app.log"), &noise(16, 4_000));
            fs::rename(top.join("app.log.1"), top.join("app.log.2")).unwrap();
            fs::rename(top.join("app.log"), top.join("app.log.1")).unwrap();
            fs::write(top.join("app.log"), noise(15, 3_000)).unwrap();
        },
        most: 7_000,
    },
    Change {
        name: "rotation of a log that is larger than before by now",
        act: |top| {
            fs::rename(top.join("web.log"), top.join("web.log.1")).unwrap();
            fs::write(top.join("web.log"), noise(20, 400_000)).unwrap();
            fs::rename(top.join("service/1.log"), top.join("service/1.log.1")).unwrap();
            fs::write(top.join("service/1.log"), noise(21, 30_000)).unwrap();
        },
        most: 430_000,
    },
    Change {
        name: "rotation by copying and truncating",
        act: |top| {
            append(&top.join("app.log"), &noise(17, 4_000));
            fs::rename(top.join("app.log.1"), top.join("app.log.2")).unwrap();
            fs::copy(top.join("app.log"), top.join("app.log.1")).unwrap();
            File::options().write(true).truncate(true).open(top.join("app.log")).unwrap();
            append(&top.join("app.log"), &noise(18, 2_000));
        },
        most: 6_000,
    },
    Change {
        name: "rename of a directory",
        act: |top| fs::rename(top.join("service"), top.join("renamed")).unwrap(),
        most: 0,
    },
    Change {
        name: "move of a file into another directory",
        act: |top| fs::rename(top.join("web.log"), top.join("service/deep/moved.log")).unwrap(),
        most: 0,
    },
    Change {
        name: "truncation and another content of a larger size",
        act: |top| fs::write(top.join("web.log"), noise(19, 310_000)).unwrap(),
        most: 310_000,
    },
];

#[tokio::test]
async fn each_change_costs_no_more_than_what_is_new_of_it() {
    let pair = Pair::connect().await;
    for durability in [Durability::Batch, Durability::None] {
        for change in CHANGES {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            plant(from.path());
            sync(&pair, from.path(), to.path(), options(durability)).await;
            (change.act)(from.path());
            let bytes = sync(&pair, from.path(), to.path(), options(durability)).await;
            assert!(
                bytes <= change.most,
                "{}: {bytes} bytes of content, {} at most",
                change.name,
                change.most
            );
            assert_eq!(
                sync(&pair, from.path(), to.path(), options(durability)).await,
                0,
                "{}: again",
                change.name
            );
        }
    }
}

#[tokio::test]
async fn what_is_in_a_tree_more_than_once_is_sent_once() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(from.path().join("copies")).unwrap();
    for number in 0..6 {
        fs::write(from.path().join(format!("copies/large-{number}")), noise(1, 3 * MIB + 7)).unwrap();
        fs::write(from.path().join(format!("small-{number}")), noise(2, 200_000)).unwrap();
    }
    // Of one size, and different: from the start, in the middle, in the last byte.
    let mut last = noise(1, 3 * MIB + 7);
    *last.last_mut().unwrap() ^= 1;
    let mut middle = noise(2, 200_000);
    middle[100_000] ^= 1;
    fs::write(from.path().join("large-other"), noise(3, 3 * MIB + 7)).unwrap();
    fs::write(from.path().join("large-last"), last).unwrap();
    fs::write(from.path().join("small-middle"), middle).unwrap();
    let once = u64::try_from(3 * (3 * MIB + 7) + 2 * 200_000).unwrap();
    let pair = Pair::connect().await;
    for durability in [Durability::Batch, Durability::None, Durability::File] {
        let to = to.path().join(format!("{durability:?}"));
        fs::create_dir(&to).unwrap();
        assert_eq!(sync(&pair, from.path(), &to, options(durability)).await, once);
        assert_eq!(sync(&pair, from.path(), &to, options(durability)).await, 0, "it is all in place");
    }
}

#[tokio::test]
async fn checksum_finds_what_size_and_time_hide_and_sends_only_that() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    sync(&pair, from.path(), to.path(), options(Durability::Batch)).await;
    let path = to.path().join("app.log");
    let file = File::options().write(true).open(&path).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"rotten", 3_000_000).unwrap();
    file.set_times(FileTimes::new().set_modified(before)).unwrap();
    let options = SyncOptions { checksum: true, ..options(Durability::Batch) };
    let bytes = sync(&pair, from.path(), to.path(), options).await;
    assert!((1..=AROUND).contains(&bytes), "{bytes}");
}

/// Story: a log with a rotated name was taken for the one before it, or for another file that happened to be itself, and was sent again.
#[tokio::test]
async fn a_rotated_log_that_is_here_already_is_not_sent_for_its_name() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(from.path());
    fs::write(from.path().join("web.log.2"), noise(4, 2 * MIB)).unwrap();
    sync(&pair, from.path(), to.path(), options(Durability::Batch)).await;
    // What the source has removed meanwhile, or never had.
    fs::write(to.path().join("web.log.1"), noise(5, MIB)).unwrap();
    let checksum = SyncOptions { checksum: true, ..options(Durability::Batch) };
    for _ in 0..2 {
        let place = destination(to.path(), "");
        let [_, received] = pair.sync(source(from.path(), None), place, checksum).await;
        assert_eq!((received.report.files_sent, received.report.bytes_sent), (0, 0), "{received:?}");
    }
    touch(&from.path().join("web.log.2"));
    assert_eq!(sync(&pair, from.path(), to.path(), options(Durability::Batch)).await, 0);
}

/// Fails every change from the n-th on: what stays is what a killed process leaves.
#[derive(Debug)]
struct Death(AtomicUsize);

impl Gate for Death {
    fn pass(&self, _op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| io::ErrorKind::Other.into())
    }
}

#[tokio::test]
async fn an_interrupted_large_file_goes_on_where_it_stopped() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("large.log"), noise(1, 16 * MIB + 5)).unwrap();
    for (round, old) in [None, Some(noise(2, 2 * MIB))].into_iter().enumerate() {
        fs::remove_file(to.path().join("large.log")).unwrap_or_default();
        if let Some(old) = old {
            fs::write(to.path().join("large.log"), old).unwrap();
        }
        // The place and the file are made, ten chunks are written, and then the disk is gone.
        let gate = Arc::new(Death(AtomicUsize::new(12)));
        let root = Arc::new(Root::open_gated(to.path(), Some(gate)).unwrap());
        let place = Destination::open(root, RelPath::root(), true, true).unwrap();
        let [_, received] = pair.sync(source(from.path(), None), place, options(Durability::Batch)).await;
        assert!(received.report.entries_failed > 0 || received.error.is_some());

        let bytes = sync(&pair, from.path(), to.path(), options(Durability::Batch)).await;
        // Of the chunks that were written some may lie behind a gap, which costs a chunk of the signature at each of its ends.
        assert!(bytes <= 7 * MIB as u64 + 4 * AROUND, "round {round}: {bytes} bytes");
        let names: Vec<_> =
            fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["large.log"], "nothing is left of the interrupted sync");
    }
}

#[tokio::test]
async fn what_is_left_of_an_interrupted_sync_is_not_believed() {
    let pair = Pair::connect().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = noise(1, 4 * MIB);
    fs::write(from.path().join("large.log"), &content).unwrap();
    let key = blake3::hash(b"large.log").to_hex();
    let partial = to.path().join(format!(".swarmwire-part-{}", &key[..15]));
    let mut rotten = content[..3 * MIB].to_vec();
    rotten[MIB..MIB + 1000].fill(0);
    fs::write(&partial, &rotten).unwrap();
    let bytes = sync(&pair, from.path(), to.path(), options(Durability::Batch)).await;
    assert!(bytes <= MIB as u64 + 2 * AROUND, "{bytes}");
    assert!(!partial.exists());
}
