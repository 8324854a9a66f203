//! Where a path leads, and where it must not.

use std::{fs, os::unix::fs::symlink, thread};

use rustix::io::Errno;

use super::{Place, assert_fails, both, name, names_at, path};
use crate::{
    limits,
    path::{Name, RelPath},
    root::{EntryType, Root},
};

#[test]
fn a_path_that_climbs_cannot_be_said() {
    for climbing in ["..", "../outside", "a/..", "a/../../outside", "a/../b"] {
        assert!(RelPath::parse(climbing.as_bytes()).is_err(), "{climbing}");
        assert!(RelPath::from_wire(climbing.into()).is_err(), "{climbing}");
        assert!(Name::new(climbing.as_bytes()).is_err(), "{climbing}");
    }
    assert!(Name::new(b".").is_err());
}

#[test]
fn a_link_is_no_component_wherever_it_points() {
    both(|place| {
        fs::create_dir_all(place.inside("real/sub")).unwrap();
        symlink("../outside", place.inside("first")).unwrap();
        let outside = place.outside();
        let real = place.inside("real");
        for (link, target) in [
            ("relative", "../outside".as_ref()),
            ("absolute", outside.as_path()),
            ("chained", "first".as_ref()),
            ("to-inside", "real".as_ref()),
            ("to-inside-absolute", real.as_path()),
            ("to-itself", "to-itself".as_ref()),
            ("dangling", "nowhere".as_ref()),
            ("dot", ".".as_ref()),
            ("magic", "/proc/self/cwd".as_ref()),
        ] {
            symlink(target, place.inside(link)).unwrap();
            symlink(target, place.inside("real").join(link)).unwrap();
            for through in [link.to_owned(), format!("real/{link}")] {
                assert_fails(place.root.dir(&path(&through)), Errno::LOOP);
                assert_fails(place.root.dir(&path(&format!("{through}/sub"))), Errno::LOOP);
                assert_fails(place.root.stat(&path(&format!("{through}/secret"))), Errno::LOOP);
                assert_fails(place.root.create_dir_all(&path(&format!("{through}/new"))), Errno::LOOP);
            }
        }
        place.assert_outside_untouched();
        assert_eq!(names_at(&place.inside("real/sub")), [""; 0]);
    });
}

#[test]
fn a_link_at_the_end_is_the_entry_itself() {
    both(|place| {
        symlink("../outside/secret", place.inside("link")).unwrap();
        let stat = place.root.stat(&path("link")).unwrap();
        assert_eq!(stat.entry_type, EntryType::Symlink);
        assert_eq!(place.top().read_link(name("link")).unwrap(), b"../outside/secret");
        assert_fails(place.top().open_file(name("link")), Errno::LOOP);
        assert_fails(place.top().open_dir(name("link")), Errno::LOOP);
    });
}

#[test]
fn a_file_or_nothing_in_the_way_is_told_apart_from_a_link() {
    both(|place| {
        fs::write(place.inside("file"), "").unwrap();
        for through in ["file", "file/below"] {
            assert_fails(place.root.dir(&path(through)), Errno::NOTDIR);
        }
        assert_fails(place.root.create_dir_all(&path("file/below")), Errno::NOTDIR);
        assert_fails(place.root.dir(&path("missing/below")), Errno::NOENT);
        assert_fails(place.root.stat(&path("missing")), Errno::NOENT);
    });
}

#[test]
fn the_top_may_be_reached_through_a_link() {
    let place = Place::new();
    fs::write(place.outside().join("app.log"), "x").unwrap();
    symlink(place.outside(), place.inside("top")).unwrap();
    let root = Root::open(&place.inside("top")).unwrap();
    assert_eq!(root.stat(&path("app.log")).unwrap().size, 1);
    assert_eq!(root.path(), place.inside("top"));
    assert_eq!(root.stat(&RelPath::root()).unwrap().entry_type, EntryType::Directory);
    assert_fails(Root::open(&place.outside().join("app.log")), Errno::NOTDIR);
}

