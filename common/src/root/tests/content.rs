//! Reading and writing open files.

use std::fs;

use rustix::io::Errno;

use super::{Place, assert_fails, name};
use crate::root::{EntryType, dir::File};

fn file_with(place: &Place, content: &[u8]) -> File {
    fs::write(place.inside("file"), content).unwrap();
    place.top().open_file(name("file")).unwrap()
}

#[test]
fn a_read_gives_what_there_is_and_never_more_than_asked() {
    let place = Place::new();
    let file = file_with(&place, b"0123456789");
    for (offset, limit, expected) in [
        (0, 10, &b"0123456789"[..]),
        (0, 100, b"0123456789"),
        (0, 3, b"012"),
        (4, 3, b"456"),
        (8, 100, b"89"),
        (9, 1, b"9"),
        (10, 1, b""),
        (1 << 40, 100, b""),
        (0, 0, b""),
    ] {
        // A buffer with more room than the limit must not be filled further.
        for capacity in [0, 1 << 16] {
            let mut buffer = Vec::with_capacity(capacity);
            buffer.extend_from_slice(b"before");
            let read = file.read_at(offset, limit, &mut buffer).unwrap();
            assert_eq!(read, expected.len(), "{limit} bytes from {offset}");
            assert_eq!(buffer, [b"before", expected].concat());
        }
    }
}

#[test]
fn an_empty_file_reads_as_nothing() {
    let place = Place::new();
    let file = file_with(&place, b"");
    let mut buffer = Vec::new();
    assert_eq!(file.read_at(0, 1 << 20, &mut buffer).unwrap(), 0);
    assert!(buffer.is_empty());
    assert_eq!(file.stat().unwrap().size, 0);
}

#[test]
fn writes_land_at_their_offsets_in_any_order() {
    let place = Place::new();
    let file = place.top().create_file(name("new")).unwrap();
    file.write_at(6, b"world").unwrap();
    file.write_at(0, b"hello ").unwrap();
    file.write_at(3, b"").unwrap();
    assert_eq!(fs::read(place.inside("new")).unwrap(), b"hello world");

    let far = (1u64 << 32) + 5;
    file.write_at(far, b"!").unwrap();
    assert_eq!(file.stat().unwrap().size, far + 1);
    let mut buffer = Vec::new();
    let reader = place.top().open_file(name("new")).unwrap();
    assert_eq!(reader.read_at(far - 1, 10, &mut buffer).unwrap(), 2);
    assert_eq!(buffer, b"\0!");
}

#[test]
fn offsets_beyond_what_a_file_can_have_are_errors() {
    let place = Place::new();
    let file = place.top().create_file(name("new")).unwrap();
    let reader = place.top().open_file(name("new")).unwrap();
    for offset in [1 << 63, u64::MAX] {
        assert_fails(file.write_at(offset, b"x"), Errno::INVAL);
        assert_fails(reader.read_at(offset, 1, &mut Vec::new()), Errno::INVAL);
    }
    assert_eq!(file.stat().unwrap().size, 0);
}

#[test]
fn a_handle_does_only_what_it_was_opened_for() {
    let place = Place::new();
    let reader = file_with(&place, b"kept");
    assert_fails(reader.write_at(0, b"x"), Errno::BADF);
    assert_eq!(fs::read(place.inside("file")).unwrap(), b"kept");

    fs::create_dir(place.inside("directory")).unwrap();
    let directory = place.top().open_file(name("directory")).unwrap();
    assert_eq!(directory.stat().unwrap().entry_type, EntryType::Directory);
    assert_fails(directory.read_at(0, 1, &mut Vec::new()), Errno::ISDIR);
}

#[test]
fn a_change_under_the_reader_is_seen() {
    let place = Place::new();
    let file = file_with(&place, b"one");
    let before = file.stat().unwrap();
    assert!(before.same_content(&file.stat().unwrap()));
    fs::write(place.inside("file"), "longer").unwrap();
    assert!(!before.same_content(&file.stat().unwrap()));

    // Replaced by name, the open file is still the old one.
    let before = file.stat().unwrap();
    fs::write(place.inside("other"), "new").unwrap();
    fs::rename(place.inside("other"), place.inside("file")).unwrap();
    assert_ne!(place.top().stat(name("file")).unwrap().inode, before.inode);
    let mut buffer = Vec::new();
    file.read_at(0, 100, &mut buffer).unwrap();
    assert_eq!(buffer, b"longer");
}
