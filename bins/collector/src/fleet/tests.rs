//! Readers started, ended and started again: never two for one container, never from an old cursor.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::SmallRng};

use super::{Action, Chosen, Finished, Fleet, Known, Observation};
use crate::{
    select::{Facts, LabelRule, ReadMode, Summary, Verdict},
    source::{Cursor, Taken},
};

/// A fleet with its actions written down as short words, without those that only show something.
struct Harness {
    fleet: Fleet<SmallRng>,
    now: Instant,
    readable: bool,
}

fn harness(known: BTreeMap<String, Known>) -> Harness {
    let fleet = Fleet::new(ReadMode::Auto, known, SmallRng::seed_from_u64(1));
    Harness {
        fleet,
        now: Instant::now(),
        readable: true,
    }
}

fn cursor(stamp: i64) -> Cursor {
    let taken = Taken {
        stamp,
        count: 1,
        hash: 0,
        next_part: None,
    };
    Cursor {
        stdout: Some(taken),
        ..Cursor::default()
    }
}

fn chosen(id: &str, running: bool, started_ns: i64) -> Chosen {
    let summary = Summary {
        id: id.to_owned(),
        running,
        ..Summary::default()
    };
    let facts = Facts {
        summary,
        driver: "json-file".to_owned(),
        log_path: Some(PathBuf::from("/x")),
        started_ns,
        ..Facts::default()
    };
    Chosen {
        facts,
        why: Verdict::Label(LabelRule::parse("a=b").unwrap()),
    }
}

fn local(mut chosen: Chosen) -> Chosen {
    chosen.facts.driver = "local".to_owned();
    chosen.facts.log_path = None;
    chosen
}

impl Harness {
    fn words(actions: Vec<Action>) -> Vec<String> {
        let word = |action| match action {
            Action::Start {
                container,
                cursor,
                api,
            } => {
                let reader = if api { "api" } else { "file" };
                let from = cursor
                    .and_then(|c| c.stdout)
                    .map_or(-1, |taken| taken.stamp);
                Some(format!("{reader} {} from {from}", container.id))
            }
            Action::Drain { id } => Some(format!("drain {id}")),
            Action::Stop { id } => Some(format!("stop {id}")),
            Action::Drained { id, started_ns } => Some(format!("drained {id} {started_ns}")),
            Action::Lost { id, .. } => Some(format!("lost {id}")),
            Action::Removed { id } => Some(format!("removed {id}")),
            Action::Returned { id } => Some(format!("returned {id}")),
            Action::Show { .. } => None,
        };
        actions.into_iter().filter_map(word).collect()
    }

    fn observe(&mut self, observation: Observation) -> Vec<String> {
        let (mut actions, readable) = (Vec::new(), self.readable);
        self.fleet.observe(observation, &|_| readable, &mut actions);
        Self::words(actions)
    }

    fn see(&mut self, chosen: Chosen) -> Vec<String> {
        self.observe(Observation::Seen(chosen))
    }

    fn list(&mut self, chosen: Vec<Chosen>, others: &[&str]) -> Vec<String> {
        let mut present: BTreeSet<_> = chosen.iter().map(|c| c.facts.summary.id.clone()).collect();
        present.extend(others.iter().map(|id| (*id).to_owned()));
        self.observe(Observation::Listed { chosen, present })
    }

    fn gone(&mut self, id: &str) -> Vec<String> {
        self.observe(Observation::Gone(id.to_owned()))
    }

    fn end(&mut self, id: &str, stamp: Option<i64>, error: Option<&str>) -> Vec<String> {
        let finished = Finished {
            id: id.to_owned(),
            cursor: stamp.map(cursor),
            error: error.map(str::to_owned),
        };
        let (mut actions, readable) = (Vec::new(), self.readable);
        self.fleet
            .finished(finished, self.now, &|_| readable, &mut actions);
        Self::words(actions)
    }

