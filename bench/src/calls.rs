//! `cargo lab calls`: what a call of a subroutine costs, beside gRPC, another RPC over QUIC, and the bare streams below ours.
//!
//! Every peer has a server and a client, each a process of this program's own with a runtime of one thread, as `swarmd` and `swarm` have; one connection
//! under the same keys, key exchange and cipher ([`peer`]); and the same loop that calls ([`measure`]). Peers take turns, after a round that is not counted.
//! `quinn` is no competitor but the floor: a stream for each call, and nothing in it but the bytes.

pub mod end;
pub mod leaks;
mod measure;
mod peer;
mod work;

use std::{
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    figures::{grouped, megabytes, significant},
    ground::{Ground, await_ready},
    process::Process,
    record::{Call, Machine},
    report::{self, Appender, Directory},
    work::Work as Workplace,
    workload::Workload,
};
use end::{ClientArguments, Ready, ServerArguments};
pub use peer::Peer;
pub use work::{Kind, Work};

/// How long a client may take beyond its calls: to connect, to open streams, to look at what has arrived. Chosen: none takes ten seconds.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

/// Each end has a processor of its own, so that it is not the scheduler's luck who waits for another processor to wake and who does not: of calls one at a
/// time that is two thirds of the time.
const SERVER_PROCESSOR: usize = 0;
/// See above.
const CLIENT_PROCESSOR: usize = 1;

/// Calls that are made at a time where they are not made one by one.
const AT_A_TIME: u32 = 64;

/// Bytes of an item, where items of two sizes are streamed.
const ITEM_BYTES: [u32; 2] = [64, 1 << 20];

/// What is synced beside calls.
const BESIDE: Workload = Workload::Medium;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who takes part.
    pub peers: Vec<Peer>,
    /// What kinds of work.
    pub kinds: Vec<Kind>,
    /// Bytes that go there and back in a call.
    pub payloads: Vec<u32>,
    /// Streams that are open and give nothing.
    pub streams: u32,
    /// Counted rounds.
    pub runs: u32,
    /// Seconds of each run.
    pub seconds: u32,
    /// An existing directory for what little is written.
    pub place: PathBuf,
    /// The report's name and the directory for reports; nothing prints only.
    pub report: Option<(String, PathBuf)>,
    /// What the tree follows.
    pub seed: u64,
    /// The command line, for the report.
    pub command: String,
}

/// Measures, prints a line for each run, and writes the report.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let workplace = Workplace::begin(&options.place)?;
    let ground = Ground::loopback(workplace.nursery())?;
    let tree = workplace.path().join("tree");
    std::fs::create_dir(&tree)?;
    if options.kinds.contains(&Kind::Beside) {
        workplace.expect_space(BESIDE.bytes_max()? * 3)?;
        BESIDE.generate(&tree, options.seed)?;
    }
    let directory = match &options.report {
        Some((label, parent)) => Some(Directory::create(parent, label, &options.machine()?)?),
        None => None,
    };
    let mut rows = directory.as_ref().map(Directory::append).transpose()?;
    writeln!(out, "{}", heading())?;
    for work in options.works() {
        let scene = Scene { ground: &ground, top: workplace.path(), tree: &tree, seconds: options.seconds };
        scene.rounds(options, work, rows.as_mut(), out)?;
    }
    if let Some(directory) = &directory {
        report::write(directory.path())?;
        writeln!(out, "report: {}", directory.path().join("summary.md").display())?;
    }
    Ok(())
}

impl Options {
    /// Everything that is asked for, in the order in which it is measured.
    fn works(&self) -> Vec<Work> {
        let calls = [1, AT_A_TIME].into_iter().flat_map(|at_a_time| {
            self.payloads.iter().map(move |&bytes| Work { kind: Kind::Calls, bytes, at_a_time })
        });
        let items = ITEM_BYTES.map(|bytes| Work { kind: Kind::Items, bytes, at_a_time: 1 });
        let idle = Work { kind: Kind::Idle, bytes: 0, at_a_time: self.streams };
        let beside = Work { kind: Kind::Beside, bytes: 64, at_a_time: 1 };
        calls.chain(items).chain([idle, beside]).filter(|work| self.kinds.contains(&work.kind)).collect()
    }

