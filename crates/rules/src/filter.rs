//! Which events a trigger is for, and the bounded cache of the patterns that say so.

use std::collections::{BTreeMap, HashMap};

use crate::{Severity, pattern::Pattern};

/// Compiled patterns that are kept, and those known not to compile.
pub const MAX_CACHED: usize = 256;

/// Which events a trigger is for: an empty list takes all, and everything stated must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    severities: Vec<Severity>,
    min_severity: Option<Severity>,
    /// In lower case.
    sources: Vec<String>,
    message: Option<String>,
}

/// What a filter says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is for the trigger.
    Match,
    /// It is not.
    NoMatch,
    /// The pattern does not compile, so nothing is for the trigger: to be shown in its status.
    Broken(String),
}

impl Filter {
    /// Makes a filter. `severities` is a set, not a least one; the message's pattern is unanchored.
    pub fn new(
        severities: Vec<Severity>,
        min_severity: Option<Severity>,
        sources: &[&str],
        message: Option<&str>,
    ) -> Self {
        Self {
            severities,
            min_severity,
            sources: sources
                .iter()
                .map(|text| text.to_ascii_lowercase())
                .collect(),
            message: message.map(str::to_owned),
        }
    }

    /// Says whether an event is for the trigger.
    pub fn judge(
        &self,
        patterns: &mut PatternCache,
        severity: Severity,
        source: &str,
        message: &str,
    ) -> Verdict {
        let severe = (self.severities.is_empty() || self.severities.contains(&severity))
            && self.min_severity.is_none_or(|least| severity >= least);
        let named = |known: &String| known.eq_ignore_ascii_case(source);
        let from = self.sources.is_empty() || self.sources.iter().any(named);
        // A broken pattern shows even when nothing else would match.
        let said = match &self.message {
            None => true,
            Some(text) => match patterns.compiled(text) {
                Ok(pattern) => severe && from && pattern.is_match(message.as_bytes(), usize::MAX),
                Err(error) => return Verdict::Broken(error.to_owned()),
            },
        };
        match severe && from && said {
            true => Verdict::Match,
            false => Verdict::NoMatch,
        }
    }
}

/// Compiled patterns by their text: at most [`MAX_CACHED`], the one not used for longest goes first.
#[derive(Debug, Default)]
pub struct PatternCache {
    known: HashMap<String, (Result<Pattern, String>, u64)>,
    /// The texts in the order of their last use.
    order: BTreeMap<u64, String>,
    turn: u64,
    compiled: u64,
}

impl PatternCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a pattern was compiled: more than there are patterns means that the cache is too small.
    pub fn compiled_total(&self) -> u64 {
        self.compiled
    }

    /// Patterns held.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn compiled(&mut self, text: &str) -> Result<&Pattern, &str> {
        self.turn += 1;
        if let Some((_, turn)) = self.known.get_mut(text) {
            if let Some(text) = self.order.remove(turn) {
                self.order.insert(self.turn, text);
            }
            *turn = self.turn;
        } else {
            if self.known.len() >= MAX_CACHED
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.known.remove(&oldest);
            }
            self.compiled += 1;
            let pattern = Pattern::filter(text).map_err(|error| error.to_string());
            self.known.insert(text.to_owned(), (pattern, self.turn));
            self.order.insert(self.turn, text.to_owned());
        }
        match self.known.get(text) {
            Some((Ok(pattern), _)) => Ok(pattern),
            Some((Err(error), _)) => Err(error),
            None => Err("not in the cache"),
        }
    }
}

#[cfg(test)]
mod tests;
