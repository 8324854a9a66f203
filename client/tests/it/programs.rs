//! Programs as subroutines, through the command line: `call`, `stream`, `send` and `services`.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command as Process, Stdio},
    time::Duration,
};

use serde_json::Value;
use swarmwire_common::wire::call::CallKind;
use swarmwire_server::subroutines::{
    Subroutine, Subroutines,
    command::{CommandOptions, ItemForm},
};

use crate::world::{ControllerHome, World, refused, stdout};

/// A shell script, with the names of its arguments.
fn script(kind: CallKind, script: &str, arguments: &[&str]) -> CommandOptions {
    let words = ["sh", "-c", script, "sh"].into_iter().map(ToOwned::to_owned);
    let places = arguments.iter().map(|name| format!("{{{name}}}"));
    // A brace of the script's own is doubled.
    let words = words.map(|word| word.replace('{', "{{").replace('}', "}}"));
    CommandOptions { max_output: 1 << 20, ..CommandOptions::new(words.chain(places), kind) }
}

fn with(subroutines: &[(&str, CommandOptions)]) -> (World, ControllerHome) {
    let registry = Subroutines::new();
    for (name, options) in subroutines {
        registry.register(name, Subroutine::command(options.clone()).unwrap()).unwrap();
    }
    let world = World::start_with(|options| {
        options.subroutines = registry;
        options.metrics = Some(([127, 0, 0, 1], 0).into());
    });
    let home = world.joined("call");
    (world, home)
}

