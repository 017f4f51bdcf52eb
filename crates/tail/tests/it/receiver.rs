//! What a receiver that acknowledges needs: files that wait for a name, gaps that stay, files made durable.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use tail::{Answer, EpochId, Follower, Options, RollCause, Step};

use crate::cases::{Case, rolls};

#[test]
fn what_was_given_up_stays_given_up() {
    let mut case = Case::new();
    let lines: Vec<u8> = (0..100)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    case.append("a.log", &lines);
    let mut options = Options::new(case.log());
    options.max_lag = 100;
    let mut follower = Follower::new(options.clone(), None);
    let Step::Gap(gap) = follower.next(&mut case.bytes, case.now).unwrap() else {
        panic!("no gap");
    };
    // It was told to somebody; then we die, and the limit is another one.
    let stored = follower.checkpoint();
    drop(follower);
    options.max_lag = 0;
    let mut follower = Follower::new(options, Some(stored));
    let Step::Gap(again) = follower.next(&mut case.bytes, case.now).unwrap() else {
        panic!("the gap is forgotten");
    };
    assert_eq!(
        (again.from, again.to, again.cause),
        (gap.from, gap.to, gap.cause)
    );
}

#[test]
fn a_backlog_is_made_durable_once() {
    let mut case = Case::new();
    for n in 0..100 {
        case.append("a.log", format!("line {n}\n").as_bytes());
    }
    let mut options = Options::new(case.log());
    options.durable = true;
    options.read = 64;
    let mut follower = Follower::new(options, None);
    assert!(case.all(&mut follower).1.len() > 10);
    assert_eq!(follower.syncs(), 1);
    case.append("a.log", b"more\n");
    case.all(&mut follower);
    assert_eq!(follower.syncs(), 2);
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"other\n");
    case.all(&mut follower);
    assert_eq!(follower.syncs(), 3);
}

#[test]
fn files_that_wait_are_named_by_what_is_known_of_them() {
    let mut case = Case::new();
    case.append("a.log.3", b"before our time\n");
    case.append("a.log.2", b"known, to here\nand on\n");
    case.append("a.log.1", b"common\nother history\n");
    case.append("a.log", b"new\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, None);
    follower.observe(case.now).unwrap();
    assert_eq!(follower.strangers(), 4);
    assert_eq!(follower.stranger_size(1).unwrap(), 22);
    let bytes = follower.stranger_bytes(1, 5, 3).unwrap();
    assert_eq!(bytes.as_deref(), Some(&b"own"[..]));
    assert_eq!(follower.stranger_line_start(1, 20).unwrap(), Some(15));
    let is = EpochId::from_bytes([7; 16]);
    let answers = [
        Answer::New,
        Answer::Is(is),
        Answer::Branch { of: None, base: 7 },
    ];
    assert!(follower.name(&answers, case.now).unwrap());
    assert!(follower.seek(is, 15).unwrap());
    let (bytes, _) = case.all(&mut follower);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "and on\nother history\nnew\n"
    );
}

#[test]
fn a_file_that_changes_while_it_is_asked_about_is_asked_about_again() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, None);
    follower.observe(case.now).unwrap();
    assert_eq!(follower.stranger_size(0).unwrap(), 4);
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.append("a.log", b"two\n");
    let is = EpochId::from_bytes([7; 16]);
    assert!(!follower.name(&[Answer::Is(is)], case.now).unwrap());
    case.now = case.now.later(Duration::from_secs(1));
    let round = follower.strangers_round();
    follower.observe(case.now).unwrap();
    assert!(follower.strangers_round() > round);
    assert_eq!(follower.strangers(), 2);
    assert!(follower.name(&[Answer::Is(is)], case.now).unwrap());
    assert!(follower.seek(is, 4).unwrap());
    assert_eq!(case.all(&mut follower).0, b"two\n");
}

