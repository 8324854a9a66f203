//! Content that travels compressed, at a limited rate and by any number of threads arrives as it is; and compressed units that are not
//! what they announce end the sync.

use std::{fs, path::Path, time::Instant};

use swarmwire_common::{
    limits::{CHUNK_BYTES, JOBS_MAX, PACK_BYTES_MAX},
    sync::{Outcome, SyncError},
    wire::{
        data::{Encoding, PackFile, Unit, UnitHeader},
        status::Status,
        sync::{Compress, Durability, SyncOptions},
    },
};

use crate::{
    pair::Pair,
    peers::{chunk, end, file, lied_to, listing, top},
    sync::{assert_same, destination, options, source},
};

/// Text, noise and nothing, in packs and in chunks.
fn plant(top: &Path) {
    let text = |bytes: usize| {
        let mut text = String::new();
        for line in 0u32.. {
            text.push_str(&format!(
                "2026-11-25T12:00:{:02} INFO request {} took {} ms\n",
                line % 60,
                line,
                line % 97
            ));
            if text.len() >= bytes {
                break;
            }
        }
        text
    };
    fs::create_dir(top.join("sub")).unwrap();
    for number in 0..40 {
        fs::write(top.join(format!("sub/{number}.log")), text(number * 500)).unwrap();
    }
    fs::write(top.join("empty"), b"").unwrap();
    fs::write(top.join("large.log"), text(2 * CHUNK_BYTES as usize + 17)).unwrap();
    fs::write(top.join("noise.gz"), noise(CHUNK_BYTES as usize + 5)).unwrap();
    fs::write(top.join("small.gz"), noise(100_000)).unwrap();
    fs::File::create(top.join("zeros")).unwrap().set_len(5 * CHUNK_BYTES).unwrap();
    fs::File::create(top.join("zeros-just-large")).unwrap().set_len(CHUNK_BYTES + 1).unwrap();
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise
}

/// Syncs `from` somewhere and compares; gives the outcomes and the bytes that went over the wire.
async fn synced(from: &Path, options: SyncOptions) -> ([Outcome; 2], u64) {
    let pair = Pair::connect().await;
    let to = tempfile::tempdir().unwrap();
    let outcomes = pair.sync(source(from, None), destination(to.path(), "a"), options).await;
    let [sent, received] = &outcomes;
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert_same(from, &to.path().join("a"));
    assert_eq!(
        (sent.report.bytes_sent, received.report.bytes_sent),
        (sent.report.bytes_total, sent.report.bytes_total)
    );
    (outcomes, pair.controller.stats().udp_tx.bytes)
}

#[tokio::test]
async fn a_tree_arrives_as_it_is_with_every_level_and_any_number_of_threads() {
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    for (compress, jobs) in [
        (Compress::Never, 2),
        (Compress::Auto, JOBS_MAX),
        (Compress::Level(1), 1),
        (Compress::Level(6), 5),
        // Beyond its bounds, into which each side brings it.
        (Compress::Level(0), 0),
    ] {
        let options = SyncOptions { compress, jobs, ..options(Durability::None) };
        let ([sent, _], wire_bytes) = synced(from.path(), options).await;
        let content = sent.report.bytes_sent;
        match compress {
            Compress::Never => assert!(wire_bytes > content, "{wire_bytes} of {content}"),
            Compress::Level(_) => {
                assert!(wire_bytes < content / 2, "{compress:?}: {wire_bytes} of {content}");
            }
            Compress::Auto => {}
        }
    }
}

#[tokio::test]
async fn noise_does_not_grow_by_compression() {
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("noise.gz"), noise(4 * CHUNK_BYTES as usize)).unwrap();
    let (_, plain) =
        synced(from.path(), SyncOptions { compress: Compress::Never, ..options(Durability::None) }).await;
    let (_, level) =
        synced(from.path(), SyncOptions { compress: Compress::Level(3), ..options(Durability::None) }).await;
    // Acknowledgements and retransmissions differ from run to run.
    assert!(level < plain + plain / 10, "{level} and {plain}");
}

#[tokio::test]
async fn many_large_files_of_nothing_do_not_exceed_what_may_be_open() {
    let from = tempfile::tempdir().unwrap();
    for number in 0..300 {
        // Each of a size of its own, or they would be copies of one.
        let file = fs::File::create(from.path().join(number.to_string())).unwrap();
        file.set_len(CHUNK_BYTES + 1 + number).unwrap();
    }
    let options = SyncOptions { compress: Compress::Level(1), jobs: 8, ..options(Durability::None) };
    synced(from.path(), options).await;
}

