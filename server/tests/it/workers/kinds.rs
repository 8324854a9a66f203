//! The three kinds and the two codecs, and the example.

use std::{fs, path::Path};

use rustix::process::Signal;
use swarmwire_client::controller::calling::{CallOptions, Payload};
use swarmwire_common::value::{Arguments, Value};

use super::{MODULE, OPTIONS, PATIENCE, Place, failure, next, pid, text, until, words, workers};
use crate::{process::Running, subroutines::joined};

const ONE: &str = "workers = { min = 1, max = 1 }";

#[tokio::test]
async fn each_kind_is_served_by_one_process_all_along() {
    let place = Place::new();
    let sections = [
        place.section("batch", "batch", ONE),
        place.section("stream", "stream", ONE),
        place.section("send", "send", ONE),
        place.section_of("raw", "batch", &["raw"], &format!("codec = 'raw'\n{ONE}")),
    ];
    let (swarmd, controller) = place.with(&sections).await;
    // They are there before they are called.
    for name in ["batch", "stream", "send", "raw"] {
        until(&controller, "a worker is started ahead", async || workers(&controller, name).await == 1).await;
    }
    let first = pid(&controller, "batch").await;

    let given =
        words(["echo", "text", "ü"]).with(5).with(Value::Bytes(vec![0, 255])).with_named("k", Value::Null);
    let told = text(&controller, "batch", given).await;
    assert_eq!(told, r#"[["text", "\u00fc", 5, {"$bytes": "AP8="}], {"k": null}]"#);
    let told = text(&controller, "batch", Payload::json(r#"{"args":["echo"],"kwargs":{"a":[1]}}"#)).await;
    assert_eq!(told, r#"[[], {"a": [1]}]"#);
    let deadline = CallOptions { deadline: Some(PATIENCE), ..OPTIONS };
    let told = controller.call("batch", words(["about"]), deadline).await.unwrap();
    let told = String::from_utf8(told.into()).unwrap();
    let left = told.strip_prefix(r#"["batch", 4, "batch", 64, "#).and_then(|rest| rest.strip_suffix(']'));
    assert!((1..=30_000).contains(&left.unwrap().parse::<u64>().unwrap()), "{told}");
    let parts = controller.call("batch", words(["parts"]).with(70).with(100_000), OPTIONS).await.unwrap();
    assert_eq!(parts.len(), 7_000_000);
    assert!(
        parts.chunks(100_000).enumerate().all(|(at, part)| part.iter().all(|&byte| usize::from(byte) == at))
    );

    let mut items = controller.stream("stream", words(["count"]).with(3000), OPTIONS).await.unwrap();
    for number in 0..3000 {
        let (ident, bytes) = items.next().await.unwrap().unwrap();
        assert_eq!((ident, bytes), (number, number.to_string().into()));
    }
    assert!(items.next().await.unwrap().is_none());

    for size in [0, 1, 32 * 1024, 5_000_000] {
        assert_eq!(
            controller.send("send", &vec![b'a'; size][..], OPTIONS).await.unwrap(),
            i64::try_from(size).unwrap()
        );
    }
    // What has its answer before it has all of its input goes on with the next one.
    let early = [b"early".to_vec(), vec![0; 5_000_000]].concat();
    for _ in 0..3 {
        assert_eq!(controller.send("send", &early[..], OPTIONS).await.unwrap(), 5);
        assert_eq!(controller.send("send", &b"four"[..], OPTIONS).await.unwrap(), 4);
    }

    let mut large: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let back = controller.call("raw", Payload::raw(large.clone()), OPTIONS).await.unwrap();
    large.reverse();
    assert!(back == large, "raw bytes come back in reverse");

    assert_eq!(pid(&controller, "batch").await, first);
    let (status, log, _) = swarmd.end(Signal::TERM);
    assert!(status.success() && !log.contains("is gone"), "{log}");
}

#[tokio::test]
async fn a_failure_has_the_text_of_the_function_and_the_process_goes_on() {
    let place = Place::new();
    let sections = [
        place.section("batch", "batch", &format!("arguments = ['what', 'name']\nmax_output = '1KiB'\n{ONE}")),
        place.section("stream", "stream", ONE),
    ];
    let (swarmd, controller) = place.with(&sections).await;
    let first = pid(&controller, "batch").await;
    for (given, said) in [
        (words(["raise", "no film in the camera"]), "failed: ValueError: no film in the camera"),
        (
            words(["raise", "no film"]).with_named("nme", 1),
            "there is no argument `nme`; there are `what`, `name`",
        ),
        (words(["pid", "b", "c"]), "3 positional arguments were given, and it takes "),
        (words(["parts"]).with_named("name", 2), "failed: IndexError: tuple index out of range"),
        (Arguments::new(), "missing 1 required positional argument: 'what'"),
    ] {
        let told = failure(&controller, "batch", given).await;
        assert!(told.contains(said), "{told}");
    }
    let told = failure(&controller, "batch", Payload::raw("x")).await;
    assert!(told.contains("`batch` takes arguments and no bytes as they are"), "{told}");
    assert_eq!(text(&controller, "batch", words(["say", "said where results go"])).await, "");

    let mut items = controller.stream("stream", words(["broken"]), OPTIONS).await.unwrap();
    assert_eq!(next(&mut items).await.unwrap().unwrap(), "one");
    let told = next(&mut items).await.unwrap_err().to_string();
    assert!(told.contains("ValueError: the film is over"), "{told}");

    assert_eq!(pid(&controller, "batch").await, first);
    let (_, log, _) = swarmd.end(Signal::TERM);
    assert!(log.contains("said where results go") && log.contains("Traceback"), "{log}");
}

#[tokio::test]
async fn the_example_works_as_it_stands() {
    let place = Place::new();
    for file in ["sensor.py", "swarmwire_worker.py", "swarmd.toml"] {
        fs::copy(Path::new(MODULE).join(file), place.path(file)).unwrap();
    }
    let mut command = crate::process::swarmd();
    command.arg("--config").arg("swarmd.toml").current_dir(place.0.path());
    let swarmd = Running::start_as(command, place.0.path());
    let controller = joined(&swarmd, &place.path("controller")).await;
    assert_eq!(text(&controller, "mean", ()).await, "22.09");
    assert_eq!(text(&controller, "mean", Arguments::new().with_named("digits", 0).with(1)).await, "20.0");
    let given = Arguments::new().with(0.001).with(2);
    let mut items = controller.stream("readings", given, OPTIONS).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), (0, "20.0".into()));
    assert_eq!(items.next().await.unwrap().unwrap(), (1, "20.499".into()));
    assert!(items.next().await.unwrap().is_none());
    assert_eq!(controller.send("check", &b"20.1\n20.2\n25\n"[..], OPTIONS).await.unwrap(), 1);
}
