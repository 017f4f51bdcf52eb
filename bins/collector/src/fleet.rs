//! Which containers are being read: facts in, actions out. It waits for nothing and reads no clock.
//!
//! The rule it keeps: a container has at most one reader, and a reader starts from the cursor that
//! stands after everything an earlier reader handed out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use ratelimit::Backoff;

use crate::select::{Choice, Facts, ReadMode, Verdict};

mod news;

pub use news::{Action, Chosen, Finished, Known, Observation};

/// One container.
#[derive(Debug)]
pub struct Tracked {
    /// What Docker says of it.
    pub facts: Facts,
    /// Why it is collected.
    pub why: Verdict,
    /// How it is read; `None` before its first start.
    pub choice: Option<Choice>,
    state: State,
    /// Removed from Docker.
    gone: bool,
    /// Chosen at the last look.
    wanted: bool,
    backoff: Backoff,
}

/// `covers` is the run (by its start) that is read to its end once the reader ends: known only if the
/// container had stopped before the reader was told to finish.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The file reader is at work.
    Following,
    /// The file reader was told to read what is left.
    Draining { covers: Option<i64> },
    /// The API reader is at work.
    Streaming { covers: Option<i64> },
    /// The API reader was told to stop.
    Stopping,
    /// Nobody reads; this run was drained.
    Idle { drained_ns: Option<i64> },
    /// The reader gave up; try again at this time.
    Waiting { until: Instant, error: String },
    /// It can't be read at all.
    Unreadable(&'static str),
}

/// All containers that are or were to be collected.
#[derive(Debug)]
pub struct Fleet<R> {
    mode: ReadMode,
    known: BTreeMap<String, Known>,
    tracked: BTreeMap<String, Tracked>,
    rng: R,
}

impl<R: Rng> Fleet<R> {
    /// A fleet that knows the cursors of an earlier process.
    #[must_use]
    pub fn new(mode: ReadMode, known: BTreeMap<String, Known>, rng: R) -> Fleet<R> {
        Fleet {
            mode,
            known,
            tracked: BTreeMap::new(),
            rng,
        }
    }

    /// Takes what the watcher saw. `readable` answers whether a container's file can be read.
    pub fn observe(
        &mut self,
        observation: Observation,
        readable: &dyn Fn(&Facts) -> bool,
        actions: &mut Vec<Action>,
    ) {
        match observation {
            Observation::Listed { chosen, present } => {
                let wanted: BTreeSet<_> =
                    chosen.iter().map(|c| c.facts.summary.id.clone()).collect();
                for chosen in chosen {
                    self.see(chosen, readable, actions);
                }
                let known = self.tracked.keys().chain(self.known.keys());
                let absent: BTreeSet<_> =
                    known.filter(|id| !wanted.contains(*id)).cloned().collect();
                for id in absent {
                    self.unwanted(&id, !present.contains(&id), actions);
                }
            }
            Observation::Seen(chosen) => self.see(chosen, readable, actions),
            Observation::Gone(id) => self.unwanted(&id, true, actions),
            Observation::Missed { id, name } => actions.push(Action::Lost { id, name }),
        }
    }

