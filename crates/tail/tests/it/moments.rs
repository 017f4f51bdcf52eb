//! Killed in the wrong moment: between a look, what is stored of it, and what is done to the files meanwhile.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tail::{Answer, EpochId, Follower, Options, RollCause, Step, TailError};

use crate::cases::{Case, rolls};

impl Case {
    /// Cuts the live file.
    pub(crate) fn cut(&self) {
        let live = OpenOptions::new().write(true).open(self.log()).unwrap();
        live.set_len(0).unwrap();
    }
}

/// A line comes between the copy and the cut, and is seen: the copy is shorter than what is known of the epoch.
#[test]
fn a_copy_that_is_shorter_than_what_was_seen_is_no_gap() {
    for len in [4, 100, 4000] {
        for killed in [false, true] {
            let mut case = Case::new();
            let text = [&vec![b'x'; len][..], b"\n"].concat();
            case.append("a.log", &text);
            let mut follower = case.follow();
            follower.observe(case.now).unwrap();
            fs::copy(case.log(), case.path("a.log.1")).unwrap();
            case.append("a.log", b"between\n");
            case.now = case.now.later(Duration::from_secs(1));
            follower.observe(case.now).unwrap();
            let stored = follower.checkpoint();
            let epoch = stored.epochs[0].epoch;
            if killed {
                let text = serde_json::to_string(&stored).unwrap();
                let stored = serde_json::from_str(&text).unwrap();
                follower = Follower::new(Options::new(case.log()), Some(stored));
            }
            case.cut();
            case.append("a.log", b"new\n");
            let (bytes, steps) = case.all(&mut follower);
            assert!(
                bytes == [&text[..], b"new\n"].concat(),
                "{len} {killed}: {steps:?}"
            );
            assert_eq!(rolls(&steps), [RollCause::Rotated]);
            assert!(matches!(steps[0], Step::Lines(span) if span.epoch == epoch));
        }
    }
}

/// The same, of a file of which everything was confirmed: nothing of the copy is new.
#[test]
fn a_copy_that_is_shorter_than_what_was_confirmed_is_known_by_the_next_process() {
    for len in [100, 3000, 9000] {
        let mut case = Case::new();
        case.append("a.log", &vec![b'x'; len]);
        case.append("a.log", b"\n");
        let mut follower = case.follow();
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        case.append("a.log", b"between\n");
        case.all(&mut follower);
        let stored = follower.checkpoint();
        drop(follower);
        case.cut();
        case.append("a.log", b"new\n");
        let mut follower = Follower::new(Options::new(case.log()), Some(stored));
        let (bytes, steps) = case.all(&mut follower);
        assert_eq!(bytes, b"new\n", "{len}: {steps:?}");
        assert_eq!(rolls(&steps), [RollCause::Rotated]);
        assert_eq!(steps.len(), 2, "{len}: {steps:?}");
    }
}

/// What happens to the live file while masters are asked.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Rename,
    Copy,
    /// And what was renamed is compressed.
    Pack,
}

impl Case {
    /// Rotates; what is there has a stamp of its own afterwards.
    fn turn(&mut self, turn: Turn) {
        self.rename("a.log.1", "a.log.2");
        match turn {
            Turn::Rename => self.rename("a.log", "a.log.1"),
            Turn::Copy => {
                fs::copy(self.log(), self.path("a.log.1")).unwrap();
                self.cut();
            }
            Turn::Pack => self.pack("a.log", "a.log.1.gz"),
        }
    }

    /// So many seconds ago.
    fn stamp(&self, name: &str, ago: u64) {
        let at = SystemTime::now() - Duration::from_secs(ago);
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(name))
            .unwrap();
        file.set_modified(at).unwrap();
    }

    pub(crate) fn asking(&self) -> Options {
        let mut options = Options::new(self.log());
        options.ask = true;
        options
    }

    /// Masters that know nothing are asked until nothing is left to ask about.
    fn named(&mut self, follower: &mut Follower) {
        for _ in 0..100 {
            self.now = self.now.later(Duration::from_secs(1));
            follower.observe(self.now).unwrap();
            if follower.strangers() == 0 {
                return;
            }
            for at in 0..follower.strangers() {
                follower.stranger_size(at).unwrap();
            }
            follower.name(&[], self.now).unwrap();
        }
        panic!("asked for ever");
    }
}

