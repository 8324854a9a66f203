//! Replies in the order of their ids, of which few are kept.
//!
//! A call begins when all those have ended that lie as many places before it, or more, as calls run at a time, and its id is larger than theirs. So of as many
//! replies of earlier calls the smallest id is smaller than that of any call to come: one of them lies so far before.

use std::{cmp::Reverse, collections::BinaryHeap};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::{BatchReply, RequestError};

/// What came of a call, with its place.
pub(super) type Numbered = (usize, Result<BatchReply, RequestError>);

/// Makes the calls in their order, `width` at a time, and gives those that failed as they come, the others in the order of their ids. At most `width` run or
/// have ended and wait for those before them, and as many wait for smaller ids.
pub(super) fn in_order(
    calls: impl Iterator<Item = impl Future<Output = Numbered>>,
    width: usize,
) -> impl Stream<Item = Numbered> {
    let ended = Box::pin(stream::iter(calls).buffered(width));
    let held: BinaryHeap<Reverse<(u64, usize, Bytes)>> = BinaryHeap::new();
    stream::unfold((ended, held), move |(mut ended, mut held)| async move {
        while held.len() < width {
            match ended.next().await {
                Some((place, Ok(BatchReply { id, bytes }))) => held.push(Reverse((id, place, bytes))),
                Some(failed) => return Some((failed, (ended, held))),
                None => break,
            }
        }
        let Reverse((id, place, bytes)) = held.pop()?;
        Some(((place, Ok(BatchReply { id, bytes })), (ended, held)))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A gateway whose calls take their ids and end after so many turns as chance has it, and how many have begun.
    #[derive(Default)]
    struct Gateway {
        ids: Cell<u64>,
        begun: Cell<usize>,
    }

    impl Gateway {
        async fn call(&self, place: usize, chance: &mut fastrand::Rng) -> Numbered {
            self.begun.set(self.begun.get() + 1);
            pause(chance).await;
            let id = self.ids.get() + 1;
            self.ids.set(id);
            pause(chance).await;
            let reply = BatchReply { id, bytes: Bytes::new() };
            (place, if chance.u8(..4) == 0 { Err(RequestError::Silent) } else { Ok(reply) })
        }
    }

    async fn pause(chance: &mut fastrand::Rng) {
        for _ in 0..chance.u8(..20) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn replies_come_by_id_and_few_are_ahead_of_who_takes_them() {
        const CALLS: usize = 200;
        for (seed, width) in (0..40).flat_map(|seed| [1, 2, 5, 300].map(|width| (seed, width))) {
            let gateway = Gateway::default();
            let call = |place| {
                let (gateway, mut chance) = (&gateway, fastrand::Rng::with_seed(seed << 32 | place as u64));
                async move { gateway.call(place, &mut chance).await }
            };
            let mut replies = Box::pin(in_order((0..CALLS).map(call), width));
            let (mut places, mut last) = (Vec::new(), 0);
            while let Some((place, reply)) = replies.next().await {
                places.push(place);
                assert!(gateway.begun.get() < places.len() + 2 * width, "width {width}");
                if let Ok(reply) = reply {
                    assert!(reply.id > last, "seed {seed}, width {width}: {} after {last}", reply.id);
                    last = reply.id;
                }
            }
            places.sort_unstable();
            assert!(places.into_iter().eq(0..CALLS));
        }
    }
}
