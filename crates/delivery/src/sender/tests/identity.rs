//! Which file is which epoch.

use super::*;
use crate::control::Missing;

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
                    let hash = Hash::of(&theirs[end - len as usize..end]);
                    bench.control(&Control::Proof(hash.into()));
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

/// The sibling acknowledged 9 bytes; the file has lost the last five of them.
fn known_to_another(acked: u64) -> Source {
    let other = crate::Acked {
        archive: ANOTHER,
        offset: at(acked),
    };
    Source {
        acked: vec![other],
        ..Bench::source(Some(E1), b"one\n")
    }
}

const ANOTHER: ArchiveId = ArchiveId::from_bytes([9; 16]);

#[track_caller]
fn doubts(bench: &mut Bench) -> Doubts {
    match &bench.actions()[..] {
        [
            Action::End(Outcome {
                why: Why::Unproved(doubts),
                ..
            }),
        ] => doubts.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn asks_another_master_what_this_one_does_not_hold() {
    let Control::Resume(mut gap) = resume(E1, 9, b"") else {
        panic!()
    };
    gap.tail = Print::of(at(0), b"");
    let mut bench = Bench::with(known_to_another(9), b"one\n");
    bench.control(&Control::Resume(gap.clone()));
    doubts(&mut bench);
    // If nobody else has them either, they are a gap that the file may fill.
    let mut bench = Bench::new(Some(E1), b"one\n");
    bench.control(&Control::Resume(gap));
    assert!(matches!(bench.actions()[..], [Action::LineStart { .. }]));
}

#[test]
fn a_gap_that_all_masters_have_is_nobodys_to_prove() {
    // Each holds all but the first line.
    let ask = |archive, other, earlier| {
        let mut source = known_to_another(9);
        source.acked[0].archive = other;
        let mut bench = Bench::with(source, b"one\n");
        bench.sender = bench.sender.with_doubts(earlier);
        let Control::Resume(resume) = resume(E1, 9, b"tail\n") else {
            panic!()
        };
        bench.control(&Control::Resume(Resume { archive, ..resume }));
        let actions = bench.actions();
        assert!(matches!(
            actions[..],
            [Action::Control(Control::Prove { .. })]
        ));
        let (from, to) = (at(0), at(4));
        bench.control(&Control::Proof(Some(Missing { from, to }).into()));
        bench
    };
    let mut first = ask(ARCHIVE, ANOTHER, Doubts::default());
    let told = doubts(&mut first);
    // The same one again has nothing new to say.
    doubts(&mut ask(ARCHIVE, ANOTHER, told.clone()));
    let actions = ask(ANOTHER, ARCHIVE, told).actions();
    let start = at(0);
    assert!(
        matches!(actions[..], [Action::LineStart { at, .. }] if at == start),
        "{actions:?}"
    );
}

#[test]
fn asks_about_the_whole_of_a_file_that_is_shorter_than_a_head() {
    let mut bench = Bench::new(None, b"one\n");
    bench.control(&Control::Epochs(vec![held(E1, b"one\ntwo\n")]));
    let (epoch, end, len) = (E1, at(4), 4);
    let prove = Control::Prove { epoch, end, len };
    assert_eq!(bench.actions(), [Action::Control(prove)]);
    bench.control(&Control::Proof(Hash::of(b"one\n").into()));
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
    bench.ends(&Why::Unreadable);
}

#[test]
fn goes_on_with_a_file_whose_beginning_is_unreadable_for_good() {
    let source = Source {
        stream: "decky".to_owned(),
        epoch: Some(E1),
        after: None,
        from: at(8),
        size: at(14),
        acked: Vec::new(),
        of: None,
        base: None,
        common: Offset::ZERO,
    };
    let mut bench = Bench::with(source, b"one\ntwo\nthree\n");
    bench.control(&resume(E1, 8, b"two\n"));
    bench.actions();
    assert!(matches!(
        bench.lines(14)[..],
        [Action::Data { .. }, Action::Read { .. }]
    ));
}

#[test]
fn shares_nothing_below_a_gap() {
    // The archive has the last byte of what begins with a gap: many files have an LF there.
    let mut gap = held(E1, b"\n");
    let print = Print::of(at(4), b"\n");
    (gap.end, gap.head, gap.tail) = (at(4), print, print);
    let mut bench = Bench::new(None, b"one\ntwo\n");
    bench.control(&Control::Epochs(vec![gap]));
    assert_eq!(bench.actions(), [Action::Adopt(Adopted::Unknown)]);
}

#[test]
fn shares_what_begins_in_what_is_known_to_be_common() {
    // A branch that proves little, of which nothing but its beginning is another epoch's.
    let mut branch = held(E1, b"two\n");
    let print = Print::of(at(8), b"two\n");
    (branch.end, branch.head, branch.tail) = (at(8), print, print);
    let unknown = Action::Adopt(Adopted::Unknown);
    let shared = Action::LineStart {
        epoch: None,
        at: at(8),
    };
    for (common, action) in [(3, unknown), (4, shared)] {
        let mut source = Bench::source(None, b"one\ntwo\nthree\n");
        source.common = at(common);
        let mut bench = Bench::with(source, b"one\ntwo\nthree\n");
        bench.control(&Control::Epochs(vec![branch.clone()]));
        assert_eq!(bench.actions(), [action]);
    }
}

#[test]
fn prefers_what_is_known_to_be_common_to_a_beginning() {
    let file = b"one of many lines\n".repeat(300);
    let mut other = file.clone();
    other.extend_from_slice(b"and gone on with otherwise\n");
    for (common, adopted) in [(5000, Adopted::Unknown), (0, Adopted::Epoch(E1))] {
        let mut source = Bench::source(None, &file);
        source.common = at(common);
        let mut bench = Bench::with(source, &file);
        bench.control(&Control::Epochs(vec![held(E1, &other)]));
        assert_eq!(bench.actions(), [Action::Adopt(adopted)]);
    }
}

#[test]
fn is_not_the_epoch_that_it_is_known_to_have_branched_off() {
    // All of a sealed epoch, and a branch of it that has more of the file, and is too short to prove it.
    let file = b"one of many lines\n".repeat(300);
    let end = file.len() as u64 - 18;
    let sealed = held(E1, &file[..end as usize]);
    let mut branch = held(E2, b"one of many lines\n");
    let print = Print::of(at(file.len() as u64), b"one of many lines\n");
    (branch.end, branch.head, branch.tail) = (print.end, print, print);
    let adopted = Action::Adopt(Adopted::Epoch(E1));
    let shared = Action::LineStart {
        epoch: None,
        at: print.end,
    };
    for (common, action) in [(end - 18, adopted), (end, shared)] {
        let mut source = Bench::source(None, &file);
        source.common = at(common);
        let mut bench = Bench::with(source, &file);
        bench.control(&Control::Epochs(vec![branch.clone(), sealed.clone()]));
        assert_eq!(bench.actions(), [action]);
    }
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
fn a_file_that_is_gone_is_accepted_behind_a_gap() {
    let mut bench = Bench::new(Some(E1), b"");
    let Control::Resume(mut gap) = resume(E1, 53, b"") else {
        panic!()
    };
    gap.tail = Print::of(at(0), b"");
    bench.control(&Control::Resume(gap));
    assert!(matches!(bench.actions()[..], [Action::Read { from, .. }] if from == at(53)));
}
