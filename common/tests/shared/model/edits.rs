//! Changes of a tree on the disk, as programs, administrators and log rotation make them.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, FileTypeExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    options::{one_in, pick},
    tree::{Tree, join, read},
};

/// Few, so that they meet.
const NAMES: [&str; 14] = [
    "a",
    "b",
    "c",
    "e",
    "app.log",
    "app.log.1",
    "app.log.2",
    "d",
    "lib",
    ".hidden",
    "x y",
    "ü",
    "new\nline",
    "-n",
];

const DIRECTORY_NAMES: [&str; 5] = ["a", "d", "lib", "x y", "lib2"];

/// Makes one change at random and says what it was.
pub(super) fn edit(rng: &mut fastrand::Rng, top: &Path) -> String {
    let (tree, _) = read(top);
    let is_small = tree.len() < 12;
    let makes = is_small || one_in(rng, 4);
    let mut it = Edit { rng, top, tree: &tree };
    let act = if makes { it.makes() } else { it.changes() };
    act(&mut it).unwrap_or_else(|| it.create().unwrap_or_else(|| "nothing".to_owned()))
}

/// Changes some files in a way that neither size nor time shows, and says which.
pub(super) fn edit_unseen(rng: &mut fastrand::Rng, top: &Path) -> String {
    let (tree, _) = read(top);
    let files: Vec<_> =
        tree.iter().filter(|(_, node)| node.size() > Some(0)).map(|(path, _)| path.clone()).collect();
    let changed: Vec<_> = files.into_iter().filter(|_| one_in(rng, 4)).collect();
    let edit = Edit { rng, top, tree: &tree };
    for path in &changed {
        let file = edit.open(path, OpenOptions::new().read(true).write(true));
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        file.write_all_at(&[byte[0].wrapping_add(1)], 0).unwrap();
        drop(file);
        edit.set_mtime(path, tree[path].mtime);
    }
    format!("change {changed:?} unseen")
}

type Act<'a> = fn(&mut Edit<'a>) -> Option<String>;

struct Edit<'a> {
    rng: &'a mut fastrand::Rng,
    top: &'a Path,
    tree: &'a Tree,
}

