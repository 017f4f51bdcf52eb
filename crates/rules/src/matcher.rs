//! Which rules a line might be a hit of: one pass for all patterns together.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use regex_automata::{Input, MatchKind, PatternSet, meta, nfa::thompson::WhichCaptures};

use crate::{
    Line, Pattern, Rule, Subject,
    index::Index,
    literals::{self, Texts},
    pattern::reach,
};

/// What the automaton of the patterns without a text to look for may take when compiled, and its cache, in octets. What
/// does not fit is tried one by one: at worst each octet of a line costs a look at all of it.
const MAX_AUTOMATON: usize = 256 << 10;
const CACHE: usize = 8 << 20;

/// Tells candidates: every rule that matches is one, and few others are.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    groups: Vec<Group>,
    /// For each rule, the group that it is in.
    group_of: Vec<u32>,
}

/// The rules that look at the same part of a line.
#[derive(Debug)]
struct Group {
    subject: Subject,
    /// Finds the texts that a pattern can't match without.
    index: Index,
    /// The patterns that have none, all in one automaton, with the rules that each belongs to.
    others: Together,
    /// How long a part it may be given.
    reach: usize,
    /// The rules whose patterns did not fit into it.
    always: Vec<u32>,
}

/// What one line needs while it is matched.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Candidates, in order once the line was looked at.
    pub(crate) candidates: Vec<u32>,
    /// The line at which a rule became a candidate last.
    seen: Vec<u64>,
    line: u64,
    patterns: Option<PatternSet>,
}

/// The parts of a line that rules look at, in the order of the groups.
pub(crate) struct Subjects<'a> {
    /// Apart from the others, as it is most often the only one.
    first: Option<Cow<'a, [u8]>>,
    others: Vec<Option<Cow<'a, [u8]>>>,
}

impl Matcher {
    /// A matcher of the enabled rules among these.
    pub(crate) fn new(rules: &[Arc<Rule>]) -> Self {
        let mut subjects: BTreeMap<&Subject, Vec<u32>> = BTreeMap::new();
        for (at, rule) in rules.iter().enumerate() {
            if rule.enabled && rule.pattern.is_some() {
                subjects.entry(&rule.on).or_default().push(at as u32);
            }
        }
        let mut group_of = vec![u32::MAX; rules.len()];
        for (group, members) in subjects.values().enumerate() {
            for at in members {
                group_of[*at as usize] = group as u32;
            }
        }
        let groups = subjects.iter();
        Self {
            groups: groups
                .map(|(subject, members)| Group::new((*subject).clone(), members, rules))
                .collect(),
            group_of,
        }
    }

    /// The parts of a line that are looked at.
    pub(crate) fn subjects<'a>(&self, line: &Line<'a>) -> Subjects<'a> {
        let mut parts = self.groups.iter().map(|group| line.subject(&group.subject));
        Subjects {
            first: parts.next().flatten(),
            others: parts.collect(),
        }
    }

    /// The part that a rule looks at.
    pub(crate) fn subject<'s>(&self, subjects: &'s Subjects<'_>, rule: u32) -> Option<&'s [u8]> {
        match self.group_of.get(rule as usize)? {
            0 => subjects.first.as_deref(),
            group => subjects.others.get(*group as usize - 1)?.as_deref(),
        }
    }

    /// Finds candidates in the first `limit` octets of each part, in order.
    pub(crate) fn candidates(&self, subjects: &Subjects<'_>, limit: usize, scratch: &mut Scratch) {
        scratch.line += 1;
        scratch.candidates.clear();
        scratch.seen.resize(self.group_of.len(), 0);
        let parts = std::iter::once(&subjects.first).chain(&subjects.others);
        for (group, part) in self.groups.iter().zip(parts) {
            if let Some(part) = part {
                group.candidates(part, limit, scratch);
            }
        }
        scratch.candidates.sort_unstable();
    }
}

impl Scratch {
    fn add(&mut self, rules: &[u32]) {
        for &rule in rules {
            let seen = &mut self.seen[rule as usize];
            if *seen != self.line {
                *seen = self.line;
                self.candidates.push(rule);
            }
        }
    }

