//! Files with several names.

use super::*;

#[tokio::test]
async fn a_file_with_a_hundred_names_is_sent_once_and_has_them_all() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let content: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    fs::create_dir_all(from.join("m/sub")).unwrap();
    fs::write(from.join("m/first"), &content).unwrap();
    for number in 0..99 {
        let name = if number % 2 == 0 { format!("{number}") } else { format!("m/sub/{number}") };
        fs::hard_link(from.join("m/first"), from.join(name)).unwrap();
    }
    fs::write(from.join("alone"), "x").unwrap();
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let to = to.join(format!("{durability:?}"));
        fs::create_dir(&to).unwrap();
        let options = SyncOptions { durability, ..keeping(HARD_LINKS) };
        let report = kept(from, &to, options).await.report;
        assert_eq!((report.files_total, report.files_sent), (101, 101));
        assert_eq!((report.bytes_total, report.bytes_sent), (10_000_001, 10_000_001));
        let durable = if durability == Durability::None { 0 } else { 101 };
        assert_eq!((report.received, report.verified, report.durable), (101, 101, durable));
        assert_same(from, &to);
        assert_eq!(fs::metadata(to.join("m/sub/1")).unwrap().nlink(), 100);
        assert_eq!(inode(&to.join("0")), inode(&to.join("m/first")));
        assert_settled(from, &to, options).await;
    }
    let apart = tempfile::tempdir().unwrap();
    kept(from, apart.path(), keeping(NOTHING)).await;
    assert_eq!(fs::metadata(apart.path().join("0")).unwrap().nlink(), 1, "nobody asked");
}

#[tokio::test]
async fn links_are_put_right_at_the_destination_without_content() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    fs::write(from.join("a"), vec![7; 300_000]).unwrap();
    for name in ["b", "c", "d", "e"] {
        fs::hard_link(from.join("a"), from.join(name)).unwrap();
    }
    kept(from, to, keeping(NOTHING)).await;
    // One that is right, one that is another file, one that is gone, one that is a symlink, and those that are files of their own.
    fs::remove_file(to.join("b")).unwrap();
    fs::hard_link(to.join("a"), to.join("b")).unwrap();
    fs::write(to.join("c"), "something else").unwrap();
    fs::remove_file(to.join("d")).unwrap();
    fs::remove_file(to.join("e")).unwrap();
    symlink("a", to.join("e")).unwrap();
    let report = kept(from, to, keeping(HARD_LINKS)).await.report;
    assert_eq!((report.bytes_sent, report.files_unchanged, report.files_sent), (0, 2, 3));
    assert_same(from, to);
    assert_eq!(fs::metadata(to.join("a")).unwrap().nlink(), 5);

    // The file itself becomes another, and with it all its names.
    fs::write(from.join("c"), "new").unwrap();
    let report = kept(from, to, keeping(HARD_LINKS)).await.report;
    assert_eq!((report.bytes_sent, report.files_sent), (3, 5));
    assert_eq!(fs::metadata(to.join("e")).unwrap().nlink(), 5);
    assert_settled(from, to, keeping(HARD_LINKS)).await;
}

#[tokio::test]
async fn what_is_to_be_left_alone_is_no_file_to_link_to() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    fs::write(from.join("a"), "new").unwrap();
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    fs::hard_link(from.join("a"), from.join("c")).unwrap();
    fs::write(to.join("a"), "kept").unwrap();
    fs::write(to.join("b"), "kept too").unwrap();
    let options = SyncOptions { keep: Keep::Existing, ..keeping(HARD_LINKS) };
    let report = synced(from, to, options).await.report;
    assert_eq!(fs::read(to.join("a")).unwrap(), b"kept");
    assert_eq!(fs::read(to.join("b")).unwrap(), b"kept too");
    assert!(!to.join("c").exists(), "it would have another content than at the source");
    let failed: Vec<_> = report.failed.iter().map(|failure| failure.path.to_string()).collect();
    assert_eq!(failed, ["b", "c"]);
}

#[tokio::test]
async fn links_fail_by_name_with_their_file_or_where_none_can_be_made() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    fs::write(from.join("a"), "x").unwrap();
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    let report = refused(from, to, HARD_LINKS, (DiskOp::Rename, Errno::NOSPC)).await.report;
    assert_eq!(report.entries_failed, 2, "{:?}", report.failed);
    assert!(report.failed[1].reason.contains("of which it is another name"), "{:?}", report.failed);
    assert!(!to.join("a").exists() && !to.join("b").exists());

    let report = refused(from, to, HARD_LINKS, (DiskOp::HardLink, Errno::MLINK)).await.report;
    assert_eq!(report.entries_failed, 1, "{:?}", report.failed);
    assert!(report.failed[0].reason.contains("too many links"), "{:?}", report.failed);
    assert_eq!(fs::read(to.join("a")).unwrap(), b"x");
    // A directory in the way stays without `--delete`.
    fs::create_dir(to.join("b")).unwrap();
    let report = synced(from, to, keeping(HARD_LINKS)).await.report;
    assert!(report.failed[0].reason.contains("a directory is in the way"), "{:?}", report.failed);
}

/// Files of a source that have one content are one file here. Under each name a time is due, or other content, and to set the one is no change
/// by somebody else that would stand in the way of the rest.
#[tokio::test]
async fn names_of_one_file_that_are_several_at_the_source_do_not_stand_in_each_others_way() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let age = |path: &Path, seconds: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    for content in [vec![], vec![7; 2_000_000]] {
        for preserve in [NOTHING, HARD_LINKS] {
            fs::write(to.join("a"), &content).unwrap();
            age(&to.join("a"), 1);
            for name in ["0", "b", "c"] {
                let _old = fs::remove_file(to.join(name));
                fs::hard_link(to.join("a"), to.join(name)).unwrap();
            }
            for (seconds, name) in [(2, "a"), (3, "b")] {
                fs::write(from.join(name), &content).unwrap();
                age(&from.join(name), seconds);
            }
            for name in ["0", "c"] {
                fs::write(from.join(name), "something else").unwrap();
            }
            kept(from, to, keeping(preserve)).await;
            for name in ["0", "a", "b", "c"] {
                assert_eq!(fs::read(to.join(name)).unwrap(), fs::read(from.join(name)).unwrap(), "{name}");
            }
        }
    }
}
