//! A reader that goes on where another one stopped, whatever happened to the files meanwhile.

use std::fs;

use docker_demux::Stream;

use super::docker::{Driver, Got, drain, gzip, numbers, open, pieces, read, remove};
use crate::source::{Cause, Cursor, Taken};

/// Everything a container may print that matters to a cursor, an entry at a time.
fn history(driver: &mut Driver, mut after_each: impl FnMut(&Driver)) {
    let long = "x".repeat(50_000);
    let huge = "y".repeat((1 << 20) + 77_777);
    let texts = ["a", "b", "b", &long, "b", "", &huge, "c", "c"];
    for (n, text) in texts.iter().enumerate() {
        let stamp = driver.stamp();
        for (m, piece) in pieces(text).iter().enumerate() {
            driver.store(Stream::Stdout, &stamp, piece);
            after_each(driver);
            if n % 3 == 0 && m % 20 == 0 {
                // Another stream's lines, some of them long as well, come between the pieces.
                let text = if m == 0 {
                    "e".repeat(20_000)
                } else {
                    format!("e{m}")
                };
                let stamp = driver.stamp();
                for piece in pieces(&text) {
                    driver.store(Stream::Stderr, &stamp, &piece);
                    after_each(driver);
                }
            }
        }
    }
    // A container that ended in the middle of a line and was started again.
    let stamp = driver.stamp();
    driver.store(Stream::Stdout, &stamp, &"z".repeat(16384));
    after_each(driver);
    driver.out("last");
    after_each(driver);
}

#[test]
fn from_every_entry_on_gives_the_same() {
    for (max_size, compress) in [(u64::MAX, false), (60_000, false), (60_000, true)] {
        let mut driver = Driver::new(max_size, 1000);
        driver.compress = compress;
        let mut log = open(&driver, &Cursor::default());
        let mut got = Got::default();
        let mut stops = Vec::new();
        history(&mut driver, |_| {
            drain(&mut log, &mut got);
            stops.push((got.lines.len(), got.cursor.clone()));
        });
        assert_eq!((got.gaps.len(), got.corrupt), (0, 0));
        assert_eq!(read(&driver, &Cursor::default()).lines, got.lines);
        for (taken, cursor) in stops.iter().step_by(7) {
            let rest = read(&driver, cursor);
            assert_eq!(
                rest.lines,
                got.lines[*taken..],
                "{max_size} {compress} from {cursor:?}"
            );
            assert_eq!(rest.gaps, []);
        }
        // Without its place, as after reading through the API, a cursor stands behind the lines it speaks of.
        for (taken, cursor) in stops.iter().filter(|(taken, _)| *taken > 0).step_by(11) {
            let cursor = Cursor {
                place: None,
                ..cursor.clone()
            };
            let rest = read(&driver, &cursor);
            assert_eq!(
                rest.lines,
                got.lines[*taken..],
                "{max_size} {compress} from {cursor:?}"
            );
            assert_eq!(rest.gaps, []);
        }
    }
}

#[test]
fn a_reader_killed_all_the_time_gives_the_same() {
    for seed in 1..9u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut chance = |of: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % of == 0
        };
        let mut driver = Driver::new(2000, 1000);
        driver.compress = seed % 2 == 0;
        let mut got = Got::default();
        let mut log = open(&driver, &got.cursor);
        for n in 0..300 {
            driver.out("same");
            driver.out(&format!("line {n}"));
            if chance(3) {
                drain(&mut log, &mut got);
            }
            if chance(5) {
                log = open(&driver, &got.cursor);
            }
        }
        drain(&mut log, &mut got);
        let expected: Vec<String> = (0..300)
            .flat_map(|n| ["same".to_owned(), format!("line {n}")])
            .collect();
        assert_eq!(got.lines, expected, "seed {seed}");
        assert_eq!((got.gaps.len(), got.corrupt), (0, 0), "seed {seed}");
    }
}

fn stopped_at(driver: &mut Driver, lines: u32) -> Cursor {
    numbers(0..lines).iter().for_each(|text| driver.out(text));
    let got = read(driver, &Cursor::default());
    assert_eq!(got.lines, numbers(0..lines));
    got.cursor
}

#[test]
fn an_inode_proves_nothing() {
    let mut driver = Driver::new(1000, 50);
    let mut cursor = stopped_at(&mut driver, 15);
    numbers(15..40).iter().for_each(|text| driver.out(text));
    // As if the file at the place were gone and the one that is written to had got its inode.
    use std::os::unix::fs::MetadataExt;
    cursor.place.as_mut().unwrap().inode = fs::metadata(driver.path()).unwrap().ino();
    let got = read(&driver, &cursor);
    assert_eq!((got.lines, got.gaps.len()), (numbers(15..40), 0));
}

#[test]
fn lines_that_rotation_ate_meanwhile_are_a_gap() {
    let mut driver = Driver::new(1000, 3);
    let cursor = stopped_at(&mut driver, 15);
    numbers(15..100).iter().for_each(|text| driver.out(text));
    let got = read(&driver, &cursor);
    let first = got.lines[0].strip_prefix("line ").unwrap().parse().unwrap();
    assert!(first > 15);
    assert_eq!(got.lines, numbers(first..100));
    assert_eq!(got.gaps.len(), 1);
    assert_eq!(got.gaps[0].cause, Cause::RotatedAway);
    assert_eq!(
        got.gaps[0].to_ns.unwrap() - got.gaps[0].from_ns.unwrap(),
        i64::from(first - 14) * 1000
    );
    // The gap is told once.
    assert_eq!(read(&driver, &got.cursor).gaps, []);
}

