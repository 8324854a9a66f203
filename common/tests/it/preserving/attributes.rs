//! Extended attributes, owners and special bits.

use super::*;

fn plant_attributed(top: &Path) {
    fs::create_dir(top.join("dir")).unwrap();
    fs::write(top.join("dir/a"), "alpha").unwrap();
    fs::write(top.join("large"), vec![7; 2_000_000]).unwrap();
    fs::write(top.join("read-only"), "x").unwrap();
    for name in ["", "dir", "dir/a", "large", "read-only"] {
        set_xattr(&top.join(name), "user.name", name).unwrap();
    }
    set_xattr(&top.join("large"), "user.empty", "").unwrap();
    fs::set_permissions(top.join("read-only"), Permissions::from_mode(0o444)).unwrap();
}

#[tokio::test]
async fn attributes_are_kept_and_one_that_changes_costs_no_content() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !can_set(from, "user.a") {
        return;
    }
    plant_attributed(from);
    kept(from, to, keeping(XATTRS)).await;
    assert_same(from, to);
    for name in ["", "dir", "dir/a", "large", "read-only"] {
        assert_eq!(xattr(&to.join(name), "user.name").as_deref(), Some(name.as_bytes()));
    }
    assert_eq!(xattr(&to.join("large"), "user.empty"), Some(vec![]));
    assert_settled(from, to, keeping(XATTRS)).await;

    fs::set_permissions(from.join("read-only"), Permissions::from_mode(0o644)).unwrap();
    for name in ["dir/a", "dir", "read-only"] {
        set_xattr(&from.join(name), "user.name", "another").unwrap();
    }
    fs::set_permissions(from.join("read-only"), Permissions::from_mode(0o444)).unwrap();
    rustix::fs::removexattr(from.join("large"), "user.empty").unwrap();
    set_xattr(&to.join("dir/a"), "user.surplus", "x").unwrap();
    let report = kept(from, to, keeping(XATTRS)).await.report;
    assert_eq!((report.bytes_sent, report.files_sent, report.files_unchanged), (0, 0, 3));
    assert_same(from, to);
    for name in ["dir/a", "dir", "read-only"] {
        assert_eq!(xattr(&to.join(name), "user.name").as_deref(), Some(&b"another"[..]), "{name}");
    }
    assert_eq!(xattr(&to.join("large"), "user.empty"), None);
    assert_eq!(xattr(&to.join("dir/a"), "user.surplus"), None);
    assert_settled(from, to, keeping(XATTRS)).await;

    // Without the option nothing is touched.
    set_xattr(&to.join("dir/a"), "user.own", "x").unwrap();
    fs::write(from.join("dir/a"), "new content").unwrap();
    kept(from, to, keeping(NOTHING)).await;
    assert_eq!(xattr(&to.join("dir/a"), "user.name"), None, "a new file has none");
}

#[tokio::test]
async fn a_disk_without_attributes_has_the_content_and_names_the_entries() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !can_set(from, "user.a") {
        return;
    }
    plant_attributed(from);
    fs::write(from.join("without"), "x").unwrap();
    for errno in [Errno::OPNOTSUPP, Errno::NOSPC] {
        let report = refused(from, to, XATTRS, (DiskOp::SetXattr, errno)).await.report;
        let mut failed: Vec<_> = report.failed.iter().map(|failure| failure.path.to_string()).collect();
        failed.sort();
        assert_eq!(failed, [".", "dir", "dir/a", "large", "read-only"]);
        assert!(report.failed[0].reason.starts_with("its extended attributes cannot be set: "));
        assert_same(from, to);
    }
}

