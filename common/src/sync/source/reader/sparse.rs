//! Zeros in what is read, which are told and not sent (`--sparse`).

use super::patch::as_u32;
use crate::{delta::Segments, limits::FILE_WIRE_BYTES_MIN, wire::data::Segment, zeros};

/// Zeros that are told: fewer cost about as much in the header as they do in the payload, once that is compressed.
const TOLD_BYTES_MIN: usize = 4096;

/// The `segments` of `content`, with the zeros in its literals told as such.
pub(super) fn tell_zeros(content: &[u8], segments: Vec<Segment>) -> Vec<Segment> {
    let mut told = Segments::default();
    let mut rest = content;
    for segment in segments {
        let bytes;
        (bytes, rest) = rest.split_at(segment.size() as usize);
        if !matches!(segment, Segment::Literal { .. }) {
            told.push(segment);
            continue;
        }
        for run in zeros::runs(bytes) {
            let size = as_u32(run.bytes.len());
            let is_told = run.is_zero && run.bytes.len() >= TOLD_BYTES_MIN;
            told.push(if is_told { Segment::Zeros { size } } else { Segment::Literal { size } });
        }
    }
    told.take(as_u32(content.len()))
}

/// Where the bytes of chunk `number` of a large file come from. What stands at the beginning of a file goes as it is, so that no large file is smaller on
/// the wire than `FILE_WIRE_BYTES_MIN`, and windows bound how many are on the way.
pub(super) fn chunk(number: u64, content: &[u8]) -> Vec<Segment> {
    let sent = if number == 0 { usize::try_from(FILE_WIRE_BYTES_MIN).expect("128 KiB") } else { 0 };
    let (sent, rest) = content.split_at(sent.min(content.len()));
    let mut segments = Segments::default();
    if !sent.is_empty() {
        segments.push(Segment::Literal { size: as_u32(sent.len()) });
    }
    let rest_all =
        if rest.is_empty() { Vec::new() } else { vec![Segment::Literal { size: as_u32(rest.len()) }] };
    tell_zeros(rest, rest_all).into_iter().for_each(|segment| segments.push(segment));
    segments.take(as_u32(content.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHUNK_BYTES;

    #[test]
    fn zeros_are_told_but_for_short_ones_and_those_that_are_copied() {
        let mut content = vec![0; 40_000];
        content[0] = 1;
        content[20_000] = 1;
        let all = |size| vec![Segment::Literal { size }];
        let (literal, zeros) = (|size| Segment::Literal { size }, |size| Segment::Zeros { size });
        assert_eq!(
            tell_zeros(&content, all(40_000)),
            [literal(4096), zeros(12_288), literal(4096), zeros(19_520)]
        );
        let copied = vec![Segment::Copy { offset: 7, size: 10_000 }, literal(30_000)];
        let told = tell_zeros(&content, copied);
        assert_eq!(told[..2], [Segment::Copy { offset: 7, size: 10_000 }, zeros(8192)]);
        assert_eq!(tell_zeros(&[0; 100], all(100)), all(100));
        assert_eq!(tell_zeros(&[1; 9000], all(9000)), all(9000));
        assert_eq!(tell_zeros(&[], vec![]), []);
    }

    #[test]
    fn the_beginning_of_a_large_file_is_sent_whatever_it_is() {
        let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap();
        let content = vec![0; chunk_bytes];
        let (sent, all) = (131_072, 1_048_576);
        let literal = Segment::Literal { size: sent };
        assert_eq!(chunk(0, &content), [literal, Segment::Zeros { size: all - sent }]);
        assert_eq!(chunk(1, &content), [Segment::Zeros { size: all }]);
        assert_eq!(chunk(1, &vec![7; chunk_bytes]), [Segment::Literal { size: all }]);
        assert_eq!(chunk(9, &[0; 5]), [Segment::Literal { size: 5 }]);
    }
}
