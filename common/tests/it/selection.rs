//! What takes part in a sync, through the whole engine: the source leaves out what is not selected and says what it cannot find.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use swarmwire_common::{
    entry::{Kind, Metadata},
    filter::{List, Selection},
    limits::CONTROL_FRAME_BYTES_MAX,
    path::RelPath,
    sync::{Outcome, Router, Tally, receive, send},
    wire::{
        status::Status,
        sync::{
            Deletion, DestinationMessage, Durability, Listed, ListingEntry, Rule, Run, Selection as Wire,
            SourceMessage, SyncOptions,
        },
    },
};

use crate::{
    pair::Pair,
    sync::{destination, options, source},
};

pub(crate) fn selection(wire: Wire) -> Arc<Selection> {
    Arc::new(Selection::from_wire(wire).unwrap())
}

pub(crate) fn excluding(patterns: &[&str]) -> Wire {
    let rules = patterns.iter().map(|&pattern| Rule { takes: false, pattern: pattern.into() }).collect();
    Wire { rules, ..Wire::default() }
}

fn listing(paths: &[&str]) -> Wire {
    Wire {
        listed: Listed::Paths(paths.iter().map(|path| path.as_bytes().to_vec()).collect()),
        ..Wire::default()
    }
}

/// Paths below `top`, directories with a slash at the end.
fn names(top: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let is_directory = fs::symlink_metadata(&path).unwrap().is_dir();
            let slash = if is_directory { "/" } else { "" };
            names.push(format!("{}{slash}", path.strip_prefix(top).unwrap().to_str().unwrap()));
            if is_directory {
                directories.push(path);
            }
        }
    }
    names.sort();
    names
}

fn plant(top: &Path) {
    for (name, size) in
        [("a.log", 1), ("a.txt", 100), ("d/b.log", 1), ("d/e/c.log", 5000), ("d/e/c.txt", 2), ("tmp/x/y", 3)]
    {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; size]).unwrap();
    }
    symlink("a.txt", top.join("link")).unwrap();
}

/// Syncs `from` into a new directory; gives what arrived, and what failed as `path: reason`.
async fn synced(from: &Path, ours: Arc<Selection>, theirs: Arc<Selection>) -> (Vec<String>, Vec<String>) {
    let to = tempfile::tempdir().unwrap();
    let source = source(from, None).selecting(ours).unwrap();
    let destination = destination(to.path(), "").selecting(theirs);
    let [sent, received] = Pair::connect().await.sync(source, destination, options(Durability::None)).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    (names(to.path()), failures(&received))
}

fn failures(outcome: &Outcome) -> Vec<String> {
    outcome.report.failed.iter().map(|failure| format!("{}: {}", failure.path, failure.reason)).collect()
}

#[tokio::test]
async fn only_what_is_selected_arrives() {
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    let everything = [
        "a.log",
        "a.txt",
        "d/",
        "d/b.log",
        "d/e/",
        "d/e/c.log",
        "d/e/c.txt",
        "link",
        "tmp/",
        "tmp/x/",
        "tmp/x/y",
    ];
    let sizes = Wire { size_min: Some(2), size_max: Some(100), ..Wire::default() };
    let matching = Wire { matching: Some("^(d/)?[ab]".into()), ..Wire::default() };
    for (wire, expected) in [
        (Wire::default(), &everything[..]),
        (excluding(&["*.log", "/tmp"]), &["a.txt", "d/", "d/e/", "d/e/c.txt", "link"]),
        (excluding(&["d/e/**", "tmp/", "link"]), &["a.log", "a.txt", "d/", "d/b.log", "d/e/"]),
        (matching, &["a.log", "a.txt", "d/", "d/b.log", "d/e/", "tmp/", "tmp/x/"]),
        (sizes, &["a.txt", "d/", "d/e/", "d/e/c.txt", "link", "tmp/", "tmp/x/", "tmp/x/y"]),
        (listing(&["a.log", "d/e"]), &["a.log", "d/", "d/e/", "d/e/c.log", "d/e/c.txt"]),
        (
            Wire { rules: excluding(&["*.log"]).rules, ..listing(&["a.log", "d/e"]) },
            &["d/", "d/e/", "d/e/c.txt"],
        ),
        (Wire { one_file_system: true, ..Wire::default() }, &everything),
    ] {
        let told = format!("{wire:?}");
        let (arrived, failed) = synced(from.path(), selection(wire), Arc::default()).await;
        assert_eq!((arrived, failed), (expected.iter().map(ToString::to_string).collect(), vec![]), "{told}");
    }
}

