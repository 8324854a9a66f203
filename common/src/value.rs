//! Arguments of subroutines: values that keep their kind, positional and named.
//!
//! A call from a shell, from a script and from Rust give the same [`Arguments`], whichever codec carried them. A subroutine that declares a Rust
//! type has them put into it ([`Arguments::parse`]): positional ones by the order of the fields, named ones by their names; an error
//! names the argument. Pure.

mod json;
mod typed;

use std::cell::Cell;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

pub use json::JsonError;
pub use typed::{ArgumentError, too_many};

/// How deep values may lie in others: far more than anybody writes by hand, far less than a stack holds.
pub const DEPTH_MAX: usize = 64;

/// A value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A number with a fraction.
    F64(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Values in an order.
    #[serde(deserialize_with = "nested")]
    List(Vec<Self>),
    /// Values by name, in the order in which they were given.
    #[serde(deserialize_with = "nested")]
    Map(Vec<(String, Self)>),
}

impl Value {
    /// What it is, in words.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::I64(_) | Self::U64(_) => "an integer",
            Self::F64(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident;)*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool;
    i8 => I64; i16 => I64; i32 => I64; i64 => I64;
    u8 => U64; u16 => U64; u32 => U64; u64 => U64;
    f32 => F64; f64 => F64;
    &str => Text; String => Text;
    Vec<u8> => Bytes; &[u8] => Bytes;
}

/// What a subroutine is called with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arguments {
    /// By position.
    pub positional: Vec<Value>,
    /// By name, each once.
    pub named: Vec<(String, Value)>,
}

impl Arguments {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more by position.
    #[must_use]
    pub fn with(mut self, value: impl Into<Value>) -> Self {
        self.positional.push(value.into());
        self
    }

    /// With one more by name.
    #[must_use]
    pub fn with_named(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.named.push((name.into(), value.into()));
        self
    }
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One level deeper, for as long as it lives.
struct Level;

impl Level {
    fn enter() -> Option<Self> {
        DEPTH.with(|depth| (depth.get() < DEPTH_MAX).then(|| depth.set(depth.get() + 1))).map(|()| Self)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// A peer could nest values until the stack is full.
fn nested<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let _level = Level::enter()
        .ok_or_else(|| D::Error::custom(format_args!("values are nested more than {DEPTH_MAX} deep")))?;
    T::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    #[test]
    fn every_kind_comes_back_as_itself() {
        let arguments = Arguments::new()
            .with(Value::Null)
            .with(true)
            .with(-5_i64)
            .with(u64::MAX)
            .with(0.5)
            .with("text")
            .with(vec![0_u8, 255])
            .with_named("list", Value::List(vec![Value::Map(vec![("a".into(), Value::Null)])]));
        assert_eq!(decode::<Arguments, 1024>(&encode(&arguments)), Ok(arguments));
    }

    #[test]
    fn values_that_are_nested_too_deep_are_refused_and_the_next_ones_are_not() {
        let deep = |levels| (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        for _ in 0..2 {
            assert!(decode::<Value, 65_536>(&encode(&deep(DEPTH_MAX))).is_ok());
            // Two bytes for each level, as a peer would send them.
            let hostile = [7, 1].repeat(30_000);
            let err = decode::<Value, 65_536>(&hostile).unwrap_err().to_string();
            assert!(err.contains("nested"), "{err}");
        }
    }
}