/// Copied and cut between the look and the question: what was asked about is what the file holds now.
#[test]
fn a_copy_that_nobody_asked_about_is_asked_about() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, None);
    follower.observe(case.now).unwrap();
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.append("a.log", b"two\n");
    assert_eq!(follower.stranger_size(0).unwrap(), 4);
    assert!(!follower.name(&[Answer::New], case.now).unwrap());
    case.now = case.now.later(Duration::from_secs(1));
    follower.observe(case.now).unwrap();
    assert_eq!(follower.strangers(), 2);
}

#[test]
fn a_copy_made_before_anything_was_asked_comes_before_what_replaced_it() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, None);
    follower.observe(case.now).unwrap();
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.append("a.log", b"two\n");
    case.now = case.now.later(Duration::from_secs(1));
    follower.observe(case.now).unwrap();
    let is = EpochId::from_bytes([7; 16]);
    assert!(follower.name(&[Answer::Is(is)], case.now).unwrap());
    assert_eq!(case.all(&mut follower).0, b"one\ntwo\n");
}

#[test]
fn a_copy_of_a_file_that_was_recognised_is_not_read() {
    let mut case = Case::new();
    case.append("a.log.old", b"one\ntwo\n");
    case.append("a.log", b"one\ntwo\nthree\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, None);
    follower.observe(case.now).unwrap();
    let is = EpochId::from_bytes([7; 16]);
    assert!(
        follower
            .name(&[Answer::Is(is), Answer::Is(is)], case.now)
            .unwrap()
    );
    assert!(follower.seek(is, 8).unwrap());
    assert_eq!(case.all(&mut follower).0, b"three\n");
}

/// The master can't be reached for long: the files are rotated, and we are started again, before anything is named.
#[test]
fn what_was_live_at_the_first_look_is_not_before_our_time() {
    let mut case = Case::new();
    case.append("a.log.1", b"before our time\n");
    case.append("a.log", b"one\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options.clone(), None);
    follower.observe(case.now).unwrap();
    let mut stored = Some(follower.checkpoint());
    for restart in [false, true] {
        case.append("a.log", b"more\n");
        case.rename("a.log.1", if restart { "a.log.2" } else { "a.log.3" });
        case.rename("a.log", "a.log.1");
        case.append("a.log", b"next\n");
        case.now = case.now.later(Duration::from_secs(1));
        if restart {
            follower = Follower::new(options.clone(), stored.take());
        }
        follower.observe(case.now).unwrap();
        stored = Some(follower.checkpoint());
    }
    assert!(follower.name(&[], case.now).unwrap());
    let (bytes, _) = case.all(&mut follower);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "one\nmore\nnext\nmore\nnext\n"
    );
}

/// An epoch of an empty file was named; meanwhile it was written to, and rotated.
#[test]
fn a_file_that_was_empty_when_it_was_named_keeps_its_name() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"");
    case.all(&mut follower);
    let stored = follower.checkpoint();
    let named = stored.epochs[1].epoch;
    drop(follower);
    case.append("a.log", b"two\n");
    case.rename("a.log.1", "a.log.2");
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"three\n");
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, Some(stored));
    follower.observe(case.now).unwrap();
    assert_eq!(follower.strangers(), 2);
    assert!(follower.name(&[], case.now).unwrap());
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"two\nthree\n");
    assert!(
        matches!(steps[1], Step::Lines(span) if span.epoch == named),
        "{steps:?}"
    );
}

/// Cut between the last look and what a receiver is told.
#[test]
fn a_file_that_was_cut_is_not_offered_as_its_epoch() {
    let mut case = Case::new();
    case.append("a.log", &[b'x'; 100]);
    case.append("a.log", b"\n");
    let mut follower = case.follow();
    let (_, steps) = case.all(&mut follower);
    let Step::Lines(span) = steps[0] else {
        panic!("{steps:?}")
    };
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    case.append("a.log.1", b"and more\n");
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.append("a.log", b"new\n");
    assert_eq!(follower.bytes(span.epoch, 4, 4).unwrap(), None);
    follower.contest(span.epoch, None, 0);
    assert_eq!(follower.strangers(), 1);
    assert!(follower.name(&[Answer::New], case.now).unwrap());
    assert_eq!(follower.renamed(), None);
    let offer = follower.offer(span.epoch, case.now).unwrap().unwrap();
    assert_eq!((offer.epoch, offer.size), (span.epoch, 110));
    assert_eq!(case.all(&mut follower).0, b"and more\nnew\n");
}

