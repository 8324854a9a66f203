//! `cargo lab link --check`: proves the emulator on the machine at hand, and measures how much it can carry.
//!
//! Each point asks for a link, measures it from outside with UDP packets, and holds the result against what was asked: the round-trip time
//! within 1 ms, the loss within a tenth, the rate and the queue within 3 %, a change in mid-run within 50 ms. Bounded in time, on namespaces
//! of its own. The seed is fixed, so the same packets are lost in every check.

mod probe;
mod table;

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Link, Network,
    description::{Share, WHOLE},
    namespace::expect_root,
    quantity::{self, RATE},
};
use crate::figures::{grouped, median, per_second};
use probe::{Ends, HEADERS, burst, flood, overdrive};
use table::{Row, Verdict};

/// Seed of the losses.
const SEED: u64 = 3;

/// The largest IP packet of the check, in bytes: the default MTU.
const FULL_SIZE: usize = 1_500;

/// The smallest IP packet of the check, in bytes: the number of a packet and the headers.
const MINIMUM_SIZE: usize = HEADERS + 8;

/// How long one look at the ceiling takes.
const CEILING_TIME: Duration = Duration::from_millis(700);

/// Packets that come back for each packet of a bulk transfer: TCP and QUIC acknowledge every second one (RFC 5681, section 4.2; RFC 9000,
/// section 13.2.2), and the forwarder carries those, too.
const ACKNOWLEDGEMENTS: f64 = 0.5;

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Fewer points: below 8 s instead of below 40 s.
    pub quick: bool,
}

/// How many packets a second the emulator forwards here in one direction, without any limit.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// Of 1,500 bytes.
    pub full_size: f64,
    /// Of 36 bytes.
    pub minimum_size: f64,
}

/// Measures every point and writes the table to `out`; an error names what the emulator did not do as asked.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    expect_root()?;
    let (round_trips, losses, rates): (&[u64], &[&str], &[&str]) = if options.quick {
        (&[20, 100], &["5%"], &["100mbit"])
    } else {
        (&[0, 20, 100, 300], &["0.1%", "1%", "5%"], &["10mbit", "100mbit", "1gbit"])
    };
    let mut rows = Vec::new();
    for rtt_ms in round_trips {
        rows.push(best_of_two(|| round_trip(*rtt_ms))?);
    }
    for share in losses {
        rows.push(best_of_two(|| loss(share))?);
    }
    for bits in rates {
        rows.push(best_of_two(|| rate(bits))?);
    }
    rows.push(best_of_two(queue)?);
    rows.push(best_of_two(change)?);
    table::write(&rows, out)?;
    let ceiling = ceiling()?;
    writeln!(
        out,
        "ceiling: {} packets/s of {FULL_SIZE} bytes, {} of {MINIMUM_SIZE} bytes",
        thousands(ceiling.full_size),
        thousands(ceiling.minimum_size),
    )?;
    let failures = table::failures(&rows);
    ensure!(failures.is_empty(), "the emulator does not do what it is asked: {failures}");
    Ok(())
}

/// Measures the ceiling, in a second and a half.
pub fn ceiling() -> Result<Ceiling> {
    let measured = |bytes| {
        let network = Network::build(&"rtt=0".parse()?, SEED)?;
        let ends = Ends::open(&network, Duration::ZERO)?;
        let flood = flood((&ends.near, &ends.far), bytes, u64::MAX, CEILING_TIME)?;
        expect_no_device_drops(&network)?;
        anyhow::Ok(per_second(flood.received, flood.elapsed))
    };
    Ok(Ceiling { full_size: measured(FULL_SIZE)?, minimum_size: measured(MINIMUM_SIZE)? })
}

/// Refuses a link whose rate this machine's emulator cannot carry in full-size packets and their acknowledgements.
pub fn expect_below_ceiling(link: &Link) -> Result<()> {
    let Some((bits, needed)) = packets_needed(link) else { return Ok(()) };
    let most = ceiling()?.full_size;
    if needed > most {
        bail!(
            "the link's rate of {} needs {} packets/s, and this machine's emulator forwards {} at present; ask for a lower rate, or stop other work",
            quantity::show(bits, RATE),
            thousands(needed),
            thousands(most),
        );
    }
    Ok(())
}

/// The highest rate of a link and the packets a second that it stands for; none for a link without a rate, which promises nothing.
fn packets_needed(link: &Link) -> Option<(u64, f64)> {
    let Link::Emulated(emulated) = link else { return None };
    let bits = emulated.phases().iter().filter_map(|phase| phase.conditions.rate).max()?;
    Some((bits, bits as f64 / 8.0 / f64::from(emulated.mtu) * (1.0 + ACKNOWLEDGEMENTS)))
}

/// Measures a point again if it fails: other work on the machine disturbs now and then, a wrong emulator always. The table says so.
fn best_of_two(measure: impl Fn() -> Result<Row>) -> Result<Row> {
    let first = measure()?;
    if first.verdict == Verdict::Ok {
        return Ok(first);
    }
    let mut second = measure()?;
    second.what.push_str(", second try");
    Ok(second)
}

/// Packets a second, to the thousand: the next measurement differs by more.
fn thousands(packets: f64) -> String {
    format!("{:.0},000", packets / 1e3)
}

