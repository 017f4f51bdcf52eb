//! One case after the other, each with its name.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tail::{Cause, Follower, Now, Options, RollCause, Step, Watch};

pub(crate) struct Case {
    dir: tempfile::TempDir,
    pub(crate) now: Now,
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            now: Now::system(),
            bytes: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("a.log")
    }

    pub(crate) fn append(&self, name: &str, bytes: &[u8]) {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Compresses a file, which is gone then.
    pub(crate) fn pack(&self, from: &str, to: &str) {
        let file = fs::File::create(self.path(to)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(&fs::read(self.path(from)).unwrap()).unwrap();
        gzip.finish().unwrap();
        fs::remove_file(self.path(from)).unwrap();
    }

    pub(crate) fn follow(&self) -> Follower {
        Follower::new(Options::new(self.log()), None)
    }

    /// The next step, with all graces over.
    pub(crate) fn step(&mut self, follower: &mut Follower) -> Step {
        self.now = self.now.later(Duration::from_secs(6));
        follower.next(&mut self.bytes, self.now).unwrap()
    }

    /// Everything up to the next idle, with all graces over.
    pub(crate) fn all(&mut self, follower: &mut Follower) -> (Vec<u8>, Vec<Step>) {
        let (mut bytes, mut steps) = (Vec::new(), Vec::new());
        loop {
            match self.step(follower) {
                Step::Idle(_) => return (bytes, steps),
                step => {
                    steps.push(step);
                    bytes.extend_from_slice(&self.bytes);
                    let (Step::Lines(span) | Step::Part(span) | Step::Tail(span)) = step else {
                        continue;
                    };
                    follower.confirm(span.seq);
                }
            }
        }
    }
}

/// Whether all that was expected came once, and no gap with it.
pub(crate) fn came(bytes: &[u8], steps: &[Step], expected: &[u8]) -> Result<(), String> {
    let gap = steps.iter().any(|step| matches!(step, Step::Gap(_)));
    match bytes == expected && !gap {
        true => Ok(()),
        false => Err(format!(
            "{} octets for {}: {steps:?}",
            bytes.len(),
            expected.len()
        )),
    }
}

pub(crate) fn rolls(steps: &[Step]) -> Vec<RollCause> {
    let roll = |step: &Step| match step {
        Step::Roll(roll) => Some(roll.cause),
        _ => None,
    };
    steps.iter().filter_map(roll).collect()
}

#[test]
fn a_missing_file_is_waited_for() {
    let mut case = Case::new();
    let mut follower = case.follow();
    assert_eq!(case.all(&mut follower).1, []);
    case.append("a.log", b"one\n");
    assert_eq!(case.all(&mut follower).0, b"one\n");
}

#[test]
fn what_was_rotated_before_the_first_start_is_not_read() {
    let mut case = Case::new();
    case.append("a.log.2", b"older\n");
    case.append("a.log.1", b"old\n");
    case.append("a.log", b"new\n");
    let mut follower = case.follow();
    assert_eq!(case.all(&mut follower).0, b"new\n");
    case.rename("a.log.2", "a.log.3");
    case.rename("a.log.1", "a.log.2");
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"newer\n");
    assert_eq!(case.all(&mut follower).0, b"newer\n");
}

#[test]
fn an_unfinished_line_waits_without_being_read_again() {
    let mut case = Case::new();
    case.append("a.log", b"one\nunfin");
    let mut follower = case.follow();
    assert_eq!(case.all(&mut follower).0, b"one\n");
    for _ in 0..3 {
        let Step::Idle(wait) = follower.next(&mut case.bytes, case.now).unwrap() else {
            panic!("an unfinished line was handed out");
        };
        assert!(wait >= Duration::from_millis(100), "that would spin");
    }
    case.append("a.log", b"ished\n");
    assert_eq!(case.all(&mut follower).0, b"unfinished\n");
}

#[test]
fn the_unfinished_end_of_a_rotated_file_comes_last() {
    let mut case = Case::new();
    case.append("a.log", b"one\nno end");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"two\n");
    // Not before it had time to be finished.
    let step = follower.next(&mut case.bytes, Now::system()).unwrap();
    assert!(matches!(step, Step::Idle(_)), "{step:?}");
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"no endtwo\n");
    assert!(
        matches!(steps[0], Step::Tail(span) if (span.from, span.to) == (4, 10)),
        "{steps:?}"
    );
}

#[test]
fn a_late_line_keeps_its_epoch() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"two\n");
    let (_, steps) = case.all(&mut follower);
    let Step::Roll(roll) = steps[0] else {
        panic!("{steps:?}")
    };
    case.append("a.log.1", b"late\n");
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"late\n");
    assert!(
        matches!(steps[0], Step::Lines(span) if span.epoch == roll.epoch && span.from == roll.end),
        "{steps:?}"
    );
}

