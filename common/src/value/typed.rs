//! Arguments put into a Rust type.
//!
//! A struct takes positional arguments in the order of its fields and named ones by name; a tuple takes positional ones, a map named ones, and anything else
//! the only one there is.

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{Arguments, Value};

/// Why arguments are not those that a subroutine takes: in words for its caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(String);

impl de::Error for ArgumentError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("argument `{field}` is missing"))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        Self(format!("it is {unexpected}, and {} is needed", in_words(&expected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }
}

/// What a caller can give who does not know Rust's types.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer that is not negative",
        "i8" => "an integer from -128 to 127",
        "i16" => "an integer from -32768 to 32767",
        "i32" => "an integer from -2147483648 to 2147483647",
        "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        other => other,
    }
}

/// What is said of more positional arguments than there are names for.
pub fn too_many<N: AsRef<str>>(given: usize, names: &[N]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    let taken = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("{given} positional arguments were given, and it takes {taken}")
}

impl Arguments {
    /// Puts them into a `T`. Every argument must have a place.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, ArgumentError> {
        T::deserialize(self)
    }

    /// By the names of `fields`, each once.
    fn by_name(self, fields: &[&str]) -> Result<Vec<(String, Value)>, ArgumentError> {
        let (given, most) = (self.positional.len(), fields.len());
        if given > most {
            return Err(ArgumentError(too_many(given, fields)));
        }
        let positional = fields.iter().map(ToString::to_string).zip(self.positional);
        let mut all: Vec<(String, Value)> = positional.collect();
        for (name, value) in self.named {
            if !fields.contains(&name.as_str()) {
                let known = fields.join("`, `");
                return Err(ArgumentError(format!("there is no argument `{name}`; there are `{known}`")));
            }
            if all.iter().any(|(other, _)| *other == name) {
                return Err(ArgumentError(format!("argument `{name}` was given twice")));
            }
            all.push((name, value));
        }
        Ok(all)
    }

    fn only_positional(self) -> Result<Vec<Value>, ArgumentError> {
        match self.named.first() {
            Some((name, _)) => Err(ArgumentError(format!("there is no argument `{name}`; none has a name"))),
            None => Ok(self.positional),
        }
    }

    fn only_named(self) -> Result<Vec<(String, Value)>, ArgumentError> {
        if self.positional.is_empty() {
            return Ok(self.named);
        }
        Err(ArgumentError("a positional argument was given, and all have names".to_owned()))
    }

    /// The only argument.
    fn only(self) -> Result<Value, ArgumentError> {
        let given = self.positional.len();
        let mut positional = self.only_positional()?;
        match (given, positional.pop()) {
            (1, Some(value)) => Ok(value),
            _ => Err(ArgumentError(format!("{given} arguments were given, 1 is taken"))),
        }
    }
}

/// An argument, whose errors name it.
struct Argument {
    name: String,
    value: Value,
}

impl<'de> IntoDeserializer<'de, ArgumentError> for Argument {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! naming {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, ArgumentError> {
            let Self { name, value } = self;
            value.$method($($argument,)* visitor).map_err(|err| ArgumentError(format!("argument `{name}`: {err}")))
        })*
    };
}

impl<'de> Deserializer<'de> for Argument {
    type Error = ArgumentError;

