//! What of a file the destination has already is not sent: only where it is.
//!
//! A small file is matched in the pack's buffer, a large one as it is read, a chunk and what the matcher must see ahead of it at a time.

use super::sparse::tell_zeros;
use crate::{
    delta::{self, Matcher, Segments, Signature, literal_bytes},
    wire::data::{Patch, Segment},
};

/// How a small file is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is what the destination has, and this its hash.
    Same([u8; 32]),
    /// As a patch, whose literals are what is left in the buffer.
    Patch(Patch),
    /// With all its content.
    Whole,
    /// It does not begin with what the destination has.
    Differs,
}

/// Matches the content that stands in `buffer` from `start` on; of a patch only the literals stay there.
pub(super) fn small(buffer: &mut Vec<u8>, start: usize, basis: &Signature) -> Told {
    let size = buffer.len() - start;
    let segments = match_all(&buffer[start..], basis);
    if size > 0 && is_identity(&segments, 0, size) && basis.bytes() == as_u64(size) {
        return Told::Same(blake3::hash(&buffer[start..]).into());
    }
    // Where next to nothing is saved, a hash and a reading of the old file more are not worth it.
    if literal_bytes(&segments) > as_u64(size - size / 8) || size == 0 {
        return Told::Whole;
    }
    Told::Patch(patch(buffer, start, segments))
}

/// Matches the content that stands in `buffer` from `start` on with what may be all of it, or its beginning: `size` bytes with this sample.
/// Only what is beyond them is left there.
pub(super) fn grown(buffer: &mut Vec<u8>, start: usize, size: u64, sample: &[u8; 32]) -> Told {
    let content = &buffer[start..];
    let Some((size, (beginning, rest))) =
        usize::try_from(size).ok().and_then(|size| Some((size, content.split_at_checked(size)?)))
    else {
        return Told::Differs;
    };
    let (_, sampled) = delta::sample(as_u64(size));
    if blake3::hash(&beginning[size - sampled..]) != *sample {
        return Told::Differs;
    }
    let hash = blake3::hash(content).into();
    if rest.is_empty() {
        return Told::Same(hash);
    }
    let copy = Segment::Copy { offset: 0, size: as_u32(size) };
    let segments = vec![copy, Segment::Literal { size: as_u32(rest.len()) }];
    buffer.drain(start..start + size);
    Told::Patch(Patch { hash, segments })
}

/// Tells the zeros of the content that stands in `buffer` from `start` on, if there are some; then only the rest stays there.
pub(super) fn sparse(buffer: &mut Vec<u8>, start: usize) -> Told {
    let content = &buffer[start..];
    let segments = tell_zeros(content, vec![Segment::Literal { size: as_u32(content.len()) }]);
    if literal_bytes(&segments) == as_u64(content.len()) {
        return Told::Whole;
    }
    Told::Patch(patch(buffer, start, segments))
}

/// Leaves of the content from `start` on the literals in `buffer`.
fn patch(buffer: &mut Vec<u8>, start: usize, segments: Vec<Segment>) -> Patch {
    let hash = blake3::hash(&buffer[start..]).into();
    let (mut from, mut to) = (start, start);
    for segment in &segments {
        let size = segment.size() as usize;
        if let Segment::Literal { .. } = segment {
            buffer.copy_within(from..from + size, to);
            to += size;
        }
        from += size;
    }
    buffer.truncate(to);
    Patch { hash, segments }
}

fn match_all(content: &[u8], basis: &Signature) -> Vec<Segment> {
    let (mut matcher, mut segments) = (Matcher::new(basis), Segments::default());
    let mut at = 0;
    while at < content.len() {
        let segment = matcher.next(&content[at..]);
        segments.push(segment);
        at += segment.size() as usize;
    }
    segments.take(as_u32(content.len()))
}

/// Whether the segments of the `size` bytes from `offset` on are just these bytes of the old file.
pub(super) fn is_identity(segments: &[Segment], offset: u64, size: usize) -> bool {
    matches!(*segments, [Segment::Copy { offset: from, size: copied }] if from == offset && copied as usize == size)
}

/// A large file that is matched as it is read.
pub(super) struct Patcher<'a> {
    matcher: Matcher<'a>,
    segments: Segments,
    /// Bytes of the file from the first that is not told.
    ahead: Vec<u8>,
    /// How many of them are matched; more than are there where a chunk was found that reaches further.
    matched: usize,
}

impl<'a> Patcher<'a> {
    pub(super) fn new(basis: &'a Signature) -> Self {
        Self { matcher: Matcher::new(basis), segments: Segments::default(), ahead: Vec::new(), matched: 0 }
    }

    /// Where the file's next bytes go, and how many are wanted there before [`Self::next`] can tell `size` bytes.
    pub(super) fn ahead(&mut self, size: usize) -> (&mut Vec<u8>, usize) {
        (&mut self.ahead, size + self.matcher.longest())
    }

