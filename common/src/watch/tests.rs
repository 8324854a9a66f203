//! What is heard of real directories.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::*;
use crate::wire::sync::{Rule, Selection as WireSelection};

const AT_ONCE: Pace = Pace { quiet: Duration::ZERO, patience: Duration::ZERO, not_before: None };

struct Watched {
    temp: tempfile::TempDir,
    watch: Watch,
    /// Told and not asked for.
    seen: BTreeSet<String>,
}

impl Watched {
    async fn start(prepare: impl FnOnce(&Path)) -> Self {
        Self::start_with(prepare, RelPath::root(), Selection::default(), News::default()).await
    }

    async fn start_with(
        prepare: impl FnOnce(&Path),
        path: RelPath,
        selection: Selection,
        news: News,
    ) -> Self {
        let temp = tempfile::tempdir().unwrap();
        prepare(temp.path());
        let root = Arc::new(Root::open(temp.path()).unwrap());
        let watch = Watch::start(root, path, Arc::new(selection), Arc::new(news)).unwrap();
        watch.news().ready().await.unwrap();
        Self { temp, watch, seen: BTreeSet::new() }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.temp.path().join(path)
    }

    async fn next(&self) -> Result<Seen, End> {
        timeout(Duration::from_secs(20), self.watch.news().next(&AT_ONCE)).await.expect("nothing is heard")
    }

