//! One call at a time: whoever has the end of a call, however it ended, may make the next one at once.

use std::time::Duration;

use swarmwire_client::controller::calling::Payload;
use swarmwire_common::wire::{
    call::{CallKind, Codec},
    status::Status,
};
use swarmwire_server::subroutines::{
    Subroutine, Subroutines,
    command::{CommandOptions, WorkerOptions},
};

use super::{OPTIONS, status, with_gateway};

fn script(kind: CallKind, script: &str) -> CommandOptions {
    let options = CommandOptions::new(["sh", "-c", script], kind);
    CommandOptions { concurrency: Some(1), codec: Codec::Raw, max_output: 10, ..options }
}

/// Answers the first call of each process with what `answer` prints, and reads on.
fn worker(answer: &str) -> CommandOptions {
    let workers = WorkerOptions { min: 1, max: 1, idle: Duration::from_secs(60) };
    let program = script(CallKind::Batch, &format!("{answer}; cat >/dev/null"));
    CommandOptions { workers: Some(workers), ..program }
}

#[test]
fn calls_that_follow_each_other_are_never_one_too_many() {
    let late = Some(Duration::from_millis(50));
    let subroutines = Subroutines::new();
    let (batch, stream, send) = (CallKind::Batch, CallKind::Stream, CallKind::Send);
    for (name, options) in [
        ("batch", script(batch, "echo 1")),
        ("stream", script(stream, "echo 1")),
        ("send", script(send, "echo 1")),
        ("fails", script(batch, "echo 1; exit 3")),
        ("much", script(batch, "echo 12345678901; sleep 60 & wait")),
        ("many", script(stream, "echo 123456; echo 123456; sleep 60 & wait")),
        (
            "late",
            CommandOptions { timeout: late, ..script(batch, "trap 'sleep 0.1; exit' TERM; sleep 60 & wait") },
        ),
        ("unfed", CommandOptions { timeout: late, ..script(send, "sleep 60 & wait") }),
        ("garbage", worker("printf 'oops!'")),
        ("deaf", CommandOptions { timeout: late, ..worker(":") }),
    ] {
        subroutines.register(name, Subroutine::command(options).unwrap()).unwrap();
    }
    with_gateway(&subroutines, async |controller, _| {
        for (name, kind, times, expected) in [
            ("batch", batch, 200, Status::Ok),
            ("stream", stream, 100, Status::Ok),
            ("send", send, 100, Status::Ok),
            ("fails", batch, 100, Status::Failed),
            ("much", batch, 20, Status::TooLarge),
            ("many", stream, 20, Status::TooLarge),
            ("late", batch, 5, Status::Deadline),
            ("unfed", send, 5, Status::Deadline),
            ("garbage", batch, 20, Status::Failed),
            ("deaf", batch, 2, Status::Deadline),
        ] {
            for number in 0..times {
                let ended = match kind {
                    CallKind::Batch => controller.call(name, Payload::raw(""), OPTIONS).await.map(drop),
                    CallKind::Send => controller.send(name, &b""[..], OPTIONS).await.map(drop),
                    CallKind::Stream => {
                        async {
                            let mut items = controller.stream(name, Payload::raw(""), OPTIONS).await?;
                            while items.next().await?.is_some() {}
                            Ok(())
                        }
                        .await
                    }
                };
                let told = ended.map_or_else(|err| status(&err), |()| Status::Ok);
                assert_eq!(told, expected, "{name}: call {number}");
            }
        }
    });
}