    /// Matches the next `size` bytes; gives them and where they come from.
    pub(super) fn next(&mut self, size: usize) -> (&[u8], Vec<Segment>) {
        while self.matched < size {
            let segment = self.matcher.next(&self.ahead[self.matched..]);
            self.segments.push(segment);
            self.matched += segment.size() as usize;
        }
        let segments = self.segments.take(as_u32(size));
        (&self.ahead[..size], segments)
    }

    /// Lets go of the `size` bytes that are told.
    pub(super) fn told(&mut self, size: usize) {
        self.ahead.drain(..size);
        self.matched -= size;
    }
}

/// Appends those bytes of `content` that are literal to `out`.
pub(super) fn literals(content: &[u8], segments: &[Segment], out: &mut Vec<u8>) {
    let mut from = 0;
    for segment in segments {
        let size = segment.size() as usize;
        if let Segment::Literal { .. } = segment {
            out.extend_from_slice(&content[from..from + size]);
        }
        from += size;
    }
}

pub(super) fn as_u32(size: usize) -> u32 {
    u32::try_from(size).expect("at most a chunk")
}

fn as_u64(size: usize) -> u64 {
    u64::try_from(size).expect("usize has 64 bits or fewer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::{Cuts, Signer};

    fn sign(content: &[u8]) -> Signature {
        let mut signer = Signer::new(Cuts::for_size(as_u64(content.len())));
        signer.add(content);
        signer.finish().0
    }

    #[test]
    fn a_grown_file_is_told_by_what_it_has_beyond_what_it_begins_with() {
        let old = vec![7; 10_000];
        let sample = |content: &[u8]| blake3::hash(&content[content.len().saturating_sub(4096)..]).into();
        let new = [&old[..], b"tail"].concat();
        let mut buffer = [b"before", &new[..]].concat();
        let told = grown(&mut buffer, 6, 10_000, &sample(&old));
        let segments = vec![Segment::Copy { offset: 0, size: 10_000 }, Segment::Literal { size: 4 }];
        assert_eq!(told, Told::Patch(Patch { hash: blake3::hash(&new).into(), segments }));
        assert_eq!(buffer, b"beforetail");
        let same = |size, sample| grown(&mut new.clone(), 0, size, &sample);
        assert_eq!(same(10_004, sample(&new)), Told::Same(blake3::hash(&new).into()));
        assert_eq!(same(10_004, sample(&old)), Told::Differs);
        assert_eq!(same(10_005, sample(&new)), Told::Differs);
        assert!(matches!(same(3, sample(&old[..3])), Told::Patch(_)), "all is the sample");
    }

    #[test]
    fn a_small_file_is_told_by_what_it_has_in_common_with_the_old_one() {
        let old: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let grown = [&old[..], b"more"].concat();
        let basis = sign(&old);
        let mut buffer = [b"before", &old[..]].concat();
        assert_eq!(small(&mut buffer, 6, &basis), Told::Same(blake3::hash(&old).into()));

        let mut buffer = [b"before", &grown[..]].concat();
        let Told::Patch(patch) = small(&mut buffer, 6, &basis) else { panic!("it has nearly all in common") };
        assert_eq!(
            patch.segments,
            [Segment::Copy { offset: 0, size: 400_000 }, Segment::Literal { size: 4 }]
        );
        assert_eq!((patch.hash, &buffer[..]), (blake3::hash(&grown).into(), &b"beforemore"[..]));

        let mut buffer = vec![7; 50_000];
        assert_eq!(small(&mut buffer, 0, &basis), Told::Whole);
        let mut nothing = b"before".to_vec();
        assert_eq!(small(&mut nothing, 6, &sign(b"")), Told::Whole);
        let mut prefix = old[..50_000].to_vec();
        assert!(matches!(small(&mut prefix, 0, &basis), Told::Patch(_)), "a beginning is not the same");
    }

    #[test]
    fn a_small_file_is_told_by_what_comes_after_its_beginning() {
        let hash = blake3::hash(b"begun").into();
        let mut buffer = b"before begun and ended".to_vec();
        let segments = vec![Segment::Copy { offset: 0, size: 5 }, Segment::Literal { size: 10 }];
        let patch = Patch { hash: blake3::hash(b"begun and ended").into(), segments };
        assert_eq!(grown(&mut buffer, 7, 5, &hash), Told::Patch(patch));
        assert_eq!(buffer, b"before  and ended");

        assert_eq!(grown(&mut b"begun".to_vec(), 0, 5, &hash), Told::Same(hash));
        for other in [&b"begxn and ended"[..], b"beg", b""] {
            assert_eq!(grown(&mut other.to_vec(), 0, 5, &hash), Told::Differs);
        }
        assert_eq!(grown(&mut b"begun".to_vec(), 0, u64::MAX, &hash), Told::Differs);
    }
}
