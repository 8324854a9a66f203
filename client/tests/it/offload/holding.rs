//! Two offloads of one directory do not collide: the second one is told at once that somebody is at it.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use assert_cmd::assert::Assert;
use rustix::fs::{FlockOperation, flock};
use swarmwire_client::{ConnectOptions, Controller, Home};
use swarmwire_common::{path::RelPath, wire::offload::HoldAs};
use tokio::sync::oneshot;

use super::{GRANTS, NAMES, Scene, names, plant, set};
use crate::world::{ControllerHome, World, now, refused, text};

/// A directory at the gateway that is held as another identity's offload does, by a thread, until this is dropped.
pub(super) struct Holder {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    pub(super) fn hold(home: &ControllerHome, path: &str) -> Self {
        Self::hold_as(HoldAs::Source, home, path)
    }

    fn hold_as(role: HoldAs, home: &ControllerHome, path: &str) -> Self {
        let home = Home::open(&home.path()).unwrap();
        let target = home.gateways().unwrap().get(&"gw".parse().unwrap()).unwrap().clone();
        let identity = home.identity(now()).unwrap();
        let path = RelPath::parse(path.as_bytes()).unwrap();
        let ((end, ended), (held, is_held)) = (oneshot::channel(), mpsc::sync_channel(1));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let controller =
                    Controller::connect(&target, &identity, ConnectOptions::default()).await.unwrap();
                let _holding = match role {
                    HoldAs::Destination => controller.hold_destination(&path).await.unwrap(),
                    _ => controller.hold_source(&path).await.unwrap(),
                };
                held.send(()).unwrap();
                let _ended: Result<(), _> = ended.await;
                controller.close().await;
            });
        });
        is_held.recv().unwrap();
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

#[test]
fn who_comes_second_to_a_directory_at_the_gateway_is_refused_at_once() {
    let scene = Scene::new();
    let other = scene.world.joined(GRANTS);
    for (path, shown) in [("logs", "`logs`"), ("", "`.`"), ("logs/sub", "`logs/sub`")] {
        let holder = Holder::hold(&other, path);
        let parts = [shown, "is being offloaded by the identity", "try again when that has ended"];
        let told = refused(scene.offload(&["--capacity", "10kB"]), 6, &parts);
        assert_eq!(told.matches("try again").count(), 1, "{told}");
        // Looking does no harm.
        scene.offload(&["--capacity", "10kB", "-n"]).success();
        drop(holder);
    }
    assert_eq!(names(&scene.logs()), set(&NAMES));
    scene.offload(&["--capacity", "10kB"]).success();
}

/// Of one identity the journal says that somebody is at it, so that the gateway may believe that an earlier one is dead.
#[test]
fn two_processes_of_one_user_do_not_meet_either() {
    let scene = Scene::new();
    scene.offload(&["--capacity", "1GB"]).success();
    let dir = scene.home.path().join("offload");
    let lock = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let lock = lock.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "lock")).unwrap();
    let held = fs::File::options().write(true).open(lock).unwrap();
    held.try_lock().unwrap();
    let parts = ["`gw:logs` is being offloaded by another process of this user", "try again"];
    refused(scene.offload(&["--capacity", "10kB"]), 6, &parts);
    drop(held);
    scene.offload(&["--capacity", "10kB"]).success();
}

#[test]
fn who_comes_second_to_a_directory_here_is_refused_at_once() {
    let world = World::start();
    let home = world.joined("push");
    let here = world.beside("here");
    plant(&here);
    let offload = || {
        let places =
            ["offload", text(&here), "gw:old", "--above", "75%", "--until", "25%", "--capacity", "10kB"];
        home.swarm(places)
    };
    let lock = |path: &std::path::Path, how| {
        let dir = Arc::new(fs::File::open(path).unwrap());
        flock(&dir, how).unwrap();
        dir
    };
    // As another one does that is at it, at a directory in it, and at one above it.
    for (path, how) in [
        (here.clone(), FlockOperation::LockExclusive),
        (here.clone(), FlockOperation::LockShared),
        (here.parent().unwrap().to_owned(), FlockOperation::LockExclusive),
    ] {
        let held = lock(&path, how);
        refused(offload(), 6, &["is being offloaded by another process", "try again"]);
        drop(held);
    }
    let held = lock(here.parent().unwrap(), FlockOperation::LockShared);
    offload().success();
    drop(held);
    assert_eq!(names(&here), set(&NAMES[8..]));
}

