//! From lines to events: matching, and what is held back.

mod buckets;
mod event;
mod keys;
mod state;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::matcher::{Scratch, Subjects};
use crate::{CooldownScope, Line, MAX_CAPTURE, Origin, Rule, RuleSet, excerpt};
use buckets::Buckets;
use keys::{Entry, Keys, Kind, Known, Place};

pub use event::{Event, Hit, Limits, RuleStats, Stats, Summary};
pub use state::{Changes, StateRow};

/// The shortest time without a hit after which what was held back is told in a summary.
const QUIET: Duration = Duration::from_secs(60);

/// Matches lines against the rules that hold for them, and decides which hits become events.
///
/// For each rule in order: the stream, the pattern, whether the container's bucket has a token, the cooldown; then the
/// token is taken, the cooldown starts, and the event is out. So a hit that the bucket holds back starts no cooldown,
/// and one that a cooldown holds back costs no token. What is held back is told by the next event of the same key, or
/// by a [`Summary`] once the key has been quiet for its cooldown, and for a minute at least where it was the bucket.
#[derive(Debug)]
pub struct Engine {
    set: Arc<RuleSet>,
    limits: Limits,
    /// Beside the rules of the set.
    rules: Vec<RuleState>,
    keys: Keys,
    buckets: Buckets,
    views: HashMap<Box<str>, Arc<View>>,
    globals: Arc<View>,
    scratch: Scratch,
    uids: u64,
    stats: Stats,
}

#[derive(Debug)]
struct RuleState {
    known: Arc<Known>,
    stats: RuleStats,
}