    /// Takes the end of a reader.
    pub fn finished(
        &mut self,
        finished: Finished,
        now: Instant,
        readable: &dyn Fn(&Facts) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let Finished { id, cursor, error } = finished;
        let known = self.known.entry(id.clone()).or_default();
        if cursor.is_some() {
            known.cursor = cursor;
        }
        let Some(tracked) = self.tracked.get_mut(&id) else {
            return;
        };
        if tracked.gone {
            let name = tracked.facts.summary.name.clone();
            if error.is_some() {
                actions.push(Action::Lost {
                    id: id.clone(),
                    name,
                });
            }
            self.tracked.remove(&id);
            actions.push(Action::Show { id });
            return;
        }
        actions.push(Action::Show { id: id.clone() });
        let covers = match tracked.state {
            State::Draining { covers } | State::Streaming { covers } => covers,
            _ => None,
        };
        let cut = matches!(tracked.state, State::Streaming { .. }) && tracked.facts.summary.running;
        tracked.state = match (error, covers) {
            (Some(error), _) => {
                let until = now + tracked.backoff.next(&mut self.rng);
                State::Waiting { until, error }
            }
            (None, Some(started_ns)) => {
                tracked.backoff.reset();
                known.drained_ns = Some(started_ns);
                let id = id.clone();
                actions.push(Action::Drained { id, started_ns });
                State::Idle {
                    drained_ns: Some(started_ns),
                }
            }
            // The daemon is going down, or its news of the container's end are still on the way.
            (None, None) if cut => {
                let until = now + tracked.backoff.next(&mut self.rng);
                let error = "the daemon ended the stream".to_owned();
                State::Waiting { until, error }
            }
            // It may have been cut before the end as well: one more look, now that the container stopped.
            (None, None) => State::Idle { drained_ns: None },
        };
        self.settle(&id, readable, actions);
    }

