//! Rotations in the middle of naming: between any two of its steps, with a master that proves what it holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tail::{Answer, Checkpoint, EpochId, Follower};

use crate::cases::{Case, came};

/// Between two looks.
const MOMENT: Duration = Duration::from_millis(200);
/// More than a look and naming have, so that the last ones come after them.
const MOMENTS: usize = 20;

/// What is done to the live file in a moment of naming.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Rename,
    /// Copied, and cut.
    Copy,
    /// It was copied, whole or in part, before it was looked at; the copy is finished, and the file cut.
    Finish {
        half: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    deed: Deed,
    /// In the moment with this number; 0: before.
    moment: usize,
    /// The checkpoint is lost.
    lost: bool,
    /// The master knows of the live file what was delivered of it; else nothing was.
    told: bool,
}

/// What a master holds of an epoch.
struct Held {
    epoch: EpochId,
    bytes: Vec<u8>,
}

#[test]
fn a_rotation_in_the_middle_of_naming_loses_and_repeats_nothing() {
    let mut bad = Vec::new();
    let deeds = [
        Deed::Rename,
        Deed::Copy,
        Deed::Finish { half: false },
        Deed::Finish { half: true },
    ];
    let states = [(false, false), (false, true), (true, true)];
    for (deed, (lost, told)) in deeds
        .iter()
        .flat_map(|deed| states.map(|state| (*deed, state)))
    {
        for moment in 0..MOMENTS {
            let turn = Turn {
                deed,
                moment,
                lost,
                told,
            };
            if let Err(what) = play(turn) {
                bad.push(format!("{turn:?}: {what}"));
            }
        }
    }
    assert!(bad.is_empty(), "{} bad:\n{}", bad.len(), bad.join("\n"));
}

/// A file behind the one that is cut waits as well: a look in the middle of naming must not take it for a new one.
#[test]
fn a_cut_of_a_rotated_file_takes_no_name_from_those_that_wait() {
    let mut case = Case::new();
    let [rotated, live, new] = ["rotated", "live", "new"].map(|what| lines(what, 300));
    case.append("a.log", &rotated);
    let mut follower = case.follow();
    follower.observe(case.now).unwrap();
    case.rename("a.log", "a.log.3");
    case.append("a.log", &live);
    case.now = case.now.later(MOMENT);
    follower.observe(case.now).unwrap();
    let stored = follower.checkpoint();
    drop(follower);
    fs::copy(case.path("a.log.3"), case.path("a.log.2")).unwrap();
    case.rename("a.log", "a.log.1");
    case.append("a.log", &new);
    let at = line(&new, 3000);
    let told = Held {
        epoch: EpochId::from_bytes([7; 16]),
        bytes: new[..at].to_vec(),
    };
    let copied = Answer::Is(stored.epochs[0].epoch);
    let mut follower = Follower::new(case.asking(), Some(stored));
    follower.observe(case.now).unwrap();
    let held = [told];
    let mut answers = answers(&mut follower, &held);
    assert_eq!(answers, [Answer::New, Answer::Is(held[0].epoch)]);
    answers[0] = copied;
    fs::write(case.path("a.log.3"), b"").unwrap();
    let named = follower.name(&answers, case.now).unwrap();
    settle(&mut case, &mut follower, &held);
    let (bytes, steps) = case.all(&mut follower);
    let expected = [&rotated, &live, &new[at..]].concat();
    assert!(bytes == expected, "{} octets: {steps:?}", bytes.len());
    assert!(!named, "the answers were about another state of the files");
}

fn play(turn: Turn) -> Result<(), String> {
    let mut case = Case::new();
    let text = lines("line", 600);
    let other = lines("of another file, line", 300);
    let (stored, mut held, at) = before(&mut case, turn, &text);
    // Between both came a file of which an older checkpoint knows nothing.
    let name = match turn.deed {
        Deed::Finish { .. } => "a.log.2",
        _ => "a.log.1",
    };
    case.append(name, &other);
    let part = line(&other, 3000);
    held.push(Held {
        epoch: EpochId::from_bytes([7; 16]),
        bytes: other[..part].to_vec(),
    });
    turn.begin(&case);
    let stored = (!turn.lost).then_some(stored);
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, path) = (Arc::clone(&count), case.log());
    let follower = Follower::new(case.asking(), stored);
    let mut follower = follower.with_moments(move || {
        if counted.fetch_add(1, Ordering::Relaxed) + 1 == turn.moment {
            turn.happen(&path);
        }
    });
    case.now = case.now.later(MOMENT);
    follower.observe(case.now).unwrap();
    let answers = answers(&mut follower, &held);
    if turn.moment == 0 {
        turn.happen(&case.log());
    }
    follower.name(&answers, case.now).unwrap();
    if count.load(Ordering::Relaxed) < turn.moment {
        count.store(MOMENTS, Ordering::Relaxed);
        turn.happen(&case.log());
    }
    let (mut bytes, mut steps) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        settle(&mut case, &mut follower, &held);
        let (more, further) = case.all(&mut follower);
        bytes.extend(more);
        steps.extend(further);
    }
    came(
        &bytes,
        &steps,
        &[&other[part..], &text[at..], b"new\n"].concat(),
    )
}

