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

use crate::{
    select::{Choice, Facts, ReadMode, Verdict},
    source::{Container, Cursor},
};

/// A container that is to be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What Docker says of it.
    pub facts: Facts,
    /// Why it is collected.
    pub why: Verdict,
}

/// What the watcher of the daemon reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A whole listing.
    Listed {
        /// The containers to collect.
        chosen: Vec<Chosen>,
        /// The ids of all containers there are.
        present: BTreeSet<String>,
    },
    /// One container changed.
    Seen(Chosen),
    /// A container was removed.
    Gone(String),
    /// A container that would have been collected was removed before it could be looked at.
    Missed {
        /// Its id.
        id: String,
        /// Its name as the event gave it.
        name: String,
    },
}

/// What the writer reports of a reader, after everything that the reader handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The container's id.
    pub id: String,
    /// The cursor after the reader's last batch; `None` if it handed out none.
    pub cursor: Option<Cursor>,
    /// `None`: everything was read. Else why the reader gave up.
    pub error: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a reader.
    Start {
        /// The container.
        container: Arc<Container>,
        /// The cursor to start from.
        cursor: Option<Cursor>,
        /// Through the API, not from the file.
        api: bool,
    },
    /// The container's output is over: its file reader drains it. An API stream ends by itself.
    Drain {
        /// The container's id.
        id: String,
    },
    /// The API reader stops and reports.
    Stop {
        /// The container's id.
        id: String,
    },
    /// The container has a (new) label or state: tell whoever shows it.
    Show {
        /// The container's id.
        id: String,
    },
    /// The container is drained: remember that this run needs no reading again.
    Drained {
        /// The container's id.
        id: String,
        /// Which run, by its start.
        started_ns: i64,
    },
    /// The container was removed before everything was read.
    Lost {
        /// The container's id.
        id: String,
        /// Its name.
        name: String,
    },
    /// The container does not exist any more: its cursor may be forgotten in time.
    Removed {
        /// The container's id.
        id: String,
    },
    /// It exists after all.
    Returned {
        /// The container's id.
        id: String,
    },
}

/// What is known from the time before this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The cursor after the last line that stands in the file.
    pub cursor: Option<Cursor>,
    /// The run that was drained, by its start.
    pub drained_ns: Option<i64>,
    /// Whether the container was gone when last looked for.
    pub gone: bool,
}

/// One container.
#[derive(Debug)]
pub struct Tracked {
    /// What Docker says of it.
    pub facts: Facts,
    /// Why it is collected.
    pub why: Verdict,
    /// How it is read.
    pub choice: Choice,
    state: State,
    /// Removed from Docker.
    gone: bool,
    /// Chosen at the last look.
    wanted: bool,
    backoff: Backoff,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// A reader is at work.
    Reading { api: bool },
    /// The file reader was told to drain, or the API reader to stop.
    Ending,
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
        let running = tracked.facts.summary.running;
        tracked.state = match error {
            Some(error) => {
                let until = now + tracked.backoff.next(&mut self.rng);
                State::Waiting { until, error }
            }
            None if !tracked.wanted => State::Idle { drained_ns: None },
            // A stream that ended under a running container: the daemon is going down, or the container
            // was started again meanwhile.
            None if running && tracked.state != State::Ending => {
                let until = now + tracked.backoff.next(&mut self.rng);
                State::Waiting {
                    until,
                    error: "the daemon ended the stream".to_owned(),
                }
            }
            None if running => State::Idle { drained_ns: None },
            None => {
                tracked.backoff.reset();
                let started_ns = tracked.facts.started_ns;
                known.drained_ns = Some(started_ns);
                actions.push(Action::Drained {
                    id: id.clone(),
                    started_ns,
                });
                State::Idle {
                    drained_ns: Some(started_ns),
                }
            }
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
                    choice: Choice::Unreadable("not looked at yet"),
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
            State::Reading { api: false } => {
                actions.push(Action::Drain { id: id.to_owned() });
                tracked.state = State::Ending;
            }
            // The stream of a removed container ends by itself, after its last line.
            State::Reading { api: true } if gone => {}
            State::Reading { api: true } => {
                actions.push(Action::Stop { id: id.to_owned() });
                tracked.state = State::Ending;
            }
            State::Ending => {}
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
            State::Reading { api: false } if !running => {
                actions.push(Action::Drain { id: id.to_owned() });
                tracked.state = State::Ending;
            }
            State::Idle { drained_ns } if running || *drained_ns != Some(started_ns) => {
                tracked.choice = tracked
                    .facts
                    .choose(self.mode, |_| readable(&tracked.facts));
                let api = match &tracked.choice {
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
                tracked.state = State::Reading { api };
                if !api && !running {
                    actions.push(Action::Drain { id: id.to_owned() });
                    tracked.state = State::Ending;
                }
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
            State::Reading { .. } => "reading".to_owned(),
            State::Ending => "draining".to_owned(),
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
