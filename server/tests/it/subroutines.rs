//! Subroutines of the configuration file, at a `swarmd` of its own.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use nix::unistd::{User, getuid};
use rustix::process::Signal;
use swarmwire_client::{
    ConnectOptions, Controller, Home, Target,
    controller::calling::{CallOptions, Items},
};

use crate::{
    harness::now,
    process::{Running, invite, run, swarmd},
};

const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::ZERO };

/// A controller that has joined with the grant `call`.
pub(crate) async fn joined(swarmd: &Running, home: &Path) -> Controller {
    let uri = invite(&swarmd.state(), &["--allow", "call"]);
    let identity = Home::open(home).unwrap().identity(now()).unwrap();
    let address = swarmd.target().address;
    let target =
        Target { host: address.ip().to_string(), port: address.port(), gateway: swarmd.target().fingerprint };
    let controller = Controller::connect(&target, &identity, ConnectOptions::default()).await.unwrap();
    controller.join(&uri.token, "test").await.unwrap();
    controller
}

async fn next(items: &mut Items) -> String {
    String::from_utf8(items.next().await.unwrap().unwrap().1.into()).unwrap()
}

/// As whom a program may be run: another user where that can be, and whoever this is otherwise.
pub(crate) fn user() -> String {
    let own = User::from_uid(getuid()).unwrap().map(|user| user.name);
    own.filter(|own| own != "root").unwrap_or_else(|| "nobody".to_owned())
}

/// At no moment is half of it there.
pub(crate) fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn the_file_names_programs_and_is_read_again_on_sighup() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("root")).unwrap();
    let (file, home) = (temp.path().join("swarmd.toml"), temp.path().join("controller"));
    let section = |name: &str, script: &str, kind: &str| {
        format!("[subroutines.{name}]\ncommand = ['sh', '-c', '{script}']\nkind = '{kind}'\n")
    };
    let lasting = section("lasting", "echo 1; read -r x; sleep 100", "stream");
    fs::write(&file, format!("{lasting}{}", section("one", "echo one", "batch"))).unwrap();
    let mut command = swarmd();
    command.arg("--config").arg(&file);
    let swarmd = Running::start_as(command, temp.path());
    let controller = joined(&swarmd, &home).await;
    assert_eq!(controller.call("one", (), OPTIONS).await.unwrap(), "one\n");
    let mut items = controller.stream("lasting", (), OPTIONS).await.unwrap();
    assert_eq!(next(&mut items).await, "1");

    let known = async |wanted: &[&str]| {
        let start = Instant::now();
        loop {
            let services = controller.services().await.unwrap();
            if services.iter().map(|service| &*service.name).eq(wanted.iter().copied()) {
                return services;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{services:?}");
        }
    };
    // One that cannot be used changes nothing.
    replace(&file, "[subroutines.two]\ncommand = ['/nowhere']\nkind = 'batch'\n");
    swarmd.signal(Signal::HUP);
    replace(&file, &format!("handlers = 7\n{lasting}{}", section("two", "echo two", "batch")));
    swarmd.signal(Signal::HUP);
    let services = known(&["lasting", "two"]).await;
    // What has not changed goes on: its calls are counted, and one runs.
    assert_eq!((services[0].calls, services[0].running), (1, 1));
    assert_eq!(controller.call("two", (), OPTIONS).await.unwrap(), "two\n");
    assert!(controller.call("one", (), OPTIONS).await.is_err());
    // Ids go on where a section has changed.
    replace(&file, &format!("handlers = 7\n{lasting}{}", section("two", "echo other", "batch")));
    swarmd.signal(Signal::HUP);
    let mut last = 1;
    loop {
        let reply = controller.call_batch("two", (), OPTIONS).await.unwrap();
        assert_eq!(reply.id, last + 1);
        last = reply.id;
        if reply.bytes == "other\n" {
            break;
        }
        assert!(last < 10_000, "it was not read again");
    }
    drop(items);
    let (status, log, _) = swarmd.end(Signal::TERM);
    assert!(status.success());
    let warned =
        "these keys of the configuration file have changed; restart `swarmd` for them to have an effect";
    let line = log.lines().find(|line| line.contains(warned)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(" WARN ") && line.contains("keys=\"handlers\""), "{line}");
}

