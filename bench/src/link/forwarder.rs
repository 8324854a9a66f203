//! One direction of an emulated link at work: a thread that reads packets from one TUN device, asks the [`Shaper`] about each, and writes
//! those that are due to the other device.
//!
//! It decides nothing. It shares the processors with both peers, so it works in bursts: after a round with packets it sleeps for [`NAP`]
//! instead of waking for each of them, and only an idle direction waits for its device. A packet may therefore be read and released up to a
//! nap late each. It ends when it is told to, or with an error that the owner hears about at the next look.

use std::{
    num::NonZeroU64,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail, ensure};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, read, write},
    thread::{gettid, set_current_timer_slack},
};
use tun_rs::SyncDevice;

use super::{
    address::{self, Way},
    delay_line::{DelayLine, Order},
    network::{NEAR, host_address},
    shaper::{Fate, Shaper},
    traffic::Counters,
};
use crate::process;

/// How long a busy direction sleeps between rounds: four packets of 1,500 bytes at 1 Gbit/s, and well below the 0.2 ms that a release may
/// be late.
const NAP: Duration = Duration::from_micros(50);

/// Packets that are read before those that are due are written, and the other way round, so that neither side starves.
const BURST: usize = 64;

/// The most that the kernel may delay a timer of the thread, in nanoseconds; it adds 50 µs unless told otherwise (prctl(2)).
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).expect("a thousand is above zero");

/// A direction's thread, which ends with this value.
#[derive(Debug)]
pub(super) struct Forwarder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the owner and the thread both see.
#[derive(Debug)]
struct Shared {
    counters: Counters,
    clock: Instant,
    /// When the run began, in nanoseconds of the clock.
    origin_ns: AtomicU64,
    stopping: AtomicBool,
    /// Wakes the thread when it waits for packets.
    wake: OwnedFd,
    failure: Mutex<Option<Error>>,
}

impl Forwarder {
    /// Starts to carry packets from one device to the other, both of which do not block.
    pub(super) fn spawn(
        from: Arc<SyncDevice>,
        to: Arc<SyncDevice>,
        shaper: Shaper,
        line: DelayLine,
        way: Way,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            counters: Counters::default(),
            clock: Instant::now(),
            origin_ns: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC)?,
            failure: Mutex::new(None),
        });
        let mut work = Work { from, to, shaper, line, way, origin_ns: 0, shared: Arc::clone(&shared) };
        let (ready, started) = sync_channel(1);
        let thread = thread::Builder::new().name("link".to_owned()).spawn(move || {
            // The owner waits for this, so it is there to hear it.
            let _ = ready.send(prepare_thread());
            work.run_and_report();
        });
        let forwarder = Self { shared, thread: Some(thread.context("failed to start a forwarder")?) };
        started.recv().context("a forwarder ended at its start")??;
        Ok(forwarder)
    }

    /// Begins the phases anew, now.
    pub(super) fn restart(&self) {
        self.shared.origin_ns.store(self.shared.now_ns(), Ordering::Relaxed);
    }

    /// The counters, or why the thread has ended.
    pub(super) fn counters(&self) -> Result<&Counters> {
        if let Some(error) = &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            bail!("the link has failed: {error:#}");
        }
        Ok(&self.shared.counters)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // The counter of the event cannot be full: this is its only write.
        let _ = write(&self.shared.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by the thread itself, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).expect("nanoseconds last for 584 years")
    }
}

/// What the thread owns.
struct Work {
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    shaper: Shaper,
    line: DelayLine,
    way: Way,
    origin_ns: u64,
    shared: Arc<Shared>,
}