#[tokio::test]
async fn what_is_listed_and_not_there_is_named_and_the_rest_arrives() {
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    let listed = listing(&["a.log", "a.log/x", "d/none", "none/at/all", "tmp/gone"]);
    let wire = Wire { rules: excluding(&["/tmp"]).rules, ..listed };
    let (arrived, failed) = synced(from.path(), selection(wire), Arc::default()).await;
    assert_eq!(arrived, ["a.log", "d/"]);
    let told = ["a.log/x", "d/none", "none/at/all"];
    assert_eq!(failed, told.map(|path| format!("{path}: is in the list of files and was not found")));
}

#[tokio::test]
async fn a_long_list_is_told_by_the_destination_before_anything_else() {
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    let mut list = List::default();
    for number in 0..20_000 {
        list.push(RelPath::parse(format!("not-there/{number:05}").as_bytes()).unwrap()).unwrap();
    }
    list.push(RelPath::parse(b"d/e").unwrap()).unwrap();
    let knows = Arc::new(Selection::default().listing(list));
    let awaits = selection(knows.to_wire());
    assert!(awaits.awaits_list());
    let to = tempfile::tempdir().unwrap();
    let [sent, received] = Pair::connect()
        .await
        .sync(
            source(from.path(), None).selecting(awaits).unwrap(),
            destination(to.path(), "").selecting(knows),
            options(Durability::None),
        )
        .await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert_eq!(names(to.path()), ["d/", "d/e/", "d/e/c.log", "d/e/c.txt"]);
    assert_eq!(received.report.entries_failed, 20_000);
}

#[tokio::test]
async fn a_list_that_nobody_waits_for_ends_the_sync() {
    let from = tempfile::tempdir().unwrap();
    let mut list = List::default();
    for number in 0..5000 {
        list.push(RelPath::parse(format!("not-there/{number:05}").as_bytes()).unwrap()).unwrap();
    }
    let to = tempfile::tempdir().unwrap();
    let destination = destination(to.path(), "").selecting(Arc::new(Selection::default().listing(list)));
    let [sent, _] =
        Pair::connect().await.sync(source(from.path(), None), destination, options(Durability::None)).await;
    let told = sent.error.unwrap().to_string();
    assert!(told.contains("a list of paths that was not awaited"), "{told}");
}

#[tokio::test]
async fn a_destination_that_says_anything_else_than_its_list_is_refused() {
    let run = |count| Run { first: 0, count };
    let select = |paths: &[&str]| {
        DestinationMessage::Select(paths.iter().map(|path| path.as_bytes().to_vec()).collect())
    };
    for (messages, told) in [
        (vec![DestinationMessage::Want(vec![run(1)])], "before its list is complete"),
        (vec![select(&["a"]), DestinationMessage::PlanEnd], "before its list is complete"),
        (vec![select(&[])], "before its list is complete"),
        (vec![select(&["a", "/etc/passwd"])], "no path, or too many"),
        (vec![select(&["a/../../b"])], "no path, or too many"),
        (vec![select(&["x"; 200_000]), select(&["x"; 100_000])], "no path, or too many"),
        (vec![select(&["a"]), DestinationMessage::SelectEnd, DestinationMessage::SelectEnd], "not awaited"),
    ] {
        let (from, pair) = (tempfile::tempdir().unwrap(), Pair::connect().await);
        let awaits = selection(Wire { listed: Listed::Apart, ..Wire::default() });
        let [ours, mut theirs] = pair.channel().await;
        let router = Router::new();
        let link = pair.controller_link(&router, ours);
        let source = source(from.path(), None).selecting(awaits).unwrap();
        let playing = async {
            for message in &messages {
                theirs.send.send(message).await.unwrap();
            }
            loop {
                match theirs.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await.unwrap() {
                    SourceMessage::Aborted { status, reason } => break (Status::from(status), reason),
                    _listing => {}
                }
            }
        };
        let (outcome, (status, reason)) =
            tokio::join!(send(link, source, SyncOptions::default(), Arc::new(Tally::default())), playing);
        assert_eq!(status, Status::Invalid);
        assert!(reason.contains(told) && outcome.error.unwrap().to_string().contains(told), "{reason}");
    }
}

