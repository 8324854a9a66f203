//! The two ends of a link, each in a namespace of its own, and what joins them.
//!
//! An emulated link is a TUN device in each namespace and a forwarder for each direction in this process. The devices offer no offloads, so
//! the kernel computes every checksum and cuts every segment before a packet leaves: what crosses are IP packets of at most the MTU. Their
//! own transmit queues are long enough that the emulator's queue is the one that fills.
//! A veth link is one pair of devices as the kernel makes them, offloads included: packets of up to 64 KiB cross it without being cut.
//! Nothing has a name outside of the namespaces, and everything ends with the value, or with the process.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use rustix::{io::ioctl_fionbio, process::getpid};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::{
    address::Way,
    delay_line::DelayLine,
    description::{Conditions, Emulated, Link},
    forwarder::Forwarder,
    namespace::{DeviceCounters, Namespace, expect_root},
    shaper::{Shaper, hold_max},
    traffic::{Passages, Traffic},
};
use crate::random::Random;

/// The addresses of the ends, out of the private range of RFC 1918, and the length of their prefix. They are seen only in the namespaces.
pub(super) const NEAR: Ipv4Addr = host_address(1);
const FAR: Ipv4Addr = host_address(2);
const PREFIX: u8 = 24;

/// The address of a host in the ends' network.
pub(super) const fn host_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 83, 0, number)
}

/// The device at each end.
const DEVICE: &str = "link0";

/// Packets that a TUN device keeps for the forwarder: what 200,000 packets/s bring in 50 ms, far more than it is ever away.
const DEVICE_QUEUE_PACKETS: u32 = 10_000;

/// Packets per second above which no forwarder gets, whatever their size: four times what was measured.
const PACKETS_PER_SECOND_MAX: u64 = 1_000_000;

/// The most memory that the packets of one direction take, in bytes: 1 Gbit/s for 4 s.
const MEMORY_MAX: u64 = 512 << 20;

/// Two namespaces and the link between them.
#[derive(Debug)]
pub struct Network {
    joint: Joint,
    near: Arc<Namespace>,
    far: Arc<Namespace>,
}

/// What joins the ends. It is dropped before they are.
#[derive(Debug)]
enum Joint {
    Emulated { to_far: Forwarder, to_near: Forwarder },
    Veth,
}

impl Network {
    /// Makes both ends and joins them; the phases of the link begin now. The same seed gives the same losses to the same packets.
    pub fn build(link: &Link, seed: u64) -> Result<Self> {
        expect_root()?;
        let (near, far) = (Arc::new(Namespace::new()?), Arc::new(Namespace::new()?));
        let joint = match link {
            Link::Emulated(emulated) => join_emulated(&near, &far, emulated, seed),
            Link::Veth { mtu } => join_veth(&near, &far, *mtu),
        };
        Ok(Self { joint: joint.with_context(|| format!("failed to build the link {link}"))?, near, far })
    }

    /// Puts the clock of the phases back to zero, at the start of a run.
    pub fn restart(&self) {
        if let Joint::Emulated { to_far, to_near } = &self.joint {
            to_far.restart();
            to_near.restart();
        }
    }

    /// One end: where the client of a run goes.
    pub fn near(&self) -> &Arc<Namespace> {
        &self.near
    }

    /// The other end: where the server of a run goes.
    pub fn far(&self) -> &Arc<Namespace> {
        &self.far
    }

    /// The address of the near end.
    pub fn near_address(&self) -> IpAddr {
        NEAR.into()
    }

    /// The address of the far end.
    pub fn far_address(&self) -> IpAddr {
        FAR.into()
    }

    /// What went over the link since it was built; an error if it has failed meanwhile.
    pub fn traffic(&self) -> Result<Traffic> {
        let (near, far) = (self.near.counters(DEVICE)?, self.far.counters(DEVICE)?);
        Ok(match &self.joint {
            Joint::Veth => Traffic { to_far: near.into(), to_near: far.into() },
            Joint::Emulated { to_far, to_near } => {
                Traffic { to_far: to_far.counters()?.read(&near), to_near: to_near.counters()?.read(&far) }
            }
        })
    }

    /// What went over an emulated link from the near end to the far one since it was built, by who sent it.
    pub fn passages(&self) -> Result<Passages> {
        match &self.joint {
            Joint::Emulated { to_far, .. } => {
                let counters = to_far.counters()?;
                Ok(Passages { udp: counters.udp.read(), other: counters.other.read() })
            }
            Joint::Veth => bail!("only an emulated link has a queue that is shared"),
        }
    }

