//! Children, their keepers and the janitor: nothing outlives its owner, and what it cost is known.

use std::{
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use swarmwire_bench::process::{self, Ending, Nursery, tree};

const PATIENCE: Duration = Duration::from_secs(30);

fn nursery() -> Nursery {
    Nursery::new(env!("CARGO_BIN_EXE_swarmwire-bench").into(), None)
}

fn shell(script: &str) -> Command {
    let mut command = process::command("sh");
    command.args(["-c", script]);
    command
}

/// Looks until `found` gives something.
fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn lives(process: u32) -> bool {
    // The state follows the name in parentheses; a zombie has ended.
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[test]
fn a_command_that_succeeds_gives_its_output() {
    let finished = nursery().run(&shell("echo out; echo err >&2"), None, PATIENCE).unwrap();
    assert_eq!(finished.success().unwrap(), "out\n");
    assert!(
        finished.report.wall > Duration::ZERO && finished.report.peak_bytes > 100_000,
        "{:?}",
        finished.report
    );
}

#[test]
fn a_command_that_fails_is_an_error_that_quotes_it() {
    let finished = nursery().run(&shell("echo the reason >&2; exit 3"), None, PATIENCE).unwrap();
    let error = finished.success().unwrap_err().to_string();
    assert!(error.contains("exit status 3") && error.contains("sh: the reason"), "{error}");
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let finished = nursery().run(&process::command("/no/such/program"), None, PATIENCE).unwrap();
    let error = finished.success().unwrap_err().to_string();
    assert!(error.contains("/no/such/program") && error.contains("No such file"), "{error}");
}

#[test]
fn a_command_that_hangs_is_killed_at_its_deadline() {
    let error = nursery()
        .run(&shell("echo still here >&2; sleep 600"), None, Duration::from_millis(300))
        .unwrap_err();
    assert!(
        error.to_string().contains("did not end within") && error.to_string().contains("still here"),
        "{error}"
    );
}

#[test]
fn input_reaches_the_child() {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"secret").unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let finished = nursery().run(&process::command("cat"), Some(input), PATIENCE).unwrap();
    assert_eq!(finished.success().unwrap(), "secret");
}

#[test]
fn a_terminated_child_may_clean_up() {
    let child = nursery()
        .spawn(&shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"))
        .unwrap();
    eventually("ready", || child.stdout().unwrap().contains("ready").then_some(()));
    let finished = child.terminate().unwrap();
    assert_eq!(finished.report.ending, Ending::Exited(7));
}

#[test]
fn what_a_child_leaves_behind_is_charged_to_it_and_ended() {
    // The loop detaches itself, burns CPU until it is killed, and tells its number.
    let script = "setsid sh -c 'echo $$; while :; do :; done' & sleep 0.2";
    let child = nursery().spawn(&shell(script)).unwrap();
    let left: u32 = eventually("its number", || child.stdout().unwrap().trim().parse().ok());
    let finished = child.finish().unwrap();
    assert!(!lives(left));
    assert!(finished.report.user > Duration::from_millis(50), "{:?}", finished.report);
}

#[test]
fn a_dropped_child_ends_with_all_its_descendants() {
    let child = nursery().spawn(&shell("sleep 600 & sleep 600 & wait")).unwrap();
    let keeper = child.keeper_id();
    let all = eventually("three processes", || Some(tree::descendants(keeper)).filter(|all| all.len() == 3));
    assert!(tree::resident_bytes(&all) > 0);
    drop(child);
    assert!(!all.into_iter().any(lives));
}

/// A keeper or janitor whose owner is this test: its standard input is the leash.
fn owned(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarmwire-bench"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn children_end_when_their_owner_is_gone() {
    let mut keeper = owned(&["keep", "--", "sh", "-c", "sleep 600 & sleep 600"]);
    let all =
        eventually("three processes", || Some(tree::descendants(keeper.id())).filter(|all| all.len() == 3));
    drop(keeper.stdin.take());
    keeper.wait().unwrap();
    assert!(!all.into_iter().any(lives));
}

fn order(directory: &Path, inode: u64) -> Vec<u8> {
    let mut order = format!("{} {inode} ", fs::metadata(directory).unwrap().dev()).into_bytes();
    order.extend_from_slice(directory.as_os_str().as_bytes());
    order.push(0);
    order
}

#[test]
fn the_janitor_removes_the_directory_once_its_owner_is_gone_and_nobody_holds_it() {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("ours");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("lock"), b"").unwrap();
    fs::write(directory.join("content"), b"x").unwrap();
    let mut janitor = owned(&["clean"]);
    let inode = fs::metadata(&directory).unwrap().ino();
    janitor.stdin.as_mut().unwrap().write_all(&order(&directory, inode)).unwrap();
    let lock = directory.join("lock");
    let mut keeper = owned(&["keep", "--hold", lock.to_str().unwrap(), "--", "cat", "/dev/zero"]);
    eventually("a child", || (!tree::descendants(keeper.id()).is_empty()).then_some(()));
    drop(janitor.stdin.take());
    assert!(directory.join("content").exists());
    drop(keeper.stdout.take());
    drop(keeper.stdin.take());
    keeper.wait().unwrap();
    janitor.wait().unwrap();
    assert!(!directory.exists());
}

#[test]
fn the_janitor_leaves_a_directory_that_is_not_the_one_it_was_told_of() {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("somebody's");
    fs::create_dir(&directory).unwrap();
    let mut janitor = owned(&["clean"]);
    let other = fs::metadata(top.path()).unwrap().ino();
    janitor.stdin.take().unwrap().write_all(&order(&directory, other)).unwrap();
    assert!(janitor.wait().unwrap().success());
    assert!(directory.exists());
}
