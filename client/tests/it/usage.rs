//! Command lines that make no sense: the argument is named, the fix is told, nothing is touched.

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use swarmwire_certs::Fingerprint;
use swarmwire_server::subroutines::{Context, Failure, Subroutine, Subroutines};

use crate::world::{ControllerHome, World, refused, stdout, text};

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

fn home_that_knows(name: &str) -> ControllerHome {
    let home = ControllerHome::new();
    home.pin(name, NOWHERE.into(), Fingerprint::from_bytes([7; 32]));
    home
}

#[test]
fn exactly_one_side_of_a_sync_is_remote() {
    let home = home_that_knows("web1");
    refused(home.swarm(["sync", "a", "b"]), 2, &["neither SRC `a` nor DST `b`", "GW:PATH"]);
    refused(home.swarm(["sync", "web1:a", "web1:b"]), 2, &["both SRC `web1:a` and DST `web1:b`", "./"]);
}

#[test]
fn an_unknown_gateway_is_answered_with_the_known_ones() {
    let home = home_that_knows("web1");
    let told = ["DST", "no gateway called `web2`", "known are web1 (127.0.0.1:9)"];
    let told = refused(home.swarm(["sync", ".", "web2:x"]), 2, &told);
    assert!(told.contains("local path"), "{told}");
    for (arguments, argument) in [
        (&["ls", "web2:"][..], "GW:PATH: "),
        (&["ping", "web2"], "GW: "),
        (&["call", "web2", "f"], "GW: "),
        (&["stream", "web2", "f"], "GW: "),
        (&["send", "web2", "f"], "GW: "),
        (&["services", "web2"], "GW: "),
        (&["stop", "web2"], "GW: "),
    ] {
        let parts = [argument, "no gateway called `web2`", "known are web1 (127.0.0.1:9)"];
        let told = refused(home.swarm(arguments), 2, &parts);
        assert!(!told.contains("local path"), "nobody meant one: {told}");
    }
    for bad in ["./web1", "", "web 1:"] {
        let told = refused(home.swarm(["call", bad, "f"]), 2, &[&format!("GW: `{bad}` is no gateway: a ")]);
        assert!(!told.contains("local path"), "nobody meant one: {told}");
    }
    refused(ControllerHome::new().swarm(["ping", "web2"]), 2, &["swarmd invite", "swarm join"]);
}

#[test]
fn an_address_that_was_never_pinned_is_a_matter_of_trust() {
    let home = home_that_knows("web1");
    refused(home.swarm(["ls", "swarm://127.0.0.1:10/x"]), 4, &["no gateway has been joined at", "web1"]);
}

