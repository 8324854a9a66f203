//! Arguments on their way, in one of the codecs.

use bytes::Bytes;
use swarmwire_common::{codec, value::Arguments, wire::call::Codec};

/// Arguments as they are written.
#[derive(Clone, Debug)]
pub struct Payload {
    pub(super) codec: Codec,
    pub(super) bytes: Bytes,
}

impl Payload {
    /// A JSON text: an array of positional arguments, or an object of named ones.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Json, bytes: text.into() }
    }

    /// Bytes that only the subroutine understands.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Raw, bytes: bytes.into() }
    }
}

impl From<&Arguments> for Payload {
    fn from(arguments: &Arguments) -> Self {
        Self { codec: Codec::Bincode, bytes: codec::encode(arguments).into() }
    }
}

impl From<Arguments> for Payload {
    fn from(arguments: Arguments) -> Self {
        (&arguments).into()
    }
}

/// None.
impl From<()> for Payload {
    fn from((): ()) -> Self {
        Arguments::new().into()
    }
}