#[tokio::test]
async fn attributes_that_are_too_many_are_named_and_left_as_they_are() {
    let to = tempfile::tempdir().unwrap();
    let to = to.path();
    // A file system in memory takes as many as one likes.
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return skipped("there is no /dev/shm") };
    let crowded = memory.path();
    if !can_set(crowded, "user.a") || !can_set(to, "user.a") {
        return;
    }
    fs::write(crowded.join("many"), "x").unwrap();
    fs::write(crowded.join("few"), "x").unwrap();
    for number in 0..257 {
        if set_xattr(&crowded.join("many"), &format!("user.{number}"), "").is_err() {
            return skipped("so many attributes cannot be set here");
        }
    }
    set_xattr(&crowded.join("few"), "user.a", "1").unwrap();
    fs::write(to.join("many"), "x").unwrap();
    set_xattr(&to.join("many"), "user.here", "1").unwrap();
    let time = fs::metadata(crowded.join("many")).unwrap().modified().unwrap();
    File::open(to.join("many")).unwrap().set_modified(time).unwrap();
    let report = synced(crowded, to, keeping(XATTRS)).await.report;
    let [failure] = report.failed.as_slice() else { panic!("{:?}", report.failed) };
    assert!(failure.path.to_string() == "many" && failure.reason.contains("more than 256"), "{failure:?}");
    assert_eq!(xattr(&to.join("many"), "user.here"), Some(b"1".to_vec()));
    assert_eq!(xattr(&to.join("few"), "user.a"), Some(b"1".to_vec()));
}

#[tokio::test]
async fn everything_that_root_may_keep_is_kept_and_put_right() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !is_root() || !can_set(from, "trusted.a") {
        return;
    }
    // A version-2 capability set (capability.h): cap_net_raw, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let grant = |path: &Path| {
        rustix::fs::setxattr(path, "security.capability", &capability, XattrFlags::empty()).unwrap();
    };
    fs::create_dir(from.join("dir")).unwrap();
    fs::write(from.join("dir/program"), "x").unwrap();
    fs::write(from.join("large"), vec![7; 1_500_000]).unwrap();
    symlink("large", from.join("link")).unwrap();
    for (number, name) in ["dir", "dir/program", "large", "link"].into_iter().enumerate() {
        let id = Some(number as u32 + 4000);
        std::os::unix::fs::lchown(from.join(name), id, id).unwrap();
        set_xattr(&from.join(name), "trusted.name", name).unwrap();
    }
    fs::set_permissions(from.join("dir"), Permissions::from_mode(0o3775)).unwrap();
    for name in ["dir/program", "large"] {
        fs::set_permissions(from.join(name), Permissions::from_mode(0o6755)).unwrap();
        grant(&from.join(name));
    }
    let assert_kept = || {
        assert_same(from, to);
        for name in ["dir", "dir/program", "large", "link"] {
            let [here, there] = [from, to].map(|top| fs::symlink_metadata(top.join(name)).unwrap());
            assert_eq!((there.uid(), there.gid()), (here.uid(), here.gid()), "{name}");
            assert_eq!(xattr(&to.join(name), "trusted.name").as_deref(), Some(name.as_bytes()), "{name}");
        }
        for name in ["dir/program", "large"] {
            assert_eq!(xattr(&to.join(name), "security.capability").as_deref(), Some(&capability[..]));
        }
    };
    kept(from, to, keeping(EVERYTHING)).await;
    assert_kept();
    assert_settled(from, to, keeping(EVERYTHING)).await;

    // A change of owner takes setuid and capabilities away, and both come back.
    for name in ["dir", "dir/program", "large", "link"] {
        std::os::unix::fs::lchown(to.join(name), Some(1), Some(1)).unwrap();
    }
    assert_eq!(xattr(&to.join("large"), "security.capability"), None);
    let report = kept(from, to, keeping(EVERYTHING)).await.report;
    assert_eq!((report.bytes_sent, report.files_unchanged), (0, 2));
    assert_kept();
    assert_settled(from, to, keeping(EVERYTHING)).await;

    // Nothing of it is taken unasked, and privileged attributes not by a destination that may not.
    let plain = tempfile::tempdir().unwrap();
    kept(from, plain.path(), keeping(NOTHING)).await;
    let stat = fs::metadata(plain.path().join("large")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o755, 0));
    let modest = tempfile::tempdir().unwrap();
    let pair = Pair::connect().await;
    let source = source(from, None).carrying(Namespaces::All);
    let [_, received] = pair.sync(source, destination(modest.path(), ""), keeping(XATTRS)).await;
    assert_eq!(received.report.entries_failed, 0, "{:?}", received.report.failed);
    assert_eq!(xattr(&modest.path().join("large"), "security.capability"), None);
    assert_eq!(xattr(&modest.path().join("large"), "trusted.name"), None);
}

