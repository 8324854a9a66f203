//! Programs as subroutines, through the command line: `call`, `stream`, `send` and `services`.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command as Process, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use swarmwire_common::{
    limits,
    wire::call::{CallKind, Codec},
};
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

/// Story: an operator's environment was too long for any program, and each caller was told that the arguments were.
#[test]
fn what_the_operator_has_made_too_long_is_not_said_of_the_arguments() {
    let long = |kind| CommandOptions {
        environment: BTreeMap::from([("LONG".to_owned(), "x".repeat(140_000))]),
        ..script(kind, "cat", &[])
    };
    let wordy = script(CallKind::Batch, &format!("cat # {}", "x".repeat(140_000)), &["what"]);
    // Fits into one word, and the arguments of a call do not fit beside it.
    let full = (0..80).map(|number| (format!("V{number}"), "x".repeat(100_000))).collect();
    let full = CommandOptions { environment: full, ..script(CallKind::Stream, "cat", &[]) };
    let (world, home) = with(&[
        ("long", long(CallKind::Batch)),
        ("fed", long(CallKind::Send)),
        ("wordy", wordy),
        ("full", full),
        ("words", script(CallKind::Batch, "cat", &["what"])),
    ]);
    let reason =
        "could not be started: its `command` and `environment` are longer than a program can be given";
    for (verb, name) in [("call", "long"), ("send", "fed"), ("call", "wordy"), ("stream", "full")] {
        let mut command = home.command([verb, "gw", name]);
        if verb != "send" {
            command.arg("tiny");
        }
        let told =
            refused(command.write_stdin("").assert(), 1, &["unavailable", &format!("`{name}` {reason}")]);
        assert!(!told.contains("mismatch"), "{told}");
    }
    let file = world.beside("arguments.json");
    fs::write(&file, format!(r#"["{}"]"#, "x".repeat(200_000))).unwrap();
    let words = home.swarm(["call", "gw", "words", "--json-args", file.to_str().unwrap()]);
    refused(words, 1, &["invalid: argument mismatch: the arguments are longer"]);
}

#[test]
fn a_program_that_takes_bytes_gets_them_as_they_are() {
    let raw = |kind, text| CommandOptions { codec: Codec::Raw, ..script(kind, text, &[]) };
    let (world, home) = with(&[
        ("cat", raw(CallKind::Batch, "cat")),
        ("lines", raw(CallKind::Stream, "cat")),
        ("count", raw(CallKind::Batch, "wc -c")),
        ("words", script(CallKind::Batch, "cat", &[])),
    ]);
    let file = world.beside("data");
    let path = file.to_str().unwrap();
    // Longer than an opening frame, no UTF-8, and no JSON.
    let bytes: Vec<u8> = [b"{\xff\0\n".as_slice(); 20_000].concat();
    fs::write(&file, &bytes).unwrap();
    let told = home.swarm(["call", "gw", "cat", "--data", path]).success();
    assert!(told.get_output().stdout == bytes);
    let told = home.command(["stream", "gw", "lines", "--data", "-"]).write_stdin("one\ntwo").assert();
    assert_eq!(stdout(told), "one\ntwo\n");
    let several = ["call", "gw", "count", "--data", path, "--repeat", "3", "--parallel", "2"];
    assert_eq!(stdout(home.swarm(several)), "80000\n80000\n80000\n");

    let arguments = ["`cat` takes bytes as they are and no arguments (`--data`)"];
    refused(home.swarm(["call", "gw", "cat", "hello"]), 1, &arguments);
    refused(home.swarm(["call", "gw", "cat"]), 1, &arguments);
    let data = ["`words` takes arguments and no bytes as they are (`--data`)"];
    refused(home.swarm(["call", "gw", "words", "--data", path]), 1, &data);

    // A hole is read as zeros.
    let size = limits::ARGUMENTS_BYTES_MAX as u64;
    fs::File::create(&file).unwrap().set_len(size).unwrap();
    assert_eq!(stdout(home.swarm(["call", "gw", "count", "--data", path])).trim(), size.to_string());
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(size + 1).unwrap();
    let long = ["--data", "a call takes at most 16777216 bytes", "`swarm send`"];
    refused(home.swarm(["call", "gw", "count", "--data", path]), 2, &long);
}

#[test]
fn several_calls_come_back_in_order_and_are_summed_up() {
    let (_world, home) = with(&[
        ("id", script(CallKind::Batch, r#"printf %s "$SWARMWIRE_CALL_ID""#, &[])),
        ("lines", script(CallKind::Batch, "echo line", &[])),
        ("none", script(CallKind::Batch, "printf -- -", &[])),
    ]);
    let told = stdout(home.swarm(["call", "gw", "id", "--parallel", "3", "--repeat", "7"]));
    assert_eq!(told, "1\n2\n3\n4\n5\n6\n7\n");
    assert_eq!(stdout(home.swarm(["call", "gw", "lines", "--repeat", "2"])), "line\nline\n");
    assert_eq!(stdout(home.swarm(["call", "gw", "none", "--repeat", "2", "--raw"])), "--");
    assert_eq!(stdout(home.swarm(["call", "gw", "none"])), "-");
    let told = objects(&stdout(home.swarm(["call", "gw", "id", "--repeat", "2", "--json"])));
    assert_eq!(
        (&told[0]["event"], &told[0]["id"], &told[0]["text"]),
        (&"reply".into(), &8.into(), &"8".into())
    );
    assert_eq!((&told[2]["event"], &told[2]["calls"]), (&"summary".into(), &2.into()));
    let told = stdout(home.swarm(["services", "gw"]));
    assert!(told.lines().count() == 4 && told.contains("id     batch  9"), "{told}");
}

/// Story: `swarm call --repeat` printed nothing before the last call had ended, and had all results in memory until then.
#[test]
fn of_several_calls_each_result_is_given_when_it_is_there() {
    let place = tempfile::tempdir().unwrap();
    let held = r#"[ "$SWARMWIRE_CALL_ID" != 3 ] || until [ -e "$PLACE/go" ]; do sleep 0.01; done; echo "$SWARMWIRE_CALL_ID""#;
    let options = CommandOptions {
        environment: BTreeMap::from([("PLACE".to_owned(), place.path().to_str().unwrap().to_owned())]),
        ..script(CallKind::Batch, held, &[])
    };
    let (_world, home) = with(&[("held", options)]);
    let mut calling = Process::new(env!("CARGO_BIN_EXE_swarm"))
        .args(["call", "gw", "held", "--repeat", "4", "--timeout", "60s"])
        .env("SWARMWIRE_HOME", home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(calling.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!([lines.next().unwrap(), lines.next().unwrap()], ["1", "2"]);
    fs::write(place.path().join("go"), "").unwrap();
    assert!(lines.eq(["3", "4"]));
    assert!(calling.wait().unwrap().success());
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
        ("half", script(CallKind::Batch, "head -c 300000 /dev/zero | tr '\\0' x; exit 1", &[])),
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
        (
            &["call", "gw", "fail"][..],
            1,
            "swarm: `fail` at `gw`: failed: the program ended with exit status: 3:\n  82\n",
        ),
        (&["call", "gw", "fail"], 1, "\n  no film\n"),
        (&["call", "gw", "killed"], 1, "swarm: `killed` at `gw`: failed: the program ended with signal: 9"),
        (
            &["stream", "gw", "broken"],
            1,
            "swarm: `broken` at `gw`: failed: the program ended with exit status: 1",
        ),
        (&["send", "gw", "send"], 1, "swarm: `send` at `gw`: failed: the program ended with exit status: 2"),
        (
            &["call", "gw", "much"],
            1,
            "`much` at `gw`: too_large: the subroutine gives more than 10 bytes, its `max_output`",
        ),
        (
            &["call", "gw", "none"],
            1,
            "swarm: not_found: there is no subroutine `none`; `swarm services GW` tells",
        ),
        (
            &["call", "gw", "slow", "--timeout", "30s"],
            1,
            "swarm: deadline: the call took longer than 100ms, the `timeout` of `slow`",
        ),
        (
            &["call", "gw", "words"],
            1,
            "swarm: `words` at `gw`: invalid: argument mismatch: argument `path` is missing",
        ),
        (&["call", "gw", "words", "a", "b"], 1, "2 positional arguments were given, and it takes "),
        (&["call", "gw", "words", "--arg", "pth=a"], 1, "there is no argument `pth`; there are `path`"),
        (&["stream", "gw", "words"], 1, "swarm: invalid: `words` is a batch: use `call` for it"),
        (&["call", "gw", "wrds", "a"], 1, "do you mean `words`?"),
        (&["call", "gw", "words", "--arg", "path"], 2, "`path` has no `=`"),
    ] {
        let told = refused(home.swarm(arguments.iter().copied()), code, &[said]);
        let name = format!("`{}`", arguments[2]);
        assert_eq!(told.matches(&name).count(), usize::from(code == 1), "once and only once: {told}");
    }
    // What came before counts.
    let broken = home.swarm(["stream", "gw", "broken"]).code(1);
    assert_eq!(String::from_utf8_lossy(&broken.get_output().stdout), "one\n");
    let half = home.swarm(["call", "gw", "half"]).code(1);
    assert!(half.get_output().stdout == [b'x'; 300_000]);
}

/// Story: data that could not be read was a usage error of a call and a failure of a send.
#[test]
fn data_that_cannot_be_read_is_the_callers_mistake_of_every_kind() {
    let (_world, home) = with(&[
        ("cat", CommandOptions { codec: Codec::Raw, ..script(CallKind::Batch, "cat", &[]) }),
        ("count", script(CallKind::Send, "wc -c", &[])),
    ]);
    let directory = |verb, name| {
        let shell = r#"exec "$@" --json --data - </"#;
        home.program("sh", ["-c", shell, "sh", env!("CARGO_BIN_EXE_swarm"), verb, "gw", name]).assert()
    };
    refused(directory("call", "cat"), 2, &["--data: standard input cannot be read: is a directory"]);
    // Of a buffer it turns out when the call has begun.
    let sent = directory("send", "count");
    let reason = "failed to read what is to be sent: Is a directory (os error 21)";
    let told = objects(&String::from_utf8_lossy(&sent.get_output().stdout));
    assert_eq!(told, [json!({"event": "failed", "call": 1, "reason": reason})]);
    refused(sent, 2, &[&format!("swarm: `count` at `gw`: {reason}")]);
}

/// Story: what a program had said before it failed was dropped where it would have fitted into the reply.
#[test]
fn what_had_come_before_a_failure_is_given_however_little_it_is() {
    let of = |script_of: &str| script(CallKind::Batch, script_of, &[]);
    let (world, home) = with(&[
        ("fails", of("echo half; exit 3")),
        ("killed", of("printf a; printf b; kill -9 $$")),
        ("full", of("head -c 32768 /dev/zero | tr '\\0' x; exit 1")),
        ("silent", of("exit 1")),
        ("much", CommandOptions { max_output: 10, ..of("echo 12345; echo 67890; sleep 60") }),
        (
            "slow",
            CommandOptions { timeout: Some(Duration::from_secs(2)), ..of("echo early; sleep 60 & wait") },
        ),
        ("works", of("echo all")),
    ]);
    for (name, given, said) in [
        ("fails", "half\n", "`fails` at `gw`: failed: the program ended with exit status: 3"),
        ("killed", "ab", "`killed` at `gw`: failed: the program ended with signal: 9"),
        ("full", &"x".repeat(32_768), "`full` at `gw`: failed: the program ended with exit status: 1"),
        ("silent", "", "`silent` at `gw`: failed: the program ended with exit status: 1"),
        (
            "much",
            "12345\n6789",
            "`much` at `gw`: too_large: the subroutine gives more than 10 bytes, its `max_output`",
        ),
        ("slow", "early\n", "deadline: the call took longer than 2s, the `timeout` of `slow`"),
    ] {
        let assert = home.swarm(["call", "gw", name]);
        let output = assert.get_output();
        assert_eq!(String::from_utf8_lossy(&output.stdout), given, "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with(&format!("swarm: {said}")), "{output:?}");
        refused(assert, 1, &[]);
    }
    assert_eq!(stdout(home.swarm(["call", "gw", "works"])), "all\n");
    world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(10), |count| count == 0.0);
}

/// Story: what a program had said within its caller's `--timeout` of less than a second was held until that had passed, and lost.
#[test]
fn what_had_come_before_a_short_deadline_of_the_caller_is_given() {
    let (world, home) = with(&[("slow", script(CallKind::Batch, "echo early; sleep 60 & wait", &[]))]);
    let given = || {
        let assert = home.swarm(["call", "gw", "slow", "--timeout", "700ms"]);
        let output = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        (assert, output)
    };
    // A machine that has much else to do may not come so far in this time.
    let (assert, _) = (0..20).map(|_| given()).find(|(_, output)| output == "early\n").expect("it is lost");
    refused(assert, 1, &["deadline: "]);
    world.wait_for("swarmwire_handlers_in_use", Duration::from_secs(10), |count| count == 0.0);
}

/// Runs a command that fails; its objects, and what stands on standard error.
fn failed(home: &ControllerHome, arguments: &[&str], code: i32) -> (Vec<Value>, String) {
    let assert = home.swarm(arguments).code(code);
    let output = assert.get_output();
    let told = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (objects(&told(&output.stdout)), told(&output.stderr))
}

/// Story: of many calls that all failed only the last was told, and of some that did each had a line of its own.
#[test]
fn of_several_calls_each_way_to_fail_is_told_once_and_how_often() {
    let odd = r#"[ $((SWARMWIRE_CALL_ID % 2)) = 0 ] || { echo odd >&2; exit 1; }"#;
    let (_world, home) = with(&[
        ("odd", script(CallKind::Batch, odd, &[])),
        ("each", script(CallKind::Batch, r#"echo "$SWARMWIRE_CALL_ID" >&2; exit 1"#, &[])),
    ]);
    let said = |name: &str, code| {
        let several = ["call", "gw", name, "--repeat", "12", "--parallel", "1"];
        refused(home.swarm(several), code, &[])
    };
    let way = "failed: the program ended with exit status: 1:\n";
    let expected = format!(
        "swarm: `odd` at `gw`: 6 of 12 calls failed\nswarm: failed: 6 calls, the first call 1: {way}  odd\n"
    );
    assert_eq!(said("odd", 3), expected);
    let told = said("each", 1);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "swarm: `each` at `gw`: 12 of 12 calls failed");
    assert_eq!(lines[1..3], [&format!("swarm: failed: call 1: {}", way.trim_end()), "  1"]);
    assert_eq!(
        lines[15..],
        [
            &format!("swarm: failed: call 8: {}", way.trim_end()),
            "  8",
            "swarm: failed: 4 more calls, in other ways"
        ]
    );
    refused(
        home.swarm(["call", "gw", "none", "--repeat", "3"]),
        1,
        &["3 calls, the first call 1: not_found: "],
    );
}

#[test]
fn a_call_that_failed_is_an_object_too() {
    let third = r#"[ "$SWARMWIRE_CALL_ID" != 3 ] || { echo 'no film' >&2; exit 1; }"#;
    let (_world, home) = with(&[
        ("third", script(CallKind::Batch, third, &[])),
        ("fail", script(CallKind::Batch, "exit 3", &[])),
        ("broken", script(CallKind::Stream, "echo one; exit 1", &[])),
        ("send", script(CallKind::Send, "exit 2", &[])),
    ]);
    let (told, said) = failed(&home, &["call", "gw", "third", "--repeat", "4", "--json"], 3);
    let reason = "the program ended with exit status: 1:\n  no film";
    let numbers: Vec<_> = told.iter().map(|event| event["call"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4), None]);
    assert_eq!(told[2], json!({"event": "failed", "call": 3, "status": "failed", "reason": reason}));
    assert_eq!((&told[4]["event"], &told[4]["failed"]), (&"summary".into(), &1.into()));
    let expected = "swarm: `third` at `gw`: 1 of 4 calls failed\nswarm: failed: call 3: failed: ";
    assert_eq!(said, format!("{expected}{reason}\n"));

    let (told, said) = failed(&home, &["call", "gw", "fail", "--repeat", "2", "--json"], 1);
    let numbers: Vec<_> = told.iter().map(|event| (&event["event"], &event["call"])).collect();
    assert_eq!(numbers[..2], [(&"failed".into(), &1.into()), (&"failed".into(), &2.into())]);
    let expected =
        "swarm: `fail` at `gw`: 2 of 2 calls failed\nswarm: failed: 2 calls, the first call 1: failed: ";
    assert!(told.len() == 3 && said.starts_with(expected) && said.lines().count() == 2, "{said}");

    let (told, said) = failed(&home, &["call", "gw", "none", "--json"], 1);
    let reason = "there is no subroutine `none`; `swarm services GW` tells which there are";
    assert_eq!(told[0], json!({"event": "failed", "call": 1, "status": "not_found", "reason": reason}));
    assert_eq!((told.len(), said), (2, format!("swarm: not_found: {reason}\n")));

    let (told, _) = failed(&home, &["stream", "gw", "broken", "--json"], 1);
    let events: Vec<_> = told.iter().map(|event| (&event["event"], &event["status"])).collect();
    let none = &Value::Null;
    let expected = [(&"item".into(), none), (&"failed".into(), &"failed".into()), (&"summary".into(), none)];
    assert_eq!(events, expected);
    assert_eq!((&told[2]["items"], &told[2]["failed"]), (&1.into(), &1.into()));
    let (told, _) = failed(&home, &["stream", "gw", "fail", "--json"], 1);
    assert_eq!((&told[0]["status"], &told[1]["items"]), (&"invalid".into(), &0.into()));

    let (told, _) = failed(&home, &["send", "gw", "send", "--json"], 1);
    let reason = "the program ended with exit status: 2";
    assert_eq!(told, [json!({"event": "failed", "call": 1, "status": "failed", "reason": reason})]);
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
