//! The rules files of a directory over time: a file that goes bad keeps its last good rows, the others go on.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Problem, Rule, RuleSet, parse_rules};

/// The files as they were last good, and the set made of them.
#[derive(Debug, Default)]
pub struct Catalog {
    good: BTreeMap<String, Good>,
    set: Arc<RuleSet>,
}

#[derive(Debug, Clone)]
struct Good {
    text: String,
    rules: Vec<Arc<Rule>>,
}

/// What an update came to.
#[derive(Debug)]
pub struct Update {
    /// The set to use from now on.
    pub set: Arc<RuleSet>,
    /// Every problem, with its file, in order of files. A file that is named here kept its last good rows; an override
    /// among those whose global is gone is left out.
    pub problems: Vec<(String, Problem)>,
}

impl Catalog {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set as it stands.
    pub fn set(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// The text of each file as it was last good: what to hand to [`Catalog::update`] first after a restart, so that a
    /// file that is bad by then still has something to keep.
    pub fn last_good(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.good.iter();
        files.map(|(name, good)| (name.as_str(), good.text.as_str()))
    }

    /// Takes the files as they stand now, by name: their order is that of their names. The text of a file that could not
    /// be read is the reason; it keeps its rows like one that is wrong. A file that is not named is gone.
    pub fn update<'t>(
        &mut self,
        files: impl IntoIterator<Item = (&'t str, Result<&'t str, String>)>,
    ) -> Update {
        let files: BTreeMap<&str, Result<&str, String>> = files.into_iter().collect();
        let mut problems: BTreeMap<&str, Vec<Problem>> = BTreeMap::new();
        let mut fresh: BTreeMap<&str, Good> = BTreeMap::new();
        for (&name, text) in &files {
            let read = match text {
                Ok(text) => self.read(name, text),
                Err(what) => Err(vec![whole(what.clone())]),
            };
            match read {
                Ok(good) => drop(fresh.insert(name, good)),
                Err(found) => drop(problems.insert(name, found)),
            }
        }
        // Each turn sends at least one file back to what it last was, so there are at most as many as files.
        loop {
            let rows = |name: &str| fresh.get(name).or_else(|| self.good.get(name));
            let using: Vec<(&str, &Good)> = files
                .keys()
                .filter_map(|name| Some((*name, rows(name)?)))
                .collect();
            let built = RuleSet::build(using.iter().map(|(_, good)| &*good.rules));
            let names: Vec<&str> = using.iter().map(|(name, _)| *name).collect();
            let mut sent_back = false;
            for (at, problem) in &built.problems {
                let name = names[*at];
                if self.keeps(name, fresh.get(name)) {
                    fresh.remove(name);
                    sent_back = true;
                }
                let known = problems.entry(name).or_default();
                if !known.contains(problem) {
                    known.push(problem.clone());
                }
            }
            if !sent_back {
                return self.settle(&files, fresh, problems, built.set);
            }
        }
    }

    fn read(&self, name: &str, text: &str) -> Result<Good, Vec<Problem>> {
        match self.good.get(name) {
            // Nothing is compiled anew for a file that did not change.
            Some(good) if good.text == text => Ok(good.clone()),
            _ => parse_rules(text).map(|rules| Good {
                text: text.to_owned(),
                rules,
            }),
        }
    }

    /// Whether a file has something else to go back to.
    fn keeps(&self, name: &str, fresh: Option<&Good>) -> bool {
        let before = self.good.get(name).map(|good| &good.text);
        fresh.is_some_and(|fresh| before != Some(&fresh.text))
    }

    fn settle(
        &mut self,
        files: &BTreeMap<&str, Result<&str, String>>,
        fresh: BTreeMap<&str, Good>,
        problems: BTreeMap<&str, Vec<Problem>>,
        set: RuleSet,
    ) -> Update {
        self.good
            .retain(|name, _| files.contains_key(name.as_str()));
        for (name, good) in fresh {
            self.good.insert(name.to_owned(), good);
        }
        self.set = Arc::new(set);
        let named = problems
            .into_iter()
            .flat_map(|(name, found)| found.into_iter().map(|problem| (name.to_owned(), problem)));
        Update {
            problems: named.collect(),
            set: Arc::clone(&self.set),
        }
    }
}

fn whole(what: String) -> Problem {
    Problem {
        line: 0,
        key: String::new(),
        what,
    }
}

#[cfg(test)]
mod tests;