/// A reader's life before the start: its checkpoint, what it delivered, and up to where of the live file.
fn before(case: &mut Case, turn: Turn, text: &[u8]) -> (Checkpoint, Vec<Held>, usize) {
    case.append("a.log", &lines("the file before, line", 100));
    let mut follower = Follower::new(case.asking(), None);
    settle(case, &mut follower, &[]);
    let old = case.all(&mut follower).0;
    case.rename("a.log", "a.log.3");
    let some = line(text, 6000);
    case.append("a.log", &text[..some]);
    settle(case, &mut follower, &[]);
    let mut new = Vec::new();
    if turn.told {
        new = case.all(&mut follower).0;
    }
    let stored = follower.checkpoint();
    case.append("a.log", &text[some..]);
    let at = new.len();
    let both = stored.epochs.iter().zip([old, new]);
    let held = both.map(|(known, bytes)| Held {
        epoch: known.epoch,
        bytes,
    });
    let held = held.filter(|held| !held.bytes.is_empty()).collect();
    (stored, held, at)
}

impl Turn {
    /// What was done before the start.
    fn begin(self, case: &Case) {
        if let Deed::Finish { half } = self.deed {
            let live = fs::read(case.log()).unwrap();
            let part = if half { live.len() / 2 } else { live.len() };
            fs::write(aged(&case.log(), 1), &live[..part]).unwrap();
        }
    }

    /// What is done in the moment.
    fn happen(self, live: &Path) {
        if !matches!(self.deed, Deed::Finish { .. }) {
            for age in [3, 1] {
                fs::rename(aged(live, age), aged(live, age + 1)).unwrap();
            }
        }
        match self.deed {
            Deed::Rename => fs::rename(live, aged(live, 1)).unwrap(),
            Deed::Copy | Deed::Finish { .. } => {
                // The same file goes on: what is written into it is not another one.
                let bytes = fs::read(live).unwrap();
                fs::OpenOptions::new()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(aged(live, 1))
                    .and_then(|mut copy| std::io::Write::write_all(&mut copy, &bytes))
                    .unwrap();
            }
        }
        fs::write(live, b"new\n").unwrap();
    }
}

fn aged(live: &Path, age: usize) -> PathBuf {
    live.with_file_name(format!("a.log.{age}"))
}

fn lines(what: &str, count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|n| format!("{what} {n}, and so on\n").into_bytes())
        .collect()
}

/// Where the line ends that is the last to end before `at`.
fn line(text: &[u8], at: usize) -> usize {
    text[..at].iter().rposition(|byte| *byte == b'\n').unwrap() + 1
}

/// What the master says of the files that wait.
fn answers(follower: &mut Follower, held: &[Held]) -> Vec<Answer> {
    let waiting = follower.strangers();
    let mut answer = |at| {
        let size = follower.stranger_size(at).unwrap();
        for Held { epoch, bytes } in held {
            let end = bytes.len() as u64;
            let there = follower.stranger_bytes(at, end, bytes.len() as u32);
            if end <= size && there.unwrap().as_ref() == Some(bytes) {
                return Answer::Is(*epoch);
            }
        }
        Answer::New
    };
    (0..waiting).map(&mut answer).collect()
}

/// Asks until nothing is left to ask about; then the master says where each epoch goes on.
fn settle(case: &mut Case, follower: &mut Follower, held: &[Held]) {
    for _ in 0..50 {
        case.now = case.now.later(MOMENT);
        follower.observe(case.now).unwrap();
        if follower.strangers() == 0 {
            return go_on(case, follower, held);
        }
        let answers = answers(follower, held);
        follower.name(&answers, case.now).unwrap();
    }
    panic!("asked for ever");
}

fn go_on(case: &Case, follower: &mut Follower, held: &[Held]) {
    let stored = follower.checkpoint();
    for Held { epoch, bytes } in held {
        let end = bytes.len() as u64;
        let known = stored.epochs.iter().find(|known| known.epoch == *epoch);
        if known.is_some_and(|known| known.offset() < end) {
            follower.offer(*epoch, case.now).unwrap();
            let there = follower.bytes(*epoch, end, bytes.len() as u32).unwrap();
            if there.as_ref() == Some(bytes) {
                follower.seek(*epoch, end).unwrap();
            }
        }
    }
}
