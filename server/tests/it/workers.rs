//! Worker mode, with the Python module that comes with the examples, at a `swarmd` of its own.

mod count;
mod ends;
mod faults;
mod kinds;
mod module;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use swarmwire_client::{
    Controller, RequestError,
    controller::calling::{CallOptions, Items, Payload},
};
use swarmwire_common::value::Arguments;
use tempfile::TempDir;

use crate::{
    harness::http_get,
    process::{Running, swarmd},
    subroutines::{joined, replace},
};

const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::ZERO };

/// How long anything may take that should soon be so.
const PATIENCE: Duration = Duration::from_secs(30);

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python");

/// A directory with a worker in it, and what a gateway needs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        fs::write(temp.path().join("worker.py"), include_str!("workers/worker.py")).unwrap();
        fs::copy(Path::new(MODULE).join("swarmwire_worker.py"), temp.path().join("swarmwire_worker.py"))
            .unwrap();
        Self(temp)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A section of the configuration: a subroutine of this kind, which the worker calls by it, too.
    fn section(&self, name: &str, kind: &str, rest: &str) -> String {
        self.section_of(name, kind, &[kind], rest)
    }

    fn section_of(&self, name: &str, kind: &str, words: &[&str], rest: &str) -> String {
        let words = words.join("', '");
        format!(
            "[subroutines.{name}]\ncommand = ['{}', '{}', '{words}']\nkind = '{kind}'\n{rest}\n",
            python(),
            self.text("worker.py")
        )
    }

    fn configure(&self, sections: &[String]) {
        replace(&self.path("swarmd.toml"), &sections.concat());
    }

    fn start(&self) -> Running {
        let mut command = swarmd();
        command.arg("--config").arg(self.path("swarmd.toml"));
        Running::start_as(command, self.0.path())
    }

    /// A gateway with these sections, and a controller that may call.
    async fn with(&self, sections: &[String]) -> (Running, Controller) {
        self.configure(sections);
        let swarmd = self.start();
        let controller = joined(&swarmd, &self.path("controller")).await;
        (swarmd, controller)
    }
}

/// That of the distribution, which starts sooner than what may stand before it in PATH.
fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

fn words<const N: usize>(words: [&str; N]) -> Arguments {
    words.into_iter().fold(Arguments::new(), Arguments::with)
}

async fn pid(controller: &Controller, name: &str) -> String {
    text(controller, name, words(["pid"])).await
}

async fn text(controller: &Controller, name: &str, arguments: impl Into<Payload>) -> String {
    let bytes = controller.call(name, arguments, OPTIONS).await.unwrap();
    String::from_utf8(bytes.into()).unwrap()
}

/// How a call of `name` fails.
async fn failure(controller: &Controller, name: &str, arguments: impl Into<Payload>) -> String {
    controller.call(name, arguments, OPTIONS).await.unwrap_err().to_string()
}

async fn next(items: &mut Items) -> Result<Option<String>, RequestError> {
    Ok(items.next().await?.map(|(_, bytes)| String::from_utf8(bytes.into()).unwrap()))
}

/// A worker that serves until the stream is dropped, and its process.
async fn held(controller: &Controller, name: &str) -> (Items, String) {
    let mut items = controller.stream(name, words(["hold"]), OPTIONS).await.unwrap();
    let pid = next(&mut items).await.unwrap().unwrap();
    (items, pid)
}

async fn workers(controller: &Controller, name: &str) -> u32 {
    let services = controller.services().await.unwrap();
    services.iter().find(|service| service.name == name).unwrap().workers.unwrap()
}

/// Asks again and again, a round trip apart.
async fn until(controller: &Controller, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what}");
        controller.ping(b"").await.unwrap();
    }
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(pid: &str, signal: Signal) {
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), signal).unwrap();
}

/// The value of a metric; none as long as it is not there.
async fn metric(swarmd: &Running, series: &str) -> Option<u64> {
    let (_, text) = http_get(swarmd.metrics(), "/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}
