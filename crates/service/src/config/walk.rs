//! Deserializes a tree into a program's structure and goes on after errors.
//!
//! serde stops at the first error, so the walk is repeated: what was wrong is noted and in the next pass replaced by
//! a wildcard that answers whatever type is asked for, until a pass succeeds. Derived structures announce their key
//! lists, which is how unknown keys are found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::tree::{Node, Value, join};
use super::{Problem, Problems};

/// More passes than problems that anyone reads at once.
const MAX_PASSES: usize = 1000;

/// Gives the structure, or every problem of the tree.
pub(super) fn value<T: DeserializeOwned>(file: &Path, root: &Node) -> Result<T, Problems> {
    let mut problems = Problems::new();
    let mut wild = BTreeSet::new();
    for _ in 0..MAX_PASSES {
        let pass = Pass {
            wild: &wild,
            unknown: RefCell::default(),
        };
        let result = T::deserialize(At {
            node: root,
            pass: &pass,
        });
        let unknown = pass.unknown.into_inner();
        let error = match result {
            Ok(value) => {
                let found = unknown.into_iter().map(|(key, (line, what))| Problem {
                    file: file.to_owned(),
                    line,
                    key,
                    what,
                });
                problems.0.extend(found);
                return problems.none_or(value);
            }
            Err(error) => error,
        };
        let table = error.path.unwrap_or_default();
        let (mut key, what) = match error.kind {
            Kind::Missing(field) => (join(&table, field), "missing".to_owned()),
            Kind::Other(what) => (table, what),
        };
        if !wild.contains(&key) {
            problems.push(Problem {
                file: file.to_owned(),
                line: error.line,
                key: key.clone(),
                what,
            });
        }
        // A wildcard that did not fit takes its table with it.
        while !wild.insert(key.clone()) {
            if key.is_empty() {
                return problems.none_or(()).and_then(|()| Err(Problems::new()));
            }
            key = key
                .rsplit_once('.')
                .map_or_else(String::new, |(t, _)| t.to_owned());
        }
    }
    Err(problems)
}

/// What one pass knows and finds.
struct Pass<'a> {
    wild: &'a BTreeSet<String>,
    unknown: RefCell<BTreeMap<String, (u32, String)>>,
}

/// The deserializer at one node.
struct At<'de, 'a> {
    node: &'de Node,
    pass: &'a Pass<'a>,
}

#[derive(Debug)]
struct Error {
    path: Option<String>,
    line: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Missing(&'static str),
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Missing(field) => write!(f, "missing key {field}"),
            Kind::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self {
            path: None,
            line: 1,
            kind: Kind::Other(what.to_string()),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            path: None,
            line: 1,
            kind: Kind::Missing(field),
        }
    }
}

impl<'de> At<'de, '_> {
    fn here<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error.path {
            Some(_) => error,
            None => Error {
                path: Some(self.node.path.clone()),
                line: self.node.line,
                kind: error.kind,
            },
        })
    }

    fn wild(&self) -> bool {
        self.pass.wild.contains(&self.node.path)
    }

    /// Visits a table; with a key list, keys outside of it are noted and passed over.
    fn table<V: Visitor<'de>>(
        &self,
        entries: &'de [(String, Node)],
        keys: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let known = |name: &str| keys.is_none_or(|keys| keys.contains(&name));
        for (name, node) in entries.iter().filter(|(name, _)| !known(name)) {
            let what = unknown(name, keys.unwrap_or_default());
            let mut unknown = self.pass.unknown.borrow_mut();
            unknown.insert(node.path.clone(), (node.line, what));
        }
        let present = entries.iter().filter(|(name, _)| known(name));
        let absent = keys.unwrap_or_default().iter().filter(|key| {
            entries.iter().all(|(name, _)| name != *key)
                && self.pass.wild.contains(&join(&self.node.path, key))
        });
        visitor.visit_map(Entries {
            items: present
                .map(|(name, node)| (name.as_str(), Some(node)))
                .chain(absent.map(|key| (*key, None)))
                .collect::<Vec<_>>()
                .into_iter(),
            next: None,
            pass: self.pass,
        })
    }
}

