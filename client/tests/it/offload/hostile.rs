//! Gateways that answer as none should, or have no room in mid-run: told as what it is, at once, with nothing removed and no end of memory.

use std::{cell::Cell, collections::BTreeSet, fs};

use swarmwire_common::{
    channel::Channel,
    entry::{Kind, Metadata},
    limits,
    wire::{
        self,
        list::{ListEntry, ListKind, ListMessage, ListRequest},
        offload::Space,
        open::{Open, Reply, SERVICE_LIST, SERVICE_OFFLOAD, SERVICE_SYNC},
        status::Status,
    },
};

use super::{NAMES, Scene, names, set, told};
use crate::{
    stranger::Stranger,
    world::{ControllerHome, World, refused, stdout, text},
};

/// A gateway that holds what it is asked to hold, lists `page`, has nothing else, and answers a sync by `sync`.
fn gateway(page: Vec<ListEntry>, sync: impl Fn() -> Reply + Send + 'static) -> Stranger {
    Stranger::start(wire::ALPN, async move |incoming| {
        let connection = incoming.await.unwrap();
        // A channel that is dropped has ended.
        let mut channels = Vec::new();
        while let Ok((send, recv)) = connection.accept_bi().await {
            let mut channel = Channel::new(send, recv);
            let open: Open = channel.recv.recv::<_, { limits::OPEN_FRAME_BYTES_MAX }>().await.unwrap();
            match open.service.as_str() {
                SERVICE_OFFLOAD => channel.reply_ok(&Space::default()).await.unwrap(),
                SERVICE_LIST => list(&mut channel, &open, &page).await,
                SERVICE_SYNC => channel.send.send(&sync()).await.unwrap(),
                other => panic!("{other} is asked for"),
            }
            channels.push(channel);
        }
    })
}

async fn list(channel: &mut Channel, open: &Open, page: &[ListEntry]) {
    let asked: ListRequest =
        swarmwire_common::codec::decode::<_, { limits::OPEN_FRAME_BYTES_MAX }>(&open.request).unwrap();
    if !asked.recursive {
        return channel.send.send(&refusal(Status::NotFound, "it does not exist")).await.unwrap();
    }
    channel.reply_ok(&()).await.unwrap();
    for message in [ListMessage::Page(page.to_vec()), ListMessage::End] {
        channel.send.send(&message).await.unwrap();
    }
    channel.send.finish();
}

fn refusal(status: Status, detail: &str) -> Reply {
    Reply { status: status.into(), detail: detail.to_owned(), retry_after_ms: 0, body: Vec::new() }
}

fn file(path: &str, size: u64) -> ListEntry {
    let kind = ListKind::Plain(Kind::File { size });
    ListEntry { path: path.into(), kind, metadata: Metadata::default(), hash: None }
}

/// The command line of an offload that has something to do.
fn offload<'a>(archive: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let places = ["offload", "gw:logs", archive, "--above", "75%", "--until", "25%", "--capacity", "10kB"];
    [&places[..], options].concat()
}

fn archive(home: &ControllerHome) -> std::path::PathBuf {
    home.path().join("archive")
}

#[test]
fn an_empty_page_is_no_listing() {
    let gateway = gateway(Vec::new(), || panic!("nothing is to be moved"));
    let home = gateway.pinned();
    for options in [&[][..], &["--dry-run"]] {
        let assert = home.swarm(offload(text(&archive(&home)), options));
        refused(assert, 4, &["broke the protocol", "its listing has an empty page"]);
    }
    gateway.end();
}