/// A first start: killed before or after any step, and rotated before or after any.
#[test]
fn a_kill_in_the_first_moments_leaves_nothing_out() {
    const STEPS: usize = 6;
    let long = [vec![b'x'; 5000], b"\n".to_vec()].concat();
    for turn in [Turn::Rename, Turn::Copy, Turn::Pack] {
        for begun in [&b""[..], b"one\n", &long] {
            for (turned, killed) in (1..STEPS).flat_map(|t| (1..STEPS).map(move |k| (t, k))) {
                let mut case = Case::new();
                case.append("a.log.1", b"before our time\n");
                case.append("a.log", begun);
                case.stamp("a.log.1", 100);
                case.stamp("a.log", 50);
                let mut follower = Follower::new(case.asking(), None);
                let mut stored = None;
                for step in 0..STEPS {
                    if step == turned {
                        case.append("a.log", b"more\n");
                        case.turn(turn);
                        case.append("a.log", b"next\n");
                    }
                    if step == killed {
                        follower = Follower::new(case.asking(), stored.clone());
                    }
                    match step {
                        // The first thing that the forwarder does.
                        0 => {
                            follower.observe(case.now).unwrap();
                            stored = Some(follower.checkpoint());
                        }
                        1 => follower
                            .observe(case.now.later(Duration::from_secs(1)))
                            .unwrap(),
                        2 if follower.strangers() > 0 => {
                            follower.stranger_size(0).unwrap();
                        }
                        3 => drop(follower.name(&[], case.now).unwrap()),
                        4 => stored = Some(follower.checkpoint()),
                        _ => {}
                    }
                }
                case.named(&mut follower);
                let (bytes, steps) = case.all(&mut follower);
                let expected = [begun, b"more\nnext\n"].concat();
                assert!(
                    bytes == expected,
                    "{turn:?} at {turned}, killed at {killed}, begun with {}: {:?} {steps:?}",
                    begun.len(),
                    String::from_utf8_lossy(&bytes),
                );
            }
        }
    }
}

/// While its masters can't be reached, a new stream is rotated more often than files can wait.
#[test]
fn what_came_after_the_first_look_is_ours_however_much_it_is() {
    let mut case = Case::new();
    case.append("a.log.1", b"before our time\n");
    case.append("a.log", b"line 0\n");
    case.stamp("a.log.1", 100);
    case.stamp("a.log", 50);
    let mut follower = Follower::new(case.asking(), None);
    follower.observe(case.now).unwrap();
    let stored = follower.checkpoint();
    drop(follower);
    let mut expected = b"line 0\n".to_vec();
    for n in 1..40 {
        for age in (1..=n).rev() {
            case.rename(&format!("a.log.{age}"), &format!("a.log.{}", age + 1));
        }
        case.rename("a.log", "a.log.1");
        let line = format!("line {n}, and what tells it from others\n");
        case.append("a.log", line.as_bytes());
        expected.extend_from_slice(line.as_bytes());
    }
    let mut follower = Follower::new(case.asking(), Some(stored));
    case.named(&mut follower);
    let (bytes, _) = case.all(&mut follower);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&expected)
    );
}

/// Permissions bind this thread, also when it is root's.
fn without_privileges() {
    let dac = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let mut sets = capabilities(None).unwrap();
    sets.effective &= !dac;
    set_capabilities(None, sets).unwrap();
}

fn shut(case: &Case, name: &str, mode: u32) {
    fs::set_permissions(case.path(name), Permissions::from_mode(mode)).unwrap();
}

/// The masters know both; one of them could not be read when they were asked.
#[test]
fn a_file_that_can_not_be_read_is_asked_about_once_it_can() {
    without_privileges();
    for lost in [false, true] {
        let mut case = Case::new();
        case.append("a.log.2", b"known to us\n");
        let mut stored = None;
        if !lost {
            case.rename("a.log.2", "a.log");
            let mut follower = case.follow();
            case.all(&mut follower);
            stored = Some(follower.checkpoint());
            case.rename("a.log", "a.log.2");
        }
        case.append("a.log.1", b"known to them, and not to us\n");
        case.append("a.log", b"new\n");
        shut(&case, "a.log.1", 0);
        let mut follower = Follower::new(case.asking(), stored);
        let observed = follower.observe(case.now);
        let known = |n| Answer::Is(EpochId::from_bytes([n; 16]));
        if lost {
            // Nothing would remind us of it: all of them wait.
            assert!(matches!(observed, Err(TailError::Unreadable { .. })));
            assert_eq!(follower.strangers(), 0);
        } else {
            observed.unwrap();
            assert_eq!(follower.strangers(), 1, "the live one");
            assert!(follower.name(&[], case.now).unwrap());
        }
        let step = follower.next(&mut case.bytes, case.now);
        assert!(
            matches!(step, Err(TailError::Unreadable { .. })),
            "{step:?}"
        );
        shut(&case, "a.log.1", 0o600);
        case.now = case.now.later(Duration::from_secs(1));
        follower.observe(case.now).unwrap();
        let answers = match lost {
            true => vec![known(7), known(8)],
            false => vec![known(8)],
        };
        assert_eq!(follower.strangers(), answers.len() + usize::from(lost));
        assert!(follower.name(&answers, case.now).unwrap());
        assert!(follower.seek(EpochId::from_bytes([8; 16]), 15).unwrap());
        if lost {
            assert!(follower.seek(EpochId::from_bytes([7; 16]), 12).unwrap());
        }
        let (bytes, _) = case.all(&mut follower);
        assert_eq!(String::from_utf8_lossy(&bytes), "and not to us\nnew\n");
    }
}

