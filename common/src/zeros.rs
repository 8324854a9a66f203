//! Runs of zeros in content, which need neither be sent nor take room on a disk. Pure.

/// Bytes of the blocks that are looked at: a hole takes whole blocks of its file system, on most of them 4 KiB.
const BLOCK_BYTES: usize = 4096;

/// Blocks in a row that are all zero, or none of which is.
#[derive(Debug, PartialEq, Eq)]
pub struct ZeroRun<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Whether they are all zero.
    pub is_zero: bool,
}

/// Cuts `content` into runs, from its start in blocks of 4 KiB; the last may be shorter.
pub fn runs(content: &[u8]) -> impl Iterator<Item = ZeroRun<'_>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        let is_zero = is_zero(rest.get(..BLOCK_BYTES).unwrap_or(rest));
        let blocks = rest.chunks(BLOCK_BYTES).take_while(|block| self::is_zero(block) == is_zero);
        let bytes;
        (bytes, rest) = rest.split_at(blocks.map(<[u8]>::len).sum());
        (!bytes.is_empty()).then_some(ZeroRun { bytes, is_zero })
    })
}

/// Appends `count` zeros. What `Vec::resize` does, but as fast where nothing is optimised.
pub fn append(count: usize, content: &mut Vec<u8>) {
    content.reserve(count);
    let mut left = count;
    while left > 0 {
        let now = left.min(ZEROS.len());
        content.extend_from_slice(&ZEROS[..now]);
        left -= now;
    }
}

static ZEROS: [u8; 16 * BLOCK_BYTES] = [0; 16 * BLOCK_BYTES];

/// Whether a block is all zero.
fn is_zero(block: &[u8]) -> bool {
    *block == ZEROS[..block.len()]
}

#[cfg(test)]
mod tests {
    use super::{ZeroRun, runs};

    #[test]
    fn content_is_cut_where_zeros_begin_and_end() {
        let mut content = vec![0; 20_000];
        content[9_000] = 1;
        let cut = |content: &[u8]| -> Vec<(usize, bool)> {
            runs(content).map(|ZeroRun { bytes, is_zero }| (bytes.len(), is_zero)).collect()
        };
        assert_eq!(cut(&content), [(8192, true), (4096, false), (7712, true)]);
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[0]), [(1, true)]);
        assert_eq!(cut(&[7; 5000]), [(5000, false)]);
        assert_eq!(cut(&[[7; 4096], [0; 4096]].concat()), [(4096, false), (4096, true)]);
    }
}
