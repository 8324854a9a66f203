//! What the gateway shows of itself.

use swarmwire_common::wire::{
    call::CallKind,
    offload::{HoldAs, OffloadRequest},
    open::{SERVICE_OFFLOAD, SERVICE_PING},
    status::Status,
    sync::Direction,
};
use swarmwire_server::{
    metrics,
    subroutines::{
        Context, Failure, Subroutine,
        command::{CommandOptions, DEFAULT_IDLE, WorkerOptions},
    },
};
use tokio::time::timeout;

use crate::harness::{SOON, Served, http_get};

#[tokio::test]
async fn every_metric_is_shown_and_follows_what_happens() {
    let served = Served::start_with(|options| {
        options.metrics = Some("127.0.0.1:0".parse().unwrap());
        options.handlers = 3;
        let nothing = Subroutine::batch(async |_: Context, (): ()| Ok::<_, Failure>(Vec::new()));
        options.subroutines.register("nothing", nothing).unwrap();
        let workers = WorkerOptions { min: 0, max: 1, idle: DEFAULT_IDLE };
        let kept = CommandOptions { workers: Some(workers), ..CommandOptions::new(["cat"], CallKind::Batch) };
        options.subroutines.register("kept", Subroutine::command(kept).unwrap()).unwrap();
    });
    let address = served.gateway.metrics_addr().unwrap();
    let peer = served.joined("push", "").await;
    let _ping = peer.open(SERVICE_PING, &()).await.unwrap();
    let _running = peer.sync(Direction::Push, b"new").await.unwrap();
    assert!(peer.sync(Direction::Pull, b"").await.is_err());
    // A channel is counted once its peer has the answer, which is a moment after we have it.
    let counted = async {
        loop {
            let (status, text) = http_get(address, "/metrics").await;
            assert!(status.contains("200"), "{status}");
            if text.contains(r#"swarmwire_channels_total{service="sync",status="denied"} 1"#) {
                return text;
            }
        }
    };
    let text = timeout(SOON, counted).await.expect("the denied channel is counted");
    for (name, _) in metrics::NAMES {
        // A number, one for each label, or a histogram.
        let shown =
            |line: &str| [" ", "{", "_count{"].iter().any(|end| line.starts_with(&format!("{name}{end}")));
        assert!(text.lines().any(shown), "{name} has no value");
    }
    for line in [
        "swarmwire_connections_open 1",
        "swarmwire_connections_total 1",
        "swarmwire_handlers_limit 3",
        "swarmwire_handlers_in_use 1",
        r#"swarmwire_joins_total{result="accepted"} 1"#,
        r#"swarmwire_channels_total{service="join",status="ok"} 1"#,
        r#"swarmwire_calls_total{name="nothing",status="ok"} 0"#,
        r#"swarmwire_workers{name="kept"} 0"#,
        "process_open_fds",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("swarmwire_path_rtt_seconds{of=\"max\"} 0\n"), "a connection has a round trip");
    let fingerprint = &peer_fingerprint(&served);
    assert!(!text.contains(&fingerprint[..8]), "no peer is a label");
}

/// Story: one successful offload in six, and the last ping of each run, were counted as cancelled: the controller's close overtakes the end of its channel.
#[tokio::test]
async fn a_channel_whose_controller_is_done_is_not_counted_as_given_up() {
    let served = Served::start_with(|options| options.metrics = Some("127.0.0.1:0".parse().unwrap()));
    let address = served.gateway.metrics_addr().unwrap();
    for (status, counted) in [(Status::Ok, "ok"), (Status::Cancelled, "cancelled")] {
        let peer = served.joined("list,delete", "").await;
        let mut ping = peer.open(SERVICE_PING, &()).await.unwrap();
        ping.send.send_bytes(b"echo").await.unwrap();
        assert_eq!(ping.recv.try_recv_bytes(10).await.unwrap().unwrap(), b"echo");
        let request = OffloadRequest { path: Vec::new(), holds: HoldAs::Source };
        let held = peer.open(SERVICE_OFFLOAD, &request).await.unwrap();
        peer.connection.close(status.into(), b"");
        let lines = [SERVICE_PING, SERVICE_OFFLOAD].map(|service| {
            format!("swarmwire_channels_total{{service=\"{service}\",status=\"{counted}\"}} 1\n")
        });
        let are_counted = async {
            loop {
                let (_, text) = http_get(address, "/metrics").await;
                if lines.iter().all(|line| text.contains(line)) {
                    break;
                }
            }
        };
        timeout(SOON, are_counted).await.expect("both are counted as that");
        drop((ping, held));
    }
}

fn peer_fingerprint(served: &Served) -> String {
    swarmwire_server::clients::load(&served.state).unwrap()[0].fingerprint.to_string()
}

#[tokio::test]
async fn health_and_metrics_are_all_there_is() {
    let served = Served::start_with(|options| options.metrics = Some("127.0.0.1:0".parse().unwrap()));
    let address = served.gateway.metrics_addr().unwrap();
    assert_eq!(http_get(address, "/healthz").await.1, "ok\n");
    for path in ["/", "/metrics/", "/../state", "/debug"] {
        assert!(http_get(address, path).await.0.contains("404"), "{path}");
    }
}
