//! Datagrams become as large as the path takes, and still go several at once.

use swarmwire_common::limits;
use tokio::task::JoinSet;

use crate::pair::Pair;

#[tokio::test]
async fn datagrams_of_loopback_are_the_largest_and_go_several_at_once() {
    const BURST_BYTES: usize = 1 << 20;
    let pair = Pair::connect().await;
    let gateway = pair.gateway.clone();
    let mut reading = JoinSet::new();
    reading
        .spawn(async move { gateway.accept_uni().await.unwrap().read_to_end(1 << 30).await.unwrap().len() });
    let mut stream = pair.controller.open_uni().await.unwrap();
    let mut bursts = 0;
    while pair.controller.stats().path.current_mtu < limits::DATAGRAM_BYTES_MAX {
        assert!(bursts < 200, "{:?}", pair.controller.stats().path);
        stream.write_all(&vec![7; BURST_BYTES]).await.unwrap();
        bursts += 1;
    }
    let found = pair.controller.stats().udp_tx;
    for _ in 0..16 {
        stream.write_all(&vec![7; BURST_BYTES]).await.unwrap();
    }
    stream.finish().unwrap();
    assert_eq!(reading.join_next().await.unwrap().unwrap(), (bursts + 16) * BURST_BYTES);
    let sent = pair.controller.stats().udp_tx;
    let (datagrams, sends) = (sent.datagrams - found.datagrams, sent.ios - found.ios);
    assert!(datagrams > 2 * sends, "{datagrams} datagrams in {sends} sends");
    assert_eq!(pair.controller.stats().path.black_holes_detected, 0);
}