    fn later(&mut self, pause: Duration) -> Vec<String> {
        self.now += pause;
        let (mut actions, readable) = (Vec::new(), self.readable);
        self.fleet.retry(self.now, &|_| readable, &mut actions);
        Self::words(actions)
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn reads_a_container_once_through_stop_and_start() {
    let mut h = harness(BTreeMap::new());
    assert_eq!(h.see(chosen("a", true, 1)), ["file a from -1"]);
    assert_eq!(h.see(chosen("a", true, 1)), NOTHING);
    assert_eq!(h.list(vec![chosen("a", true, 1)], &[]), NOTHING);
    assert_eq!(h.see(chosen("a", false, 1)), ["drain a"]);
    assert_eq!(h.see(chosen("a", false, 1)), NOTHING);
    assert_eq!(h.end("a", Some(7), None), ["drained a 1"]);
    assert_eq!(h.list(vec![chosen("a", false, 1)], &[]), NOTHING);
    assert_eq!(h.see(chosen("a", true, 2)), ["file a from 7"]);
}

#[test]
fn waits_for_the_end_before_reading_a_restarted_container() {
    let mut h = harness(BTreeMap::new());
    h.see(chosen("a", true, 1));
    assert_eq!(h.see(chosen("a", false, 1)), ["drain a"]);
    // Started again while the reader drains: its cursor is not known yet.
    assert_eq!(h.see(chosen("a", true, 2)), NOTHING);
    assert_eq!(h.end("a", Some(9), None), ["drained a 1", "file a from 9"]);
}

#[test]
fn drains_an_exited_container_once_over_restarts_of_the_program() {
    let mut h = harness(BTreeMap::new());
    assert_eq!(
        h.list(vec![chosen("a", false, 5)], &[]),
        ["file a from -1", "drain a"]
    );
    assert_eq!(h.end("a", Some(3), None), ["drained a 5"]);

    let known = |drained_ns| {
        BTreeMap::from([(
            "a".to_owned(),
            Known {
                cursor: Some(cursor(3)),
                drained_ns,
                gone: false,
            },
        )])
    };
    assert_eq!(
        harness(known(Some(5))).list(vec![chosen("a", false, 5)], &[]),
        NOTHING
    );
    assert_eq!(
        harness(known(Some(5))).list(vec![chosen("a", true, 5)], &[]),
        ["file a from 3"]
    );
    let drain = ["file a from 3", "drain a"];
    assert_eq!(
        harness(known(Some(4))).list(vec![chosen("a", false, 5)], &[]),
        drain
    );
    assert_eq!(
        harness(known(None)).list(vec![chosen("a", false, 5)], &[]),
        drain
    );
}

#[test]
fn reads_what_is_left_of_a_removed_container() {
    let mut h = harness(BTreeMap::new());
    h.see(chosen("a", true, 1));
    assert_eq!(h.gone("a"), ["removed a", "drain a"]);
    assert!(!h.fleet.forget("a"), "a reader still drains it");
    assert_eq!(h.end("a", Some(4), None), NOTHING);
    assert!(h.fleet.tracked("a").is_none());
    assert_eq!(h.list(vec![], &[]), NOTHING);
    assert!(h.fleet.forget("a"));
}

#[test]
fn notes_containers_that_vanished_while_it_did_not_run() {
    let known = BTreeMap::from([
        ("a".to_owned(), Known::default()),
        (
            "b".to_owned(),
            Known {
                gone: true,
                ..Known::default()
            },
        ),
    ]);
    let mut h = harness(known);
    assert_eq!(h.list(vec![], &[]), ["removed a"]);
    assert_eq!(
        h.list(vec![chosen("b", true, 1)], &[]),
        ["returned b", "file b from -1"]
    );
}

#[test]
fn lets_go_of_a_container_that_is_no_longer_chosen() {
    let mut h = harness(BTreeMap::new());
    h.see(chosen("a", true, 1));
    h.see(local(chosen("b", true, 1)));
    assert_eq!(h.list(vec![], &["a", "b"]), ["drain a", "stop b"]);
    assert_eq!(h.end("a", Some(2), None), NOTHING);
    assert_eq!(h.end("b", Some(3), Some("no longer chosen")), NOTHING);
    assert_eq!(h.later(Duration::from_secs(60)), NOTHING);
    let back = vec![chosen("a", true, 1), local(chosen("b", true, 1))];
    assert_eq!(h.list(back, &[]), ["file a from 2", "api b from 3"]);
}

#[test]
fn tries_again_after_a_failure_from_the_last_cursor() {
    let mut h = harness(BTreeMap::new());
    assert_eq!(h.see(local(chosen("a", true, 1))), ["api a from -1"]);
    assert_eq!(h.end("a", Some(5), Some("cut")), NOTHING);
    assert_eq!(h.later(Duration::from_secs(1)), ["api a from 5"]);
    // A reader that got nowhere does not lose the cursor.
    assert_eq!(h.end("a", None, Some("cut")), NOTHING);
    assert_eq!(h.later(Duration::from_secs(2)), ["api a from 5"]);
}

#[test]
fn follows_again_when_the_daemon_ends_the_stream_of_a_running_container() {
    let mut h = harness(BTreeMap::new());
    h.see(local(chosen("a", true, 1)));
    assert_eq!(h.end("a", Some(5), None), NOTHING);
    assert_eq!(h.later(Duration::from_secs(1)), ["api a from 5"]);
    // Its end is seen after the stream's.
    assert_eq!(h.end("a", Some(6), None), NOTHING);
    assert_eq!(h.see(local(chosen("a", false, 1))), NOTHING);
    assert_eq!(h.later(Duration::from_secs(30)), ["api a from 6"]);
    assert_eq!(h.end("a", Some(6), None), ["drained a 1"]);
    assert_eq!(h.see(local(chosen("a", false, 1))), NOTHING);
}

#[test]
fn looks_once_more_after_a_stream_that_was_opened_while_the_container_ran() {
    let mut h = harness(BTreeMap::new());
    h.see(local(chosen("a", true, 1)));
    assert_eq!(h.see(local(chosen("a", false, 1))), NOTHING);
    assert_eq!(h.end("a", Some(5), None), ["api a from 5"]);
    // Meanwhile it ran a second time, and stopped.
    assert_eq!(h.see(local(chosen("a", false, 2))), NOTHING);
    assert_eq!(h.end("a", Some(6), None), ["drained a 1", "api a from 6"]);
    assert_eq!(h.end("a", Some(7), None), ["drained a 2"]);
}

#[test]
fn waits_for_the_first_start() {
    let mut h = harness(BTreeMap::new());
    assert_eq!(h.see(chosen("a", false, 0)), NOTHING);
    assert_eq!(h.see(chosen("a", true, 9)), ["file a from -1"]);
    assert_eq!(h.see(chosen("a", false, 9)), ["drain a"]);
    // A whole run between two looks.
    assert_eq!(h.see(chosen("a", false, 10)), NOTHING);
    assert_eq!(
        h.end("a", Some(1), None),
        ["drained a 9", "file a from 1", "drain a"]
    );
}

#[test]
fn turns_to_the_api_when_the_file_stops_being_readable() {
    let mut h = harness(BTreeMap::new());
    h.see(chosen("a", true, 1));
    h.end("a", Some(5), Some("permission denied"));
    h.readable = false;
    assert_eq!(h.later(Duration::from_secs(1)), ["api a from 5"]);
}

#[test]
fn looks_again_at_what_it_could_not_read() {
    let mut h = harness(BTreeMap::new());
    let mut none = chosen("a", true, 1);
    none.facts.driver = "none".to_owned();
    assert_eq!(h.see(none), NOTHING);
    assert!(
        h.fleet
            .tracked("a")
            .unwrap()
            .state()
            .starts_with("unreadable")
    );
    assert_eq!(h.see(chosen("a", true, 1)), ["file a from -1"]);
}

#[test]
fn tells_of_containers_removed_unread() {
    let mut h = harness(BTreeMap::new());
    let missed = Observation::Missed {
        id: "z".to_owned(),
        name: "n".to_owned(),
    };
    assert_eq!(h.observe(missed), ["lost z"]);
    // While the reader waited for its next try.
    h.see(local(chosen("a", true, 1)));
    h.end("a", Some(5), Some("cut"));
    assert_eq!(h.gone("a"), ["removed a", "lost a"]);
    // While the reader was at it.
    h.see(local(chosen("b", true, 1)));
    assert_eq!(h.gone("b"), ["removed b"]);
    assert_eq!(h.end("b", Some(5), Some("cut")), ["lost b"]);
}