#[tokio::test]
async fn a_limited_sync_takes_the_time_that_its_rate_says() {
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("noise"), noise(600_000)).unwrap();
    let options = SyncOptions { rate_bytes: Some(1_000_000), ..options(Durability::None) };
    let start = Instant::now();
    synced(from.path(), options).await;
    // Less the burst.
    assert!(start.elapsed().as_millis() >= 490, "{:?}", start.elapsed());
}

/// A network that is as slow as a limit makes it is one for which compression pays.
#[tokio::test]
async fn auto_compresses_what_a_limit_would_hold_up() {
    let from = tempfile::tempdir().unwrap();
    plant(from.path());
    fs::remove_file(from.path().join("noise.gz")).unwrap();
    let options = SyncOptions { rate_bytes: Some(10 << 20), ..options(Durability::None) };
    let ([sent, _], wire_bytes) = synced(from.path(), options).await;
    assert!(wire_bytes < sent.report.bytes_sent / 3, "{wire_bytes} of {}", sent.report.bytes_sent);
}

/// One compressed unit: a pack with the only file of the listing, which announces `size` bytes and has `payload`.
fn compressed_pack(content: &[u8], size: usize, payload: Vec<u8>) -> (Unit, Vec<u8>) {
    let files = vec![PackFile { index: 1, size: size as u32, metadata: None, patch: None }];
    let header = UnitHeader::Pack { hash: blake3::hash(content).into(), files };
    (Unit { header, encoding: Encoding::Zstd { bytes: payload.len() as u32 } }, payload)
}

#[tokio::test]
async fn a_compressed_unit_that_is_not_what_it_announces_ends_the_sync() {
    let zip = |content: &[u8]| zstd::bulk::compress(content, 3).unwrap();
    let text = vec![b'x'; 10_000];
    // A gigabyte of zeros in 33 kB; it would take its size to decode it.
    let bomb = {
        let once = zip(&vec![0; 1 << 20]);
        once.repeat(1024)
    };
    let cut = {
        let mut zipped = zip(&noise(5_000));
        zipped.truncate(4_000);
        zipped
    };
    let empty = zip(b"");
    let (mut large, value) = chunk(CHUNK_BYTES + 5, 0, &vec![7; CHUNK_BYTES as usize]);
    large.encoding = Encoding::Zstd { bytes: bomb.len() as u32 };
    assert_eq!(value.len(), CHUNK_BYTES as usize);
    for (what, size, unit) in [
        ("one byte more", 9_999, compressed_pack(&text[1..], 9_999, zip(&text))),
        ("one byte less", 10_001, compressed_pack(&text, 10_001, zip(&text))),
        ("nothing", 10_000, compressed_pack(&text, 10_000, empty)),
        ("garbage", 10_000, compressed_pack(&text, 10_000, noise(5_000))),
        ("cut short", 5_000, compressed_pack(&noise(5_000), 5_000, cut)),
        ("twice", 10_000, compressed_pack(&text, 10_000, zip(&text).repeat(2))),
        ("a bomb", 1 << 20, compressed_pack(&text, 1 << 20, bomb.clone())),
        ("other content", 10_000, compressed_pack(b"other", 10_000, zip(&text))),
        ("no bytes", 10_000, compressed_pack(&text, 10_000, Vec::new())),
        ("no smaller", 10_000, compressed_pack(&text, 10_000, vec![0; 10_000])),
        ("beyond a pack", PACK_BYTES_MAX + 1, compressed_pack(&text, PACK_BYTES_MAX + 1, zip(&text))),
        ("a bomb in a chunk", CHUNK_BYTES as usize + 5, (large, bomb)),
    ] {
        let messages = vec![top(), listing(0, vec![file(b"a", size as u64)]), end(2)];
        let (outcome, names) = lied_to((messages, vec![unit])).await;
        let err = outcome.error.unwrap_or_else(|| panic!("{what}: no error"));
        assert!(matches!(err, SyncError::Protocol(_)), "{what}: {err:?}");
        assert_eq!(err.status(), Status::Invalid, "{what}");
        assert!(names.is_empty(), "{what}: {names:?}");
    }
}

#[tokio::test]
async fn a_compressed_unit_that_is_what_it_announces_is_taken() {
    let text = vec![b'x'; 10_000];
    let mut zipped = zstd::bulk::compress(&text, 19).unwrap();
    // What fills it up decodes to nothing.
    zipped.extend_from_slice(&0x184d_2a50_u32.to_le_bytes());
    zipped.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0]);
    let messages = vec![top(), listing(0, vec![file(b"a", 10_000)]), end(2)];
    let (outcome, names) = lied_to((messages, vec![compressed_pack(&text, 10_000, zipped)])).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(names, ["a"]);
}
