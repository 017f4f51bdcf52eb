//! STRUCTURED-DATA (RFC 5424 §6.3): checked once, walked without allocation.

use std::borrow::Cow;

use crate::{Field, ParseError, swar};

/// The STRUCTURED-DATA of a message that was parsed: legal text, elements in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructuredData<'a> {
    text: &'a str,
}

impl<'a> StructuredData<'a> {
    /// The octets as they came: `-`, or one or more elements.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether it is the NILVALUE.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.text == "-"
    }

    /// The elements, in order; duplicates are kept.
    #[must_use]
    pub fn iter(&self) -> Elements<'a> {
        Elements {
            rest: if self.is_nil() { "" } else { self.text },
        }
    }

    /// Checks the field at `at` and says where it ends.
    pub(crate) fn parse(buf: &'a [u8], at: usize) -> Result<(Self, usize), ParseError> {
        let end = match scan(buf, at) {
            Ok(end) => end,
            Err(error) => {
                // A bad octet in a value before it comes first.
                text(&buf[at..error.at], at)?;
                return Err(error);
            }
        };
        Ok((
            Self {
                text: text(&buf[at..end], at)?,
            },
            end,
        ))
    }
}

impl<'a> IntoIterator for StructuredData<'a> {
    type Item = Element<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// The elements of a message; see [`StructuredData::iter`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a str,
}

/// One SD-ELEMENT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// SD-ID.
    pub id: &'a str,
    params: &'a str,
}

impl<'a> Element<'a> {
    /// The parameters, in order; duplicates are kept.
    #[must_use]
    pub const fn params(&self) -> Params<'a> {
        Params { rest: self.params }
    }
}

/// The parameters of an element; see [`Element::params`].
#[derive(Debug, Clone)]
pub struct Params<'a> {
    rest: &'a str,
}

/// One SD-PARAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// PARAM-NAME.
    pub name: &'a str,
    /// PARAM-VALUE as it came, escapes included.
    pub raw: &'a str,
}

impl<'a> Param<'a> {
    /// The value without its escapes; allocates only if there are any.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        if !self.raw.contains('\\') {
            return Cow::Borrowed(self.raw);
        }
        let mut value = String::with_capacity(self.raw.len());
        let mut octets = self.raw.chars();
        while let Some(octet) = octets.next() {
            let rest = octets.as_str();
            // RFC 5424 §6.3.3: a backslash before anything else is a regular backslash.
            if octet == '\\' && rest.starts_with(['"', '\\', ']']) {
                value.extend(octets.next());
            } else {
                value.push(octet);
            }
        }
        Cow::Owned(value)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let body = self.rest.strip_prefix('[')?;
        let id_end = body.find([' ', ']'])?;
        let (id, after) = body.split_at(id_end);
        let mut params = Params { rest: after };
        while params.next().is_some() {}
        let taken = after.len() - params.rest.len();
        self.rest = params.rest.strip_prefix(']').unwrap_or("");
        Some(Element {
            id,
            params: &after[..taken],
        })
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let body = self.rest.strip_prefix(' ')?;
        let (name, after) = body.split_once("=\"")?;
        let end = value_end(after.as_bytes(), 0)?;
        self.rest = &after[end + 1..];
        Some(Param {
            name,
            raw: &after[..end],
        })
    }
}

/// Where the closing quote of the value that starts at `at` is.
#[inline]
pub(crate) fn value_end(buf: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = quote_or_backslash(buf, at)?;
        if buf[at] == b'"' {
            return Some(at);
        }
        // Any octet after a backslash belongs to it here: only a quote could close the value, and
        // the octets of a longer character are no quotes.
        at += 2;
    }
}

/// Most values are short, most of the rest are long: two words by hand, then the wide search.
#[inline]
fn quote_or_backslash(buf: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..2 {
        let Some(chunk) = buf.get(at..)?.first_chunk() else {
            break;
        };
        let word = u64::from_le_bytes(*chunk);
        let found = swar::either(word, b'"', b'\\');
        if found != 0 {
            return Some(at + swar::lowest(found));
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &buf[at..]).map(|found| at + found)
}

fn text(octets: &[u8], base: usize) -> Result<&str, ParseError> {
    std::str::from_utf8(octets).map_err(|error| {
        ParseError::new(
            base + error.valid_up_to(),
            Field::StructuredData,
            "value is not UTF-8",
        )
    })
}

/// Where STRUCTURED-DATA ends, by its structure alone; names are checked, values may be any octets.
fn scan(buf: &[u8], start: usize) -> Result<usize, ParseError> {
    let fail = |at, why| Err(ParseError::new(at, Field::StructuredData, why));
    let mut at = start;
    match buf.get(at) {
        Some(b'-') => return Ok(at + 1),
        Some(b'[') => {}
        _ => return fail(at, "neither `-` nor `[`"),
    }
    while buf.get(at) == Some(&b'[') {
        at = name(buf, at + 1)?;
        while buf.get(at) == Some(&b' ') {
            at = name(buf, at + 1)?;
            if buf.get(at) != Some(&b'=') {
                return fail(at, "`=` expected after a parameter's name");
            }
            if buf.get(at + 1) != Some(&b'"') {
                return fail(at + 1, "`\"` expected before a value");
            }
            at = value(buf, at + 2)?;
        }
        if buf.get(at) != Some(&b']') {
            return fail(at, "`]` expected after an element");
        }
        at += 1;
    }
    Ok(at)
}

/// Where the SD-NAME that starts at `start` ends.
fn name(buf: &[u8], start: usize) -> Result<usize, ParseError> {
    let legal =
        |octet: &&u8| matches!(**octet, 0x21..=0x7E) && !matches!(**octet, b'=' | b']' | b'"');
    let len = buf[start..]
        .iter()
        .take(NAME_MAX + 1)
        .take_while(legal)
        .count();
    match len {
        0 => Err(ParseError::new(
            start,
            Field::StructuredData,
            "name expected",
        )),
        1..=NAME_MAX => Ok(start + len),
        _ => Err(ParseError::new(
            start + NAME_MAX,
            Field::StructuredData,
            "name longer than 32 octets",
        )),
    }
}

/// One past the quote that closes the value that starts at `at`.
fn value(buf: &[u8], mut at: usize) -> Result<usize, ParseError> {
    loop {
        let Some(found) = memchr::memchr3(b'"', b'\\', b']', &buf[at..]) else {
            return Err(ParseError::new(
                buf.len(),
                Field::StructuredData,
                "value is not closed",
            ));
        };
        at += found;
        match (buf[at], buf.get(at + 1)) {
            (b'"', _) => return Ok(at + 1),
            (b'\\', Some(b'"' | b'\\' | b']')) => at += 2,
            (b'\\', _) => at += 1,
            _ => {
                let why = "`]` in a value must be escaped";
                return Err(ParseError::new(at, Field::StructuredData, why));
            }
        }
    }
}

/// The longest SD-ID or PARAM-NAME (RFC 5424 §6).
const NAME_MAX: usize = 32;

#[cfg(test)]
mod tests;