/// The only file between one that is held open without a name and one that was known while it was empty.
#[test]
fn a_copy_behind_a_file_that_lost_its_name_is_found() {
    let mut case = Case::new();
    case.append("a.log", b"zero\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.1");
    case.append(
        "a.log",
        b"the first, which is as long as it takes to be sure of what it is: one\n",
    );
    follower.observe(case.now).unwrap();
    case.rename("a.log", "a.log.2");
    case.append("a.log", b"");
    case.now = case.now.later(Duration::from_secs(1));
    follower.observe(case.now).unwrap();
    fs::remove_file(case.path("a.log.1")).unwrap();
    fs::remove_file(case.path("a.log.2")).unwrap();
    case.append("a.log", b"never seen\n");
    fs::copy(case.log(), case.path("a.log.2")).unwrap();
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"the last\n");
    let (bytes, _) = case.all(&mut follower);
    assert!(
        bytes.ends_with(b"one\nnever seen\nthe last\n"),
        "{:?}",
        String::from_utf8_lossy(&bytes)
    );
}

/// The connection is lost behind a gap, and what was sent before it has to come again.
#[test]
fn a_gap_that_comes_again_is_no_wider() {
    let mut case = Case::new();
    case.append("a.log", b"one\ntwo\n");
    let mut options = Options::new(case.log());
    options.max_lag = 100;
    let mut follower = Follower::new(options, None);
    let step = follower.next(&mut case.bytes, case.now).unwrap();
    let Step::Lines(first) = step else {
        panic!("{step:?}")
    };
    let lines: Vec<u8> = (0..100)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    case.append("a.log", &lines);
    let gap = loop {
        case.now = case.now.later(Duration::from_secs(1));
        match follower.next(&mut case.bytes, case.now).unwrap() {
            Step::Gap(gap) => break gap,
            // The limit is looked at when the file is.
            Step::Lines(span) => follower.confirm(span.seq.min(first.seq - 1)),
            step => panic!("{step:?}"),
        }
    };
    for to in [0, 4] {
        follower.rewind();
        assert!(follower.seek(first.epoch, to).unwrap());
        let mut bytes = Vec::new();
        let again = loop {
            match follower.next(&mut case.bytes, case.now).unwrap() {
                Step::Gap(gap) => break gap,
                Step::Lines(_) => bytes.extend_from_slice(&case.bytes),
                step => panic!("{step:?}"),
            }
        };
        assert_eq!((again.from, again.to), (gap.from, gap.to));
        let whole = fs::read(case.log()).unwrap();
        assert_eq!(bytes, whole[to as usize..gap.from as usize]);
    }
    // Somebody who has a part of it gets the rest of the gap.
    follower.rewind();
    assert!(follower.seek(first.epoch, gap.from + 3).unwrap());
    let step = follower.next(&mut case.bytes, case.now).unwrap();
    assert!(matches!(step, Step::Gap(rest) if (rest.from, rest.to) == (gap.from + 3, gap.to)));
}