    /// Starts readers whose pause is over; returns when to come back.
    pub fn retry(
        &mut self,
        now: Instant,
        readable: &dyn Fn(&Facts) -> bool,
        actions: &mut Vec<Action>,
    ) -> Option<Instant> {
        let waiting = |state: &State| match state {
            State::Waiting { until, .. } => Some(*until),
            _ => None,
        };
        let due: Vec<String> = self
            .tracked
            .iter()
            .filter(|(_, tracked)| waiting(&tracked.state).is_some_and(|until| until <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            if let Some(tracked) = self.tracked.get_mut(&id) {
                tracked.state = State::Idle { drained_ns: None };
            }
            self.settle(&id, readable, actions);
        }
        self.tracked
            .values()
            .filter_map(|tracked| waiting(&tracked.state))
            .min()
    }

    /// A container's current facts.
    #[must_use]
    pub fn tracked(&self, id: &str) -> Option<&Tracked> {
        self.tracked.get(id)
    }

    /// Forgets a container that is gone; false while a reader still drains it.
    pub fn forget(&mut self, id: &str) -> bool {
        let idle = !self.tracked.contains_key(id);
        if idle {
            self.known.remove(id);
        }
        idle
    }

    fn see(
        &mut self,
        chosen: Chosen,
        readable: &dyn Fn(&Facts) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let id = chosen.facts.summary.id.clone();
        if self.known.get(&id).is_some_and(|known| known.gone) {
            actions.push(Action::Returned { id: id.clone() });
            self.known.entry(id.clone()).or_default().gone = false;
        }
        match self.tracked.get_mut(&id) {
            Some(tracked) => {
                if tracked.facts != chosen.facts {
                    actions.push(Action::Show { id: id.clone() });
                }
                tracked.facts = chosen.facts;
                tracked.why = chosen.why;
                tracked.wanted = true;
                tracked.gone = false;
            }
            None => {
                let drained_ns = self.known.get(&id).and_then(|known| known.drained_ns);
                let tracked = Tracked {
                    choice: None,
                    state: State::Idle { drained_ns },
                    facts: chosen.facts,
                    why: chosen.why,
                    gone: false,
                    wanted: true,
                    backoff: Backoff::new(RETRY_BASE, RETRY_CAP),
                };
                self.tracked.insert(id.clone(), tracked);
                actions.push(Action::Show { id: id.clone() });
            }
        }
        self.settle(&id, readable, actions);
    }

    /// A container that is not to be read (any more): what is left is read, then it is let go of.
    fn unwanted(&mut self, id: &str, gone: bool, actions: &mut Vec<Action>) {
        let known = self.known.get_mut(id);
        if gone
            && let Some(known) = known
            && !known.gone
        {
            known.gone = true;
            actions.push(Action::Removed { id: id.to_owned() });
        }
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        if gone && !self.known.contains_key(id) {
            self.known.insert(
                id.to_owned(),
                Known {
                    gone: true,
                    ..Known::default()
                },
            );
            actions.push(Action::Removed { id: id.to_owned() });
        }
        tracked.gone |= gone;
        tracked.wanted = false;
        tracked.facts.summary.running &= !gone;
        match tracked.state {
            State::Following => {
                actions.push(Action::Drain { id: id.to_owned() });
                tracked.state = State::Draining { covers: None };
            }
            // The stream of a removed container ends by itself, after its last line.
            State::Streaming { .. } if gone => {}
            State::Streaming { .. } => {
                actions.push(Action::Stop { id: id.to_owned() });
                tracked.state = State::Stopping;
            }
            State::Draining { .. } | State::Stopping => {}
            State::Waiting { .. } if gone => {
                let name = tracked.facts.summary.name.clone();
                actions.push(Action::Lost {
                    id: id.to_owned(),
                    name,
                });
                self.tracked.remove(id);
            }
            State::Idle { .. } | State::Waiting { .. } | State::Unreadable(_) => {
                self.tracked.remove(id);
            }
        }
        actions.push(Action::Show { id: id.to_owned() });
    }

    /// Brings the reader of one container in line with what is known of it.
    fn settle(&mut self, id: &str, readable: &dyn Fn(&Facts) -> bool, actions: &mut Vec<Action>) {
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        if !tracked.wanted {
            return;
        }
        let running = tracked.facts.summary.running;
        let started_ns = tracked.facts.started_ns;
        match &tracked.state {
            State::Following if !running => {
                actions.push(Action::Drain { id: id.to_owned() });
                tracked.state = State::Draining {
                    covers: Some(started_ns),
                };
            }
            // A container that was made and never started has no log yet, perhaps not even a file.
            State::Idle { .. } if !running && started_ns == 0 => {}
            State::Idle { drained_ns } if running || *drained_ns != Some(started_ns) => {
                let choice = tracked
                    .facts
                    .choose(self.mode, |_| readable(&tracked.facts));
                let choice = tracked.choice.insert(choice);
                let api = match choice {
                    Choice::File(_) => false,
                    Choice::Api { .. } => true,
                    Choice::Unreadable(why) => {
                        tracked.state = State::Unreadable(why);
                        actions.push(Action::Show { id: id.to_owned() });
                        return;
                    }
                };
                let container = Arc::new(tracked.facts.container());
                let cursor = self.known.get(id).and_then(|known| known.cursor.clone());
                actions.push(Action::Start {
                    container,
                    cursor,
                    api,
                });
                let covers = (!running).then_some(started_ns);
                tracked.state = match api {
                    true => State::Streaming { covers },
                    false if running => State::Following,
                    false => {
                        actions.push(Action::Drain { id: id.to_owned() });
                        State::Draining { covers }
                    }
                };
                actions.push(Action::Show { id: id.to_owned() });
            }
            State::Unreadable(_) => {
                // Its file may have become readable, its daemon may have been set up anew.
                let choice = tracked
                    .facts
                    .choose(self.mode, |_| readable(&tracked.facts));
                if !matches!(choice, Choice::Unreadable(_)) {
                    tracked.state = State::Idle { drained_ns: None };
                    self.settle(id, readable, actions);
                }
            }
            _ => {}
        }
    }
}

impl Tracked {
    /// What its reader is doing, for people.
    #[must_use]
    pub fn state(&self) -> String {
        match &self.state {
            State::Following | State::Streaming { covers: None } => "reading".to_owned(),
            State::Draining { .. } | State::Streaming { .. } => "draining".to_owned(),
            State::Stopping => "stopping".to_owned(),
            State::Idle { drained_ns: None } => "not started".to_owned(),
            State::Idle { .. } => "drained".to_owned(),
            State::Waiting { error, .. } => format!("waiting: {error}"),
            State::Unreadable(why) => format!("unreadable: {why}"),
        }
    }
}

const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
