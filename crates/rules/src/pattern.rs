//! One pattern: checked, compiled, and matched against octets.

mod dialect;

use std::{fmt, ops::Range, sync::Arc};

use regex_automata::{Input, meta};
use regex_syntax::hir::Hir;

/// The longest pattern, in octets.
pub const MAX_PATTERN: usize = 1024;

/// The largest compiled form of one pattern, in octets: repetitions of large classes end here.
pub const MAX_COMPILED: usize = 1 << 20;

/// The largest number in a repetition, as in Go.
pub const MAX_REPETITION: u32 = 1000;

/// How deep groups may be nested.
pub const MAX_NESTING: u32 = 50;

/// Captures of one hit that are kept: the first groups of the pattern.
pub const MAX_CAPTURES: usize = 20;

/// The longest capture that is kept, in octets; longer ones are cut.
pub const MAX_CAPTURE: usize = 256;

/// What matching one line may cost: octets of the line times octets of the compiled pattern. Where an attacker knows how
/// to write a line for a pattern, each octet of it costs a look at the whole pattern; this is some tenths of a second.
/// Patterns up to 64 KiB see 64 KiB of a line.
const MAX_WORK: usize = 1 << 32;

/// What every pattern sees of a line, in octets, however large it is.
const MIN_REACH: usize = 4096;

/// What the cache of one pattern's lazy automaton may take, in octets: ten thousand small patterns fill 320 MiB if lines
/// are written to do so. Patterns larger than half of it have twice their size, up to the larger limit.
const CACHE: usize = 32 << 10;
const MAX_CACHE: usize = 256 << 10;

/// A pattern in the dialect of RE2 as Go has it: linear in the line, leftmost match, no look-around, no
/// back-references; `\d \w \s \b` are ASCII, `\Q…\E` is literal. Octets that are not UTF-8 each count as one character.
#[derive(Clone)]
pub struct Pattern(Arc<Compiled>);

struct Compiled {
    text: String,
    hir: Hir,
    regex: meta::Regex,
    /// What it sees of a line, in octets.
    reach: usize,
    /// The names of the groups after the whole match, as many as are kept.
    names: Vec<Arc<str>>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing to match.
    #[error("empty")]
    Empty,
    /// Longer than [`MAX_PATTERN`].
    #[error("{0} octets, longer than {MAX_PATTERN}")]
    TooLong(usize),
    /// The grammar.
    #[error("at character {at}: {what}")]
    Syntax {
        /// The character at which it goes wrong, counted from 1.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// A number over [`MAX_REPETITION`].
    #[error("at character {at}: repetition of {count}, more than {MAX_REPETITION}")]
    Repetition {
        /// The character at which the repetition stands, counted from 1.
        at: usize,
        /// The number.
        count: u32,
    },
    /// It would be a hit on each line.
    #[error("matches without a single character, so it would hit every line")]
    MatchesEmpty,
    /// No line can be a hit.
    #[error("can never match")]
    NeverMatches,
    /// Over [`MAX_COMPILED`].
    #[error("more than {MAX_COMPILED} octets when compiled: use smaller repetitions or classes")]
    TooBig,
}

/// A part of a line that a group of the pattern matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The group's name, or its number if it has none.
    pub name: Arc<str>,
    /// What it matched, cut at [`MAX_CAPTURE`], with U+FFFD for what is not UTF-8.
    pub text: String,
    /// Whether it was cut.
    pub truncated: bool,
}

/// Where a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The whole match, in octets of the text.
    pub span: Range<usize>,
    /// The groups that took part.
    pub captures: Vec<Capture>,
}

impl Pattern {
    /// Checks and compiles a pattern.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let pattern = Self::filter(text)?;
        match pattern.hir().properties().minimum_len() {
            Some(0) => Err(PatternError::MatchesEmpty),
            _ => Ok(pattern),
        }
    }

    /// As [`Pattern::new`], for a filter on messages, where matching the empty text (`^$`) has a meaning.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub(crate) fn filter(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong(text.len()));
        }
        let hir = dialect::parse(text)?;
        if hir.properties().minimum_len().is_none() {
            return Err(PatternError::NeverMatches);
        }
        let mut regex = compile(&hir, CACHE)?;
        let cache = (2 * regex.memory_usage()).min(MAX_CACHE);
        if cache > CACHE {
            regex = compile(&hir, cache)?;
        }
        let names = regex
            .group_info()
            .pattern_names(regex_automata::PatternID::ZERO)
            .enumerate()
            .skip(1)
            .take(MAX_CAPTURES)
            .map(|(at, name)| name.map_or_else(|| Arc::from(at.to_string()), Arc::from))
            .collect();
        Ok(Self(Arc::new(Compiled {
            text: text.to_owned(),
            hir,
            reach: reach(regex.memory_usage()),
            regex,
            names,
        })))
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The names of the groups that a hit would show.
    pub fn names(&self) -> &[Arc<str>] {
        &self.0.names
    }

    /// The compiled form's size, in octets.
    pub fn size(&self) -> usize {
        self.0.regex.memory_usage()
    }

    /// Whether the first `limit` octets of `text` contain a match. `$` is the end of `text`, not the limit. A pattern of
    /// more than 64 KiB when compiled sees less, but 4 KiB at least.
    pub fn is_match(&self, text: &[u8], limit: usize) -> bool {
        self.0.regex.is_match(self.input(text, limit))
    }

    /// The first match in the first `limit` octets of `text`.
    pub fn find(&self, text: &[u8], limit: usize) -> Option<Found> {
        let regex = &self.0.regex;
        let mut groups = regex.create_captures();
        regex.search_captures(&self.input(text, limit), &mut groups);
        let span = groups.get_match()?.range();
        let captures = self.0.names.iter().enumerate().filter_map(|(at, name)| {
            let octets = &text[groups.get_group(at + 1)?.range()];
            let (text, truncated) = crate::excerpt(octets, MAX_CAPTURE);
            Some(Capture {
                name: name.clone(),
                text,
                truncated,
            })
        });
        Some(Found {
            span,
            captures: captures.collect(),
        })
    }

    /// The octets that the group `name` matched, for the key of a cooldown.
    pub(crate) fn group<'t>(&self, name: &str, text: &'t [u8], limit: usize) -> Option<&'t [u8]> {
        let regex = &self.0.regex;
        let mut groups = regex.create_captures();
        regex.search_captures(&self.input(text, limit), &mut groups);
        Some(&text[groups.get_group_by_name(name)?.range()])
    }

    /// Whether the pattern has a group of this name.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        let id = regex_automata::PatternID::ZERO;
        self.0.regex.group_info().to_index(id, name).is_some()
    }

    fn input<'t>(&self, text: &'t [u8], limit: usize) -> Input<'t> {
        Input::new(text).range(..limit.min(self.0.reach).min(text.len()))
    }

    pub(crate) fn hir(&self) -> &Hir {
        &self.0.hir
    }
}

/// How much of a line a compiled form of this size may see.
pub(crate) fn reach(size: usize) -> usize {
    (MAX_WORK / size.max(1)).max(MIN_REACH)
}

fn compile(hir: &Hir, cache: usize) -> Result<meta::Regex, PatternError> {
    let config = meta::Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(MAX_COMPILED))
        .onepass_size_limit(Some(MAX_COMPILED))
        .hybrid_cache_capacity(cache);
    let mut builder = meta::Builder::new();
    builder
        .configure(config)
        .build_from_hir(hir)
        .map_err(|_| PatternError::TooBig)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text()).finish()
    }
}

#[cfg(test)]
mod tests;
