//! Arguments as JSON, for scripts and shells.
//!
//! An array has positional arguments, an object named ones; an object that has nothing but `args` (an array) and `kwargs` (an object) has both. Bytes
//! are an object with the one member `$bytes`, in Base64. Numbers without a fraction are integers. The depth is bounded by `serde_json` itself.

use data_encoding::BASE64;
use serde_json::{Map, Number, Value as Json};

use super::{Arguments, DEPTH_MAX, Value};

const BYTES: &str = "$bytes";
const POSITIONAL: &str = "args";
const NAMED: &str = "kwargs";

/// Why a text has no arguments.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("the arguments are no JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is neither an array nor an object.
    #[error("the arguments are {0}; give an array of positional ones, or an object of named ones")]
    Kind(&'static str),
    /// `$bytes` with something that is no Base64.
    #[error("`{BYTES}` is not Base64")]
    Bytes,
    /// Values in values in values.
    #[error("values are nested more than {DEPTH_MAX} deep")]
    Depth,
}

impl Value {
    /// The value of a JSON text.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        Self::of(serde_json::from_slice(text)?, 0)
    }

    fn of(json: Json, depth: usize) -> Result<Self, JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth);
        }
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => number_of(&number),
            Json::String(text) => Self::Text(text),
            Json::Array(values) => Self::List(list_of(values, depth)?),
            Json::Object(members) => match bytes_of(&members) {
                Some(bytes) => Self::Bytes(bytes?),
                None => Self::Map(map_of(members, depth)?),
            },
        })
    }

    /// As JSON. A number that JSON does not have is null.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::I64(value) => Json::from(*value),
            Self::U64(value) => Json::from(*value),
            Self::F64(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::Text(text) => Json::String(text.clone()),
            Self::Bytes(bytes) => Json::from_iter([(BYTES, BASE64.encode(bytes))]),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(members) => Json::Object(object_of(members)),
        }
    }
}

impl Arguments {
    /// The arguments of a JSON text; none if it is empty.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::new());
        }
        match serde_json::from_slice(text)? {
            Json::Array(values) => Ok(Self { positional: list_of(values, 0)?, named: Vec::new() }),
            Json::Object(members) => Self::of(members),
            other => Err(JsonError::Kind(Value::of(other, 0)?.kind())),
        }
    }

    fn of(mut members: Map<String, Json>) -> Result<Self, JsonError> {
        let is_both = !members.is_empty()
            && members.iter().all(|(name, value)| match name.as_str() {
                POSITIONAL => value.is_array(),
                NAMED => value.is_object(),
                _ => false,
            });
        if !is_both {
            return Ok(Self { positional: Vec::new(), named: map_of(members, 0)? });
        }
        let positional = match members.remove(POSITIONAL) {
            Some(Json::Array(values)) => list_of(values, 0)?,
            _ => Vec::new(),
        };
        let named = match members.remove(NAMED) {
            Some(Json::Object(members)) => map_of(members, 0)?,
            _ => Vec::new(),
        };
        Ok(Self { positional, named })
    }

    /// As JSON, always with `args` and `kwargs`.
    pub fn to_json(&self) -> Json {
        let positional = self.positional.iter().map(Value::to_json).collect();
        Json::from_iter([(POSITIONAL, positional), (NAMED, Json::Object(object_of(&self.named)))])
    }
}

fn number_of(number: &Number) -> Value {
    let signed = number.as_i64().map(Value::I64);
    let unsigned = || number.as_u64().map(Value::U64);
    signed.or_else(unsigned).unwrap_or_else(|| Value::F64(number.as_f64().unwrap_or(f64::NAN)))
}

fn list_of(values: Vec<Json>, depth: usize) -> Result<Vec<Value>, JsonError> {
    values.into_iter().map(|value| Value::of(value, depth + 1)).collect()
}

fn map_of(members: Map<String, Json>, depth: usize) -> Result<Vec<(String, Value)>, JsonError> {
    members.into_iter().map(|(name, value)| Ok((name, Value::of(value, depth + 1)?))).collect()
}

fn object_of(members: &[(String, Value)]) -> Map<String, Json> {
    members.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
}

fn bytes_of(members: &Map<String, Json>) -> Option<Result<Vec<u8>, JsonError>> {
    let (1, Some(encoded)) = (members.len(), members.get(BYTES)) else { return None };
    let decoded = encoded.as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
    Some(decoded.ok_or(JsonError::Bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_arguments() {
        let one = || Arguments::new().with(1_i64);
        let named = || Arguments::new().with_named("a", true);
        for (text, expected) in [
            ("", Arguments::new()),
            (" \n", Arguments::new()),
            ("[]", Arguments::new()),
            ("{}", Arguments::new()),
            ("[1]", one()),
            (r#"{"a":true}"#, named()),
            (r#"{"args":[1]}"#, one()),
            (r#"{"args":[],"kwargs":{"a":true}}"#, named()),
            (r#"{"args":[1],"kwargs":{"a":true}}"#, one().with_named("a", true)),
            // Arguments that happen to be called so.
            (r#"{"args":1}"#, Arguments::new().with_named("args", 1_i64)),
            (
                r#"[null,-1,18446744073709551615,0.5,"t",{"$bytes":"AP8="},[2],{"k":"v"}]"#,
                Arguments::new()
                    .with(Value::Null)
                    .with(-1_i64)
                    .with(u64::MAX)
                    .with(0.5)
                    .with("t")
                    .with(vec![0_u8, 255])
                    .with(Value::List(vec![2_i64.into()]))
                    .with(Value::Map(vec![("k".into(), "v".into())])),
            ),
        ] {
            let read = Arguments::from_json(text.as_bytes()).unwrap();
            assert_eq!(read, expected, "{text}");
            let written = read.to_json().to_string();
            assert_eq!(Arguments::from_json(written.as_bytes()).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn what_has_no_arguments_says_why() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        for (text, said) in [
            ("5", "an integer"),
            (r#""x""#, "a text"),
            ("[1", "no JSON"),
            (r#"[{"$bytes":"?"}]"#, "Base64"),
            (r#"[{"$bytes":1}]"#, "Base64"),
            (&deep, "nested"),
        ] {
            let err = Arguments::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(err.contains(said), "{text}: {err}");
        }
    }
}