    /// Packets that the sending devices dropped before the emulator saw them: not the link's doing, but a machine that was too busy.
    pub(super) fn device_drops(&self) -> Result<u64> {
        let drops =
            |end: &Namespace| end.counters(DEVICE).map(|counters: DeviceCounters| counters.send_drops);
        Ok(drops(&self.near)? + drops(&self.far)?)
    }
}

fn join_emulated(near: &Namespace, far: &Namespace, link: &Emulated, seed: u64) -> Result<Joint> {
    let near = Arc::new(device(near, NEAR, link.mtu)?);
    let far = Arc::new(device(far, FAR, link.mtu)?);
    let mut seeds = Random::new(seed);
    let mut forwarder = |from: &Arc<SyncDevice>, to: &Arc<SyncDevice>, way: Way| {
        let shaper = Shaper::new(link, seeds.next());
        let line = DelayLine::new(usize::from(link.mtu), packets_max(link));
        Forwarder::spawn(Arc::clone(from), Arc::clone(to), shaper, line, way)
    };
    Ok(Joint::Emulated {
        to_far: forwarder(&near, &far, Way::ToFar)?,
        to_near: forwarder(&far, &near, Way::ToNear)?,
    })
}

/// A TUN device in `namespace`, up, that does not block. Without IPv6, which would send packets of its own accord.
fn device(namespace: &Namespace, address: Ipv4Addr, mtu: u16) -> Result<SyncDevice> {
    namespace.set("net/ipv6/conf/default/disable_ipv6", "1")?;
    let built = namespace.run(|| {
        let builder = DeviceBuilder::new().name(DEVICE).mtu(mtu).tx_queue_len(DEVICE_QUEUE_PACKETS);
        builder.ipv4(address, PREFIX, None).build_sync()
    })?;
    let device = built.context("failed to make a TUN device; /dev/net/tun must be there")?;
    ioctl_fionbio(&device, true).context("failed to make a TUN device non-blocking")?;
    Ok(device)
}

fn join_veth(near: &Namespace, far: &Namespace, mtu: u16) -> Result<Joint> {
    // `ip` takes a namespace by the path of a file that is open in this process.
    let far_path = format!("/proc/{}/fd/{}", getpid().as_raw_nonzero(), far.as_fd().as_raw_fd());
    let mtu = mtu.to_string();
    let pair = ["link", "add", DEVICE, "mtu", &mtu, "type", "veth"];
    near.ip(&[&pair[..], &["peer", "name", DEVICE, "mtu", &mtu, "netns", &far_path]].concat())?;
    for (end, address) in [(near, NEAR), (far, FAR)] {
        end.set("net/ipv6/conf/all/disable_ipv6", "1")?;
        end.ip(&["address", "add", &format!("{address}/{PREFIX}"), "dev", DEVICE])?;
        end.ip(&["link", "set", DEVICE, "up"])?;
    }
    Ok(Joint::Veth)
}

