//! The parameters of DECNET's element, and what stands after STRUCTURED-DATA.

use std::collections::HashMap;

use super::{is_blank, trim_end, trim_start};
use crate::{sd::value_end, swar};

/// Parameters by name, in order of first appearance, each with its last value.
#[derive(Debug, Clone)]
pub(super) struct Params<'a> {
    few: [Param<'a>; FEW],
    len: usize,
    /// All of them, once they are more than [`FEW`].
    many: Option<Box<Many<'a>>>,
}

/// A parameter as it came, escapes included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Param<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Comparing each name with each would let one hostile line cost minutes; these are looked up.
#[derive(Debug, Clone)]
struct Many<'a> {
    params: Vec<Param<'a>>,
    index: HashMap<&'a [u8], usize>,
}

impl<'a> Params<'a> {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            few: [Param::default(); FEW],
            len: 0,
            many: None,
        }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[Param<'a>] {
        self.many
            .as_ref()
            .map_or(&self.few[..self.len], |many| &many.params)
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.as_slice()
            .iter()
            .find(|param| param.name == name)
            .map(|param| param.value)
    }

    fn clear(&mut self) {
        self.len = 0;
        self.many = None;
    }

    #[inline]
    fn set(&mut self, param: Param<'a>) {
        if let Some(many) = &mut self.many {
            many.set(param);
        } else if let Some(first) = self.few[..self.len]
            .iter_mut()
            .find(|other| other.name == param.name)
        {
            first.value = param.value;
        } else if self.len < FEW {
            self.few[self.len] = param;
            self.len += 1;
        } else {
            let mut many = Many::new(&self.few);
            many.set(param);
            self.many = Some(Box::new(many));
        }
    }
}

impl<'a> Many<'a> {
    #[cold]
    fn new(few: &[Param<'a>]) -> Self {
        let index = few
            .iter()
            .enumerate()
            .map(|(at, param)| (param.name, at))
            .collect();
        Self {
            params: few.to_vec(),
            index,
        }
    }

    fn set(&mut self, param: Param<'a>) {
        let next = self.params.len();
        let at = *self.index.entry(param.name).or_insert(next);
        if at == next {
            self.params.push(param);
        } else {
            self.params[at].value = param.value;
        }
    }
}

/// Reads `rest`, which starts with `[`: fills `params` from the first element `relay@55555` and
/// gives the text after the elements. An element that is not closed has no parameters, and ends
/// all: the text is then what follows the first `]` and a blank, as DECNET has it.
#[inline]
pub(super) fn read<'a>(rest: &'a [u8], params: &mut Params<'a>) -> &'a [u8] {
    let (mut after, mut found) = (rest, false);
    while let [b'[', element @ ..] = after {
        let id = element
            .iter()
            .position(|octet| *octet == b']' || is_blank(*octet));
        let wanted = !found && id.is_some_and(|end| &element[..end] == RELAY);
        let closed = id.and_then(|end| read_element(&element[end..], params, wanted));
        let Some(next) = closed else {
            if wanted {
                params.clear();
            }
            return text_after_bracket(rest);
        };
        found |= wanted;
        after = next;
    }
    trim_end(trim_start(after))
}

/// Reads an element from behind its SD-ID to behind its `]`. Words that are no parameters are
/// passed over.
#[inline]
fn read_element<'a>(text: &'a [u8], params: &mut Params<'a>, wanted: bool) -> Option<&'a [u8]> {
    let mut at = 0;
    loop {
        while is_blank(*text.get(at)?) {
            at += 1;
        }
        let start = at;
        // Names have no octet below 0x21; a word that has one is no parameter.
        at = swar::find(text, at, |word| {
            swar::equal(word, b'=') | swar::equal(word, b']') | swar::below(word, 0x21)
        })?;
        if text[at] == b'=' && at > start && text.get(at + 1) == Some(&b'"') {
            let name = &text[start..at];
            let end = value_end(text, at + 2)?;
            if wanted {
                params.set(Param {
                    name,
                    value: &text[at + 2..end],
                });
            }
            at = end + 1;
            continue;
        }
        while text[at] != b']' && !is_blank(text[at]) {
            at += 1;
            text.get(at)?;
        }
        if text[at] == b']' {
            return Some(&text[at + 1..]);
        }
    }
}

#[cold]
fn text_after_bracket(rest: &[u8]) -> &[u8] {
    memchr::memchr_iter(b']', rest)
        .find(|at| rest.get(at + 1).is_some_and(|octet| is_blank(*octet)))
        .map_or(b"", |at| trim_end(trim_start(&rest[at + 1..])))
}

/// The element that DECNET's emitters write.
const RELAY: &[u8] = b"relay@55555";

/// More parameters than most of DECNET's events have.
const FEW: usize = 16;
