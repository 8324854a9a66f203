//! Private directories: what is refused, how it is said, and that nothing is ever half written.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use swarmwire_certs::private::{PrivateDir, PrivateError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A private directory with one file `secret` of content `old`.
fn with_secret() -> (tempfile::TempDir, PrivateDir) {
    let place = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(place.path().join("state")).unwrap();
    dir.write("secret", b"old").unwrap();
    (place, dir)
}

#[test]
fn a_directory_is_made_for_its_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("share/swarmwire/state");
    let dir = PrivateDir::open_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(dir.path(), path);
    dir.write("secret", b"content").unwrap();
    assert_eq!(mode(&path.join("secret")), 0o600);
    assert_eq!(PrivateDir::open(&path).unwrap().read("secret").unwrap().unwrap(), b"content");
}

#[test]
fn a_hint_is_replaced_like_a_secret() {
    let (_place, dir) = with_secret();
    dir.write_hint("secret", b"new").unwrap();
    assert_eq!(dir.read("secret").unwrap().unwrap(), b"new");
    assert_eq!(mode(&dir.path().join("secret")), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_wide_directory_is_refused_with_the_command_that_mends_it() {
    let (_place, dir) = with_secret();
    for wide in [0o755, 0o750, 0o701, 0o770, 0o1777] {
        set_mode(dir.path(), wide);
        for result in [PrivateDir::open_or_create(dir.path()), PrivateDir::open(dir.path())] {
            let err = result.unwrap_err();
            assert!(
                matches!(&err, PrivateError::DirectoryTooWide { path, mode } if path == dir.path() && *mode == wide)
            );
            let message = err.to_string();
            for part in
                [format!("{wide:04o}"), "0700".into(), format!("`chmod 700 {}`", dir.path().display())]
            {
                assert!(message.contains(&part), "{message}");
            }
        }
        assert_eq!(mode(dir.path()), wide, "a refusal changes nothing");
    }
}

#[test]
fn an_empty_wide_directory_is_narrowed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o755);
    PrivateDir::open_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_wide_file_is_refused_with_the_command_that_mends_it() {
    let (_place, dir) = with_secret();
    let path = dir.path().join("secret");
    for wide in [0o644, 0o640, 0o602] {
        set_mode(&path, wide);
        let message = dir.read("secret").unwrap_err().to_string();
        for part in [format!("{wide:04o}"), format!("`chmod 600 {}`", path.display())] {
            assert!(message.contains(&part), "{message}");
        }
    }
    set_mode(&path, 0o400);
    assert_eq!(dir.read("secret").unwrap().unwrap(), b"old");
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make something that belongs to another; whoever runs this meets it at the system's root.
        let err = PrivateDir::open("/").unwrap_err();
        assert!(matches!(err, PrivateError::NotOurs { owner: 0, .. }), "{err}");
        return;
    }
    let (_place, dir) = with_secret();
    std::os::unix::fs::chown(dir.path().join("secret"), Some(12345), None).unwrap();
    let message = dir.read("secret").unwrap_err().to_string();
    assert!(message.contains("belongs to user 12345") && message.contains("user 0"), "{message}");
    std::os::unix::fs::chown(dir.path(), Some(12345), None).unwrap();
    let err = PrivateDir::open(dir.path()).unwrap_err();
    assert!(matches!(err, PrivateError::NotOurs { owner: 12345, us: 0, .. }), "{err}");
}

#[test]
fn only_a_regular_file_is_read_or_locked() {
    let (place, dir) = with_secret();
    fs::write(place.path().join("elsewhere"), b"not ours").unwrap();
    symlink(place.path().join("elsewhere"), dir.path().join("link")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    for name in ["link", "dangling", "directory", "fifo"] {
        let err = dir.read(name).unwrap_err();
        assert!(matches!(err, PrivateError::NotAFile { .. }), "{name}: {err}");
        let err = dir.lock(name).unwrap_err();
        assert!(matches!(err, PrivateError::NotAFile { .. }), "{name}: {err}");
    }
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn writing_replaces_a_link_and_leaves_its_target_alone() {
    let (place, dir) = with_secret();
    let elsewhere = place.path().join("elsewhere");
    fs::write(&elsewhere, b"not ours").unwrap();
    symlink(&elsewhere, dir.path().join("link")).unwrap();
    dir.write("link", b"ours").unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"not ours");
    assert_eq!(dir.read("link").unwrap().unwrap(), b"ours");
}

#[test]
fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
    let (_place, dir) = with_secret();
    dir.write("secret", b"new").unwrap();
    assert_eq!(dir.read("secret").unwrap().unwrap(), b"new");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
}

#[test]
fn a_write_that_fails_leaves_the_old_state_and_no_temporary_file() {
    let (_place, dir) = with_secret();
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).unwrap();
    let err = dir.write("taken", b"content").unwrap_err();
    assert!(err.to_string().contains(taken.to_str().unwrap()), "{err}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_missing_file_is_none_and_removing_it_is_no_error() {
    let (_place, dir) = with_secret();
    assert!(dir.read("other").unwrap().is_none());
    assert!(dir.remove("secret").unwrap());
    assert!(!dir.remove("secret").unwrap());
    assert!(dir.read("secret").unwrap().is_none());
}

#[test]
fn a_lock_is_held_once_and_freed_with_its_holder() {
    let (_place, dir) = with_secret();
    let held = dir.lock("lock").unwrap().expect("nobody holds it");
    assert_eq!(mode(&dir.path().join("lock")), 0o600);
    assert!(PrivateDir::open(dir.path()).unwrap().lock("lock").unwrap().is_none());
    assert!(dir.lock("another").unwrap().is_some());
    drop(held);
    let held = dir.lock_blocking("lock").unwrap();
    assert!(dir.lock("lock").unwrap().is_none());
    drop(held);
    assert!(dir.lock("lock").unwrap().is_some());
}

#[test]
fn what_cannot_be_opened_is_named() {
    let (place, dir) = with_secret();
    let missing = place.path().join("missing");
    let err = PrivateDir::open(&missing).unwrap_err();
    assert_eq!(err.to_string(), format!("open directory {}", missing.display()));
    for path in [dir.path().join("secret"), dir.path().join("secret/below")] {
        let err = PrivateDir::open_or_create(&path).unwrap_err();
        assert!(matches!(err, PrivateError::Io { .. }), "{err:?}");
        assert!(err.to_string().contains(dir.path().join("secret").to_str().unwrap()), "{err}");
    }
}