/// A line is written, and read, between the copy and the cut: the copy is shorter than what was read.
#[test]
fn a_copy_that_is_shorter_than_what_was_read_is_not_read_again() {
    for len in [100, 9000] {
        let mut case = Case::new();
        case.append("a.log", &vec![b'x'; len]);
        case.append("a.log", b"\n");
        let mut follower = case.follow();
        case.all(&mut follower);
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        case.append("a.log", b"between\n");
        assert_eq!(case.all(&mut follower).0, b"between\n");
        let live = OpenOptions::new().write(true).open(case.log()).unwrap();
        live.set_len(0).unwrap();
        case.append("a.log", b"new\n");
        // Twice in a row, before the end of the first one is confirmed.
        follower.observe(case.now).unwrap();
        case.rename("a.log.1", "a.log.2");
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        let live = OpenOptions::new().write(true).open(case.log()).unwrap();
        live.set_len(0).unwrap();
        case.append("a.log", b"next\n");
        let (bytes, steps) = case.all(&mut follower);
        assert_eq!(bytes, b"new\nnext\n", "{steps:?}");
        assert_eq!(rolls(&steps), [RollCause::Rotated; 2]);
        assert!(!steps.iter().any(|step| matches!(step, Step::Gap(_))));
        // Also by the next process.
        case.rename("a.log.2", "a.log.3");
        case.rename("a.log.1", "a.log.2");
        case.rename("a.log", "a.log.1");
        case.append("a.log", b"newer\n");
        let stored = follower.checkpoint();
        let mut follower = Follower::new(Options::new(case.log()), Some(stored));
        assert_eq!(case.all(&mut follower).0, b"newer\n");
    }
}

#[test]
fn more_files_than_can_wait_come_in_order_all_the_same() {
    let mut case = Case::new();
    case.append("a.log", b"line 0\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    let count = 40;
    case.rename("a.log", &format!("a.log.{count}"));
    let mut expected = Vec::new();
    for n in 1..=count {
        let line = format!("line {n}, and as much more as it takes to tell it from the others\n");
        expected.extend_from_slice(line.as_bytes());
        let name = match count - n {
            0 => "a.log".to_owned(),
            age => format!("a.log.{age}"),
        };
        case.append(&name, line.as_bytes());
    }
    let mut options = Options::new(case.log());
    options.ask = true;
    let mut follower = Follower::new(options, Some(stored));
    follower.observe(case.now).unwrap();
    assert!(follower.strangers() < count);
    let mut waited = 0;
    while follower.strangers() > 0 {
        waited += follower.strangers();
        assert!(follower.name(&[], case.now).unwrap());
        follower.observe(case.now).unwrap();
    }
    assert_eq!(waited, count);
    let (bytes, _) = case.all(&mut follower);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&expected)
    );
}

/// Started between the copy and the cut.
#[test]
fn a_copy_in_the_making_is_no_file_of_its_own() {
    for ask in [false, true] {
        let mut case = Case::new();
        case.append("a.log", b"older\n");
        let mut follower = case.follow();
        case.all(&mut follower);
        let stored = follower.checkpoint();
        drop(follower);
        case.rename("a.log", "a.log.2");
        case.append("a.log", b"one\n");
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        case.append("a.log", b"between\n");
        let mut options = Options::new(case.log());
        options.ask = ask;
        let mut follower = Follower::new(options, Some(stored));
        follower.observe(case.now).unwrap();
        if ask {
            assert_eq!(follower.strangers(), 2);
            assert!(follower.name(&[], case.now).unwrap());
            follower
                .observe(case.now.later(Duration::from_secs(1)))
                .unwrap();
        }
        let live = OpenOptions::new().write(true).open(case.log()).unwrap();
        live.set_len(0).unwrap();
        case.append("a.log", b"two\n");
        let (bytes, steps) = case.all(&mut follower);
        // Nobody has read what came between.
        assert_eq!(String::from_utf8_lossy(&bytes), "one\ntwo\n", "{steps:?}");
    }
}

#[test]
fn a_copy_that_stays_is_a_file_of_its_own_after_a_while() {
    let mut case = Case::new();
    case.append("a.log", b"older\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    case.rename("a.log", "a.log.2");
    case.append("a.log", b"one\n");
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    let mut follower = Follower::new(Options::new(case.log()), Some(stored));
    assert_eq!(case.all(&mut follower).0, b"one\n");
    case.now = case.now.later(Duration::from_secs(61));
    assert_eq!(case.all(&mut follower).0, b"one\n");
}
