use proptest::prelude::*;

use super::*;
use crate::wire::data::Segment;

/// Bytes without repetition, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn sign(old: &[u8]) -> (Signature, blake3::Hash) {
    let mut signer = Signer::new(Cuts::for_size(old.len() as u64));
    old.chunks(100_000).for_each(|piece| signer.add(piece));
    signer.finish()
}

/// Matches `new` against `old`, rebuilds it from the segments, and gives the literal bytes.
fn literal(old: &[u8], new: &[u8]) -> u64 {
    let (signature, hash) = sign(old);
    assert_eq!(hash, blake3::hash(old));
    let mut matcher = Matcher::new(&signature);
    let (mut at, mut segments) = (0, Segments::default());
    while at < new.len() {
        let segment = matcher.next(&new[at..]);
        segments.push(segment);
        at += segment.size() as usize;
    }
    let segments = segments.take(u32::try_from(new.len()).unwrap());
    let (mut rebuilt, mut from) = (Vec::new(), 0);
    for segment in &segments {
        match *segment {
            Segment::Copy { offset, size } => {
                rebuilt.extend_from_slice(&old[usize::try_from(offset).unwrap()..][..size as usize]);
            }
            Segment::Literal { size } => rebuilt.extend_from_slice(&new[from..][..size as usize]),
            Segment::Zeros { .. } => unreachable!("a matcher tells none"),
        }
        from += segment.size() as usize;
    }
    assert!(rebuilt == new, "what is rebuilt differs");
    literal_bytes(&segments)
}

#[test]
fn a_change_costs_what_changed_and_a_few_chunks() {
    let old = noise(1, 3_000_000);
    let insert = |at: usize, bytes: &[u8]| [&old[..at], bytes, &old[at..]].concat();
    let mut edited = old.clone();
    edited[1_500_000..1_510_000].copy_from_slice(&noise(2, 10_000));
    for (what, new, most) in [
        ("nothing", old.clone(), 0),
        ("an append", [&old[..], &noise(3, 5_000)].concat(), 5_000),
        ("an edit in the middle", edited, 10_000 + 2 * 32_768),
        ("a byte at the front", insert(0, b"x"), 3 * 32_768),
        ("an insertion in the middle", insert(1_234_567, &noise(4, 1_000)), 1_000 + 3 * 32_768),
        ("the front cut off", old[700_001..].to_vec(), 3 * 32_768),
        ("the end cut off", old[..2_000_001].to_vec(), 32_768),
    ] {
        let literal = literal(&old, &new);
        assert!(literal <= most, "{what} costs {literal} bytes");
    }
}

#[test]
fn a_log_that_is_rewritten_is_no_append() {
    let (old, new) = (noise(1, 100_000), noise(2, 150_000));
    assert_eq!(literal(&old, &new), 150_000);
}

#[test]
fn a_signature_keeps_its_bound_whatever_the_size() {
    for (size, log2) in [(0, 13), (1, 13), (100 << 20, 13), (1 << 30, 17), (1 << 40, 20), (u64::MAX, 20)] {
        assert_eq!(Cuts::for_size(size).average_log2(), log2, "{size}");
    }
    for log2 in 0..=u8::MAX {
        assert_eq!(Cuts::from_log2(log2).is_some(), (13..=20).contains(&log2));
    }
}

#[test]
fn segments_are_joined_and_come_apart_anywhere() {
    let mut segments = Segments::default();
    for (offset, size) in [(0, 10), (10, 5), (20, 5)] {
        segments.push(Segment::Copy { offset, size });
    }
    segments.push(Segment::Literal { size: 3 });
    segments.push(Segment::Literal { size: 4 });
    assert_eq!(segments.take(12), [Segment::Copy { offset: 0, size: 12 }]);
    assert_eq!(
        segments.take(10),
        [
            Segment::Copy { offset: 12, size: 3 },
            Segment::Copy { offset: 20, size: 5 },
            Segment::Literal { size: 2 }
        ]
    );
    assert_eq!(segments.take(100), [Segment::Literal { size: 5 }]);
}

proptest! {
    #[test]
    fn whatever_the_change_the_content_comes_back(
        old in 0usize..300_000,
        splices in prop::collection::vec((any::<prop::sample::Index>(), 0usize..50_000, 0usize..50_000), 0..6),
    ) {
        let old = noise(7, old);
        let mut new = old.clone();
        for (number, (at, removed, inserted)) in splices.into_iter().enumerate() {
            let at = at.index(new.len() + 1);
            let end = (at + removed).min(new.len());
            new.splice(at..end, noise(number as u64 + 10, inserted));
        }
        literal(&old, &new);
    }
}
