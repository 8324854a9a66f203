//! Where a source lands: the rules of trailing slashes, of files, and of what stands in the place. The same both ways.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::{
    trees::{assert_same, set_mtime, snapshot, visible_files},
    world::{ControllerHome, World, refused},
};

/// The two directions of a sync, on the same two directories.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Push,
    Pull,
}

pub(crate) const BOTH: [Way; 2] = [Way::Push, Way::Pull];

/// A gateway, a controller, and a directory on either side of the sync.
pub(crate) struct Sides {
    pub(crate) world: World,
    pub(crate) home: ControllerHome,
    way: Way,
}

impl Sides {
    pub(crate) fn new(way: Way) -> Self {
        Self::allowed(way, "list,pull,push")
    }

    /// With these operations granted.
    pub(crate) fn allowed(way: Way, operations: &str) -> Self {
        let world = World::start();
        let home = world.joined(operations);
        fs::create_dir(world.beside("local")).unwrap();
        Self { world, home, way }
    }

    /// The directory that is synced from.
    pub(crate) fn from(&self) -> std::path::PathBuf {
        match self.way {
            Way::Push => self.world.beside("local"),
            Way::Pull => self.world.root(),
        }
    }

    /// The directory that is synced to.
    pub(crate) fn to(&self) -> std::path::PathBuf {
        match self.way {
            Way::Push => self.world.root(),
            Way::Pull => self.world.beside("local"),
        }
    }

    /// Runs `swarm verify` as [`Self::sync`] runs `swarm sync`.
    pub(crate) fn verify(
        &self,
        source: &str,
        destination: &str,
        options: &[&str],
    ) -> assert_cmd::assert::Assert {
        self.run("verify", (source, destination), options)
    }

    /// Runs `swarm sync` between a path below [`Sides::from`] and one below [`Sides::to`].
    pub(crate) fn sync(
        &self,
        source: &str,
        destination: &str,
        options: &[&str],
    ) -> assert_cmd::assert::Assert {
        self.run("sync", (source, destination), options)
    }

    fn run(
        &self,
        command: &str,
        (source, destination): (&str, &str),
        options: &[&str],
    ) -> assert_cmd::assert::Assert {
        let (source, destination) = match self.way {
            Way::Push => (source.to_owned(), format!("gw:{destination}")),
            Way::Pull => (format!("gw:{source}"), destination.to_owned()),
        };
        let mut command = self.home.command([command, &source, &destination]);
        command.args(options).current_dir(self.world.beside("local")).assert()
    }
}

/// `src` with a file and a directory, and `one` beside it.
fn plant(top: &Path) {
    fs::create_dir_all(top.join("src/sub")).unwrap();
    fs::write(top.join("src/a"), "A").unwrap();
    fs::write(top.join("src/sub/b"), "B").unwrap();
    fs::write(top.join("one"), "1").unwrap();
    fs::set_permissions(top.join("src"), Permissions::from_mode(0o750)).unwrap();
    set_mtime(&top.join("src"), 1);
}

#[test]
fn a_source_lands_where_slashes_and_what_is_there_say() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides.from());
        for (source, destination, expected) in [
            ("src", ".", &["src/a", "src/sub/b"][..]),
            ("src", "./", &["src/a", "src/sub/b"]),
            ("src/", ".", &["a", "sub/b"]),
            ("src/.", ".", &["a", "sub/b"]),
            ("./src", "dir", &["dir/src/a", "dir/src/sub/b"]),
            ("src", "dir/", &["dir/src/a", "dir/src/sub/b"]),
            ("src", "new", &["new/src/a", "new/src/sub/b"]),
            ("src/", "dir", &["dir/a", "dir/sub/b"]),
            ("src/", "new", &["new/a", "new/sub/b"]),
            ("src/", "new/deep/", &["new/deep/a", "new/deep/sub/b"]),
            ("src/sub", "new", &["new/sub/b"]),
            ("one", ".", &["one"]),
            ("one", "dir", &["dir/one"]),
            ("one", "dir/", &["dir/one"]),
            ("one", "new", &["new"]),
            ("one", "new/", &["new/one"]),
            ("one", "new/deep", &["new/deep"]),
            ("src/a", "dir/other", &["dir/other"]),
        ] {
            let to = sides.to();
            fs::create_dir(to.join("dir")).unwrap();
            sides.sync(source, destination, &[]).success();
            let mut files: Vec<_> = visible_files(&to)
                .iter()
                .map(|path| path.strip_prefix(&to).unwrap().to_str().unwrap().to_owned())
                .collect();
            files.sort();
            assert_eq!(files, expected, "{way:?} {source} {destination}");
            for entry in fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) }.unwrap();
            }
        }
    }
}