fn round_trip(rtt_ms: u64) -> Result<Row> {
    /// One ping in each of these, so that the direction is neither idle nor busy.
    const INTERVAL: Duration = Duration::from_millis(2);
    const PINGS: u64 = 250;
    let network = Network::build(&format!("rtt={rtt_ms}ms").parse()?, SEED)?;
    let echoes = Ends::open(&network, Duration::from_millis(rtt_ms))?.echoes(PINGS, INTERVAL)?;
    ensure!(
        echoes.len() as u64 == PINGS,
        "{} of {PINGS} pings came back over a link without loss",
        echoes.len()
    );
    let mut times: Vec<f64> = echoes.iter().map(|echo| echo.round_trip.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let p99 = times[times.len() * 99 / 100];
    let asked = Duration::from_millis(rtt_ms).as_secs_f64() * 1e3;
    Ok(Row::time("round trip", asked, median(&times), 1.0, &format!(" (p99 {p99:.3})")))
}

/// Half of the packets in each direction.
fn loss(asked: &str) -> Result<Row> {
    /// Losses to expect: their number then scatters by a fortieth, a quarter of what is tolerated.
    const EXPECTED: u64 = 1_600;
    const PATIENCE: Duration = Duration::from_secs(10);
    let share: Share = asked.parse()?;
    let packets = EXPECTED * WHOLE / share.billionths() / 2;
    let network = Network::build(&format!("loss={asked}").parse()?, SEED)?;
    let ends = Ends::open(&network, Duration::ZERO)?;
    let (mut sent, mut received) = (0, 0);
    for way in [(&ends.near, &ends.far), (&ends.far, &ends.near)] {
        let flood = flood(way, MINIMUM_SIZE, packets, PATIENCE)?;
        sent += flood.sent;
        received += flood.received;
    }
    expect_no_device_drops(&network)?;
    let measured = (sent - received) as f64 / sent as f64;
    let what = format!("loss of {} packets", grouped(sent));
    Ok(Row::relative(&what, share.fraction() * 100.0, measured * 100.0, 0.1, |percent| {
        format!("{percent:.3} %")
    }))
}

fn rate(asked: &str) -> Result<Row> {
    /// How far above the rate is sent, so that the queue is never empty.
    const OVERDRIVE_PERCENT: u64 = 115;
    const TIME: Duration = Duration::from_millis(1_500);
    let bits = quantity::parse(asked, RATE)?;
    // The queue outlasts the pauses of the sender, which sends in bursts.
    let network = Network::build(&format!("rate={asked},queue=1mb").parse()?, SEED)?;
    let ends = Ends::open(&network, Duration::ZERO)?;
    let rates = overdrive(&ends, FULL_SIZE, bits * OVERDRIVE_PERCENT / 100, TIME)?;
    expect_no_device_drops(&network)?;
    let megabits = |megabits: f64| format!("{megabits:.2} Mbit/s");
    let mut row = Row::relative("rate", bits as f64 / 1e6, rates.received / 1e6, 0.03, megabits);
    if rates.sent < bits as f64 {
        row.measured.push_str(" (this machine is too busy to send more)");
    }
    Ok(row)
}

/// Fills the queue at once, and counts what comes out, less what left while it was being filled.
fn queue() -> Result<Row> {
    const BYTES: f64 = 200_000.0;
    const BITS_PER_SECOND: f64 = 4e6;
    const PACKET: usize = 500;
    let network = Network::build(&"rate=4mbit,queue=200kb".parse()?, SEED)?;
    let ends = Ends::open(&network, Duration::ZERO)?;
    let (arrived, sending) = burst(&ends, PACKET, 1_000)?;
    let left = BITS_PER_SECOND / 8.0 * sending.as_secs_f64();
    let measured = (arrived * PACKET as u64) as f64 - left;
    Ok(Row::relative("queue", BYTES / 1e3, measured / 1e3, 0.03, |kilobytes| format!("{kilobytes:.1} kB")))
}

/// The time at which the round-trip time changes: that of the first ping both of whose ways took longer.
fn change() -> Result<Row> {
    const LINK: &str = "rtt=20ms,then=500ms:rtt=100ms";
    /// Between a ping that met the change on its way back (60 ms) and one that met it on both (100 ms).
    const BOTH: Duration = Duration::from_millis(80);
    const INTERVAL: Duration = Duration::from_millis(1);
    let network = Network::build(&LINK.parse()?, SEED)?;
    let ends = Ends::open(&network, Duration::from_millis(100))?;
    network.restart();
    let echoes = ends.echoes(600, INTERVAL)?;
    let changed = echoes.iter().find(|echo| echo.round_trip > BOTH);
    let changed = changed.context("the round-trip time did not change")?;
    Ok(Row::time("change in mid-run", 500.0, changed.sent.as_secs_f64() * 1e3, 50.0, ""))
}

/// A figure counts only if the machine kept up: a packet that a device dropped is not one that the emulator treated.
fn expect_no_device_drops(network: &Network) -> Result<()> {
    let drops = network.device_drops()?;
    ensure!(
        drops == 0,
        "the devices dropped {drops} packets before the emulator read them; the machine is too busy"
    );
    Ok(())
}
