//! Workers that die, and workers that say what they must not.

use rustix::process::Signal;
use swarmwire_client::controller::calling::CallOptions;
use swarmwire_server::{clients, state::State};

use super::{
    OPTIONS, PATIENCE, Place, failure, held, kill, lives, metric, next, pid, text, until, words, workers,
};
use crate::subroutines::joined;

const TWO: &str = "workers = { min = 1, max = 2 }";

#[tokio::test]
async fn one_that_dies_in_a_call_is_replaced_and_no_other_call_is_cut() {
    let place = Place::new();
    // Both kinds of call by one pool of each: the stream's lives through what happens to the batch's.
    let sections = [place.section("batch", "batch", TWO), place.section("stream", "stream", TWO)];
    let (swarmd, controller) = place.with(&sections).await;
    let (mut items, other) = held(&controller, "stream").await;
    let (mut second, killed) = held(&controller, "stream").await;
    let first = pid(&controller, "batch").await;

    let told = failure(&controller, "batch", words(["die"])).await;
    assert!(told.contains("failed: the worker ended with exit status: 3:\n  the lamp is broken"), "{told}");
    let after = pid(&controller, "batch").await;
    assert!(after != first && !lives(&first), "{first} {after}");

    // One of two of the same subroutine.
    kill(&killed, Signal::KILL);
    let told = loop {
        match next(&mut second).await {
            Ok(item) => assert_eq!(item.unwrap(), ""),
            Err(err) => break err.to_string(),
        }
    };
    assert!(told.contains("the worker ended with signal: 9"), "{told}");
    for _ in 0..1000 {
        assert_eq!(next(&mut items).await.unwrap().unwrap(), "");
    }
    assert!(lives(&other));
    assert_eq!(metric(&swarmd, r#"swarmwire_worker_restarts_total{name="batch"}"#).await, Some(1));
    assert_eq!(metric(&swarmd, r#"swarmwire_worker_restarts_total{name="stream"}"#).await, Some(1));
}

#[tokio::test]
async fn what_one_had_given_before_it_failed_is_given() {
    let place = Place::new();
    let rest = "workers = { max = 1 }\ntimeout = '2s'";
    let (_swarmd, controller) = place.with(&[place.section("batch", "batch", rest)]).await;
    for (how, said) in [
        ("raise", "failed: ValueError: the film is over"),
        ("die", "failed: the worker ended with exit status: 3"),
        ("garbage", "failed: the worker gave a frame without a type"),
        ("wait", "deadline: "),
    ] {
        let mut batch = controller.batch("batch", words(["half", how]), OPTIONS).await.unwrap();
        let mut given = Vec::new();
        let told = loop {
            match batch.next().await {
                Ok(piece) => given.extend_from_slice(&piece.unwrap()),
                Err(err) => break err.to_string(),
            }
        };
        assert_eq!(String::from_utf8(given).unwrap(), "one two", "{how}");
        assert!(told.contains(said), "{told}");
    }
}

/// Of a worker that has served somebody else before.
#[tokio::test]
async fn what_a_worker_said_in_the_calls_of_others_is_not_told() {
    let place = Place::new();
    let (swarmd, controller) = place.with(&[place.section("batch", "batch", "workers = { max = 1 }")]).await;
    let other = joined(&swarmd, &place.path("other")).await;
    let told = failure(&other, "batch", words(["raise", "a secret of another"])).await;
    assert!(told.contains("ValueError: a secret of another"), "{told}");
    text(&other, "batch", words(["say", "another secret"])).await;
    let told = failure(&controller, "batch", words(["die"])).await;
    assert!(
        told.ends_with("the worker ended with exit status: 3:\n  the lamp is broken"),
        "a caller hears of another's calls: {told}"
    );
    let (_, log, _) = swarmd.end(Signal::TERM);
    for said in ["ValueError: a secret of another", "line=another secret", "line=the lamp is broken"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[tokio::test]
async fn one_that_dies_idle_is_replaced_before_it_is_called() {
    let place = Place::new();
    let (swarmd, controller) = place.with(&[place.section("batch", "batch", TWO)]).await;
    let first = pid(&controller, "batch").await;
    kill(&first, Signal::KILL);
    until(&controller, "it dies", async || !lives(&first)).await;
    // Whether or not the gateway has noticed it.
    assert_ne!(pid(&controller, "batch").await, first);
    let restarts = r#"swarmwire_worker_restarts_total{name="batch"}"#;
    until(&controller, "it is noticed", async || metric(&swarmd, restarts).await == Some(1)).await;
    let first = pid(&controller, "batch").await;
    kill(&first, Signal::KILL);
    until(&controller, "it is noticed again", async || metric(&swarmd, restarts).await == Some(2)).await;
    until(&controller, "it is replaced", async || workers(&controller, "batch").await == 1).await;
}

#[tokio::test]
async fn one_that_says_what_it_must_not_is_replaced_and_the_call_says_what_it_was() {
    let place = Place::new();
    let (swarmd, controller) = place.with(&[place.section("batch", "batch", "workers = { max = 1 }")]).await;
    for (garbage, said) in [
        ("Hello, world", "the worker gave a frame of the unknown type 0x6f, and was ended"),
        ("\0\0\0\0", "the worker gave a frame without a type"),
        ("\0\0\0\u{9}V12345678", "the worker gave a frame `V` in a batch"),
        ("\0\0\0\u{9}I12345678", "the worker gave a frame `I` in a batch"),
        ("\u{7f}\0\0\0P", "the worker gave a frame `P` of 2130706431 bytes, 1048576 are allowed"),
        ("\0\0\0\u{2}E1", "the worker gave a frame `E` of 1 bytes, where 0 belong"),
    ] {
        let first = pid(&controller, "batch").await;
        let told = failure(&controller, "batch", words(["garbage", garbage])).await;
        assert!(told.contains("failed: ") && told.contains(said), "{told}");
        let after = pid(&controller, "batch").await;
        assert!(after != first && !lives(&first), "{first} {after}");
    }
    // What comes after the end of a call belongs to none.
    let first = pid(&controller, "batch").await;
    assert_eq!(text(&controller, "batch", words(["after"])).await, "x");
    assert_ne!(pid(&controller, "batch").await, first);
    let (_, log, _) = swarmd.end(Signal::TERM);
    assert!(log.contains("the worker gave something outside of a call, and was ended"), "{log}");
}

#[tokio::test]
async fn a_call_that_fails_is_logged_with_whose_it_was_and_one_that_does_not_is_not() {
    let place = Place::new();
    let sections =
        [place.section("batch", "batch", "workers = { max = 1 }"), place.section("stream", "stream", TWO)];
    let (swarmd, controller) = place.with(&sections).await;
    text(&controller, "batch", words(["echo"])).await;
    drop(held(&controller, "stream").await);
    failure(&controller, "batch", words(["raise", "no \u{1b}film\nat all"])).await;
    failure(&controller, "batch", words(["die"])).await;
    let caller = clients::load(&State::open(&swarmd.state()).unwrap()).unwrap()[0].fingerprint.to_string();
    let whose =
        |call: u64| format!(r#" subroutine="batch" call={call} peer="{}" status="failed" "#, &caller[..16]);
    let (_, log, _) = swarmd.end(Signal::TERM);
    let failed: Vec<_> = log.lines().filter(|line| line.contains("a call failed")).collect();
    let [raised, died] = failed[..] else { panic!("{log}") };
    for (line, call, reason) in [
        (raised, 2, r"reason=ValueError: no \x1bfilm seconds="),
        (died, 3, "reason=the worker ended with exit status: 3 seconds="),
    ] {
        assert!(line.contains(" INFO ") && line.contains(reason), "{line}");
        assert!(line.contains(&whose(call)), "{call}: {line}");
    }
    let said = log.lines().find(|line| line.contains("line=the lamp is broken")).unwrap();
    assert!(said.contains(" subroutine=batch call=3 "), "{said}");
}

#[tokio::test]
async fn those_that_die_at_once_are_started_ever_more_seldom_and_calls_say_why() {
    let place = Place::new();
    let broken = format!(
        "[subroutines.broken]\ncommand = ['sh', '-c', 'echo no lens >&2; exit 7']\nkind = 'batch'\n{TWO}\n"
    );
    let (swarmd, controller) = place.with(&[broken]).await;
    let restarts = r#"swarmwire_worker_restarts_total{name="broken"}"#;
    until(&controller, "it dies", async || metric(&swarmd, restarts).await.is_some_and(|count| count >= 3))
        .await;
    // A call does not wait for the pause to pass.
    for _ in 0..5 {
        let told = failure(&controller, "broken", ()).await;
        assert!(told.contains("the worker ended with exit status: 7:\n  no lens"), "{told}");
    }
    let (_, log, _) = swarmd.end(Signal::TERM);
    for pause in ["pause=100ms", "pause=200ms", "pause=400ms"] {
        assert!(log.contains(pause), "{pause}: {log}");
    }
}

#[tokio::test]
async fn one_that_goes_on_after_its_call_was_given_up_is_replaced() {
    let place = Place::new();
    let (swarmd, controller) = place.with(&[place.section("batch", "batch", "workers = { max = 1 }")]).await;
    let first = pid(&controller, "batch").await;
    let short = CallOptions { deadline: Some(std::time::Duration::from_millis(200)), ..OPTIONS };
    let told = controller.call("batch", words(["deaf"]), short).await.unwrap_err().to_string();
    assert!(told.contains("deadline"), "{told}");
    until(&controller, "it is ended", async || !lives(&first)).await;
    let patient = CallOptions { wait: PATIENCE, ..OPTIONS };
    let after = controller.call("batch", words(["pid"]), patient).await.unwrap();
    assert_ne!(after, first);
    let (_, log, _) = swarmd.end(Signal::TERM);
    assert!(log.contains("the worker did not come to an end, and was ended"), "{log}");
}

/// What has left its group may answer for it, and holds its output: all that is seen of its end is the end itself, in the middle of the call.
#[tokio::test]
async fn one_that_ends_before_its_answer_comes_serves_no_other_call() {
    let place = Place::new();
    let (_swarmd, controller) = place.with(&[place.section("batch", "batch", "workers = { max = 1 }")]).await;
    let first = pid(&controller, "batch").await;
    let patient = CallOptions { deadline: Some(PATIENCE), wait: PATIENCE };
    assert_eq!(controller.call("batch", words(["orphan"]), patient).await.unwrap(), "x");
    assert_ne!(controller.call("batch", words(["pid"]), patient).await.unwrap(), first);
}
