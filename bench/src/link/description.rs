//! What `--link` asks for, parsed: `rtt=100ms,loss=0.1%,rate=1gbit,queue=2mb,then=10s:rate=100mbit` or `veth,mtu=1500`.
//!
//! A link is symmetric. `rtt` is split in halves; `loss`, `reorder`, `jitter`, `rate` and `queue` hold for each direction on its own, so
//! that `loss=1%` loses one packet in a hundred on the way there and, independently, one acknowledgement in a hundred on the way back.
//! `then=TIME:` begins a phase at TIME after the start of a run; the keys up to the next `then=` change, all others stay. An `mtu` that changes so is
//! a black hole for longer packets: nobody is told. `near=9` is a host number: from then on the far end sees the near one at that address, as after a
//! new lease or behind another router, and what goes to the address before is lost.
//! What is displayed parses to the same link. Nothing here knows how a link is emulated.

use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};

use super::quantity::{self, RATE, SHARE, SIZE, TIME};

/// The keys, as an error lists them.
const KEYS: &str = "rtt, loss, rate, queue, jitter, reorder, mtu, near, then=TIME:KEY=VALUE";

/// The MTU of Ethernet (RFC 894), in bytes.
const MTU_DEFAULT: u16 = 1500;

/// The smallest MTU: what every IPv4 host accepts (RFC 791, section 3.1), in bytes.
const MTU_MIN: u16 = 576;

/// The longest round trip and jitter: ten times a satellite's, so that a slip (`rtt=100s`) is found, and memory is bounded.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// The least queue that stands for "one bandwidth-delay product", in bytes: 43 packets of 1,500, so that a burst fits on a short link.
const QUEUE_DEFAULT_MIN: u64 = 64 * 1024;

/// Numbers of hosts that neither end has, nor stand for all.
const HOSTS: RangeInclusive<u8> = 3..=254;

/// One whole, in the billionths that [`Share`] counts.
pub(super) const WHOLE: u64 = 1_000_000_000;

/// What joins the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Two TUN devices and a forwarder that delays, limits and loses.
    Emulated(Emulated),
    /// A pair of virtual Ethernet devices: whatever the kernel does, undisturbed.
    Veth {
        /// The largest IP packet, in bytes.
        mtu: u16,
    },
}

/// An emulated link: how it is at first, and how it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulated {
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// In the order of their starts; the first starts at zero.
    phases: Vec<Phase>,
}

/// A part of a run in which the link stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// When it begins, after the start of the run.
    pub start: Duration,
    /// How the link is then.
    pub conditions: Conditions,
}

/// How each direction of a link treats packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The time there and back; each direction takes half.
    pub rtt: Duration,
    /// The share of packets that each direction loses.
    pub loss: Share,
    /// Bits per second of each direction, IP headers included; `None` is no limit.
    pub rate: Option<u64>,
    /// What was asked for the queue, in bytes; see [`Conditions::queue_bytes`].
    pub queue: Option<u64>,
    /// The most that is added to the delay of a packet, uniformly. Order is kept, so packets that are close together all wait for the one that
    /// drew the most.
    pub jitter: Duration,
    /// The share of packets that are held back.
    pub reorder: Share,
    /// Bytes of an IP packet above which it vanishes; `None` is what the devices take.
    pub mtu: Option<u16>,
    /// The number of the host as which the far end sees the near one; `None` is its own.
    pub near: Option<u8>,
}

/// A part of all packets, in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u64);

impl Share {
    /// In billionths.
    pub(super) fn billionths(self) -> u64 {
        self.0
    }

    /// As a fraction of one.
    pub fn fraction(self) -> f64 {
        self.0 as f64 / WHOLE as f64
    }
}

impl Conditions {
    /// Bytes that wait before the slowest point of the link: what was asked, else one bandwidth-delay product and at least 64 KiB.
    /// Without a rate nothing waits, and it means nothing.
    pub fn queue_bytes(&self) -> u64 {
        let product = || self.rtt.as_nanos() * u128::from(self.rate.unwrap_or(0)) / (8 * 1_000_000_000);
        self.queue.unwrap_or_else(|| u64::try_from(product()).unwrap_or(u64::MAX).max(QUEUE_DEFAULT_MIN))
    }
}

impl Emulated {
    /// How it is, and when it changes: at least one phase, the first from zero.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    fn parse(text: &str) -> Result<Self> {
        ensure!(
            !text.trim().is_empty(),
            "a link needs at least one key, such as rtt=100ms; the keys are {KEYS}"
        );
        let mut mtu = MTU_DEFAULT;
        let mut phases = vec![Phase { start: Duration::ZERO, conditions: Conditions::default() }];
        let mut given = Vec::new();
        for item in text.split(',') {
            let mut item = item.trim();
            if let Some(change) = item.strip_prefix("then=") {
                let (start, first) = change.split_once(':').context(
                    "a change is written then=TIME:KEY=VALUE, such as then=10s:rate=100mbit; the colon is missing",
                )?;
                phases.push(next_phase(&phases, start)?);
                given.clear();
                item = first.trim();
            }
            let (key, value) = item.split_once('=').with_context(|| {
                format!("{item:?} is not KEY=VALUE; the keys are {KEYS}, and veth stands alone or before mtu")
            })?;
            ensure!(!given.contains(&key), "{key} is given twice");
            given.push(key);
            match phases.as_mut_slice() {
                [_] if key == "mtu" => mtu = parse_mtu(value)?,
                [.., last] => last.conditions.set(key, value)?,
                [] => bail!("a link has at least one phase"),
            }
        }
        Ok(Self { mtu, phases })
    }
}