#[test]
fn work_goes_to_the_directory_that_was_opened_when_a_link_takes_its_name() {
    both(|place| {
        fs::create_dir_all(place.inside("a/b")).unwrap();
        fs::write(place.inside("a/secret"), "ours").unwrap();
        let dir = place.root.dir(&path("a")).unwrap();
        fs::rename(place.inside("a"), place.inside("moved")).unwrap();
        symlink("../outside", place.inside("a")).unwrap();

        dir.create_file(name("new")).unwrap().write_at(0, b"x").unwrap();
        dir.create_dir(name("sub"), 0o755).unwrap();
        dir.create_symlink(name("link"), b"t").unwrap();
        dir.rename(name("new"), &dir, name("newer")).unwrap();
        dir.remove_file(name("secret")).unwrap();
        dir.remove_dir(name("b")).unwrap();

        assert_eq!(names_at(&place.inside("moved")), ["link", "newer", "sub"]);
        assert_eq!(dir.names().unwrap(), [&b"link"[..], b"newer", b"sub"]);
        place.assert_outside_untouched();
        assert_fails(place.root.dir(&path("a")), Errno::LOOP);
        assert_fails(place.root.stat(&path("a/secret")), Errno::LOOP);
    });
}

#[test]
fn a_directory_removed_under_our_feet_takes_nothing_more() {
    both(|place| {
        fs::create_dir(place.inside("a")).unwrap();
        let dir = place.root.dir(&path("a")).unwrap();
        fs::remove_dir(place.inside("a")).unwrap();
        assert_fails(dir.create_file(name("f")), Errno::NOENT);
        assert_fails(dir.names(), Errno::NOENT);
    });
}

#[test]
fn missing_parents_are_made_and_standing_ones_kept() {
    both(|place| {
        fs::create_dir(place.inside("a")).unwrap();
        fs::write(place.inside("a/kept"), "x").unwrap();
        let made = place.root.create_dir_all(&path("a/b/c")).unwrap();
        made.create_file(name("f")).unwrap();
        assert_eq!(names_at(&place.inside("a")), ["b", "kept"]);
        assert_eq!(names_at(&place.inside("a/b/c")), ["f"]);
        let top = place.root.create_dir_all(&RelPath::root()).unwrap();
        assert_eq!(top.stat_self().unwrap().inode, place.top().stat_self().unwrap().inode);
    });
}

#[test]
fn many_threads_may_make_the_same_directory() {
    both(|place| {
        let made = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| place.root.create_dir_all(&path("a/b/c/d")).unwrap()))
                .collect();
            let inode = |dir: crate::root::Dir| dir.stat_self().unwrap().inode;
            threads.into_iter().map(|thread| inode(thread.join().unwrap())).collect::<Vec<_>>()
        });
        assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "{made:?}");
    });
}

#[test]
fn the_longest_path_can_be_reached() {
    both(|place| {
        let component = "d".repeat(limits::NAME_BYTES_MAX);
        let deepest = path(&vec![component; 16].join("/"));
        assert_eq!(deepest.as_bytes().len(), limits::PATH_BYTES_MAX);
        let made = place.root.create_dir_all(&deepest).unwrap();
        let found = place.root.dir(&deepest).unwrap();
        assert_eq!(found.stat_self().unwrap().inode, made.stat_self().unwrap().inode);
        assert!(deepest.join(name("x")).is_err());
    });
}

#[test]
fn a_mount_point_is_not_entered_where_that_is_asked_for() {
    use crate::root::resolve::{open_child, open_child_here, open_child_same_device};
    both(|place| {
        fs::create_dir(place.inside("dir")).unwrap();
        symlink("../outside", place.inside("link")).unwrap();
        assert!(place.top().open_dir_here(name("dir")).is_ok());
        assert_fails(place.top().open_dir_here(name("link")), Errno::LOOP);
        assert_fails(place.top().open_dir_here(name("none")), Errno::NOENT);
    });
    // The kernel's own is mounted everywhere.
    let top = Root::open("/".as_ref()).unwrap();
    let (top, proc) = (top.top().fd(), name("proc"));
    assert!(open_child(top, proc).is_ok());
    assert_fails(open_child_here(top, proc), Errno::XDEV);
    assert_fails(open_child_same_device(top, proc), Errno::XDEV);
}