impl<'de> de::Deserializer<'de> for At<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.wild() {
            return self.here(Wild.deserialize_any(visitor));
        }
        let result = match &self.node.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter(),
                pass: self.pass,
            }),
            Value::Table(entries) => self.table(entries, None, visitor),
            Value::Other(text) => Err(de::Error::invalid_type(
                de::Unexpected::Other(&format!("`{text}`")),
                &visitor,
            )),
        };
        self.here(result)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            _ if self.wild() => self.here(Wild.deserialize_struct(name, keys, visitor)),
            Value::Table(entries) => self.here(self.table(entries, Some(keys), visitor)),
            // Not its other shapes: a list in place of a table is a mistake in a configuration.
            Value::Array(_) => {
                let error = de::Error::invalid_type(de::Unexpected::Seq, &"a table");
                self.here(Err(error))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.wild() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            _ if self.wild() => Wild.deserialize_enum(name, variants, visitor),
            Value::Text(text) if !variants.contains(&text.as_str()) => {
                let choices = variants.join("\", \"");
                let what = format!("`{text}` is none of \"{choices}\"");
                Err(de::Error::custom(what))
            }
            Value::Text(text) => {
                let text: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            Value::Table(entries) => self.table(entries, None, EnumTable(visitor)),
            _ => return self.deserialize_any(visitor),
        };
        self.here(result)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

/// Reads `{ variant = content }` as an enum.
struct EnumTable<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for EnumTable<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(MapAccessDeserializer::new(map))
    }
}

struct Items<'de, 'a> {
    items: std::slice::Iter<'de, Node>,
    pass: &'a Pass<'a>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let pass = self.pass;
        self.items
            .next()
            .map(|node| seed.deserialize(At { node, pass }))
            .transpose()
    }
}

struct Entries<'de, 'a> {
    items: std::vec::IntoIter<(&'de str, Option<&'de Node>)>,
    next: Option<Option<&'de Node>>,
    pass: &'a Pass<'a>,
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, node)) = self.items.next() else {
            return Ok(None);
        };
        self.next = Some(node);
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.next.take().flatten() {
            Some(node) => seed.deserialize(At {
                node,
                pass: self.pass,
            }),
            None => seed.deserialize(Wild),
        }
    }
}

/// Answers whatever is asked for with an empty value of that kind.
struct Wild;

impl<'de> de::Deserializer<'de> for Wild {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(false)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str("")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str("")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let none: [u8; 0] = [];
        visitor.visit_seq(de::value::SeqDeserializer::new(none.into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let none: [(u8, u8); 0] = [];
        visitor.visit_map(de::value::MapDeserializer::new(none.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(de::value::MapDeserializer::new(
            keys.iter().map(|key| (*key, Wild)),
        ))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let first = variants.first().copied().unwrap_or_default();
        let first: StrDeserializer<'_, Error> = first.into_deserializer();
        visitor.visit_enum(first)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

impl de::IntoDeserializer<'_, Error> for Wild {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The message for an unknown key, with the nearest known one.
fn unknown(name: &str, keys: &[&str]) -> String {
    let near = keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(name, key), *key))
        .filter(|(distance, key)| *distance <= 1 + key.len().min(name.len()) / 4)
        .min();
    let other_style = name.replace('-', "_");
    match near {
        _ if keys.contains(&other_style.as_str()) => {
            format!("unknown key; did you mean `{other_style}`?")
        }
        Some((_, key)) => format!("unknown key; did you mean `{key}`?"),
        None if keys.is_empty() => "unknown key; this table takes none".to_owned(),
        None => format!("unknown key; known here: {}", keys.join(", ")),
    }
}