impl<'a> Edit<'a> {
    fn makes(&mut self) -> Act<'a> {
        if one_in(self.rng, 12) && self.tree.len() < 150 {
            return pick(self.rng, &[Self::many_files as Act<'a>, Self::many_directories]);
        }
        let acts: [Act<'a>; 5] =
            [Self::create, Self::create, Self::make_directory, Self::link, Self::hard_link];
        pick(self.rng, &acts)
    }

    fn changes(&mut self) -> Act<'a> {
        let acts: [Act<'a>; 22] = [
            Self::append,
            Self::append,
            Self::overwrite,
            Self::insert,
            Self::truncate,
            Self::touch,
            Self::chmod,
            Self::rename,
            Self::rename,
            Self::rotate,
            Self::copy_truncate,
            Self::copy,
            Self::delete,
            Self::replace_kind,
            Self::retarget,
            Self::fifo,
            Self::hard_link,
            Self::set_xattr,
            Self::set_special_bits,
            Self::chown,
            Self::extend,
            Self::change_many,
        ];
        pick(self.rng, &acts)
    }

    fn create(&mut self) -> Option<String> {
        let path = self.new_path(&NAMES)?;
        let content = content(self.rng);
        fs::write(self.at(&path), &content).unwrap();
        let mode = pick(self.rng, &[0o600, 0o644, 0o755, 0o440, 0o666]);
        fs::set_permissions(self.at(&path), Permissions::from_mode(mode)).unwrap();
        if one_in(self.rng, 2) {
            self.set_time(&path);
        }
        Some(format!("create {path:?} with {} bytes", content.len()))
    }

    fn make_directory(&mut self) -> Option<String> {
        let path = self.new_path(&DIRECTORY_NAMES)?;
        fs::create_dir(self.at(&path)).unwrap();
        let mode = pick(self.rng, &[0o755, 0o700, 0o775, 0o750]);
        fs::set_permissions(self.at(&path), Permissions::from_mode(mode)).unwrap();
        Some(format!("mkdir {path:?}"))
    }

    fn link(&mut self) -> Option<String> {
        let path = self.new_path(&NAMES)?;
        let target = pick(self.rng, &["a", "nowhere", "../x", "/etc/passwd", "lib", "."]);
        symlink(target, self.at(&path)).unwrap();
        Some(format!("symlink {path:?} to {target}"))
    }

    /// So many that their directory is listed in several blocks.
    fn many_files(&mut self) -> Option<String> {
        let path = self.new_path(&DIRECTORY_NAMES)?;
        fs::create_dir(self.at(&path)).unwrap();
        let count = self.rng.usize(100..400);
        for number in 0..count {
            let file = join(&path, &format!("{number:03}{}", "long".repeat(50)));
            fs::write(self.at(&file), vec![7; number % 5]).unwrap();
            if one_in(self.rng, 2) {
                self.set_time(&file);
            }
        }
        Some(format!("mkdir {path:?} with {count} files"))
    }

    /// More than are compared before it is given up.
    fn many_directories(&mut self) -> Option<String> {
        let path = self.new_path(&DIRECTORY_NAMES)?;
        let count = self.rng.usize(20..50);
        for number in 0..count {
            let directory = join(&path, &number.to_string());
            fs::create_dir_all(self.at(&directory)).unwrap();
            fs::write(self.at(&join(&directory, "a")), vec![7; number]).unwrap();
        }
        Some(format!("mkdir {path:?} with {count} directories"))
    }

    /// As a release does, or `sed -i` over a tree.
    fn change_many(&mut self) -> Option<String> {
        let one_of = pick(self.rng, &[2, 5, 20]);
        let files: Vec<_> =
            self.tree.iter().filter(|(_, node)| node.size().is_some()).map(|(path, _)| path).collect();
        let mut count = 0;
        for path in files {
            if one_in(self.rng, one_of) {
                self.open(path, OpenOptions::new().append(true)).write_all(b"more").unwrap();
                count += 1;
            }
        }
        Some(format!("append to {count} files"))
    }

    fn hard_link(&mut self) -> Option<String> {
        let path = self.file()?;
        let to = self.new_path(&NAMES)?;
        fs::hard_link(self.at(&path), self.at(&to)).unwrap();
        Some(format!("link {to:?} to {path:?}"))
    }

    fn set_xattr(&mut self) -> Option<String> {
        let path = self.any(|tree, path| tree[path].is_directory() || tree[path].size().is_some())?;
        let name = pick(self.rng, &["user.a", "user.b"]);
        if self.tree[&path].xattrs.contains_key(name) && one_in(self.rng, 2) {
            rustix::fs::removexattr(self.at(&path), name).ok()?;
            return Some(format!("remove {name} of {path:?}"));
        }
        let value = pick(self.rng, &["", "1", "two", "a longer one"]);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(self.at(&path), name, value.as_bytes(), flags).ok()?;
        Some(format!("set {name} of {path:?} to {value:?}"))
    }

    fn set_special_bits(&mut self) -> Option<String> {
        let path = self.any(|tree, path| tree[path].is_directory() || tree[path].size().is_some())?;
        let bits = pick(self.rng, &[0o4000, 0o2000, 0o1000, 0o6000, 0]);
        let mode = self.tree[&path].mode & 0o777 | bits;
        fs::set_permissions(self.at(&path), Permissions::from_mode(mode)).unwrap();
        Some(format!("chmod {mode:o} {path:?}"))
    }

    /// Nothing but for root.
    fn chown(&mut self) -> Option<String> {
        let path = self.any(|_, _| true)?;
        let owner = pick(self.rng, &[(0, 0), (4001, 4001), (4001, 4002), (0, 4002)]);
        std::os::unix::fs::lchown(self.at(&path), Some(owner.0), Some(owner.1)).ok()?;
        Some(format!("chown {owner:?} {path:?}"))
    }

    /// By a hole.
    fn extend(&mut self) -> Option<String> {
        let path = self.file()?;
        let size = self.tree[&path].size()? + pick(self.rng, &[1, 5000, 100_000, 1 << 20, 3 << 20]);
        self.open(&path, OpenOptions::new().write(true)).set_len(size).unwrap();
        Some(format!("extend {path:?} to {size}"))
    }

    fn append(&mut self) -> Option<String> {
        let path = self.file()?;
        let content = content(self.rng);
        self.open(&path, OpenOptions::new().append(true)).write_all(&content).unwrap();
        Some(format!("append {} bytes to {path:?}", content.len()))
    }

    fn overwrite(&mut self) -> Option<String> {
        let path = self.file()?;
        let size = self.tree[&path].size()?;
        let mut file = self.open(&path, OpenOptions::new().write(true));
        let at = self.rng.u64(..=size);
        file.seek(SeekFrom::Start(at)).unwrap();
        let mut bytes = vec![0; usize::try_from((size - at).min(5000)).unwrap()];
        self.rng.fill(&mut bytes);
        file.write_all(&bytes).unwrap();
        drop(file);
        let keeps_time = one_in(self.rng, 3);
        if keeps_time {
            self.set_mtime(&path, self.tree[&path].mtime);
        }
        let told = if keeps_time { " and set its time back" } else { "" };
        Some(format!("overwrite {} bytes at {at} of {path:?}{told}", bytes.len()))
    }

    fn insert(&mut self) -> Option<String> {
        let path = self.file()?;
        let old = fs::read(self.at(&path)).unwrap();
        let mut bytes = vec![0; self.rng.usize(1..3000)];
        self.rng.fill(&mut bytes);
        let length = bytes.len();
        bytes.extend(old);
        self.open(&path, OpenOptions::new().write(true)).write_all(&bytes).unwrap();
        Some(format!("insert {length} bytes at the front of {path:?}"))
    }

    fn truncate(&mut self) -> Option<String> {
        let path = self.file()?;
        let size = self.tree[&path].size()?;
        let left = if one_in(self.rng, 2) { 0 } else { self.rng.u64(..=size) };
        self.open(&path, OpenOptions::new().write(true)).set_len(left).unwrap();
        Some(format!("truncate {path:?} to {left}"))
    }

    fn touch(&mut self) -> Option<String> {
        let path = self.file()?;
        self.set_time(&path);
        Some(format!("touch {path:?}"))
    }

    fn chmod(&mut self) -> Option<String> {
        let path = self.any(|tree, path| tree[path].is_directory() || tree[path].size().is_some())?;
        let is_directory = self.tree[&path].is_directory();
        let modes = if is_directory { [0o755, 0o700, 0o711, 0o770] } else { [0o644, 0o400, 0o755, 0o640] };
        let mode = pick(self.rng, &modes);
        fs::set_permissions(self.at(&path), Permissions::from_mode(mode)).unwrap();
        Some(format!("chmod {mode:o} {path:?}"))
    }

    fn rename(&mut self) -> Option<String> {
        let path = self.any(|_, _| true)?;
        let names: &[&str] = if self.tree[&path].is_directory() { &DIRECTORY_NAMES } else { &NAMES };
        let to = self.new_path(names).filter(|to| !to.starts_with(&format!("{path}/")))?;
        fs::rename(self.at(&path), self.at(&to)).unwrap();
        Some(format!("rename {path:?} to {to:?}"))
    }

    fn rotate(&mut self) -> Option<String> {
        let log = self.any(|_, path| path.ends_with("app.log"))?;
        for (from, to) in [(".1", ".2"), ("", ".1")] {
            let (from, to) = (self.at(&format!("{log}{from}")), self.at(&format!("{log}{to}")));
            let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|stat| stat.is_file());
            if is_file(&from) && (is_file(&to) || fs::symlink_metadata(&to).is_err()) {
                fs::rename(from, to).unwrap();
            }
        }
        if fs::symlink_metadata(self.at(&log)).is_err() {
            fs::write(self.at(&log), content(self.rng)).unwrap();
        }
        Some(format!("rotate {log:?}"))
    }