/// Story: two sizes of a lying gateway, added up, were the end of the process.
#[test]
fn sizes_of_a_gateway_may_be_as_large_as_they_like() {
    let gateway = gateway(vec![file("a", 1 << 63), file("b", 1 << 63)], || panic!("nothing is to be moved"));
    let home = gateway.pinned();
    let archive = archive(&home);
    let places = ["offload", "gw:logs", text(&archive), "--above", "75%", "--until", "0%"];
    let rehearse =
        |options: &[&str]| stdout(home.swarm([&places[..], &["--capacity", "10kB", "-n"], options].concat()));
    let told = told(rehearse(&["--json"]).as_bytes());
    assert_eq!((&told["files_to_move"], &told["bytes_to_move"]), (&2.into(), &u64::MAX.into()), "{told}");
    assert_eq!(told["used_before"], u64::MAX, "{told}");
    assert!(rehearse(&[]).contains("dry run: 2 files to move"));
    gateway.end();
}

/// A gateway that had room for it in the beginning has some again in a moment.
#[test]
fn a_gateway_that_is_busy_in_mid_run_is_asked_again_and_says_what_it_takes() {
    let attempts = Cell::new(0);
    let gateway = gateway(vec![file("a", 10_000)], move || {
        attempts.set(attempts.get() + 1);
        match attempts.get() {
            1 | 2 => refusal(Status::Busy, "all 2 handlers of the gateway are in use"),
            _ => refusal(Status::Denied, "that is enough"),
        }
    });
    let home = gateway.pinned();
    let once = home.swarm(offload(text(&archive(&home)), &["--retry", "0s"]));
    let parts = ["all 2 handlers of the gateway are in use", "needs two handlers of the gateway at a time"];
    refused(once, 6, &parts);
    refused(home.swarm(offload(text(&archive(&home)), &["--retry", "10s"])), 5, &["that is enough"]);
    gateway.end();
}

#[test]
fn a_gateway_with_one_handler_says_that_it_takes_two() {
    let world = World::start_with(|options| options.handlers = 1);
    let home = world.joined(super::GRANTS);
    super::plant(&world.root().join("logs"));
    let assert = home.swarm(offload(text(&world.beside("archive")), &[]));
    refused(assert, 6, &["all 1 handlers", "an offload needs two handlers of the gateway at a time"]);
    assert_eq!(names(&world.root().join("logs")), set(&NAMES));
    let home = world.joined("push");
    let here = world.beside("here");
    super::plant(&here);
    let places = ["offload", text(&here), "gw:old", "--above", "75%", "--until", "25%"];
    let assert = home.swarm([&places[..], &["--capacity", "10kB", "--retry", "0s"]].concat());
    refused(assert, 6, &["all 1 handlers", "an offload needs two handlers of the gateway at a time"]);
    assert_eq!(names(&here), set(&NAMES));
}

/// Story: with a quota nothing but syncs was asked of the gateway, and two went on side by side that each had the right to be the only one.
#[test]
fn who_is_taken_over_in_mid_run_ends_at_once() {
    let scene = Scene::new();
    let logs = scene.logs();
    fs::remove_dir_all(&logs).unwrap();
    let count = limits::OFFLOAD_BATCH_FILES_MAX + 50;
    (0..count).for_each(|number| super::put(&logs, &format!("{number:04}"), number, number));
    let all = names(&logs);
    // It is shut in the midst of the first batch, which has a megabyte.
    let relay = crate::relay::Relay::start(scene.world.address, 500_000);
    scene.home.pin("far", relay.address, scene.world.fingerprint);
    let archive = scene.archive();
    let places = ["offload", "far:logs", text(&archive), "--above", "75%", "--until", "0%"];
    let mut command = scene.home.command(places);
    command.args(["--capacity", "10kB", "--json"]);
    let running = std::thread::spawn(move || command.assert());
    relay.wait_until_shut();
    relay.open_back();
    let holder = super::holding::Holder::hold(&scene.home, "logs");
    relay.open_to(scene.world.address);
    let parts = ["`logs` was taken over: another process with this identity offloads it now"];
    refused(running.join().unwrap(), 6, &parts);
    drop(holder);
    assert_eq!(names(&archive).union(&names(&logs)).cloned().collect::<BTreeSet<_>>(), all);
}