/// Workloads with rules of their own whose effective sets are kept.
const MAX_VIEWS: usize = 256;

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(set: Arc<RuleSet>, limits: Limits) -> Self {
        let mut engine = Self {
            keys: Keys::new(limits.max_keys),
            buckets: Buckets::new(&limits),
            views: HashMap::new(),
            globals: Arc::default(),
            scratch: Scratch::default(),
            rules: Vec::new(),
            uids: 0,
            stats: Stats::default(),
            set: Arc::default(),
            limits,
        };
        engine.install(set);
        engine
    }

    /// Uses other rules from the next line on. What is known of a rule (cooldowns, counts) stays, unless its pattern,
    /// what that is matched against, its stream, its cooldown or its cooldown's scope changed; what was held back by a
    /// rule that changed or is gone is told in summaries.
    pub fn swap(&mut self, set: Arc<RuleSet>, out: &mut Vec<Event>) {
        for known in self.install(set) {
            for entry in self.keys.forget_rule(known.uid) {
                self.tell(entry, out);
            }
        }
    }

    /// Gives the rules that are gone or mean something else now.
    fn install(&mut self, set: Arc<RuleSet>) -> Vec<Arc<Known>> {
        let old = std::mem::take(&mut self.rules).into_iter();
        let mut old: BTreeMap<String, RuleState> =
            old.map(|state| (state.known.id.clone(), state)).collect();
        let mut changed = Vec::new();
        for rule in set.rules() {
            let (id, fingerprint) = (rule.id(), state::fingerprint(rule));
            let before = old.remove(&id);
            let same = before.filter(|state| {
                let same = state.known.fingerprint == fingerprint;
                if !same {
                    changed.push(Arc::clone(&state.known));
                }
                same
            });
            let uid = same.as_ref().map_or_else(
                || {
                    self.uids += 1;
                    self.uids
                },
                |state| state.known.uid,
            );
            self.rules.push(RuleState {
                known: Arc::new(Known {
                    uid,
                    id,
                    fingerprint,
                    rule: Some(Arc::clone(rule)),
                }),
                stats: same.map_or_else(RuleStats::default, |state| state.stats),
            });
        }
        changed.extend(old.into_values().map(|state| state.known));
        self.views.clear();
        self.scratch.reset();
        self.globals = Arc::new(View::new(&set, ""));
        self.set = set;
        changed
    }

    /// The rules in use.
    pub fn set(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What was done so far by each rule of the set, in order.
    pub fn rule_stats(&self) -> impl Iterator<Item = (&Arc<Rule>, RuleStats)> {
        let states = self.rules.iter().map(|state| state.stats);
        self.set.rules().iter().zip(states)
    }

    /// Scans one line. Events are added to `out`, in the order of the rules.
    pub fn scan(&mut self, now: Instant, line: &Line<'_>, out: &mut Vec<Event>) {
        self.stats.lines += 1;
        self.stats.bytes += line.text.len() as u64;
        self.stats.oversized += u64::from(line.text.len() > self.limits.max_line);
        let subjects = self.set.matcher.subjects(line);
        let matcher = &self.set.matcher;
        matcher.candidates(&subjects, self.limits.max_line, &mut self.scratch);
        // Most lines end here.
        if !self.scratch.candidates.is_empty() {
            self.try_candidates(now, line, &subjects, out);
        }
    }

    fn try_candidates(
        &mut self,
        now: Instant,
        line: &Line<'_>,
        subjects: &Subjects<'_>,
        out: &mut Vec<Event>,
    ) {
        let set = Arc::clone(&self.set);
        let view = self.view(line.workload);
        let candidates = std::mem::take(&mut self.scratch.candidates);
        for &at in candidates.iter().filter(|at| view.has(**at)) {
            let rule = &set.rules()[at as usize];
            let subject = set.matcher.subject(subjects, at);
            let hit = subject.filter(|subject| self.is_hit(line, rule, subject));
            if let Some(subject) = hit {
                self.decide(now, line, at, rule, subject, out);
                if rule.stop {
                    break;
                }
            }
        }
        // Its room is used again.
        self.scratch.candidates = candidates;
    }

    fn is_hit(&mut self, line: &Line<'_>, rule: &Rule, subject: &[u8]) -> bool {
        let limit = self.limits.max_line;
        let wanted = rule.stream.is_none_or(|stream| stream == line.stream);
        let pattern = rule.pattern.as_ref().filter(|_| wanted);
        pattern.is_some_and(|pattern| {
            self.stats.searched_bytes += subject.len().min(limit) as u64;
            pattern.is_match(subject, limit)
        })
    }

    fn decide(
        &mut self,
        now: Instant,
        line: &Line<'_>,
        at: u32,
        rule: &Arc<Rule>,
        subject: &[u8],
        out: &mut Vec<Event>,
    ) {
        let state = &mut self.rules[at as usize];
        self.stats.matched += 1;
        state.stats.matched += 1;
        let place = Place {
            rule: &state.known,
            workload: line.workload,
            container: line.container,
        };
        if !self.buckets.ready(now, line.container) {
            self.stats.dropped_rate += 1;
            state.stats.dropped_rate += 1;
            let quiet = rule.cooldown.max(QUIET);
            let lost = self.keys.hold_rate(now, place, quiet);
            return self.evicted(lost, out);
        }
        let scope = scope(line, rule, subject, self.limits.max_line);
        if !rule.cooldown.is_zero() && self.keys.hold_cooldown(now, place.rule.uid, &scope) {
            self.stats.dropped_cooldown += 1;
            state.stats.dropped_cooldown += 1;
            return;
        }
        let Some(found) = rule
            .pattern
            .as_ref()
            .and_then(|pattern| pattern.find(subject, self.limits.max_line))
        else {
            return;
        };
        self.stats.emitted += 1;
        state.stats.emitted += 1;
        self.stats.evicted_buckets += self.buckets.take(now, line.container);
        let suppressed_rate =
            self.keys
                .release(Kind::Rate, place.rule.uid, line.container.as_bytes());
        let (suppressed_cooldown, lost) = self.keys.arm(now, place, &scope, rule.cooldown);
        out.push(Event::Hit(Hit {
            rule: Arc::clone(rule),
            origin: Origin::of(rule),
            span: found.span,
            captures: found.captures,
            suppressed_cooldown,
            suppressed_rate,
        }));
        self.evicted(lost, out);
    }

    /// Keys and buckets held: at most what the limits say.
    pub fn sizes(&self) -> (usize, usize) {
        (self.keys.len(), self.buckets.len())
    }

    /// When [`Engine::handle_timeout`] is to be called; `None`: there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.keys.next_timer()
    }

    /// Forgets what is over, and adds summaries of keys that have gone quiet to `out`.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Event>) {
        while let Some(entry) = self.keys.expired(now) {
            self.tell(entry, out);
        }
    }

    /// The places of the rules that hold for a workload.
    fn view(&mut self, workload: &str) -> Arc<View> {
        if !self.set.has_own(workload) {
            return Arc::clone(&self.globals);
        }
        if let Some(view) = self.views.get(workload) {
            return Arc::clone(view);
        }
        if self.views.len() >= MAX_VIEWS {
            self.views.clear();
        }
        let view = Arc::new(View::new(&self.set, workload));
        self.views.insert(workload.into(), Arc::clone(&view));
        view
    }

    /// Tells what a key that had to be forgotten held back.
    fn evicted(&mut self, lost: Option<Entry>, out: &mut Vec<Event>) {
        if let Some(entry) = lost {
            self.stats.evicted_keys += 1;
            self.tell(entry, out);
        }
    }

    fn tell(&mut self, entry: Entry, out: &mut Vec<Event>) {
        if entry.suppressed == 0 {
            return;
        }
        self.stats.summaries += 1;
        let rule = entry.rule.rule.clone();
        let capture = rule.as_ref().and_then(|rule| match rule.cooldown_scope {
            CooldownScope::Capture(_) if entry.kind == Kind::Cooldown => {
                let value = entry.scope.get(entry.container.len() + 1..)?;
                Some(excerpt(value, MAX_CAPTURE).0)
            }
            _ => None,
        });
        let [cooldown, rate] = [Kind::Cooldown, Kind::Rate].map(|kind| match entry.kind == kind {
            true => entry.suppressed,
            false => 0,
        });
        out.push(Event::Summary(Summary {
            rule_id: entry.rule.id.clone(),
            rule,
            workload: entry.workload,
            container: entry.container,
            capture,
            suppressed_cooldown: cooldown,
            suppressed_rate: rate,
        }));
    }
}