/// Packets that can be on their way in one direction at the worst moment: as many as arrive while one crosses it.
fn packets_max(link: &Emulated) -> usize {
    let crossing = |conditions: &Conditions| {
        let queued_ns = match conditions.rate {
            Some(rate) => u128::from(conditions.queue_bytes()) * 8 * 1_000_000_000 / u128::from(rate),
            None => 0,
        };
        queued_ns + (conditions.rtt / 2 + conditions.jitter + hold_max(conditions.rtt)).as_nanos()
    };
    let crossing_ns = link.phases().iter().map(|phase| crossing(&phase.conditions)).max().unwrap_or(0);
    let packets = crossing_ns * u128::from(PACKETS_PER_SECOND_MAX) / 1_000_000_000;
    let most = MEMORY_MAX / u64::from(link.mtu);
    usize::try_from(packets.min(u128::from(most)))
        .expect("it is below a memory's size")
        .max(DEVICE_QUEUE_PACKETS as usize)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpListener, TcpStream, UdpSocket},
        thread,
    };

    use super::*;

    /// The network of `link`, or `None` for an ordinary user, who has been refused plainly.
    fn network(link: &str) -> Option<Network> {
        let network = Network::build(&link.parse().unwrap(), 1);
        if rustix::process::geteuid().is_root() {
            return Some(network.unwrap());
        }
        let error = network.unwrap_err().to_string();
        assert!(error.starts_with("a link needs root"), "{error}");
        None
    }

    /// Sends as much as fills many segments from the near end to the far one and back, over TCP, and compares what comes back.
    fn expect_tcp_carries(network: &Network) {
        let mut sent = vec![0; 3_000_000];
        Random::new(4).fill(&mut sent);
        let listener = network.far().run(|| TcpListener::bind((network.far_address(), 0)).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                stream.write_all(&received).unwrap();
            });
            let mut stream = network.near().run(|| TcpStream::connect(address).unwrap()).unwrap();
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            assert!(back == sent, "what came back is not what was sent");
        });
    }

    #[test]
    fn tcp_crosses_an_emulated_link_unharmed_in_packets_of_the_mtu() {
        let Some(network) = network("rtt=2ms,loss=0.1%,jitter=1ms,reorder=0.5%,mtu=1400") else { return };
        expect_tcp_carries(&network);
        let traffic = network.traffic().unwrap();
        for direction in [traffic.to_far, traffic.to_near] {
            assert!(
                direction.bytes > 3_000_000 && direction.bytes <= direction.packets * 1_400,
                "{direction:?}"
            );
        }
    }

    #[test]
    fn tcp_crosses_a_veth_link_and_is_counted() {
        let Some(network) = network("veth,mtu=1400") else { return };
        let before = network.traffic().unwrap();
        expect_tcp_carries(&network);
        let traffic = network.traffic().unwrap().since(&before);
        assert!(traffic.to_far.bytes > 3_000_000 && traffic.to_near.bytes > 3_000_000, "{traffic:?}");
    }

    #[test]
    fn every_congestion_control_of_the_kernel_can_be_set_and_connects() {
        let Some(network) = network("rtt=1ms") else { return };
        let offered = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap();
        for control in offered.split_whitespace().chain(["reno"]) {
            for end in [network.near(), network.far()] {
                end.set_tcp(control, Some(64_000_000)).unwrap();
                let tcp = end.tcp().unwrap();
                assert!(
                    tcp.starts_with(&format!("{control}, ")) && tcp.matches("64000000").count() == 2,
                    "{tcp}"
                );
            }
            expect_tcp_carries(&network);
        }
    }

    #[test]
    fn the_near_end_is_seen_at_another_address_and_heard_from_there() {
        let Some(network) = network("rtt=1ms,near=9") else { return };
        let far = network.far().run(|| UdpSocket::bind((network.far_address(), 0)).unwrap()).unwrap();
        let near = network.near().run(|| UdpSocket::bind((network.near_address(), 0)).unwrap()).unwrap();
        near.send_to(b"where am I?", far.local_addr().unwrap()).unwrap();
        let mut room = [0; 64];
        let (bytes, from) = far.recv_from(&mut room).unwrap();
        assert_eq!((&room[..bytes], from.ip()), (&b"where am I?"[..], IpAddr::V4(host_address(9))));
        far.send_to(b"there", from).unwrap();
        assert_eq!(near.recv(&mut room).unwrap(), 5);
    }

    #[test]
    fn the_devices_are_gone_with_the_network() {
        let Some(network) = network("rtt=1ms,then=1s:rtt=2ms") else { return };
        let ends = [Arc::clone(network.near()), Arc::clone(network.far())];
        for end in &ends {
            assert_eq!(end.counters(DEVICE).unwrap(), DeviceCounters::default());
        }
        drop(network);
        for end in &ends {
            let error = format!("{:#}", end.counters(DEVICE).unwrap_err());
            assert!(error.contains("has no device \"link0\""), "{error}");
        }
    }

    #[test]
    fn the_memory_of_a_link_is_bounded_by_what_can_be_on_its_way() {
        let packets = |text: &str| match text.parse().unwrap() {
            Link::Emulated(link) => packets_max(&link),
            Link::Veth { .. } => panic!("{text} is emulated"),
        };
        assert_eq!(packets("rtt=0"), DEVICE_QUEUE_PACKETS as usize);
        // 100 ms of queue, 50 ms of way and 25 ms of holding back.
        assert_eq!(packets("rtt=100ms,rate=1gbit"), 175_000);
        assert_eq!(packets("rtt=100ms,then=1s:rtt=200ms"), 150_000);
        assert_eq!(packets("rtt=10s,jitter=10s"), (MEMORY_MAX / 1_500) as usize);
    }
}