    fn machine(&self) -> Result<Machine> {
        let mut machine = Machine::read(self.command.clone())?;
        machine.peers = self.peers.iter().map(|peer| (peer.to_string(), peer.about().to_owned())).collect();
        Ok(machine)
    }
}

/// Where peers are measured.
struct Scene<'a> {
    ground: &'a Ground,
    top: &'a Path,
    tree: &'a Path,
    seconds: u32,
}

impl Scene<'_> {
    /// One kind of work, by everybody in turns.
    fn rounds(
        &self,
        options: &Options,
        work: Work,
        mut rows: Option<&mut Appender<Call>>,
        out: &mut impl Write,
    ) -> Result<()> {
        let able: Vec<Peer> = options.peers.iter().copied().filter(|peer| peer.does(work.kind)).collect();
        for run in 0..=options.runs {
            for &peer in &able {
                let row = match self.measure(peer, work) {
                    Ok(row) => Call { run, ..row },
                    Err(error) => {
                        writeln!(out, "{work:<22} {peer:<12} failed: {error:#}")?;
                        continue;
                    }
                };
                if run == 0 {
                    continue;
                }
                writeln!(out, "{}", line(&row, work))?;
                if let Some(rows) = &mut rows {
                    rows.write(row)?;
                }
            }
        }
        Ok(())
    }

    fn measure(&self, peer: Peer, work: Work) -> Result<Call> {
        let top = tempfile::tempdir_in(self.top)?;
        let home = top.path().to_owned();
        let mut server = ServerArguments::new(peer, home.clone(), self.ground)?;
        let tree = (work.kind == Kind::Beside).then(|| self.tree.to_owned());
        // A sync has other threads, that want every processor.
        let processor = |number| tree.is_none().then_some(number);
        server.processor = processor(SERVER_PROCESSOR);
        let (server, ready) = serve(self.ground, &server)?;
        let client = ClientArguments {
            peer,
            home,
            server: ready.process,
            work,
            seconds: self.seconds,
            processor: processor(CLIENT_PROCESSOR),
            tree,
        };
        let within = Duration::from_secs(2 * u64::from(self.seconds)) + CLIENT_PATIENCE;
        let told = self.ground.near().run(&client.command(), within)?.success();
        let told = told.with_context(|| server.last_words())?;
        let row: Call = serde_json::from_str(&told).context("failed to understand the client")?;
        if row.count == 0 {
            bail!("nothing was done in {} s", self.seconds);
        }
        Ok(row)
    }
}

/// Starts a server at the far end.
fn serve(ground: &Ground, arguments: &ServerArguments) -> Result<(Process, Ready)> {
    let server = ground.far().spawn(&arguments.command())?;
    let ready = await_ready(&server, || Ok(Ready::of_output(&server.stdout()?)))?;
    Ok((server, ready))
}

fn heading() -> String {
    let columns = ["per second", "p50 µs", "p99 µs", "p99.9 µs", "CPU s/100k", "server MB"];
    let mut line = format!("{:<22} {:<12} {:>3}", "work", "peer", "run");
    for column in columns {
        write!(line, " {column:>11}").expect("a string takes everything");
    }
    line
}

/// Under [`heading`].
fn line(row: &Call, work: Work) -> String {
    let cells = [
        grouped_rate(row.per_second()),
        significant(row.p50_microseconds),
        significant(row.p99_microseconds),
        significant(row.p999_microseconds),
        significant(row.cpu_seconds_of_100k()),
        megabytes(row.server_after_bytes),
    ];
    let mut line = format!("{:<22} {:<12} {:>3}", work.to_string(), row.peer, row.run);
    for cell in cells {
        write!(line, " {cell:>11}").expect("a string takes everything");
    }
    if row.bulk_bytes_per_second > 0.0 {
        write!(line, "  beside {} MB/s", significant(row.bulk_bytes_per_second / 1e6))
            .expect("a string takes everything");
    }
    line
}

fn grouped_rate(rate: f64) -> String {
    if rate < 100.0 {
        return significant(rate);
    }
    format!("{rate:.0}").parse().map_or_else(|_| significant(rate), grouped)
}