#[test]
fn what_cannot_be_used_is_named_with_its_line() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("swarmd.toml");
    let plain = temp.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    for (command, rest, said) in [
        ("['/nowhere/at-all']", "", "line 3: subroutine `x`: there is no `/nowhere/at-all`"),
        ("['no-such-program']", "", "line 3: subroutine `x`: there is no program `no-such-program` in PATH"),
        (&format!("['{plain}']"), "", "is not executable"),
        ("[]", "", "`command` is empty"),
        ("['sh', '{a b}']", "", "is no place for an argument"),
        ("['sh', '{c}']", "arguments = ['a']", "`{c}` is not among the `arguments`"),
        ("['sh', '{a}']", "codec = 'raw'", "`command` cannot have `{a}`"),
        (
            "['sh']",
            "working_directory = '/nowhere'",
            "line 3: subroutine `x`: `working_directory`: `/nowhere` cannot be used: No such file",
        ),
        ("['sh']", "working_directory = '/dev/null'", "`/dev/null` is no directory"),
        ("['sh']", "user = 'nobody-at-all'", "there is no user `nobody-at-all`"),
        ("['sh']", "concurrency = 0", "`concurrency` is 0"),
        ("['sh']", "retries = 3", "retries"),
        ("['sh']", "timeout = 'soon'", "timeout"),
        (
            "['sh']",
            "timeout = '0s'",
            "line 3: subroutine `x`: `timeout` is 0: give a time like \"10s\", or none",
        ),
        ("['sh']", "timeout = 3", "invalid type: integer `3`, expected a time like \"10s\""),
        ("['sh']", "max_output = '0'", "line 3: subroutine `x`: `max_output` is 0"),
        ("['sh']", "max_output = 5", "invalid type: integer `5`, expected a size like \"64MiB\""),
        (
            "['sh']",
            "items = 'frames'",
            "line 3: subroutine `x`: `items` belongs to a stream, and a batch has none",
        ),
        (
            "['sh']",
            "arguments = ['a', 'b', 'a']",
            "line 3: subroutine `x`: `a` is among the `arguments` twice",
        ),
        ("['sh']", "workers = 4", "invalid type: integer `4`, expected a table like `{ min = 1, max = 4 }`"),
    ] {
        fs::write(
            &file,
            format!("root = '/'\n[subroutines.x]\ncommand = {command}\nkind = 'batch'\n{rest}\n"),
        )
        .unwrap();
        let (code, _, err) = run(temp.path(), &["--config", file.to_str().unwrap()]);
        assert!(code == Some(2) && err.contains(said), "{code:?}: {err}");
    }
    for (section, said) in [
        (
            "builtin = 'disk-usage'\nkind = 'batch'",
            "line 3: subroutine `x`: `kind` belongs to a `command`, and a `builtin` has none",
        ),
        (
            "timeout = '1s'\nbuiltin = 'list-files'\ncodec = 'raw'",
            "line 4: subroutine `x`: `codec` belongs to",
        ),
        ("builtin = 'remove-files'\nworkers = {}", "`workers` belongs to a `command`"),
        ("builtin = 'format-disk'", "format-disk"),
        ("builtin = 'disk-usage'\ncommand = ['sh']\nkind = 'batch'", "a `command` and a `builtin`"),
        ("timeout = '1s'", "line 2: subroutine `x`: it has neither a `command` nor a `builtin`"),
        ("command = ['sh']", "line 3: subroutine `x`: it has no `kind`"),
    ] {
        fs::write(&file, format!("root = '/'\n[subroutines.x]\n{section}\n")).unwrap();
        let (code, _, err) = run(temp.path(), &["--config", file.to_str().unwrap()]);
        assert!(code == Some(2) && err.contains(said), "{code:?}: {err}");
    }
}

/// Story: of several calls at a time nobody knew which had said what.
#[tokio::test]
async fn what_a_program_says_is_logged_with_its_call() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("root")).unwrap();
    let (file, home) = (temp.path().join("swarmd.toml"), temp.path().join("controller"));
    let script = r#"echo "said in $SWARMWIRE_CALL_ID" >&2; exit 1"#;
    fs::write(&file, format!("[subroutines.talks]\ncommand = ['sh', '-c', '{script}']\nkind = 'batch'\n"))
        .unwrap();
    let mut command = swarmd();
    command.arg("--config").arg(&file);
    let swarmd = Running::start_as(command, temp.path());
    let controller = joined(&swarmd, &home).await;
    let call = async || controller.call("talks", (), OPTIONS).await.unwrap_err();
    tokio::join!(call(), call(), call());
    let (_, log, _) = swarmd.end(Signal::TERM);
    for id in 1..=3 {
        for said in [
            format!("subroutine=talks call={id} line=said in {id}"),
            format!("subroutine=\"talks\" call={id} peer="),
        ] {
            assert!(log.contains(&said), "{said}: {log}");
        }
    }
}

/// Story: the gateway started, and each call failed.
#[test]
fn what_no_program_can_be_given_and_who_may_not_run_it_is_named_with_its_line() {
    let temp = tempfile::tempdir().unwrap();
    let (file, closed) = (temp.path().join("swarmd.toml"), temp.path().join("closed"));
    // Nobody but root may enter it, and root runs it as another.
    fs::DirBuilder::new().mode(0o000).create(&closed).unwrap();
    let (user, place) = (user(), closed.to_str().unwrap());
    let placed = format!("user = '{user}'\nworking_directory = '{place}'");
    let may_not =
        format!("`user`: `{user}` may not enter the `working_directory` `{place}`: Permission denied");
    for (command, rest, said) in [
        ("['sh']", &*placed, &*may_not),
        (
            "['sh']",
            "environment = { OK = '1', 'A=B' = '1' }",
            "`environment` cannot have \"A=B\": a name is not empty and has no `=`",
        ),
        ("['sh']", "environment = { '' = '1' }", "`environment` cannot have \"\""),
        ("['sh']", r#"environment = { "A\u0000" = '1' }"#, r#"`environment` cannot have "A\0""#),
        ("['sh']", r#"environment = { A = "1\u0000" }"#, "`environment` cannot have \"A\""),
        (r#"['sh', "\u0000"]"#, "", r#"`command` cannot have "\0""#),
    ] {
        let section = format!("[subroutines.x]\ncommand = {command}\nkind = 'batch'\n{rest}\n");
        fs::write(&file, format!("root = '/'\n{section}")).unwrap();
        let (code, _, err) = run(temp.path(), &["--config", file.to_str().unwrap()]);
        assert!(
            code == Some(2) && err.contains(&format!("line 3: subroutine `x`: {said}")),
            "{code:?}: {err}"
        );
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}
