//! What a sender does with each fact.

use std::time::Duration;

mod identity;

use super::*;
use crate::{Code, GapCause, RollCause};

const E1: EpochId = EpochId::from_bytes([1; 16]);
const E2: EpochId = EpochId::from_bytes([2; 16]);
const ARCHIVE: ArchiveId = ArchiveId::from_bytes([8; 16]);

fn at(n: u64) -> Offset {
    Offset::new(n).unwrap()
}

struct Bench {
    sender: Sender,
    now: Instant,
    /// The file.
    bytes: Vec<u8>,
}

fn resume(epoch: EpochId, offset: u64, tail: &[u8]) -> Control {
    Control::Resume(Resume {
        archive: ARCHIVE,
        epoch,
        offset: at(offset),
        tail: Print::of(at(offset), tail),
        max_frame: 1 << 20,
        sealed: false,
        features: Vec::new(),
    })
}

fn ack(epoch: EpochId, offset: u64) -> Control {
    Control::Ack(Ack {
        epoch,
        offset: at(offset),
        ledger: Hash::of(b""),
    })
}

fn roll(next: EpochId) -> Step {
    Step::Roll {
        next,
        from: at(0),
        size: at(0),
        of: None,
        base: None,
        cause: RollCause::Rotated,
        lost: None,
    }
}

impl Bench {
    fn new(epoch: Option<EpochId>, bytes: &[u8]) -> Self {
        Self::with(Self::source(epoch, bytes), bytes)
    }

    fn source(epoch: Option<EpochId>, bytes: &[u8]) -> Source {
        Source {
            stream: "decky".to_owned(),
            epoch,
            after: None,
            from: at(0),
            size: at(bytes.len() as u64),
            acked: Vec::new(),
            of: None,
            base: None,
            common: Offset::ZERO,
        }
    }

    fn with(source: Source, bytes: &[u8]) -> Self {
        let now = Instant::now();
        let mut sender = Sender::new(SenderLimits::default(), "test/0", source, now);
        assert!(matches!(
            sender.poll_action(),
            Some(Action::Control(Control::Hello(_)))
        ));
        Self {
            sender,
            now,
            bytes: bytes.to_vec(),
        }
    }

    /// Told to send from the start.
    fn open() -> Self {
        let mut bench = Self::new(Some(E1), b"");
        assert_eq!(bench.actions(), []);
        bench.control(&resume(E1, 0, b""));
        assert!(matches!(
            bench.actions()[..],
            [Action::Confirm { .. }, Action::Read { .. }]
        ));
        bench
    }

    fn control(&mut self, control: &Control) {
        self.sender
            .handle_control(&control.encode().unwrap(), self.now);
    }

    /// What it wants; hashes are answered from the file.
    fn actions(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.sender.poll_action() {
            if let Action::Hash { from, to, .. } = action {
                let bytes = self.bytes.get(from.get() as usize..to.get() as usize);
                self.sender.handle_hash(bytes.map(Hash::of), self.now);
            } else {
                actions.push(action);
            }
        }
        actions
    }

    fn step(&mut self, step: Step) -> Vec<Action> {
        self.sender.handle_step(step, self.now).unwrap();
        self.actions()
    }

    fn lines(&mut self, to: u64) -> Vec<Action> {
        self.step(Step::Lines { to: at(to) })
    }

    fn pass(&mut self, secs: u64) -> Vec<Action> {
        self.now += Duration::from_secs(secs);
        self.sender.handle_timeout(self.now);
        self.actions()
    }

    #[track_caller]
    fn ends(&mut self, expected: &Why) -> bool {
        let actions = self.actions();
        let Some(Action::End(outcome)) = actions.last() else {
            panic!("{actions:?}");
        };
        assert_eq!(outcome.why, *expected);
        outcome.reset
    }
}

fn confirms(actions: &[Action]) -> Vec<(EpochId, u64)> {
    let each = actions.iter().filter_map(|action| match action {
        Action::Confirm { epoch, offset, .. } => Some((*epoch, offset.get())),
        _ => None,
    });
    each.collect()
}

#[test]
fn sends_nothing_of_a_new_epoch_before_its_resume() {
    let mut bench = Bench::open();
    bench.lines(100);
    let actions = bench.step(roll(E2));
    assert!(matches!(actions[..], [Action::Control(Control::Roll(roll))] if roll.end == at(100)));
    bench.sender.handle_more();
    assert_eq!(bench.actions(), []);
    bench.control(&resume(E2, 0, b""));
    assert!(matches!(
        bench.actions()[..],
        [_, Action::Read { epoch: E2, .. }]
    ));
}

#[test]
fn an_ack_is_one_for_all_earlier_epochs() {
    let mut bench = Bench::open();
    bench.lines(100);
    bench.step(roll(E2));
    bench.control(&resume(E2, 0, b""));
    bench.actions();
    bench.lines(50);
    bench.control(&ack(E1, 60));
    assert_eq!(confirms(&bench.actions()), [(E1, 60)]);
    bench.control(&ack(E2, 30));
    assert_eq!(confirms(&bench.actions()), [(E1, 100), (E2, 30)]);
    bench.control(&ack(E2, 30));
    assert_eq!(bench.actions(), []);
}

#[test]
fn an_ack_of_what_was_not_sent_ends_it() {
    let mut bench = Bench::open();
    bench.lines(100);
    bench.control(&ack(E1, 101));
    bench.ends(&Why::Violation("an ack of what was not sent"));
    let mut bench = Bench::open();
    bench.control(&ack(E2, 0));
    bench.ends(&Why::Violation("an ack of an epoch that was not sent"));
}