/// A phase that begins at `start` and changes nothing yet.
fn next_phase(phases: &[Phase], start: &str) -> Result<Phase> {
    let start = Duration::from_nanos(quantity::parse(start, TIME).context("then")?);
    let last = phases.last().context("a change needs something to change")?;
    ensure!(start > last.start, "then={start:?} must come after the change before it");
    Ok(Phase { start, conditions: last.conditions.clone() })
}

impl Conditions {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let amount = |units| quantity::parse(value, units).with_context(|| key.to_owned());
        match key {
            "rtt" => self.rtt = delay(key, amount(TIME)?)?,
            "jitter" => self.jitter = delay(key, amount(TIME)?)?,
            "loss" => self.loss = value.parse().with_context(|| key.to_owned())?,
            "reorder" => self.reorder = value.parse().with_context(|| key.to_owned())?,
            "rate" => self.rate = Some(positive(key, amount(RATE)?)?),
            "queue" => self.queue = Some(positive(key, amount(SIZE)?)?),
            "mtu" => self.mtu = Some(parse_mtu(value)?),
            "near" => self.near = Some(parse_host(value)?),
            _ => bail!("there is no key {key:?}; the keys are {KEYS}"),
        }
        Ok(())
    }

    /// The keys in which it differs from `before`, as they are written.
    fn changes(&self, before: &Self) -> Vec<String> {
        let time = |span: Duration| quantity::show(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), TIME);
        let mut changes = Vec::new();
        if self.rtt != before.rtt {
            changes.push(format!("rtt={}", time(self.rtt)));
        }
        if self.loss != before.loss {
            changes.push(format!("loss={}", self.loss));
        }
        if let Some(rate) = self.rate.filter(|_| self.rate != before.rate) {
            changes.push(format!("rate={}", quantity::show(rate, RATE)));
        }
        if let Some(queue) = self.queue.filter(|_| self.queue != before.queue) {
            changes.push(format!("queue={}", quantity::show(queue, SIZE)));
        }
        if self.jitter != before.jitter {
            changes.push(format!("jitter={}", time(self.jitter)));
        }
        if self.reorder != before.reorder {
            changes.push(format!("reorder={}", self.reorder));
        }
        if let Some(mtu) = self.mtu.filter(|_| self.mtu != before.mtu) {
            changes.push(format!("mtu={mtu}"));
        }
        if let Some(near) = self.near.filter(|_| self.near != before.near) {
            changes.push(format!("near={near}"));
        }
        if changes.is_empty() {
            changes.push(format!("rtt={}", time(self.rtt)));
        }
        changes
    }
}

fn delay(key: &str, nanoseconds: u64) -> Result<Duration> {
    let delay = Duration::from_nanos(nanoseconds);
    ensure!(delay <= DELAY_MAX, "{key} is {delay:?}, and the most is {DELAY_MAX:?}");
    Ok(delay)
}

fn positive(key: &str, amount: u64) -> Result<u64> {
    ensure!(amount > 0, "{key} must be above zero; leave it out for the default");
    Ok(amount)
}

fn parse_mtu(value: &str) -> Result<u16> {
    let mtu =
        value.parse().with_context(|| format!("mtu: {value:?} is not a number of bytes up to 65535"))?;
    ensure!(mtu >= MTU_MIN, "mtu is {mtu}, and IPv4 needs at least {MTU_MIN}");
    Ok(mtu)
}

fn parse_host(value: &str) -> Result<u8> {
    let host = value.parse().ok().filter(|host| HOSTS.contains(host));
    let (first, last) = (HOSTS.start(), HOSTS.end());
    host.with_context(|| format!("near: {value:?} is not a host's number from {first} to {last}"))
}

impl FromStr for Link {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.trim().strip_prefix("veth") else {
            // A command line shows the outermost message alone, so the whole chain becomes one.
            return Emulated::parse(text).map(Self::Emulated).map_err(|error| anyhow!("{error:#}"));
        };
        let mtu = match rest.strip_prefix(",mtu=") {
            Some(mtu) => parse_mtu(mtu)?,
            None if rest.is_empty() => MTU_DEFAULT,
            None => bail!("a veth link takes mtu=BYTES and nothing else; {rest:?} is for an emulated link"),
        };
        Ok(Self::Veth { mtu })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Veth { mtu } => write!(out, "veth,mtu={mtu}"),
            Self::Emulated(emulated) => emulated.fmt(out),
        }
    }
}