#[test]
fn copytruncate_loses_only_what_nothing_holds() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.append("a.log", b"two\n");
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    fs::write(case.log(), b"").unwrap();
    case.append("a.log", b"three is longer than what was there before\n");
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"two\nthree is longer than what was there before\n");
    assert_eq!(rolls(&steps), [RollCause::Rotated]);

    fs::write(case.log(), b"after\n").unwrap();
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"after\n");
    assert!(
        matches!(steps[0], Step::Gap(gap) if gap.cause == Cause::Truncated && gap.to.is_none()),
        "{steps:?}"
    );
}

#[test]
fn the_same_content_at_another_inode_is_the_same_epoch() {
    let mut case = Case::new();
    case.append("a.log", b"one\ntwo\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    fs::copy(case.log(), case.path("copy")).unwrap();
    case.rename("copy", "a.log");
    case.append("a.log", b"three\n");
    let mut next = Follower::new(Options::new(case.log()), Some(stored));
    for follower in [&mut follower, &mut next] {
        let (bytes, steps) = case.all(follower);
        assert_eq!(bytes, b"three\n");
        assert_eq!(rolls(&steps), []);
    }
}

#[test]
fn other_content_at_the_same_inode_is_another_epoch() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    fs::write(case.log(), b"something else altogether\n").unwrap();
    let mut next = Follower::new(Options::new(case.log()), Some(stored));
    for follower in [&mut follower, &mut next] {
        let (bytes, steps) = case.all(follower);
        assert_eq!(bytes, b"something else altogether\n");
        assert_eq!(rolls(&steps), [RollCause::Truncated]);
    }
}

#[test]
fn dated_and_compressed_files_come_in_order() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    for (date, line) in [("20260619", "two"), ("20260620", "three")] {
        case.append("a.log", format!("{line}\n").as_bytes());
        case.rename("a.log", &format!("a.log-{date}"));
    }
    case.pack("a.log-20260619", "a.log-20260619.gz");
    case.append("a.log", b"four\n");
    let mut follower = Follower::new(Options::new(case.log()), Some(stored));
    assert_eq!(case.all(&mut follower).0, b"two\nthree\nfour\n");
}

#[test]
fn an_unknown_compression_is_a_gap_and_no_end() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.2");
    case.append("a.log.1.zst", b"packed");
    case.append("a.log", b"two\n");
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"two\n");
    let gap = steps.iter().find_map(|step| match step {
        Step::Gap(gap) => Some(*gap),
        _ => None,
    });
    assert_eq!(gap.unwrap().cause, Cause::Unreadable);
}

#[test]
fn a_damaged_copy_gives_what_it_has_and_a_gap() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(b"one\ntwo\n").unwrap();
    gzip.flush().unwrap();
    gzip.write_all(&[b'x'; 100_000]).unwrap();
    let mut packed = gzip.finish().unwrap();
    packed.truncate(50_000);
    fs::write(case.path("a.log.1.gz"), packed).unwrap();
    fs::write(case.path("a.log"), b"three\n").unwrap();
    let mut follower = Follower::new(Options::new(case.log()), Some(stored));
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"two\nthree\n");
    assert!(
        steps.iter().any(
            |step| matches!(step, Step::Gap(gap) if gap.cause == Cause::Unreadable && gap.from == 8)
        ),
        "{steps:?}"
    );
}

#[test]
fn a_receiver_that_takes_less_than_the_last_one_gets_no_longer_line() {
    let mut case = Case::new();
    case.append("a.log", &[&[b'x'; 50_000][..], b"\n"].concat());
    let mut follower = case.follow();
    case.all(&mut follower);
    follower.set_max_line(8192);
    let mut text = Vec::new();
    for len in [10, 8192, 8193, 20_000, 10] {
        text.extend(std::iter::repeat_n(b'y', len));
        text.push(b'\n');
    }
    case.append("a.log", &text);
    let mut came = Vec::new();
    while came.len() < text.len() {
        let step = case.step(&mut follower);
        assert!(!matches!(step, Step::Idle(_)), "{} octets", came.len());
        let longest = case.bytes.split(|&b| b == b'\n').map(<[u8]>::len).max();
        assert!(longest <= Some(8192), "{longest:?} in {step:?}");
        came.extend_from_slice(&case.bytes);
    }
    assert!(came == text);
}

