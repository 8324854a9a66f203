//! The process at the near end that pings over one connection, and meanwhile pushes a tree over the same connection if it is told to.
//!
//! It is a hidden command of the laboratory, so that it runs in the near end's namespace and under a keeper, and so that Swarmwire's client
//! library has a process of its own with a current-thread runtime, as in `swarm`. Both ways of pinging ([`swarm`], [`ssh`]) share the loop, the clock
//! and the account of what the bulk has moved; they differ only in what carries 64 bytes there and back. One line of JSON tells what it found.

mod alarm;
pub(crate) mod bulk;
mod ssh;
mod swarm;

use std::{
    future::pending,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tokio::{io::unix::AsyncFd, time::timeout};

use super::schedule::{PING_BYTES, RoundTrips, Schedule};
use crate::process;
use alarm::Alarm;
use bulk::Rounds;

/// The name of the command.
pub const COMMAND: &str = "ping-beside";

/// How long echoes are waited for after the last ping was due. Chosen: what a full window of ssh's (2 MiB)
/// takes at half a megabit a second, which is what TCP makes of a long link with losses.
pub(super) const ECHO_PATIENCE: Duration = Duration::from_secs(30);

/// How long threads that a broken-off bulk leaves behind may clean up, as in `swarm`.
const CLEANUP_TIME_MAX: Duration = Duration::from_secs(1);

/// The pinger's command line.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Arguments {
    /// Pings a second.
    #[arg(long)]
    pub(super) rate: u32,
    /// Seconds for which they are counted.
    #[arg(long)]
    pub(super) seconds: u32,
    /// The far end's directory for what is pushed, as this machine sees it.
    #[arg(long)]
    pub(super) into: PathBuf,
    /// What is pushed meanwhile, again and again; nothing leaves the connection idle.
    #[arg(long)]
    pub(super) tree: Option<PathBuf>,
    /// What carries the pings.
    #[command(subcommand)]
    pub(super) way: Way,
}

/// What carries the pings.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Way {
    /// A connection to the one gateway that a controller has joined, which serves `into`.
    Swarm {
        /// The controller's home.
        #[arg(long)]
        home: PathBuf,
    },
    /// A session through the master of a shared ssh connection.
    Ssh {
        /// The client's configuration.
        #[arg(long)]
        config: PathBuf,
        /// The master's socket.
        #[arg(long)]
        control: PathBuf,
    },
}

/// What a pinger has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Every counted ping, from the moment it was due until its echo was back.
    pub(super) nanoseconds: Vec<u64>,
    /// Bytes of file content that arrived meanwhile.
    pub(super) bulk_bytes: u64,
    /// Seconds in which they did, those of the warm-up included.
    pub(super) seconds: f64,
}

/// Sends pings, as a pipe or a stream does.
trait Outgoing {
    async fn send(&mut self, ping: &[u8; PING_BYTES]) -> Result<()>;
}

/// Gives their echoes, in the same order.
trait Incoming {
    async fn receive(&mut self) -> Result<[u8; PING_BYTES]>;
}

impl Arguments {
    /// The command that runs a pinger so.
    pub(super) fn command(&self) -> Command {
        let mut command = process::command("/proc/self/exe");
        command.arg(COMMAND).arg("--into").arg(&self.into);
        command.args(["--rate", &self.rate.to_string(), "--seconds", &self.seconds.to_string()]);
        if let Some(tree) = &self.tree {
            command.arg("--tree").arg(tree);
        }
        match &self.way {
            Way::Swarm { home } => command.arg("swarm").arg("--home").arg(home),
            Way::Ssh { config, control } => {
                command.arg("ssh").arg("--config").arg(config).arg("--control").arg(control)
            }
        };
        command
    }

    fn rounds(&self) -> Result<Option<Rounds>> {
        self.tree.as_ref().map(|tree| Rounds::new(tree, &self.into)).transpose()
    }
}

/// Pings, and writes the sample to `out`.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sample = runtime.block_on(async {
        match &arguments.way {
            Way::Swarm { home } => swarm::measure(home, arguments).await,
            Way::Ssh { config, control } => ssh::measure(config, control, arguments).await,
        }
    });
    runtime.shutdown_timeout(CLEANUP_TIME_MAX);
    serde_json::to_writer(&mut *out, &sample?)?;
    writeln!(out)?;
    Ok(())
}

/// Pings to the end of the schedule, while `push` brings the tree to one new name after the other if there is one.
async fn measure(
    out: impl Outgoing,
    back: impl Incoming,
    arguments: &Arguments,
    push: impl AsyncFn(&Path, &str) -> Result<()>,
) -> Result<Sample> {
    let rounds = arguments.rounds()?;
    let schedule = Schedule::new(arguments.rate, arguments.seconds);
    let start = Instant::now();
    let bulk = async {
        match &rounds {
            Some(rounds) => rounds.run(push).await,
            None => pending().await,
        }
    };
    let mut bulk = pin!(bulk);
    let times = tokio::select! {
        times = ping(out, back, schedule, start) => times?,
        Err(error) = &mut bulk => return Err(error.context("failed to push beside the pings")),
    };
    // The push has not been broken off yet: what it has written is still there.
    let time = start.elapsed();
    let bulk_bytes = rounds.as_ref().map_or(0, Rounds::arrived_bytes);
    let nanoseconds = times.iter().map(|time| u64::try_from(time.as_nanos())).collect::<Result<_, _>>()?;
    Ok(Sample { nanoseconds, bulk_bytes, seconds: time.as_secs_f64() })
}

/// Sends every ping when it is due, or as soon afterwards as can be, and takes their echoes; gives the counted times.
async fn ping(
    mut out: impl Outgoing,
    mut back: impl Incoming,
    schedule: Schedule,
    start: Instant,
) -> Result<Vec<Duration>> {
    let mut alarm = Alarm::new()?;
    let mut trips = RoundTrips::new(schedule);
    let sending = async {
        for number in 0..schedule.count() {
            alarm.wait_until(start + schedule.due(number)).await?;
            out.send(&Schedule::payload(number)).await.context("failed to send a ping")?;
        }
        anyhow::Ok(())
    };
    let receiving = async {
        while trips.is_waiting() {
            let echo = back.receive().await.context("failed to receive an echo")?;
            trips.record(&echo, start.elapsed())?;
        }
        anyhow::Ok(())
    };
    let both = async { tokio::try_join!(sending, receiving) };
    // Echoes that are not back when time is up are accounted for by the round trips.
    if let Ok(ended) = timeout(schedule.end() + ECHO_PATIENCE, both).await {
        ended?;
    }
    Ok(trips.finish(start.elapsed()))
}

/// Lets the runtime wait for a descriptor that is neither a socket nor a pipe.
#[expect(
    deprecated,
    reason = "deprecated for types that may give another descriptor each time, which `OwnedFd` does not; the successor is `unsafe`"
)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Does what blocks on the disk on another thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("failed to finish work on the disk")?
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn the_command_means_what_it_was_made_from() {
        let swarm = Way::Swarm { home: "/h e".into() };
        let ssh = Way::Ssh { config: "/c".into(), control: "/s".into() };
        for (way, tree) in [(swarm, None), (ssh, Some(PathBuf::from("/t")))] {
            let arguments = Arguments { rate: 7, seconds: 3, into: "/i".into(), tree, way };
            let command = arguments.command();
            assert_eq!(command.get_args().next(), Some(COMMAND.as_ref()));
            let read = Line::try_parse_from(command.get_args()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.arguments, arguments);
        }
    }
}
