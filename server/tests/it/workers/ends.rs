//! How workers end: when the file changes, and with the gateway.

use std::{fs, thread, time::Instant};

use rustix::process::Signal;

use super::{OPTIONS, PATIENCE, Place, held, kill, lives, next, pid, text, until, words, workers};
use crate::subroutines::user;

#[tokio::test]
async fn sighup_replaces_the_workers_of_what_has_changed_and_no_others() {
    let place = Place::new();
    let rest = "workers = { min = 2, max = 2 }";
    let [same, changes] = ["same", "changes"].map(|name| {
        let kind = if name == "same" { "batch" } else { "stream" };
        place.section_of(name, kind, &[kind], rest)
    });
    let goes = place.section_of("goes", "batch", &["batch"], rest);
    let (swarmd, controller) = place.with(&[same.clone(), changes, goes]).await;
    let kept = pid(&controller, "same").await;
    let (mut items, old) = held(&controller, "changes").await;
    let gone = pid(&controller, "goes").await;

    let changed = place.section_of("changes", "stream", &["stream", "changed"], rest);
    place.configure(&[same, changed]);
    swarmd.signal(Signal::HUP);
    let names = async || controller.services().await.unwrap().len() == 2;
    until(&controller, "one is removed", names).await;
    until(&controller, "its workers end", async || !lives(&gone)).await;
    until(&controller, "new ones are started", async || workers(&controller, "changes").await == 2).await;
    // What runs goes on, with the old one; what begins has a new one.
    for _ in 0..1000 {
        assert_eq!(next(&mut items).await.unwrap().unwrap(), "");
    }
    let (new_items, new) = held(&controller, "changes").await;
    assert!(lives(&old) && is_changed(&new) && !is_changed(&old));
    drop(items);
    until(&controller, "the old one ends after its call", async || !lives(&old)).await;
    assert_eq!(pid(&controller, "same").await.len(), kept.len());
    assert!(lives(&kept) && lives(&new));
    drop(new_items);
}

fn is_changed(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().ends_with("\0changed\0")
}

#[tokio::test]
async fn with_the_gateway_all_of_them_end_those_that_hear_nothing_too() {
    for signals in [&[Signal::TERM][..], &[Signal::TERM, Signal::TERM]] {
        let place = Place::new();
        let rest = "workers = { min = 1, max = 2 }";
        let mut sections =
            vec![place.section("batch", "batch", rest), place.section("stream", "stream", rest)];
        // A worker, and a program that is started for a call.
        let stubborn = ["deaf", "plain"];
        for (name, rest) in stubborn.iter().zip(["workers = { max = 1 }", ""]) {
            sections.push(place.section_of(name, "stream", &[&place.text(name), "--stubborn"], rest));
        }
        let (swarmd, controller) = place.with(&sections).await;
        let mut pids = vec![pid(&controller, "batch").await];
        let (items, held) = held(&controller, "stream").await;
        pids.push(held);
        let called = controller.stream("plain", (), OPTIONS).await.unwrap();
        for name in stubborn {
            until(&controller, "it is there", async || place.path(name).exists()).await;
            pids.push(fs::read_to_string(place.path(name)).unwrap().trim().to_owned());
        }
        assert!(pids.iter().all(|pid| lives(pid)));
        if let [first, _] = signals {
            swarmd.signal(*first);
        }
        let log = swarmd.end(*signals.last().unwrap()).1;
        drop((items, called));
        let left: Vec<&String> = pids.iter().filter(|pid| lives(pid)).collect();
        assert!(left.is_empty(), "{left:?} have outlived the gateway: {log}");
    }
}

/// Story: a gateway that was killed (kill -9) left its programs behind, and workers that do not look at their input.
#[tokio::test]
async fn with_a_gateway_that_is_killed_whole_process_groups_end() {
    let place = Place::new();
    let user = user();
    let plain = format!(
        r#"[subroutines.plain]
        command = ['sh', '-c', 'trap "" TERM; sleep 300 & echo $$ $!; wait; sleep 300']
        kind = 'stream'
        working_directory = '/'
        user = '{user}'
        "#
    );
    let kept = format!(
        r#"[subroutines.kept]
        command = ['sh', '-c', 'trap "" TERM; echo $$ >"$0.new"; mv "$0.new" "$0"; sleep 300; sleep 300', '{}']
        kind = 'batch'
        workers = {{ min = 1 }}
        "#,
        place.text("kept")
    );
    let (swarmd, controller) = place.with(&[plain, kept]).await;
    until(&controller, "it is there", async || place.path("kept").exists()).await;
    let worker = fs::read_to_string(place.path("kept")).unwrap();
    let mut items = controller.stream("plain", (), OPTIONS).await.unwrap();
    let told = next(&mut items).await.unwrap().unwrap();
    let pids: Vec<_> = told.split(' ').chain([worker.trim()]).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| lives(pid)), "{pids:?}");
    let log = swarmd.end(Signal::KILL).1;
    let start = Instant::now();
    while start.elapsed() < PATIENCE && pids.iter().any(|pid| lives(pid)) {
        thread::yield_now();
    }
    let left: Vec<_> = pids.into_iter().filter(|pid| lives(pid)).collect();
    left.iter().for_each(|pid| kill(pid, Signal::KILL));
    assert!(left.is_empty(), "{left:?} have outlived the gateway: {log}");
}

#[tokio::test]
async fn what_cannot_be_a_worker_is_named() {
    let place = Place::new();
    for (rest, said) in [
        (
            "workers = { min = 3, max = 2 }",
            "`workers`: give `max` a number from 1 to 1024, and `min` none above it",
        ),
        ("workers = { max = 0 }", "`workers`: give `max`"),
        ("workers = { max = 1025 }", "`workers`: give `max`"),
        ("workers = { most = 1 }", "most"),
        ("workers = { idle = 'soon' }", "idle"),
        ("workers = { max = 1 }\nitems = 'frames'", "`items` has no meaning with `workers`"),
    ] {
        refused(&place, &place.section("x", "batch", rest), said);
    }
    let placed = "[subroutines.x]\ncommand = ['sh', '{a}']\nkind = 'batch'\nworkers = { max = 1 }\n";
    refused(&place, placed, "`command` cannot have `{a}`");
    let (_swarmd, controller) = place.with(&[place.section("x", "batch", "workers = {}")]).await;
    assert_eq!(text(&controller, "x", words(["echo"])).await, "[[], {}]");
}

fn refused(place: &Place, section: &str, said: &str) {
    let file = place.path("refused.toml");
    fs::write(&file, format!("root = '/'\n{section}")).unwrap();
    let (code, _, err) = crate::process::run(&place.path("state"), &["--config", file.to_str().unwrap()]);
    assert!(code == Some(2) && err.contains(said), "{code:?}: {err}");
}
