//! Every peer that is called has a server that answers and a client that counts.
//!
//! How long anything takes is not asserted.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

/// The laboratory itself, in the role of a server; ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_swarmwire-bench"))
}

/// What `peer` has counted in a second of the work.
fn measure(peer: &str, work: &str) -> Value {
    let home = tempfile::tempdir().unwrap();
    let mut serve = lab();
    serve.args(["call-serve", "--peer", peer, "--listen", "127.0.0.1:0", "--home"]).arg(home.path());
    let mut server = Server(serve.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut ready = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let mut client = lab();
    client.args(["call-measure", "--peer", peer, "--work", work, "--seconds", "1"]);
    client.args(["--server", &ready["process"].to_string(), "--home"]).arg(home.path());
    let output = client.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{peer}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_peer_calls_streams_and_holds_streams_open() {
    let measuring = ["swarm", "quinn", "tonic", "tonic-large", "irpc"].map(|peer| {
        thread::spawn(move || {
            let row = measure(peer, "calls:5000:3");
            assert_eq!((&row["peer"], &row["bytes"]), (&peer.into(), &5000.into()), "{row}");
            assert!(row["count"].as_u64().unwrap() > 0, "{row}");
            assert!(row["p50_microseconds"].as_f64() <= row["p99_microseconds"].as_f64(), "{row}");
            let row = measure(peer, "items:64:1");
            assert!(row["count"].as_u64().unwrap() > 0, "{row}");
            let row = measure(peer, "idle:0:300");
            assert_eq!(row["count"], 300, "{row}");
            assert!(row["server_after_bytes"].as_u64().unwrap() > 0, "{row}");
        })
    });
    for one in measuring {
        one.join().unwrap();
    }
}