#[test]
fn a_long_line_does_not_keep_its_buffer() {
    let mut case = Case::new();
    let mut options = Options::new(case.log());
    options.max_line = 1 << 20;
    options.read = 4096;
    let mut long = vec![b'x'; 3_000_000];
    long.push(b'\n');
    case.append("a.log", &long);
    case.append("a.log", b"short\n");
    let mut follower = Follower::new(options, None);
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes.len(), long.len() + 6);
    assert!(
        steps
            .iter()
            .filter(|step| matches!(step, Step::Part(_)))
            .count()
            == 2
    );
    case.append("a.log", b"more\n");
    case.all(&mut follower);
    assert!(
        case.bytes.capacity() <= 1 << 16,
        "{}",
        case.bytes.capacity()
    );
}

#[test]
fn a_lag_limit_passes_over_whole_lines() {
    let mut case = Case::new();
    let mut options = Options::new(case.log());
    options.max_lag = 100;
    case.append("a.log", &b"0123456789\n".repeat(50));
    let mut follower = Follower::new(options, None);
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"0123456789\n".repeat(9));
    let Step::Gap(gap) = steps[0] else {
        panic!("{steps:?}")
    };
    assert_eq!(
        (gap.from, gap.to, gap.known, gap.cause),
        (0, Some(451), 451, Cause::LagCap)
    );
}

#[test]
fn an_old_file_that_someone_alters_is_not_sent_again() {
    let mut case = Case::new();
    let mut follower = case.follow();
    for number in (1..5).rev() {
        case.append(
            "a.log",
            format!("{}\n", "line ".repeat(20 * number)).as_bytes(),
        );
        case.all(&mut follower);
        case.rename("a.log", &format!("a.log.{number}"));
    }
    case.append("a.log", b"live\n");
    case.all(&mut follower);
    fs::write(case.path("a.log.2"), b"what someone made of it\n").unwrap();
    fs::remove_file(case.path("a.log.3")).unwrap();
    case.append("a.log.3.zst", b"packed");
    for number in (1..5).rev() {
        let more = if number == 3 { ".zst" } else { "" };
        case.rename(
            &format!("a.log.{number}{more}"),
            &format!("a.log.{}{more}", number + 1),
        );
    }
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"next\n");
    let mut again = Follower::new(Options::new(case.log()), Some(follower.checkpoint()));
    for follower in [&mut follower, &mut again] {
        let (bytes, steps) = case.all(follower);
        assert_eq!(bytes, b"next\n");
        assert_eq!(rolls(&steps), [RollCause::Rotated]);
    }
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut case = Case::new();
    case.append("a.log", b"one\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.append("a.log", b"two\n");
    fs::remove_file(case.log()).unwrap();
    assert_eq!(case.all(&mut follower).0, b"two\n");
    case.append("a.log", b"three\n");
    let (bytes, steps) = case.all(&mut follower);
    assert_eq!(bytes, b"three\n");
    assert_eq!(rolls(&steps), [RollCause::Gone]);
}

#[test]
fn a_directory_in_place_of_the_file_is_an_error_for_now() {
    let mut case = Case::new();
    fs::create_dir(case.log()).unwrap();
    let mut follower = case.follow();
    let error = follower.next(&mut case.bytes, case.now).unwrap_err();
    assert!(
        error.to_string().contains("a.log is not a regular file"),
        "{error}"
    );
    fs::remove_dir(case.log()).unwrap();
    case.append("a.log", b"one\n");
    assert_eq!(case.all(&mut follower).0, b"one\n");
}

#[tokio::test]
async fn an_armed_watch_reports_appends_and_rotation() {
    let case = Case::new();
    case.append("a.log", b"one\n");
    let mut watch = Watch::new(&case.log()).unwrap();
    assert!(watch.arm());
    case.append("a.log", b"two\n");
    watch.changed().await;
    case.rename("a.log", "a.log.1");
    watch.changed().await;
    watch.disarm();
    assert!(!watch.armed());
}

#[test]
fn a_receiver_may_say_where_to_go_on() {
    let mut case = Case::new();
    case.append("a.log", b"one\ntwo\n");
    let mut follower = case.follow();
    let (_, steps) = case.all(&mut follower);
    let Step::Lines(span) = steps[0] else {
        panic!("{steps:?}")
    };
    let held = follower.bytes(span.epoch, 6, 5).unwrap();
    assert_eq!(held.as_deref(), Some(&b"ne\ntw"[..]));
    assert_eq!(follower.bytes(span.epoch, 9, 4096).unwrap(), None);
    assert_eq!(follower.line_start(span.epoch, 6).unwrap(), Some(4));
    assert_eq!(follower.line_start(span.epoch, 4).unwrap(), Some(4));
    assert!(!follower.seek(span.epoch, 9).unwrap());
    assert!(follower.seek(span.epoch, 4).unwrap());
    assert_eq!(case.all(&mut follower).0, b"two\n");
    assert_eq!(follower.checkpoint().epochs[0].offset(), 8);
}