    /// Waits until `path` is told, or a directory above it, which stands for it when it is as new.
    async fn hears(&mut self, path: &str) {
        let is_told =
            |seen: &BTreeSet<String>| seen.iter().any(|above| path.starts_with(&format!("{above}/")));
        while !self.seen.remove(path) && !is_told(&self.seen) {
            match self.next().await.unwrap() {
                Seen::Paths(paths) => self.seen.extend(paths.iter().map(ToString::to_string)),
                Seen::Everything => panic!("it knows no path, where {path} is expected"),
            }
        }
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

#[tokio::test]
async fn what_is_written_renamed_and_removed_is_told() {
    let mut watched = Watched::start(|top| {
        fs::create_dir_all(top.join("d/e")).unwrap();
        fs::write(top.join("d/e/old"), "").unwrap();
    })
    .await;
    fs::write(watched.at("a"), "x").unwrap();
    watched.hears("a").await;
    fs::rename(watched.at("a"), watched.at("d/b")).unwrap();
    watched.hears("a").await;
    watched.hears("d/b").await;
    fs::remove_file(watched.at("d/e/old")).unwrap();
    watched.hears("d/e/old").await;
    fs::set_permissions(watched.at("d"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    watched.hears("d").await;
}

#[tokio::test]
async fn new_directories_are_watched_and_renamed_ones_under_their_new_name() {
    let mut watched = Watched::start(|top| fs::create_dir(top.join("a!")).unwrap()).await;
    fs::create_dir_all(watched.at("a/b/c")).unwrap();
    watched.hears("a").await;
    fs::write(watched.at("a/b/c/file"), "").unwrap();
    watched.hears("a/b/c/file").await;
    fs::rename(watched.at("a"), watched.at("z")).unwrap();
    watched.hears("a").await;
    watched.hears("z").await;
    watched.seen.clear();
    fs::write(watched.at("z/b/c/file"), "again").unwrap();
    watched.hears("z/b/c/file").await;
    fs::write(watched.at("a!/file"), "").unwrap();
    watched.hears("a!/file").await;
    fs::remove_dir_all(watched.at("z")).unwrap();
    watched.hears("z").await;
    fs::create_dir_all(watched.at("z/b")).unwrap();
    watched.hears("z").await;
    fs::write(watched.at("z/b/file"), "").unwrap();
    watched.hears("z/b/file").await;
    assert!(!watched.seen.iter().any(|seen| seen.starts_with("a/")), "{:?}", watched.seen);
}

#[tokio::test]
async fn a_directory_that_is_moved_out_is_not_heard_of_and_links_are_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(|top| {
        fs::create_dir(top.join("d")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), top.join("link")).unwrap();
    })
    .await;
    fs::write(elsewhere.path().join("x"), "").unwrap();
    fs::rename(watched.at("d"), elsewhere.path().join("d")).unwrap();
    watched.hears("d").await;
    fs::write(elsewhere.path().join("d/x"), "").unwrap();
    fs::write(watched.at("last"), "").unwrap();
    watched.hears("last").await;
    assert!(watched.seen.is_empty(), "{:?}", watched.seen);
}

#[tokio::test]
async fn what_is_left_out_is_neither_watched_nor_told() {
    let rules =
        vec![Rule { takes: false, pattern: "*.tmp".into() }, Rule { takes: false, pattern: "out/".into() }];
    let selection = Selection::from_wire(WireSelection { rules, ..WireSelection::default() }).unwrap();
    let mut watched = Watched::start_with(
        |top| fs::create_dir(top.join("out")).unwrap(),
        RelPath::root(),
        selection,
        News::default(),
    )
    .await;
    fs::write(watched.at("x.tmp"), "").unwrap();
    fs::write(watched.at(".swarmwire-x"), "").unwrap();
    fs::write(watched.at("out/x"), "").unwrap();
    fs::write(watched.at("last"), "").unwrap();
    watched.hears("last").await;
    assert!(watched.seen.is_empty(), "{:?}", watched.seen);
}

#[tokio::test]
async fn a_file_is_watched_by_its_name() {
    let prepare = |top: &Path| {
        fs::write(top.join("app.log"), "").unwrap();
    };
    let watched = Watched::start_with(prepare, path("app.log"), Selection::default(), News::default()).await;
    fs::write(watched.at("other"), "").unwrap();
    fs::rename(watched.at("app.log"), watched.at("app.log.1")).unwrap();
    assert_eq!(watched.next().await, Ok(Seen::Everything));
    fs::write(watched.at("app.log"), "new").unwrap();
    assert_eq!(watched.next().await, Ok(Seen::Everything));
}

#[tokio::test]
async fn a_top_that_is_removed_ends_the_watch() {
    for remove in [|top: &Path| fs::remove_dir(top), |top: &Path| fs::rename(top, top.with_file_name("b"))] {
        let prepare = |top: &Path| fs::create_dir(top.join("a")).unwrap();
        let watched = Watched::start_with(prepare, path("a"), Selection::default(), News::default()).await;
        remove(&watched.at("a")).unwrap();
        assert_eq!(watched.next().await, Err(End::Gone));
    }
}

#[tokio::test]
async fn too_many_changes_become_one_of_everything() {
    let news = News::bounded(2);
    let watched = Watched::start_with(|_| {}, RelPath::root(), Selection::default(), news).await;
    for number in 0..20 {
        fs::write(watched.at(&number.to_string()), "").unwrap();
    }
    fs::write(watched.at("last"), "").unwrap();
    let news = watched.watch.news();
    let pace =
        Pace { quiet: Duration::from_millis(200), patience: Duration::from_secs(20), not_before: None };
    let seen = timeout(Duration::from_secs(30), news.next(&pace)).await.unwrap();
    assert_eq!(seen, Ok(Seen::Everything));
    assert!(news.is_idle());
}

#[tokio::test]
async fn news_wait_until_they_are_due() {
    let news = News::default();
    let earliest = Instant::now() + Duration::from_millis(50);
    news.tell([path("a")], Instant::now());
    let seen = news.next(&Pace { not_before: Some(earliest), ..AT_ONCE }).await;
    assert_eq!(seen, Ok(Seen::Paths(vec![path("a")])));
    assert!(Instant::now() >= earliest);
    news.tell_end(End::Gone);
    news.tell_end(End::Refused(String::new()));
    assert_eq!(news.next(&AT_ONCE).await, Err(End::Gone));
}
