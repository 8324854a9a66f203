//! Where the bytes of a new file come from, as a list that is kept short.

use crate::wire::data::Segment;

/// Segments in the order of the new file's bytes.
#[derive(Debug, Default)]
pub struct Segments(Vec<Segment>);

impl Segments {
    /// Appends a segment, as part of the last one where it goes on from it.
    pub fn push(&mut self, segment: Segment) {
        let joined = match (self.0.last_mut(), segment) {
            (Some(Segment::Literal { size }), Segment::Literal { size: more })
            | (Some(Segment::Zeros { size }), Segment::Zeros { size: more }) => Some((size, more)),
            (Some(Segment::Copy { offset, size }), Segment::Copy { offset: next, size: more })
                if offset.checked_add(u64::from(*size)) == Some(next) =>
            {
                Some((size, more))
            }
            _ => None,
        };
        // The sum of what is matched in one go stays far below 4 GiB; where it would not, the list is one longer.
        match joined.and_then(|(size, more)| Some((size.checked_add(more)?, size))) {
            Some((sum, size)) => *size = sum,
            None => self.0.push(segment),
        }
    }

    /// Takes the segments of the first `bytes` bytes away.
    pub fn take(&mut self, bytes: u32) -> Vec<Segment> {
        let mut left = bytes;
        let mut taken = Vec::new();
        let mut rest = std::mem::take(&mut self.0).into_iter();
        while left > 0
            && let Some(segment) = rest.next()
        {
            let size = segment.size();
            if size <= left {
                left -= size;
                taken.push(segment);
                continue;
            }
            taken.push(segment.part(0, left));
            self.0.push(segment.part(left, size - left));
            left = 0;
        }
        self.0.extend(rest);
        taken
    }
}

/// Bytes that segments do not copy.
pub fn literal_bytes(segments: &[Segment]) -> u64 {
    let literal = |segment: &Segment| match segment {
        Segment::Literal { size } => u64::from(*size),
        Segment::Copy { .. } | Segment::Zeros { .. } => 0,
    };
    segments.iter().map(literal).sum()
}
