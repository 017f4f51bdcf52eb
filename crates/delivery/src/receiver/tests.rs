//! What a receiver does with each fact.

use std::time::Duration;

mod greeting;
mod window;

use super::*;
use crate::Print;
use crate::control::{Acked, GapCause};

const E1: EpochId = EpochId::from_bytes([1; 16]);
const E2: EpochId = EpochId::from_bytes([2; 16]);
const OWN: ArchiveId = ArchiveId::from_bytes([8; 16]);
const SIBLING: ArchiveId = ArchiveId::from_bytes([9; 16]);

struct Bench {
    receiver: Receiver,
    now: Instant,
}

fn at(n: u64) -> Offset {
    Offset::new(n).unwrap()
}

fn standing(offset: u64) -> Standing {
    Standing {
        offset: at(offset),
        tail: Print::of(at(offset), b""),
        ledger: Hash::of(b"l"),
        in_line: false,
        sealed: false,
    }
}

fn hello(acked: &[(ArchiveId, u64)]) -> Control {
    let acked = acked.iter().map(|(archive, offset)| Acked {
        archive: *archive,
        offset: at(*offset),
    });
    Control::Hello(Hello {
        stream: "decky".to_owned(),
        epoch: Some(E1),
        after: None,
        from: at(0),
        size: at(1000),
        acked: acked.collect(),
        agent: String::new(),
        features: Vec::new(),
        of: None,
        base: None,
    })
}

impl Bench {
    fn new() -> Self {
        let limits = ReceiverLimits {
            siblings: vec![SIBLING, OWN],
            ..ReceiverLimits::default()
        };
        let now = Instant::now();
        Self {
            receiver: Receiver::new(limits, OWN, now),
            now,
        }
    }

    /// Connected, and told to resume.
    fn open(standing: Standing) -> Self {
        let mut bench = Self::new();
        bench.control(&hello(&[]));
        bench.receiver.handle_claimed();
        bench.receiver.handle_standing(standing);
        bench.actions();
        bench
    }

    fn control(&mut self, control: &Control) {
        self.receiver
            .handle_control(&control.encode().unwrap(), self.now);
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.receiver.poll_action()).collect()
    }

    fn pass(&mut self, secs: u64) -> Vec<Action> {
        self.now += Duration::from_secs(secs);
        self.receiver.handle_timeout(self.now);
        self.actions()
    }

    #[track_caller]
    fn closes(&mut self) {
        let actions = self.actions();
        assert!(
            matches!(actions.last(), Some(Action::Close(_))),
            "{actions:?}"
        );
        assert_eq!(self.receiver.handle_data(1, 1), None);
        assert_eq!(self.receiver.poll_timeout(), None);
    }
}

fn taken(bench: &Bench) -> u64 {
    bench.receiver.position().unwrap().1.get()
}

#[test]
fn resumes_when_the_stream_is_its_own_and_the_epoch_is_known() {
    let mut bench = Bench::new();
    bench.control(&hello(&[]));
    assert_eq!(
        bench.actions(),
        [Action::Claim {
            stream: "decky".to_owned()
        }]
    );
    bench.receiver.handle_claimed();
    assert!(matches!(&bench.actions()[..], [Action::Open(opening)] if opening.epoch == E1));
    bench.receiver.handle_standing(standing(70));
    let actions = bench.actions();
    assert!(
        matches!(&actions[..], [Action::Control(Control::Resume(r))] if r.offset == at(70) && r.epoch == E1)
    );
}

#[test]
fn closes_on_data_before_the_resume() {
    let mut bench = Bench::new();
    bench.control(&hello(&[]));
    bench.actions();
    assert_eq!(bench.receiver.handle_data(1, 5), None);
    bench.closes();
}

#[test]
fn counts_lines_pieces_blanks_and_gaps() {
    let mut bench = Bench::open(standing(100));
    let append = bench.receiver.handle_data(3, 30).unwrap();
    assert_eq!(
        (append.from, append.to, append.piece),
        (at(100), at(133), false)
    );
    bench.control(&Control::Part {});
    let append = bench.receiver.handle_data(1, 7).unwrap();
    assert_eq!(
        (append.from, append.to, append.piece),
        (at(133), at(140), true)
    );
    let append = bench.receiver.handle_data(1, 9).unwrap();
    assert_eq!((append.to, append.piece), (at(150), false));
    bench.control(&Control::Blank { count: 4 });
    bench.control(&Control::Skip {
        to: at(200),
        cause: GapCause::LagCap,
    });
    bench.control(&Control::Mark { offset: at(200) });
    let (epoch, cause) = (E1, GapCause::LagCap);
    let blank = Action::Blank {
        epoch,
        from: at(150),
        count: 4,
    };
    assert_eq!(
        bench.actions(),
        [
            blank,
            Action::Gap {
                epoch,
                from: at(154),
                to: at(200),
                cause
            }
        ]
    );
}

#[test]
fn closes_when_the_peer_counts_otherwise() {
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_data(1, 9);
    bench.control(&Control::Mark { offset: at(9) });
    bench.closes();
    let mut bench = Bench::open(standing(0));
    let roll = Roll {
        end: at(1),
        epoch: E2,
        cause: crate::RollCause::Rotated,
        lost: None,
        of: None,
        base: None,
    };
    bench.control(&Control::Roll(roll));
    bench.closes();
}

