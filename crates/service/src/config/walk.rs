//! Deserializes a tree into a program's structure and goes on after errors.
//!
//! serde stops at the first error, so the walk is repeated: what was wrong is noted and in the next pass replaced by
//! a wildcard that answers whatever type is asked for, until a pass succeeds. Derived structures announce their key
//! lists, which is how unknown keys are found.

mod wild;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::tree::{Node, Value, join};
use super::{Problem, Problems};
use wild::{TEXTS, Wild};

/// More passes than problems that anyone reads at once.
const MAX_PASSES: usize = 1000;

/// Gives the structure, with the keys that it does not know, or every problem of the tree.
pub(super) fn value<T: DeserializeOwned>(
    file: &Path,
    root: &Node,
) -> Result<(T, Problems), Problems> {
    let mut problems = Problems::new();
    let problem = |key: &str, line, what| Problem {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
        what,
    };
    let mut wild = BTreeMap::new();
    for _ in 0..MAX_PASSES {
        let pass = Pass {
            wild: &wild,
            unknown: RefCell::default(),
        };
        let at = At {
            node: root,
            pass: &pass,
        };
        let error = match T::deserialize(at) {
            Ok(value) => {
                let unknown = pass.unknown.into_inner();
                let found = unknown
                    .into_iter()
                    .map(|(key, (line, what))| problem(&key, line, what));
                let right = problems.0.is_empty();
                problems.0.extend(found);
                return if right {
                    Ok((value, problems))
                } else {
                    Err(problems.sorted())
                };
            }
            Err(error) => error,
        };
        let table = error.path.unwrap_or_default();
        let (key, what) = match error.kind {
            Kind::Missing(field) => (join(&table, field), "missing".to_owned()),
            Kind::Other(what) => (table, what),
        };
        if !wild.contains_key(&key) {
            problems.push(problem(&key, error.line, what));
        }
        if !replace(&mut wild, &key) {
            break;
        }
    }
    // Nothing fits the whole: the unknown keys stay unsaid until what is listed here is mended.
    Err(problems.sorted())
}

/// Makes the value of `key` a wildcard, or lets it try its next text; when all are tried, its table becomes one.
/// False when the whole file is one and does not fit.
fn replace(wild: &mut BTreeMap<String, usize>, key: &str) -> bool {
    match wild.get_mut(key) {
        None => {
            wild.insert(key.to_owned(), 0);
            true
        }
        Some(text) if *text + 1 < TEXTS.len() => {
            *text += 1;
            true
        }
        Some(_) if key.is_empty() => false,
        Some(_) => replace(wild, key.rsplit_once('.').map_or("", |(table, _)| table)),
    }
}

/// What one pass knows and finds.
struct Pass<'a> {
    /// Keys whose value is a wildcard, with the text it offers.
    wild: &'a BTreeMap<String, usize>,
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
    /// Reads the node's value. An error that knows no place is the node's: conversions fail after the text was read.
    fn read<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let node = self.node;
        seed.deserialize(self).map_err(|error| match error.path {
            Some(_) => error,
            None => Error {
                path: Some(node.path.clone()),
                line: node.line,
                kind: error.kind,
            },
        })
    }

    fn wild(&self) -> Option<Wild> {
        self.pass.wild.get(&self.node.path).map(|text| Wild(*text))
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
        let absent = keys.unwrap_or_default().iter().filter_map(|key| {
            let path = join(&self.node.path, key);
            let text = self.pass.wild.get(&path)?;
            let absent = entries.iter().all(|(name, _)| name != key);
            absent.then_some((*key, Item::Absent(path, Wild(*text))))
        });
        visitor.visit_map(Entries {
            items: present
                .map(|(name, node)| (name.as_str(), Item::Present(node)))
                .chain(absent)
                .collect::<Vec<_>>()
                .into_iter(),
            next: None,
            pass: self.pass,
        })
    }
}

/// Methods by which a wildcard learns what it is asked for; a value of the file is what it is.
macro_rules! as_asked {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.wild() {
                Some(wild) => wild.$method(visitor),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for At<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some(wild) = self.wild() {
            return wild.deserialize_any(visitor);
        }
        match &self.node.value {
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
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Some(wild) = self.wild() {
            return wild.deserialize_struct(name, keys, visitor);
        }
        let unexpected = match &self.node.value {
            Value::Table(entries) => return self.table(entries, Some(keys), visitor),
            Value::Text(text) => de::Unexpected::Str(text),
            Value::Integer(number) => de::Unexpected::Signed(*number),
            Value::Float(number) => de::Unexpected::Float(*number),
            Value::Boolean(boolean) => de::Unexpected::Bool(*boolean),
            // serde would take a list for a structure; in a configuration it is a mistake.
            Value::Array(_) => de::Unexpected::Seq,
            Value::Other(text) => de::Unexpected::Other(text),
        };
        Err(de::Error::invalid_type(unexpected, &"a table"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.wild().is_some() {
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
        if let Some(wild) = self.wild() {
            return wild.deserialize_enum(name, variants, visitor);
        }
        match &self.node.value {
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
            _ => self.deserialize_any(visitor),
        }
    }

    as_asked! { deserialize_bool deserialize_str deserialize_string deserialize_seq deserialize_map }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct identifier ignored_any
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
            .map(|node| At { node, pass }.read(seed))
            .transpose()
    }
}

struct Entries<'de, 'a> {
    items: std::vec::IntoIter<(&'de str, Item<'de>)>,
    next: Option<Item<'de>>,
    pass: &'a Pass<'a>,
}

/// An entry of a table: one of the file's, or a wildcard for one that is missing there.
enum Item<'de> {
    Present(&'de Node),
    Absent(String, Wild),
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, item)) = self.items.next() else {
            return Ok(None);
        };
        self.next = Some(item);
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let pass = self.pass;
        match self.next.take() {
            Some(Item::Present(node)) => At { node, pass }.read(seed),
            Some(Item::Absent(path, wild)) => {
                seed.deserialize(wild).map_err(|error: Error| Error {
                    path: error.path.or(Some(path)),
                    ..error
                })
            }
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
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
