//! All rules of all files together: what is wrong between them, and which of them hold for a workload.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{Found, Line, Problem, Rule, Subject, matcher::Matcher};

/// Rules in one set. Each may hold a compiled pattern of up to [`MAX_COMPILED`](crate::MAX_COMPILED) octets.
pub const MAX_RULES: usize = 10_000;

/// Different parts of lines that the rules of a set may look at: each is looked up in each line.
pub const MAX_SUBJECTS: usize = 64;

/// What the compiled patterns of a set may take together, in octets.
pub const MAX_SET: usize = 256 << 20;

/// Rules that take effect together, never changed once built: a line is matched against one set from start to end.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    /// Enabled globals, by their place in `rules`.
    globals: Vec<u32>,
    /// What belongs to a workload, by its name.
    own: HashMap<String, Vec<u32>>,
    pub(crate) matcher: Matcher,
}

/// A set, and what was left out of it.
#[derive(Debug)]
pub struct Built {
    /// The rules that are right.
    pub set: RuleSet,
    /// What is wrong with the others, with the place of their file.
    pub problems: Vec<(usize, Problem)>,
}

/// Where a rule that holds for a workload comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It holds for every workload that does not override it.
    Global,
    /// It stands for a global.
    Override,
    /// It is the workload's own.
    Workload,
}

impl Origin {
    /// The name in output: `global`, `override` or `workload`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Override => "override",
            Self::Workload => "workload",
        }
    }

    /// The origin of a rule in any effective set that it is in.
    pub fn of(rule: &Rule) -> Self {
        match (&rule.workload, &rule.overrides) {
            (None, _) => Self::Global,
            (Some(_), Some(_)) => Self::Override,
            (Some(_), None) => Self::Workload,
        }
    }
}

impl RuleSet {
    /// Puts the rules of the files together, in the order of the files and then of their rows. A row that does not fit
    /// those before it (a name taken, a second override) is left out, and so is an override without its global,
    /// wherever that would stand; the problem is the row's file's.
    pub fn build<'f>(files: impl IntoIterator<Item = &'f [Arc<Rule>]>) -> Built {
        let files: Vec<&[Arc<Rule>]> = files.into_iter().collect();
        let mut check = Check {
            globals: globals(&files),
            names: HashSet::new(),
            overridden: HashSet::new(),
            subjects: HashSet::new(),
            size: 0,
        };
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for (file, rows) in files.iter().enumerate() {
            for rule in *rows {
                let refused = match rules.len() {
                    MAX_RULES.. => {
                        Some(rule.problem("name", format!("more than {MAX_RULES} rules")))
                    }
                    _ => check.refuse(rule),
                };
                match refused {
                    Some(problem) => problems.push((file, problem)),
                    None => rules.push(Arc::clone(rule)),
                }
            }
        }
        Built {
            set: Self::of(rules),
            problems,
        }
    }

    fn of(rules: Vec<Arc<Rule>>) -> Self {
        let (mut globals, mut own) = (Vec::new(), HashMap::<_, Vec<u32>>::new());
        for (at, rule) in rules.iter().enumerate() {
            // Not more than MAX_RULES.
            let at = at as u32;
            match &rule.workload {
                Some(workload) => own.entry(workload.clone()).or_default().push(at),
                None if rule.enabled => globals.push(at),
                None => {}
            }
        }
        Self {
            matcher: Matcher::new(&rules),
            rules,
            globals,
            own,
        }
    }

    /// All rules, in order, those that are switched off too.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rules that hold for a workload, in order: the enabled globals that it does not override, its enabled
    /// overrides, and its own enabled rules.
    pub fn effective(&self, workload: &str) -> impl Iterator<Item = (&Arc<Rule>, Origin)> {
        self.effective_places(workload).into_iter().map(|at| {
            let rule = &self.rules[at as usize];
            (rule, Origin::of(rule))
        })
    }

    /// Whether a workload has rows of its own, so that it does not just have the globals.
    pub(crate) fn has_own(&self, workload: &str) -> bool {
        !self.own.is_empty() && self.own.contains_key(workload)
    }

    /// The places in [`RuleSet::rules`] of what holds for a workload.
    pub(crate) fn effective_places(&self, workload: &str) -> Vec<u32> {
        let Some(own) = self.own.get(workload) else {
            return self.globals.clone();
        };
        let overridden: HashSet<&str> = own
            .iter()
            .filter_map(|&at| self.rules[at as usize].overrides.as_deref())
            .collect();
        let globals = self.globals.iter().copied();
        let kept =
            globals.filter(|&at| !overridden.contains(self.rules[at as usize].name.as_str()));
        let enabled = own
            .iter()
            .copied()
            .filter(|&at| self.rules[at as usize].enabled);
        let mut places: Vec<u32> = kept.chain(enabled).collect();
        places.sort_unstable();
        places
    }

    /// What each rule that holds for the line's workload makes of it, and nothing else: no cooldown, no bucket, no
    /// count, and `stop` stops nothing. `None`: the rule does not match.
    pub fn explain(
        &self,
        line: &Line<'_>,
        max_line: usize,
    ) -> Vec<(&Arc<Rule>, Origin, Option<Found>)> {
        self.effective(line.workload)
            .map(|(rule, origin)| {
                let wanted = rule.stream.is_none_or(|stream| stream == line.stream);
                let subject = wanted.then(|| line.subject(&rule.on)).flatten();
                let found =
                    subject.and_then(|subject| rule.pattern.as_ref()?.find(&subject, max_line));
                (rule, origin, found)
            })
            .collect()
    }
}

fn globals<'f>(files: &[&'f [Arc<Rule>]]) -> HashSet<&'f str> {
    let rules = files.iter().flat_map(|rows| rows.iter());
    rules
        .filter(|rule| rule.workload.is_none())
        .map(|rule| rule.name.as_str())
        .collect()
}

/// What the rows so far have taken.
struct Check<'f> {
    globals: HashSet<&'f str>,
    names: HashSet<(Option<&'f str>, &'f str)>,
    overridden: HashSet<(&'f str, &'f str)>,
    subjects: HashSet<&'f Subject>,
    size: usize,
}

impl<'f> Check<'f> {
    fn refuse(&mut self, rule: &'f Rule) -> Option<Problem> {
        let workload = rule.workload.as_deref();
        if let (Some(workload), Some(global)) = (workload, rule.overrides.as_deref()) {
            if !self.globals.contains(global) {
                return Some(rule.problem("overrides", format!("there is no global `{global}`")));
            }
            if !self.overridden.insert((workload, global)) {
                let what = format!("`{workload}` overrides `{global}` already");
                return Some(rule.problem("overrides", what));
            }
        }
        if !self.names.insert((workload, &rule.name)) {
            let scope = workload.map_or_else(|| "a global".to_owned(), |of| format!("`{of}` has"));
            let what = match workload {
                None => format!("there is {scope} `{}` already", rule.name),
                Some(_) => format!("{scope} a rule `{}` already", rule.name),
            };
            return Some(rule.problem("name", what));
        }
        self.subjects.insert(&rule.on);
        if self.subjects.len() > MAX_SUBJECTS {
            self.subjects.remove(&rule.on);
            let what = format!("more than {MAX_SUBJECTS} different fields");
            return Some(rule.problem("on", what));
        }
        self.size += rule.pattern.as_ref().map_or(0, |pattern| pattern.size());
        (self.size > MAX_SET).then(|| {
            let what =
                format!("the patterns together are more than {MAX_SET} octets when compiled");
            rule.problem("pattern", what)
        })
    }
}

#[cfg(test)]
mod tests;