    fn copy_truncate(&mut self) -> Option<String> {
        let log = self.any(|tree, path| path.ends_with("app.log") && tree[path].size().is_some())?;
        let to = format!("{log}.1");
        if self.tree.get(&to).is_some_and(|node| node.size().is_none()) {
            return None;
        }
        let _old = fs::remove_file(self.at(&to));
        fs::copy(self.at(&log), self.at(&to)).unwrap();
        self.open(&log, OpenOptions::new().write(true)).set_len(0).unwrap();
        Some(format!("rotate {log:?} by copying"))
    }

    /// With or without its time, as `cp -p` and `cp` do.
    fn copy(&mut self) -> Option<String> {
        let path = self.file()?;
        let to = self.new_path(&NAMES)?;
        fs::copy(self.at(&path), self.at(&to)).unwrap();
        if one_in(self.rng, 2) {
            self.set_mtime(&to, self.tree[&path].mtime);
        }
        Some(format!("copy {path:?} to {to:?}"))
    }

    fn delete(&mut self) -> Option<String> {
        let path = self.any(|_, _| true)?;
        self.remove(&path);
        Some(format!("delete {path:?}"))
    }

    /// A file becomes a directory with a file, a directory a file, a link either.
    fn replace_kind(&mut self) -> Option<String> {
        let path = self.any(|_, _| true)?;
        self.remove(&path);
        if self.tree[&path].is_directory() {
            fs::write(self.at(&path), content(self.rng)).unwrap();
            return Some(format!("replace the directory {path:?} by a file"));
        }
        fs::create_dir(self.at(&path)).unwrap();
        fs::write(self.at(&join(&path, "b")), content(self.rng)).unwrap();
        Some(format!("replace {path:?} by a directory"))
    }