/// A source that says these messages, of a sync that selects this, is refused by the destination, which has nothing then.
async fn refused_of(wire: Wire, messages: &[SourceMessage], told: &str, shown: &str) {
    let (to, pair) = (tempfile::tempdir().unwrap(), Pair::connect().await);
    let [mut theirs, ours] = pair.channel().await;
    let router = Router::new();
    let link = pair.gateway_link(&router, ours);
    let place = destination(to.path(), "").selecting(selection(wire));
    let playing = async {
        for message in messages {
            theirs.send.send(message).await.unwrap();
        }
        loop {
            match theirs.recv.recv::<_, CONTROL_FRAME_BYTES_MAX>().await.unwrap() {
                DestinationMessage::Aborted { status, reason } => break (Status::from(status), reason),
                DestinationMessage::PlanEnd => panic!("{shown} was planned"),
                _progress => {}
            }
        }
    };
    let (outcome, (status, reason)) =
        tokio::join!(receive(link, place, SyncOptions::default(), Arc::new(Tally::default())), playing);
    assert_eq!(status, Status::Invalid, "{shown}");
    assert!(reason.contains(told) && outcome.error.unwrap().to_string().contains(told), "{shown}: {reason}");
    assert!(names(to.path()).is_empty(), "{shown}");
}

#[tokio::test]
async fn a_source_that_says_anything_else_than_its_list_is_refused() {
    let select =
        |paths: &[&str]| SourceMessage::Select(paths.iter().map(|path| path.as_bytes().to_vec()).collect());
    let top = SourceMessage::Top {
        name: Vec::new(),
        entry: Kind::Directory,
        metadata: Metadata::default(),
        extra: None,
    };
    for (listed, messages, told) in [
        (Listed::Apart, vec![top], "before its list is complete"),
        (Listed::Apart, vec![select(&[])], "before its list is complete"),
        (Listed::Apart, vec![select(&["a", "/etc/passwd"])], "no path, or too many"),
        (Listed::Apart, vec![select(&["x"; 200_000]), select(&["x"; 100_000])], "no path, or too many"),
        (
            Listed::Apart,
            vec![select(&["a"]), SourceMessage::SelectEnd, SourceMessage::SelectEnd],
            "not awaited",
        ),
        (Listed::All, vec![select(&["a"])], "not awaited"),
    ] {
        refused_of(Wire { listed, ..Wire::default() }, &messages, told, told).await;
    }
}

/// A source may not choose what is written at the destination: neither at once nor in a round of a watch, where a log may have been rotated.
#[tokio::test]
async fn a_source_that_lists_what_was_not_asked_for_is_refused() {
    let file = |name: &str| (name.to_owned(), Kind::File { size: 1 });
    let directory = |name: &str| (name.to_owned(), Kind::Directory);
    let link = |name: &str| (name.to_owned(), Kind::Symlink { target: b"x".to_vec() });
    let rules = excluding(&["*.3"]).rules;
    for (missing_ok, (name, kind)) in [
        (false, file("other")),
        (false, file("log.1")),
        (false, directory("dir")),
        (true, file("other")),
        (true, file("a-way")),
        (true, file("log.1.gz")),
        (true, file("log.01")),
        (true, directory("log.1")),
        (true, link("log.1")),
        // That of another directory.
        (true, file("changed.1")),
        (true, file("log.3")),
    ] {
        let wire = Wire { missing_ok, rules: rules.clone(), ..listing(&["log", "a-way/changed"]) };
        let shown = format!("{missing_ok} {name} {kind:?}");
        let top = SourceMessage::Top {
            name: Vec::new(),
            entry: Kind::Directory,
            metadata: Metadata::default(),
            extra: None,
        };
        let entry =
            ListingEntry { name: name.into_bytes(), kind, metadata: Metadata::default(), extra: None };
        let listing = SourceMessage::Listing { directory: 0, entries: vec![entry] };
        refused_of(wire, &[top, listing], "it lists what was not asked for", &shown).await;
    }
}