#[test]
fn closes_on_a_gap_inside_a_line_and_on_a_part_without_its_piece() {
    let mut bench = Bench::open(standing(0));
    bench.control(&Control::Part {});
    bench.receiver.handle_data(1, 9);
    bench.control(&Control::Skip {
        to: at(20),
        cause: GapCause::LagCap,
    });
    bench.closes();
    let mut bench = Bench::open(standing(0));
    bench.control(&Control::Part {});
    bench.control(&Control::Mark { offset: at(0) });
    bench.closes();
}

#[test]
fn closes_on_the_wrong_direction_and_on_offsets_that_end() {
    let ack = Ack {
        epoch: E1,
        offset: at(0),
        ledger: Hash::of(b""),
    };
    for control in [
        Control::Ack(ack),
        hello(&[]),
        Control::Drain { after_ms: 1 },
    ] {
        let mut bench = Bench::open(standing(0));
        bench.control(&control);
        bench.closes();
    }
    let mut bench = Bench::open(standing(Offset::MAX.get() - 5));
    assert_eq!(bench.receiver.handle_data(1, 5), None);
    bench.closes();
}

#[test]
fn ignores_and_counts_what_it_does_not_know() {
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_control(br#"{"later":{}}"#, bench.now);
    assert_eq!((bench.actions(), bench.receiver.unknown()), (Vec::new(), 1));
}

#[test]
fn closes_without_marks() {
    let mut bench = Bench::open(standing(0));
    assert!(bench.receiver.handle_data(1, 1 << 20).is_some());
    assert!(bench.receiver.handle_data(1, 1 << 20).is_none());
    bench.closes();
}

#[test]
fn a_roll_is_answered_by_a_resume() {
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_data(1, 9);
    let roll = Roll {
        end: at(10),
        epoch: E2,
        cause: crate::RollCause::Rotated,
        lost: Some(0),
        of: None,
        base: None,
    };
    bench.control(&Control::Roll(roll));
    let actions = bench.actions();
    assert!(matches!(
        actions[0],
        Action::Roll {
            epoch: E1,
            next: E2,
            ..
        }
    ));
    assert!(
        matches!(&actions[1], Action::Open(opening) if opening.epoch == E2 && opening.after == Some(E1))
    );
    bench.receiver.handle_standing(standing(0));
    assert!(matches!(&bench.actions()[..], [Action::Control(Control::Resume(r))] if r.epoch == E2));
    assert_eq!(bench.receiver.handle_data(1, 4).unwrap().epoch, E2);
}

#[test]
fn only_siblings_move_the_resume() {
    let resume = |acked: &[(ArchiveId, u64)]| {
        let mut bench = Bench::new();
        bench.control(&hello(acked));
        bench.receiver.handle_claimed();
        bench.receiver.handle_standing(standing(50));
        let gaps = bench
            .actions()
            .into_iter()
            .filter(|a| matches!(a, Action::Gap { .. }))
            .count();
        (taken(&bench), gaps)
    };
    let stranger = ArchiveId::from_bytes([7; 16]);
    assert_eq!(resume(&[(SIBLING, 80)]), (80, 1));
    assert_eq!(resume(&[(SIBLING, 30)]), (50, 0));
    // Its own id never counts, even if it is named as a sibling.
    assert_eq!(resume(&[(OWN, 80), (stranger, 90)]), (50, 0));
}

#[test]
fn a_gap_that_a_sibling_holds_ends_the_line_before_it() {
    let mut bench = Bench::new();
    bench.control(&hello(&[(SIBLING, 30)]));
    bench.receiver.handle_claimed();
    let in_line = true;
    bench.receiver.handle_standing(Standing {
        in_line,
        ..standing(10)
    });
    bench.actions();
    let (to, cause) = (at(40), GapCause::LagCap);
    bench.control(&Control::Skip { to, cause });
    assert!(matches!(bench.actions()[..], [Action::Gap { .. }]));
}

#[test]
fn a_sealed_epoch_takes_nothing_but_the_same_end() {
    let sealed = Standing {
        sealed: true,
        ..standing(10)
    };
    let mut bench = Bench::open(sealed);
    assert_eq!(bench.receiver.handle_data(1, 9), None);
    bench.closes();
    let mut bench = Bench::open(sealed);
    let roll = Roll {
        end: at(10),
        epoch: E2,
        cause: crate::RollCause::Rotated,
        lost: None,
        of: None,
        base: None,
    };
    bench.control(&Control::Roll(roll));
    assert!(matches!(bench.actions()[1], Action::Open(_)));
}

#[test]
fn patience_ends_but_not_while_we_do_not_read() {
    assert_eq!(
        Bench::new().pass(10),
        [Action::Close(Closing::Late("hello"))]
    );
    let mut bench = Bench::open(standing(0));
    assert_eq!(bench.pass(59), []);
    assert_eq!(bench.pass(1), [Action::Close(Closing::Late("frames"))]);
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_progress(true, bench.now);
    bench.pass(20);
    bench.receiver.handle_reading(false, bench.now);
    assert_eq!(bench.pass(500), []);
    bench.receiver.handle_reading(true, bench.now);
    assert_eq!(bench.pass(9), []);
    assert_eq!(bench.pass(1), [Action::Close(Closing::Late("frame"))]);
}
