//! Pages of a program's own, beside those that all programs have.

use std::fmt;
use std::pin::Pin;

use hyper::body::Bytes;
use serde_json::Value;

/// A question on a page of the program's own.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST`, else `GET`.
    pub post: bool,
    /// The path, as it came: percent-encoded.
    pub path: String,
    /// The query behind `?`, percent-encoded; empty without one.
    pub query: String,
    /// What was posted, at most [`MAX_BODY`] octets.
    pub body: Bytes,
}

/// The answer: a status code and a JSON document.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status code.
    pub code: u16,
    /// The document.
    pub body: Value,
}

/// Pages of a program's own.
pub trait Routes: fmt::Debug + Send + Sync + 'static {
    /// Their paths, for whoever asks for one that is not there.
    fn pages(&self) -> &'static str;

    /// Answers; `None`: there is no such page.
    fn answer(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Option<Answer>> + Send + '_>>;
}

/// Most octets that may be posted: a line of a mebibyte, with its escapes.
pub const MAX_BODY: usize = 4 << 20;

impl Asked {
    /// A parameter of the query, decoded; `None` when it is not there, or is no UTF-8.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
        decode(&value.replace('+', " "))
    }

    /// The path's parts between its slashes, decoded; `None` when one is no UTF-8.
    pub fn segments(&self) -> Option<Vec<String>> {
        let parts = self.path.split('/').filter(|part| !part.is_empty());
        parts.map(decode).collect()
    }
}

/// RFC 3986 §2.1.
fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        if octet == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            octets.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            octets.push(octet);
            rest = after;
        }
    }
    String::from_utf8(octets).ok()
}