#[tokio::test]
async fn an_owner_that_cannot_be_set_leaves_content_without_setuid_and_is_named() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    if !is_root() {
        return;
    }
    fs::write(from.join("program"), "x").unwrap();
    std::os::unix::fs::chown(from.join("program"), Some(1), Some(1)).unwrap();
    fs::set_permissions(from.join("program"), Permissions::from_mode(0o4755)).unwrap();
    let preserve = Preserve { owner: true, special_bits: true, ..NOTHING };
    // The owner comes first, and the mode after it.
    let gate = Arc::new(RefusesFirst { op: DiskOp::SetMetadata, is_done: Mutex::new(false) });
    let root = Arc::new(Root::open_gated(to, Some(gate)).unwrap());
    let destination = Destination::open(root, RelPath::root(), true, true).unwrap();
    let pair = Pair::connect().await;
    let [_, received] = pair.sync(source(from, None), destination, keeping(preserve)).await;
    let [failure] = received.report.failed.as_slice() else { panic!("{:?}", received.report.failed) };
    assert_eq!(failure.reason, "its owner cannot be set: operation not permitted");
    let stat = fs::metadata(to.join("program")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o755, 0));
    assert_eq!(received.report.files_sent, 1);
    kept(from, to, keeping(preserve)).await;
    assert_eq!(fs::metadata(to.join("program")).unwrap().mode() & 0o7777, 0o4755);
}

/// Refuses the first change of a kind.
#[derive(Debug)]
struct RefusesFirst {
    op: DiskOp,
    is_done: Mutex<bool>,
}

impl Gate for RefusesFirst {
    fn pass(&self, op: DiskOp, _name: &[u8]) -> io::Result<()> {
        let is_first = op == self.op && !std::mem::replace(&mut *self.is_done.lock().unwrap(), op == self.op);
        if is_first { Err(Errno::PERM.into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn special_bits_are_kept_only_where_they_are_asked_for() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let special = Preserve { special_bits: true, ..NOTHING };
    fs::create_dir(from.join("dir")).unwrap();
    fs::write(from.join("dir/file"), "x").unwrap();
    let set = |top: &Path, dir: u32, file: u32| {
        fs::set_permissions(top.join("dir"), Permissions::from_mode(dir)).unwrap();
        fs::set_permissions(top.join("dir/file"), Permissions::from_mode(file)).unwrap();
    };
    let modes = || ["dir", "dir/file"].map(|name| fs::metadata(to.join(name)).unwrap().mode() & 0o7777);
    set(from, 0o1777, 0o4755);
    kept(from, to, keeping(NOTHING)).await;
    assert_eq!(modes(), [0o777, 0o755]);
    assert_settled(from, to, keeping(NOTHING)).await;
    let report = kept(from, to, keeping(special)).await.report;
    assert_eq!((report.bytes_sent, report.files_unchanged), (0, 1));
    assert_eq!(modes(), [0o1777, 0o4755]);
    assert_settled(from, to, keeping(special)).await;
    set(from, 0o755, 0o755);
    kept(from, to, keeping(special)).await;
    assert_eq!(modes(), [0o755, 0o755]);
    // Those that a directory here has are its own matter, and inherited.
    set(to, 0o3750, 0o755);
    fs::create_dir(from.join("dir/new")).unwrap();
    kept(from, to, keeping(NOTHING)).await;
    assert_eq!(modes(), [0o3755, 0o755]);
    assert_eq!(fs::metadata(to.join("dir/new")).unwrap().mode() & 0o7777, 0o2755);
    assert_settled(from, to, keeping(NOTHING)).await;
}

/// Story: a dry run that compares content took a file of another owner or with other attributes for the same.
#[tokio::test]
async fn a_dry_run_by_content_tells_of_other_attributes() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if !can_set(from.path(), "user.a") {
        return;
    }
    fs::write(from.path().join("a"), b"the same").unwrap();
    kept(from.path(), to.path(), keeping(XATTRS)).await;
    set_xattr(&from.path().join("a"), "user.a", "1").unwrap();
    let pair = Pair::connect().await;
    let (telling, queue) = events();
    let options = SyncOptions { checksum: true, itemize: true, dry_run: true, ..keeping(XATTRS) };
    pair.sync(source(from.path(), None), destination(to.path(), "").telling(telling), options).await;
    let told: Vec<_> = std::iter::from_fn(|| queue.try_next()).map(|event| event.change).collect();
    assert_eq!(told, [Change::Metadata]);
}
