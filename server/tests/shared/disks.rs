//! Disks that refuse: full ones and read-only ones, for root and for ordinary users.
//!
//! Where the system lets us (root, or a user with namespaces), a small file system is mounted in the mount namespace of a child
//! process and reached through `/proc/PID/root`, so that nothing is mounted that anybody else sees and it goes with the child.
//! Where it does not, a limit of the size of files does what can be done everywhere.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

/// Mounts a tmpfs with the options `$1` at `$2`, and again with each line of options that comes in. What is mounted is named each time, so
/// that `mount` adds none of the old options: those with user ids mean nothing in a user namespace.
const HOLD: &str = r#"mount -t tmpfs -o "$1" none "$2" && echo ready || exit 1
while read -r options; do mount -t tmpfs -o "remount,$options" none "$2" && echo ready || exit 1; done"#;

/// A file system of its own.
pub(crate) struct Disk {
    holder: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    path: PathBuf,
    _place: TempDir,
}

impl Disk {
    /// Mounts a tmpfs with such options as `size=1m`; `None` where nobody lets us.
    pub(crate) fn mount(options: &str) -> Option<Self> {
        [&["--mount"][..], &["--user", "--map-root-user", "--mount"]]
            .into_iter()
            .find_map(|namespaces| Self::mount_in(namespaces, options))
    }

    fn mount_in(namespaces: &[&str], options: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut holder = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", HOLD, "sh", &format!("mode=755,{options}")])
            .arg(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let (orders, answers) = (holder.stdin.take(), BufReader::new(holder.stdout.take().unwrap()));
        let inside = place.path().strip_prefix("/").unwrap();
        let path = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        let mut disk = Self { holder, orders, answers, path, _place: place };
        // A holder that others may not look into is as good as none.
        (disk.is_ready() && std::fs::read_dir(&disk.path).is_ok()).then_some(disk)
    }

    /// Gives it other options.
    pub(crate) fn remount(&mut self, options: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{options}").unwrap();
        assert!(self.is_ready(), "it cannot be mounted with {options}");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn is_ready(&mut self) -> bool {
        let mut line = String::new();
        self.answers.read_line(&mut line).is_ok() && line == "ready\n"
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The end of its input is the end of the holder, and that of the mount.
        self.orders.take();
        let _ = self.holder.wait();
    }
}

/// `program` as a process that can make no file of more than `kib`: the call fails, as on a full disk, and no signal ends it.
pub(crate) fn with_small_files(program: impl AsRef<OsStr>, kib: u32) -> Command {
    let mut command = Command::new("sh");
    // A block of `ulimit -f` has 512 bytes (POSIX); bash's has 1,024 outside its POSIX mode, and as `sh` it is in that mode.
    command.args(["-c", r#"trap '' XFSZ; ulimit -f "$1"; shift; exec "$@""#, "sh", &(kib * 2).to_string()]);
    command.arg(program);
    command
}
