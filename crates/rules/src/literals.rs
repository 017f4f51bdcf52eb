//! Which texts a pattern can't match without: what is looked for in a line before the pattern itself is tried.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// Texts, folded to lower-case ASCII, at least one of which is in every match, folded alike.
pub(crate) type Texts = Vec<Vec<u8>>;

/// Texts in one set. More of them are found in many lines, and cost memory.
const MAX_TEXTS: usize = 32;

/// The longest text that is put together; what is longer is no rarer.
const MAX_TEXT: usize = 48;

/// Sets that are given for a pattern, to choose from.
const MAX_SETS: usize = 8;

/// The shortest text that is worth looking for.
pub(crate) const MIN_TEXT: usize = 2;

/// Gives sets of texts, each of which would do, none if there is no text worth looking for.
pub(crate) fn required(hir: &Hir) -> Vec<Texts> {
    let facts = facts(hir);
    let mut sets = facts.sets;
    sets.extend(facts.exact.filter(worth));
    sets.sort_by_key(|set| std::cmp::Reverse(shortest(set)));
    sets.truncate(MAX_SETS);
    sets
}

/// What is known of a part of a pattern.
#[derive(Default)]
struct Facts {
    /// Everything that the part matches, if that is little enough.
    exact: Option<Texts>,
    /// Sets, each of which has a text of every match.
    sets: Vec<Texts>,
}

impl Facts {
    fn exact(texts: Texts) -> Self {
        Self {
            exact: Some(texts),
            sets: Vec::new(),
        }
    }

    /// The set that is hardest to find by chance.
    fn best(self) -> Option<Texts> {
        let sets = self.sets.into_iter().chain(self.exact.filter(worth));
        sets.max_by_key(|set| (shortest(set), std::cmp::Reverse(set.len())))
    }
}

fn shortest(set: &Texts) -> usize {
    set.iter().map(Vec::len).min().unwrap_or(0)
}

fn worth(set: &Texts) -> bool {
    shortest(set) >= MIN_TEXT
}

fn facts(hir: &Hir) -> Facts {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Facts::exact(vec![Vec::new()]),
        HirKind::Literal(literal) => Facts::exact(vec![literal.0.to_ascii_lowercase()]),
        HirKind::Class(class) => characters(class).map_or_else(Facts::default, Facts::exact),
        HirKind::Capture(capture) => facts(&capture.sub),
        HirKind::Repetition(repetition) => repeated(repetition),
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(branches) => alternation(branches),
    }
}

/// The members of a small class.
fn characters(class: &Class) -> Option<Texts> {
    let mut texts: Texts = Vec::new();
    match class {
        Class::Unicode(class) => {
            let count: usize = class.ranges().iter().map(|range| range.len()).sum();
            if count > MAX_TEXTS {
                return None;
            }
            for range in class.ranges() {
                texts.extend((range.start()..=range.end()).map(|c| c.to_string().into_bytes()));
            }
        }
        Class::Bytes(class) => {
            let count: usize = class.ranges().iter().map(|range| range.len()).sum();
            if count > MAX_TEXTS {
                return None;
            }
            for range in class.ranges() {
                texts.extend((range.start()..=range.end()).map(|octet| vec![octet]));
            }
        }
    }
    texts
        .iter_mut()
        .for_each(|text| text.make_ascii_lowercase());
    Some(distinct(texts))
}

fn distinct(mut texts: Texts) -> Texts {
    texts.sort();
    texts.dedup();
    texts
}

fn repeated(repetition: &Repetition) -> Facts {
    let sub = facts(&repetition.sub);
    match (repetition.min, repetition.max, sub.exact) {
        (0, Some(1), Some(mut texts)) if texts.len() < MAX_TEXTS => {
            texts.push(Vec::new());
            Facts::exact(distinct(texts))
        }
        (0, ..) => Facts::default(),
        (min, max, Some(texts)) => {
            let mut all = vec![Vec::new()];
            let mut complete = max == Some(min);
            for _ in 0..min {
                match product(&all, &texts) {
                    Some(longer) => all = longer,
                    None => {
                        complete = false;
                        break;
                    }
                }
            }
            match complete {
                true => Facts::exact(all),
                false => Facts {
                    exact: None,
                    sets: vec![all].into_iter().filter(worth).collect(),
                },
            }
        }
        (_, _, None) => Facts {
            exact: None,
            sets: sub.sets,
        },
    }
}

/// Every text of the one followed by every text of the other, if these are few and short enough.
fn product(left: &Texts, right: &Texts) -> Option<Texts> {
    let longest = |set: &Texts| set.iter().map(Vec::len).max().unwrap_or(0);
    if left.len() * right.len() > MAX_TEXTS || longest(left) + longest(right) > MAX_TEXT {
        return None;
    }
    let pairs = left.iter().flat_map(|left| {
        right
            .iter()
            .map(move |right| [left.as_slice(), right].concat())
    });
    Some(distinct(pairs.collect()))
}

fn concat(parts: &[Hir]) -> Facts {
    let mut run: Texts = vec![Vec::new()];
    let mut sets: Vec<Texts> = Vec::new();
    let mut whole = true;
    let mut flat = Vec::with_capacity(parts.len());
    parts.iter().for_each(|part| flatten(part, &mut flat));
    for part in flat {
        let facts = facts(part);
        sets.extend(facts.sets);
        let Some(texts) = facts.exact else {
            whole = false;
            sets.push(std::mem::replace(&mut run, vec![Vec::new()]));
            continue;
        };
        match product(&run, &texts) {
            Some(longer) => run = longer,
            None => {
                whole = false;
                sets.push(std::mem::replace(&mut run, texts));
            }
        }
    }
    if whole {
        return Facts::exact(run);
    }
    sets.push(run);
    sets.retain(worth);
    sets.sort_by_key(|set| std::cmp::Reverse(shortest(set)));
    sets.truncate(MAX_SETS);
    Facts { exact: None, sets }
}

/// Goes through groups, so that a text goes on into one.
fn flatten<'h>(part: &'h Hir, flat: &mut Vec<&'h Hir>) {
    match part.kind() {
        HirKind::Capture(capture) => flatten(&capture.sub, flat),
        HirKind::Concat(parts) => parts.iter().for_each(|part| flatten(part, flat)),
        _ => flat.push(part),
    }
}

fn alternation(branches: &[Hir]) -> Facts {
    let branches: Vec<Facts> = branches.iter().map(facts).collect();
    let count = |facts: &Facts| facts.exact.as_ref().map(Vec::len);
    let total: Option<usize> = branches.iter().map(count).sum();
    if total.is_some_and(|total| total <= MAX_TEXTS) {
        let texts = branches.into_iter().filter_map(|facts| facts.exact);
        return Facts::exact(distinct(texts.flatten().collect()));
    }
    let sets: Option<Vec<Texts>> = branches.into_iter().map(Facts::best).collect();
    let set = distinct(sets.into_iter().flatten().flatten().collect());
    match !set.is_empty() && set.len() <= MAX_TEXTS {
        true => Facts {
            exact: None,
            sets: vec![set],
        },
        false => Facts::default(),
    }
}

#[cfg(test)]
mod tests;
