//! `cargo lab fair`: what a push leaves to a TCP connection on the same queue, and what it keeps beside it.
//!
//! Both send from the near end to the far one of an emulated link at the same time, for a while. The push is `swarm sync` of one file that is too large to end
//! in time; the other is one connection of the kernel, with the congestion control under test, which sends zeros from memory. The link itself counts who
//! sent what ([`Passage`]), so the two are measured alike, headers and retransmissions included. The first seconds are not counted: who begins
//! is a matter of luck. Nothing is verified here; `compare` does that.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    binaries::Binaries,
    compare::Tcp,
    gateway::{self, Gateway, State},
    ground::Ground,
    link::{self, Link, Passage, Passages},
    record::Sharing,
    report::{
        self, Directory,
        sharing::{self, WARM_UP_SECONDS},
    },
    work::Work,
};

/// How often the link is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Bytes that the TCP connection writes or reads at once.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a thread waits for its connection before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The links.
    pub links: Vec<Link>,
    /// How the TCP connection beside the push is set up, one after the other.
    pub beside: Vec<Tcp>,
    /// The push's own `--congestion`, one after the other.
    pub congestion: Vec<String>,
    /// How long both send, less what is not counted.
    pub seconds: u32,
    /// How long the TCP connection sends alone before.
    pub head_start: Duration,
    /// An existing directory for what is pushed.
    pub place: PathBuf,
    /// The report's name and the directory for reports; nothing prints only.
    pub report: Option<(String, PathBuf)>,
    /// What losses follow.
    pub seed: u64,
    /// The command line, for the report.
    pub command: String,
}

/// Measures, prints a line for each pair, and writes the report.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    options.links.iter().try_for_each(link::expect_below_ceiling)?;
    let work = Work::begin(&options.place)?;
    let binaries = Binaries::build(work.nursery())?;
    let directory = Directory::asked_for(options.report.as_ref(), &options.command)?;
    let mut rows = directory.as_ref().map(Directory::append).transpose()?;
    for heading in [
        ["link", "congestion", "beside", "share", "swarm", "tcp", "dropped", "dropped"],
        ["", "", "", "", "Mbit/s", "Mbit/s", "of swarm", "of tcp"],
    ] {
        writeln!(out, "{}", line(&heading))?;
    }
    for link in &options.links {
        for congestion in &options.congestion {
            for tcp in &options.beside {
                let top = tempfile::tempdir_in(work.path())?;
                let scene = Scene { options, work: &work, binaries: &binaries, top: top.path(), link };
                let looks = scene.measure(congestion, tcp)?;
                writeln!(out, "{}", row(&looks)?)?;
                if let Some(rows) = &mut rows {
                    looks.into_iter().try_for_each(|look| rows.write(look))?;
                }
            }
        }
    }
    if let Some(directory) = &directory {
        report::write(directory.path())?;
        writeln!(out, "report: {}", directory.path().join("summary.md").display())?;
    }
    Ok(())
}

/// One pair on one link.
struct Scene<'a> {
    options: &'a Options,
    work: &'a Work,
    binaries: &'a Binaries,
    top: &'a Path,
    link: &'a Link,
}

