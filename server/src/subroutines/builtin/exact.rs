//! Integers beyond 2^53, which jq and whatever else takes numbers of JSON for floating-point ones would round: written as text, and read as text or integers.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// An integer that no parser changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Exact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Exact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(Integer)?;
        T::try_from(value).map(Self).map_err(|_| D::Error::custom(format_args!("{value} is out of range")))
    }
}

struct Integer;

impl Visitor<'_> for Integer {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, or its digits as text")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i128, E> {
        text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_as_text_and_read_as_either() {
        assert_eq!(serde_json::to_string(&Exact(i64::MIN)).unwrap(), r#""-9223372036854775808""#);
        for text in ["18446744073709551615", r#""18446744073709551615""#] {
            assert_eq!(serde_json::from_str::<Exact<u64>>(text).unwrap(), Exact(u64::MAX));
        }
        assert_eq!(serde_json::from_str::<Exact<i64>>("-5").unwrap(), Exact(-5));
        for (text, said) in [
            ("-1", "-1 is out of range"),
            (r#""18446744073709551616""#, "18446744073709551616 is out of range"),
            (r#""5 s""#, "an integer, or its digits as text"),
            ("1.7e18", "an integer, or its digits as text"),
        ] {
            let err = serde_json::from_str::<Exact<u64>>(text).unwrap_err().to_string();
            assert!(err.contains(said), "{text}: {err}");
        }
    }
}