/// The rules that hold for a workload, a bit for each of the set.
#[derive(Debug, Default)]
struct View(Vec<u64>);

impl View {
    fn new(set: &RuleSet, workload: &str) -> Self {
        let mut bits = vec![0; set.rules().len().div_ceil(64)];
        for at in set.effective_places(workload) {
            bits[at as usize / 64] |= 1 << (at % 64);
        }
        Self(bits)
    }

    fn has(&self, at: u32) -> bool {
        let bits = self.0.get(at as usize / 64);
        bits.is_some_and(|bits| bits >> (at % 64) & 1 == 1)
    }
}

/// What shares a cooldown with this hit.
fn scope<'a>(line: &Line<'a>, rule: &Rule, subject: &[u8], max_line: usize) -> Cow<'a, [u8]> {
    match &rule.cooldown_scope {
        CooldownScope::Container => Cow::Borrowed(line.container.as_bytes()),
        CooldownScope::Workload => Cow::Borrowed(line.workload.as_bytes()),
        CooldownScope::Rule => Cow::Borrowed(b""),
        CooldownScope::Capture(group) => {
            let pattern = rule.pattern.as_ref();
            let value = pattern.and_then(|pattern| pattern.group(group, subject, max_line));
            let value = value.unwrap_or_default();
            let value = &value[..value.len().min(MAX_CAPTURE)];
            Cow::Owned([line.container.as_bytes(), b"\0", value].concat())
        }
    }
}

#[cfg(test)]
mod tests;
