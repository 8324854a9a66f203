//! Files with holes, and zeros that become holes.

use super::*;

#[tokio::test]
async fn a_gigabyte_of_holes_costs_what_its_data_cost() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let data: Vec<u8> = (0..CHUNK_BYTES).map(|at| (at % 251) as u8 + 1).collect();
    let image = File::create(from.join("image")).unwrap();
    image.set_len(1 << 30).unwrap();
    image.write_all_at(&data, 700_000_001).unwrap();
    File::create(from.join("hole")).unwrap().set_len(5 * CHUNK_BYTES + 3).unwrap();
    File::create(from.join("small hole")).unwrap().set_len(500_000).unwrap();
    fs::write(from.join("zeros"), vec![0; 3_000_000]).unwrap();
    fs::write(from.join("plain"), &data[..10_000]).unwrap();
    for compress in [Compress::Never, Compress::Level(3)] {
        let to = to.join(format!("{compress:?}"));
        fs::create_dir(&to).unwrap();
        let options = SyncOptions { compress, ..keeping(SPARSE) };
        let report = kept(from, &to, options).await.report;
        // The data, and the first 128 KiB of each large file.
        assert!(report.bytes_sent < CHUNK_BYTES + 10_000 + 3 * 131_072 + 20_000, "{}", report.bytes_sent);
        for (name, blocks_max) in [("image", 2 * 2048 + 64), ("hole", 16), ("small hole", 16), ("zeros", 16)]
        {
            let (here, there) = (from.join(name), to.join(name));
            let stat = fs::metadata(&there).unwrap();
            assert_eq!(stat.len(), fs::metadata(&here).unwrap().len());
            assert!(stat.blocks() <= blocks_max, "{name} has {} blocks", stat.blocks());
            let [here, there] = [&here, &there].map(|path| File::open(path).unwrap());
            let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
            for chunk in 0..stat.len().div_ceil(CHUNK_BYTES) {
                let read = here.read_at(&mut left, chunk * CHUNK_BYTES).unwrap();
                assert_eq!(there.read_at(&mut right, chunk * CHUNK_BYTES).unwrap(), read);
                assert!(left[..read] == right[..read], "{name} differs in chunk {chunk}");
            }
        }
        assert_settled(from, &to, options).await;
    }
}

/// Each of many large files is nearly nothing on the wire, which more than any window of bytes holds.
#[tokio::test]
async fn thousands_of_large_holes_do_not_come_to_more_than_may_be_open() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..600 {
        let file = File::create(from.path().join(format!("{number}"))).unwrap();
        file.set_len(2 * CHUNK_BYTES + number).unwrap();
    }
    let report = kept(from.path(), to.path(), SyncOptions { jobs: 8, ..keeping(SPARSE) }).await.report;
    assert_eq!(report.files_sent, 600);
    // Of each the beginning, and what is left at the end of it, which is less than a block.
    assert_eq!(report.bytes_sent, 600 * 131_072 + (0..600).sum::<u64>());
}

#[tokio::test]
async fn a_sparse_file_that_was_changed_stays_sparse() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    let data: Vec<u8> = (0..200_000_u32).map(|at| (at % 253) as u8 + 1).collect();
    let image = File::create(from.join("image")).unwrap();
    image.set_len(32 << 20).unwrap();
    image.write_all_at(&data, 9 << 20).unwrap();
    let small = File::create(from.join("small")).unwrap();
    small.set_len(900_000).unwrap();
    small.write_all_at(&data[..5000], 40_960).unwrap();
    kept(from, to, keeping(SPARSE)).await;
    image.write_all_at(&data, 20 << 20).unwrap();
    small.write_all_at(b"another", 600_000).unwrap();
    let report = kept(from, to, keeping(SPARSE)).await.report;
    assert!(report.bytes_sent < 450_000, "{}", report.bytes_sent);
    assert_same(from, to);
    assert!(fs::metadata(to.join("image")).unwrap().blocks() < 1000);
    assert!(fs::metadata(to.join("small")).unwrap().blocks() < 100);
}

#[tokio::test]
async fn zeros_that_nobody_asked_for_or_that_do_not_match_end_the_sync() {
    let wants = |size| vec![top(), listing(0, vec![file(b"a", size)]), end(2)];
    let whole = CHUNK_BYTES as u32;
    let zeros = |size| vec![Segment::Zeros { size }];
    let packed = |segments: Vec<Segment>| {
        let patch = Some(Patch { hash: [1; 32], segments });
        let files = vec![PackFile { index: 1, size: 0, metadata: None, patch }];
        (plain(UnitHeader::Pack { hash: blake3::hash(b"").into(), files }), vec![])
    };
    let chunked = |size: u32, segments: Vec<Segment>| {
        let file = FileAttempt { index: 1, attempt: 0, size: 2 * CHUNK_BYTES };
        (plain(UnitHeader::Chunk { file, number: 0, size, chaining_value: [1; 32], segments }), vec![])
    };
    for (what, lie) in [
        ("another hash, packed", (wants(5000), vec![packed(zeros(5000))])),
        ("another hash, in a chunk", (wants(2 * CHUNK_BYTES), vec![chunked(whole, zeros(whole))])),
        ("more than a small file", (wants(5000), vec![packed(zeros(whole + 1))])),
        ("sizes that overflow", (wants(5000), vec![packed(vec![Segment::Zeros { size: u32::MAX }; 3])])),
        ("a chunk larger than chunks are", (wants(5000), vec![chunked(u32::MAX, zeros(u32::MAX))])),
        ("a copy of nothing", (wants(5000), vec![packed(vec![Segment::Copy { offset: 0, size: 1 }])])),
    ] {
        for preserve in [NOTHING, SPARSE] {
            let lie: Lie = (lie.0.clone(), lie.1.clone());
            let (outcome, names) = lied_to_with(keeping(preserve), lie).await;
            assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{what}: {:?}", outcome.error);
            assert!(names.is_empty(), "{what}: {names:?}");
        }
    }
    // What would be right, had it been asked for.
    let hash = blake3::hash(&[0; 5000]).into();
    let patch = Some(Patch { hash, segments: zeros(5000) });
    let files = vec![PackFile { index: 1, size: 0, metadata: None, patch }];
    let unit = || (plain(UnitHeader::Pack { hash: blake3::hash(b"").into(), files: files.clone() }), vec![]);
    let (outcome, _) = lied_to_with(keeping(NOTHING), (wants(5000), vec![unit()])).await;
    assert!(matches!(outcome.error, Some(SyncError::Protocol(_))), "{:?}", outcome.error);
    let (outcome, names) = lied_to_with(keeping(SPARSE), (wants(5000), vec![unit()])).await;
    assert!(outcome.error.is_none() && names == ["a"], "{:?} {names:?}", outcome.error);
}
