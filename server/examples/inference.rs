//! An inference function that is fed with images in batches.
//!
//! Images have 8 × 8 grey pixels, and what they show is found by a linear model: the class whose weights give most. It computes on threads, as many
//! as there are processors, and a caller beyond these is told *busy*.
//!
//! ```sh
//! cargo run -p swarmwire-server --example inference -- /tmp/inference     # prints an invitation: swarm://…
//! swarm join 'swarm://…' --name inference
//! cargo run -p swarmwire-client --example classify_images -- inference
//! ```

#![expect(clippy::print_stdout, reason = "an edge: it is what the example is run for")]

#[path = "shared/serving.rs"]
mod serving;

use std::{error::Error, thread::available_parallelism};

use swarmwire_server::subroutines::{Args, Context, Failure, Subroutine, Subroutines};

/// Pixels of an image, by lines.
const PIXELS: usize = 64;

/// How bright a class is at a line and column, from -1 to 1.
type Shape = fn(usize, usize) -> f32;

/// Horizontal stripes, vertical stripes, a chessboard, a disc.
const CLASSES: [Shape; 4] = [
    |line, _| sign(line.is_multiple_of(2)),
    |_, column| sign(column.is_multiple_of(2)),
    |line, column| sign((line / 2 + column / 2).is_multiple_of(2)),
    |line, column| sign(line.abs_diff(3).pow(2) + column.abs_diff(3).pow(2) <= 8),
];

fn sign(is_bright: bool) -> f32 {
    if is_bright { 1.0 } else { -1.0 }
}

/// A weight for each pixel, for each class.
struct Model {
    weights: Vec<[f32; PIXELS]>,
}

impl Model {
    fn new() -> Self {
        let weights = CLASSES.map(|shape| std::array::from_fn(|pixel| shape(pixel / 8, pixel % 8)));
        Self { weights: weights.into() }
    }

    fn classify(&self, image: &[u8]) -> u8 {
        let scores = self.weights.iter().map(|weights| {
            weights.iter().zip(image).map(|(weight, &pixel)| weight * (f32::from(pixel) - 127.5)).sum::<f32>()
        });
        let best = scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are classes");
        u8::try_from(best.0).expect("there are few classes")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let model = Model::new();
    let classify = Subroutine::blocking_batch(move |_: Context, images: Args| {
        let images = images.bytes();
        if !images.len().is_multiple_of(PIXELS) {
            return Err(Failure::invalid(format!("{} bytes are no images of {PIXELS} each", images.len())));
        }
        Ok(images.chunks(PIXELS).map(|image| model.classify(image)).collect::<Vec<u8>>())
    });
    let subroutines = Subroutines::new();
    let classify =
        classify.concurrency(available_parallelism()?.get()).taking("images of 64 bytes each, raw");
    subroutines.register("classify", classify)?;
    serving::serve(subroutines, 1).await
}