/// Story: two that put a file of one name into one archive could each find that the name is free.
#[test]
fn who_comes_second_to_a_destination_here_is_refused_at_once() {
    let scene = Scene::new();
    fs::create_dir(scene.archive()).unwrap();
    let held = fs::File::open(scene.archive()).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    refused(scene.offload(&["--capacity", "10kB"]), 6, &["another one moves files to it", "try again"]);
    assert_eq!(names(&scene.logs()), set(&NAMES));
    drop(held);
    scene.offload(&["--capacity", "10kB"]).success();
}

/// A directory here, from which files go to the gateway.
struct Outward {
    world: World,
    home: ControllerHome,
    here: PathBuf,
}

impl Outward {
    fn new() -> Self {
        let world = World::start();
        let (home, here) = (world.joined("push"), world.beside("here"));
        plant(&here);
        Self { world, home, here }
    }

    fn offload(&self) -> Assert {
        let places = ["offload", text(&self.here), "gw:old/here"];
        let terms = ["--above", "75%", "--until", "25%", "--capacity", "10kB"];
        self.home.swarm([&places[..], &terms[..]].concat())
    }
}

/// Story: two into one directory at a gateway were not kept apart, so each could find that a name is free.
#[test]
fn who_comes_second_to_a_destination_at_the_gateway_is_refused_at_once() {
    let scene = Outward::new();
    let other = scene.world.joined("list,push,delete");
    for (path, shown) in [("old/here", "`old/here`"), ("old", "`old`"), ("old/here/sub", "`old/here/sub`")] {
        let holder = Holder::hold_as(HoldAs::Destination, &other, path);
        let to = format!("files are being offloaded to {shown} by the identity");
        refused(scene.offload(), 6, &[&to, "try again when that has ended"]);
        drop(holder);
    }
    assert_eq!(names(&scene.here), set(&NAMES));
    // Who moves files on is in nobody's way.
    fs::create_dir_all(scene.world.root().join("old/here")).unwrap();
    let holder = Holder::hold(&other, "old/here");
    scene.offload().success();
    drop(holder);
    assert_eq!(names(&scene.here), set(&NAMES[8..]));
}

/// Of one identity a lock says that somebody moves files there, so that the gateway may believe that an earlier one is dead.
#[test]
fn two_processes_of_one_user_with_one_destination_do_not_meet_either() {
    let scene = Outward::new();
    scene.offload().success();
    plant(&scene.here);
    let locks = || {
        let entries =
            fs::read_dir(scene.home.path().join("offload")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "lock")).collect::<BTreeSet<_>>()
    };
    let before = locks();
    assert_eq!(before.len(), 2, "that of the source and that of the destination");
    // Another directory with the same destination.
    let there = scene.world.beside("there");
    plant(&there);
    let places = ["offload", text(&there), "gw:old/here", "--above", "75%", "--until", "25%"];
    let offload = || scene.home.swarm([&places[..], &["--capacity", "10kB"]].concat());
    offload().success();
    let shared: Vec<_> = locks().into_iter().filter(|lock| before.contains(lock)).collect();
    plant(&there);
    let held: Vec<_> =
        shared.iter().map(|lock| fs::File::options().write(true).open(lock).unwrap()).collect();
    held.iter().for_each(|lock| lock.try_lock().unwrap());
    refused(offload(), 6, &["files are being offloaded to `gw:old/here` by another process of this user"]);
    drop(held);
    offload().success();
}

/// Story: one through the gateway and one on its machine moved the same files away, and both ended well.
#[test]
fn a_directory_that_is_offloaded_on_the_gateways_machine_is_not_offloaded_through_it() {
    let scene = Scene::new();
    let held = fs::File::open(scene.logs()).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let parts = ["`logs` is being offloaded by another process on the gateway's machine", "try again"];
    refused(scene.offload(&["--capacity", "10kB"]), 6, &parts);
    drop(held);
    let holder = Holder::hold(&scene.home, "logs");
    let held = fs::File::open(scene.logs()).unwrap();
    assert!(flock(&held, FlockOperation::NonBlockingLockExclusive).is_err());
    drop(holder);
    scene.offload(&["--capacity", "10kB"]).success();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
}
