//! Every peer that is installed moves a small awkward tree both ways over loopback, and the content of each file arrives.
//!
//! What a peer is known not to do is written down here with the words in which it must say so. Swarmwire itself is left to the measurements, which need its
//! release builds.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use swarmwire_bench::{
    binaries::Binaries,
    ground::Ground,
    peer::{self, Description, Mode, Site, Transfer},
    process::Nursery,
};
use tempfile::TempDir;

/// How long one transfer of a few files may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a peer cannot do, and a part of what it says then.
const REFUSALS: [(&str, Mode, &str); 1] = [("sendme", Mode::Push, "cannot push")];

/// The peers that can remove what the source does not have.
const MIRRORS: [&str; 5] = ["rsyncd", "rsync-ssh", "rclone", "sparsync", "syq"];

fn make_tree(at: &Path) -> io::Result<()> {
    fs::create_dir_all(at.join("a/b/c"))?;
    fs::create_dir_all(at.join("with space"))?;
    let long = "a line that comes again\n".repeat(20_000);
    let files =
        [("empty", ""), ("a/one", "1"), ("a/b/c/deep", &long), ("with space/it's \"here\" now", "quoted")];
    for (name, content) in files {
        fs::write(at.join(name), content)?;
    }
    symlink("a/one", at.join("link"))?;
    for (name, mode) in [("a/one", 0o600), ("a/b/c/deep", 0o755), ("a/b", 0o750)] {
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The content of every regular file, by its path. Left out are what a symbolic link leads to, which some copy as a file, and sparsync's own state.
fn files_in(tree: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(tree) {
        let entry = entry?;
        let path = entry.path().strip_prefix(tree).expect("a walk stays below its top");
        let ours = path != "link" && !path.starts_with(".sparsync");
        if ours && entry.file_type().is_file() {
            files.insert(path.to_owned(), fs::read(entry.path())?);
        }
    }
    Ok(files)
}

struct Laboratory {
    directory: TempDir,
    ground: Ground,
    binaries: Binaries,
}

impl Laboratory {
    fn new() -> io::Result<Self> {
        let nursery = Nursery::new(env!("CARGO_BIN_EXE_swarmwire-bench").into(), None);
        let directory = tempfile::tempdir()?;
        for part in ["near", "far", "home"] {
            fs::create_dir(directory.path().join(part))?;
        }
        make_tree(&directory.path().join("near/tree"))?;
        let none = PathBuf::from("/nonexistent");
        let binaries = Binaries { swarmd: none.clone(), swarm: none };
        Ok(Self { ground: Ground::machine(&nursery), directory, binaries })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One transfer to its end, server and all.
    fn transfer(&self, peer: &Description, transfer: &Transfer) -> anyhow::Result<()> {
        let site = Site {
            ground: &self.ground,
            home: &self.path("home"),
            root: &self.path("far"),
            binaries: &self.binaries,
        };
        let prepared = (peer.prepare)(&site, transfer)?;
        let result = self.ground.near().run(&prepared.client, PATIENCE).and_then(|done| done.success());
        let server = prepared.server.map(|server| server.terminate()).transpose()?;
        let words = server.map(|server| server.last_words()).unwrap_or_default();
        result.map(|_| ()).map_err(|error| error.context(words))
    }

    /// A transfer after which the destination has what the source has.
    fn carry(&self, peer: &Description, mode: Mode, near: &str, mirror: bool) -> anyhow::Result<()> {
        let transfer =
            Transfer { mode, near: self.path(near), far: self.path("far/tree"), mirror, durable: false };
        let result = self.transfer(peer, &transfer).with_context(|| format!("failed to {mode} {near}"));
        if let Some((_, _, words)) = REFUSALS.iter().find(|refusal| (refusal.0, refusal.1) == (peer.id, mode))
        {
            let text = format!("{:#}", result.expect_err("it is known not to do this"));
            assert!(text.contains(words), "{text}");
            self.transfer(Description::of_id("cp")?, &transfer)?;
        } else {
            result?;
        }
        let expected = files_in(transfer.source())?;
        let mut arrived = files_in(transfer.destination())?;
        if !MIRRORS.contains(&peer.id) {
            arrived.retain(|path, _| expected.contains_key(path));
        }
        assert!(arrived == expected, "{mode} {near}: {:?}", arrived.keys());
        Ok(())
    }

    /// A push to nothing, a push of changes over what is there, and a pull to nothing.
    fn check(&self, peer: &Description) -> anyhow::Result<()> {
        self.carry(peer, Mode::Push, "near/tree", false)?;
        fs::write(self.path("near/tree/a/b/c/deep"), "shorter than before")?;
        fs::remove_file(self.path("near/tree/empty"))?;
        self.carry(peer, Mode::Push, "near/tree", true)?;
        self.carry(peer, Mode::Pull, "near/back", false)
    }
}

/// Checks the peer, or says that it is missing.
#[expect(clippy::print_stdout, reason = "what was not tried must be seen beside the test")]
fn moves_the_tree(id: &str) -> anyhow::Result<()> {
    let peer = Description::of_id(id)?;
    match (peer.find)() {
        Some(version) => {
            println!("{id}: {version}");
            Laboratory::new()?.check(peer)
        }
        None => {
            println!("{id}: missing; {}", peer.install);
            Ok(())
        }
    }
}

/// One test for each peer, so that a failure names it.
macro_rules! tests {
    ($($test:ident: $id:literal,)*) => {
        $(#[test]
        fn $test() -> anyhow::Result<()> {
            moves_the_tree($id)
        })*

        #[test]
        fn no_peer_but_swarmwire_itself_is_left_out_of_these_tests() {
            let known: Vec<&str> = peer::ALL.iter().map(|peer| peer.id).collect();
            assert_eq!(known, ["swarm", $($id),*]);
        }
    };
}

tests! {
    rsyncd_moves_the_tree: "rsyncd",
    rsync_over_ssh_moves_the_tree: "rsync-ssh",
    tar_over_ssh_moves_the_tree: "tar-ssh",
    scp_moves_the_tree: "scp",
    rclone_moves_the_tree: "rclone",
    cp_moves_the_tree: "cp",
    sparsync_moves_the_tree: "sparsync",
    syq_moves_the_tree: "syq",
    qcp_moves_the_tree: "qcp",
    sendme_moves_the_tree: "sendme",
}