#[test]
fn more_files_than_it_may_hold_open() {
    let mut driver = Driver::new(300, 1000);
    let cursor = stopped_at(&mut driver, 10);
    numbers(10..300).iter().for_each(|text| driver.out(text));
    let got = read(&driver, &cursor);
    assert_eq!((got.lines, got.gaps.len()), (numbers(10..300), 0));
}

/// The rotated files from `first` on, each a number up: what Docker's rotation does step by step.
fn shift(driver: &Driver, first: u32) {
    let mut end = first;
    while fs::exists(driver.numbered(end, driver.compress)).unwrap() {
        end += 1;
    }
    for number in (first..end).rev() {
        let from = driver.numbered(number, driver.compress);
        fs::rename(from, driver.numbered(number + 1, driver.compress)).unwrap();
    }
}

#[test]
fn a_rotation_that_stopped_between_two_steps_hides_no_file() {
    for compress in [false, true] {
        for missing in 1..6 {
            let mut driver = Driver::new(500, 100);
            driver.compress = compress;
            let cursor = stopped_at(&mut driver, 10);
            numbers(10..60).iter().for_each(|text| driver.out(text));
            shift(&driver, missing);
            let got = read(&driver, &Cursor::default());
            assert_eq!((got.lines, got.gaps.len()), (numbers(0..60), 0));
            let got = read(&driver, &cursor);
            assert_eq!((got.lines, got.gaps.len()), (numbers(10..60), 0));
        }
    }
}

#[test]
fn a_file_under_two_numbers_is_read_once() {
    let mut driver = Driver::new(500, 100);
    let cursor = stopped_at(&mut driver, 10);
    numbers(10..60).iter().for_each(|text| driver.out(text));
    // As a look finds it that passes number 2 before a rename and number 3 behind it.
    shift(&driver, 3);
    fs::hard_link(driver.numbered(2, false), driver.numbered(3, false)).unwrap();
    for (cursor, first) in [(Cursor::default(), 0), (cursor, 10)] {
        let got = read(&driver, &cursor);
        assert_eq!((got.lines, got.gaps.len()), (numbers(first..60), 0));
    }
}

#[test]
fn the_file_at_the_place_was_compressed_meanwhile() {
    let mut driver = Driver::new(u64::MAX, 9);
    let cursor = stopped_at(&mut driver, 15);
    numbers(15..20).iter().for_each(|text| driver.out(text));
    let mut held = open(&driver, &cursor);
    driver.compress = true;
    driver.rotate();
    driver.out("line 20");
    let got = read(&driver, &cursor);
    assert_eq!((got.lines, got.gaps.len()), (numbers(15..21), 0));
    // The same for a reader that still has the plain file.
    let mut got = Got::default();
    drain(&mut held, &mut got);
    assert_eq!((got.lines, got.gaps.len()), (numbers(15..21), 0));
    // Both forms are there while Docker compresses, and the compressed one is not whole.
    fs::write(driver.numbered(1, false), unpacked(&driver)).unwrap();
    let packed = fs::read(driver.numbered(1, true)).unwrap();
    fs::write(driver.numbered(1, true), &packed[..packed.len() / 2]).unwrap();
    let got = read(&driver, &cursor);
    assert_eq!((got.lines, got.gaps.len()), (numbers(15..21), 0));
}

fn unpacked(driver: &Driver) -> Vec<u8> {
    let mut plain = Vec::new();
    let packed = fs::read(driver.numbered(1, true)).unwrap();
    std::io::Read::read_to_end(
        &mut flate2::read::MultiGzDecoder::new(&packed[..]),
        &mut plain,
    )
    .unwrap();
    assert_eq!(gzip(&plain), packed);
    plain
}

#[test]
fn a_log_that_was_cut_while_nobody_looked() {
    let mut driver = Driver::new(u64::MAX, 1);
    let cursor = stopped_at(&mut driver, 15);
    driver.rotate();
    assert_eq!(read(&driver, &cursor).lines, Vec::<String>::new());
    numbers(15..18).iter().for_each(|text| driver.out(text));
    let got = read(&driver, &cursor);
    assert_eq!((got.lines, got.gaps.len()), (numbers(15..18), 1));
}

#[test]
fn a_head_that_someone_removed_moves_the_place_only() {
    let mut driver = Driver::new(u64::MAX, 1);
    let cursor = stopped_at(&mut driver, 100);
    numbers(100..120).iter().for_each(|text| driver.out(text));
    let log = fs::read_to_string(driver.path()).unwrap();
    let tail: String = log
        .lines()
        .skip(90)
        .map(|line| format!("{line}\n"))
        .collect();
    remove(&driver.path());
    fs::write(driver.path(), tail).unwrap();
    let got = read(&driver, &cursor);
    assert_eq!((got.lines, got.gaps.len()), (numbers(100..120), 0));
}

#[test]
fn equal_lines_of_one_stamp_are_told_apart_by_their_count() {
    let mut driver = Driver::new(u64::MAX, 1);
    let stamp = driver.stamp();
    for _ in 0..10 {
        driver.store(Stream::Stdout, &stamp, "same\n");
    }
    let mut log = open(&driver, &Cursor::default());
    let mut got = Got::default();
    drain(&mut log, &mut got);
    assert_eq!(got.cursor.stdout.unwrap().count, 10);
    for _ in 0..5 {
        driver.store(Stream::Stdout, &stamp, "same\n");
    }
    for count in 1..=15 {
        let taken = Taken {
            count,
            ..got.cursor.stdout.unwrap()
        };
        let cursor = Cursor {
            stdout: Some(taken),
            ..Cursor::default()
        };
        assert_eq!(read(&driver, &cursor).lines.len(), 15 - count as usize);
    }
}