    naming! {
        deserialize_any();
        deserialize_option();
        deserialize_seq();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_newtype_struct(name_: &'static str);
        deserialize_enum(name_: &'static str, variants: &'static [&'static str]);
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct tuple tuple_struct map struct
        identifier ignored_any
    }
}

fn members<'de>(
    named: Vec<(String, Value)>,
) -> MapDeserializer<'de, impl Iterator<Item = (String, Argument)>, ArgumentError> {
    MapDeserializer::new(named.into_iter().map(|(name, value)| (name.clone(), Argument { name, value })))
}

impl<'de> Deserializer<'de> for Arguments {
    type Error = ArgumentError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        self.only()?.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        visitor.visit_map(members(self.by_name(fields)?))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_map(members(self.only_named()?))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_seq(SeqDeserializer::new(self.only_positional()?.into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        let given = self.positional.len();
        if given != length {
            return Err(ArgumentError(format!(
                "{given} positional arguments were given, and it takes {length}"
            )));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self.by_name(&[])?.len() {
            0 => visitor.visit_unit(),
            _ => Err(ArgumentError("no argument is taken".to_owned())),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        if self.positional.is_empty() && self.named.is_empty() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ArgumentError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = ArgumentError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::I64(value) => visitor.visit_i64(value),
            Self::U64(value) => visitor.visit_u64(value),
            Self::F64(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_string(text),
            Self::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            Self::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
            Self::Map(named) => visitor.visit_map(MapDeserializer::new(named.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        if self == Self::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// A list of numbers may be meant by bytes, which is what `Vec<u8>` asks for.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self {
            Self::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        match self {
            Self::Text(variant) => visitor.visit_enum(variant.into_deserializer()),
            Self::Map(named) if named.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(named.into_iter())))
            }
            other => Err(ArgumentError::custom(format_args!(
                "it is {}, and the name of a variant is needed",
                other.kind()
            ))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    enum Mode {
        Fast,
        Slow { by: u8 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        path: String,
        count: u32,
        #[serde(default)]
        ratio: Option<f64>,
        #[serde(default)]
        mode: Option<Mode>,
    }

    fn named(name: &str, value: impl Into<Value>) -> Arguments {
        Arguments::new().with("p").with_named(name, value)
    }

    #[test]
    fn a_struct_takes_them_by_position_and_by_name() {
        let sample = |ratio, mode| Sample { path: "p".into(), count: 3, ratio, mode };
        let slow = Value::Map(vec![("Slow".into(), Value::Map(vec![("by".into(), 2_i64.into())]))]);
        for (arguments, expected) in [
            (Arguments::new().with("p").with(3_i64), sample(None, None)),
            (named("count", 3_u64), sample(None, None)),
            (named("count", 3_u64).with_named("ratio", Value::Null), sample(None, None)),
            (Arguments::new().with("p").with(3_u8).with(1_i64), sample(Some(1.0), None)),
            (named("count", 3_u64).with_named("mode", "Fast"), sample(None, Some(Mode::Fast))),
            (named("count", 3_u64).with_named("mode", slow), sample(None, Some(Mode::Slow { by: 2 }))),
        ] {
            assert_eq!(arguments.clone().parse::<Sample>(), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn a_mismatch_names_the_argument() {
        for (arguments, said) in [
            (Arguments::new(), "argument `path` is missing"),
            (Arguments::new().with("p"), "argument `count` is missing"),
            (
                named("count", "three"),
                "argument `count`: it is string \"three\", and an integer from 0 to 4294967295 is needed",
            ),
            (
                named("count", -1_i64),
                "argument `count`: it is integer `-1`, and an integer from 0 to 4294967295 is needed",
            ),
            (
                named("kount", 1_i64),
                "there is no argument `kount`; there are `path`, `count`, `ratio`, `mode`",
            ),
            (named("path", "q"), "argument `path` was given twice"),
            (
                (0..5_u8).fold(Arguments::new(), Arguments::with),
                "5 positional arguments were given, and it takes `path`, `count`, `ratio`, `mode`",
            ),
            (
                named("count", 1_u8).with_named("mode", 1_u8),
                "argument `mode`: it is an integer, and the name",
            ),
        ] {
            let err = arguments.parse::<Sample>().unwrap_err().to_string();
            assert!(err.starts_with(said), "{err}");
        }
    }

    #[test]
    fn other_types_take_what_they_can() {
        let pair = || Arguments::new().with("a").with(2_u8);
        assert_eq!(pair().parse::<(String, u8)>(), Ok(("a".into(), 2)));
        assert!(pair().parse::<(String,)>().is_err() && pair().parse::<()>().is_err());
        assert_eq!(Arguments::new().parse::<()>(), Ok(()));
        assert!(Arguments::new().with_named("x", 1_u8).parse::<()>().is_err());
        assert_eq!(Arguments::new().with("a").parse::<String>(), Ok("a".into()));
        assert_eq!(Arguments::new().parse::<Option<String>>(), Ok(None));
        assert_eq!(Arguments::new().with(vec![1_u8, 2]).parse::<(Vec<u8>,)>(), Ok((vec![1, 2],)));
        let map = Arguments::new().with_named("x", 1_u8).parse::<BTreeMap<String, u8>>();
        assert_eq!(map, Ok(BTreeMap::from([("x".into(), 1)])));
    }
}