/// It was given up as a gap, which nobody has confirmed yet.
#[test]
fn a_file_that_was_given_up_is_asked_about_when_it_can_be_read_after_all() {
    without_privileges();
    let mut case = Case::new();
    case.append("a.log", b"known to us\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    case.rename("a.log", "a.log.2");
    case.append("a.log.1", b"known to them, and not to us\n");
    case.append("a.log", b"new\n");
    shut(&case, "a.log.1", 0);
    let mut follower = Follower::new(case.asking(), Some(stored));
    follower.observe(case.now).unwrap();
    assert!(follower.name(&[], case.now).unwrap());
    follower.observe(case.now).unwrap_err();
    case.now = case.now.later(Duration::from_secs(61));
    follower.observe(case.now).unwrap();
    assert_eq!(follower.strangers(), 0);
    shut(&case, "a.log.1", 0o600);
    for (from, to) in [
        ("a.log.2", "a.log.3"),
        ("a.log.1", "a.log.2"),
        ("a.log", "a.log.1"),
    ] {
        case.rename(from, to);
    }
    case.append("a.log", b"newer\n");
    case.now = case.now.later(Duration::from_secs(1));
    follower.observe(case.now).unwrap();
    assert_eq!(follower.strangers(), 2);
    let id = EpochId::from_bytes([8; 16]);
    assert!(follower.name(&[Answer::Is(id)], case.now).unwrap());
    assert!(follower.seek(id, 15).unwrap());
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"and not to us\nnew\nnewer\n", "{steps:?}");
}

/// Started between the copy and the cut, or just behind it: the copy is the epoch that the live file was.
#[test]
fn a_copy_that_is_known_as_the_live_file_s_epoch_is_that_epoch() {
    for cut_at in 0..3 {
        let mut case = Case::new();
        let text: Vec<u8> = (0..300)
            .flat_map(|n| format!("line {n}, and so on\n").into_bytes())
            .collect();
        let half = text[..3000]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        case.append(
            "a.log",
            b"of an epoch that is delivered, and whose end nobody has confirmed\n",
        );
        let mut follower = case.follow();
        case.all(&mut follower);
        case.rename("a.log", "a.log.1");
        case.append("a.log", &text[..half]);
        follower
            .observe(case.now.later(Duration::from_secs(1)))
            .unwrap();
        fs::remove_file(case.path("a.log.1")).unwrap();
        let stored = follower.checkpoint();
        let epoch = stored.epochs[1].epoch;
        drop(follower);
        case.append("a.log", &text[half..]);
        let mut follower = Follower::new(case.asking(), Some(stored));
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        let cut = |now, case: &Case| {
            if cut_at == now {
                case.cut();
                case.append("a.log", b"new\n");
            }
        };
        follower.observe(case.now).unwrap();
        cut(0, &case);
        let waiting = follower.strangers();
        for at in 0..waiting {
            follower.stranger_size(at).unwrap();
        }
        cut(1, &case);
        follower
            .name(&vec![Answer::Is(epoch); waiting], case.now)
            .unwrap();
        cut(2, &case);
        case.named(&mut follower);
        let (bytes, steps) = case.all(&mut follower);
        assert!(waiting > 0);
        let expected = [&text[..], b"new\n"].concat();
        assert!(bytes == expected, "{cut_at}: {steps:?}");
        let gap = |step: &Step| matches!(step, Step::Gap(gap) if gap.epoch == epoch);
        assert!(!steps.iter().any(gap), "{cut_at}: {steps:?}");
    }
}