    /// Forgets which rules were seen, as their places mean others now.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Group {
    fn new(subject: Subject, members: &[u32], rules: &[Arc<Rule>]) -> Self {
        // Rules of the same pattern share its place.
        let mut patterns: BTreeMap<&str, (&Pattern, Vec<u32>)> = BTreeMap::new();
        for &at in members {
            if let Some(pattern) = &rules[at as usize].pattern {
                let new = || (pattern, Vec::new());
                patterns
                    .entry(pattern.text())
                    .or_insert_with(new)
                    .1
                    .push(at);
            }
        }
        let patterns: Vec<(&Pattern, Vec<u32>)> = patterns.into_values().collect();
        let choices: Vec<Vec<Texts>> = patterns
            .iter()
            .map(|(pattern, _)| literals::required(pattern.hir()))
            .collect();
        let mut users: HashMap<&[u8], usize> = HashMap::new();
        for text in choices.iter().flatten().flatten() {
            *users.entry(text).or_default() += 1;
        }
        let mut texts: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
        let mut rest: Vec<usize> = Vec::new();
        for (at, sets) in choices.iter().enumerate() {
            // What few others look for tells more than what is long.
            let cost = |set: &&Texts| {
                let shared = set.iter().map(|text| users[text.as_slice()]).max();
                let shortest = set.iter().map(Vec::len).min().unwrap_or(0);
                (shortest < 4, shared, std::cmp::Reverse(shortest), set.len())
            };
            match sets.iter().min_by_key(cost) {
                Some(set) => {
                    for text in set {
                        texts.entry(text).or_default().extend(&patterns[at].1);
                    }
                }
                None => rest.push(at),
            }
        }
        let owned = texts
            .into_iter()
            .map(|(text, rules)| (text.to_vec(), rules));
        let index = Index::new(owned);
        let (others, always) = together(&patterns, &rest);
        let size = others
            .as_ref()
            .map_or(0, |(automaton, _)| automaton.memory_usage());
        Self {
            subject,
            index,
            reach: reach(size),
            others,
            always,
        }
    }

    fn candidates(&self, part: &[u8], limit: usize, scratch: &mut Scratch) {
        let cut = &part[..limit.min(part.len())];
        self.index.search(cut, |rules| scratch.add(rules));
        scratch.add(&self.always);
        let Some((automaton, owners)) = &self.others else {
            return;
        };
        if cut.len() > self.reach {
            return owners.iter().for_each(|rules| scratch.add(rules));
        }
        let mut patterns = match scratch.patterns.take() {
            Some(patterns) if patterns.capacity() >= owners.len() => patterns,
            _ => PatternSet::new(owners.len()),
        };
        patterns.clear();
        let input = Input::new(part).range(..cut.len());
        automaton.which_overlapping_matches(&input, &mut patterns);
        for pattern in patterns.iter() {
            scratch.add(&owners[pattern.as_usize()]);
        }
        scratch.patterns = Some(patterns);
    }
}

/// Patterns in one automaton with their rules, if there are any.
type Together = Option<(meta::Regex, Vec<Vec<u32>>)>;

/// Puts the patterns at `rest` into one automaton, the small ones first, and gives the rules of those that do not fit.
fn together(patterns: &[(&Pattern, Vec<u32>)], rest: &[usize]) -> (Together, Vec<u32>) {
    let mut rest: Vec<_> = rest.iter().map(|at| &patterns[*at]).collect();
    rest.sort_by_key(|(pattern, _)| pattern.size());
    let mut room = MAX_AUTOMATON;
    let fits = rest.iter().take_while(|(pattern, _)| {
        let left = room.checked_sub(pattern.size());
        room = left.unwrap_or(0);
        left.is_some()
    });
    let fits = fits.count();
    let (small, large) = rest.split_at(fits);
    let owners = |these: &[&(&Pattern, Vec<u32>)]| -> Vec<Vec<u32>> {
        these.iter().map(|(_, rules)| rules.clone()).collect()
    };
    let always = owners(large).concat();
    if small.is_empty() {
        return (None, always);
    }
    let config = meta::Config::new()
        .utf8_empty(false)
        .match_kind(MatchKind::All)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(2 * MAX_AUTOMATON))
        .hybrid_cache_capacity(CACHE)
        .onepass(false)
        .auto_prefilter(false);
    let hirs: Vec<_> = small.iter().map(|(pattern, _)| pattern.hir()).collect();
    match meta::Builder::new()
        .configure(config)
        .build_many_from_hir(&hirs)
    {
        Ok(automaton) => (Some((automaton, owners(small))), always),
        Err(_) => (None, [owners(small).concat(), always].concat()),
    }
}

#[cfg(test)]
mod tests;
