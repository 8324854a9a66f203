//! Hashes that are remembered save reading, and decide nothing: what somebody changed is seen, and a store that is gone or damaged costs time.

use std::{
    fs::{self, File, FileTimes},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmwire_common::{
    entry::Timestamp,
    hashes::HashStore,
    path::{Name, RelPath},
    root::Root,
    sync::{Stage, Tally},
    wire::sync::{Durability, SyncOptions},
};

use crate::{
    delta::noise,
    pair::Pair,
    sync::{assert_contains, destination, options, source},
};

/// A clock by which every change lies far back.
#[expect(clippy::disallowed_methods, reason = "the store compares it with the file system's")]
fn tomorrow() -> Timestamp {
    (SystemTime::now() + Duration::from_secs(86_400)).into()
}

struct Fixture {
    pair: Pair,
    dir: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("from/deep")).unwrap();
        fs::create_dir(dir.path().join("to")).unwrap();
        for number in 0..40 {
            fs::write(dir.path().join(format!("from/deep/{number}")), noise(number, 5_000)).unwrap();
        }
        for number in 0..2 {
            fs::write(dir.path().join(format!("from/large-{number}")), noise(100 + number, 3_000_000))
                .unwrap();
        }
        Self { pair: Pair::connect().await, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A sync by content; gives the bytes that were sent and whether the source and the destination have read anything.
    async fn sync(&self) -> (u64, [bool; 2]) {
        let store = |name| Arc::new(HashStore::new(self.path(name), tomorrow));
        let tallies: [Arc<Tally>; 2] = Default::default();
        let options = SyncOptions { checksum: true, ..options(Durability::None) };
        let source = source(&self.path("from"), None).remembering(store("hashes/of-source"));
        let destination = destination(&self.path("to"), "").remembering(store("hashes/of-destination"));
        let [sent, received] = self.pair.sync_counting(source, destination, options, &tallies).await;
        assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
        assert_eq!(sent.report.entries_failed, 0, "{:?}", sent.report.failed);
        assert_contains(&self.path("to"), &self.path("from"));
        let has_read = tallies
            .map(|tally| tally.stage_time(Stage::Read) + tally.stage_time(Stage::Hash) > Duration::ZERO);
        (sent.report.bytes_sent, has_read)
    }
}

/// Changes a byte and nothing else that a program can change.
fn alter(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 2_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 2_000).unwrap();
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
}

#[tokio::test]
async fn what_nobody_has_changed_is_read_once() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.sync().await.0, 40 * 5_000 + 2 * 3_000_000);
    assert_eq!(fixture.sync().await, (0, [true, true]), "small files were not hashed by themselves yet");
    assert_eq!(fixture.sync().await, (0, [false, false]));
}

#[tokio::test]
async fn a_file_that_was_altered_behind_our_back_is_repaired() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.sync().await;
    }
    for name in ["to/deep/7", "to/large-1", "from/deep/8", "from/large-0"] {
        alter(&fixture.path(name));
        let (sent, has_read) = fixture.sync().await;
        assert!((1..=5_000 + 2 * 32 * 1024).contains(&sent), "{name}: {sent}");
        assert_eq!(has_read, [true, true], "{name}");
        // What was altered is read once more, to be remembered.
        fixture.sync().await;
        assert_eq!(fixture.sync().await, (0, [false, false]), "{name}");
    }
}

/// Alone, so that nothing else holds the plan open while it is read.
#[tokio::test]
async fn a_large_file_that_differs_though_nothing_shows_it_is_repaired() {
    let fixture = Fixture::new().await;
    fs::remove_dir_all(fixture.path("from/deep")).unwrap();
    fs::remove_file(fixture.path("from/large-0")).unwrap();
    fixture.sync().await;
    for _ in 0..5 {
        alter(&fixture.path("to/large-1"));
        assert!((1..=2 * 32 * 1024).contains(&fixture.sync().await.0));
    }
}

#[tokio::test]
async fn a_store_that_is_gone_or_damaged_costs_time_only() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.sync().await;
    }
    let [of_source, of_destination] =
        ["hashes/of-source", "hashes/of-destination"].map(|name| fixture.path(name));
    type Damage = fn(&Path);
    let damage: [(&str, Damage); 5] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("noise", |path| fs::write(path, vec![0xa5; 100_000]).unwrap()),
        ("cut", |path| File::options().write(true).open(path).unwrap().set_len(10_000).unwrap()),
        ("bits", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.iter_mut().skip(4096).step_by(700).for_each(|byte| *byte ^= 4);
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (what, damage) in damage {
        damage(&of_source);
        damage(&of_destination);
        alter(&fixture.path("to/large-1"));
        let (sent, _) = fixture.sync().await;
        assert!(sent > 0, "{what}: what was altered is repaired");
        fixture.sync().await;
        assert_eq!(fixture.sync().await, (0, [false, false]), "{what}: and all is known again");
    }
    // Where there can be no store at all.
    fs::remove_dir_all(fixture.path("hashes")).unwrap();
    fs::write(fixture.path("hashes"), "in the way").unwrap();
    assert_eq!(fixture.sync().await, (0, [true, true]));
}

/// Content that has rotted on the disk has the times that it had when it was remembered. A log that grows over it is built from it.
#[tokio::test]
async fn a_file_that_is_not_what_is_remembered_is_repaired() {
    let fixture = Fixture::new().await;
    fixture.sync().await;
    let (log, copy) = (fixture.path("from/deep/7"), fixture.path("to/deep/7"));
    alter(&copy);
    let store = Arc::new(HashStore::new(fixture.path("hashes/of-destination"), tomorrow));
    let dir = Root::open(&fixture.path("to/deep")).unwrap().dir(&RelPath::root()).unwrap();
    let hash = blake3::hash(&fs::read(&log).unwrap());
    store.put(&dir.stat(Name::new(b"7").unwrap()).unwrap(), hash.into(), store.now());

    File::options().append(true).open(&log).unwrap().write_all(b"one more line\n").unwrap();
    let options = options(Durability::None);
    let failed = || async {
        let to = destination(&fixture.path("to"), "").remembering(store.clone());
        let [_, received] = fixture.pair.sync(source(&fixture.path("from"), None), to, options).await;
        received.report.entries_failed
    };
    assert_eq!(failed().await, 0);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&log).unwrap());
}
