//! The frames between a gateway and its workers. Pure.
//!
//! A frame is the length of what follows (4 bytes, big-endian, at least 1), a byte for its type, and so many bytes less one. README.md says which there are.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use swarmwire_common::{limits, wire::call::CallKind};

/// To a worker: a call begins.
pub(super) const CALL: u8 = b'C';
/// To a worker: bytes of its input.
pub(super) const DATA: u8 = b'D';
/// To a worker: its input is complete. From it: the call is.
pub(super) const END: u8 = b'E';
/// To a worker: nobody waits for the call any longer.
pub(super) const GIVEN_UP: u8 = b'X';
/// From a worker.
const PART: u8 = b'P';
const ITEM: u8 = b'I';
const VALUE: u8 = b'V';
const FAILED: u8 = b'F';

/// Bytes of a length.
const LENGTH_BYTES: usize = 4;
/// Bytes of an ident or a value.
const INTEGER_BYTES: usize = 8;

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Part(Bytes),
    Item(i64, Bytes),
    /// A send is done.
    Value(i64),
    /// A batch or stream is done, or a call that was given up.
    End,
    Failed(String),
}

/// Why a worker cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame without a type")]
    Empty,
    #[error("a frame of the unknown type 0x{0:02x}")]
    Unknown(u8),
    #[error("a frame `{kind}` of {length} bytes, {most} are allowed")]
    TooLong { kind: char, length: usize, most: usize },
    #[error("a frame `{kind}` of {length} bytes, where {exact} belong")]
    Length { kind: char, length: usize, exact: usize },
    #[error("a frame `{kind}` in a {}", .call.as_str())]
    Misplaced { kind: char, call: CallKind },
    #[error("something outside of a call")]
    Outside,
}

/// A frame for a worker.
pub(super) fn frame(kind: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(LENGTH_BYTES + 1 + payload.len());
    bytes.put_u32(u32::try_from(1 + payload.len()).expect("a call and its pieces are far below 4 GiB"));
    bytes.put_u8(kind);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// The next frame of a worker that serves a call, once all of it is there. Memory is claimed as it comes.
pub(super) fn take(buffer: &mut BytesMut, call: CallKind) -> Result<Option<Frame>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("usize has 32 bits or more");
    let payload = length.checked_sub(1).ok_or(FrameError::Empty)?;
    let Some(&kind) = buffer.get(LENGTH_BYTES) else { return Ok(None) };
    check(kind, payload, call)?;
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES + 1);
    let mut payload = buffer.split_to(payload).freeze();
    Ok(Some(match kind {
        PART => Frame::Part(payload),
        ITEM => Frame::Item(payload.get_i64(), payload),
        VALUE => Frame::Value(payload.get_i64()),
        END => Frame::End,
        _ => Frame::Failed(String::from_utf8_lossy(&payload).into_owned()),
    }))
}

/// Whether there may be such a frame, before any of it is waited for.
fn check(kind: u8, length: usize, call: CallKind) -> Result<(), FrameError> {
    let (least, most, calls): (_, _, &[CallKind]) = match kind {
        PART => (0, limits::WORKER_PART_BYTES_MAX, &[CallKind::Batch]),
        ITEM => (INTEGER_BYTES, INTEGER_BYTES + limits::ITEM_BYTES_MAX, &[CallKind::Stream]),
        VALUE => (INTEGER_BYTES, INTEGER_BYTES, &[CallKind::Send]),
        // Of a send, only one that was given up.
        END => (0, 0, &[CallKind::Batch, CallKind::Stream, CallKind::Send]),
        FAILED => (0, limits::WORKER_PART_BYTES_MAX, &[CallKind::Batch, CallKind::Stream, CallKind::Send]),
        unknown => return Err(FrameError::Unknown(unknown)),
    };
    let kind = char::from(kind);
    if !calls.contains(&call) {
        return Err(FrameError::Misplaced { kind, call });
    }
    if length < least || (least == most && length > most) {
        return Err(FrameError::Length { kind, length, exact: least });
    }
    if length > most {
        return Err(FrameError::TooLong { kind, length, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8], call: CallKind) -> Result<Option<Frame>, FrameError> {
        take(&mut bytes.into(), call)
    }

    #[test]
    fn frames_have_these_bytes() {
        assert_eq!(&frame(DATA, b"ab")[..], b"\0\0\0\x03Dab");
        assert_eq!(&frame(END, b"")[..], b"\0\0\0\x01E");
        for (bytes, call, expected) in [
            (&b"\0\0\0\x03Pab"[..], CallKind::Batch, Frame::Part("ab".into())),
            (b"\0\0\0\x01P", CallKind::Batch, Frame::Part(Bytes::new())),
            (b"\0\0\0\x0aI\xff\xff\xff\xff\xff\xff\xff\xfex", CallKind::Stream, Frame::Item(-2, "x".into())),
            (b"\0\0\0\x09V\0\0\0\0\0\0\x01\0", CallKind::Send, Frame::Value(256)),
            (b"\0\0\0\x01E", CallKind::Stream, Frame::End),
            (b"\0\0\0\x03F\xc3\xbc", CallKind::Send, Frame::Failed("ü".into())),
        ] {
            assert_eq!(taken(bytes, call), Ok(Some(expected)), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(taken(&bytes[..cut], call), Ok(None), "{cut} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_follows_a_frame_stays() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x02Pa\0\0\0\x01E\0"[..]);
        assert_eq!(take(&mut buffer, CallKind::Batch), Ok(Some(Frame::Part("a".into()))));
        assert_eq!(take(&mut buffer, CallKind::Batch), Ok(Some(Frame::End)));
        assert_eq!(take(&mut buffer, CallKind::Batch), Ok(None));
        assert_eq!(buffer.len(), 1);
    }

    #[test]
    fn what_is_no_frame_is_known_by_its_head() {
        for (bytes, call, said) in [
            (&b"\0\0\0\0"[..], CallKind::Batch, "a frame without a type"),
            (b"Hello", CallKind::Batch, "a frame of the unknown type 0x6f"),
            (b"\0\x10\0\x02P", CallKind::Batch, "a frame `P` of 1048577 bytes, 1048576 are allowed"),
            (b"\x7f\0\0\0I", CallKind::Stream, "a frame `I` of 2130706431 bytes, 67108872 are allowed"),
            (b"\0\0\0\x05V", CallKind::Send, "a frame `V` of 4 bytes, where 8 belong"),
            (b"\0\0\0\x0aV", CallKind::Send, "a frame `V` of 9 bytes, where 8 belong"),
            (b"\0\0\0\x02E", CallKind::Batch, "a frame `E` of 1 bytes, where 0 belong"),
            (b"\0\0\0\x09V", CallKind::Batch, "a frame `V` in a batch"),
            (b"\0\0\0\x02P", CallKind::Stream, "a frame `P` in a stream"),
        ] {
            assert_eq!(taken(bytes, call).map_err(|err| err.to_string()), Err(said.to_owned()));
        }
    }
}
