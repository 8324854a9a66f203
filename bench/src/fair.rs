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
    work::Work,
};

/// How often the link is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What is not counted at the start: connecting, and both finding the link's rate. Chosen.
const WARM_UP: Duration = Duration::from_secs(5);

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
    /// Where the rates of both over time go, as CSV.
    pub series: Option<PathBuf>,
    /// What losses follow.
    pub seed: u64,
}

/// Measures, and writes a table to `out`.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    options.links.iter().try_for_each(link::expect_below_ceiling)?;
    let work = Work::begin(&options.place)?;
    let binaries = Binaries::build(work.nursery())?;
    let mut series = options.series.as_ref().map(File::create).transpose()?;
    if let Some(series) = &mut series {
        writeln!(series, "link,congestion,beside,seconds,swarm_mbit,tcp_mbit")?;
    }
    writeln!(
        out,
        "{:<34}{:<12}{:<8}{:>7}{:>9}{:>9}{:>10}{:>10}",
        "link", "congestion", "beside", "share", "swarm", "tcp", "dropped", "dropped"
    )?;
    writeln!(
        out,
        "{:<34}{:<12}{:<8}{:>7}{:>9}{:>9}{:>10}{:>10}",
        "", "", "", "", "Mbit/s", "Mbit/s", "of swarm", "of tcp"
    )?;
    for link in &options.links {
        for congestion in &options.congestion {
            for tcp in &options.beside {
                let top = tempfile::tempdir_in(work.path())?;
                let scene = Scene { options, work: &work, binaries: &binaries, top: top.path(), link };
                let looks = scene.measure(congestion, tcp)?;
                let beside = tcp.to_string();
                writeln!(out, "{:<34}{congestion:<12}{beside:<8}{}", link.to_string(), row(&looks)?)?;
                if let Some(series) = &mut series {
                    write_series(series, &format!("\"{link}\",{congestion},{beside}"), &looks)?;
                }
            }
        }
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

/// What had gone over the link so long after the push began.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    passages: Passages,
}

impl Scene<'_> {
    fn measure(&self, congestion: &str, tcp: &Tcp) -> Result<Vec<Look>> {
        let ground = Ground::linked(self.work.nursery(), self.link, self.options.seed)?;
        ground.set_tcp(tcp.control(), tcp.buffer_max())?;
        let (near, far, home) = (self.top.join("near"), self.top.join("far"), self.top.join("home"));
        for directory in [&near, &far, &home] {
            fs::create_dir(directory)?;
        }
        let length = WARM_UP + Duration::from_secs(self.options.seconds.into());
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
            "--congestion",
            congestion,
        ]);
        push.arg(&near).arg(format!("{}:", gateway::NAME));
        let flood = Flood::start(&ground)?;
        thread::sleep(self.options.head_start);
        ground.restart();
        let push = ground.near().spawn(&push)?;
        let begin = Instant::now();
        let mut looks = Vec::new();
        while begin.elapsed() < length {
            looks.push(Look { at: begin.elapsed(), passages: ground.passages()? });
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

/// What was sent between two looks.
fn between(earlier: Passage, later: Passage) -> Passage {
    Passage {
        packets: later.packets - earlier.packets,
        queue_drops: later.queue_drops - earlier.queue_drops,
        bytes_passed: later.bytes_passed - earlier.bytes_passed,
    }
}

fn mbit(passage: Passage, time: Duration) -> f64 {
    passage.bytes_passed as f64 * 8e-6 / time.as_secs_f64()
}

/// The figures of a pair, from the end of the warm-up on.
fn row(looks: &[Look]) -> Result<String> {
    let first = looks.iter().find(|look| look.at >= WARM_UP).context("the warm-up was not outlived")?;
    let last = looks.last().context("nothing was looked at")?;
    let time = last.at - first.at;
    let swarm = between(first.passages.udp, last.passages.udp);
    let tcp = between(first.passages.other, last.passages.other);
    let (ours, theirs) = (mbit(swarm, time), mbit(tcp, time));
    let dropped = |passage: Passage| 100.0 * passage.queue_drops as f64 / passage.packets.max(1) as f64;
    Ok(format!(
        "{:>7.2}{ours:>9.1}{theirs:>9.1}{:>8.2} %{:>8.2} %",
        ours / (ours + theirs),
        dropped(swarm),
        dropped(tcp)
    ))
}

/// The rates of both between each two looks.
fn write_series(series: &mut impl Write, pair: &str, looks: &[Look]) -> Result<()> {
    for window in looks.windows(2) {
        let (earlier, later) = (window[0], window[1]);
        let time = later.at - earlier.at;
        let swarm = mbit(between(earlier.passages.udp, later.passages.udp), time);
        let tcp = mbit(between(earlier.passages.other, later.passages.other), time);
        writeln!(series, "{pair},{:.1},{swarm:.2},{tcp:.2}", later.at.as_secs_f64())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(seconds: u64, swarm: u64, tcp: u64) -> Look {
        let passage =
            |bytes| Passage { packets: bytes / 1_000, queue_drops: bytes / 100_000, bytes_passed: bytes };
        Look {
            at: Duration::from_secs(seconds),
            passages: Passages { udp: passage(swarm), other: passage(tcp) },
        }
    }

    #[test]
    fn shares_are_of_what_passed_after_the_warm_up() {
        let looks = [look(0, 0, 0), look(5, 9_000_000, 0), look(6, 10_000_000, 3_000_000)];
        assert_eq!(row(&looks).unwrap(), "   0.25      8.0     24.0    1.00 %    1.00 %");
        let mut text = Vec::new();
        write_series(&mut text, "a,b,c", &looks[1..]).unwrap();
        assert_eq!(text, b"a,b,c,6.0,8.00,24.00\n");
        assert!(row(&looks[..1]).is_err());
    }
}