fn objects(told: &str) -> Vec<Value> {
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_program_gets_its_arguments_in_words_and_as_json_and_gives_its_output() {
    let (world, home) = with(&[
        ("words", script(CallKind::Batch, r#"printf '<%s>' "$@""#, &["what", "n"])),
        ("stdin", script(CallKind::Batch, "cat", &[])),
        ("environment", script(CallKind::Batch, r#"printf %s "$SWARMWIRE_ARGS""#, &[])),
        ("large", script(CallKind::Batch, "head -c 300000 /dev/zero", &[])),
    ]);
    let nasty = "a b'; $(touch x) \"c\"\n-e";
    let told = stdout(home.swarm(["call", "gw", "words", nasty, "--arg", "n=3", "--raw"]));
    assert_eq!(told, format!("<{nasty}><3>"));
    for name in ["stdin", "environment"] {
        let told = stdout(home.swarm(["call", "gw", name, "text", "5", "[1,null]", "--arg", "k=true"]));
        let expected = r#"{"args":["text",5,[1,null]],"kwargs":{"k":true}}"#;
        assert_eq!(
            serde_json::from_str::<Value>(&told).unwrap(),
            serde_json::from_str::<Value>(expected).unwrap()
        );
    }
    let file = world.beside("arguments.json");
    fs::write(&file, r#"{"args":["from a file"],"kwargs":{}}"#).unwrap();
    let told = stdout(home.swarm(["call", "gw", "stdin", "--json-args", file.to_str().unwrap()]));
    assert!(told.contains("from a file"), "{told}");
    let long = format!(r#"["{}",1]"#, "x".repeat(200_000));
    fs::write(&file, long).unwrap();
    let call = |name| home.swarm(["call", "gw", name, "--json-args", file.to_str().unwrap()]);
    // Linux takes 128 KiB for one word; as a whole the same arguments are not too long.
    refused(call("words"), 1, &["invalid: argument mismatch: the arguments are longer than a program"]);
    assert!(stdout(call("stdin")).len() > 200_000);
    let output = home.swarm(["call", "gw", "large"]).success().get_output().stdout.clone();
    assert!(output.len() == 300_000 && output.iter().all(|&byte| byte == 0));
}

#[test]
fn several_calls_come_back_in_order_and_are_summed_up() {
    let (_world, home) = with(&[("id", script(CallKind::Batch, r#"printf %s "$SWARMWIRE_CALL_ID""#, &[]))]);
    let told = stdout(home.swarm(["call", "gw", "id", "--parallel", "3", "--repeat", "7"]));
    assert_eq!(told, "1\n2\n3\n4\n5\n6\n7\n");
    let told = objects(&stdout(home.swarm(["call", "gw", "id", "--repeat", "2", "--json"])));
    assert_eq!(
        (&told[0]["event"], &told[0]["id"], &told[0]["text"]),
        (&"reply".into(), &8.into(), &"8".into())
    );
    assert_eq!((&told[2]["event"], &told[2]["calls"]), (&"summary".into(), &2.into()));
    let told = stdout(home.swarm(["services", "gw"]));
    assert!(told.lines().count() == 2 && told.contains("id    batch  9"), "{told}");
}

#[test]
fn lines_and_frames_are_items() {
    let frames = CommandOptions {
        items: ItemForm::Frames,
        ..script(CallKind::Stream, r"printf '\000\000\000\003a\nb\000\000\000\000'", &[])
    };
    let (_world, home) = with(&[
        ("lines", script(CallKind::Stream, r"printf 'one\n\ntwo\nlast'", &[])),
        ("frames", frames),
        ("endless", script(CallKind::Stream, "while :; do echo line; done", &[])),
        ("silent", script(CallKind::Stream, ":", &[])),
    ]);
    assert_eq!(stdout(home.swarm(["stream", "gw", "lines"])), "one\n\ntwo\nlast\n");
    let told = objects(&stdout(home.swarm(["stream", "gw", "frames", "--json"])));
    assert_eq!(
        (&told[0]["ident"], &told[0]["text"], &told[1]["text"]),
        (&0.into(), &"a\nb".into(), &"".into())
    );
    assert_eq!(stdout(home.swarm(["stream", "gw", "frames", "--raw"])), "\0\0\0\u{3}a\nb\0\0\0\0");
    assert_eq!(stdout(home.swarm(["stream", "gw", "endless", "--limit", "3"])), "line\nline\nline\n");
    assert_eq!(stdout(home.swarm(["stream", "gw", "silent"])), "");
}

#[test]
fn a_program_is_fed_and_its_integer_comes_back() {
    let (world, home) = with(&[
        ("count", script(CallKind::Send, "wc -c", &[])),
        ("deaf", script(CallKind::Send, "echo -5", &[])),
        ("wordless", script(CallKind::Send, "cat >/dev/null; echo done", &[])),
    ]);
    let file = world.beside("data");
    fs::write(&file, vec![1; 3_000_000]).unwrap();
    let data = ["--data", file.to_str().unwrap()];
    let send = |name: &str| stdout(home.swarm(["send", "gw", name].into_iter().chain(data)));
    assert_eq!(send("count"), "3000000\n");
    // It does not read: no error.
    assert_eq!(send("deaf"), "-5\n");
    assert_eq!(send("wordless"), "0\n");
    let told = home.command(["send", "gw", "count", "--json"]).write_stdin("four").assert().success();
    assert_eq!(objects(&stdout(told))[0]["value"], 4);
}

#[test]
fn a_program_that_fails_says_its_last_words() {
    let (_world, home) = with(&[
        ("fail", script(CallKind::Batch, "seq 1 100 >&2; echo half; echo 'no film' >&2; exit 3", &[])),
        ("killed", script(CallKind::Batch, "kill -9 $$", &[])),
        ("broken", script(CallKind::Stream, "echo one; exit 1", &[])),
        ("send", script(CallKind::Send, "echo 1; exit 2", &[])),
        ("much", CommandOptions { max_output: 10, ..script(CallKind::Batch, "echo 12345678901", &[]) }),
        (
            "slow",
            CommandOptions {
                timeout: Some(Duration::from_millis(100)),
                ..script(CallKind::Batch, "sleep 60 & wait", &[])
            },
        ),
        ("words", script(CallKind::Batch, ":", &["path"])),
    ]);
    for (arguments, code, said) in [
        (&["call", "gw", "fail"][..], 1, "failed: the program ended with exit status: 3:\n  82\n"),
        (&["call", "gw", "fail"], 1, "\n  no film\n"),
        (&["call", "gw", "killed"], 1, "the program ended with signal: 9"),
        (&["stream", "gw", "broken"], 1, "the program ended with exit status: 1"),
        (&["send", "gw", "send"], 1, "the program ended with exit status: 2"),
        (&["call", "gw", "much"], 1, "too_large: the subroutine gives more bytes than it may"),
        (
            &["call", "gw", "slow", "--timeout", "30s"],
            1,
            "deadline: the call took longer than 100ms, the `timeout` of `slow`",
        ),
        (&["call", "gw", "words"], 1, "argument mismatch: argument `path` is missing"),
        (&["call", "gw", "words", "a", "b"], 1, "2 positional arguments were given, 1 are taken"),
        (&["call", "gw", "words", "--arg", "pth=a"], 1, "there is no argument `pth`; there are `path`"),
        (&["call", "gw", "wrds", "a"], 1, "do you mean `words`?"),
        (&["call", "gw", "words", "--arg", "path"], 2, "`path` has no `=`"),
    ] {
        refused(home.swarm(arguments.iter().copied()), code, &[said]);
    }
    // What came before counts.
    let broken = home.swarm(["stream", "gw", "broken"]).code(1);
    assert_eq!(String::from_utf8_lossy(&broken.get_output().stdout), "one\n");
}

#[test]
fn with_a_call_its_whole_process_group_ends() {
    let (world, home) = with(&[
        // A child in the background, which holds the pipes, and one that does not hear SIGTERM.
        ("leaves", script(CallKind::Batch, "sleep 1000 & echo $!", &[])),
        ("deaf", script(CallKind::Batch, "(trap '' TERM; exec sleep 1000) & echo $!", &[])),
        ("waits", script(CallKind::Stream, "echo $$; sleep 1000", &[])),
    ]);
    let gone = |pid: &str| {
        let start = std::time::Instant::now();
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(start.elapsed() < Duration::from_secs(20), "process {pid} lives on");
            std::thread::yield_now();
        }
    };
    for arguments in
        [&["call", "gw", "leaves"][..], &["call", "gw", "deaf"], &["stream", "gw", "waits", "--limit", "1"]]
    {
        let told = stdout(home.swarm(arguments.iter().copied()));
        gone(told.trim());
    }
    world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(10), |count| count == 0.0);
}

#[test]
fn a_child_that_has_left_the_group_does_not_keep_the_call() {
    let (_world, home) = with(&[("leaves", script(CallKind::Batch, "setsid sleep 20 & echo gone", &[]))]);
    let start = std::time::Instant::now();
    assert_eq!(stdout(home.swarm(["call", "gw", "leaves"])), "gone\n");
    // The pipes are given up after two times two seconds; the child lives for twenty.
    assert!(start.elapsed() < Duration::from_secs(18), "it was waited for");
}

#[test]
fn a_program_sees_no_end_of_an_input_that_breaks_off_and_keeps_its_place_until_it_is_gone() {
    let deaf = r#"trap "" TERM; echo $$ >"$PLACE/pid"; cat >"$PLACE/part"; mv "$PLACE/part" "$PLACE/whole""#;
    let place = tempfile::tempdir().unwrap();
    let options = CommandOptions {
        concurrency: Some(1),
        environment: BTreeMap::from([("PLACE".to_owned(), place.path().to_str().unwrap().to_owned())]),
        ..script(CallKind::Send, deaf, &[])
    };
    let (world, home) = with(&[("keep", options)]);
    let mut feeding = Process::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["send", "gw", "keep"])
        .env("SWARMWIRE_HOME", home.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = feeding.stdin.take().unwrap();
    input.write_all(&[1; 100_000]).unwrap();
    let start = std::time::Instant::now();
    while !fs::metadata(place.path().join("part")).is_ok_and(|part| part.len() == 100_000) {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing arrives");
        std::thread::yield_now();
    }
    feeding.kill().unwrap();
    feeding.wait().unwrap();
    // The gateway notices within the idle timeout, and waits for two seconds then.
    world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(30), |count| count == 0.0);
    let pid = fs::read_to_string(place.path().join("pid")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "its place was free before it was gone");
    assert!(!place.path().join("whole").exists(), "half of a buffer was taken for all of it");
}