#[test]
fn bad_arguments_are_named_with_the_fix() {
    let home = home_that_knows("web1");
    for (arguments, parts) in [
        (&["sync", ".", "swarm://h:99999/x"][..], &["DST", "swarm://h:99999/x", "port"][..]),
        (&["sync", ".", "web1:x", "--retry", "soon"], &["--retry", "like `30s`"]),
        (&["sync", ".", "web1:../x"], &["DST", "web1:../x", "component"]),
        (&["sync", ".", "web1:/etc"], &["DST", "web1:/etc", "leave the leading `/` away"]),
        (&["sync", "", "web1:x"], &["SRC", "empty"]),
        (&["sync", ".", "web1:x", "--durability", "some"], &["--durability", "batch"]),
        (&["sync", ".", "web1:x", "--metrics-file", "/no/where/x"], &["--metrics-file", "/no/where/x"]),
        (&["sync", ".", "web1:x", "--max-delete", "3"], &["--delete"]),
        (&["sync", ".", "web1:x", "-q", "-v"], &["--quiet", "--verbose"]),
        (&["sync", ".", "web1:x", "-n", "--metrics-file", "x"], &["--dry-run", "--metrics-file"]),
        (&["verify", "a", "b"], &["neither SRC `a` nor DST `b`"]),
        (&["sync", ".", "web1:x", "--update", "--ignore-existing"], &["--update", "--ignore-existing"]),
        (&["ls", "here"], &["GW:PATH", "local path", "web1:here"]),
        (&["ping", "web1:x"], &["GW", "only a gateway"]),
        (&["ping", "web1", "--size", "2MiB"], &["--size", "1048576"]),
        (&["ping", "web1", "--size", "many"], &["--size", "64KiB"]),
        (&["ping", "web1", "--count", "0"], &["--count"]),
        (&["join", "http://x"], &["URI", "swarmd invite"]),
        (&["join", "swarm://h:1/?gateway=x&token=y", "--name", "a/b"], &["gateway"]),
        (&["--key-exchange", "none", "gateways"], &["--key-exchange", "post-quantum"]),
        (&["call", "web1", "f", "x", "--data", "-"], &["--data", "ARG"]),
        (&["call", "web1", "f", "--arg", "k=1", "--data", "-"], &["--data", "--arg"]),
        (&["stream", "web1", "f", "--json-args", "-", "--data", "-"], &["--data", "--json-args"]),
        (
            &["stream", "web1", "f", "--data", "/no/where/x"],
            &["--data: `/no/where/x` cannot be read: no such file"],
        ),
        (
            &["send", "web1", "f", "--data", "/no/where/x"],
            &["--data: `/no/where/x` cannot be read: no such file"],
        ),
        (&["call", "web1", "f", "--data", "/"], &["--data: `/` cannot be read: is a directory"]),
        (&["send", "web1", "f", "--data", "/"], &["--data: `/` cannot be read: is a directory"]),
        (&["call", "web1", "f", "--json-args", "/"], &["--json-args: `/` cannot be read: is a directory"]),
        (
            &["call", "web1", "f", "--json-args", "/dev/zero"],
            &["--json-args: `/dev/zero`: a call takes at most"],
        ),
        (
            &["call", "web1", "f", "--json-args", "Cargo.toml"],
            &["--json-args: `Cargo.toml`: the arguments are no JSON"],
        ),
        (
            &["offload", "web1:a", "b", "--above", "0.75", "--until", "0.25"],
            &["--above", "`0.75`", "like `75%`"],
        ),
        (&["offload", "web1:a", "b", "--above", "1%", "--until", "0.001%"], &["--until", "at most two"]),
        (&["call", "web1", "f", "--arg", "=5"], &["--arg", "`=5` has no name", "KEY=VALUE"]),
        (&["fly"], &["fly"]),
    ] {
        refused(home.swarm(arguments), 2, parts);
    }
}

#[test]
fn a_source_that_is_missing_is_told_before_anybody_is_dialled() {
    let home = home_that_knows("web1");
    let told =
        refused(home.swarm(["sync", "/no/such/tree", "web1:x"]), 1, &["SRC `/no/such/tree` does not exist"]);
    assert_eq!(told.lines().count(), 1, "{told}");
}

/// Connecting took five seconds, whatever `--timeout` said.
#[test]
fn the_time_of_a_call_is_that_of_connecting_too() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let home = ControllerHome::new();
    home.pin("gw", silent.local_addr().unwrap(), Fingerprint::from_bytes([7; 32]));
    for verb in ["call", "stream", "send"] {
        let told = refused(home.swarm([verb, "gw", "f", "--timeout", "900ms"]), 4, &["no answer from"]);
        let (_, within) = told.split_once(" within ").unwrap();
        let within = humantime::parse_duration(within.split_once(';').unwrap().0).unwrap();
        assert!(within <= Duration::from_millis(900), "{told}");
    }
    refused(home.swarm(["call", "gw", "f", "--timeout", "0s"]), 4, &["no answer from"]);
}

#[test]
fn a_destination_below_a_file_is_told_before_anybody_is_dialled() {
    let home = home_that_knows("web1");
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "content").unwrap();
    let below = file.join("x/y");
    refused(home.swarm(["sync", "web1:x", text(&below)]), 1, &["DST", "file` is not a directory"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
}

#[test]
fn a_home_that_others_can_enter_is_refused_with_the_command_that_mends_it() {
    let home = home_that_knows("web1");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    refused(home.swarm(["gateways"]), 1, &["chmod 700", text(&home.path())]);
}

#[test]
fn known_gateways_are_listed() {
    let home = home_that_knows("web1");
    let key = "07".repeat(32);
    assert_eq!(stdout(home.swarm(["gateways"])), format!("web1  127.0.0.1:9  {key}\n"));
    assert_eq!(
        stdout(home.swarm(["gateways", "--json"])),
        format!("{{\"name\":\"web1\",\"host\":\"127.0.0.1\",\"port\":9,\"fingerprint\":\"{key}\"}}\n")
    );
}

#[test]
fn completions_and_manual_pages_come_from_the_same_text_as_the_help() {
    let home = ControllerHome::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(home.swarm(["completions", shell])).contains("durability"), "{shell}");
    }
    assert!(stdout(home.swarm(["man"])).contains("Exactly one of SRC and DST is remote"));
    let temp = tempfile::tempdir().unwrap();
    home.swarm(["man", "--out", text(temp.path())]).success();
    assert!(temp.path().join("swarm.1").is_file() && temp.path().join("swarm-sync.1").is_file());
    assert!(!home.path().exists(), "help needs no state");
}

