//! The language of stored values: every noun knows its JSON and back, and a broken one is named by its path.
//!
//! Enters and leaves: plain values and `serde_json::Value`. Reading is strict on purpose: a field that is missing,
//! unknown or of another type is an error, because a record that lost a part must stop its app, not mislead it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::StoreError;
use crate::model::{ClusterName, Digest, GroupKind, KeyParts, Millis, ObjectKey, Timestamp};

/// A value with a stored form.
pub(super) trait Wire: Sized {
    /// The stored form.
    fn to_wire(&self) -> Value;

    /// Reads the stored form that lies at `at`.
    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError>;
}

/// Where a value lies in the stored document, kept as a chain so that only errors pay for the text.
pub(super) enum Path<'a> {
    /// The document's own name.
    Root(&'static str),
    /// A field.
    Field(&'a Path<'a>, &'a str),
    /// A place in a list.
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// The error that names this place. Reasons never quote what is stored.
    pub(super) fn broken(&self, reason: &str) -> StoreError {
        StoreError::Broken { field: self.to_string(), reason: reason.to_owned() }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The fields of a stored mapping, none missing and none too many.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: &'a Path<'a>,
}

impl<'a> Fields<'a> {
    /// The mapping at `at`, which may hold `names` and nothing else.
    pub(super) fn of(value: &'a Value, at: &'a Path<'a>, names: &[&str]) -> Result<Self, StoreError> {
        let map = value.as_object().ok_or_else(|| at.broken("not a mapping"))?;
        if let Some(unknown) = map.keys().find(|key| !names.contains(&key.as_str())) {
            return Err(Path::Field(at, unknown).broken("unknown field"));
        }
        Ok(Self { map, at })
    }

    /// Reads the field `name`.
    pub(super) fn read<T: Wire>(&self, name: &str) -> Result<T, StoreError> {
        let at = Path::Field(self.at, name);
        let value = self.map.get(name).ok_or_else(|| at.broken("missing"))?;
        T::from_wire(value, &at)
    }

    /// Reads the field `name`, which records from before it came do not have.
    pub(super) fn read_later<T: Wire + Default>(&self, name: &str) -> Result<T, StoreError> {
        if self.map.contains_key(name) { self.read(name) } else { Ok(T::default()) }
    }
}

/// Gives a struct its stored form, field by field. Destructuring without `..` makes a forgotten field a compile error.
macro_rules! wire_struct {
    ($type:ty { $($field:ident: $name:literal),+ $(,)? }) => {
        wire_struct!($type { $($field: $name),+ } later {});
    };
    // Fields that came later: what has the default is left out, and what is missing has it.
    ($type:ty { $($field:ident: $name:literal),+ $(,)? } later { $($late:ident: $late_name:literal),* $(,)? }) => {
        impl Wire for $type {
            fn to_wire(&self) -> Value {
                let Self { $($field,)+ $($late,)* } = self;
                #[allow(unused_mut, reason = "most structs have no later field")]
                let mut map = Map::from_iter([$(($name.to_owned(), $field.to_wire())),+]);
                $(if !$crate::store::wire::is_default($late) {
                    map.insert($late_name.to_owned(), $late.to_wire());
                })*
                Value::Object(map)
            }

            fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
                let fields = Fields::of(value, at, &[$($name,)+ $($late_name,)*])?;
                Ok(Self { $($field: fields.read($name)?,)+ $($late: fields.read_later($late_name)?,)* })
            }
        }
    };
}

/// Whether a later field can be left out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Gives an enum without data its stored words.
macro_rules! wire_words {
    ($type:ty { $($variant:ident: $word:literal),+ $(,)? }) => {
        impl Wire for $type {
            fn to_wire(&self) -> Value {
                Value::from(match self { $(Self::$variant => $word),+ })
            }

            fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)+
                    Some(_) | None => Err(at.broken(concat!("not one of", $(" `", $word, "`"),+))),
                }
            }
        }
    };
}

/// Gives an enum with named data its stored form: a mapping whose field `$tag` names the variant.
macro_rules! wire_tagged {
    ($type:ty, $tag:literal { $($variant:ident: $word:literal { $($field:ident: $name:literal),* $(,)? }),+ $(,)? }) => {
        impl Wire for $type {
            fn to_wire(&self) -> Value {
                match self {
                    $(Self::$variant { $($field),* } => Value::Object(Map::from_iter([
                        ($tag.to_owned(), Value::from($word)),
                        $(($name.to_owned(), $field.to_wire())),*
                    ]))),+
                }
            }

            fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
                match value.get($tag).and_then(Value::as_str) {
                    $(Some($word) => {
                        let _fields = Fields::of(value, at, &[$tag, $($name),*])?;
                        Ok(Self::$variant { $($field: _fields.read($name)?),* })
                    })+
                    Some(_) | None => Err(Path::Field(at, $tag).broken(concat!("not one of", $(" `", $word, "`"),+))),
                }
            }
        }
    };
}

