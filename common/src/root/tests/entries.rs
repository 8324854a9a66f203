//! Making, naming, replacing and removing entries, and their metadata.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode},
    io::Errno,
};

use super::{Place, assert_fails, name, names_at};
use crate::{
    entry::{Metadata, SpecialKind, Timestamp},
    root::{EntryType, Root},
};

#[test]
fn names_are_bytes_sorted_and_without_ours() {
    let place = Place::new();
    for bytes in [&b"b"[..], b"a\xff", b"a", b"-rf", b"B", b".hidden", b".swarmwire-x", b"new\nline"] {
        fs::write(place.inside("").join(OsStr::from_bytes(bytes)), "").unwrap();
    }
    let expected = [&b"-rf"[..], b".hidden", b"B", b"a", b"a\xff", b"b", b"new\nline"];
    assert_eq!(place.top().names().unwrap(), expected);
    assert_eq!(place.top().names().unwrap(), expected, "a second listing starts at the start");
    assert_eq!(place.top().reserved_names().unwrap(), [b".swarmwire-x"]);
}

#[test]
fn a_directory_of_many_kernel_buffers_is_listed_whole() {
    let place = Place::new();
    let mut expected: Vec<Vec<u8>> = (0..3000).map(|n| format!("entry-{n}").into_bytes()).collect();
    for entry in &expected {
        fs::write(place.inside("").join(OsStr::from_bytes(entry)), "").unwrap();
    }
    expected.sort();
    assert_eq!(place.top().names().unwrap(), expected);
}

#[test]
fn a_new_file_is_private_and_takes_no_name_that_is_in_use() {
    let place = Place::new();
    fs::write(place.inside("file"), "kept").unwrap();
    fs::create_dir(place.inside("directory")).unwrap();
    symlink("../outside/secret", place.inside("link")).unwrap();
    symlink("../outside/new", place.inside("dangling")).unwrap();
    for taken in ["file", "directory", "link", "dangling"] {
        assert_fails(place.top().create_file(name(taken)), Errno::EXIST);
    }
    assert_eq!(fs::read(place.inside("file")).unwrap(), b"kept");
    place.assert_outside_untouched();

    let file = place.top().create_file(name("new")).unwrap();
    assert_eq!(file.stat().unwrap().metadata.mode, 0o600);
    assert_eq!(file.stat().unwrap().size, 0);
}

#[test]
fn a_rename_replaces_a_link_and_not_what_it_points_to() {
    let place = Place::new();
    symlink("../outside/secret", place.inside("link")).unwrap();
    fs::write(place.inside("old"), "old").unwrap();
    fs::create_dir(place.inside("sub")).unwrap();
    let sub = place.top().open_dir(name("sub")).unwrap();
    for (target, content) in [("link", "one"), ("old", "two")] {
        fs::write(place.inside("sub/new"), content).unwrap();
        sub.rename(name("new"), place.top(), name(target)).unwrap();
        assert_eq!(fs::read_to_string(place.inside(target)).unwrap(), content);
        assert_eq!(place.top().stat(name(target)).unwrap().entry_type, EntryType::File);
    }
    place.assert_outside_untouched();

    fs::write(place.inside("sub/new"), "three").unwrap();
    fs::create_dir(place.inside("taken")).unwrap();
    assert_fails(sub.rename(name("new"), place.top(), name("taken")), Errno::ISDIR);
    assert_eq!(names_at(&place.inside("sub")), ["new"]);
}

#[test]
fn a_removal_takes_the_link_and_leaves_full_directories() {
    let place = Place::new();
    symlink("../outside/secret", place.inside("link")).unwrap();
    fs::create_dir_all(place.inside("full/sub")).unwrap();
    place.top().remove_file(name("link")).unwrap();
    place.assert_outside_untouched();
    assert_fails(place.top().remove_dir(name("full")), Errno::NOTEMPTY);
    assert!(place.top().remove_file(name("full")).is_err());
    assert_eq!(names_at(&place.inside("")), ["full"]);
}

