//! Files that say the same: a copy, and an epoch of which only a few bytes are known, which may begin another file as well.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use tail::{EpochId, Follower, Options, Step};

use crate::cases::Case;

const HEADER: &[u8] = b"# begins\n";

/// What each epoch gave, in order.
fn given(case: &mut Case, follower: &mut Follower) -> Vec<(EpochId, Vec<u8>)> {
    let mut all: Vec<(EpochId, Vec<u8>)> = Vec::new();
    loop {
        let step = case.step(follower);
        match &step {
            Step::Idle(_) => return all,
            Step::Lines(span) | Step::Part(span) | Step::Tail(span) => {
                follower.confirm(span.seq);
                match all.last_mut().filter(|(epoch, _)| *epoch == span.epoch) {
                    Some((_, bytes)) => bytes.extend_from_slice(&case.bytes),
                    None => all.push((span.epoch, case.bytes.clone())),
                }
            }
            _ => {}
        }
    }
}

/// A file of one line was handed out and never confirmed, then cut; the next one begins with the same line and is copied.
#[test]
fn a_copy_of_a_younger_file_is_not_a_short_one_s() {
    let mut case = Case::new();
    case.append("a.log", HEADER);
    let mut follower = case.follow();
    let first = case.step(&mut follower);
    assert!(matches!(first, Step::Lines(_)), "{first:?}");
    fs::write(case.log(), b"").unwrap();
    follower.observe(case.now).unwrap();
    let text: Vec<u8> = (0..400)
        .flat_map(|n| format!("line {n}, and so on\n").into_bytes())
        .collect();
    let whole = [HEADER, &text].concat();
    case.append("a.log", &whole);
    follower.observe(case.now).unwrap();
    // Nothing was confirmed when the process died, between the copy and the cut.
    let stored = follower.checkpoint();
    drop(follower);
    let [first, younger] = [stored.epochs[0].epoch, stored.epochs[1].epoch];
    fs::copy(case.log(), case.path("a.log.1")).unwrap();
    let mut follower = Follower::new(Options::new(case.log()), Some(stored));
    let step = case.step(&mut follower);
    assert!(
        matches!(step, Step::Gap(gap) if gap.epoch == first),
        "{step:?}"
    );
    fs::write(case.log(), b"").unwrap();
    let all = given(&mut case, &mut follower);
    assert_eq!(all, [(younger, whole)]);
}

/// A copy of the live file stays beside it, and is older than a copy that is being made would be.
#[test]
fn a_copy_that_stays_is_not_sent_again() {
    for old in [false, true] {
        let mut case = Case::new();
        let text: Vec<u8> = (0..400)
            .flat_map(|n| format!("line {n}, and so on\n").into_bytes())
            .collect();
        case.append("a.log", &text);
        let mut follower = case.follow();
        let (bytes, _) = case.all(&mut follower);
        assert_eq!(bytes, text);
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        if old {
            let copy = fs::File::options().append(true).open(case.path("a.log.1"));
            let hour = Duration::from_secs(3600);
            copy.unwrap()
                .set_modified(SystemTime::now() - hour)
                .unwrap();
        }
        case.append("a.log", b"more\n");
        let (bytes, _) = case.all(&mut follower);
        assert_eq!(bytes, b"more\n", "{old}");
        case.now = case.now.later(Duration::from_secs(300));
        let mut follower = Follower::new(Options::new(case.log()), Some(follower.checkpoint()));
        let (bytes, _) = case.all(&mut follower);
        assert_eq!(String::from_utf8_lossy(&bytes), "", "{old}");
        // Then comes the cut after all.
        case.append("a.log", b"and more\n");
        fs::copy(case.log(), case.path("a.log.1")).unwrap();
        fs::write(case.log(), b"new\n").unwrap();
        let (bytes, _) = case.all(&mut follower);
        assert_eq!(String::from_utf8_lossy(&bytes), "and more\nnew\n", "{old}");
    }
}

/// Every file begins with the same banner, and one was over before anything else came.
#[test]
fn a_file_that_begins_as_the_live_one_is_no_copy_of_it() {
    let mut case = Case::new();
    let banner: Vec<u8> = (0..400)
        .flat_map(|n| format!("banner, line {n}\n").into_bytes())
        .collect();
    case.append("a.log", b"first\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    case.rename("a.log", "a.log.2");
    case.append("a.log", &banner);
    case.rename("a.log", "a.log.1");
    case.append("a.log", &banner);
    case.append("a.log", b"more\n");
    let mut follower = Follower::new(Options::new(case.log()), Some(stored));
    let (mut bytes, _) = case.all(&mut follower);
    case.now = case.now.later(Duration::from_secs(300));
    bytes.extend(case.all(&mut follower).0);
    assert_eq!(bytes.len(), 2 * banner.len() + b"more\n".len());
}

/// A file of one byte is cut and written anew; what is left of it to look for begins as any other file may.
#[test]
fn a_short_beginning_does_not_make_a_young_file_an_old_one() {
    let mut case = Case::new();
    case.append("a.log", b"zero\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"\n");
    // Both are known; the first one is not over yet.
    follower.observe(case.now).unwrap();
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.append("a.log", b"rewritten, as long as it takes\n");
    case.rename("a.log.1", "a.log.2");
    case.rename("a.log", "a.log.1");
    follower.observe(case.now).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"rewritten, as long as it takes\n").unwrap();
    fs::write(case.path("a.log.1.gz"), gzip.finish().unwrap()).unwrap();
    fs::remove_file(case.path("a.log.1")).unwrap();
    case.append("a.log", b"another one\n");
    follower.observe(case.now).unwrap();
    case.rename("a.log.2", "a.log.3");
    case.rename("a.log.1.gz", "a.log.2.gz");
    case.rename("a.log", "a.log.1");
    case.append("a.log", b"\nthe young one\n");
    let (bytes, _) = case.all(&mut follower);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "rewritten, as long as it takes\nanother one\n\nthe young one\n"
    );
}

/// A finished file of one byte, and a younger one of the same byte.
#[test]
fn a_short_old_file_does_not_hide_what_stands_before_a_young_one() {
    let mut case = Case::new();
    case.append("a.log", b"\n");
    let mut follower = case.follow();
    case.all(&mut follower);
    let live = OpenOptions::new().write(true).open(case.log()).unwrap();
    live.set_len(0).unwrap();
    case.append("a.log", &[b'x'; 70]);
    case.append("a.log", b"\n");
    case.all(&mut follower);
    let stored = follower.checkpoint();
    drop(follower);
    case.append("a.log", b"not sent yet\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&fs::read(case.log()).unwrap()).unwrap();
    fs::write(case.path("a.log.2.gz"), gzip.finish().unwrap()).unwrap();
    fs::remove_file(case.log()).unwrap();
    case.append("a.log.1", b"\n");
    case.append("a.log", b"the young one\n");
    let mut follower = Follower::new(Options::new(case.log()), Some(stored));
    let (bytes, _) = case.all(&mut follower);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "not sent yet\n\nthe young one\n"
    );
}
