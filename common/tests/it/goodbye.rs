//! Story: a controller was interrupted in the middle of a push, and the gateway heard of it from its idle timeout alone, because
//! QUIC held the goodbye back like content (see `transport::goodbye`).

use std::time::Duration;

use quinn::ConnectionError;
use swarmwire_common::{transport, wire::status::Status};
use tokio::time::timeout;

use crate::pair::Pair;

#[tokio::test]
async fn a_goodbye_arrives_however_much_is_on_its_way() {
    // At some of these moments the window is full and nothing has been acknowledged.
    for turns in 0..12 {
        let pair = Pair::connect().await;
        let mut stream = pair.controller.open_uni().await.unwrap();
        // More than the first congestion window, and still within the stream's flow control.
        stream.write_all(&vec![0; 1 << 20]).await.unwrap();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        transport::close(&pair.controller, Status::Cancelled, b"enough");
        let heard = timeout(Duration::from_secs(2), pair.gateway.closed()).await.expect("it is told at once");
        match heard {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!((close.error_code, &close.reason[..]), (Status::Cancelled.into(), &b"enough"[..]));
            }
            other => panic!("{other}"),
        }
    }
}
