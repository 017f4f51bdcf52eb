//! What a sender does with each fact.

use std::time::Duration;

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
        let source = Source {
            stream: "decky".to_owned(),
            epoch,
            after: None,
            from: at(0),
            size: at(bytes.len() as u64),
            acked: Vec::new(),
            of: None,
            base: None,
        };
        Self::with(source, bytes)
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
fn goes_on_where_the_tail_proves_the_file() {
    let mut bench = Bench::new(Some(E1), b"one\ntwo\nthree\n");
    bench.control(&resume(E1, 8, b"two\n"));
    let actions = bench.actions();
    assert_eq!(confirms(&actions), [(E1, 8)]);
    assert!(matches!(actions[1], Action::Read { epoch: E1, from, .. } if from == at(8)));
}

#[test]
fn searches_the_last_common_line_of_another_file() {
    let theirs = b"one\ntwo\nthree\nfour\n";
    let mut bench = Bench::new(Some(E1), b"one\ntwo\nthirty\nforty\nfifty\n");
    bench.control(&resume(E1, theirs.len() as u64, &theirs[10..]));
    let mut found = None;
    for _ in 0..20 {
        for action in bench.actions() {
            match action {
                Action::Control(Control::Prove { end, len, .. }) => {
                    let end = end.get() as usize;
                    let blake3 = Some(Hash::of(&theirs[end - len as usize..end]));
                    bench.control(&Control::Proof { blake3 });
                }
                Action::LineStart { at, .. } => found = Some(at),
                other => panic!("{other:?}"),
            }
        }
    }
    // "one\ntwo\nth" is common.
    assert_eq!(found, Some(at(10)));
    bench.sender.handle_line_start(Some(at(8)));
    bench.ends(&Why::Branch {
        of: Some(E1),
        base: at(8),
    });
}

#[test]
fn a_file_that_is_shorter_than_the_archive_is_another_one() {
    let mut bench = Bench::new(Some(E1), b"one\n");
    bench.control(&resume(E1, 8, b"two\n"));
    let actions = bench.actions();
    assert!(matches!(actions[..], [Action::Control(Control::Prove { end, .. })] if end == at(4)));
}

#[test]
fn unreadable_is_no_mismatch() {
    let mut bench = Bench::new(Some(E1), b"one\ntwo\n");
    bench.bytes.clear();
    bench.control(&resume(E1, 8, b"two\n"));
    bench.ends(&Why::Unreadable);
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

fn held(epoch: EpochId, bytes: &[u8]) -> Held {
    let end = at(bytes.len() as u64);
    let head = bytes.len().min(4096);
    Held {
        epoch,
        end,
        head: Print::of(at(head as u64), &bytes[..head]),
        tail: Print::of(end, &bytes[bytes.len().saturating_sub(4096)..]),
    }
}

#[test]
fn adopts_the_epoch_that_the_file_proves() {
    let file = b"one of many lines\n".repeat(300);
    let mut bench = Bench::new(None, &file);
    bench.control(&Control::Epochs(vec![
        held(E2, b"one\nelf\n"),
        held(E1, &file[..5000]),
    ]));
    assert_eq!(bench.actions(), [Action::Adopt(Adopted::Epoch(E1))]);
    let mut bench = Bench::new(None, b"one\ntwo\nthree\n");
    bench.control(&Control::Epochs(vec![
        held(E2, b"one\nelf\n"),
        held(E1, b""),
    ]));
    assert_eq!(bench.actions(), [Action::Adopt(Adopted::Unknown)]);
}

#[test]
fn branches_off_an_epoch_that_is_too_short_to_prove_a_file() {
    // Any file with this first line may be it.
    let mut bench = Bench::new(None, b"# log\none\n");
    bench.control(&Control::Epochs(vec![held(E2, b"#"), held(E1, b"# log\n")]));
    let actions = bench.actions();
    assert_eq!(
        actions,
        [Action::LineStart {
            epoch: None,
            at: at(6)
        }]
    );
    bench.sender.handle_line_start(Some(at(6)));
    let (of, base) = (E1, at(6));
    assert_eq!(
        bench.actions(),
        [Action::Adopt(Adopted::Branch { of, base })]
    );
}

#[test]
fn asks_another_master_what_this_one_does_not_hold() {
    // The sibling acknowledged 9 bytes; the file has lost the last five of them.
    let source = |acked| Source {
        stream: "decky".to_owned(),
        epoch: Some(E1),
        after: None,
        from: at(0),
        size: at(4),
        acked,
        of: None,
        base: None,
    };
    let Control::Resume(mut gap) = resume(E1, 9, b"") else {
        panic!()
    };
    gap.tail = Print::of(at(0), b"");
    let other = crate::Acked {
        archive: ArchiveId::from_bytes([9; 16]),
        offset: at(9),
    };
    let mut bench = Bench::with(source(vec![other]), b"one\n");
    bench.control(&Control::Resume(gap.clone()));
    bench.ends(&Why::Unproved);
    // If nobody else has them either, they are a gap that the file may fill.
    let mut bench = Bench::with(source(Vec::new()), b"one\n");
    bench.control(&Control::Resume(gap));
    assert!(matches!(bench.actions()[..], [Action::LineStart { .. }]));
}

#[test]
fn asks_about_the_whole_of_a_file_that_is_shorter_than_a_head() {
    let mut bench = Bench::new(None, b"one\n");
    bench.control(&Control::Epochs(vec![held(E1, b"one\ntwo\n")]));
    let (epoch, end, len) = (E1, at(4), 4);
    let prove = Control::Prove { epoch, end, len };
    assert_eq!(bench.actions(), [Action::Control(prove)]);
    let blake3 = Some(Hash::of(b"one\n"));
    bench.control(&Control::Proof { blake3 });
    bench.actions();
    bench.sender.handle_line_start(Some(at(4)));
    let (of, base) = (E1, at(4));
    assert_eq!(
        bench.actions(),
        [Action::Adopt(Adopted::Branch { of, base })]
    );
}

#[test]
fn reads_nothing_of_a_file_that_came_back_uncompared() {
    let mut bench = Bench::new(Some(E1), b"");
    bench.control(&resume(E1, 8, b"two\n"));
    assert!(matches!(
        bench.actions()[..],
        [Action::Confirm { .. }, Action::Read { .. }]
    ));
    let step = Step::Lines { to: at(12) };
    bench.sender.handle_step(step, bench.now).unwrap();
    bench.ends(&Why::Elsewhere);
}

#[test]
fn branches_off_a_sealed_epoch_that_grew() {
    let mut bench = Bench::new(Some(E1), b"one\ntwo\n");
    let Control::Resume(mut sealed) = resume(E1, 4, b"one\n") else {
        panic!()
    };
    sealed.sealed = true;
    bench.control(&Control::Resume(sealed));
    bench.actions();
    bench
        .sender
        .handle_step(Step::Lines { to: at(8) }, bench.now)
        .unwrap();
    bench.ends(&Why::Branch {
        of: Some(E1),
        base: at(4),
    });
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

#[test]
fn a_file_that_is_gone_is_accepted_behind_a_gap() {
    let mut bench = Bench::new(Some(E1), b"");
    let Control::Resume(mut gap) = resume(E1, 53, b"") else {
        panic!()
    };
    gap.tail = Print::of(at(0), b"");
    bench.control(&Control::Resume(gap));
    assert!(matches!(bench.actions()[..], [Action::Read { from, .. }] if from == at(53)));
}