#[test]
fn the_options_of_a_command_stand_before_those_of_every_connection() {
    let home = ControllerHome::new();
    for verb in ["ping", "ls", "sync", "verify", "offload", "call", "stream", "send", "services"] {
        for help in ["-h", "--help"] {
            let told = stdout(home.swarm([verb, help]));
            let (own, connection) = told.split_once("\nConnection:\n").unwrap();
            let options =
                |text: &str| text.lines().filter(|line| line.trim_start().starts_with("--")).count();
            assert!(options(own) > 0, "{told}");
            assert!(!own.contains("--key-exchange") && !own.contains("--congestion"), "{told}");
            assert_eq!(options(connection), 2, "{told}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
    let mut child = command.arg("man").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Story: "No space left on device" was all that was said of a full standard output, and somebody looked for it at the gateway.
#[test]
fn a_full_standard_output_is_named_by_every_command() {
    let registry = Subroutines::new();
    let batch = Subroutine::batch(async |_: Context, (): ()| Ok::<_, Failure>("bytes"));
    registry.register("batch", batch).unwrap();
    let items = Subroutine::stream(async |_: Context, (): ()| {
        Ok::<_, Failure>(stream::iter([Ok::<_, Failure>((1, Bytes::from_static(b"item")))]))
    });
    registry.register("stream", items).unwrap();
    registry.register("send", Subroutine::send(async |_: Context, _| Ok::<_, Failure>(5))).unwrap();
    let world = World::start_with(|options| options.subroutines = registry);
    let allow = "list,pull,push,delete,call,admin";
    let home = world.joined(allow);
    let (tree, uri) = (world.beside("tree"), world.invite(allow));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    for arguments in [
        &["call", "gw", "batch"][..],
        &["call", "gw", "batch", "--json"],
        &["call", "gw", "batch", "--repeat", "3"],
        &["stream", "gw", "stream"],
        &["stream", "gw", "stream", "--json"],
        &["send", "gw", "send", "--data", "/dev/null"],
        &["send", "gw", "send", "--data", "/dev/null", "--json"],
        &["services", "gw"],
        &["services", "gw", "--json"],
        &["ping", "gw"],
        &["ping", "gw", "--json"],
        &["verify", text(&tree), "gw:tree"],
        &["sync", text(&tree), "gw:", "-v"],
        &["sync", text(&tree), "gw:", "--json"],
        &["ls", "gw:"],
        &["ls", "gw:", "--json"],
        &["offload", "gw:", "archive", "--above", "0.1%", "--until", "0%", "--capacity", "1kB", "-n"],
        &["join", &uri],
        &["gateways"],
        &["gateways", "--json"],
        &["man"],
        &["completions", "bash"],
        &["stop", "gw"],
    ] {
        let full = ["-c", "exec \"$0\" \"$@\" >/dev/full", env!("CARGO_BIN_EXE_swarm")];
        let assert = home.program("sh", full.iter().chain(arguments)).assert();
        let told = refused(assert, 1, &["standard output cannot be written: no space left on device"]);
        assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
    }
}

#[test]
fn what_the_readme_says_a_test_holds_is_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(folder.join("../README.md")).unwrap();
    let (_, table) = readme.split_once("| pynet | here | test |").unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 15, "{rows:?}");
    let places = ["tests/it", "tests/it/calls"].map(|place| fs::read_dir(folder.join(place)).unwrap());
    let sources = places.into_iter().flatten().map(|entry| entry.unwrap().path());
    let sources: String =
        sources.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()).collect();
    for row in rows {
        let name = row.split('`').nth_back(1).unwrap();
        assert!(sources.contains(&format!("#[test]\nfn {name}()")), "{name} is no test");
    }
}
