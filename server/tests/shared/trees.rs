//! Trees to sync, and what must hold of them afterwards. Used by the tests of both programs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// Files of [`plant`], the large one included.
pub(crate) const PLANTED_FILES: usize = 301;

const LARGE_BYTES: usize = 20 * 1024 * 1024;

/// What is compared of an entry.
#[derive(PartialEq, Eq)]
pub(crate) struct Node {
    /// Type and permission bits.
    mode: u32,
    /// Nanoseconds since the epoch.
    mtime: i128,
    /// Of a file its bytes, of a link its text.
    content: Vec<u8>,
}

/// Everything at and below `top` by its path; `top` itself has the empty one.
pub(crate) fn snapshot(top: &Path) -> BTreeMap<OsString, Node> {
    let mut nodes = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = if stat.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if stat.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else if stat.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let mtime = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
        let name = path.strip_prefix(top).unwrap().as_os_str().to_owned();
        nodes.insert(name, Node { mode: stat.mode(), mtime, content });
    }
    nodes
}

/// Asserts that two trees are one and the same: names, types, modes, times, content.
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (snapshot(left), snapshot(right));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, node) in &left {
        let other = &right[name];
        let modes = format!("{:o} and {:o}", node.mode, other.mode);
        assert!((node.mode, node.mtime) == (other.mode, other.mtime), "mode and mtime of {name:?}: {modes}");
        assert!(node.content == other.content, "content of {name:?}");
    }
}

/// Asserts that every file below `copy` is one of `original`'s with its whole content; gives their number. A place in which files
/// are still being written does not count.
pub(crate) fn whole_files(copy: &Path, original: &Path) -> usize {
    let files = visible_files(copy);
    for path in &files {
        let file = path.strip_prefix(copy).unwrap();
        let content = fs::read(original.join(file)).unwrap();
        assert!(fs::read(path).unwrap() == content, "{} is not whole", file.display());
    }
    files.len()
}

/// The files below `top` that have their final names.
pub(crate) fn visible_files(top: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        // What is looked at may change meanwhile, and may not be there yet.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.filter_map(Result::ok).filter(|entry| !is_ours(entry.file_name())) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Asserts that nothing of a broken-off sync is left below `top`.
pub(crate) fn assert_no_leftovers(top: &Path) {
    let names = snapshot(top);
    let left: Vec<_> = names.keys().filter(|path| Path::new(path).iter().any(is_ours)).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn is_ours(name: impl AsRef<std::ffi::OsStr>) -> bool {
    name.as_ref().as_bytes().starts_with(b".swarmwire-")
}

/// Three hundred small files in three directories and a large one, each with its own content, mode and time.
pub(crate) fn plant(top: &Path) {
    for number in 0..PLANTED_FILES - 1 {
        let directory = top.join(format!("{}", number % 3));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{number:03}.log"));
        fs::write(&path, content(number, number * 37)).unwrap();
        finish(&path, number);
    }
    let path = top.join("large.log");
    fs::write(&path, content(7, LARGE_BYTES)).unwrap();
    finish(&path, 7);
    for directory in ["0", "1", "2", ""] {
        set_mtime(&top.join(directory), directory.len());
    }
}

/// Bytes that are different at every place, so that none can stand for another.
pub(crate) fn content(seed: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut state = u64::try_from(seed).unwrap() + 1;
    for piece in bytes.chunks_mut(8) {
        // Knuth's MMIX generator: any would do.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        piece.copy_from_slice(&state.to_le_bytes()[..piece.len()]);
    }
    bytes
}

fn finish(path: &Path, number: usize) {
    let modes = [0o600, 0o644, 0o755, 0o440];
    fs::set_permissions(path, Permissions::from_mode(modes[number % modes.len()])).unwrap();
    set_mtime(path, number);
}

/// Sets a time in the past that is no whole second, and another for each number.
pub(crate) fn set_mtime(path: &Path, number: usize) {
    let number = u64::try_from(number).unwrap();
    let time = UNIX_EPOCH + Duration::new(1_700_000_000 + number, 123_456_789);
    File::open(path).unwrap().set_modified(time).unwrap();
}