    fn retarget(&mut self) -> Option<String> {
        let path = self.any(|tree, path| !tree[path].is_directory())?;
        self.remove(&path);
        symlink("elsewhere", self.at(&path)).unwrap();
        Some(format!("replace {path:?} by a link"))
    }

    /// Beside the others or in place of one, which then stays at the destination.
    fn fifo(&mut self) -> Option<String> {
        let path = if one_in(self.rng, 2) { self.file()? } else { self.new_path(&NAMES)? };
        if self.tree.contains_key(&path) {
            self.remove(&path);
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, self.at(&path), rustix::fs::Mode::RWXU).unwrap();
        Some(format!("mkfifo {path:?}"))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    fn any(&mut self, fits: impl Fn(&Tree, &str) -> bool) -> Option<String> {
        // Of many files alike only half as many are meant as of all others.
        let is_any = one_in(self.rng, 3);
        let takes = |path: &str| is_any || path.len() < 200;
        let fits = |path: &&String| !path.is_empty() && takes(path) && fits(self.tree, path);
        let paths: Vec<_> = self.tree.keys().filter(fits).collect();
        if paths.is_empty() { None } else { Some(pick(self.rng, &paths).clone()) }
    }

    fn file(&mut self) -> Option<String> {
        self.any(|tree, path| tree[path].size().is_some())
    }

    /// A path that is free, at most three directories deep.
    fn new_path(&mut self, names: &[&str]) -> Option<String> {
        let directories: Vec<_> = self
            .tree
            .iter()
            .filter(|(path, node)| node.is_directory() && path.matches('/').count() < 2)
            .map(|(path, _)| path)
            .collect();
        let directory = pick(self.rng, &directories);
        let path = join(directory, pick(self.rng, names));
        (!self.tree.contains_key(&path)).then_some(path)
    }

    /// Opens a file that may be read-only, which means nothing to root alone.
    fn open(&self, path: &str, how: &OpenOptions) -> File {
        let mode = self.tree[path].mode;
        fs::set_permissions(self.at(path), Permissions::from_mode(0o600)).unwrap();
        let file = how.open(self.at(path)).unwrap();
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
        file
    }

    fn remove(&self, path: &str) {
        let removed = match fs::symlink_metadata(self.at(path)).unwrap().file_type() {
            kind if kind.is_dir() => fs::remove_dir_all(self.at(path)),
            kind if kind.is_fifo() => fs::remove_file(self.at(path)),
            _ => fs::remove_file(self.at(path)),
        };
        removed.unwrap();
    }

    /// One of few times, so that files share them: long ago, and to come.
    fn set_time(&mut self, path: &str) {
        let seconds = pick(self.rng, &[1_000_000_000, 1_700_000_000, 1_700_000_001, 4_000_000_000, -5]);
        let nanoseconds = pick(self.rng, &[0, 1, 123_456_789]);
        self.set_mtime(path, seconds * 1_000_000_000 + nanoseconds);
    }

    fn set_mtime(&self, path: &str, nanoseconds: i128) {
        let distance = Duration::from_nanos(u64::try_from(nanoseconds.unsigned_abs()).unwrap());
        let time = if nanoseconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
        File::open(self.at(path)).unwrap().set_modified(time).unwrap();
    }
}

/// Content of a size at which something may go wrong: noise, or what can be compressed.
fn content(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mib = 1 << 20;
    let size = match rng.u32(..40) {
        0..4 => 0,
        4..20 => rng.usize(1..300),
        20..26 => rng.usize(4000..70_000),
        26..32 => rng.usize(mib - 2..mib + 3),
        32..36 => rng.usize(mib..3 * mib),
        36..39 => pick(rng, &[2 * mib, 2 * mib + 1, 4 * mib - 1, 5 * mib]),
        _ => rng.usize(6 * mib..24 * mib),
    };
    if one_in(rng, 3) {
        let line = format!("{} something happened\n", rng.u64(..));
        let mut bytes = line.repeat(size / line.len() + 1).into_bytes();
        bytes.truncate(size);
        return bytes;
    }
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes);
    if one_in(rng, 4) {
        let from = rng.usize(..=size);
        let to = rng.usize(from..=size);
        bytes[from..to].fill(0);
    }
    bytes
}