pub(super) use {wire_struct, wire_tagged, wire_words};

impl Wire for String {
    fn to_wire(&self) -> Value {
        Value::from(self.as_str())
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_str().map(str::to_owned).ok_or_else(|| at.broken("not text"))
    }
}

impl Wire for bool {
    fn to_wire(&self) -> Value {
        Value::from(*self)
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_bool().ok_or_else(|| at.broken("neither true nor false"))
    }
}

impl Wire for u64 {
    fn to_wire(&self) -> Value {
        Value::from(*self)
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_u64().ok_or_else(|| at.broken("not a whole number from 0"))
    }
}

impl Wire for u32 {
    fn to_wire(&self) -> Value {
        Value::from(*self)
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        Self::try_from(u64::from_wire(value, at)?).map_err(|_| at.broken("too large"))
    }
}

impl Wire for usize {
    fn to_wire(&self) -> Value {
        Value::from(*self)
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        Self::try_from(u64::from_wire(value, at)?).map_err(|_| at.broken("too large"))
    }
}

/// JSON has no NaN and no infinity: they are stored as null, which an `Option` reads as "no value".
impl Wire for f64 {
    fn to_wire(&self) -> Value {
        Value::from(*self)
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_f64().ok_or_else(|| at.broken("not a number"))
    }
}

impl Wire for Millis {
    fn to_wire(&self) -> Value {
        self.0.to_wire()
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        u64::from_wire(value, at).map(Self)
    }
}

impl Wire for Timestamp {
    fn to_wire(&self) -> Value {
        Value::from(self.to_string())
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| at.broken("not a moment in RFC 3339"))
    }
}

impl Wire for Digest {
    fn to_wire(&self) -> Value {
        Value::from(self.to_string())
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_str().and_then(Self::parse).ok_or_else(|| at.broken("not a digest of 64 hex digits"))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn to_wire(&self) -> Value {
        self.as_ref().map_or(Value::Null, Wire::to_wire)
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        if value.is_null() { Ok(None) } else { T::from_wire(value, at).map(Some) }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn to_wire(&self) -> Value {
        Value::Array(self.iter().map(Wire::to_wire).collect())
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        let items = value.as_array().ok_or_else(|| at.broken("not a list"))?;
        items.iter().enumerate().map(|(index, item)| T::from_wire(item, &Path::Index(at, index))).collect()
    }
}

impl Wire for ObjectKey {
    fn to_wire(&self) -> Value {
        Value::String(key_text(self))
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        value.as_str().and_then(parse_key).ok_or_else(|| at.broken("not an object's key"))
    }
}

impl<T: Wire> Wire for BTreeMap<ObjectKey, T> {
    fn to_wire(&self) -> Value {
        Value::Object(self.iter().map(|(key, value)| (key_text(key), value.to_wire())).collect())
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        let entries = value.as_object().ok_or_else(|| at.broken("not a mapping"))?;
        entries
            .iter()
            .map(|(text, value)| {
                let at = Path::Field(at, text);
                let key = parse_key(text).ok_or_else(|| at.broken("not an object's key"))?;
                Ok((key, T::from_wire(value, &at)?))
            })
            .collect()
    }
}

impl Wire for BTreeSet<ObjectKey> {
    fn to_wire(&self) -> Value {
        Value::Array(self.iter().map(|key| Value::String(key_text(key))).collect())
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        let keys = value.as_array().ok_or_else(|| at.broken("not a list"))?;
        let read =
            |key: &Value| key.as_str().and_then(parse_key).ok_or_else(|| at.broken("not a list of objects' keys"));
        keys.iter().map(read).collect()
    }
}

/// `group/kind/namespace/name`, with `cluster/` before it unless the object lives in the agent's own cluster. None of
/// group, kind, namespace and name can hold a slash; a cluster's name may.
pub(super) fn key_text(key: &ObjectKey) -> String {
    let KeyParts { cluster, kind: GroupKind { group, kind }, namespace, name } = &**key;
    if *cluster == ClusterName::local() {
        format!("{group}/{kind}/{namespace}/{name}")
    } else {
        format!("{}/{group}/{kind}/{namespace}/{name}", cluster.0)
    }
}

/// Reads what [`key_text`] wrote.
pub(super) fn parse_key(text: &str) -> Option<ObjectKey> {
    let mut parts = text.rsplitn(5, '/');
    let (name, namespace, kind, group) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let cluster = parts.next().map_or_else(ClusterName::local, |cluster| ClusterName(cluster.into()));
    if name.is_empty() || kind.is_empty() {
        return None;
    }
    Some(ObjectKey::new(cluster, GroupKind::new(group, kind), namespace, name))
}
