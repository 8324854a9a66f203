//! Messages to bytes and back: the only module that knows bincode.
//!
//! bincode's standard configuration (little-endian, variable-length integers). A value must use up its bytes exactly, and
//! what it claims to hold reserves at most a constant before it has come. Swapping the codec means changing this file and
//! the golden bytes.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::CONTROL_FRAME_BYTES_MAX;

/// Bytes that bincode may count while it decodes one message. It counts every integer at its full width (8 for a length
/// that takes one byte), so eight times the largest message lets every message of legal length pass. Texts and bytes may reserve
/// this much before they are missed; serde reserves at most 1 MiB for any other collection.
const COUNTED_BYTES_MAX: usize = 8 * CONTROL_FRAME_BYTES_MAX;

/// Encodes `message`.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(message, bincode::config::standard())
        .expect("wire types have no fallible serialiser and memory is the only sink")
}

/// Decodes one `T` that takes up all of `bytes`.
///
/// `LIMIT` bounds the bytes alone: whatever encodes within it decodes. At most `CONTROL_FRAME_BYTES_MAX`.
pub fn decode<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    const { assert!(LIMIT <= CONTROL_FRAME_BYTES_MAX) };
    if bytes.len() > LIMIT {
        return Err(DecodeError::TooLarge { size: bytes.len(), limit: LIMIT });
    }
    let (value, used) = bincode::serde::decode_from_slice(
        bytes,
        bincode::config::standard().with_limit::<COUNTED_BYTES_MAX>(),
    )
    .map_err(|err| DecodeError::Malformed(err.to_string()))?;
    if used != bytes.len() {
        return Err(DecodeError::TrailingBytes { count: bytes.len() - used });
    }
    Ok(value)
}

/// Why bytes from the peer are not the message that was due.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than this kind of message may be.
    #[error("the message has {size} bytes, {limit} are allowed")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not an encoding of the type.
    #[error("the message is malformed: {0}")]
    Malformed(String),
    /// The value ended before its bytes did.
    #[error("{count} bytes follow the message")]
    TrailingBytes {
        /// Bytes left over.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, decode, encode};

    #[test]
    fn a_message_must_use_up_its_bytes() {
        let mut bytes = encode(&(7u32, "x"));
        assert_eq!(decode::<(u32, String), 64>(&bytes), Ok((7, "x".to_owned())));
        bytes.push(0);
        assert_eq!(decode::<(u32, String), 64>(&bytes), Err(DecodeError::TrailingBytes { count: 1 }));
    }

    #[test]
    fn whatever_fits_the_limit_decodes() {
        // One byte each on the wire, eight in bincode's own count.
        let many = vec![7u64; 1021];
        let bytes = encode(&many);
        assert_eq!(bytes.len(), 1024);
        assert_eq!(decode::<Vec<u64>, 1024>(&bytes), Ok(many));
        assert_eq!(decode::<Vec<u64>, 1023>(&bytes), Err(DecodeError::TooLarge { size: 1024, limit: 1023 }));
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        // A vector that claims 2^62 bytes: marker 253 (a u64 follows), then the count.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1u64 << 62).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>, 1024>(&bytes), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<String, 1024>(&bytes), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Vec<u8>, 4>(&bytes), Err(DecodeError::TooLarge { size: 9, limit: 4 })));
    }
}