impl Work {
    fn run_and_report(&mut self) {
        if let Err(error) = self.run() {
            *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    fn run(&mut self) -> Result<()> {
        while !self.shared.stopping.load(Ordering::Relaxed) {
            self.follow_restart();
            let (arrived, released) = (self.read_burst()?, self.write_burst()?);
            match arrived.max(released) {
                0 => self.wait()?,
                BURST.. => (),
                _ => thread::sleep(NAP),
            }
        }
        Ok(())
    }

    fn follow_restart(&mut self) {
        let origin_ns = self.shared.origin_ns.load(Ordering::Relaxed);
        if origin_ns != self.origin_ns {
            self.origin_ns = origin_ns;
            self.shaper.restart(origin_ns);
        }
    }

    /// Takes up to a burst of packets from the device; says how many there were.
    fn read_burst(&mut self) -> Result<usize> {
        for packets in 0..BURST {
            match read(&*self.from, self.line.next_buffer()) {
                Ok(bytes) => self.take(bytes),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(packets),
                Err(error) => return Err(error).context("failed to read from a TUN device"),
            }
        }
        Ok(BURST)
    }

    /// Decides about the packet in the next buffer.
    fn take(&mut self, bytes: usize) {
        /// Where an IPv4 header names its protocol, and the number of UDP (RFC 791 §3.1).
        const PROTOCOL: usize = 9;
        const UDP: u8 = 17;
        let counters = &self.shared.counters;
        let is_udp = self.line.next_buffer()[..bytes].get(PROTOCOL) == Some(&UDP);
        let passage = if is_udp { &counters.udp } else { &counters.other };
        Counters::add(&passage.packets, 1);
        Counters::add(&counters.packets, 1);
        Counters::add(&counters.bytes, bytes);
        let now_ns = self.shared.now_ns();
        if let Some(host) = self.shaper.near(now_ns) {
            let packet = &mut self.line.next_buffer()[..bytes];
            if !address::translate(packet, self.way, NEAR, host_address(host)) {
                return Counters::add(&counters.random_losses, 1);
            }
        }
        let taken = match self.shaper.accept(now_ns, bytes) {
            Fate::Deliver { at_ns } => self.line.push(bytes, at_ns, Order::Kept),
            Fate::HoldBack { at_ns } => self.line.push(bytes, at_ns, Order::HeldBack),
            Fate::Lost => return Counters::add(&counters.random_losses, 1),
            Fate::QueueFull => false,
        };
        if taken {
            Counters::add(&passage.bytes_passed, bytes);
        } else {
            Counters::add(&passage.queue_drops, 1);
            Counters::add(&counters.queue_drops, 1);
        }
    }

    /// Releases up to a burst of packets that are due; says how many there were.
    fn write_burst(&mut self) -> Result<usize> {
        let now_ns = self.shared.now_ns();
        for packets in 0..BURST {
            let Some(packet) = self.line.pop_due(now_ns) else { return Ok(packets) };
            match write(&*self.to, packet) {
                Ok(_) => (),
                // The kernel has no memory for it now: as a full queue further on.
                Err(Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN) => {
                    Counters::add(&self.shared.counters.queue_drops, 1);
                }
                Err(error) => return Err(error).context("failed to write to a TUN device"),
            }
        }
        Ok(BURST)
    }

    /// Sleeps until a packet arrives or is due, or the owner wants an end.
    fn wait(&self) -> Result<()> {
        let timeout = match self.line.next_due_ns() {
            Some(due_ns) => {
                let patience = Duration::from_nanos(due_ns.saturating_sub(self.shared.now_ns()));
                Some(Timespec::try_from(patience).context("failed to wait so long")?)
            }
            None => None,
        };
        let mut descriptors = [
            PollFd::from_borrowed_fd(self.from.as_fd(), PollFlags::IN),
            PollFd::new(&self.shared.wake, PollFlags::IN),
        ];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("failed to wait for packets"),
        }
    }
}

/// Puts the calling thread before every ordinary one, at the lowest real-time priority (sched(7)): its packets are due whatever the peers do
/// to the processors. A nice value would not do, because the kernel weighs whole sessions against each other first (autogroups), and ssh
/// makes new ones. It cannot starve the peers for long: it sleeps as soon as they send nothing.
fn prepare_thread() -> Result<()> {
    set_current_timer_slack(Some(TIMER_SLACK_NS)).context("failed to set the timer slack")?;
    let thread = gettid().as_raw_nonzero().to_string();
    let output =
        process::command("chrt").args(["--fifo", "--pid", "1", &thread]).stdin(Stdio::null()).output();
    let output = output.context("failed to start chrt; it comes with util-linux")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "failed to make the forwarder a real-time thread: {}", words.trim());
    Ok(())
}
