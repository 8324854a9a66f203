//! Messages to bytes and back: the only module that knows bincode.
//!
//! bincode's standard configuration (little-endian, variable-length integers). A value must use up its bytes exactly, and
//! cannot make the decoder reserve more than the limit it was given. Swapping the codec means changing this file and the
//! golden bytes.

use serde::{Serialize, de::DeserializeOwned};

/// Encodes `message`.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(message, bincode::config::standard())
        .expect("wire types have no fallible serialiser and memory is the only sink")
}

/// Decodes one `T` that takes up all of `bytes`.
///
/// `LIMIT` bounds both the bytes read and the memory that collections may claim before their content has arrived.
pub fn decode<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > LIMIT {
        return Err(DecodeError::TooLarge { size: bytes.len(), limit: LIMIT });
    }
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
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
    fn a_claimed_length_reserves_nothing() {
        // A vector that claims 2^62 bytes: marker 253 (a u64 follows), then the count.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1u64 << 62).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>, 1024>(&bytes), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Vec<u8>, 4>(&bytes), Err(DecodeError::TooLarge { size: 9, limit: 4 })));
    }
}