#[test]
fn contents_bring_the_mode_and_time_of_their_directory_along() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides.from());
        sides.sync("src/", "new", &[]).success();
        assert_same(&sides.from().join("src"), &sides.to().join("new"));
        sides.sync("src", "other", &[]).success();
        assert_same(&sides.from().join("src"), &sides.to().join("other/src"));
        fs::create_dir(sides.to().join("old")).unwrap();
        fs::write(sides.to().join("old/more"), "stays").unwrap();
        sides.sync("src/", "old", &[]).success();
        let (there, here) = (snapshot(&sides.from().join("src")), snapshot(&sides.to().join("old")));
        assert!(there[std::ffi::OsStr::new("")] == here[std::ffi::OsStr::new("")], "{way:?}");
        assert_eq!(fs::read_to_string(sides.to().join("old/more")).unwrap(), "stays");
    }
}

/// Story: whoever can write below a destination could otherwise have us write elsewhere.
#[test]
fn a_link_in_the_way_is_replaced_and_never_followed() {
    for way in BOTH {
        let sides = Sides::new(way);
        plant(&sides.from());
        let outside = sides.world.beside("outside");
        fs::create_dir_all(outside.join("dir")).unwrap();
        fs::write(outside.join("file"), "untouched").unwrap();
        let before = snapshot(&outside);
        fs::create_dir(sides.to().join("src")).unwrap();
        symlink(outside.join("file"), sides.to().join("src/a")).unwrap();
        symlink(outside.join("dir"), sides.to().join("src/sub")).unwrap();
        symlink(outside.join("file"), sides.to().join("one")).unwrap();
        sides.sync("src", ".", &[]).success();
        sides.sync("one", ".", &[]).success();
        assert_same(&sides.from().join("src"), &sides.to().join("src"));
        assert_same(&sides.from().join("one"), &sides.to().join("one"));
        assert!(snapshot(&outside) == before, "{way:?}");
    }
}

#[test]
fn a_path_at_the_gateway_that_leads_through_a_link_is_denied() {
    let (push, pull) = (Sides::new(Way::Push), Sides::new(Way::Pull));
    plant(&push.from());
    let outside = push.world.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    for root in [push.world.root(), pull.world.root()] {
        symlink(&outside, root.join("link")).unwrap();
    }
    for destination in ["link/", "link/x", "link/secret"] {
        refused(push.sync("one", destination, &[]), 5, &["denied", "symbolic link"]);
    }
    for source in ["link", "link/", "link/secret"] {
        refused(pull.sync(source, "new", &[]), 5, &["denied", "symbolic link"]);
        refused(pull.home.swarm(["ls", &format!("gw:{source}/x")]), 5, &["denied", "symbolic link"]);
    }
    assert!(!pull.to().join("new").exists());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "s");
}

#[test]
fn links_that_the_operator_types_are_followed() {
    let sides = Sides::new(Way::Pull);
    plant(&sides.from());
    fs::create_dir(sides.to().join("real")).unwrap();
    symlink("real", sides.to().join("link")).unwrap();
    sides.sync("src/", "link", &[]).success();
    assert_same(&sides.from().join("src"), &sides.to().join("real"));
    assert!(sides.to().join("link").is_symlink());
    sides.home.swarm(["sync", crate::world::text(&sides.to().join("link")), "gw:back"]).success();
    assert_same(&sides.from().join("src"), &sides.from().join("back/link"));
}
