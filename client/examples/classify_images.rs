//! Feeds `inference` with images in batches, several at a time, and says how many it has recognised.
//!
//! `classify_images GATEWAY [IMAGES]`

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

#[path = "shared/joined.rs"]
mod joined;

use std::{error::Error, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use swarmwire_client::controller::calling::{CallOptions, Payload};

/// Images in a batch, and batches on their way at a time.
const BATCH: usize = 32;
const BATCHES: usize = 4;

/// The gateway computes as many as it has processors for; the others come again a moment later.
const OPTIONS: CallOptions = CallOptions { deadline: None, wait: Duration::from_secs(30) };

/// An image of a class, with noise on it.
fn image(class: usize, random: &mut fastrand::Rng) -> [u8; 64] {
    std::array::from_fn(|pixel| {
        let (line, column) = (pixel / 8, pixel % 8);
        let is_bright = match class {
            0 => line.is_multiple_of(2),
            1 => column.is_multiple_of(2),
            2 => (line / 2 + column / 2).is_multiple_of(2),
            _ => line.abs_diff(3).pow(2) + column.abs_diff(3).pow(2) <= 8,
        };
        if is_bright { random.u8(120..) } else { random.u8(..136) }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let gateway = arguments.next().ok_or("which gateway?")?;
    let count: usize = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let mut random = fastrand::Rng::with_seed(1);
    let classes: Vec<usize> = (0..count).map(|_| random.usize(..4)).collect();
    let images: Vec<u8> = classes.iter().flat_map(|&class| image(class, &mut random)).collect();

    let controller = joined::connect(&gateway).await?;
    let calls = images
        .chunks(BATCH * 64)
        .map(|batch| controller.call_batch("classify", Payload::raw(batch.to_vec()), OPTIONS));
    // Computed in any order, given in that of the images.
    let replies: Vec<_> = stream::iter(calls).buffered(BATCHES).try_collect().await?;
    let found = replies.iter().flat_map(|reply| reply.bytes.iter().map(|&class| usize::from(class)));
    let right = classes.iter().copied().zip(found).filter(|(class, found)| class == found).count();
    println!("{count} images in {} batches: {right} recognised", replies.len());
    controller.close().await;
    Ok(())
}