/// A round of a watch: what is listed and gone is removed and no failure, what nobody has told of is left alone, and what a listed log
/// has been rotated to comes with it.
#[tokio::test]
async fn a_round_is_about_what_has_changed_and_removes_what_is_gone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = |number: usize| format!("{number} of many lines\n").repeat(400);
    for (at, path, content) in [
        (&from, "log.1", log(1)),
        (&from, "log", "new\n".to_owned()),
        (&from, "d/changed", "b".to_owned()),
        (&from, "d/not told", "b".to_owned()),
        (&to, "log", log(1)),
        (&to, "gone", "a".to_owned()),
        (&to, "gone dir/x", "a".to_owned()),
        (&to, "d/changed", "aa".to_owned()),
        (&to, "d/extra", "a".to_owned()),
        (&to, "extra", "a".to_owned()),
    ] {
        let path = at.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let listed = ["log", "gone", "gone dir", "d/changed", "never/there"].map(|path| path.as_bytes().to_vec());
    let wire = Wire { listed: Listed::Paths(listed.to_vec()), missing_ok: true, ..Wire::default() };
    let selected = || selection(wire.clone());
    let source = source(from.path(), None).selecting(selected()).unwrap();
    let place = destination(to.path(), "").selecting(selected());
    let options = SyncOptions { delete: Deletion::All, ..SyncOptions::default() };
    let [sent, received] = Pair::connect().await.sync(source, place, options).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert_eq!((sent.report.entries_failed, sent.report.entries_deleted), (0, 3), "{:?}", sent.report);
    assert!(sent.report.bytes_sent < 100, "{} bytes were sent for a rotated log", sent.report.bytes_sent);
    let has = |path: &str| fs::read_to_string(to.path().join(path)).ok();
    assert_eq!((has("log"), has("log.1")), (Some("new\n".to_owned()), Some(log(1))));
    assert_eq!((has("gone"), has("gone dir/x"), has("d/not told")), (None, None, None));
    let extra = Some("a".to_owned());
    assert_eq!(
        (has("d/changed"), has("d/extra"), has("extra")),
        (Some("b".to_owned()), extra.clone(), extra)
    );
}

#[tokio::test]
async fn links_are_followed_below_the_top_and_named_where_they_lead_elsewhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let from = outside.path().join("tree");
    fs::create_dir(&from).unwrap();
    plant(&from);
    for (target, name) in [
        ("d/e", "to-dir"),
        ("../a.txt", "d/to-file"),
        ("to-dir/c.log", "through"),
        ("../secret", "out"),
        ("to-dir/../../../secret", "far-out"),
        ("/etc/passwd", "absolute"),
        ("nothing", "dangling"),
        ("self", "self"),
        ("..", "d/e/up"),
        ("../../tmp/x", "d/e/side"),
    ] {
        symlink(target, from.join(name)).unwrap();
    }
    let wire = Wire { follow_links: true, rules: excluding(&["absolute"]).rules, ..Wire::default() };
    let to = tempfile::tempdir().unwrap();
    let source = source(&from, None).selecting(selection(wire)).unwrap();
    let [sent, received] =
        Pair::connect().await.sync(source, destination(to.path(), ""), options(Durability::None)).await;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    let failed = failures(&received);
    for (path, reason) in [
        ("out", "leads outside"),
        ("far-out", "leads outside"),
        ("dangling", "leads to nothing"),
        ("self", "in a circle"),
        ("d/e/up", "in a circle"),
    ] {
        let found = failed.iter().any(|told| told.starts_with(&format!("{path}: ")) && told.contains(reason));
        assert!(found, "{path} is not named in {failed:?}");
    }
    assert!(!failed.iter().any(|told| told.starts_with("absolute")), "{failed:?}");
    for (name, size) in
        [("to-dir/c.log", 5000), ("d/to-file", 100), ("through", 5000), ("link", 100), ("d/e/side/y", 3)]
    {
        let path = to.path().join(name);
        assert_eq!(fs::read(&path).unwrap(), vec![b'x'; size], "{name}");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
    assert!(fs::symlink_metadata(to.path().join("to-dir")).unwrap().is_dir());
    assert!(names(to.path()).iter().all(|name| !name.contains("out")), "{:?}", names(to.path()));
}

#[test]
fn a_single_file_is_refused_where_bounds_leave_it_out_and_no_rule_applies_to_it() {
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    let open = |wire| {
        let root = Arc::new(swarmwire_common::root::Root::open(from.path()).unwrap());
        let path = RelPath::parse(b"a.txt").unwrap();
        swarmwire_common::sync::Source::open(root, path, None).unwrap().selecting(selection(wire)).map(drop)
    };
    for (wire, told) in [
        (excluding(&["*"]), None),
        (Wire { matching: Some("^b".into()), ..Wire::default() }, None),
        (Wire { size_max: Some(100), ..Wire::default() }, None),
        (Wire { size_max: Some(99), ..Wire::default() }, Some("leave out")),
        (listing(&["x"]), Some("needs a directory")),
        (Wire { listed: Listed::Apart, ..Wire::default() }, Some("needs a directory")),
    ] {
        let found = open(wire).err().map(|err| err.to_string());
        match told {
            None => assert_eq!(found, None),
            Some(told) => assert!(found.as_ref().is_some_and(|found| found.contains(told)), "{found:?}"),
        }
    }
}