/// Before 1970, at its edge, now, and beyond 32 bits; the last must be cut to a whole second's nanoseconds.
const TIMES: [(i64, u32, u32); 5] = [
    (-1, 123_456_789, 123_456_789),
    (0, 0, 0),
    (1_600_000_000, 999_999_999, 999_999_999),
    (4_102_444_800, 1, 1),
    (1, u32::MAX, 999_999_999),
];

#[test]
fn metadata_is_kept_to_the_nanosecond_and_without_special_bits() {
    let place = Place::new();
    let file = place.top().create_file(name("file")).unwrap();
    place.top().create_dir(name("directory"), 0o700).unwrap();
    let directory = place.top().open_dir(name("directory")).unwrap();
    let before = fs::metadata(place.inside("file")).unwrap();
    for (seconds, nanoseconds, kept) in TIMES {
        for (mode, bits) in [(0o7777, 0o777), (0o640, 0o640), (0o100_755, 0o755), (0o400, 0o400)] {
            let metadata = Metadata { mode, mtime: Timestamp { seconds, nanoseconds } };
            let expected = Metadata { mode: bits, mtime: Timestamp { seconds, nanoseconds: kept } };
            file.set_metadata(metadata).unwrap();
            assert_eq!(file.stat().unwrap().metadata, expected);
            assert_eq!(place.top().stat(name("file")).unwrap().metadata, expected);
            directory.set_metadata(metadata).unwrap();
            assert_eq!(directory.stat_self().unwrap().metadata, expected);
            let raw = fs::metadata(place.inside("file")).unwrap();
            assert_eq!(raw.permissions().mode() & 0o7777, u32::from(bits));
        }
    }
    let after = fs::metadata(place.inside("file")).unwrap();
    let accessed = |raw: &fs::Metadata| (raw.atime(), raw.atime_nsec());
    assert_eq!(accessed(&after), accessed(&before), "the access time is nobody's to set");
}

#[test]
fn a_links_time_is_its_own() {
    let place = Place::new();
    let before = fs::metadata(place.outside().join("secret")).unwrap().modified().unwrap();
    place.top().create_symlink(name("link"), b"../outside/secret").unwrap();
    let mtime = Timestamp { seconds: 1_500_000_000, nanoseconds: 7 };
    place.top().set_link_mtime(name("link"), mtime).unwrap();
    assert_eq!(place.top().stat(name("link")).unwrap().metadata.mtime, mtime);
    assert_eq!(fs::metadata(place.outside().join("secret")).unwrap().modified().unwrap(), before);
}

#[test]
fn a_links_text_is_kept_verbatim() {
    let place = Place::new();
    let long = [b'x'; 4095];
    for (at, target) in [&b"../../etc/passwd"[..], b"/", b"a//b/", b"\xff\x1b[2J", &long].iter().enumerate() {
        let link = format!("link-{at}");
        place.top().create_symlink(name(&link), target).unwrap();
        assert_eq!(place.top().read_link(name(&link)).unwrap(), *target);
        assert_fails(place.top().create_symlink(name(&link), b"other"), Errno::EXIST);
    }
}

#[test]
fn types_that_are_not_synced_are_told_apart() {
    let place = Place::new();
    rustix::fs::mknodat(CWD, place.inside("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(place.inside("socket")).unwrap();
    let kind = |entry: &str| place.top().stat(name(entry)).unwrap().entry_type;
    assert_eq!(kind("fifo"), EntryType::Special(SpecialKind::Fifo));
    assert_eq!(kind("socket"), EntryType::Special(SpecialKind::Socket));
    let devices = Root::open(Path::new("/dev")).unwrap();
    let null = devices.top().stat(name("null")).unwrap();
    assert_eq!(null.entry_type, EntryType::Special(SpecialKind::Device));
}

#[test]
fn opening_a_fifo_waits_for_nobody() {
    let place = Place::new();
    rustix::fs::mknodat(CWD, place.inside("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let opened = place.top().open_file(name("fifo")).unwrap();
    assert_eq!(opened.stat().unwrap().entry_type, EntryType::Special(SpecialKind::Fifo));
    assert!(opened.read_at(0, 1, &mut Vec::new()).is_err());
    assert_fails(place.top().open_dir(name("fifo")), Errno::NOTDIR);
}
