//! Names that rotation makes, and those it does not.

use super::*;

fn check(base: &str, name: &str, expected: Option<(Mark, Packing)>) {
    assert_eq!(
        classify(name.as_bytes(), base.as_bytes()),
        expected,
        "{base} {name}"
    );
}

#[test]
fn recognises_what_rotation_makes() {
    let date = |text: &str| Mark::Date(text.into());
    check(
        "decky.log",
        "decky.log.1",
        Some((Mark::Number(1), Packing::Plain)),
    );
    check(
        "decky.log",
        "decky.log.12.gz",
        Some((Mark::Number(12), Packing::Gzip)),
    );
    check(
        "decky.log",
        "decky.log-20260620",
        Some((date("20260620"), Packing::Plain)),
    );
    check(
        "decky.log",
        "decky.log-20260620-1718880000.gz",
        Some((date("20260620-1718880000"), Packing::Gzip)),
    );
    check(
        "decky.log",
        "decky.log.2026-06-20T10:00",
        Some((date("2026-06-20T10:00"), Packing::Plain)),
    );
    check(
        "decky.log",
        "decky-20260620.log",
        Some((date("20260620"), Packing::Plain)),
    );
    check(
        "decky.log",
        "decky-20260620.log.gz",
        Some((date("20260620"), Packing::Gzip)),
    );
    check(
        "decky.log",
        "decky.1.log",
        Some((Mark::Number(1), Packing::Plain)),
    );
    check(
        "decky.log",
        "decky.log.old",
        Some((Mark::Word, Packing::Plain)),
    );
    check(
        "decky.log",
        "decky.log.3.zst",
        Some((Mark::Number(3), Packing::Unknown)),
    );
    check("audit", "audit.1", Some((Mark::Number(1), Packing::Plain)));
}

#[test]
fn leaves_other_files_alone() {
    for name in [
        "decky.json",
        "decky.log.tmp",
        "decky.log.1.tmp~",
        "decky-2.log",
        "decky-web.log",
        "other.log.1",
        "decky.logs",
        "decky.log.",
    ] {
        check("decky.log", name, None);
    }
}

#[test]
fn orders_numbers_down_and_dates_up() {
    assert_eq!(natural(b"20260619", b"20260620"), Ordering::Less);
    assert_eq!(natural(b"2026-6-9", b"2026-6-10"), Ordering::Less);
    assert_eq!(natural(b"20260620", b"20260620.1"), Ordering::Less);
    assert_eq!(natural(b"007", b"7"), Ordering::Equal);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.log");
    for name in ["d.log", "d.log.1", "d.log.10.gz", "d.log.2.gz", "d.log.2"] {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    let found = open(&path).unwrap();
    let names: Vec<_> = found
        .files
        .iter()
        .map(|file| file_name(&file.path))
        .collect();
    assert_eq!(names, ["d.log.10.gz", "d.log.2", "d.log.1", "d.log"]);
    assert!(found.live);
}

#[test]
fn looks_at_the_newest_of_very_many() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.log");
    for number in 1..=MAX_SIBLINGS + 5 {
        fs::write(dir.path().join(format!("d.log.{number}")), b"").unwrap();
    }
    let found = open(&path).unwrap();
    assert_eq!((found.files.len(), found.live), (MAX_SIBLINGS, false));
    assert_eq!(file_name(&found.files[MAX_SIBLINGS - 1].path), "d.log.1");
}
