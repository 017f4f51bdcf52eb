//! Copytruncate around a start: a copy that is begun, finished and followed by its cut at any step of the first look, with
//! a master that proves what it holds.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tail::{Answer, Checkpoint, EpochId, Follower, Options};

use crate::cases::{Case, came};

/// Between two looks.
const MOMENT: Duration = Duration::from_millis(200);

/// What was known of the live file when its reader was killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Empty,
    Seen,
    Some,
    All,
    /// All of what stood there before, which was copied and cut since.
    Before,
}

/// When the copy is begun, and when it is finished and the file cut: before a step of the start, by number.
#[derive(Debug, Clone, Copy)]
struct Turn {
    known: Known,
    more: bool,
    halved: bool,
    /// The copy says that it is as old as the file (`cp -p`), and was not made within the last minute.
    aged: bool,
    copied: usize,
    cut: usize,
}

#[test]
fn a_copy_and_a_cut_around_a_start_lose_and_repeat_nothing() {
    let mut bad = Vec::new();
    for known in [
        Known::Empty,
        Known::Seen,
        Known::Some,
        Known::All,
        Known::Before,
    ] {
        for (more, halved) in [(false, false), (false, true), (true, false), (true, true)] {
            for (copied, cut) in (0..5).flat_map(|copied| (copied..6).map(move |cut| (copied, cut)))
            {
                for aged in [false, true] {
                    let turn = Turn {
                        known,
                        more,
                        halved,
                        aged,
                        copied,
                        cut,
                    };
                    if let Err(what) = play(turn) {
                        bad.push(format!("{turn:?}: {what}"));
                    }
                }
            }
        }
    }
    assert!(bad.is_empty(), "{} bad:\n{}", bad.len(), bad.join("\n"));
}

/// The cut comes in the middle of a look, or of naming, while the live file is compared with its copy.
#[test]
fn a_cut_in_the_middle_of_a_start_loses_and_repeats_nothing() {
    let mut bad = Vec::new();
    for (asking, known) in [(false, true), (true, true), (false, false), (true, false)] {
        for moment in 0..24 {
            if let Err(what) = cut_at(asking, known, moment) {
                bad.push(format!(
                    "asking {asking}, known {known}, moment {moment}: {what}"
                ));
            }
        }
    }
    assert!(bad.is_empty(), "{} bad:\n{}", bad.len(), bad.join("\n"));
}

fn cut_at(asking: bool, known: bool, moment: usize) -> Result<(), String> {
    let mut case = Case::new();
    let text: Vec<u8> = (0..600)
        .flat_map(|n| format!("line {n}, and so on\n").into_bytes())
        .collect();
    let options = match asking {
        true => case.asking(),
        false => Options::new(case.log()),
    };
    case.append("a.log", &text[..6000]);
    let mut follower = Follower::new(options.clone(), None);
    settle(&mut case, &mut follower, None);
    let (mut bytes, mut steps) = case.all(&mut follower);
    let stored = follower.checkpoint();
    let epoch = stored.epochs[0].epoch;
    let held = bytes.clone();
    if !known {
        // What the checkpoint knows was copied and cut before.
        fs::copy(case.log(), case.path("a.log.2")).unwrap();
        case.cut();
    }
    case.append("a.log", &text[6000..]);
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, live) = (Arc::clone(&count), case.log());
    let mut follower = Follower::new(options, Some(stored)).with_moments(move || {
        if counted.fetch_add(1, Ordering::Relaxed) == moment {
            fs::write(&live, b"").unwrap();
        }
    });
    let known = Some((epoch, &held[..]));
    settle(&mut case, &mut follower, known);
    for _ in 0..3 {
        case.now = case.now.later(MOMENT);
        follower.observe(case.now).unwrap();
    }
    // Whatever the number, it is over now.
    count.store(1000, Ordering::Relaxed);
    fs::write(case.log(), b"new\n").unwrap();
    for _ in 0..3 {
        settle(&mut case, &mut follower, known);
        let (more, further) = case.all(&mut follower);
        bytes.extend(more);
        steps.extend(further);
    }
    came(&bytes, &steps, &[&text[..], b"new\n"].concat())
}