impl fmt::Display for Emulated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = Conditions::default();
        for (position, phase) in self.phases.iter().enumerate() {
            if position > 0 {
                let start = u64::try_from(phase.start.as_nanos()).unwrap_or(u64::MAX);
                write!(out, ",then={}:", quantity::show(start, TIME))?;
            }
            out.write_str(&phase.conditions.changes(&before).join(","))?;
            if position == 0 && self.mtu != MTU_DEFAULT {
                write!(out, ",mtu={}", self.mtu)?;
            }
            before = phase.conditions.clone();
        }
        Ok(())
    }
}

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let share = Self(quantity::parse(text, SHARE)?);
        ensure!(share.0 <= WHOLE, "{text} is more than 100%");
        Ok(share)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&quantity::show(self.0, SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emulated(text: &str) -> Emulated {
        match text.parse().unwrap() {
            Link::Emulated(emulated) => emulated,
            Link::Veth { .. } => panic!("{text} is emulated"),
        }
    }

    #[test]
    fn a_key_counts_once_in_each_phase() {
        let error = "rtt=1ms,rate=1gbit,rtt=2ms".parse::<Link>().unwrap_err().to_string();
        assert_eq!(error, "rtt is given twice");
        assert!("rtt=1ms,then=1s:rtt=2ms,then=2s:rtt=1ms".parse::<Link>().is_ok());
    }

    #[test]
    fn every_key_is_read() {
        let link = emulated("rtt=100ms,loss=0.1%,rate=1gbit,queue=2mb,jitter=1ms,reorder=0.2%,mtu=9000");
        assert_eq!(link.mtu, 9000);
        let expected = Conditions {
            rtt: Duration::from_millis(100),
            loss: Share(1_000_000),
            rate: Some(1_000_000_000),
            queue: Some(2_000_000),
            jitter: Duration::from_millis(1),
            reorder: Share(2_000_000),
            ..Conditions::default()
        };
        assert_eq!(link.phases(), [Phase { start: Duration::ZERO, conditions: expected }]);
    }

    #[test]
    fn a_change_overrides_the_keys_that_follow_it_and_keeps_the_others() {
        let link = emulated("rtt=20ms,rate=1gbit,then=10s:rate=100mbit,loss=1%,then=15s:rtt=50ms");
        let [first, second, third] = link.phases() else { panic!("{link:?}") };
        assert_eq!([first.start, second.start, third.start], [0, 10, 15].map(Duration::from_secs));
        let slower =
            Conditions { rate: Some(100_000_000), loss: Share(10_000_000), ..first.conditions.clone() };
        assert_eq!(second.conditions, slower);
        assert_eq!(third.conditions, Conditions { rtt: Duration::from_millis(50), ..slower });
    }

    #[test]
    fn the_default_queue_is_one_bandwidth_delay_product() {
        let queue = |text| emulated(text).phases()[0].conditions.queue_bytes();
        assert_eq!(queue("rtt=100ms,rate=1gbit"), 12_500_000);
        assert_eq!(queue("rtt=1ms,rate=10mbit"), 65_536);
        assert_eq!(queue("rtt=100ms,rate=1gbit,queue=1mib"), 1 << 20);
    }

    #[test]
    fn what_is_displayed_is_the_same_link() {
        for text in [
            "rtt=0",
            "rtt=100ms,loss=0.1%,rate=1gbit,queue=2mb,jitter=1.5ms,reorder=0.25%,mtu=1400",
            "rtt=20ms,rate=1gbit,then=10s:rate=100mbit,loss=1%,then=12.5s:loss=0",
            "rtt=20ms,then=1s:rtt=20ms",
            "rtt=40ms,rate=500mbit,then=5s:rate=100mbit,mtu=1300,near=9,then=9s:near=12",
            "loss=100%",
            "veth",
            "veth,mtu=9000",
        ] {
            let link: Link = text.parse().unwrap();
            let shown = link.to_string();
            assert_eq!(shown.parse::<Link>().unwrap(), link, "{text} is shown as {shown}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let cases = [
            ("delay=5ms", "no key \"delay\"; the keys are rtt, loss, rate"),
            ("fast", "\"fast\" is not KEY=VALUE"),
            ("", "a link needs at least one key"),
            ("rtt=100", "rtt: \"100\" needs a number and one of the units"),
            ("rtt=100s", "the most is 10s"),
            ("loss=101%", "more than 100%"),
            ("rate=0", "rate must be above zero"),
            ("mtu=100", "IPv4 needs at least 576"),
            ("mtu=70000", "not a number of bytes up to 65535"),
            ("rtt=1ms,then=10s", "the colon is missing"),
            ("rtt=1ms,then=2s:rtt=2ms,then=1s:rtt=3ms", "must come after the change before it"),
            ("rtt=1ms,then=2s:mtu=140", "IPv4 needs at least 576"),
            ("rtt=1ms,then=2s:near=2", "not a host's number from 3 to 254"),
            ("veth,mtu=1", "IPv4 needs at least 576"),
            ("veth,rtt=1ms", "a veth link takes mtu=BYTES and nothing else"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Link>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
