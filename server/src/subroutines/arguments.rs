//! Arguments as they came, and as functions take them.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use swarmwire_common::{codec, limits, value::Arguments, wire::call::Codec};

use super::Failure;

/// Arguments as they came.
#[derive(Clone, Debug)]
pub struct Args {
    pub(crate) codec: Codec,
    pub(crate) bytes: Bytes,
}

impl Args {
    /// How they are written.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// As they are written.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their values. Raw bytes have none.
    pub fn values(&self) -> Result<Arguments, Failure> {
        match self.codec {
            Codec::Json => Arguments::from_json(&self.bytes).map_err(|err| Failure::json(&err)),
            Codec::Bincode if self.bytes.is_empty() => Ok(Arguments::new()),
            Codec::Bincode => codec::decode::<Arguments, { limits::CONTROL_FRAME_BYTES_MAX }>(&self.bytes)
                .map_err(|err| Failure::invalid(format!("argument mismatch: {err}"))),
            Codec::Raw if self.bytes.is_empty() => Ok(Arguments::new()),
            Codec::Raw => Err(Failure::invalid(
                "argument mismatch: raw bytes were given, and this subroutine takes arguments",
            )),
        }
    }
}

/// What a function can take: [`Args`] as they came, or any type that `serde` can make of [`Arguments`].
pub trait FromArgs: Sized {
    /// Itself, or an *argument mismatch*.
    fn from_args(args: Args) -> Result<Self, Failure>;
}

impl FromArgs for Args {
    fn from_args(args: Args) -> Result<Self, Failure> {
        Ok(args)
    }
}

impl<T: DeserializeOwned> FromArgs for T {
    fn from_args(args: Args) -> Result<Self, Failure> {
        args.values()?.parse().map_err(|err| Failure::argument(&err))
    }
}