fn play(turn: Turn) -> Result<(), String> {
    let mut case = Case::new();
    let text: Vec<u8> = (0..600)
        .flat_map(|n| format!("line {n}, and so on\n").into_bytes())
        .collect();
    let (stored, held, end) = before(&mut case, turn, &text);
    let epoch = stored.epochs.last().unwrap().epoch;
    let known = (!held.is_empty()).then_some((epoch, &held[..]));
    let mut follower = Follower::new(case.asking(), Some(stored));
    turn.happen(0, &case);
    // Nothing that happens looks as if it happened a moment ago.
    let since = if turn.aged {
        Duration::from_secs(300)
    } else {
        MOMENT
    };
    case.now = case.now.later(since);
    follower.observe(case.now).unwrap();
    turn.happen(1, &case);
    let answers = answers(&mut follower, known);
    turn.happen(2, &case);
    follower.name(&answers, case.now).unwrap();
    turn.happen(3, &case);
    settle(&mut case, &mut follower, known);
    turn.happen(4, &case);
    let (mut bytes, mut steps) = case.all(&mut follower);
    turn.happen(5, &case);
    for _ in 0..3 {
        settle(&mut case, &mut follower, known);
        let (more, further) = case.all(&mut follower);
        bytes.extend(more);
        steps.extend(further);
    }
    came(&bytes, &steps, &[&text[held.len()..end], b"new\n"].concat())
}

/// A reader's life before the start: its checkpoint, what it delivered of the live file, and that file's length.
fn before(case: &mut Case, turn: Turn, text: &[u8]) -> (Checkpoint, Vec<u8>, usize) {
    let line = |at: usize| text[..at].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let (some, whole) = (line(6000), line(9000));
    case.append("a.log", b"the file before\n");
    let mut follower = Follower::new(case.asking(), None);
    settle(case, &mut follower, None);
    case.all(&mut follower);
    fs::rename(case.log(), case.path("a.log.2")).unwrap();
    case.append("a.log", b"");
    settle(case, &mut follower, None);
    case.all(&mut follower);
    let mut held = Vec::new();
    match turn.known {
        Known::Empty => case.append("a.log", &text[..whole]),
        Known::Seen => {
            case.append("a.log", &text[..whole]);
            case.now = case.now.later(MOMENT);
            follower.observe(case.now).unwrap();
        }
        Known::Some => {
            case.append("a.log", &text[..some]);
            held = case.all(&mut follower).0;
            case.append("a.log", &text[some..whole]);
        }
        Known::All => {
            case.append("a.log", &text[..whole]);
            held = case.all(&mut follower).0;
        }
        Known::Before => {
            let before: Vec<u8> = text[..some].iter().rev().copied().collect();
            case.append("a.log", &[&before[1..], b"\n"].concat());
            case.all(&mut follower);
            fs::copy(case.log(), case.path("a.log.2")).unwrap();
            let stored = follower.checkpoint();
            case.cut();
            let end = if turn.more { text.len() } else { whole };
            case.append("a.log", &text[..end]);
            return (stored, held, end);
        }
    }
    let stored = follower.checkpoint();
    if !turn.more {
        return (stored, held, whole);
    }
    case.append("a.log", &text[whole..]);
    (stored, held, text.len())
}

impl Turn {
    /// What happens before the step with this number.
    fn happen(self, step: usize, case: &Case) {
        let live = fs::read(case.log()).unwrap();
        let copy = |part: usize| {
            fs::write(case.path("a.log.1"), &live[..part]).unwrap();
            if self.aged {
                let copy = fs::File::options().append(true).open(case.path("a.log.1"));
                let then = SystemTime::now() - Duration::from_secs(3600);
                copy.unwrap().set_modified(then).unwrap();
            }
        };
        if step == self.copied {
            copy(match self.halved {
                true => live.len() / 2,
                false => live.len(),
            });
        }
        if step == self.cut {
            copy(live.len());
            case.cut();
            case.append("a.log", b"new\n");
        }
    }
}

/// What a master says that holds so much of an epoch.
fn answers(follower: &mut Follower, known: Option<(EpochId, &[u8])>) -> Vec<Answer> {
    let waiting = follower.strangers();
    let answer = |at| {
        let size = follower.stranger_size(at).unwrap();
        let Some((epoch, held)) = known.filter(|(_, held)| held.len() as u64 <= size) else {
            return Answer::New;
        };
        let end = held.len() as u64;
        match follower.stranger_bytes(at, end, held.len() as u32).unwrap() {
            Some(bytes) if bytes == held => Answer::Is(epoch),
            _ => Answer::New,
        }
    };
    (0..waiting).map(answer).collect()
}

/// Asks until nothing is left to ask about.
fn settle(case: &mut Case, follower: &mut Follower, known: Option<(EpochId, &[u8])>) {
    for _ in 0..50 {
        case.now = case.now.later(MOMENT);
        follower.observe(case.now).unwrap();
        if follower.strangers() == 0 {
            return;
        }
        let answers = answers(follower, known);
        follower.name(&answers, case.now).unwrap();
    }
    panic!("asked for ever");
}