impl Scene<'_> {
    fn measure(&self, congestion: &str, tcp: &Tcp) -> Result<Vec<Sharing>> {
        let ground = Ground::linked(self.work.nursery(), self.link, self.options.seed)?;
        ground.set_tcp(tcp.control(), tcp.buffer_max())?;
        let (near, far, home) = (self.top.join("near"), self.top.join("far"), self.top.join("home"));
        for directory in [&near, &far, &home] {
            fs::create_dir(directory)?;
        }
        let length =
            Duration::from_secs_f64(WARM_UP_SECONDS) + Duration::from_secs(self.options.seconds.into());
        self.lay_out(&near.join("file"), length)?;
        let state = State::at(&home, self.binaries);
        let gateway = Gateway::start(&state, &ground, &far)?;
        let mut push = state.swarm();
        push.args([
            "sync",
            "--quiet",
            "--durability",
            "none",
            "--compress",
            "never",
            // A connection that is lost ends the push, and so the measurement.
            "--retry",
            "0s",
            "--congestion",
            congestion,
        ]);
        push.arg(&near).arg(format!("{}:", gateway::NAME));
        let flood = Flood::start(&ground)?;
        thread::sleep(self.options.head_start);
        ground.restart();
        let push = ground.near().spawn(&push)?;
        let (begin, before) = (Instant::now(), ground.passages()?);
        let mut looks = Vec::new();
        while begin.elapsed() < length {
            let (swarm, tcp_sent) = since(&before, &ground.passages()?);
            looks.push(Sharing {
                link: self.link.to_string(),
                congestion: congestion.to_owned(),
                beside: tcp.to_string(),
                seconds: begin.elapsed().as_secs_f64(),
                swarm_packets: swarm.packets,
                swarm_drops: swarm.queue_drops,
                swarm_bytes: swarm.bytes_passed,
                tcp_packets: tcp_sent.packets,
                tcp_drops: tcp_sent.queue_drops,
                tcp_bytes: tcp_sent.bytes_passed,
            });
            if push.ended_within(LOOK_INTERVAL)? {
                bail!("the push ended before its time\n{}", push.last_words());
            }
        }
        push.kill()?;
        flood.stop()?;
        gateway.into_process().kill()?;
        Ok(looks)
    }

    /// A file that the link cannot carry in `length`: of a hole, which costs no room and is sent as zeros.
    fn lay_out(&self, path: &Path, length: Duration) -> Result<()> {
        let Link::Emulated(emulated) = self.link else {
            bail!("only an emulated link has a queue that is shared")
        };
        let rates: Option<Vec<u64>> = emulated.phases().iter().map(|phase| phase.conditions.rate).collect();
        let rate = rates
            .and_then(|rates| rates.into_iter().max())
            .context("without a rate, nothing has to be shared")?;
        let bytes = rate / 8 * (length.as_secs() + 1);
        // What arrives is not a hole any more.
        self.work.expect_space(bytes)?;
        File::create(path)?.set_len(bytes)?;
        Ok(())
    }
}

/// A TCP connection from the near end to the far one that is never without something to send.
struct Flood {
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Flood {
    fn start(ground: &Ground) -> Result<Self> {
        let listener = ground.far().inside(|| TcpListener::bind((ground.far().address(), 0)))??;
        let address: SocketAddr = listener.local_addr()?;
        let sender = ground.near().inside(|| TcpStream::connect(address))??;
        let (receiver, _) = listener.accept()?;
        for stream in [&sender, &receiver] {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = |mut work: Box<dyn FnMut() -> std::io::Result<usize> + Send>| {
            let stopping = Arc::clone(&stopping);
            thread::spawn(move || {
                while !stopping.load(Ordering::Relaxed) {
                    match work() {
                        Ok(0) => break,
                        Ok(_) => {}
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        }
                        Err(error) => return Err(error).context("the TCP connection has failed"),
                    }
                }
                Ok(())
            })
        };
        let (mut sender, mut receiver) = (sender, receiver);
        let (zeros, mut room) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let threads = vec![
            thread(Box::new(move || sender.write(&zeros))),
            thread(Box::new(move || receiver.read(&mut room))),
        ];
        Ok(Self { stopping, threads })
    }

    fn stop(self) -> Result<()> {
        self.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads {
            match thread.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a thread of the TCP connection has panicked"),
            }
        }
        Ok(())
    }
}

/// What the push and the TCP connection have sent since `before`.
fn since(before: &Passages, now: &Passages) -> (Passage, Passage) {
    let between = |earlier: Passage, later: Passage| Passage {
        packets: later.packets - earlier.packets,
        queue_drops: later.queue_drops - earlier.queue_drops,
        bytes_passed: later.bytes_passed - earlier.bytes_passed,
    };
    (between(before.udp, now.udp), between(before.other, now.other))
}

/// The line of a pair, from the end of the warm-up on.
fn row(looks: &[Sharing]) -> Result<String> {
    let pairs = sharing::pairs(looks);
    let pair = pairs.first().context("nothing was looked at")?;
    let [share, swarm, tcp, swarm_drops, tcp_drops] =
        sharing::figures(&pair.parts().context("the warm-up was not outlived")?);
    let cells = [pair.link, pair.congestion, pair.beside, &share, &swarm, &tcp, &swarm_drops, &tcp_drops];
    Ok(line(&cells))
}

/// The cells of a line in their columns.
fn line(cells: &[&str; 8]) -> String {
    let [link, congestion, beside, share, swarm, tcp, swarm_drops, tcp_drops] = cells;
    format!(
        "{link:<34}{congestion:<12}{beside:<8}{share:>7}{swarm:>9}{tcp:>9}{swarm_drops:>10}{tcp_drops:>10}"
    )
}