#[test]
fn an_ack_crosses_a_roll() {
    let mut bench = Bench::open();
    bench.lines(100);
    bench.control(&ack(E1, 100));
    bench.step(roll(E2));
    bench.control(&ack(E1, 100));
    bench.control(&resume(E2, 0, b""));
    bench.actions();
    // A listener that can't commit says it once more.
    bench.control(&ack(E1, 100));
    assert!(
        bench
            .actions()
            .iter()
            .all(|action| !matches!(action, Action::End(_)))
    );
}

#[test]
fn marks_each_mebibyte_and_before_idling() {
    let mut bench = Bench::open();
    let marks = |actions: &[Action]| {
        actions
            .iter()
            .filter(|a| matches!(a, Action::Control(Control::Mark { .. })))
            .count()
    };
    let mut seen = 0;
    for n in 1..=8 {
        seen += marks(&bench.lines(n << 18));
    }
    assert_eq!(seen, 2);
    assert_eq!(marks(&bench.lines((8 << 18) + 5)), 0);
    assert_eq!(marks(&bench.step(Step::Idle)), 1);
    bench.sender.handle_more();
    bench.actions();
    assert_eq!(marks(&bench.step(Step::Idle)), 0);
}

#[test]
fn a_piece_is_announced_and_a_gap_inside_a_line_is_not_taken() {
    let mut bench = Bench::open();
    let actions = bench.step(Step::Piece { to: at(9) });
    assert!(matches!(
        actions[..2],
        [Action::Control(Control::Part {}), Action::Data { .. }]
    ));
    let (to, cause) = (at(20), GapCause::LagCap);
    assert!(
        bench
            .sender
            .handle_step(Step::Gap { to, cause }, bench.now)
            .is_err()
    );
    bench.lines(12);
    let actions = bench.step(Step::Gap { to, cause });
    assert_eq!(actions[0], Action::Control(Control::Skip { to, cause }));
}

#[test]
fn beats_every_ten_seconds_also_when_idle() {
    let mut bench = Bench::open();
    bench.step(Step::Idle);
    assert_eq!(bench.pass(9), []);
    for _ in 0..20 {
        assert_eq!(bench.pass(10), [Action::Beat]);
    }
}

#[test]
fn waits_thirty_seconds_for_any_ack() {
    let mut bench = Bench::open();
    bench.lines(100);
    bench.pass(29);
    bench.control(&ack(E1, 0));
    bench.pass(29);
    let actions = bench.pass(1);
    assert!(matches!(
        actions.last(),
        Some(Action::End(Outcome {
            why: Why::Late("ack"),
            ..
        }))
    ));
}

#[test]
fn the_back_off_starts_again_after_an_ack_but_not_when_superseded() {
    let refuse = |code| {
        Control::Refuse(Refuse {
            code,
            detail: String::new(),
        })
    };
    let ended = |acked: bool, code| {
        let mut bench = Bench::open();
        bench.lines(10);
        if acked {
            bench.control(&ack(E1, 10));
        }
        bench.actions();
        bench.control(&refuse(code));
        bench.ends(&Why::Refused(Refuse {
            code,
            detail: String::new(),
        }))
    };
    assert!(ended(true, Code::Draining));
    assert!(!ended(false, Code::Draining));
    assert!(!ended(true, Code::Superseded));
}

#[test]
fn stops_when_all_is_acknowledged() {
    let mut bench = Bench::open();
    bench.lines(100);
    bench.sender.handle_stop();
    bench
        .sender
        .handle_step(Step::Lines { to: at(150) }, bench.now)
        .unwrap();
    let actions = bench.actions();
    assert_eq!(
        actions.last(),
        Some(&Action::Control(Control::Mark { offset: at(150) }))
    );
    bench.control(&ack(E1, 149));
    assert_eq!(confirms(&bench.actions()), [(E1, 149)]);
    bench.control(&ack(E1, 150));
    bench.ends(&Why::Finished);
}

#[test]
fn a_drain_ends_at_its_time() {
    let mut bench = Bench::open();
    bench.lines(100);
    bench.control(&Control::Drain { after_ms: 5000 });
    assert!(
        bench
            .pass(4)
            .iter()
            .all(|action| !matches!(action, Action::End(_)))
    );
    let actions = bench.pass(1);
    assert!(matches!(
        actions.last(),
        Some(Action::End(Outcome {
            why: Why::Drained,
            ..
        }))
    ));
}

#[test]
fn a_drain_that_cuts_the_wait_for_acks_short_leads_nowhere_else() {
    let mut bench = Bench::open();
    bench.lines(100);
    let step = bench.sender.handle_step(Step::Elsewhere, bench.now);
    step.unwrap();
    bench.control(&Control::Drain { after_ms: 1000 });
    let actions = bench.pass(1);
    assert!(
        matches!(
            actions.last(),
            Some(Action::End(Outcome {
                why: Why::Drained,
                ..
            }))
        ),
        "{actions:?}"
    );
}

#[test]
fn garbage_ends_it() {
    let mut bench = Bench::open();
    bench.sender.handle_control(b"{", bench.now);
    bench.ends(&Why::Violation("a malformed control message"));
    let mut bench = Bench::open();
    bench.sender.handle_garbage();
    bench.ends(&Why::Violation("data from the listener"));
}
